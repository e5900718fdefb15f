//! Coherent Stripe charges for the demo: events as Stripe sends them, and the objects that its API has for them.
//!
//! Called by the demo and by tests. The same tenant and seed give the same bytes; nothing here is random or looks
//! at a clock. Whatever the lines come from, they add up to the charge.

use serde_json::{Value, json};

pub mod books;
mod charge;
pub mod month;
mod objects;

pub use charge::CREATED_FIRST;

/// Where the lines of a charge come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinesFrom {
    /// A checkout session of the payment intent.
    CheckoutSession,
    /// An invoice, found by way of `/v1/invoice_payments`.
    Invoice,
    /// The charge's metadata: `lines`, a JSON array of `{product, description, quantity, amount}`.
    Metadata,
    /// Nowhere: the charge is one line of the tenant's default product.
    Nowhere,
}

/// One charge of the story.
#[derive(Clone, Debug)]
pub struct StoryCharge {
    /// The body of the webhook, `charge.succeeded`.
    pub event: String,
    /// `evt_…`
    pub event_id: String,
    /// `ch_…`, 27 characters.
    pub charge_id: String,
    /// What to put into the Stripe simulator, the charge itself included.
    pub objects: Vec<Value>,
    /// In Stripe's smallest unit.
    pub amount: u64,
    /// Upper-case.
    pub currency: &'static str,
    /// The Stripe customer, if there is one.
    pub customer: Option<String>,
    /// Whether [`CUSTOMERS`] knows it under an ERP number.
    pub customer_known: bool,
    /// Where its lines come from.
    pub lines_from: LinesFrom,
    /// How many lines it has there.
    pub lines: usize,
    /// One sentence about it.
    pub note: &'static str,
}

/// A product, and its counterparts in the standard worlds.
#[derive(Clone, Copy, Debug)]
pub struct StoryProduct {
    /// `prod_…`
    pub id: &'static str,
    /// Its name.
    pub name: &'static str,
    /// SAP material.
    pub sap_material: &'static str,
    /// Epicor part.
    pub epicor_part: &'static str,
    /// Sage Pro item.
    pub sage_item: &'static str,
}

/// A customer that the ERPs have, and its counterparts in the standard worlds.
#[derive(Clone, Copy, Debug)]
pub struct StoryCustomer {
    /// `cus_…`
    pub id: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Its address for mail.
    pub email: &'static str,
    /// Two letters.
    pub country: &'static str,
    /// SAP customer number.
    pub sap_customer: &'static str,
    /// Epicor CustID.
    pub epicor_customer: &'static str,
    /// Sage Pro CustNo.
    pub sage_customer: &'static str,
}

/// The products of the story: the rows of the tenants' lookup tables.
pub const PRODUCTS: &[StoryProduct] = &[
    product("prod_widget", "Widget", "4711", "WIDGET-1"),
    product("prod_gadget", "Gadget", "4712", "GADGET-2"),
    product("prod_gizmo", "Gizmo", "4713", "GIZMO-3"),
    product("prod_support", "Support, one year", "SUPPORT-YEAR", "SUPPORT-YEAR"),
];

/// The customers of the story that the ERPs know: the rows of the tenants' lookup tables.
pub const CUSTOMERS: &[StoryCustomer] = &[
    customer(
        ["cus_PortolanJenny", "Jenny Rosen", "jenny.rosen@example.com", "US"],
        ["100042", "S000042", "ROSE01"],
    ),
    customer(
        ["cus_PortolanAda", "Ada Lovelace", "ada.lovelace@example.com", "GB"],
        ["100043", "S000043", "LOVE01"],
    ),
    customer(
        ["cus_PortolanKenji", "Kenji Tanaka", "kenji.tanaka@example.com", "JP"],
        ["100044", "S000044", "TANA01"],
    ),
    customer(
        ["cus_PortolanFatima", "Fatima Al Sabah", "fatima.al.sabah@example.com", "KW"],
        ["100045", "S000045", "SABA01"],
    ),
];

