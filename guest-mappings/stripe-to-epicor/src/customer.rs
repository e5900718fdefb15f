//! Who buys, in Epicor: found by the number remembered, the lookup table, the CustID that the mapping makes of
//! the Stripe id, or the e-mail address; created when it is none of these.

use portolan_sdk::{
    ask::{self, Counterparts, Question, Row},
    epicor,
    flow::{Documents, fact},
    money::Currency,
    prelude::*,
    short,
    stripe::Buyer,
    text::Field,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{CUSTOMER, CUSTOMERS, ERP, SYSTEM, Settings};

/// The kind under which a guest is remembered.
const GUEST: &str = "stripe.guest";

/// How a customer is looked for.
pub(crate) enum Identity {
    /// By the number remembered for the buyer.
    Remembered(u64),
    /// By a CustID that a person entered: in the lookup table, or as the settings' guest customer.
    Entered(String),
    /// By the CustID that the mapping makes of the buyer's id.
    Made(String),
    /// By the e-mail address: Epicor had the customer before Stripe.
    Known,
}

/// A row of `customer.get`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CustomerRow {
    #[serde(rename = "CustNum")]
    pub(crate) number: u64,
    #[serde(rename = "CustID")]
    pub(crate) id: String,
    pub(crate) inactive: Option<bool>,
    /// Every other column that was read, by its name.
    #[serde(flatten)]
    columns: Map<String, Value>,
}

/// The customer of a document.
pub(crate) struct Resolved {
    /// Its CustID, which stands for its account in the ledger.
    pub(crate) id: String,
    /// Its number; `None` while it is to be created.
    pub(crate) number: Option<u64>,
    inactive: bool,
    change: Option<Change>,
    buyer: Option<Buyer>,
    remember: bool,
}

enum Change {
    Create(Value),
    Update(Value),
}

impl CustomerRow {
    fn text(&self, column: &str) -> &str {
        self.columns.get(column).and_then(Value::as_str).unwrap_or_default().trim()
    }
}

impl Identity {
    /// How the buyer is looked for first.
    pub(crate) fn of(cx: &Cx<'_>, settings: &Settings, buyer: &Buyer) -> Result<Self, Stop> {
        let guest = buyer.kind == GUEST;
        if let Some(id) = settings.guest_customer.as_ref().filter(|_| guest) {
            return Ok(Self::Entered(epicor::CUST_ID.required(id)?));
        }
        let row = (!guest).then(|| ask::lookup::<Row>(CUSTOMERS, &buyer.id));
        let (reference, row): (Counterparts, _) = cx.all((ask::reference(buyer.kind, &buyer.id), row))?;
        if let Some(number) = reference.id(SYSTEM) {
            let text =
                || format!("the reference {SYSTEM} of {} is {number:?}, not a customer number", buyer.id);
            return number
                .parse()
                .map(Self::Remembered)
                .map_err(|_| Stop::reject("", "bad-reference", text()));
        }
        if let Some(id) = row.flatten().and_then(|row| row.main("customer")) {
            return Ok(Self::Entered(epicor::CUST_ID.required(&id)?));
        }
        let prefix = &settings.customer_id_prefix;
        let left = epicor::CUST_ID.chars_max().saturating_sub(prefix.chars().count());
        Ok(Self::Made(epicor::CUST_ID.text(&format!("{prefix}{}", short::prefix(&buyer.id, left)))?))
    }

    fn question(&self) -> Option<Question<CustomerRow>> {
        match self {
            Self::Remembered(number) => Some(by_number(*number)),
            Self::Entered(id) | Self::Made(id) => {
                Some(ask::query(ERP, "customer.get", json!({"CustID": id})))
            }
            Self::Known => None,
        }
    }
}

/// The question for the customer with this number.
pub(crate) fn by_number(number: u64) -> Question<CustomerRow> {
    ask::query(ERP, "customer.get", json!({"CustNum": number}))
}

/// The customer of a buyer: the one that Epicor has, or the one to be created.
pub(crate) fn of_buyer(
    cx: &Cx<'_>,
    settings: &Settings,
    buyer: &Buyer,
    currency: Option<Currency>,
) -> Result<Resolved, Stop> {
    let mut identity = Identity::of(cx, settings, buyer)?;
    let email = buyer.email.as_deref().filter(|_| settings.match_email);
    let by_email = email.filter(|_| matches!(identity, Identity::Made(_)));
    let by_email =
        by_email.map(|email| ask::query::<CustomerRow>(ERP, "customer.get", json!({"EMailAddress": email})));
    // Asked together, to be one round less.
    let (mut found, known) = match cx.all((identity.question(), by_email)) {
        Ok((found, known)) => (found.flatten(), known.flatten()),
        // Several have the address: of no matter where the mapping's own CustID is there.
        Err(Stop::Reject(why)) => match cx.all(identity.question())?.flatten() {
            Some(found) => (Some(found), None),
            None => return Err(Stop::Reject(why)),
        },
        Err(stop) => return Err(stop),
    };
    if let (None, Some(row)) = (&found, known) {
        identity = Identity::Known;
        found = Some(row);
    }
    resolve(&identity, found, buyer, settings, currency)
}

