//! Stripe's flows in Epicor: a captured charge becomes a customer, a sales order and a posted cash receipt; money
//! given back a credit memo and a receipt of the negative amount; fees, disputes and payouts journals; customers are
//! kept the same, suspect orders are held.
//!
//! | flow | delivery | operation | found again by | asked |
//! |---|---|---|---|---|
//! | sale | `customer` | `customer.create` or `.update` | `CustID` | in doubt |
//! | | `order` | `sales-order.create` | `PONum` (the charge's id) and the number of lines | always |
//! | | `cash-group` | `cash-group.ensure` | needs no question: the same again is harmless | |
//! | | `receipt` | `cash-receipt.create` | `CheckRef` (short reference), allocations | always |
//! | | `post` | `cash-group.post` | `CheckRef`, posted | always |
//! | refund | `credit-memo` | `credit-memo.create` | `ExternalID` (the refund's id), lines | always |
//! | | `credit-post` | `credit-memo.post` | `ExternalID`, posted | always |
//! | | `refund-group`, `refund`, `refund-post` | as the receipt of a sale, negative | `CheckRef` of the refund | always |
//! | | `refund` | `cash-receipt.reverse` | `CheckRef`, reversed | always |
//! | journal | | `gl-journal.post` or `.reverse` | the fact, in a text of the journal | always |
//! | block | `hold` | `sales-order.hold` or `.release` | the block's id, in the order's comment | in doubt |
//!
//! *Always* for what books money or goods: Epicor refuses no repeated `PONum` or `CheckRef` by itself, and the
//! host's memory does not know what an earlier integration, a second source or a person has made. Posting asks
//! as well, because a receipt that was found may have been posted by whoever made it. *In doubt* for the customer:
//! this very run has asked for it already, and creating a `CustID` that exists answers with the existing row.
//!
//! That is also why two first charges of one new customer may be planned at the same time. Both create the same
//! `CustID`, which is made of the Stripe id; the second is answered with the row of the first. So plans need no
//! common order: they are ordered by the charge (the host's default), and a stuck charge blocks nobody else.

mod block;
mod credit;
mod customer;
mod invoice;
mod journal;
mod order;
mod receipt;
mod refund;
mod sale;
mod settings;
mod sync;

use portolan_sdk::{
    flow::{self, Block, Credit, Documents, Erp, Flow, Journal, Refund, Reversal, Sale},
    prelude::*,
    stripe::{Customer, LineSource},
};
pub use settings::{CreditMemo, CustomerDefaults, Journals, Refunds, Settings};

/// The module's name for the Epicor system.
const ERP: &str = "erp";
/// Stripe product to Epicor part.
const PARTS: &str = "parts";
/// Stripe customer to Epicor CustID.
const CUSTOMERS: &str = "customers";

/// Under which name Epicor's customer number is remembered.
const SYSTEM: &str = "epicor";
/// The sales order of a charge.
const ORDER_SYSTEM: &str = "epicor.order";
/// The posted receipt of a charge.
const RECEIPT_SYSTEM: &str = "epicor.receipt";
/// The document by which a refund's money left.
const REFUND_SYSTEM: &str = "epicor.refund";
/// The same, where it is a receipt of the negative amount and not the reversal of the charge's own.
const REFUND_RECEIPT_SYSTEM: &str = "epicor.refund-receipt";
/// The document by which the money of a failed refund came back.
const REVERSAL_SYSTEM: &str = "epicor.refund-reversal";
/// The credit memo of a refund.
const CREDIT_MEMO_SYSTEM: &str = "epicor.credit-memo";
/// The credit memo of a credit note.
const CREDIT_SYSTEM: &str = "epicor.credit";

/// Kinds of Stripe's objects, as references name them.
const CUSTOMER_KIND: &str = "stripe.customer";
const CHARGE: &str = "stripe.charge";
const REFUND_KIND: &str = "stripe.refund";
const CREDIT_NOTE: &str = "stripe.credit-note";

/// Keys of the deliveries in a plan.
const CUSTOMER: &str = "customer";
const ORDER: &str = "order";
const CASH_GROUP: &str = "cash-group";
const RECEIPT: &str = "receipt";
const POST: &str = "post";
const CREDIT_MEMO: &str = "credit-memo";
const CREDIT_POST: &str = "credit-post";
const REFUND_GROUP: &str = "refund-group";
const REFUND: &str = "refund";
const REFUND_POST: &str = "refund-post";

/// What the module may do in Epicor.
const OPERATIONS: &[&str] = &[
    "customer.get",
    "customer.find",
    "customer.create",
    "customer.update",
    "sales-order.get",
    "sales-order.find",
    "sales-order.create",
    "sales-order.hold",
    "sales-order.release",
    "ar-invoice.find",
    "ar-invoice.open-by-order",
    "credit-memo.find",
    "credit-memo.create",
    "credit-memo.post",
    "cash-group.ensure",
    "cash-receipt.find",
    "cash-receipt.create",
    "cash-receipt.reverse",
    "cash-group.post",
    "gl-journal.find",
    "gl-journal.post",
    "gl-journal.reverse",
];

impl Erp for Settings {
    const SYSTEM: &'static str = SYSTEM;
    const PAYMENT: &'static str = RECEIPT_SYSTEM;
    const JOURNAL: &'static str = "epicor.journal";
    const PRODUCTS: &'static str = PARTS;

    fn flow(&self) -> &Flow {
        &self.flow
    }

    fn time_zone(&self) -> &str {
        &self.time_zone
    }

    fn line_sources(&self) -> &[LineSource] {
        &self.line_sources
    }

    fn sale(&self, cx: &Cx<'_>, sale: &Sale) -> Result<Documents, Stop> {
        sale::documents(self, cx, sale)
    }

    fn refund(&self, cx: &Cx<'_>, refund: &Refund) -> Result<Documents, Stop> {
        refund::documents(self, cx, refund)
    }

    fn reverse_refund(&self, cx: &Cx<'_>, refund: &Refund) -> Result<Documents, Stop> {
        refund::reversed(self, cx, refund)
    }

    fn credit(&self, cx: &Cx<'_>, credit: &Credit) -> Result<Documents, Stop> {
        credit::documents(self, cx, credit)
    }

    fn journal(&self, _: &Cx<'_>, journal: &Journal) -> Result<Delivery, Stop> {
        journal::post(self, journal)
    }

    fn reverse_journal(&self, _: &Cx<'_>, reversal: &Reversal) -> Result<Delivery, Stop> {
        journal::reverse(self, reversal)
    }

    fn customer(&self, cx: &Cx<'_>, customer: &Customer) -> Result<Documents, Stop> {
        sync::documents(self, cx, customer)
    }

    fn block(&self, _: &Cx<'_>, block: &Block) -> Result<Documents, Stop> {
        block::documents(block)
    }
}

/// The mapping.
#[derive(Debug)]
pub struct StripeToEpicor;

impl Mapping for StripeToEpicor {
    fn describe() -> Description {
        let description = Description::new(
            "stripe-to-epicor",
            env!("CARGO_PKG_VERSION"),
            "What happens at Stripe becomes customers, orders, receipts, credit memos and journals in Epicor.",
        )
        .connection(ERP, "epicor", OPERATIONS)
        .settings_schema(include_str!("../settings.schema.json"));
        flow::describe::<Settings>(description)
    }

    fn map(cx: &Cx<'_>) -> Result<Plan, Stop> {
        flow::map(cx, &cx.settings::<Settings>()?)
    }
}

portolan_sdk::mapping!(StripeToEpicor);
