//! Who is charged, and the customer master: found by reference, by lookup table, by e-mail address; else created.
//! A change is delivered only where SAP says something else than Stripe.

use portolan_sdk::{
    ask::{self, Counterparts, Question, ReferenceQuestion, Row},
    contract::Delivery,
    flow::{Documents, fact},
    prelude::*,
    sap,
    stripe::{Buyer, Customer},
};
use serde_json::{Map, Value};

use crate::{
    CUSTOMERS, CustomerMaster, ERP, Settings,
    master::{self, Kind, Master},
};

/// Key of the customer's creation or change in the plan.
pub(crate) const CUSTOMER: &str = "customer";

/// Who is charged in SAP.
#[derive(Debug)]
pub(crate) struct Payer {
    /// Padded; none while a delivery of the plan is to create the customer.
    pub(crate) number: Option<String>,
    /// For the ledger: the number, or what stands for the customer that is being created.
    pub(crate) label: String,
    /// Name and address to go with a one-time customer, which both documents carry.
    pub(crate) one_time: Option<Map<String, Value>>,
}

impl Payer {
    /// A customer by number. The default customer takes name and address along where it is a one-time one.
    pub(crate) fn known(settings: &Settings, number: &str, buyer: &Buyer) -> Result<Self, Stop> {
        let number = sap::CUSTOMER.alpha(number)?;
        let default = settings.default_customer.as_ref().filter(|default| default.one_time);
        let is_one_time = match default {
            Some(default) => sap::CUSTOMER.alpha(&default.number)? == number,
            None => false,
        };
        let one_time = if is_one_time { Some(one_time(buyer)?) } else { None };
        Ok(Self { label: number.clone(), number: Some(number), one_time })
    }

    /// Puts the number into a field of a delivery: now, or once it is known.
    pub(crate) fn bind(&self, delivery: Delivery, target: &str) -> Delivery {
        match self.number {
            Some(_) => delivery,
            None => delivery.after(CUSTOMER).bind(CUSTOMER, "/CUSTOMERNO", target),
        }
    }
}

fn one_time(buyer: &Buyer) -> Result<Map<String, Value>, Stop> {
    let names = ["NAME", "NAME_2", "NAME_3", "NAME_4"].into_iter().zip(sap::name_lines(&buyer.name)?);
    let mut fields: Map<String, Value> = names.map(|(field, line)| (field.to_owned(), json!(line))).collect();
    let address = &buyer.address;
    for (field, value) in [
        (sap::STREET, &address.line1),
        (sap::POSTL_CODE, &address.postal_code),
        (sap::CITY, &address.city),
        (sap::COUNTRY, &address.country),
    ] {
        if let Some(value) = value {
            fields.insert(field.name().to_owned(), json!(field.text(value)?));
        }
    }
    Ok(fields)
}

type Questions = (ReferenceQuestion, Option<Question<Row>>);

/// What has to be known of a buyer. Guests are in no lookup table.
pub(crate) fn questions(buyer: &Buyer) -> Questions {
    let row = (buyer.kind == "stripe.customer").then(|| ask::lookup::<Row>(CUSTOMERS, &buyer.id));
    (ask::reference(buyer.kind, &buyer.id), row)
}

/// The number by reference, else by lookup table.
fn remembered(cx: &Cx<'_>, buyer: &Buyer) -> Result<Option<String>, Stop> {
    let (reference, row): (Counterparts, _) = cx.all(questions(buyer))?;
    let known = reference.id("sap-ecc").map(str::to_owned);
    Ok(known.or_else(|| row.flatten().and_then(|row| row.main("customer"))))
}

/// The e-mail address, as far as it can be looked for: a longer or stranger one is nobody's.
fn email(buyer: &Buyer) -> Option<&str> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-@+".contains(&byte);
    buyer.email.as_deref().filter(|email| email.len() <= 69 && email.contains('@') && email.bytes().all(fits))
}

/// The number of the customer with the same e-mail address.
fn by_email(cx: &Cx<'_>, buyer: &Buyer) -> Result<Option<String>, Stop> {
    let Some(email) = email(buyer) else { return Ok(None) };
    let found: Option<Value> = cx.query(ERP, "customer.by-email", json!({"E_MAIL": email}))?;
    Ok(found.as_ref().and_then(|found| found.get("CUSTOMERNO")).and_then(Value::as_str).map(str::to_owned))
}

/// Whom a sale is charged to, and what has to be done about them first.
pub(crate) fn payer(settings: &Settings, cx: &Cx<'_>, buyer: &Buyer) -> Result<(Payer, Documents), Stop> {
    if let Some(number) = remembered(cx, buyer)? {
        return Ok((Payer::known(settings, &number, buyer)?, Documents::default()));
    }
    let is_guest = buyer.kind == "stripe.guest";
    if let Some(customers) =
        settings.customer_master.as_ref().filter(|customers| customers.guests || !is_guest)
    {
        let mut documents = Documents::default();
        if let Some(number) = by_email(cx, buyer)? {
            let payer = Payer::known(settings, &number, buyer)?;
            documents.references.push([buyer.kind, &buyer.id, "sap-ecc", &payer.label].map(str::to_owned));
            return Ok((payer, documents));
        }
        if let Some(creation) = creation(settings, customers, buyer)? {
            let label = format!("customer of {}", buyer.id);
            return Ok((Payer { number: None, label, one_time: None }, created(creation)));
        }
    }
    standing(settings, buyer).map(|payer| (payer, Documents::default()))
}

