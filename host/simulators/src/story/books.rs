//! What the books must say at the end of a month: for each object what an ERP must have made of it, and the totals.
//!
//! Computed from the objects alone, by their states and balance transactions, and knowing nothing of how the month
//! was played, of the host or of any module: a judge of all three. Amounts are integers in the smallest unit, with the
//! decimal beside them. Used by tests, by the demo, and at `GET /_simulator/month/books`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::month::Month;

mod outcomes;

/// How many, and how much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sum {
    /// How many.
    pub count: u64,
    /// In the smallest unit, signed.
    pub minor: i64,
}

impl Sum {
    fn add(&mut self, minor: i64) {
        self.count += 1;
        self.minor += minor;
    }
}

/// What happened in one currency of presentment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Presented {
    /// Captured charges.
    pub charges: Sum,
    /// Refunds that stand.
    pub refunds: Sum,
    /// Refunds that failed: they come to nothing.
    pub refunds_failed: Sum,
    /// Disputes that took money.
    pub disputes: Sum,
    /// Of these, the ones whose money came back.
    pub disputes_reinstated: Sum,
    /// What the captured charges became in the balance's currency.
    pub charges_settled: Sum,
    /// What the refunds that stand took from the balance.
    pub refunds_settled: Sum,
}

/// A reporting category of the balance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Category {
    /// How many balance transactions.
    pub count: u64,
    /// Sum of their amounts.
    pub amount: i64,
    /// Sum of their fees.
    pub fee: i64,
    /// Sum of their nets.
    pub net: i64,
}

/// The balance, in its own currency.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Balance {
    /// Upper-case.
    pub currency: String,
    /// By reporting category.
    pub categories: BTreeMap<String, Category>,
    /// Fees taken with other movements, by kind.
    pub fees: BTreeMap<String, i64>,
    /// What is left at the end.
    pub closing: i64,
    /// Of this, what no payout has taken: movements that no payout lists.
    pub open: Sum,
}

/// One payout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PayoutBooks {
    /// `po_…`
    pub id: String,
    /// Whether Stripe tells of what it consists.
    pub automatic: bool,
    /// Stripe's status at the end.
    pub status: String,
    /// In the smallest unit.
    pub amount: i64,
    /// By reporting category, without its own row; empty for one made by hand.
    pub categories: BTreeMap<String, Category>,
    /// Fees by kind.
    pub fees: BTreeMap<String, i64>,
}

/// What becomes of an object in an ERP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// One document, which stands.
    Posted,
    /// A document and its reversal, or none at all: it comes to nothing.
    Reversed,
    /// Waits for a person.
    Held,
    /// No document: another object's document tells it, or nothing happened.
    Nothing,
}

/// What an ERP must have made of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Expected {
    /// Stripe's `object`.
    pub object: String,
    /// What becomes of it.
    pub outcome: Outcome,
    /// Why, where it is not simply posted; or the id of the object whose document tells it.
    pub reason: String,
    /// Upper-case.
    pub currency: String,
    /// What the document is about, in the smallest unit.
    pub minor: i64,
    /// The same as decimal text.
    pub amount: String,
    /// In the balance: amount, fee, net; of a dispute, of all its movements together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settled: Option<(i64, i64, i64)>,
}

/// The books of a month.
#[derive(Clone, Debug, Serialize)]
pub struct Books {
    /// By currency, upper-case.
    pub presented: BTreeMap<String, Presented>,
    /// The balance.
    pub balance: Balance,
    /// In the order of their ids.
    pub payouts: Vec<PayoutBooks>,
    /// By id: charges, refunds, disputes, invoices, credit notes, payouts.
    pub objects: BTreeMap<String, Expected>,
    /// How many objects come to which outcome, by `object outcome`.
    pub outcomes: BTreeMap<String, u64>,
}

/// An amount in a currency's smallest unit as decimal text, by Stripe's table of decimals.
#[must_use]
pub fn decimal(minor: i64, currency: &str) -> String {
    let places: usize = match currency.to_lowercase().as_str() {
        "bif" | "clp" | "djf" | "gnf" | "jpy" | "kmf" | "krw" | "mga" | "pyg" | "rwf" | "vnd" | "vuv"
        | "xaf" | "xof" | "xpf" => 0,
        "bhd" | "jod" | "kwd" | "omr" | "tnd" => 3,
        _ => 2,
    };
    let digits = format!("{:0width$}", minor.unsigned_abs(), width = places + 1);
    let (whole, part) = digits.split_at(digits.len() - places);
    let sign = if minor < 0 { "-" } else { "" };
    if places == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{part}") }
}

impl Month {
    /// What the books must say of this month.
    #[must_use]
    pub fn books(&self) -> Books {
        Books::of(&self.objects)
    }
}

fn text<'a>(object: &'a Value, name: &str) -> &'a str {
    object.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn number(object: &Value, name: &str) -> i64 {
    object.get(name).and_then(Value::as_i64).unwrap_or_default()
}

fn is(object: &Value, name: &str) -> bool {
    object.get(name).and_then(Value::as_bool).unwrap_or_default()
}

/// Objects by id.
struct Index<'a>(BTreeMap<&'a str, &'a Value>);

impl Index<'_> {
    fn settled(&self, transaction: &str) -> Option<(i64, i64, i64)> {
        let found = self.0.get(transaction)?;
        Some((number(found, "amount"), number(found, "fee"), number(found, "net")))
    }
}