fn resolve(
    identity: &Identity,
    found: Option<CustomerRow>,
    buyer: &Buyer,
    settings: &Settings,
    currency: Option<Currency>,
) -> Result<Resolved, Stop> {
    let gone = |what: String| Err(Stop::reject("/data/object/customer", "unknown-customer", what));
    match (identity, found) {
        (Identity::Made(id), None) => {
            let change = Some(Change::Create(new_row(id, buyer, settings, currency)?));
            let (id, buyer) = (id.clone(), Some(buyer.clone()));
            Ok(Resolved { id, number: None, inactive: false, change, buyer, remember: false })
        }
        (Identity::Remembered(number), None) => {
            gone(format!("{} is remembered as customer {number}, which Epicor does not have", buyer.id))
        }
        (Identity::Entered(id), None) => {
            gone(format!("Epicor has no customer {id}: correct the lookup table {CUSTOMERS} or the settings"))
        }
        (Identity::Known, None) => {
            gone(format!("Epicor has no customer with the e-mail address of {}", buyer.id))
        }
        (Identity::Made(id), Some(row)) if another(&row, buyer) => {
            let text = format!("customer {id} in Epicor is {:?}, not {}: ", row.text("Name"), buyer.name);
            let remedy = format!("name the right one for {} in the lookup table {CUSTOMERS}", buyer.id);
            Err(Stop::reject("/data/object/customer", "customer-id-taken", text + &remedy))
        }
        (identity, Some(row)) => existing(identity, row, buyer, settings),
    }
}

/// Whether a row with our CustID is somebody else: neither name nor e-mail address are the buyer's. Made ids are
/// the same once in 35 trillion pairs; posting to the wrong customer is worth the look.
fn another(row: &CustomerRow, buyer: &Buyer) -> bool {
    let same = |column: &str, other: Option<&str>| {
        row.text(column).to_lowercase() == other.unwrap_or_default().trim().to_lowercase()
    };
    let crm = row.text("ExternalCRMCustomerID");
    crm != buyer.id && !same("Name", Some(&buyer.name)) && !same("EMailAddress", buyer.email.as_deref())
}

fn existing(
    identity: &Identity,
    row: CustomerRow,
    buyer: &Buyer,
    settings: &Settings,
) -> Result<Resolved, Stop> {
    let change = match identity {
        // A customer that a person entered by hand belongs to Epicor; its master data are not Stripe's to change.
        Identity::Entered(_) => None,
        _ if !settings.update_customers => None,
        // It was there before Stripe knew of it: what Epicor says stays, what it does not say is filled in.
        Identity::Known => changes(&row, buyer, |stored| stored.is_empty())?,
        Identity::Remembered(_) | Identity::Made(_) => changes(&row, buyer, |_| true)?,
    };
    Ok(Resolved {
        number: Some(row.number),
        inactive: row.inactive.unwrap_or(false),
        id: row.id,
        change: change.map(Change::Update),
        remember: matches!(identity, Identity::Made(_) | Identity::Known),
        buyer: Some(buyer.clone()),
    })
}

/// What Stripe says of a buyer, column by column; what it does not know is not there.
fn columns(buyer: &Buyer) -> impl Iterator<Item = (Field, &str)> {
    let address = &buyer.address;
    // A buyer without a name goes by its e-mail address or id: good enough for a new customer, no reason to
    // rename one.
    let named = buyer.name != buyer.id && Some(&buyer.name) != buyer.email.as_ref();
    [
        (epicor::NAME, Some(&buyer.name).filter(|_| named)),
        (epicor::E_MAIL_ADDRESS, buyer.email.as_ref()),
        (epicor::PHONE_NUM, buyer.phone.as_ref()),
        (epicor::ADDRESS_1, address.line1.as_ref()),
        (epicor::ADDRESS_2, address.line2.as_ref()),
        (epicor::CITY, address.city.as_ref()),
        (epicor::STATE, address.state.as_ref()),
        (epicor::ZIP, address.postal_code.as_ref()),
        (epicor::COUNTRY, address.country.as_ref()),
    ]
    .into_iter()
    .filter_map(|(field, value)| Some((field, value?.trim())))
    .filter(|(_, value)| !value.is_empty())
}

