//! Which Stripe customer an ERP's is.

use serde::Deserialize;
use serde_json::json;

use super::{Back, ErpCustomer, STRIPE};
use crate::{
    Cx, Stop,
    ask::{self, Counterparts, Question},
    stripe::{Address, List, Metadata},
};

/// A Stripe customer, as far as an ERP may change it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct StripeCustomer {
    pub(super) id: String,
    pub(super) deleted: Option<bool>,
    pub(super) name: Option<String>,
    pub(super) individual_name: Option<String>,
    pub(super) business_name: Option<String>,
    pub(super) email: Option<String>,
    pub(super) phone: Option<String>,
    pub(super) address: Option<Address>,
    pub(super) preferred_locales: Option<Vec<String>>,
    metadata: Option<Metadata>,
}

impl StripeCustomer {
    /// What the metadata say.
    pub(super) fn said(&self, key: &str) -> Option<&str> {
        self.metadata.as_ref()?.get(key).map(String::as_str).filter(|text| !text.is_empty())
    }

    fn is_deleted(&self) -> bool {
        self.deleted == Some(true)
    }
}

/// What was found.
pub(super) enum Match {
    One(Box<StripeCustomer>),
    None,
    /// It was there, and was deleted.
    Gone(String),
    /// Nobody can say which is meant.
    Several(Vec<String>),
}

/// Looks for the Stripe customer of an ERP's.
pub(super) fn stripe_customer(
    cx: &Cx<'_>,
    settings: &Back,
    customer: &ErpCustomer,
    known: &Counterparts,
) -> Result<Match, Stop> {
    let own = || customer.own.as_ref()?.value.as_deref().filter(|id| id.starts_with("cus_"));
    if let Some(id) = known.id(STRIPE).or_else(own) {
        let found: Option<StripeCustomer> = cx.query(STRIPE, "customer.get", json!({"id": id}))?;
        return Ok(match found.filter(|found| !found.is_deleted()) {
            Some(found) => Match::One(Box::new(found)),
            None => Match::Gone(id.to_owned()),
        });
    }
    let (by_number, alike) = cx.all((numbers(settings, customer), emails(settings, customer)))?;
    let numbered = distinct(by_number);
    if !numbered.is_empty() {
        return Ok(one_of(numbered));
    }
    let others = |found: &StripeCustomer| {
        keys(settings, customer).iter().any(|key| found.said(key).is_some_and(|said| !customer.has(said)))
    };
    let alike: Vec<_> = distinct(alike).into_iter().filter(|found| !others(found)).collect();
    // Who is remembered as another number's customer is not this one, though they share an address.
    let remembered = alike.iter().map(|found| ask::reference("stripe.customer", &found.id));
    let remembered = cx.all(remembered.collect::<Vec<_>>())?;
    let free = alike.into_iter().zip(remembered);
    let free = free.filter(|(_, other)| other.id(customer.system).is_none_or(|number| customer.has(number)));
    Ok(one_of(free.map(|(found, _)| found).collect()))
}

/// The metadata keys that name the number: the tenant's, and the one that the flows to the ERP write.
fn keys(settings: &Back, customer: &ErpCustomer) -> [String; 2] {
    [settings.metadata.number.clone(), format!("{}_customer", customer.system.replace('-', "_"))]
}

type Customers = Vec<Question<List<StripeCustomer>>>;

fn numbers(settings: &Back, customer: &ErpCustomer) -> Customers {
    let asked = |key: &String| {
        ask::query(STRIPE, "customers.by-metadata", json!({"key": key, "value": customer.number}))
    };
    keys(settings, customer).iter().map(asked).collect()
}

/// Stripe compares upper and lower case; people do not.
fn emails(settings: &Back, customer: &ErpCustomer) -> Customers {
    let email = customer.email.clone().filter(|_| settings.find_by_email);
    let lower =
        email.as_ref().map(|email| email.to_lowercase()).filter(|lower| Some(lower) != email.as_ref());
    let asked = |email: String| ask::query(STRIPE, "customers.by-email", json!({"email": email}));
    email.into_iter().chain(lower).map(asked).collect()
}

fn distinct(lists: Vec<Option<List<StripeCustomer>>>) -> Vec<StripeCustomer> {
    let mut found: Vec<StripeCustomer> = Vec::new();
    for customer in lists.into_iter().flatten().flat_map(|list| list.data) {
        if !customer.is_deleted() && found.iter().all(|other| other.id != customer.id) {
            found.push(customer);
        }
    }
    found
}

fn one_of(mut found: Vec<StripeCustomer>) -> Match {
    match found.len() {
        0 => Match::None,
        1 => found.pop().map_or(Match::None, |one| Match::One(Box::new(one))),
        _ => Match::Several(found.into_iter().map(|customer| customer.id).collect()),
    }
}

impl ErpCustomer {
    /// Whether it has this number, however that is padded.
    fn has(&self, number: &str) -> bool {
        let bare = |number: &str| match number.bytes().all(|byte| byte.is_ascii_digit()) {
            true => number.trim_start_matches('0').to_owned(),
            false => number.trim().to_owned(),
        };
        bare(number) == bare(&self.number)
    }
}
