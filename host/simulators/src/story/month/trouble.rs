//! What follows a payment now and then: refunds that succeed or fail, disputes won and lost, fraud warnings, reviews.

use serde_json::{Value, json};

use super::world::{Movement, World};
use super::{Act, DAY_S};

/// What Stripe takes for a dispute, in US cents.
const DISPUTE_FEE: i64 = 1_500;

impl World {
    /// Decides what will become of a paid charge.
    pub(super) fn foresee(&mut self, charge: &str) {
        let charge = charge.to_owned();
        let is_card = charge.starts_with("ch_");
        let later = self.now + self.dice.between(DAY_S, 8 * DAY_S);
        let all = |reason, fails| Act::Refund { charge: charge.clone(), amount: None, reason, fails };
        let amount = self.number(&charge, "amount_captured");
        match self.dice.below(1_000) {
            0..=39 => self.plan(later, all(Some("requested_by_customer"), false)),
            40..=74 => {
                let part = |share: i64| Some((amount * share / 100 / 10 * 10).max(10).min(amount));
                let reason = if self.dice.chance(300) { Some("duplicate") } else { None };
                let first = Act::Refund { charge: charge.clone(), amount: part(30), reason, fails: false };
                self.plan(later, first);
                if self.dice.chance(500) {
                    let again =
                        Act::Refund { charge: charge.clone(), amount: part(20), reason: None, fails: false };
                    self.plan(later + DAY_S, again);
                    self.plan(later + 2 * DAY_S, all(Some("requested_by_customer"), false));
                }
            }
            75..=84 => self.plan(later, all(Some("requested_by_customer"), true)),
            85..=104 if is_card => {
                let at = self.now + self.dice.between(4 * DAY_S, 12 * DAY_S);
                let inquiry = self.dice.chance(200);
                self.plan(at, Act::Dispute { charge, inquiry });
            }
            105..=118 if is_card => self.plan(self.now + DAY_S / 2, Act::Warn { charge }),
            119..=133 if is_card => self.review(&charge),
            _ => {}
        }
    }

    /// Refunds what is asked for, or all that is left. `None` when nothing is left or the bank has taken it back.
    pub(super) fn refund(
        &mut self,
        charge: &str,
        amount: Option<i64>,
        reason: Option<&str>,
        fails: bool,
    ) -> Option<String> {
        let left = self.number(charge, "amount_captured") - self.number(charge, "amount_refunded");
        let amount = amount.unwrap_or(left).min(left);
        if amount <= 0 || self.field(charge, "disputed") == json!(true) {
            return None;
        }
        let is_card = charge.starts_with("ch_");
        let (id, kind) =
            if is_card { (self.id("re_3", 23), "refund") } else { (self.id("pyr_1", 23), "payment_refund") };
        let currency = self.text(charge, "currency");
        let rate = self.rate(&currency);
        let mut movement = Movement::new(kind, "refund", -rate.convert(amount), self.midnight_in(0)).of(&id);
        movement.rate = Some((&currency, rate));
        let transaction = self.move_balance(&movement);
        let status = if is_card { "succeeded" } else { "pending" };
        self.put(json!({
            "id": id, "object": "refund", "amount": amount, "balance_transaction": transaction, "charge": charge,
            "created": self.now, "currency": currency, "customer": self.field(charge, "customer"),
            "destination_details": if is_card {
                json!({"type": "card", "card": {"type": "refund", "reference_status": "pending", "reference_type": "acquirer_reference_number"}})
            } else {
                json!({"type": "sepa_bank_transfer", "sepa_bank_transfer": {}})
            },
            "failure_balance_transaction": null, "failure_reason": null, "metadata": {},
            "payment_intent": self.field(charge, "payment_intent"), "payment_method": self.field(charge, "payment_method"),
            "pending_reason": null, "reason": reason, "receipt_number": null, "source_transfer_reversal": null,
            "status": status, "transfer_reversal": null,
        }));
        self.refunded(charge, amount);
        self.now += 1;
        self.tell("refund.created", &id);
        self.tell("charge.refunded", charge);
        match (fails, is_card) {
            (true, _) => self.plan(self.now + 2 * DAY_S, Act::RefundFails { refund: id.clone() }),
            (false, false) => self.plan(self.now + DAY_S, Act::RefundSucceeds { refund: id.clone() }),
            (false, true) => {}
        }
        Some(id)
    }

    fn refunded(&mut self, charge: &str, amount: i64) {
        let refunded = self.number(charge, "amount_refunded") + amount;
        let whole = refunded == self.number(charge, "amount_captured");
        self.patch(charge, json!({"amount_refunded": refunded, "refunded": whole}));
    }

    pub(super) fn refund_succeeds(&mut self, refund: &str) {
        let previous = self.patch(refund, json!({"status": "succeeded"}));
        self.tell_change("refund.updated", refund, previous.clone());
        self.tell_change("charge.refund.updated", refund, previous);
    }

    pub(super) fn refund_fails(&mut self, refund: &str) {
        let (charge, amount) = (self.text(refund, "charge"), self.number(refund, "amount"));
        let taken = self.text(refund, "balance_transaction");
        let back = -self.number(&taken, "amount");
        let movement =
            Movement::new("refund_failure", "refund_failure", back, self.midnight_in(0)).of(refund);
        let transaction = self.move_balance(&movement);
        let previous = self.patch(
            refund,
            json!({"status": "failed", "failure_reason": "lost_or_stolen_card", "failure_balance_transaction": transaction}),
        );
        self.refunded(&charge, -amount);
        self.tell_change("refund.failed", refund, previous.clone());
        self.tell_change("charge.refund.updated", refund, previous);
    }

