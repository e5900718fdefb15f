//! Who buys, in Sage Pro: the number remembered, the lookup table's, the guests' from the settings; the one the
//! gateway knows under the Stripe id, else under the e-mail address; else a new one, whose number the gateway gives.

use portolan_sdk::{
    Stop,
    ask::{self, Question, ReferenceQuestion, Row},
    contract::Delivery,
    flow::{Documents, fact},
    prelude::*,
    sage_pro,
    stripe::{Buyer, Customer},
    text::Field,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{CUSTOMER, CUSTOMERS, ERP, SYSTEM, Settings};

/// Under which kind guests are remembered.
const GUEST: &str = "stripe.guest";
/// Under which kind Sage Pro's customers are remembered, with Stripe's ids.
const BACK: &str = "sage-pro.customer";

/// A customer as the gateway answers it.
#[derive(Debug, Clone, Deserialize)]
struct CustomerRow {
    #[serde(rename = "CustNo")]
    number: String,
    #[serde(rename = "ExternalRef")]
    reference: Option<String>,
}

/// The customers with an e-mail address.
#[derive(Debug, Default, Deserialize)]
struct CustomerRows {
    #[serde(rename = "Customers")]
    customers: Vec<CustomerRow>,
}

/// Where a customer stands.
enum Place {
    /// By a number that is known already: remembered, or entered by a person.
    Known(String),
    /// The gateway knows it.
    Found(String),
    /// Nobody knows it.
    New,
    /// Several have its e-mail address, and nothing else tells which is meant.
    Several(Vec<String>),
}

/// What the gateway recognises a buyer by.
fn external_ref(buyer: &Buyer) -> String {
    if buyer.kind == GUEST { format!("guest_{}", buyer.id) } else { buyer.id.clone() }
}

/// What is known of a buyer without asking the gateway: the remembered number, and the lookup table's row.
type Noted = (Option<ReferenceQuestion>, Option<Question<Row>>);

/// The questions to begin with, to be asked together with others.
pub(crate) fn noted(settings: &Settings, buyer: &Buyer) -> Noted {
    let guest = buyer.kind == GUEST;
    let remembered = !guest || settings.guest_customer.is_none();
    (
        remembered.then(|| ask::reference(buyer.kind, &buyer.id)),
        (!guest).then(|| ask::lookup::<Row>(CUSTOMERS, &buyer.id)),
    )
}

/// Looks for a buyer.
fn place(cx: &Cx<'_>, settings: &Settings, buyer: &Buyer) -> Result<Place, Stop> {
    let guest = buyer.kind == GUEST;
    let (known, row) = cx.all(noted(settings, buyer))?;
    let shared = settings.guest_customer.clone().filter(|_| guest);
    let remembered = || known.as_ref()?.id(SYSTEM).map(str::to_owned);
    let number = shared.or_else(remembered).or_else(|| row.flatten()?.main("customer"));
    if let Some(number) = number {
        return Ok(Place::Known(sage_pro::CUST_NO.required(number.trim())?));
    }
    let reference = external_ref(buyer);
    let email = buyer.email.as_ref().filter(|_| settings.find_by_email);
    let (found, alike) = cx.all((
        ask::query::<CustomerRow>(ERP, "customer.find", json!({"ExternalRef": reference})),
        email.map(|email| ask::query::<CustomerRows>(ERP, "customers.by-email", json!({"Email": email}))),
    ))?;
    if let Some(row) = found {
        return Ok(Place::Found(row.number));
    }
    // Who is another Stripe customer already is not this one, though they share an address.
    let free = |row: &CustomerRow| guest || row.reference.as_ref().is_none_or(|own| !own.starts_with("cus_"));
    let rows = alike.flatten().unwrap_or_default().customers;
    let mut numbers: Vec<String> = rows.into_iter().filter(free).map(|row| row.number).collect();
    Ok(match numbers.len() {
        0 => Place::New,
        1 => numbers.pop().map_or(Place::New, Place::Found),
        _ => Place::Several(numbers),
    })
}

/// A sale's customer: its number, and whatever has to be done for it.
pub(crate) fn of_sale(
    cx: &Cx<'_>,
    settings: &Settings,
    buyer: &Buyer,
    currency: &str,
) -> Result<(Option<String>, Documents), Stop> {
    let documents = Documents::default();
    Ok(match place(cx, settings, buyer)? {
        Place::Known(number) => (Some(number), documents),
        Place::Found(number) => (Some(number.clone()), remembered(documents, buyer, &number)),
        Place::New => (None, created(documents, settings, buyer, Some(currency))?),
        Place::Several(numbers) => {
            (None, created(several(documents, buyer, &numbers), settings, buyer, Some(currency))?)
        }
    })
}

fn several(mut documents: Documents, buyer: &Buyer, numbers: &[String]) -> Documents {
    documents.concerns.push(format!(
        "The customers {} have the e-mail address of {}: approve to create another, or refuse and add the right one \
         to the lookup table {CUSTOMERS}.",
        numbers.join(", "),
        buyer.id
    ));
    documents
}

/// Remembers both ways.
fn remembered(mut documents: Documents, buyer: &Buyer, number: &str) -> Documents {
    let pair = |kind: &str, id: &str, system: &str, other: &str| {
        [kind.to_owned(), id.to_owned(), system.to_owned(), other.to_owned()]
    };
    documents.references.push(pair(buyer.kind, &buyer.id, SYSTEM, number));
    if buyer.kind != GUEST {
        documents.references.push(pair(BACK, number, "stripe", &buyer.id));
    }
    documents
}

fn created(
    mut documents: Documents,
    settings: &Settings,
    buyer: &Buyer,
    currency: Option<&str>,
) -> Result<Documents, Stop> {
    let reference = sage_pro::EXTERNAL_REF.required(&external_ref(buyer))?;
    let mut row = fields(settings, buyer)?;
    row.insert("ExternalRef".to_owned(), json!(reference));
    // The gateway gives the number, by the rule of its site.
    row.insert("CustNo".to_owned(), Value::Null);
    row.insert("Company".to_owned(), json!(sage_pro::COMPANY.required(&buyer.name)?));
    for (field, value) in [(sage_pro::CURRENCY, currency), (sage_pro::TERMS, settings.terms.as_deref())] {
        if let Some(value) = value {
            row.insert(field.name().to_owned(), json!(field.text(value)?));
        }
    }
    let delivery = Delivery::new(CUSTOMER, ERP, "customer.create", Value::Object(row))
        .once(fact::customer(&buyer.id))
        .unless(Check::in_doubt("customer.find", json!({"ExternalRef": reference}), "/CustNo"))
        .capture(buyer.kind, &buyer.id, SYSTEM, "/CustNo");
    documents.new_customer = true;
    Ok(documents.deliver(delivery).number("sage_pro_customer", CUSTOMER, "/CustNo"))
}

/// What Stripe says of a buyer, in Sage Pro's fields. What it does not say is left out.
fn fields(settings: &Settings, buyer: &Buyer) -> Result<Map<String, Value>, Stop> {
    let address = &buyer.address;
    let said = |text: &Option<String>| text.as_deref().unwrap_or_default().trim().to_owned();
    let (line_1, line_2) = sage_pro::address_lines(&said(&address.line1), &said(&address.line2))?;
    let country = said(&address.country);
    let country = settings.countries.get(&country).cloned().unwrap_or(country);
    let mut row = Map::new();
    for (field, value) in [
        (sage_pro::ADDRESS_1, line_1),
        (sage_pro::ADDRESS_2, line_2),
        (sage_pro::CITY, said(&address.city)),
        (sage_pro::STATE, said(&address.state)),
        (sage_pro::ZIP, said(&address.postal_code)),
        (sage_pro::COUNTRY, country),
        (sage_pro::PHONE, said(&buyer.phone)),
        (sage_pro::EMAIL, said(&buyer.email)),
    ] {
        if !value.is_empty() {
            row.insert(Field::name(field).to_owned(), json!(field.text(&value)?));
        }
    }
    Ok(row)
}

/// A customer as Stripe knows it now.
pub(crate) fn synchronised(cx: &Cx<'_>, settings: &Settings, customer: &Customer) -> Result<Documents, Stop> {
    let documents = Documents::default();
    if customer.deleted {
        return Ok(documents);
    }
    let name = customer.name.as_deref().map(str::trim).filter(|name| !name.is_empty());
    let buyer = Buyer {
        kind: "stripe.customer",
        id: customer.id.clone(),
        name: name.or(customer.email.as_deref()).unwrap_or(&customer.id).to_owned(),
        email: customer.email.clone(),
        phone: customer.phone.clone(),
        address: customer.address.clone().unwrap_or_default(),
    };
    let currency = settings.customer_currency.as_deref();
    let (number, documents) = match place(cx, settings, &buyer)? {
        Place::Known(number) => (number, documents),
        Place::Found(number) => (number.clone(), remembered(documents, &buyer, &number)),
        Place::New => return created(documents, settings, &buyer, currency),
        Place::Several(numbers) => {
            return created(several(documents, &buyer, &numbers), settings, &buyer, currency);
        }
    };
    let mut wanted = fields(settings, &buyer)?;
    // An address is one thing: what the new one does not have, the old one must not keep.
    if customer.address.is_some() {
        for field in ["Address1", "Address2", "City", "State", "Zip", "Country"] {
            wanted.entry(field).or_insert_with(|| json!(""));
        }
    }
    if let Some(name) = name {
        wanted.insert("Company".to_owned(), json!(sage_pro::COMPANY.required(name)?));
    }
    let change = change(cx, settings, (&buyer.id, &number), wanted)?;
    Ok(change.into_iter().fold(documents, Documents::deliver))
}

/// The change that makes the gateway's row say what Stripe says. Nothing to say: no delivery, so that a change
/// that came from Sage Pro ends here.
fn change(
    cx: &Cx<'_>,
    settings: &Settings,
    (id, number): (&str, &str),
    mut wanted: Map<String, Value>,
) -> Result<Option<Delivery>, Stop> {
    let row: Option<Map<String, Value>> = cx.query(ERP, "customer.get", json!({"CustNo": number}))?;
    let row = row.ok_or_else(|| {
        let text = format!("{id} is remembered as customer {number}, which Sage Pro does not have");
        Stop::reject("/data/object/id", "customer-gone", text)
    })?;
    let now = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default().trim().to_owned();
    if now("ExternalRef").is_empty() || now("ExternalRef").starts_with("guest_") {
        wanted.insert("ExternalRef".to_owned(), json!(sage_pro::EXTERNAL_REF.required(id)?));
    }
    wanted.retain(|name, value| value.as_str() != Some(now(name).as_str()));
    if wanted.is_empty() {
        return Ok(None);
    }
    if settings.guard_updates {
        let was = |name: &String| (name.clone(), row.get(name).cloned().unwrap_or(Value::Null));
        let was: Map<String, Value> = wanted.keys().map(was).collect();
        wanted.insert("IfMatch".to_owned(), row.get("ETag").cloned().unwrap_or(Value::Null));
        wanted.insert("Was".to_owned(), Value::Object(was));
    }
    wanted.insert("CustNo".to_owned(), json!(number));
    Ok(Some(Delivery::new("customer-update", ERP, "customer.update", Value::Object(wanted))))
}
