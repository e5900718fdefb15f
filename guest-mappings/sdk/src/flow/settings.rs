//! What a tenant chooses of the flows: `flow` in a module's settings. `flow.schema.json` says the same to the person
//! who fills it in, and comes into a module's own schema with [`settings_schema`].

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::{
    money::{Currency, Decimal, Money, MoneyError},
    stop::Stop,
};

/// The settings' `flow`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Flow {
    /// The accounts of journals.
    pub accounts: Accounts,
    /// When Stripe's fees are posted.
    pub fees: Fees,
    /// How a payout becomes journals.
    pub payout: Payouts,
    /// What waits for a person.
    pub hold: Holds,
    /// Metadata keys that name an order which the ERP has already; the first that is there counts.
    pub order_metadata: Vec<String>,
    /// Whether document numbers are written to the metadata of Stripe's objects.
    pub write_back: bool,
    /// Who else is told.
    pub notify: Option<Notify>,
    /// What is done about fraud.
    pub fraud: Fraud,
    /// What becomes of customers that change without buying.
    pub customers: Customers,
    /// Serve only events of live mode (`true`) or of test mode (`false`).
    pub livemode: Option<bool>,
    /// Serve only events of this connected account, `acct_…`.
    pub account: Option<String>,
}

/// The accounts of journals, in the ERP's words.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Accounts {
    /// Where payouts arrive.
    pub bank: Option<Account>,
    /// What Stripe holds: the account that payments are posted to.
    pub clearing: Option<Account>,
    /// Between the parts of a payout that needs several documents, and for payouts without a list.
    pub transit: Option<Account>,
    /// Between the currency that was paid in and the one that was settled in.
    pub conversion: Option<Account>,
    /// What customers dispute.
    pub disputes: Option<Account>,
    /// Fees by Stripe's fee type; `default` for those not named.
    pub fees: BTreeMap<String, String>,
    /// Reporting categories that no flow posts, by category.
    pub categories: BTreeMap<String, String>,
}

/// An account: one for all, or one per currency with a `default`.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Account {
    /// For every currency.
    One(String),
    /// By currency code; `default` for those not named.
    PerCurrency(BTreeMap<String, String>),
}

/// When Stripe's fees are posted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fees {
    /// In the payout's journal, by kind.
    #[default]
    WithPayout,
    /// In a journal of their own, as soon as a charge's balance transaction is known.
    WithCharge,
}

/// How a payout becomes journals.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Payouts {
    /// What a line stands for.
    pub lines: PayoutLines,
    /// How many lines a document of the ERP holds.
    pub lines_max: usize,
    /// What happens when the ERP does not know a charge or a refund of the payout.
    pub unmatched: Unmatched,
    /// How many times a payout is put off before a person is asked about what the ERP does not know.
    pub patience: u32,
}

/// What a line on the clearing account stands for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PayoutLines {
    /// A balance transaction: open items are cleared one by one.
    #[default]
    PerTransaction,
    /// A reporting category.
    PerCategory,
}

/// What happens when the ERP does not know a charge or a refund of the payout.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unmatched {
    /// A person decides.
    #[default]
    Hold,
    /// The payout waits until they are there.
    Defer,
}

/// What waits for a person. Amounts are decimals by currency code.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Holds {
    /// Sales over this amount.
    pub amount_over: BTreeMap<String, String>,
    /// Sales in a currency that is not among these. Empty: all are allowed.
    pub currencies: Vec<String>,
    /// Sales over this amount to a customer that they create.
    pub new_customer_over: BTreeMap<String, String>,
}

/// Who else is told, through the connection `notify`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notify {
    /// Appended to the connection's base URL.
    pub path: String,
    /// Of what: `sale`, `refund`, `refund-failed`, `credit`, `dispute`, `customer`, `subscription`, `payout`,
    /// `payout-failed`, `fraud`. Empty: of everything.
    #[serde(default)]
    pub kinds: Vec<String>,
}

