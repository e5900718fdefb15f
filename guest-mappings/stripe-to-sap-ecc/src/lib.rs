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

use portolan_sdk::{flow, prelude::*};
pub use settings::{
    Assignment, Blocks, CreditDocument, CreditMemoRequest, Credits, CustomerKind, CustomerMaster,
    DefaultCustomer, RefundDocument, Refunds, Settings,
};

/// The module's name for the SAP system.
const ERP: &str = "erp";
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
        let description = Description::new(
            "stripe-to-sap-ecc",
            env!("CARGO_PKG_VERSION"),
            "What happens at Stripe becomes customers, sales orders and accounting documents in SAP ECC.",
        )
        .connection(ERP, "sap-ecc", OPERATIONS)
        .settings_schema(include_str!("../settings.schema.json"));
        flow::describe::<Settings>(description)
    }

    fn map(cx: &Cx<'_>) -> Result<Plan, Stop> {
        let mut settings: Settings = cx.settings()?;
        settings.flow.clearing_is(&settings.clearing_account);
        flow::map(cx, &settings)
    }
}

portolan_sdk::mapping!(StripeToSapEcc);
