//! What the flows add to a module's description.

use super::{Erp, settings_schema};
use crate::contract::Description;

/// The event kinds that the flows serve.
const SERVED: [&str; 33] = [
    "charge.succeeded",
    "charge.captured",
    "charge.updated",
    "payment_intent.succeeded",
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "invoice.paid",
    "charge.refunded",
    "refund.created",
    "refund.updated",
    "refund.failed",
    "charge.refund.updated",
    "charge.dispute.created",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
    "charge.dispute.closed",
    "customer.created",
    "customer.updated",
    "customer.deleted",
    "invoice.voided",
    "credit_note.created",
    "customer.subscription.created",
    "customer.subscription.updated",
    "customer.subscription.deleted",
    "customer.subscription.paused",
    "customer.subscription.resumed",
    "payout.reconciliation_completed",
    "payout.paid",
    "payout.failed",
    "payout.canceled",
    "radar.early_fraud_warning.created",
    "review.opened",
    "review.closed",
];

/// What is asked of Stripe, and the one thing that is written there.
const STRIPE_OPERATIONS: [&str; 15] = [
    "charge.get",
    "charges.by-payment-intent",
    "customer.get",
    "checkout-session.by-payment-intent",
    "invoice.get",
    "invoice.by-payment-intent",
    "balance-transaction.get",
    "balance-transactions.by-payout",
    "refund.get",
    "refunds.by-charge",
    "dispute.get",
    "payout.get",
    "subscription.get",
    "object.get",
    "metadata.update",
];

/// A module's description with what the flows need: the events they serve, Stripe and (optional) who is told, the
/// lookup tables, and the settings `flow` in the settings schema. The connection `erp` is the module's own to say.
#[must_use]
pub fn describe<E: Erp>(description: Description) -> Description {
    let schema = settings_schema(&description.settings_schema);
    let described = SERVED.iter().fold(description, |description, kind| description.serves("stripe", kind));
    described
        .connection(super::STRIPE, "stripe", &STRIPE_OPERATIONS)
        .optional_connection(super::NOTIFY, "http", &["request.post"])
        .table("customers", "Stripe customer (cus_…) to the ERP's, for customers that the ERP had before")
        .table(
            E::PRODUCTS,
            "Stripe product (prod_…, or what metadata say; \"shipping\" for shipping) to the ERP's",
        )
        .table(super::REASONS, "Stripe's reason of a refund or a credit note to the ERP's")
        .settings_schema(&schema)
}