    /// The buyer's bank takes the money back, or only asks.
    pub(super) fn dispute(&mut self, charge: &str, inquiry: bool) {
        if self.number(charge, "amount_refunded") > 0 || self.field(charge, "disputed") == json!(true) {
            return;
        }
        let id = self.id("du_1", 23);
        let (currency, amount) = (self.text(charge, "currency"), self.number(charge, "amount_captured"));
        let due_by = self.now + 9 * DAY_S;
        let reason = if self.dice.chance(500) { "fraudulent" } else { "product_not_received" };
        self.put(json!({
            "id": id, "object": "dispute", "amount": amount, "balance_transactions": [],
            "charge": charge, "created": self.now, "currency": currency, "enhanced_eligibility_types": [],
            "evidence": {}, "evidence_details": {"due_by": due_by, "enhanced_eligibility": {}, "has_evidence": false,
                                                 "past_due": false, "submission_count": 0},
            "is_charge_refundable": inquiry, "livemode": false, "metadata": {},
            "payment_intent": self.field(charge, "payment_intent"),
            "payment_method_details": {"type": "card", "card": {"brand": "visa", "case_type": if inquiry { "inquiry" } else { "chargeback" },
                                       "network_reason_code": "10.4"}},
            "reason": reason,
            "status": if inquiry { "warning_needs_response" } else { "needs_response" },
        }));
        self.patch(charge, json!({"disputed": true, "dispute": id}));
        if !inquiry {
            self.dispute_moves(&id, -1, "dispute", DISPUTE_FEE);
        }
        self.tell("charge.dispute.created", &id);
        if !inquiry {
            self.tell("charge.dispute.funds_withdrawn", &id);
        }
        let at = self.now + self.dice.between(3 * DAY_S, 7 * DAY_S);
        self.plan(at, Act::DisputeEnds { dispute: id });
    }

    fn dispute_moves(&mut self, dispute: &str, sign: i64, category: &str, fee: i64) {
        let (currency, amount) = (self.text(dispute, "currency"), self.number(dispute, "amount"));
        let rate = self.rate(&currency);
        let mut movement =
            Movement::new("adjustment", category, sign * rate.convert(amount), self.midnight_in(0))
                .of(dispute);
        movement.rate = Some((&currency, rate));
        movement.description = "Chargeback";
        if fee != 0 {
            movement.fees = vec![("stripe_fee", "Dispute fee", fee)];
        }
        let transaction = self.move_balance(&movement);
        let moved = self.objects.get(&transaction).cloned().unwrap_or_default();
        let mut all = self.field(dispute, "balance_transactions").as_array().cloned().unwrap_or_default();
        all.push(moved);
        self.patch(dispute, json!({"balance_transactions": all}));
    }

    pub(super) fn dispute_ends(&mut self, dispute: &str) {
        let was_asked = self.text(dispute, "status") == "warning_needs_response";
        let is_won = self.dice.chance(450);
        if was_asked {
            let charge = self.text(dispute, "charge");
            self.patch(&charge, json!({"disputed": false}));
        } else if is_won {
            // Stripe keeps its fee.
            self.dispute_moves(dispute, 1, "dispute_reversal", 0);
        }
        let status = match (was_asked, is_won) {
            (true, _) => "warning_closed",
            (false, true) => "won",
            (false, false) => "lost",
        };
        let previous = self.patch(dispute, json!({"status": status}));
        if !was_asked && is_won {
            self.tell("charge.dispute.funds_reinstated", dispute);
        }
        self.tell_change("charge.dispute.closed", dispute, previous);
    }

    pub(super) fn warn(&mut self, charge: &str) {
        let id = self.id("issfr_1", 23);
        self.put(json!({
            "id": id, "object": "radar.early_fraud_warning", "actionable": true, "charge": charge, "created": self.now,
            "fraud_type": "made_with_stolen_card", "livemode": false, "payment_intent": self.field(charge, "payment_intent"),
        }));
        self.tell("radar.early_fraud_warning.created", &id);
        let charge = charge.to_owned();
        if self.dice.chance(500) {
            let refund = Act::Refund { charge, amount: None, reason: Some("fraudulent"), fails: false };
            self.plan(self.now + DAY_S / 4, refund);
        } else {
            self.plan(self.now + 6 * DAY_S, Act::Dispute { charge, inquiry: false });
        }
    }

    fn review(&mut self, charge: &str) {
        let id = self.id("prv_1", 23);
        self.put(json!({
            "id": id, "object": "review", "billing_zip": null, "charge": charge, "closed_reason": null,
            "created": self.now, "ip_address": null, "livemode": false, "open": true, "opened_reason": "rule",
            "payment_intent": self.field(charge, "payment_intent"), "reason": "rule", "session": null,
        }));
        self.patch(charge, json!({"review": id}));
        self.tell("review.opened", &id);
        let at = self.now + self.dice.between(3_600, DAY_S);
        self.plan(at, Act::ReviewEnds { review: id, charge: charge.to_owned() });
    }

    pub(super) fn review_ends(&mut self, review: &str, charge: &str) {
        let is_fraud = self.dice.chance(300);
        let reason = if is_fraud { "refunded_as_fraud" } else { "approved" };
        self.patch(review, json!({"open": false, "closed_reason": reason, "reason": reason}));
        self.patch(charge, json!({"review": Value::Null}));
        if is_fraud {
            self.refund(charge, None, Some("fraudulent"), false);
        }
        self.tell("review.closed", review);
    }
}