/// The columns that Stripe knows otherwise, where `may` lets a stored value be changed; or nothing.
fn changes(row: &CustomerRow, buyer: &Buyer, may: impl Fn(&str) -> bool) -> Result<Option<Value>, Stop> {
    let mut fields = Map::new();
    for (field, value) in columns(buyer) {
        let stored = row.text(field.name());
        if stored != value && may(stored) {
            fields.insert(field.name().to_owned(), json!(field.text(value)?));
        }
    }
    let crm = epicor::CRM_CUSTOMER_ID;
    if row.text(crm.name()).is_empty() && buyer.kind != GUEST && may("") {
        fields.insert(crm.name().to_owned(), json!(crm.text(&buyer.id)?));
    }
    if fields.is_empty() {
        return Ok(None);
    }
    fields.insert("CustNum".to_owned(), json!(row.number));
    Ok(Some(Value::Object(fields)))
}

fn new_row(id: &str, buyer: &Buyer, settings: &Settings, currency: Option<Currency>) -> Result<Value, Stop> {
    let mut row = Map::new();
    row.insert("CustID".to_owned(), json!(id));
    row.insert("Name".to_owned(), json!(epicor::NAME.required(&buyer.name)?));
    row.insert("CustomerType".to_owned(), json!("CUS"));
    row.insert("ExternalCRMCustomerID".to_owned(), json!(epicor::CRM_CUSTOMER_ID.text(&buyer.id)?));
    if let Some(currency) = currency {
        row.insert("CurrencyCode".to_owned(), json!(currency.code()));
    }
    for (field, value) in columns(buyer) {
        row.insert(field.name().to_owned(), json!(field.text(value)?));
    }
    let defaults = &settings.customer_defaults;
    for (field, value) in [
        (Field::new("TermsCode", 4), &defaults.terms_code),
        (Field::new("TerritoryID", 8), &defaults.territory_id),
        (Field::new("GroupCode", 4), &defaults.group_code),
        (Field::new("SalesRepCode", 8), &defaults.sales_rep_code),
        (Field::new("ShipViaCode", 4), &defaults.ship_via_code),
        (Field::new("TaxRegionCode", 4), &defaults.tax_region_code),
    ] {
        if let Some(value) = value {
            row.insert(field.name().to_owned(), json!(field.text(value)?));
        }
    }
    Ok(Value::Object(row))
}

impl Resolved {
    /// A customer that a document names.
    pub(crate) fn of_row(row: CustomerRow) -> Self {
        let (number, inactive) = (Some(row.number), row.inactive.unwrap_or(false));
        Self { id: row.id, number, inactive, change: None, buyer: None, remember: false }
    }

    /// The documents that create or change the customer, if it needs one; and what is to be remembered.
    pub(crate) fn documents(&self) -> Documents {
        let mut documents = Documents::default();
        if let (Some(number), Some(buyer)) = (self.number.filter(|_| self.remember), &self.buyer) {
            let reference = [buyer.kind, &buyer.id, SYSTEM, &number.to_string()].map(str::to_owned);
            documents.references.push(reference);
        }
        match (&self.change, &self.buyer) {
            (Some(Change::Create(body)), Some(buyer)) => {
                let check = Check::in_doubt("customer.find", json!({"CustID": self.id}), "/CustNum");
                let delivery = Delivery::new(CUSTOMER, ERP, "customer.create", body.clone())
                    .once(fact::customer(&buyer.id))
                    .unless(check)
                    .capture(buyer.kind, &buyer.id, SYSTEM, "/CustNum");
                documents.new_customer = true;
                documents.deliver(delivery).number("epicor_customer", CUSTOMER, "/CustNum")
            }
            (Some(Change::Update(body)), _) => {
                documents.deliver(Delivery::new(CUSTOMER, ERP, "customer.update", body.clone()))
            }
            _ => documents,
        }
    }

    /// The same customer, of which a sale changes no more than name and e-mail address: the address that was
    /// entered with a payment need not be the customer's own.
    pub(crate) fn for_sale(mut self) -> Self {
        if let Some(Change::Update(Value::Object(fields))) = &mut self.change {
            fields.retain(|name, _| ["CustNum", "Name", "EMailAddress"].contains(&name.as_str()));
            if fields.len() < 2 {
                self.change = None;
            }
        }
        self
    }

    /// Why a person must look before anything is sold to it.
    pub(crate) fn concern(&self) -> Option<String> {
        let number = self.number.unwrap_or_default();
        self.inactive.then(|| format!("customer {} ({number}) is inactive in Epicor: sell to it?", self.id))
    }

    /// Puts the customer's number into a delivery: known now, or from the response that creates it.
    pub(crate) fn deliver(&self, key: &str, operation: &str, mut body: Value) -> Delivery {
        if let (Some(number), Some(fields)) = (self.number, body.as_object_mut()) {
            fields.insert("CustNum".to_owned(), json!(number));
            return Delivery::new(key, ERP, operation, body);
        }
        Delivery::new(key, ERP, operation, body).after(CUSTOMER).bind(CUSTOMER, "/CustNum", "/CustNum")
    }
}