/// What is done about fraud.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fraud {
    /// Sales with this risk score of Stripe or more wait for a person.
    pub block_from: Option<i64>,
    /// Whether documents are blocked in the ERP, or alerts raised only.
    pub block: bool,
}

/// What becomes of customers that change without buying.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Customers {
    /// The ERP says what Stripe says.
    #[default]
    Sync,
    /// New ones are created, known ones left alone.
    CreateOnly,
    /// They are created with their first sale only.
    Off,
}

impl Default for Flow {
    fn default() -> Self {
        Self {
            accounts: Accounts::default(),
            fees: Fees::default(),
            payout: Payouts::default(),
            hold: Holds::default(),
            order_metadata: vec!["erp_order_id".to_owned(), "ERP_Order_ID".to_owned()],
            write_back: true,
            notify: None,
            fraud: Fraud::default(),
            customers: Customers::default(),
            livemode: None,
            account: None,
        }
    }
}

impl Default for Payouts {
    fn default() -> Self {
        Self { lines: PayoutLines::default(), lines_max: 999, unmatched: Unmatched::default(), patience: 20 }
    }
}

impl Default for Fraud {
    fn default() -> Self {
        Self { block_from: None, block: true }
    }
}

impl Account {
    /// The account for a currency.
    #[must_use]
    pub fn of(&self, currency: Currency) -> Option<&str> {
        match self {
            Self::One(account) => Some(account),
            Self::PerCurrency(accounts) => {
                accounts.get(currency.code()).or_else(|| accounts.get("default")).map(String::as_str)
            }
        }
    }
}

impl Accounts {
    /// The account for a kind of fee, by Stripe's fee type.
    ///
    /// # Errors
    /// A refusal with code `settings` that says what is missing.
    pub fn fee(&self, kind: &str) -> Result<&str, Stop> {
        let account = self.fees.get(kind).or_else(|| self.fees.get("default"));
        account.map(String::as_str).ok_or_else(|| missing(&format!("fees.{kind} (nor fees.default)")))
    }

    /// One of the named accounts, for a currency.
    ///
    /// # Errors
    /// A refusal with code `settings` that says what is missing.
    pub fn named<'a>(
        &self,
        name: &str,
        account: Option<&'a Account>,
        currency: Currency,
    ) -> Result<&'a str, Stop> {
        account
            .and_then(|account| account.of(currency))
            .ok_or_else(|| missing(&format!("{name} for {currency}")))
    }
}

fn missing(what: &str) -> Stop {
    Stop::reject(
        "",
        "settings",
        format!("the mapping's settings do not name the account flow.accounts.{what}"),
    )
}

impl Flow {
    /// Lets the account that a module posts payments to be the clearing account, where `flow.accounts.clearing` is
    /// left out: nobody should have to say it twice.
    pub fn clearing_is(&mut self, account: &str) {
        self.accounts.clearing.get_or_insert_with(|| Account::One(account.to_owned()));
    }
}

/// Whether an amount is over the limit for its currency. Currencies without a limit have none.
///
/// # Errors
/// A limit that is no decimal of its currency, or an amount that is none.
pub(super) fn is_over(amount: Money, limits: &BTreeMap<String, String>) -> Result<bool, Stop> {
    let Some(limit) = limits.get(amount.currency.code()) else { return Ok(false) };
    let wrong = |error: &str| {
        Stop::reject(
            "",
            "settings",
            format!("flow.hold: the limit {limit:?} for {}: {error}", amount.currency),
        )
    };
    let limit = Decimal::from_str_exact(limit).map_err(|error| wrong(&error.to_string()))?;
    let limit =
        Money::from_decimal(limit, amount.currency).map_err(|error: MoneyError| wrong(&error.to_string()))?;
    Ok(amount.minor > limit.minor)
}

/// The JSON Schema of [`Flow`].
const SCHEMA: &str = include_str!("../../flow.schema.json");

