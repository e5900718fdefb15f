//! A captured Stripe charge becomes, in Epicor: a customer, a sales order for what was bought, and a posted cash
//! receipt for what was paid, linked to the order.
//!
//! | delivery | operation | found again by | asked |
//! |---|---|---|---|
//! | `customer` | `customer.create` or `customer.update` | `CustID` | in doubt |
//! | `order` | `sales-order.create` | `PONum` (the charge's id) and the number of lines | always |
//! | `cash-group` | `cash-group.ensure` | needs no question: the same again is harmless | |
//! | `receipt` | `cash-receipt.create` | `CheckRef` (short reference) | always |
//! | `post` | `cash-group.post` | `CheckRef`, posted | always |
//!
//! *Always* for what books money or goods: Epicor refuses no repeated `PONum` or `CheckRef` by itself, and the
//! host's memory does not know what an earlier integration, a second source or a person has made. Posting asks
//! as well, because a receipt that was found may have been posted by whoever made it. *In doubt* for the customer:
//! this very run has asked for it already, and creating a `CustID` that exists answers with the existing row.
//!
//! That is also why two first charges of one new customer may be planned at the same time. Both create the same
//! `CustID`, which is made of the Stripe id; the second is answered with the row of the first. So plans need no
//! common order: they are ordered by the charge (the host's default), and a stuck charge blocks nobody else.

mod customer;
mod order;
mod receipt;
mod settings;

use customer::Identity;
use portolan_sdk::{
    ask::{self, Row},
    date,
    date::Date,
    money::Money,
    prelude::*,
    stripe::{self, Buyer, Charge, Customer, Line, Lines},
};
pub use settings::{CustomerDefaults, Settings};

/// The module's name for the Epicor system.
const ERP: &str = "erp";
/// The module's name for Stripe's API.
const STRIPE: &str = "stripe";
/// Stripe product to Epicor part.
const PARTS: &str = "parts";
/// Stripe customer to Epicor CustID.
const CUSTOMERS: &str = "customers";
/// Under which name Epicor's customer number is remembered.
const SYSTEM: &str = "epicor";

/// Key of the customer's delivery in the plan.
const CUSTOMER: &str = "customer";
/// Key of the sales order in the plan.
const ORDER: &str = "order";
/// Key of the cash group in the plan.
const CASH_GROUP: &str = "cash-group";
/// Key of the cash receipt in the plan.
const RECEIPT: &str = "receipt";
/// Key of the posting in the plan.
const POST: &str = "post";

/// The mapping.
#[derive(Debug)]
pub struct StripeToEpicor;

/// All that the documents are made of.
struct Sale {
    settings: Settings,
    charge: Charge,
    captured: Money,
    day: Date,
    customer: customer::Resolved,
    lines: Vec<(Line, Option<Row>)>,
}

impl Mapping for StripeToEpicor {
    fn describe() -> Description {
        Description::new(
            "stripe-to-epicor",
            env!("CARGO_PKG_VERSION"),
            "A captured Stripe charge becomes a customer, a sales order and a posted cash receipt in Epicor.",
        )
        .serves("stripe", "charge.succeeded")
        .connection(
            ERP,
            "epicor",
            &[
                "customer.find",
                "customer.create",
                "customer.update",
                "sales-order.find",
                "sales-order.create",
                "cash-group.ensure",
                "cash-receipt.find",
                "cash-receipt.create",
                "cash-group.post",
            ],
        )
        .connection(
            STRIPE,
            "stripe",
            &[
                "customer.get",
                "checkout-session.by-payment-intent",
                "invoice.get",
                "invoice.by-payment-intent",
            ],
        )
        .table(
            PARTS,
            "Stripe product (prod_…, or what metadata say; \"shipping\" for shipping) to Epicor part",
        )
        .table(CUSTOMERS, "Stripe customer (cus_…) to Epicor CustID, for customers that Epicor had before")
        .settings_schema(include_str!("../settings.schema.json"))
    }

    fn map(cx: &Cx<'_>) -> Result<Plan, Stop> {
        let settings: Settings = cx.settings()?;
        let charge: Charge = stripe::object(cx)?;
        let captured = charge.captured()?;
        let day = date::in_zone(charge.created, &settings.time_zone).at("/data/object/created")?;

        let (kind, id) = Buyer::key(&charge);
        let known = charge.customer.as_deref();
        let own_row = known.is_some() || settings.guest_customer.is_none();
        let (reference, row, stripes, answers) = cx.all((
            own_row.then(|| ask::reference(kind, &id)),
            known.map(|id| ask::lookup::<Row>(CUSTOMERS, id)),
            known.map(|id| ask::query::<Customer>(STRIPE, "customer.get", json!({"id": id}))),
            Lines::ask(&charge, STRIPE, &settings.line_sources),
        ))?;
        let lines = Lines::of(&charge, answers, &settings.line_sources)?;
        let reduced = lines.reduced;
        let identity =
            Identity::of(&id, reference.as_ref(), row.flatten().as_ref(), &settings, known.is_none())?;
        let (found, rows) = cx.all((identity.question(), lines.row_questions(PARTS)))?;
        let buyer = Buyer::of(&charge, stripes.flatten().as_ref());
        let customer = customer::resolve(identity, found, buyer, &settings, charge.currency)?;
        let lines = lines.with_rows(rows);
        let sale = Sale { settings, charge, captured, day, customer, lines };
        let plan = plan(&sale)?;
        let plan = if reduced { tell_reduced(plan, &sale) } else { plan };
        match &sale.customer.inactive {
            Some(reason) => Err(Stop::hold(reason.clone(), plan)),
            None => Ok(plan),
        }
    }
}

fn plan(sale: &Sale) -> Result<Plan, Stop> {
    let mut plan = Plan::new();
    if let Some(delivery) = customer::delivery(sale) {
        plan = plan.deliver(delivery);
    }
    Ok(customer::remember(plan, &sale.customer)
        .deliver(order::delivery(sale)?)
        .deliver(receipt::group(sale)?)
        .deliver(receipt::receipt(sale)?)
        .deliver(receipt::post(sale)?))
}

fn tell_reduced(plan: Plan, sale: &Sale) -> Plan {
    let detail =
        json!({"charge": sale.charge.id, "authorized": sale.charge.amount, "captured": sale.captured.minor});
    plan.alert(
        Severity::Info,
        "partial-capture",
        "The lines of a partly captured charge were reduced",
        &detail,
    )
}

portolan_sdk::mapping!(StripeToEpicor);
