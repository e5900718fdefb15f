//! Fraud: what issuers, Radar and people say of a charge becomes a score with the facts it rests on, an alert, and a
//! block on the documents that the ERP has. A review that approves lifts the block.

use serde_json::Value;

use super::{Block, Documents, Erp, charge_of_intent, charge_question, holds, known, read, tell};
use crate::{
    Cx, Stop,
    ask::{self, Counterparts},
    contract::{Plan, Severity},
    prelude::json,
    stripe::{Charge, EarlyFraudWarning, Review},
};

/// What is said of a charge.
pub(super) struct Signs<'a> {
    /// `issfr_…`, `prv_…`, `re_…`
    id: String,
    /// Whether documents are blocked, or a block is lifted.
    set: bool,
    /// What the sign alone is worth, 0 to 100.
    worth: i64,
    /// For people, in one sentence.
    reason: String,
    facts: Value,
    charge: &'a Charge,
    posted: &'a Counterparts,
}

impl<'a> Signs<'a> {
    /// Money given back because of fraud: somebody has decided that it is.
    pub(super) fn refund(refund: &str, charge: &'a Charge, posted: &'a Counterparts) -> Self {
        let reason = format!("{} was refunded as fraudulent ({refund})", charge.id);
        let facts = json!({"refund": refund, "reason": "fraudulent"});
        Self { id: refund.to_owned(), set: true, worth: 100, reason, facts, charge, posted }
    }

    /// 0 to 100: the worse of what the sign is worth and of Stripe's own score (or, without one, its level).
    fn score(&self) -> i64 {
        let risk = &self.charge.outcome;
        let level = match risk.risk_level.as_deref() {
            Some("highest") => 90,
            Some("elevated") => 70,
            _ => 0,
        };
        self.worth.max(risk.risk_score.unwrap_or(level).clamp(0, 100))
    }

    /// The block's documents: none, when the ERP has nothing of the charge, or only alerts are wanted.
    pub(super) fn block<E: Erp>(&self, cx: &Cx<'_>, erp: &E) -> Result<Documents, Stop> {
        if self.posted.is_empty() || !erp.flow().fraud.block {
            return Ok(Documents::default());
        }
        erp.block(
            cx,
            &Block {
                id: self.id.clone(),
                set: self.set,
                reason: self.reason.clone(),
                charge: self.charge.clone(),
                posted: self.posted.clone(),
            },
        )
    }

    /// The alert, with the score and the facts it rests on.
    pub(super) fn alert(&self, plan: Plan) -> Plan {
        let (charge, risk) = (self.charge, &self.charge.outcome);
        let score = self.score();
        let detail = json!({
            "score": score,
            "rests_on": self.facts,
            "charge": charge.id,
            "amount": crate::money::Money::new(charge.amount, charge.currency).to_string(),
            "customer": charge.customer.as_deref(),
            "risk_score": risk.risk_score,
            "risk_level": risk.risk_level,
            "outcome": risk.kind,
            "documents": self.posted,
        });
        let (severity, code) = match (self.set, score) {
            (false, _) => (Severity::Info, "fraud-cleared"),
            (true, ..75) => (Severity::Warning, "fraud-suspected"),
            (true, _) => (Severity::Critical, "fraud-suspected"),
        };
        plan.alert(severity, code, self.reason.clone(), &detail)
    }

    fn plan<E: Erp>(&self, cx: &Cx<'_>, erp: &E) -> Result<Plan, Stop> {
        let mut documents = self.block(cx, erp)?;
        let (concerns, numbers) =
            (std::mem::take(&mut documents.concerns), std::mem::take(&mut documents.numbers));
        let status = if self.set { "blocked" } else { "released" };
        let told =
            tell::Told { kind: "fraud", object: "charge", id: &self.charge.id, status, about: &self.id };
        let plan = tell::tell(tell::plan(documents, &self.charge.id), erp.flow(), &told, &numbers);
        holds::or_hold(self.alert(plan), &concerns)
    }
}

/// `radar.early_fraud_warning.created`
pub(super) fn warned<E: Erp>(cx: &Cx<'_>, erp: &E) -> Result<Plan, Stop> {
    let warning: EarlyFraudWarning = read(cx, erp.flow())?.object;
    let id = warning.charge.as_deref().ok_or_else(|| missing(&warning.id))?;
    let (charge, posted) = cx.all((charge_question(id), ask::reference("stripe.charge", id)))?;
    let charge = known(charge, id)?;
    let kind = warning.fraud_type.as_deref().unwrap_or("unknown");
    let signs = Signs {
        reason: format!("The issuer of {id} warns of fraud ({kind})"),
        facts: json!({"early_fraud_warning": warning.id, "fraud_type": kind, "actionable": warning.actionable}),
        id: warning.id,
        set: true,
        // The issuer's word; one that a refund could still answer is fresher than one that a dispute has overtaken.
        worth: if warning.actionable { 95 } else { 85 },
        charge: &charge,
        posted: &posted,
    };
    signs.plan(cx, erp)
}

/// `review.opened`, `review.closed`
pub(super) fn reviewed<E: Erp>(cx: &Cx<'_>, erp: &E) -> Result<Plan, Stop> {
    let review: Review = read(cx, erp.flow())?.object;
    let charge = match (&review.charge, &review.payment_intent) {
        (Some(charge), _) => known(cx.all(charge_question(charge))?, charge)?,
        (None, Some(intent)) => charge_of_intent(cx, intent)?.ok_or_else(|| {
            Stop::skip(format!("nothing of {} is captured: no document to block", &**intent))
        })?,
        (None, None) => return Err(missing(&review.id)),
    };
    let posted = cx.reference("stripe.charge", &charge.id)?;
    let opened = review.opened_reason.as_deref().or(review.reason.as_deref()).unwrap_or("unknown");
    let closed = review.closed_reason.as_deref().or(review.reason.as_deref()).unwrap_or("unknown");
    let is_opened = cx.event().kind.ends_with("opened");
    let facts = json!({"review": review.id, "opened": opened, "closed": (!is_opened).then_some(closed)});
    let (set, worth, reason) = match (is_opened, closed) {
        (true, _) => (true, 60, format!("{} is under review ({opened})", charge.id)),
        (false, "approved") => (false, 0, format!("The review of {} approved it", charge.id)),
        // Money went back, or is disputed: the block stays, its own events tell the rest.
        (false, _) => (true, 90, format!("The review of {} ended: {closed}", charge.id)),
    };
    Signs { id: review.id.clone(), set, worth, reason, facts, charge: &charge, posted: &posted }.plan(cx, erp)
}

fn missing(id: &str) -> Stop {
    Stop::reject("/data/object/charge", "missing", format!("{id} does not name a charge"))
}
