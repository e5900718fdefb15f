//! A captured Stripe charge becomes, in Sage Pro: a customer, and an invoice for what was bought with the payment
//! on it.
//!
//! | delivery | operation | found again by |
//! |---|---|---|
//! | `customer` | `customer.create` | `ExternalRef`: the Stripe customer's id |
//! | `invoice` | `invoice.create` | `ExternalRef`: the charge's id |
//!
//! The gateway recognises an `ExternalRef` whoever sends it, and answers a repeat with the existing document. So
//! nothing is asked before the first send: the send itself is the question. Existence is checked *in doubt* only,
//! when reading is better than trying again. For the same reason two first charges of one new customer may be
//! planned at once, and plans keep the host's default order, by the charge.
//!
//! Lines carry net prices, the tax stands beside them, and both add up to the payment.

mod customer;
mod invoice;
mod settings;

use customer::{Identity, Resolved};
use portolan_sdk::{
    ask::{self, Row},
    date,
    date::Date,
    money::Money,
    prelude::*,
    stripe::{self, Buyer, Charge, Customer, Line, Lines},
};
pub use settings::{Accounts, Settings};

/// The module's name for the Sage Pro system.
const ERP: &str = "erp";
/// The module's name for Stripe's API.
const STRIPE: &str = "stripe";
/// Stripe product to Sage Pro item.
const ITEMS: &str = "items";
/// Stripe customer to Sage Pro customer.
const CUSTOMERS: &str = "customers";
/// Status of a charge to payment status of an invoice.
const STATUSES: &str = "payment-status";
/// Under which name Sage Pro's customer number is remembered.
const SYSTEM: &str = "sage-pro";

/// Key of the customer's delivery in the plan.
const CUSTOMER: &str = "customer";
/// Key of the invoice in the plan.
const INVOICE: &str = "invoice";

/// The mapping.
#[derive(Debug)]
pub struct StripeToSagePro;

/// All that the invoice is made of.
struct Sale {
    settings: Settings,
    charge: Charge,
    captured: Money,
    day: Date,
    payment_status: String,
    customer: Resolved,
    lines: Vec<(Line, Option<Row>)>,
}

impl Mapping for StripeToSagePro {
    fn describe() -> Description {
        Description::new(
            "stripe-to-sage-pro",
            env!("CARGO_PKG_VERSION"),
            "A captured Stripe charge becomes a customer and a paid invoice in Sage Pro.",
        )
        .serves("stripe", "charge.succeeded")
        .connection(ERP, "sage-pro", &["customer.find", "customer.create", "invoice.find", "invoice.create"])
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
            ITEMS,
            "Stripe product (prod_…, or what metadata say; \"shipping\" for shipping) to Sage Pro item",
        )
        .table(CUSTOMERS, "Stripe customer (cus_…) to Sage Pro customer number")
        .table(STATUSES, "Status of a Stripe charge (succeeded) to PaymentStatus of the invoice (Paid)")
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
        let (reference, row, stripes, status, answers) = cx.all((
            own_row.then(|| ask::reference(kind, &id)),
            known.map(|id| ask::lookup::<Row>(CUSTOMERS, id)),
            known.map(|id| ask::query::<Customer>(STRIPE, "customer.get", json!({"id": id}))),
            ask::lookup::<Row>(STATUSES, &charge.status),
            Lines::ask(&charge, STRIPE, &settings.line_sources),
        ))?;
        let payment_status = payment_status(&charge, status.as_ref(), &settings)?;
        let lines = Lines::of(&charge, answers, &settings.line_sources)?;
        let reduced = lines.reduced;
        let buyer = Buyer::of(&charge, stripes.flatten().as_ref());
        let identity = Identity::of(&buyer, reference.as_ref(), row.flatten().as_ref(), &settings)?;
        let (found, rows) = cx.all((identity.question(), lines.row_questions(ITEMS)))?;
        let customer = customer::resolve(identity, found.flatten(), buyer, &settings, charge.currency)?;
        let lines = lines.with_rows(rows);

        let sale = Sale { settings, charge, captured, day, payment_status, customer, lines };
        let plan = Plan::new();
        let plan = match customer::delivery(&sale.customer) {
            Some(delivery) => plan.deliver(delivery),
            None => plan,
        };
        let plan = customer::remember(plan, &sale.customer).deliver(invoice::delivery(&sale)?);
        Ok(if reduced { tell_reduced(plan, &sale) } else { plan })
    }
}

/// What Sage Pro calls the charge's status: by the lookup table, else by the settings.
fn payment_status(charge: &Charge, row: Option<&Row>, settings: &Settings) -> Result<String, Stop> {
    let known = row.and_then(|row| row.main("status"));
    known.or_else(|| settings.payment_status.get(&charge.status).cloned()).ok_or_else(|| {
        let text =
            format!("{:?} has no payment status: add it to the lookup table {STATUSES}", charge.status);
        Stop::reject("/data/object/status", "unknown-status", text)
    })
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

portolan_sdk::mapping!(StripeToSagePro);
