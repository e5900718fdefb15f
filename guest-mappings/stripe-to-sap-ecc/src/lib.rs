//! What Stripe tells becomes documents in SAP ECC. This crate is SAP's side of the flows
//! ([`portolan_sdk::flow::Erp`], implemented on [`Settings`]); which event tells which fact stands in the SDK.
//!
//! | fact | documents | carries Stripe's id in | found again by |
//! |---|---|---|---|
//! | sale | sales order (`sales-order.create`), unless metadata name one | `PURCH_NO_C` (the id) | `PURCH_NO_C` |
//! | | payment (`accounting-document.post`, `DZ`) | `REF_DOC_NO` (short reference), `ITEM_TEXT` (the id) | company code, year, type, `REF_DOC_NO` |
//! | | customer (`customer.create`), where [`CustomerMaster`] says how | e-mail address | e-mail address |
//! | refund | FI document (`DG`, or `DZ` reversed); credit memo request by setting | as the payment; as the order | as these |
//! | failed refund | reversal (`accounting-document.reverse`) | the document it reverses | the document's STBLG |
//! | credit note | credit memo request, or FI document | as the order; as the payment | as these |
//! | journal | FI document (`SA`) | `REF_DOC_NO` (short reference of the fact) | as the payment |
//! | block | `sales-order.change` | | a change to the same values is none |
//!
//! Documents are looked for *always*, before the first send too. SAP refuses neither a repeated customer order
//! number nor a repeated reference, and the host's own memory does not know what an earlier integration, a second
//! source or a person has posted. One read costs milliseconds; a payment posted twice costs a morning. The payment
//! must not rely on the order alone: where the order was found, the payment is likely to be there as well.
//!
//! The customer is the one remembered, else the lookup table's, else (where customers are created) the one with
//! the same e-mail address or a new one, else the settings' default (a one-time customer, as a rule), else the
//! charge waits for a person. Plans are ordered by the charge (the host's default): no document of one charge
//! depends on another charge, so a stuck one blocks nobody else.

mod block;
mod credit;
mod customer;
mod erp;
mod journal;
mod master;
mod order;
mod posting;
mod refund;
mod sale;
mod settings;

use portolan_sdk::{
    date,
    flow::{Erp, Sale},
    prelude::*,
    stripe::{self, Buyer, Charge, Lines},
};
pub use settings::{
    Assignment, Blocks, CreditDocument, CreditMemoRequest, Credits, CustomerKind, CustomerMaster,
    DefaultCustomer, RefundDocument, Refunds, Settings,
};

/// The module's name for the SAP system.
const ERP: &str = "erp";
/// The module's name for Stripe's API.
const STRIPE: &str = "stripe";
/// Stripe product to SAP material.
const MATERIALS: &str = "materials";
/// Stripe customer to SAP customer.
const CUSTOMERS: &str = "customers";

/// All that is done in SAP.
const OPERATIONS: &[&str] = &[
    "accounting-document.find",
    "accounting-document.get",
    "accounting-document.post",
    "accounting-document.reversal",
    "accounting-document.reverse",
    "customer.by-email",
    "customer.change",
    "customer.create",
    "customer.get",
    "sales-order.by-number",
    "sales-order.change",
    "sales-order.create",
    "sales-order.find",
];

/// The mapping.
#[derive(Debug)]
pub struct StripeToSapEcc;

impl Mapping for StripeToSapEcc {
    fn describe() -> Description {
        Description::new(
            "stripe-to-sap-ecc",
            env!("CARGO_PKG_VERSION"),
            "A captured Stripe charge becomes a sales order and its payment in SAP ECC.",
        )
        .serves("stripe", "charge.succeeded")
        .connection(ERP, "sap-ecc", OPERATIONS)
        .connection(
            STRIPE,
            "stripe",
            &["checkout-session.by-payment-intent", "invoice.get", "invoice.by-payment-intent"],
        )
        .table(
            MATERIALS,
            "Stripe product (prod_…, or what metadata say; \"shipping\" for shipping) to SAP material",
        )
        .table(CUSTOMERS, "Stripe customer (cus_…) to SAP customer number")
        .settings_schema(include_str!("../settings.schema.json"))
    }

    fn map(cx: &Cx<'_>) -> Result<Plan, Stop> {
        let settings: Settings = cx.settings()?;
        let charge: Charge = stripe::object(cx)?;
        let captured = charge.captured()?;
        let day = date::in_zone(charge.created, &settings.time_zone).at("/data/object/created")?;
        let buyer = Buyer::of(&charge, None);

        let (_, answers) =
            cx.all((customer::questions(&buyer), Lines::ask(&charge, STRIPE, &settings.line_sources)))?;
        let lines = Lines::of(&charge, answers, &settings.line_sources)?;
        let reduced = lines.reduced;
        let rows = cx.all(lines.row_questions(MATERIALS))?;
        let lines = lines.with_rows(rows);
        let sale = Sale {
            captured,
            day,
            buyer,
            customer: None,
            lines,
            order: None,
            invoice: None,
            subscription: None,
            charge,
        };
        let documents = settings.sale(cx, &sale)?;
        let plan = documents.deliveries.into_iter().fold(Plan::new(), Plan::deliver);
        let plan = documents
            .references
            .into_iter()
            .fold(plan, |plan, [kind, id, system, known]| plan.remember(kind, id, system, known));
        Ok(if reduced { tell_reduced(plan, &sale) } else { plan })
    }
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

portolan_sdk::mapping!(StripeToSapEcc);
