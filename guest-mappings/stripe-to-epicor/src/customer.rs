//! Who buys, in Epicor: found by the number remembered, the lookup table, or the CustID that the mapping makes
//! of the Stripe id; created when it is not there, updated when its name or e-mail address changed.

use portolan_sdk::{
    ask::{self, Counterparts, Question, Row},
    epicor,
    money::Currency,
    prelude::*,
    short,
    stripe::Buyer,
    text::Field,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{CUSTOMER, CUSTOMERS, ERP, SYSTEM, Sale, Settings};

/// How a customer is looked for.
pub(crate) enum Identity {
    /// By the number remembered for the buyer.
    Remembered(u64),
    /// By a CustID that a person entered: in the lookup table, or as the settings' guest customer.
    Entered(String),
    /// By the CustID that the mapping makes of the buyer's id.
    Made(String),
}

/// A row of `customer.find`.
#[derive(Debug, Deserialize)]
pub(crate) struct CustomerRow {
    #[serde(rename = "CustNum")]
    number: u64,
    #[serde(rename = "CustID")]
    id: String,
    #[serde(rename = "Name")]
    name: Option<String>,
    #[serde(rename = "EMailAddress")]
    email: Option<String>,
    #[serde(rename = "Inactive")]
    inactive: Option<bool>,
}

/// The customer of a sale.
pub(crate) struct Resolved {
    /// Its CustID, which stands for its account in the ledger.
    pub(crate) id: String,
    /// Its number; `None` while it is to be created.
    pub(crate) number: Option<u64>,
    /// Why a person must look first.
    pub(crate) inactive: Option<String>,
    change: Option<Change>,
    buyer: Buyer,
    remember: bool,
}

enum Change {
    Create(Value),
    Update(Value),
}

impl Identity {
    pub(crate) fn of(
        buyer_id: &str,
        reference: Option<&Counterparts>,
        row: Option<&Row>,
        settings: &Settings,
        guest: bool,
    ) -> Result<Self, Stop> {
        if let Some(id) = settings.guest_customer.as_ref().filter(|_| guest) {
            return Ok(Self::Entered(epicor::CUST_ID.required(id)?));
        }
        if let Some(number) = reference.and_then(|reference| reference.id(SYSTEM)) {
            let text =
                || format!("the reference {SYSTEM} of {buyer_id} is {number:?}, not a customer number");
            return number
                .parse()
                .map(Self::Remembered)
                .map_err(|_| Stop::reject("", "bad-reference", text()));
        }
        if let Some(id) = row.and_then(|row| row.main("customer")) {
            return Ok(Self::Entered(epicor::CUST_ID.required(&id)?));
        }
        let prefix = &settings.customer_id_prefix;
        let left = epicor::CUST_ID.chars_max().saturating_sub(prefix.chars().count());
        Ok(Self::Made(epicor::CUST_ID.text(&format!("{prefix}{}", short::prefix(buyer_id, left)))?))
    }

    pub(crate) fn question(&self) -> Question<CustomerRow> {
        let parameters = match self {
            Self::Remembered(number) => json!({"CustNum": number}),
            Self::Entered(id) | Self::Made(id) => json!({"CustID": id}),
        };
        ask::query(ERP, "customer.find", parameters)
    }
}

/// The customer of a sale, from what Epicor answered.
pub(crate) fn resolve(
    identity: Identity,
    found: Option<CustomerRow>,
    buyer: Buyer,
    settings: &Settings,
    currency: Currency,
) -> Result<Resolved, Stop> {
    let gone = |what: String| Err(Stop::reject("/data/object/customer", "unknown-customer", what));
    match (identity, found) {
        (Identity::Made(id), None) => {
            let body = new_row(&id, &buyer, settings, currency)?;
            Ok(Resolved {
                id,
                number: None,
                inactive: None,
                change: Some(Change::Create(body)),
                buyer,
                remember: false,
            })
        }
        (Identity::Remembered(number), None) => {
            gone(format!("{} is remembered as customer {number}, which Epicor does not have", buyer.id))
        }
        (Identity::Entered(id), None) => {
            gone(format!("Epicor has no customer {id}: correct the lookup table {CUSTOMERS} or the settings"))
        }
        (Identity::Made(id), Some(row)) if another(&row, &buyer) => {
            let text = format!(
                "customer {id} in Epicor is {:?}, not {}: ",
                row.name.unwrap_or_default(),
                buyer.name
            );
            let remedy = format!("name the right one for {} in the lookup table {CUSTOMERS}", buyer.id);
            Err(Stop::reject("/data/object/customer", "customer-id-taken", text + &remedy))
        }
        (identity, Some(row)) => existing(&identity, row, buyer, settings),
    }
}

/// Whether a row with our CustID is somebody else: neither name nor e-mail address are the buyer's. Made ids are
/// the same once in 35 trillion pairs; posting to the wrong customer is worth the look.
fn another(row: &CustomerRow, buyer: &Buyer) -> bool {
    let same = |one: Option<&String>, other: Option<&str>| {
        one.map(|text| text.trim().to_lowercase()) == other.map(|text| text.trim().to_lowercase())
    };
    !same(row.name.as_ref(), Some(&buyer.name)) && !same(row.email.as_ref(), buyer.email.as_deref())
}

fn existing(
    identity: &Identity,
    row: CustomerRow,
    buyer: Buyer,
    settings: &Settings,
) -> Result<Resolved, Stop> {
    // A customer that a person entered by hand belongs to Epicor; its master data are not Stripe's to change.
    let ours = !matches!(identity, Identity::Entered(_));
    let change = if ours && settings.update_customers { update(&row, &buyer)? } else { None };
    let inactive = row.inactive.unwrap_or(false);
    let inactive =
        inactive.then(|| format!("customer {} ({}) is inactive in Epicor: sell to it?", row.id, row.number));
    Ok(Resolved {
        id: row.id,
        number: Some(row.number),
        inactive,
        change: change.map(Change::Update),
        remember: matches!(identity, Identity::Made(_)),
        buyer,
    })
}

/// The fields that Stripe knows otherwise, or nothing. What Stripe does not know stays.
fn update(row: &CustomerRow, buyer: &Buyer) -> Result<Option<Value>, Stop> {
    let mut fields = Map::new();
    if buyer.name != buyer.id && Some(buyer.name.as_str()) != row.name.as_deref() {
        fields.insert("Name".to_owned(), json!(epicor::NAME.required(&buyer.name)?));
    }
    if let Some(email) = buyer.email.as_deref().filter(|email| Some(*email) != row.email.as_deref()) {
        fields.insert("EMailAddress".to_owned(), json!(epicor::E_MAIL_ADDRESS.text(email)?));
    }
    if fields.is_empty() {
        return Ok(None);
    }
    fields.insert("CustNum".to_owned(), json!(row.number));
    Ok(Some(Value::Object(fields)))
}

fn new_row(id: &str, buyer: &Buyer, settings: &Settings, currency: Currency) -> Result<Value, Stop> {
    let mut row = Map::new();
    row.insert("CustID".to_owned(), json!(id));
    row.insert("Name".to_owned(), json!(epicor::NAME.required(&buyer.name)?));
    row.insert("CustomerType".to_owned(), json!("CUS"));
    row.insert("CurrencyCode".to_owned(), json!(currency.code()));
    row.insert("ExternalCRMCustomerID".to_owned(), json!(buyer.id));
    let (address, defaults) = (&buyer.address, &settings.customer_defaults);
    let optional = [
        (epicor::E_MAIL_ADDRESS, &buyer.email),
        (epicor::PHONE_NUM, &buyer.phone),
        (epicor::ADDRESS_1, &address.line1),
        (epicor::ADDRESS_2, &address.line2),
        (epicor::CITY, &address.city),
        (epicor::STATE, &address.state),
        (epicor::ZIP, &address.postal_code),
        (epicor::COUNTRY, &address.country),
        (Field::new("TermsCode", 4), &defaults.terms_code),
        (Field::new("TerritoryID", 8), &defaults.territory_id),
        (Field::new("GroupCode", 4), &defaults.group_code),
        (Field::new("SalesRepCode", 8), &defaults.sales_rep_code),
        (Field::new("ShipViaCode", 4), &defaults.ship_via_code),
        (Field::new("TaxRegionCode", 4), &defaults.tax_region_code),
    ];
    for (field, value) in optional {
        if let Some(value) = value {
            row.insert(field.name().to_owned(), json!(field.text(value)?));
        }
    }
    Ok(Value::Object(row))
}

/// The delivery that creates or updates the customer, if it needs one.
pub(crate) fn delivery(sale: &Sale) -> Option<Delivery> {
    let customer = &sale.customer;
    match customer.change.as_ref()? {
        Change::Create(body) => {
            let check = Check::in_doubt("customer.find", json!({"CustID": customer.id}), "/CustNum");
            let delivery = Delivery::new(CUSTOMER, ERP, "customer.create", body.clone()).unless(check);
            Some(delivery.capture(customer.buyer.kind, &customer.buyer.id, SYSTEM, "/CustNum"))
        }
        Change::Update(body) => Some(Delivery::new(CUSTOMER, ERP, "customer.update", body.clone())),
    }
}

/// Remembers the number of a customer that was found by the mapping's own CustID.
pub(crate) fn remember(plan: Plan, customer: &Resolved) -> Plan {
    match customer.number.filter(|_| customer.remember) {
        Some(number) => plan.remember(customer.buyer.kind, &customer.buyer.id, SYSTEM, number.to_string()),
        None => plan,
    }
}

/// Puts the customer's number into a delivery: known now, or from the response that creates it.
pub(crate) fn with_number(key: &str, operation: &str, mut body: Value, customer: &Resolved) -> Delivery {
    if let (Some(number), Some(fields)) = (customer.number, body.as_object_mut()) {
        fields.insert("CustNum".to_owned(), json!(number));
        return Delivery::new(key, ERP, operation, body);
    }
    Delivery::new(key, ERP, operation, body).after(CUSTOMER).bind(CUSTOMER, "/CustNum", "/CustNum")
}