/// Whom a document concerns when no customer may be created for it any more.
pub(crate) fn known_payer(settings: &Settings, cx: &Cx<'_>, buyer: &Buyer) -> Result<Payer, Stop> {
    match remembered(cx, buyer)? {
        Some(number) => Payer::known(settings, &number, buyer),
        None => standing(settings, buyer),
    }
}

/// The default customer, or the refusal that names who is missing.
fn standing(settings: &Settings, buyer: &Buyer) -> Result<Payer, Stop> {
    if let Some(default) = &settings.default_customer {
        return Payer::known(settings, &default.number, buyer);
    }
    let text = if buyer.kind == "stripe.guest" {
        "the charge has no customer, and the settings name no default_customer".to_owned()
    } else {
        format!("no SAP customer is known for {}: add it to the lookup table {CUSTOMERS}", buyer.id)
    };
    Err(Stop::reject("/data/object/customer", "unknown-customer", text))
}

fn created(creation: Delivery) -> Documents {
    let mut documents =
        Documents::default().deliver(creation).number("sap_ecc_customer", CUSTOMER, "/CUSTOMERNO");
    documents.new_customer = true;
    documents
}

/// The delivery that creates a customer; none when Stripe does not know what SAP demands.
fn creation(
    settings: &Settings,
    customers: &CustomerMaster,
    buyer: &Buyer,
) -> Result<Option<Delivery>, Stop> {
    let Master { kind, mut fields } = master::of(buyer, master::kind(customers, buyer))?;
    if ["STREET", "CITY", "POSTL_COD1", "COUNTRY"].iter().any(|name| !fields.contains_key(*name)) {
        return Ok(None);
    }
    fields.extend(master::constants(customers, kind)?);
    let body = json!({
        kind.structure(): fields,
        "PI_COPYREFERENCE": {
            "SALESORG": settings.sales_org,
            "DISTR_CHAN": settings.distribution_channel,
            "DIVISION": settings.division,
            "REF_CUSTMR": sap::CUSTOMER.alpha(&customers.reference_customer)?,
        },
    });
    let mut delivery = Delivery::new(CUSTOMER, ERP, "customer.create", body)
        .once(fact::customer(&buyer.id))
        .capture(buyer.kind, &buyer.id, "sap-ecc", "/CUSTOMERNO");
    // Without an address to look for, a creation whose outcome is unknown waits for a person.
    if let Some(email) = email(buyer) {
        delivery =
            delivery.unless(Check::always("customer.by-email", json!({"E_MAIL": email}), "/CUSTOMERNO"));
    }
    Ok(Some(delivery))
}

/// A customer as Stripe knows it now.
pub(crate) fn documents(settings: &Settings, cx: &Cx<'_>, customer: &Customer) -> Result<Documents, Stop> {
    let Some(customers) = settings.customer_master.as_ref().filter(|_| !customer.deleted) else {
        return Ok(Documents::default());
    };
    let buyer = master::buyer(customer);
    if let Some(number) = remembered(cx, &buyer)? {
        return change(settings, cx, (&buyer, &number));
    }
    if let Some(number) = by_email(cx, &buyer)? {
        let mut documents = change(settings, cx, (&buyer, &number))?;
        documents.references.push([buyer.kind, &buyer.id, "sap-ecc", &number].map(str::to_owned));
        return Ok(documents);
    }
    match creation(settings, customers, &buyer)? {
        Some(creation) => Ok(created(creation)),
        None => Err(Stop::skip(format!(
            "{} has no whole address (street, city, postal code, country), without which SAP creates no customer",
            buyer.id
        ))),
    }
}

/// The change that makes SAP say what Stripe says; none where it does already.
fn change(settings: &Settings, cx: &Cx<'_>, (buyer, number): (&Buyer, &str)) -> Result<Documents, Stop> {
    let number = sap::CUSTOMER.alpha(number)?;
    let area = json!({
        "CUSTOMERNO": number,
        "PI_SALESORG": settings.sales_org,
        "PI_DISTR_CHAN": settings.distribution_channel,
        "PI_DIVISION": settings.division,
    });
    let Some(current) = cx.query::<Value>(ERP, "customer.get", area.clone())? else {
        let text =
            format!("the customer {number} of {} does not exist in SAP's sales area any more", buyer.id);
        return Err(Stop::reject("", "unknown-customer", text));
    };
    // What SAP keeps as a person stays one.
    let of = |kind: Kind| {
        current.get(kind.answered()).and_then(Value::as_object).filter(|said| kind.is_said(said))
    };
    let (kind, said) = match (of(Kind::Person), of(Kind::Company)) {
        (Some(said), _) => (Kind::Person, said),
        (None, Some(said)) => (Kind::Company, said),
        (None, None) => {
            let text = format!("SAP's answer about customer {number} names nobody");
            return Err(Stop::reject("", "unexpected-answer", text));
        }
    };
    let changed = master::of(buyer, kind)?.difference(said);
    if changed.is_empty() {
        return Ok(Documents::default());
    }
    let flags: Map<String, Value> = changed.keys().map(|name| (name.clone(), json!("X"))).collect();
    let mut body = area;
    if let Some(body) = body.as_object_mut() {
        body.insert(kind.structure().to_owned(), Value::Object(changed));
        body.insert(format!("{}X", kind.structure()), Value::Object(flags));
    }
    Ok(Documents::default().deliver(Delivery::new(CUSTOMER, ERP, "customer.change", body)))
}