/// A module's settings schema with that of the flows put in as the property `flow`.
/// A text that is no JSON object is returned as it is: the host refuses it.
#[must_use]
pub fn settings_schema(module_schema: &str) -> String {
    let (Ok(Value::Object(mut module)), Ok(Value::Object(mut flow))) =
        (serde_json::from_str(module_schema), serde_json::from_str(SCHEMA))
    else {
        return module_schema.to_owned();
    };
    flow.remove("$schema");
    // What the flows' schema refers to is found from the root of the one it is put into.
    let mut put = |part: &str, values: Vec<(String, Value)>| {
        let part = module.entry(part).or_insert_with(|| Value::Object(serde_json::Map::new()));
        if let Some(part) = part.as_object_mut() {
            part.extend(values);
        }
    };
    if let Some(Value::Object(definitions)) = flow.remove("$defs") {
        put("$defs", definitions.into_iter().collect());
    }
    put("properties", vec![("flow".to_owned(), Value::Object(flow))]);
    Value::Object(module).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn flow(settings: Value) -> Result<Flow, serde_json::Error> {
        serde_json::from_value(settings)
    }

    fn money(minor: i64, code: &str) -> Money {
        Money::new(minor, Currency::parse(code).unwrap())
    }

    #[test]
    fn nothing_said_is_the_default() {
        let flow = flow(json!({})).unwrap();
        assert!(flow.write_back && flow.fraud.block);
        assert_eq!((flow.fees, flow.payout.lines_max), (Fees::WithPayout, 999));
        assert_eq!(flow.order_metadata, ["erp_order_id", "ERP_Order_ID"]);
    }

    #[test]
    fn what_is_misspelt_is_refused() {
        assert!(flow(json!({"fee": "with-charge"})).is_err());
        assert!(flow(json!({"accounts": {"banks": "1"}})).is_err());
    }

    #[test]
    fn an_account_is_one_or_per_currency() {
        let accounts = flow(json!({"accounts": {"bank": {"USD": "1", "default": "2"}, "clearing": "3"}}));
        let accounts = accounts.unwrap().accounts;
        let of = |account: &Option<Account>, code| {
            account.as_ref().unwrap().of(money(0, code).currency).map(str::to_owned)
        };
        assert_eq!(of(&accounts.bank, "usd").as_deref(), Some("1"));
        assert_eq!(of(&accounts.bank, "eur").as_deref(), Some("2"));
        assert_eq!(of(&accounts.clearing, "eur").as_deref(), Some("3"));
        let Err(Stop::Reject(violations)) = accounts.fee("tax") else { panic!("a refusal was expected") };
        assert!(violations[0].message.ends_with("flow.accounts.fees.tax (nor fees.default)"));
    }

    #[test]
    fn a_limit_is_a_decimal_of_its_currency() {
        let limits =
            BTreeMap::from([("USD".to_owned(), "10.00".to_owned()), ("JPY".to_owned(), "9.5".to_owned())]);
        assert!(!is_over(money(1000, "usd"), &limits).unwrap());
        assert!(is_over(money(1001, "usd"), &limits).unwrap());
        assert!(!is_over(money(i64::MAX, "eur"), &limits).unwrap());
        assert!(matches!(is_over(money(1, "jpy"), &limits), Err(Stop::Reject(_))));
    }

    #[test]
    fn every_setting_is_in_the_schema_and_its_example_is_one() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let example = flow(schema["examples"][0].clone()).unwrap();
        assert!(example.accounts.bank.is_some() && example.notify.is_some());
        let merged: Value =
            serde_json::from_str(&settings_schema(r#"{"type":"object","properties":{"a":{}}}"#)).unwrap();
        assert!(
            merged["properties"]["a"].is_object() && merged["properties"]["flow"]["properties"].is_object()
        );
        assert!(merged["properties"]["flow"]["$schema"].is_null());
        assert!(merged["$defs"]["flow_account"].is_object());
        assert_eq!(settings_schema("[]"), "[]");
    }
}