impl Books {
    /// The books of an account's objects.
    #[must_use]
    pub fn of(objects: &[Value]) -> Self {
        let index = Index(objects.iter().map(|object| (text(object, "id"), object)).collect());
        let mut books = Self {
            presented: BTreeMap::new(),
            balance: balance(objects),
            payouts: payouts(objects),
            objects: BTreeMap::new(),
            outcomes: BTreeMap::new(),
        };
        for object in objects {
            if let Some(expected) = expected(object, &index) {
                books.present(object, &expected, &index);
                let outcome = format!("{} {}", expected.object, outcome_name(expected.outcome));
                *books.outcomes.entry(outcome).or_default() += 1;
                books.objects.insert(text(object, "id").to_owned(), expected);
            }
        }
        books
    }

    /// Adds an object to its currency's totals.
    fn present(&mut self, object: &Value, expected: &Expected, index: &Index<'_>) {
        let sums = self.presented.entry(expected.currency.clone()).or_default();
        match (expected.object.as_str(), expected.outcome) {
            ("charge", Outcome::Posted) => {
                sums.charges.add(expected.minor);
                if let Some((amount, ..)) = expected.settled {
                    sums.charges_settled.add(amount);
                }
            }
            ("refund", Outcome::Posted) => {
                sums.refunds.add(expected.minor);
                if let Some((amount, ..)) = index.settled(text(object, "balance_transaction")) {
                    sums.refunds_settled.add(amount);
                }
            }
            ("refund", Outcome::Reversed) => sums.refunds_failed.add(expected.minor),
            ("dispute", Outcome::Posted) => sums.disputes.add(expected.minor),
            ("dispute", Outcome::Reversed) => {
                sums.disputes.add(expected.minor);
                sums.disputes_reinstated.add(expected.minor);
            }
            _ => {}
        }
    }
}

fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Posted => "posted",
        Outcome::Reversed => "reversed",
        Outcome::Held => "held",
        Outcome::Nothing => "nothing",
    }
}

fn expected(object: &Value, index: &Index<'_>) -> Option<Expected> {
    let kind = text(object, "object");
    let (outcome, reason, minor) = match kind {
        "charge" => outcomes::charge(object),
        "refund" => outcomes::refund(object),
        "dispute" => outcomes::dispute(object),
        "invoice" => outcomes::invoice(object),
        "credit_note" => outcomes::credit_note(object),
        "payout" => outcomes::payout(object),
        _ => return None,
    };
    let currency = text(object, "currency").to_uppercase();
    let settled = match kind {
        "dispute" => outcomes::moved(object),
        _ => index.settled(text(object, "balance_transaction")),
    };
    let amount = decimal(minor, &currency);
    Some(Expected { object: kind.to_owned(), outcome, reason, currency, minor, amount, settled })
}

fn transactions(objects: &[Value]) -> impl Iterator<Item = &Value> {
    objects.iter().filter(|object| text(object, "object") == "balance_transaction")
}

/// Adds a balance transaction to its category, and its fees to their kinds.
fn enter(transaction: &Value, categories: &mut BTreeMap<String, Category>, fees: &mut BTreeMap<String, i64>) {
    let sums = categories.entry(text(transaction, "reporting_category").to_owned()).or_default();
    sums.count += 1;
    sums.amount += number(transaction, "amount");
    sums.fee += number(transaction, "fee");
    sums.net += number(transaction, "net");
    for fee in transaction.get("fee_details").and_then(Value::as_array).into_iter().flatten() {
        *fees.entry(text(fee, "type").to_owned()).or_default() += number(fee, "amount");
    }
}

fn balance(objects: &[Value]) -> Balance {
    let mut balance = Balance { currency: "USD".to_owned(), ..Balance::default() };
    for transaction in transactions(objects) {
        enter(transaction, &mut balance.categories, &mut balance.fees);
        balance.closing += number(transaction, "net");
        if transaction.get("_simulator").is_none() {
            balance.open.add(number(transaction, "net"));
        }
    }
    balance
}

fn payouts(objects: &[Value]) -> Vec<PayoutBooks> {
    let mut payouts: BTreeMap<&str, PayoutBooks> = objects
        .iter()
        .filter(|object| text(object, "object") == "payout")
        .map(|payout| {
            let books = PayoutBooks {
                id: text(payout, "id").to_owned(),
                automatic: is(payout, "automatic"),
                status: text(payout, "status").to_owned(),
                amount: number(payout, "amount"),
                categories: BTreeMap::new(),
                fees: BTreeMap::new(),
            };
            (text(payout, "id"), books)
        })
        .collect();
    for transaction in transactions(objects) {
        let payout = transaction.pointer("/_simulator/payout").and_then(Value::as_str);
        let own_row = payout == Some(text(transaction, "source")) && text(transaction, "type") == "payout";
        if let Some(books) = payout.filter(|_| !own_row).and_then(|payout| payouts.get_mut(payout)) {
            enter(transaction, &mut books.categories, &mut books.fees);
        }
    }
    payouts.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_follow_stripes_table() {
        assert_eq!(decimal(4_998, "USD"), "49.98");
        assert_eq!(decimal(-5, "eur"), "-0.05");
        assert_eq!(decimal(10_447, "JPY"), "10447");
        assert_eq!(decimal(12_670, "KWD"), "12.670");
    }
}
