//! A buyer in the fields of SAP's customer master: a person's name in two parts or a company's over four lines,
//! street and house number apart.
//!
//! The fields are those of BAPIKNA101_1 (persons) and BAPIKNA106 (companies).

use std::collections::BTreeSet;

use portolan_sdk::{
    prelude::*,
    sap,
    stripe::{Buyer, Customer},
    text::Field,
};
use serde_json::{Map, Value};

use crate::{CustomerKind, CustomerMaster};

const NAME: Field = Field::new("NAME", 40);
const FIRSTNAME: Field = Field::new("FIRSTNAME", 40);
const LASTNAME: Field = Field::new("LASTNAME", 40);
const STREET: Field = Field::new("STREET", 60);
const HOUSE_NO: Field = Field::new("HOUSE_NO", 10);
const POSTL_COD1: Field = Field::new("POSTL_COD1", 10);
const CITY: Field = Field::new("CITY", 40);
const REGION: Field = Field::new("REGION", 3);
const TEL1_NUMBR: Field = Field::new("TEL1_NUMBR", 30);
const E_MAIL: Field = Field::new("E_MAIL", 241);
const CURRENCY: Field = Field::new("CURRENCY", 5);
const LANGUAGE: Field = Field::new("LANGU", 1);
const TITLE: Field = Field::new("TITLE", 30);

/// Which of the two structures a customer is kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Person,
    Company,
}

impl Kind {
    /// The structure as it is written.
    pub(crate) const fn structure(self) -> &'static str {
        match self {
            Self::Person => "PI_PERSONALDATA",
            Self::Company => "PI_COMPANYDATA",
        }
    }

    /// The structure as it is answered.
    pub(crate) const fn answered(self) -> &'static str {
        match self {
            Self::Person => "PE_PERSONALDATA",
            Self::Company => "PE_COMPANYDATA",
        }
    }

    /// Whether an answered structure names anybody.
    pub(crate) fn is_said(self, fields: &Map<String, Value>) -> bool {
        let name = match self {
            Self::Person => "LASTNAME",
            Self::Company => "NAME",
        };
        !said(fields, name).is_empty()
    }
}

/// A customer's fields. What Stripe does not know is not there.
#[derive(Debug)]
pub(crate) struct Master {
    pub(crate) kind: Kind,
    pub(crate) fields: Map<String, Value>,
}

/// What a customer is, by the settings.
pub(crate) fn kind(customers: &CustomerMaster, buyer: &Buyer) -> Kind {
    match customers.kind {
        CustomerKind::Person => Kind::Person,
        CustomerKind::Company => Kind::Company,
        CustomerKind::ByName if sap::is_company(&buyer.name) => Kind::Company,
        CustomerKind::ByName => Kind::Person,
    }
}

/// A customer without a charge, as a buyer.
pub(crate) fn buyer(customer: &Customer) -> Buyer {
    let text = |value: &Option<String>| {
        value.as_deref().map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned)
    };
    let email = text(&customer.email);
    Buyer {
        kind: "stripe.customer",
        id: customer.id.clone(),
        name: text(&customer.name).or_else(|| email.clone()).unwrap_or_else(|| customer.id.clone()),
        email,
        phone: text(&customer.phone),
        address: customer.address.clone().unwrap_or_default(),
    }
}

/// The fields that Stripe knows.
pub(crate) fn of(buyer: &Buyer, kind: Kind) -> Result<Master, Stop> {
    let mut fields = Map::new();
    let mut put = |field: Field, value: &str| -> Result<(), Stop> {
        if !value.trim().is_empty() {
            fields.insert(field.name().to_owned(), json!(field.text(value.trim())?));
        }
        Ok(())
    };
    match kind {
        Kind::Person => {
            let (first, last) = sap::person(&buyer.name);
            put(FIRSTNAME, &first)?;
            put(LASTNAME, &last)?;
        }
        Kind::Company => put(NAME, &buyer.name)?,
    }
    let address = &buyer.address;
    if let Some(line) = &address.line1 {
        let (street, number) = sap::street(line);
        put(STREET, &street)?;
        put(HOUSE_NO, &number.unwrap_or_default())?;
    }
    for (field, value) in [
        (POSTL_COD1, &address.postal_code),
        (CITY, &address.city),
        (sap::COUNTRY, &address.country),
        (TEL1_NUMBR, &buyer.phone),
        (E_MAIL, &buyer.email),
    ] {
        put(field, value.as_deref().unwrap_or_default())?;
    }
    // SAP keeps a region's code; Stripe may know its name, which is none.
    let region = address.state.as_deref().filter(|state| state.chars().count() <= REGION.chars_max());
    put(REGION, region.unwrap_or_default())?;
    Ok(Master { kind, fields })
}

/// What all new customers get.
pub(crate) fn constants(customers: &CustomerMaster, kind: Kind) -> Result<Map<String, Value>, Stop> {
    let (title, language, form) = match kind {
        Kind::Person => ("TITLE_P", "LANGU_P", &customers.title_person),
        Kind::Company => ("TITLE", "LANGU", &customers.title_company),
    };
    let mut fields = Map::new();
    fields.insert("CURRENCY".to_owned(), json!(CURRENCY.required(&customers.currency)?));
    fields.insert(language.to_owned(), json!(LANGUAGE.required(&customers.language)?));
    if let Some(form) = form {
        fields.insert(title.to_owned(), json!(TITLE.text(form)?));
    }
    Ok(fields)
}

impl Master {
    /// The fields in which SAP says something else.
    pub(crate) fn difference(self, current: &Map<String, Value>) -> Map<String, Value> {
        let mut own = self.fields;
        // The same street, however it is divided into its fields, is no difference.
        let words = |fields: &Map<String, Value>| -> BTreeSet<String> {
            let parts = ["STREET", "HOUSE_NO"].map(|name| said(fields, name));
            parts.iter().flat_map(|part| part.split_whitespace()).map(str::to_lowercase).collect()
        };
        if words(&own) == words(current) {
            own.remove("STREET");
            own.remove("HOUSE_NO");
        } else if own.contains_key("STREET") && !own.contains_key("HOUSE_NO") {
            own.insert("HOUSE_NO".to_owned(), json!(""));
        }
        own.retain(|name, value| {
            let (own, theirs) = (value.as_str().unwrap_or_default(), said(current, name));
            // Addresses of e-mail differ in case without differing in whom they mean.
            if name == "E_MAIL" { !own.eq_ignore_ascii_case(theirs) } else { own != theirs }
        });
        own
    }
}

fn said<'a>(fields: &'a Map<String, Value>, name: &str) -> &'a str {
    fields.get(name).and_then(Value::as_str).unwrap_or_default().trim()
}
