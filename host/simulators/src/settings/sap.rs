//! The standard world of SAP ECC.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// How work over several calls is joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnitOfWork {
    /// Every HTTP call is its own: what a BAPI queued is dropped when the call ends.
    Stateless,
    /// Calls with the same `sap-contextid` cookie are one session.
    SessionCookie,
}

/// A logon.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SapUser {
    /// In clear: it is a simulator.
    pub password: String,
    /// Functions that the user has no RFC authorization for.
    #[serde(default)]
    pub forbidden: BTreeSet<String>,
}

/// A company code.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompanyCode {
    /// BUTXT.
    pub name: String,
    /// WAERS.
    pub currency: String,
    /// LAND1.
    pub country: String,
}

/// A customer master.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SapCustomer {
    /// NAME1.
    pub name: String,
    /// Whether it is a person, with first and last name.
    #[serde(default)]
    pub person: bool,
    /// Street without number.
    #[serde(default)]
    pub street: String,
    /// House number.
    #[serde(default)]
    pub house_number: String,
    /// PSTLZ.
    #[serde(default)]
    pub postal_code: String,
    /// REGIO.
    #[serde(default)]
    pub region: String,
    /// TELF1.
    #[serde(default)]
    pub phone: String,
    /// ORT01.
    pub city: String,
    /// LAND1.
    pub country: String,
    /// SMTP_ADDR.
    #[serde(default)]
    pub email: String,
    /// Company codes it is defined in.
    pub company_codes: Vec<String>,
    /// Sales areas it is defined in, `1000/10/00`.
    pub sales_areas: Vec<String>,
}

/// A G/L account, in every company code.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GlAccount {
    /// TXT50.
    pub name: String,
    /// Whether it is a cost element: a line needs a cost centre, an order or a WBS element.
    #[serde(default)]
    pub co_object: bool,
}

/// Where IDocs go.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IdocsOut {
    /// `http://127.0.0.1:…/hooks/src_…`: plain HTTP on loopback.
    pub url: String,
    /// Basic authentication; none when empty.
    pub user: String,
    /// In clear: it is a simulator.
    pub password: String,
    /// RCVPRN.
    pub partner: String,
    /// `text/xml`, or `application/x-sap.idoc` by setting of the port.
    pub content_type: String,
    /// IDocs in one post, at most.
    pub per_post: usize,
    /// How long after a failed post it is repeated.
    pub retry_ms: u64,
    /// Whether customers that are created or changed go out by themselves.
    pub automatic: bool,
    /// Whether IDocs that came in are confirmed (ALEAUD01).
    pub aleaud: bool,
}

impl Default for IdocsOut {
    fn default() -> Self {
        Self {
            url: String::new(),
            user: String::new(),
            password: String::new(),
            partner: "PORTOLAN".to_owned(),
            content_type: "text/xml".to_owned(),
            per_post: 10,
            retry_ms: 1_000,
            automatic: false,
            aleaud: false,
        }
    }
}

