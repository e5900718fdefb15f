//! Disputes. Money moves when funds are withdrawn or reinstated, as the dispute's balance transactions say: each is
//! a journal, once. That a dispute was opened, won or lost is told, and moves nothing.

use super::{Erp, Journal, STRIPE, day, fact, read, sale::Lined, tell};
use crate::{
    Cx, Stop, ask,
    contract::{Plan, Severity},
    money::Money,
    prelude::json,
    short,
    stripe::{BalanceTransaction, Dispute, Movement},
};

/// `charge.dispute.funds_withdrawn`, `.funds_reinstated`
pub(super) fn moved<E: Erp>(cx: &Cx<'_>, erp: &E) -> Result<Plan, Stop> {
    let dispute: Dispute = read(cx, erp.flow())?.object;
    let mut plan = Plan::new().ordered_by(dispute.charge.as_deref().unwrap_or(&dispute.id));
    let mut numbers = Vec::new();
    for transaction in transactions(cx, &dispute)? {
        let delivery = erp.journal(cx, &journal(erp, &dispute, &transaction)?)?;
        numbers = tell::journal_number(&delivery).into_iter().collect();
        plan = plan.deliver(delivery);
    }
    let status = if cx.event().kind.ends_with("withdrawn") { "withdrawn" } else { "reinstated" };
    let told = tell::Told { kind: "dispute", object: "dispute", id: &dispute.id, status, about: &dispute.id };
    Ok(tell::tell(plan, erp.flow(), &told, &numbers))
}

/// The dispute's movements: those of the event, or as the dispute is now; whole.
fn transactions(cx: &Cx<'_>, dispute: &Dispute) -> Result<Vec<BalanceTransaction>, Stop> {
    let mut movements = dispute.balance_transactions.clone();
    if movements.is_empty() {
        let now: Option<Dispute> = cx.query(STRIPE, "dispute.get", json!({"id": dispute.id}))?;
        movements = now.map(|now| now.balance_transactions).unwrap_or_default();
    }
    if movements.is_empty() {
        return Err(Stop::defer(format!("the balance transaction of {} is not there yet", dispute.id)));
    }
    let named = |movement: &Movement| match movement {
        Movement::Whole(_) => None,
        Movement::Named(id) => {
            Some(ask::query::<BalanceTransaction>(STRIPE, "balance-transaction.get", json!({"id": id})))
        }
    };
    let found = cx.all(movements.iter().map(named).collect::<Vec<_>>())?;
    let whole = movements.into_iter().zip(found).map(|(movement, found)| match movement {
        Movement::Whole(whole) => Ok(*whole),
        Movement::Named(id) => super::known(found.flatten(), &id),
    });
    whole.collect()
}

/// Disputes and fees against the clearing account, in the currency of settlement.
fn journal<E: Erp>(erp: &E, dispute: &Dispute, transaction: &BalanceTransaction) -> Result<Journal, Stop> {
    let (accounts, currency) = (&erp.flow().accounts, transaction.currency);
    let fees = transaction.fees().filter(|_| transaction.adds_up()).ok_or_else(|| {
        let text = format!("amount, fee and net of {} do not add up", transaction.id);
        Stop::reject("/data/object/balance_transactions", "fee-does-not-add-up", text)
    })?;
    let mut lines = Lined::new(&dispute.id, Some(short::reference(&transaction.id)));
    let disputes = accounts.named("disputes", accounts.disputes.as_ref(), currency)?;
    lines.add(disputes, Money::new(transaction.amount.saturating_neg(), currency));
    for (kind, fee) in fees {
        lines.add(accounts.fee(kind)?, Money::new(fee, currency));
    }
    let clearing = accounts.named("clearing", accounts.clearing.as_ref(), currency)?;
    lines.add(clearing, Money::new(transaction.net, currency));
    Ok(Journal {
        key: format!("dispute-{}", transaction.id),
        fact: fact::transaction("dispute", &transaction.id),
        object: ("stripe.balance-transaction", transaction.id.clone()),
        reference: transaction.id.clone(),
        title: if transaction.amount < 0 { "Stripe dispute" } else { "Stripe dispute reinstated" }.to_owned(),
        day: day(erp, transaction.created)?,
        lines: lines.lines,
    })
}

/// `charge.dispute.created`, `.closed`
pub(super) fn told<E: Erp>(cx: &Cx<'_>, erp: &E) -> Result<Plan, Stop> {
    let dispute: Dispute = read(cx, erp.flow())?.object;
    let charge = dispute.charge.as_deref();
    let posted = cx.all(charge.map(|charge| ask::reference("stripe.charge", charge)))?.unwrap_or_default();
    let about = charge.unwrap_or(&dispute.id);
    let (severity, code, title) = match (cx.event().kind.ends_with("created"), dispute.status.as_str()) {
        (true, _) => {
            (Severity::Warning, "dispute-created", format!("{about} is disputed: {}", dispute.total()))
        }
        (false, "lost") => (Severity::Warning, "dispute-lost", format!("The dispute {} is lost", dispute.id)),
        (false, status) => {
            (Severity::Info, "dispute-closed", format!("The dispute {} is closed: {status}", dispute.id))
        }
    };
    let detail = json!({
        "dispute": dispute.id,
        "charge": charge,
        "amount": dispute.total().to_string(),
        "reason": dispute.reason,
        "status": dispute.status,
        "answer_until": dispute.evidence_details.due_by,
        "documents": posted,
    });
    let plan = Plan::new().ordered_by(about);
    let status = dispute.status.as_str();
    let told = tell::Told { kind: "dispute", object: "dispute", id: &dispute.id, status, about: &dispute.id };
    Ok(tell::tell_status(plan.alert(severity, code, title, &detail), erp.flow(), &told))
}
