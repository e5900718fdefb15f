//! What an ERP's customer says that Stripe's does not.

use serde_json::{Map, Value, json};

use super::{Back, Change, ErpCustomer, Part, Party, find::StripeCustomer};
use crate::{Stop, stripe::Address, text::Field};

/// Lengths of Stripe's own fields.
const NAME: Field = Field::new("name", 256);
const TYPED_NAME: Field = Field::new("individual_name or business_name", 150);
const EMAIL: Field = Field::new("email", 512);
const PHONE: Field = Field::new("phone", 20);
const METADATA: Field = Field::new("metadata", 500);

/// Parameters to send.
pub(super) struct Difference {
    pub(super) fields: Map<String, Value>,
    pub(super) metadata: Map<String, Value>,
}

impl Difference {
    /// Of a customer that Stripe does not have: everything.
    pub(super) fn of_new(settings: &Back, customer: &ErpCustomer) -> Result<Self, Stop> {
        let mut all = Self::of(settings, customer, &StripeCustomer::default(), true)?;
        if !all.fields.contains_key("name") && !all.fields.contains_key("email") {
            all.fields.insert("name".to_owned(), json!(NAME.text(&customer.number)?));
        }
        Ok(all)
    }

    /// Of a customer that Stripe has. Where both say something, the ERP's word counts only if it `wins`.
    pub(super) fn of(
        settings: &Back,
        customer: &ErpCustomer,
        stripe: &StripeCustomer,
        wins: bool,
    ) -> Result<Self, Stop> {
        let mut fields = Map::new();
        // Of a deleted customer the ERP may say anything: it is marked, nothing else.
        let parts = settings.fields.iter().filter(|_| customer.change != Change::Deleted);
        for part in parts {
            for (name, value, stripes) in said(settings, customer, stripe, *part)? {
                if stripes == Stripes::Other && wins || stripes == Stripes::Nothing {
                    fields.insert(name.to_owned(), value);
                }
            }
        }
        Ok(Self { fields, metadata: metadata(settings, customer, stripe)? })
    }
}

/// What Stripe says of a part.
#[derive(PartialEq, Eq)]
enum Stripes {
    Nothing,
    Same,
    Other,
}

impl Stripes {
    fn of(stripes: Option<&str>, erps: &str) -> Self {
        match stripes.map(str::trim).filter(|text| !text.is_empty()) {
            None => Self::Nothing,
            Some(text) if text == erps => Self::Same,
            Some(_) => Self::Other,
        }
    }
}

type Said = (&'static str, Value, Stripes);

/// What the ERP says of a part, and whether Stripe says so too. What the ERP leaves empty it does not say.
fn said(
    settings: &Back,
    customer: &ErpCustomer,
    stripe: &StripeCustomer,
    part: Part,
) -> Result<Vec<Said>, Stop> {
    let plain = |name: &'static str, field: Field, erps: Option<&String>, stripes: Option<&String>| {
        let text = |erps: &String| {
            let same = Stripes::of(stripes.map(String::as_str), erps);
            Ok::<Said, Stop>((name, json!(field.text(erps)?), same))
        };
        erps.map(text).transpose().map(|said| said.into_iter().collect::<Vec<_>>())
    };
    Ok(match part {
        Part::Name => {
            let mut names = plain("name", NAME, customer.name.as_ref(), stripe.name.as_ref())?;
            let typed = match customer.party {
                Party::Person => Some(("individual_name", stripe.individual_name.as_ref())),
                Party::Company => Some(("business_name", stripe.business_name.as_ref())),
                Party::Unknown => None,
            };
            if let Some((name, stripes)) = typed.filter(|_| settings.typed_names) {
                names.extend(plain(name, TYPED_NAME, customer.name.as_ref(), stripes)?);
            }
            names
        }
        Part::Email => plain("email", EMAIL, customer.email.as_ref(), stripe.email.as_ref())?,
        Part::Phone => plain("phone", PHONE, customer.phone.as_ref(), stripe.phone.as_ref())?,
        Part::Address => address(&customer.address, stripe.address.as_ref()).into_iter().collect(),
        Part::Language => {
            let stripes = stripe.preferred_locales.as_ref().and_then(|locales| locales.first());
            let language = |language: &String| {
                let same = Stripes::of(stripes.map(String::as_str), language);
                ("preferred_locales", json!([language]), same)
            };
            customer.language.as_ref().map(language).into_iter().collect()
        }
    })
}

/// An address is told as a whole: half of an old one and half of a new one is nowhere.
fn address(erps: &Address, stripes: Option<&Address>) -> Option<Said> {
    let lines = |address: &Address| {
        let street = format!("{} {}", text(&address.line1), text(&address.line2));
        [
            street,
            text(&address.city),
            text(&address.state),
            text(&address.postal_code),
            text(&address.country),
        ]
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let erps = Address {
        // Where the ERP's country is not known by its letters, Stripe's stands.
        country: erps.country.clone().or_else(|| stripes?.country.clone()),
        ..erps.clone()
    };
    let (own, other) = (lines(&erps), stripes.map(lines).unwrap_or_default());
    if own.iter().take(4).all(String::is_empty) {
        return None;
    }
    // Where a street is broken into lines does not make it another one.
    let same = match other.iter().all(String::is_empty) {
        true => Stripes::Nothing,
        false if own == other => Stripes::Same,
        false => Stripes::Other,
    };
    let said = |value: &Option<String>| Some(text(value)).filter(|text| !text.is_empty());
    let value = json!({
        "line1": said(&erps.line1), "line2": said(&erps.line2), "city": said(&erps.city),
        "state": said(&erps.state), "postal_code": said(&erps.postal_code), "country": said(&erps.country),
    });
    Some(("address", value, same))
}

fn text(value: &Option<String>) -> String {
    value.as_deref().unwrap_or_default().trim().to_owned()
}

/// The number, the state and the currency: always the ERP's to say.
fn metadata(
    settings: &Back,
    customer: &ErpCustomer,
    stripe: &StripeCustomer,
) -> Result<Map<String, Value>, Stop> {
    let keys = &settings.metadata;
    let state = match (customer.change, customer.blocked) {
        (Change::Deleted, _) => Some("deleted"),
        (_, true) => Some("blocked"),
        (_, false) => None,
    };
    let mut metadata = Map::new();
    if stripe.said(&keys.number) != Some(&customer.number) {
        metadata.insert(keys.number.clone(), json!(METADATA.required(&customer.number)?));
    }
    if stripe.said(&keys.state) != state {
        // Null unsets.
        metadata.insert(keys.state.clone(), json!(state));
    }
    if let (Some(key), Some(currency)) = (&keys.currency, &customer.currency)
        && stripe.said(key) != Some(currency)
    {
        metadata.insert(key.clone(), json!(METADATA.text(currency)?));
    }
    Ok(metadata)
}
