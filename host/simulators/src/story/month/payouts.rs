//! Money leaves the balance: every morning what has become available, once by hand, once in vain.
//!
//! An automatic payout takes whole balance transactions, and its amount is the sum of their nets. What is available
//! but sums to nothing or less is carried to the next day. The payout by hand takes all that is available in the same
//! way, but Stripe does not tell of what it consists: that stays in `_simulator`.

use serde_json::{Value, json};

use super::rates::SETTLEMENT;
use super::world::{Movement, World};
use super::{Act, DAY_S};

/// The payout whose bank refuses it: the first automatic one from this day on.
const FAILING_DAY: u64 = 7;

impl World {
    pub(super) fn pay_out(&mut self, automatic: bool) {
        let now = self.now;
        let (taken, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.open).into_iter().partition(|open| open.available_on <= now);
        let amount: i64 = taken.iter().map(|open| open.net).sum();
        if amount <= 0 {
            self.open = taken.into_iter().chain(kept).collect();
            if !automatic {
                self.plan(now + DAY_S, Act::Payout { automatic });
            }
            return;
        }
        self.open = kept;
        let id = self.id("po_1", 23);
        for open in &taken {
            self.hand_over(&open.id, &id, automatic);
        }
        let mut movement = Movement::new("payout", "payout", -amount, now).of(&id);
        movement.description = "STRIPE PAYOUT";
        let transaction = self.move_balance(&movement);
        // Its own row is not open: it is what closes the others.
        self.open.retain(|open| open.id != transaction);
        self.hand_over(&transaction, &id, automatic);
        let reconciliation = if automatic { "in_progress" } else { "not_applicable" };
        self.put(json!({
            "id": id, "object": "payout", "amount": amount, "application_fee": null, "application_fee_amount": null,
            "arrival_date": self.midnight_in(2), "automatic": automatic, "balance_transaction": transaction,
            "created": now, "currency": SETTLEMENT, "description": if automatic { json!("STRIPE PAYOUT") } else { Value::Null },
            "destination": "ba_1PortolanBankAccount00", "failure_balance_transaction": null, "failure_code": null,
            "failure_message": null, "livemode": false, "metadata": {}, "method": "standard", "original_payout": null,
            "payout_method": null, "reconciliation_status": reconciliation, "reversed_by": null, "source_type": "card",
            "statement_descriptor": null, "status": "in_transit", "trace_id": null, "type": "bank_account",
        }));
        self.tell("payout.created", &id);
        if automatic {
            self.plan(now + 2 * 3_600, Act::PayoutReconciled { payout: id.clone() });
        }
        self.plan(self.midnight_in(2) + 9 * 3_600, Act::PayoutArrives { payout: id });
    }

    fn hand_over(&mut self, transaction: &str, payout: &str, automatic: bool) {
        let hidden = if automatic { json!({"payout": payout}) } else { json!({"paid_out_by": payout}) };
        self.patch(transaction, json!({"status": "available", "_simulator": hidden}));
    }

    pub(super) fn payout_reconciled(&mut self, payout: &str) {
        self.patch(payout, json!({"reconciliation_status": "completed"}));
        self.tell("payout.reconciliation_completed", payout);
    }

    pub(super) fn payout_arrives(&mut self, payout: &str) {
        let previous = self.patch(
            payout,
            json!({"status": "paid", "trace_id": {"status": "supported", "value": "011000015000001"}}),
        );
        self.tell_change("payout.paid", payout, previous);
        let is_automatic = self.field(payout, "automatic") == json!(true);
        if is_automatic && self.day() >= FAILING_DAY && !self.has_failed_payout {
            self.has_failed_payout = true;
            self.plan(self.now + DAY_S, Act::PayoutFails { payout: payout.to_owned() });
        }
    }

    /// The bank sends the money back: it is in the balance again, and part of the next payout.
    pub(super) fn payout_fails(&mut self, payout: &str) {
        let amount = self.number(payout, "amount");
        let movement =
            Movement::new("payout_failure", "payout_reversal", amount, self.midnight_in(0)).of(payout);
        let transaction = self.move_balance(&movement);
        let previous = self.patch(
            payout,
            json!({"status": "failed", "failure_balance_transaction": transaction, "failure_code": "account_closed",
                   "failure_message": "The bank account has been closed."}),
        );
        self.tell_change("payout.failed", payout, previous);
    }

    /// What Stripe takes once a week for no charge in particular.
    pub(super) fn account_fee(&mut self) {
        let charges = self.objects.keys().filter(|id| id.starts_with("ch_")).count();
        let cents = i64::try_from(charges).unwrap_or(0) * 2 / 4 + 500;
        let mut fee = Movement::new("stripe_fee", "fee", -cents, self.midnight_in(0));
        fee.description = "Radar (weekly)";
        self.move_balance(&fee);
        let mut tax = Movement::new("tax_fee", "tax", -(cents * 19 / 100), self.midnight_in(0));
        tax.description = "VAT on Radar (weekly)";
        self.move_balance(&tax);
    }
}