/// SAP ECC: behaviour and master data. Numbers are given without leading zeros.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SapOptions {
    /// MANDT.
    pub client: String,
    /// The system's id; the logical system is `<id>CLNT<client>`.
    pub system_id: String,
    /// Logons.
    pub users: BTreeMap<String, SapUser>,
    /// How calls are joined.
    pub unit_of_work: UnitOfWork,
    /// Customer functions that commit by themselves, and the BAPI behind each.
    pub wrappers: BTreeMap<String, String>,
    /// Whether wrappers look for an existing document first.
    pub wrapper_dedupe: bool,
    /// How long an asynchronous update takes until reads see it (a commit without `WAIT`).
    pub update_delay_ms: u64,
    /// Calls served at the same time; more are answered 503. 0: no limit.
    pub dialog_processes: u32,
    /// The prefix of the function namespace in answers.
    pub answer_prefix: String,
    /// Whether a non-empty `SOAPAction` is refused.
    pub soap_action_strict: bool,
    /// Whether the ICF node is switched on.
    pub icf_active: bool,
    /// How long an IDoc that came in waits until it is posted.
    pub idoc_delay_ms: u64,
    /// IDoc types that are registered for SOAP (SRTIDOC).
    pub idoc_types: BTreeSet<String>,
    /// Partners with an inbound profile (WE20).
    pub partners: BTreeSet<String>,
    /// For how many writes a token of Gateway is good; 0: for ever.
    pub csrf_uses: u64,
    /// Entities of one page of Gateway.
    pub odata_page: usize,
    /// Where IDocs go out to.
    pub idocs_out: Option<IdocsOut>,
    /// HTTP status of a classic exception: 500, on some kernels 200.
    pub exception_status: u16,
    /// First sales order number.
    pub sales_order_first: u64,
    /// First number of a customer that is created.
    pub customer_first: u64,
    /// Forms of address (TSAD3T).
    pub titles: BTreeSet<String>,
    /// First accounting document number, in every company code and year.
    pub accounting_document_first: u64,
    /// First and last open period, `YYYYMM`.
    pub periods_open: (String, String),
    /// Company codes.
    pub company_codes: BTreeMap<String, CompanyCode>,
    /// Sales areas (`1000/10/00`) and the company code each belongs to.
    pub sales_areas: BTreeMap<String, String>,
    /// Customers.
    pub customers: BTreeMap<String, SapCustomer>,
    /// Materials: text by number. All are maintained for every sales area.
    pub materials: BTreeMap<String, String>,
    /// Materials that exist and are not maintained for any sales area.
    pub materials_unmaintained: BTreeSet<String>,
    /// G/L accounts.
    pub gl_accounts: BTreeMap<String, GlAccount>,
    /// Cost centres.
    pub cost_centres: BTreeSet<String>,
    /// Currencies without an exchange rate.
    pub currencies_without_rate: BTreeSet<String>,
    /// Objects that another user holds from the start.
    pub locked: BTreeSet<String>,
}

fn owned<const N: usize>(texts: [&str; N]) -> BTreeSet<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn customer(name: &str, city: &str, country: &str, companies: &[&str]) -> SapCustomer {
    let email = format!("{}@example.com", name.to_lowercase().replace(' ', "."));
    SapCustomer {
        name: name.to_owned(),
        person: !["One Time", "Only Germany GmbH", "Stripe Customers"].contains(&name),
        city: city.to_owned(),
        country: country.to_owned(),
        email,
        company_codes: companies.iter().map(|code| (*code).to_owned()).collect(),
        sales_areas: companies.iter().map(|code| format!("{code}/10/00")).collect(),
        ..SapCustomer::default()
    }
}

fn users() -> BTreeMap<String, SapUser> {
    BTreeMap::from([
        ("STRIPE_IF".to_owned(), SapUser { password: "Portolan-100".to_owned(), forbidden: BTreeSet::new() }),
        (
            "READ_ONLY".to_owned(),
            SapUser {
                password: "Portolan-100".to_owned(),
                forbidden: owned([
                    "BAPI_ACC_DOCUMENT_POST",
                    "BAPI_ACC_DOCUMENT_REV_POST",
                    "BAPI_CUSTOMER_CHANGEFROMDATA1",
                    "BAPI_CUSTOMER_CREATEFROMDATA1",
                    "BAPI_SALESORDER_CHANGE",
                    "BAPI_SALESORDER_CREATEFROMDAT2",
                    "Z_STRIPE_ACC_DOCUMENT_POST",
                    "Z_STRIPE_ACC_DOCUMENT_REV_POST",
                    "Z_STRIPE_CUSTOMER_CHANGE",
                    "Z_STRIPE_CUSTOMER_CREATE",
                    "Z_STRIPE_ORDER_CHANGE",
                    "Z_STRIPE_ORDER_CREATE",
                ]),
            },
        ),
    ])
}

fn gl_accounts() -> BTreeMap<String, GlAccount> {
    let account = |name: &str, co_object| GlAccount { name: name.to_owned(), co_object };
    BTreeMap::from([
        ("113100".to_owned(), account("Bank", false)),
        ("113150".to_owned(), account("Stripe clearing", false)),
        ("113160".to_owned(), account("Disputed payments", false)),
        ("113170".to_owned(), account("Currency conversion", false)),
        ("113180".to_owned(), account("Money in transit", false)),
        ("140000".to_owned(), account("Receivables (reconciliation)", false)),
        ("175000".to_owned(), account("Output tax", false)),
        ("473120".to_owned(), account("Payment fees", true)),
        ("800000".to_owned(), account("Sales revenue", false)),
    ])
}

