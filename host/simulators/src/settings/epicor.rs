//! The standard world of Epicor.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// A customer that exists from the start.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpicorCustomer {
    /// Its number.
    pub cust_num: u64,
    /// Its name.
    pub name: String,
    /// Its address for mail.
    #[serde(default)]
    pub email: String,
    /// Its currency.
    #[serde(default = "usd")]
    pub currency: String,
    /// Orders are refused.
    #[serde(default)]
    pub credit_hold: bool,
    /// The customer may not be used.
    #[serde(default)]
    pub inactive: bool,
    /// Epicor itself refuses a repeated PONum of this customer.
    #[serde(default)]
    pub check_duplicate_po: bool,
}

fn usd() -> String {
    "USD".to_owned()
}

/// A part.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpicorPart {
    /// Its description.
    pub description: String,
    /// Its unit of measure.
    #[serde(default = "each")]
    pub unit: String,
    /// It may not be sold.
    #[serde(default)]
    pub inactive: bool,
}

/// A business activity query: some columns of a table.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpicorBaq {
    /// The table.
    pub table: String,
    /// Columns of the answer, and the table's that they show.
    pub columns: BTreeMap<String, String>,
    /// Parameters, and the table's columns that must equal them. All are required.
    #[serde(default)]
    pub parameters: BTreeMap<String, String>,
}

/// A BPM directive after `Customer.Update`: it posts what users other than the integration user changed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpicorBpm {
    /// Where to: `http://127.0.0.1:…/hooks/src_…`. Plain HTTP only.
    pub url: String,
    /// Signs `X-Signature`.
    #[serde(default)]
    pub secret: Option<String>,
    /// Goes as `Authorization: Bearer`.
    #[serde(default)]
    pub token: Option<String>,
    /// Whose changes are not posted.
    #[serde(default = "portolan")]
    pub integration_user: String,
    /// So many changes are not posted: a directive tolerates loss.
    #[serde(default)]
    pub lose: u32,
}

fn portolan() -> String {
    "portolan".to_owned()
}

fn each() -> String {
    "EA".to_owned()
}

/// Epicor: behaviour and master data.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EpicorOptions {
    /// The instance: the first part of every path.
    pub instance: String,
    /// Companies.
    pub companies: BTreeSet<String>,
    /// Users and passwords.
    pub users: BTreeMap<String, String>,
    /// API keys, each with the services it may call; an empty list is all.
    pub api_keys: BTreeMap<String, Vec<String>>,
    /// Bearer tokens that are always good. (`TokenResource.svc` gives others.)
    pub tokens: BTreeSet<String>,
    /// Calls served at the same time; more hear of the maximum of users. 0: no limit.
    pub licences: u32,
    /// How long a session lives without a call.
    pub session_ms: u64,
    /// Whether `OrderDtls` inside a POST of a sales order are taken.
    pub nested_order_lines: bool,
    /// Whether lists of heavy services without `$select` are answered 500.
    pub heavy_reads_fail: bool,
    /// Status of a duplicate CustID: 409, on some releases 400.
    pub duplicate_status: u16,
    /// Whether a second receipt with the same CheckRef is refused.
    pub refuse_duplicate_check_ref: bool,
    /// Whether a group is deleted when all of it is posted.
    pub groups_vanish_when_posted: bool,
    /// How long after `SubmitToAgent` the receipts are posted.
    pub agent_ms: u64,
    /// First order number.
    pub order_first: u64,
    /// First customer number given to new customers.
    pub customer_first: u64,
    /// First receipt number.
    pub receipt_first: u64,
    /// Currencies; amounts in others are refused.
    pub currencies: BTreeSet<String>,
    /// Bank accounts.
    pub bank_accounts: BTreeSet<String>,
    /// Payment terms.
    pub terms: BTreeSet<String>,
    /// Customers by CustID.
    pub customers: BTreeMap<String, EpicorCustomer>,
    /// Parts by PartNum.
    pub parts: BTreeMap<String, EpicorPart>,
    /// Invoices by number: customer number, currency, open balance (decimal text).
    pub invoices: BTreeMap<u64, (u64, String, String)>,
    /// Reasons by code: type and description.
    pub reasons: BTreeMap<String, (String, String)>,
    /// Accounts of the general ledger.
    pub accounts: BTreeSet<String>,
    /// First and last day that is posted on.
    pub open_days: (String, String),
    /// First number of an invoice or credit memo.
    pub invoice_first: u64,
    /// First number of a journal.
    pub journal_first: u64,
    /// Whether receipts of a negative amount are taken (never on invoices).
    pub negative_receipts: bool,
    /// Clients of the token service and their secrets.
    pub clients: BTreeMap<String, String>,
    /// How long a token lives.
    pub token_ms: u64,
    /// Business activity queries by id.
    pub baqs: BTreeMap<String, EpicorBaq>,
    /// Functions of libraries (`Library/Function`), and what each answers besides its input.
    pub functions: BTreeMap<String, serde_json::Value>,
    /// A BPM directive that posts changed customers.
    pub bpm: Option<EpicorBpm>,
    /// Receipt groups (or customer ids) that another user holds from the start.
    pub locked: BTreeSet<String>,
}

fn set<const N: usize>(texts: [&str; N]) -> BTreeSet<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