const fn product(
    id: &'static str,
    name: &'static str,
    sap_material: &'static str,
    part: &'static str,
) -> StoryProduct {
    StoryProduct { id, name, sap_material, epicor_part: part, sage_item: part }
}

const fn customer(stripe: [&'static str; 4], erp: [&'static str; 3]) -> StoryCustomer {
    let [id, name, email, country] = stripe;
    let [sap_customer, epicor_customer, sage_customer] = erp;
    StoryCustomer { id, name, email, country, sap_customer, epicor_customer, sage_customer }
}

/// A line: product (by place in [`PRODUCTS`]), pieces, price of one in the smallest unit.
pub(crate) type Line = (usize, u64, u64);

/// Who pays.
#[derive(Clone, Copy)]
pub(crate) enum Buyer {
    /// By place in [`CUSTOMERS`].
    Known(usize),
    /// A Stripe customer that no ERP has: name and country.
    New(&'static str, &'static str),
    /// No Stripe customer at all: the name on the card.
    Guest(&'static str),
}

/// A charge as it is told.
pub(crate) struct Scene {
    pub(crate) note: &'static str,
    pub(crate) currency: &'static str,
    pub(crate) buyer: Buyer,
    pub(crate) from: LinesFrom,
    pub(crate) lines: &'static [Line],
}

use Buyer::{Guest, Known, New};
use LinesFrom::{CheckoutSession, Invoice, Metadata, Nowhere};

const fn scene(
    note: &'static str,
    currency: &'static str,
    buyer: Buyer,
    from: LinesFrom,
    lines: &'static [Line],
) -> Scene {
    Scene { note, currency, buyer, from, lines }
}

/// The story of one tenant. A charge without lines of its own has one here, for its amount.
const SCENES: &[Scene] = &[
    scene("a known customer buys one thing", "USD", Known(0), CheckoutSession, &[(0, 2, 2_499)]),
    scene(
        "four lines in one session",
        "USD",
        Known(0),
        CheckoutSession,
        &[(0, 1, 2_499), (1, 3, 1_999), (2, 10, 49), (3, 1, 12_000)],
    ),
    scene("a subscription's invoice, two lines", "EUR", Known(1), Invoice, &[(3, 1, 9_900), (0, 4, 2_299)]),
    scene("a shop that writes lines into metadata", "EUR", Known(1), Metadata, &[(1, 2, 1_849), (2, 7, 45)]),
    scene("yen have no decimals", "JPY", Known(2), CheckoutSession, &[(0, 3, 3_480), (2, 1, 7)]),
    scene("dinars have three decimals", "KWD", Known(3), CheckoutSession, &[(1, 1, 12_340), (2, 3, 110)]),
    scene(
        "a customer that the ERP has never seen",
        "USD",
        New("Grace Hopper", "US"),
        CheckoutSession,
        &[(1, 1, 1_999)],
    ),
    scene(
        "a guest without a Stripe customer",
        "USD",
        Guest("Guest Buyer"),
        Metadata,
        &[(0, 1, 2_499), (2, 2, 49)],
    ),
    scene("nothing says what was bought", "EUR", Known(1), Nowhere, &[(0, 1, 7_755)]),
    scene("a yen invoice with one line", "JPY", Known(2), Invoice, &[(3, 1, 14_800)]),
    scene("a new customer pays in dinars", "KWD", New("Yusuf Al Ahmad", "KW"), Nowhere, &[(0, 1, 250_000)]),
    scene("the smallest charge", "USD", Known(0), Nowhere, &[(0, 1, 50)]),
    scene("twelve lines: more than one page", "USD", Known(0), CheckoutSession, TWELVE),
];

const TWELVE: &[Line] = &[
    (0, 1, 101),
    (1, 2, 102),
    (2, 3, 103),
    (3, 1, 104),
    (0, 1, 105),
    (1, 2, 106),
    (2, 3, 107),
    (3, 1, 108),
    (0, 1, 109),
    (1, 2, 110),
    (2, 3, 111),
    (3, 1, 112),
];

/// Charges of one tenant, in the order in which they happened: thirteen, in four currencies, from every kind of
/// source of lines. Two tenants, or two seeds, share no charge; customers and products are the same for all.
#[must_use]
pub fn demo_story(tenant_label: &str, seed: u64) -> Vec<StoryCharge> {
    SCENES.iter().enumerate().map(|(index, scene)| charge::told(tenant_label, seed, index, scene)).collect()
}

/// The objects that all charges share: products, and the customers that the ERPs know.
#[must_use]
pub fn demo_catalogue() -> Vec<Value> {
    let products = PRODUCTS.iter().map(|product| {
        json!({
            "id": product.id, "object": "product", "active": true, "attributes": [], "created": CREATED_FIRST - 86_400,
            "default_price": null, "description": null, "images": [], "livemode": false, "metadata": {},
            "name": product.name, "package_dimensions": null, "shippable": null, "statement_descriptor": null,
            "tax_code": null, "type": "service", "unit_label": null, "updated": CREATED_FIRST - 86_400, "url": null,
        })
    });
    let customers = CUSTOMERS.iter().map(|one| objects::customer(one.id, one.name, one.email, one.country));
    products.chain(customers).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn sum(lines: &Value, amount: &str) -> u64 {
        lines.as_array().unwrap().iter().map(|line| line[amount].as_u64().unwrap()).sum()
    }

    #[test]
    fn every_charge_is_the_sum_of_its_lines() {
        for told in demo_story("sap", 7) {
            let event: Value = serde_json::from_str(&told.event).unwrap();
            let charge = &event["data"]["object"];
            assert_eq!(charge["amount_captured"].as_u64(), Some(told.amount), "{}", told.note);
            let object = |kind: &str| told.objects.iter().find(|object| object["object"] == kind);
            let total = match told.lines_from {
                CheckoutSession => {
                    sum(&object("checkout.session").unwrap()["line_items"]["data"], "amount_total")
                }
                Invoice => sum(&object("invoice").unwrap()["lines"]["data"], "amount"),
                Metadata => sum(
                    &serde_json::from_str(charge["metadata"]["lines"].as_str().unwrap()).unwrap(),
                    "amount",
                ),
                Nowhere => told.amount,
            };
            assert_eq!(total, told.amount, "{}", told.note);
        }
    }

    #[test]
    fn the_story_has_every_currency_source_and_kind_of_customer() {
        let story = demo_story("epicor", 7);
        assert!(story.len() >= 12);
        let currencies: BTreeSet<_> = story.iter().map(|told| told.currency).collect();
        assert_eq!(currencies, BTreeSet::from(["EUR", "JPY", "KWD", "USD"]));
        for from in [CheckoutSession, Invoice, Metadata, Nowhere] {
            assert!(story.iter().any(|told| told.lines_from == from));
        }
        assert!(story.iter().any(|told| told.customer.is_none()));
        assert!(story.iter().any(|told| told.customer.is_some() && !told.customer_known));
    }

    #[test]
    fn ids_are_as_long_as_stripes_and_belong_to_one_tenant() {
        let ids = |label, seed| {
            demo_story(label, seed).into_iter().map(|told| told.charge_id).collect::<BTreeSet<_>>()
        };
        let (sap, epicor, later) = (ids("sap", 7), ids("epicor", 7), ids("sap", 8));
        assert!(sap.iter().all(|id| id.len() == 27 && id.starts_with("ch_3")));
        assert!(sap.is_disjoint(&epicor) && sap.is_disjoint(&later));
        assert_eq!(sap, ids("sap", 7));
    }

    #[test]
    fn an_event_is_as_large_as_stripes() {
        for told in demo_story("sage", 7) {
            assert!((2_500..6_000).contains(&told.event.len()), "{} bytes", told.event.len());
        }
    }
}
