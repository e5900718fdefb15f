//! What becomes of one object in an ERP, read from the object as it stands at the end.

use serde_json::Value;

use super::{Outcome, is, number, text};

/// Outcome, reason, amount.
pub(super) type Judged = (Outcome, String, i64);

fn nothing(reason: &str, minor: i64) -> Judged {
    (Outcome::Nothing, reason.to_owned(), minor)
}

pub(super) fn charge(charge: &Value) -> Judged {
    let captured = number(charge, "amount_captured");
    match text(charge, "status") {
        "succeeded" if is(charge, "captured") => (Outcome::Posted, String::new(), captured),
        "succeeded" => nothing("not-captured", number(charge, "amount")),
        other => nothing(other, number(charge, "amount")),
    }
}

pub(super) fn refund(refund: &Value) -> Judged {
    let amount = number(refund, "amount");
    match text(refund, "status") {
        "succeeded" => (Outcome::Posted, String::new(), amount),
        "failed" | "canceled" => (Outcome::Reversed, text(refund, "status").to_owned(), amount),
        other => nothing(other, amount),
    }
}

/// Money moved when there are balance transactions: one took it, a second gave it back.
pub(super) fn dispute(dispute: &Value) -> Judged {
    let moved = dispute.get("balance_transactions").and_then(Value::as_array).map_or(0, Vec::len);
    let amount = number(dispute, "amount");
    match moved {
        0 => nothing(text(dispute, "status"), amount),
        1 => (Outcome::Posted, text(dispute, "status").to_owned(), amount),
        _ => (Outcome::Reversed, text(dispute, "status").to_owned(), amount),
    }
}

/// What a dispute's movements come to.
pub(super) fn moved(dispute: &Value) -> Option<(i64, i64, i64)> {
    let rows = dispute.get("balance_transactions")?.as_array().filter(|rows| !rows.is_empty())?;
    let sum = |name: &str| rows.iter().map(|row| number(row, name)).sum();
    Some((sum("amount"), sum("fee"), sum("net")))
}

pub(super) fn invoice(invoice: &Value) -> Judged {
    let charge = invoice.pointer("/_simulator/charge").and_then(Value::as_str);
    let total = number(invoice, "total");
    match (text(invoice, "status"), charge) {
        ("paid", Some(charge)) => nothing(charge, total),
        ("paid", None) if total == 0 => nothing("zero", total),
        (other, _) => nothing(other, total),
    }
}

pub(super) fn credit_note(note: &Value) -> Judged {
    let amount = number(note, "amount");
    match note.pointer("/refunds/0/refund").and_then(Value::as_str) {
        Some(refund) => nothing(refund, amount),
        None => (Outcome::Posted, String::new(), amount),
    }
}

pub(super) fn payout(payout: &Value) -> Judged {
    let amount = number(payout, "amount");
    match (is(payout, "automatic"), text(payout, "status"), text(payout, "reconciliation_status")) {
        (false, ..) => (Outcome::Held, "manual-payout".to_owned(), amount),
        (true, "failed" | "canceled", _) => {
            (Outcome::Reversed, text(payout, "failure_code").to_owned(), amount)
        }
        (true, _, "completed") => (Outcome::Posted, String::new(), amount),
        (true, ..) => nothing("not-reconciled", amount),
    }
}
