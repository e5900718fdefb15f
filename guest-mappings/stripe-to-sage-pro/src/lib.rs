//! Stripe's flows in Sage Pro: customers, paid invoices, receipts on the invoices of an order, credit memos,
//! journals, holds.
//!
//! | delivery | operation | found again by |
//! |---|---|---|
//! | `customer` | `customer.create` | `ExternalRef`: the Stripe customer's id |
//! | `customer-update` | `customer.update` | needs no question: the same again is harmless |
//! | `invoice` | `invoice.create` | `ExternalRef`: the charge's id |
//! | `receipt` | `cash-receipt.create`, for a charge whose order Sage Pro has | `ExternalRef`: the charge's id |
//! | `credit-memo` | `credit-memo.create` | `ExternalRef`: the refund's or credit note's id |
//! | `refund-reversal` | `credit-memo.void` | the memo's `VoidDate`, always asked: a person may have made it void |
//! | journals | `gl-journal.post`, `gl-journal.reverse` | `ExternalRef`: the economic fact, `payout/po_…/1` |
//! | `hold-…` | `invoice.hold`, `customer.hold` | need no question: the same again is harmless |
//!
//! The gateway recognises an `ExternalRef` whoever sends it, and answers a repeat with the existing document. So
//! nothing is asked before the first send: the send itself is the question. Existence is checked *in doubt* only,
//! when reading is better than trying again. For the same reason two first charges of one new customer may be
//! planned at once, and plans keep the host's default order, by the charge.
//!
//! Invoice and receipt of a charge are one economic fact. An event that knows the order, and one that does not,
//! never book it twice: the second takes the first one's numbers.
//!
//! Lines carry net prices, the tax stands beside them, and both add up to the payment.

mod block;
mod customer;
mod erp;
mod invoice;
mod journal;
mod receipt;
mod refund;
mod settings;

use portolan_sdk::{flow, prelude::*};
pub use settings::{Accounts, Hold, Settings};

/// The module's name for the Sage Pro system.
const ERP: &str = "erp";
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
/// Key of the cash receipt in the plan.
const RECEIPT: &str = "receipt";
/// Key of the credit memo in the plan.
const MEMO: &str = "credit-memo";

/// All that is done through the connection `erp`.
const OPERATIONS: &[&str] = &[
    "customer.find",
    "customer.get",
    "customers.by-email",
    "invoice.find",
    "invoices.open",
    "credit-memo.find",
    "cash-receipt.find",
    "gl-journal.find",
    "customer.create",
    "customer.update",
    "customer.hold",
    "invoice.create",
    "invoice.hold",
    "credit-memo.create",
    "credit-memo.void",
    "cash-receipt.create",
    "gl-journal.post",
    "gl-journal.reverse",
];

/// The mapping.
#[derive(Debug)]
pub struct StripeToSagePro;

impl Mapping for StripeToSagePro {
    fn describe() -> Description {
        let description = Description::new(
            "stripe-to-sage-pro",
            env!("CARGO_PKG_VERSION"),
            "What happens at Stripe becomes customers, invoices, receipts, credit memos and journals in Sage Pro.",
        )
        .connection(ERP, "sage-pro", OPERATIONS)
        .table(STATUSES, "Status of a Stripe charge (succeeded) to PaymentStatus of the invoice (Paid)")
        .settings_schema(include_str!("../settings.schema.json"));
        flow::describe::<Settings>(description)
    }

    fn map(cx: &Cx<'_>) -> Result<Plan, Stop> {
        let mut settings: Settings = cx.settings()?;
        settings.flow.clearing_is(&settings.accounts.clearing);
        flow::map(cx, &settings)
    }
}

portolan_sdk::mapping!(StripeToSagePro);
