//! The names of economic facts: what `once` of a delivery says. One name for one fact, whichever event tells it.

/// The order (or invoice) of a charge.
#[must_use]
pub fn order(charge: &str) -> String {
    format!("order/{charge}")
}

/// The payment of a charge.
#[must_use]
pub fn payment(charge: &str) -> String {
    format!("payment/{charge}")
}

/// The creation of a customer in the ERP.
#[must_use]
pub fn customer(id: &str) -> String {
    format!("customer/{id}")
}

/// A refund's document.
#[must_use]
pub fn refund(refund: &str) -> String {
    format!("refund/{refund}")
}

/// The reversal of a refund's document.
#[must_use]
pub fn refund_reversal(refund: &str) -> String {
    format!("refund-reversal/{refund}")
}

/// A credit note's document.
#[must_use]
pub fn credit(credit_note: &str) -> String {
    format!("credit/{credit_note}")
}

/// A journal of a balance transaction: a fee, a dispute's movement.
#[must_use]
pub fn transaction(purpose: &str, transaction: &str) -> String {
    format!("{purpose}/{transaction}")
}

/// One part of a payout's journal, from 1.
#[must_use]
pub fn payout(payout: &str, part: usize) -> String {
    format!("payout/{payout}/{part}")
}

/// The reversal of one part of a payout's journal.
#[must_use]
pub fn payout_reversal(payout: &str, part: usize) -> String {
    format!("payout-reversal/{payout}/{part}")
}

/// Numbers told back about an object.
#[must_use]
pub fn told(what: &str, object: &str) -> String {
    format!("told/{what}/{object}")
}