impl Default for SapOptions {
    fn default() -> Self {
        let all = &["1000", "2000", "3000"][..];
        let company = |name: &str, currency: &str, country: &str| CompanyCode {
            name: name.to_owned(),
            currency: currency.to_owned(),
            country: country.to_owned(),
        };
        Self {
            client: "100".to_owned(),
            system_id: "ECD".to_owned(),
            users: users(),
            unit_of_work: UnitOfWork::Stateless,
            wrappers: pairs([
                ("Z_STRIPE_ACC_DOCUMENT_POST", "BAPI_ACC_DOCUMENT_POST"),
                ("Z_STRIPE_ACC_DOCUMENT_REV_POST", "BAPI_ACC_DOCUMENT_REV_POST"),
                ("Z_STRIPE_CUSTOMER_CHANGE", "BAPI_CUSTOMER_CHANGEFROMDATA1"),
                ("Z_STRIPE_CUSTOMER_CREATE", "BAPI_CUSTOMER_CREATEFROMDATA1"),
                ("Z_STRIPE_ORDER_CHANGE", "BAPI_SALESORDER_CHANGE"),
                ("Z_STRIPE_ORDER_CREATE", "BAPI_SALESORDER_CREATEFROMDAT2"),
            ]),
            wrapper_dedupe: false,
            update_delay_ms: 0,
            dialog_processes: 0,
            answer_prefix: "rfc".to_owned(),
            soap_action_strict: false,
            icf_active: true,
            idoc_delay_ms: 0,
            idoc_types: owned(["ACC_DOCUMENT03", "DEBMAS06", "DEBMAS07", "ORDERS05"]),
            partners: owned(["PORTOLAN", "STRIPEGW"]),
            csrf_uses: 0,
            odata_page: 100,
            idocs_out: None,
            exception_status: 500,
            sales_order_first: 16_023,
            customer_first: 100_100,
            titles: owned(["Company", "Mr.", "Ms."]),
            accounting_document_first: 100_000_008,
            periods_open: ("202001".to_owned(), "203512".to_owned()),
            company_codes: BTreeMap::from([
                ("1000".to_owned(), company("Portolan Inc.", "USD", "US")),
                ("2000".to_owned(), company("Portolan GmbH", "EUR", "DE")),
                ("3000".to_owned(), company("Portolan KK", "JPY", "JP")),
            ]),
            sales_areas: pairs([("1000/10/00", "1000"), ("2000/10/00", "2000"), ("3000/10/00", "3000")]),
            customers: BTreeMap::from([
                ("100001".to_owned(), customer("Stripe Customers", "Springfield", "US", all)),
                ("100042".to_owned(), customer("Jenny Rosen", "Springfield", "US", all)),
                ("100043".to_owned(), customer("Ada Lovelace", "London", "GB", all)),
                ("100044".to_owned(), customer("Kenji Tanaka", "Osaka", "JP", all)),
                ("100045".to_owned(), customer("Fatima Al Sabah", "Kuwait City", "KW", all)),
                ("100046".to_owned(), customer("Only Germany GmbH", "Hamburg", "DE", &["2000"])),
                ("CPD-US".to_owned(), customer("One Time", "Springfield", "US", &["1000"])),
            ]),
            materials: pairs([
                ("4711", "Widget"),
                ("4712", "Gadget"),
                ("4713", "Gizmo"),
                ("SUPPORT-YEAR", "Support, one year"),
                ("STRIPE-OTHER", "Other goods and services"),
            ]),
            materials_unmaintained: owned(["4799"]),
            gl_accounts: gl_accounts(),
            cost_centres: owned(["4220"]),
            currencies_without_rate: owned(["VUV"]),
            locked: BTreeSet::new(),
        }
    }
}