impl Default for EpicorOptions {
    fn default() -> Self {
        Self {
            instance: "ERP".to_owned(),
            companies: set(["EPIC06"]),
            users: BTreeMap::from([("portolan".to_owned(), "Portolan-06".to_owned())]),
            api_keys: BTreeMap::from([
                ("epicor-key".to_owned(), Vec::new()),
                ("epicor-key-customers".to_owned(), vec!["Erp.BO.CustomerSvc".to_owned()]),
            ]),
            tokens: set(["epicor-token"]),
            licences: 0,
            session_ms: 20 * 60 * 1_000,
            nested_order_lines: true,
            heavy_reads_fail: false,
            duplicate_status: 409,
            refuse_duplicate_check_ref: false,
            groups_vanish_when_posted: false,
            agent_ms: 500,
            order_first: 5_400,
            customer_first: 812,
            receipt_first: 37,
            currencies: set(["AUD", "CAD", "CHF", "EUR", "GBP", "JPY", "KWD", "USD"]),
            bank_accounts: set(["MAIN", "STRIPE"]),
            terms: set(["N30", "PREP"]),
            customers: customers(),
            parts: parts(),
            invoices: BTreeMap::from([
                (9_001, (42, "USD".to_owned(), "49.98".to_owned())),
                (9_002, (42, "USD".to_owned(), "0.00".to_owned())),
            ]),
            reasons: reasons(),
            accounts: set([
                "1010-00", "1190-00", "1195-00", "1200-00", "1250-00", "2200-00", "4000-00", "6450-00",
                "6460-00", "6470-00", "7200-00",
            ]),
            open_days: ("2020-01-01".to_owned(), "2035-12-31".to_owned()),
            invoice_first: 9_100,
            journal_first: 701,
            negative_receipts: true,
            clients: BTreeMap::from([("portolan-client".to_owned(), "Portolan-secret-06".to_owned())]),
            token_ms: 60 * 60 * 1_000,
            baqs: baqs(),
            functions: BTreeMap::from([("Portolan/Ping".to_owned(), serde_json::json!({"answered": true}))]),
            bpm: None,
            locked: BTreeSet::new(),
        }
    }
}

fn reasons() -> BTreeMap<String, (String, String)> {
    let reason = |(code, text): (&str, &str)| (code.to_owned(), ("A".to_owned(), text.to_owned()));
    let mut reasons: BTreeMap<_, _> =
        [("RETURN", "Returned"), ("DUP", "Charged twice"), ("FRAUD", "Fraud"), ("OTHER", "Other")]
            .into_iter()
            .map(reason)
            .collect();
    reasons.insert("SCRAP".to_owned(), ("S".to_owned(), "Scrapped".to_owned()));
    reasons
}

fn baqs() -> BTreeMap<String, EpicorBaq> {
    let names = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, column)| ((*name).to_owned(), (*column).to_owned())).collect()
    };
    let changed = EpicorBaq {
        table: "Customer".to_owned(),
        columns: names(&[
            ("Customer_CustNum", "CustNum"),
            ("Customer_CustID", "CustID"),
            ("Customer_Name", "Name"),
            ("Customer_EMailAddress", "EMailAddress"),
            ("Customer_SysRevID", "SysRevID"),
        ]),
        parameters: BTreeMap::new(),
    };
    let orders = EpicorBaq {
        table: "OrderHed".to_owned(),
        columns: names(&[("OrderHed_OrderNum", "OrderNum"), ("OrderHed_PONum", "PONum")]),
        parameters: names(&[("CustNum", "CustNum")]),
    };
    BTreeMap::from([("PortolanCustomers".to_owned(), changed), ("PortolanOrders".to_owned(), orders)])
}

fn customers() -> BTreeMap<String, EpicorCustomer> {
    let customer = |cust_num, name: &str, currency: &str| EpicorCustomer {
        cust_num,
        name: name.to_owned(),
        email: format!("{}@example.com", name.to_lowercase().replace(' ', ".")),
        currency: currency.to_owned(),
        credit_hold: false,
        inactive: false,
        check_duplicate_po: false,
    };
    BTreeMap::from([
        ("S000001".to_owned(), customer(1, "Stripe Customers", "USD")),
        ("S000042".to_owned(), customer(42, "Jenny Rosen", "USD")),
        ("S000043".to_owned(), customer(43, "Ada Lovelace", "EUR")),
        ("S000044".to_owned(), customer(44, "Kenji Tanaka", "JPY")),
        ("S000045".to_owned(), customer(45, "Fatima Al Sabah", "KWD")),
        ("HOLD".to_owned(), EpicorCustomer { credit_hold: true, ..customer(90, "Held Ltd", "USD") }),
        ("GONE".to_owned(), EpicorCustomer { inactive: true, ..customer(91, "Gone Ltd", "USD") }),
        ("ONCE".to_owned(), EpicorCustomer { check_duplicate_po: true, ..customer(92, "Once Ltd", "USD") }),
    ])
}

fn parts() -> BTreeMap<String, EpicorPart> {
    let part =
        |description: &str| EpicorPart { description: description.to_owned(), unit: each(), inactive: false };
    BTreeMap::from([
        ("WIDGET-1".to_owned(), part("Widget")),
        ("GADGET-2".to_owned(), part("Gadget")),
        ("GIZMO-3".to_owned(), part("Gizmo")),
        ("SUPPORT-YEAR".to_owned(), part("Support, one year")),
        ("STRIPE-OTHER".to_owned(), part("Other goods and services")),
        ("OLD-9".to_owned(), EpicorPart { inactive: true, ..part("Withdrawn") }),
    ])
}
