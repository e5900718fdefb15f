//! Payouts to the general ledger. When Stripe says that an automatic payout is reconciled, all its balance
//! transactions are fetched ([`statement`]); they add up to the payout to the unit, every category is known, and the
//! ERP has every charge, refund and dispute in it, or a person looks at the evidence first. Then it is journals
//! ([`journals`]): the bank, fees by kind, and the clearing account, where each open item is met by its reference.
//!
//! A payout that fails is taken back part by part, and what was in it comes with the payout that it returns in
//! ([`returned`]). A manual payout has no exact list: what is known of it waits for
//! a person.

mod journals;
mod returned;
mod statement;

use journals::Journals;
use statement::Statement;

use super::{Erp, Journal, Reversal, STRIPE, Unmatched, event_day, fact, holds, read, sale::Lined, tell};
use crate::{
    Cx, Stop,
    ask::{self, Counterparts},
    contract::{Capture, Plan, ReferenceKey, Severity},
    date,
    date::Date,
    money::Money,
    prelude::json,
    short,
    stripe::{BalanceTransaction, Payout},
};

/// `payout.reconciliation_completed`
pub(super) fn reconciled<E: Erp>(cx: &Cx<'_>, erp: &E) -> Result<Plan, Stop> {
    let payout: Payout = read(cx, erp.flow())?.object;
    if !payout.automatic {
        return Err(Stop::skip(format!("{} is a manual payout: payout.paid tells it", payout.id)));
    }
    let (now, rows) = cx.all((
        ask::query::<Payout>(STRIPE, "payout.get", json!({"id": payout.id})),
        statement::question(&payout.id),
    ))?;
    if now.is_some_and(|now| matches!(now.status.as_str(), "failed" | "canceled")) {
        return Err(Stop::skip(format!("{} has failed since", payout.id)));
    }
    let statement = Statement::of(cx, erp, &payout, rows.unwrap_or_default().data, None)?;
    if !statement.problems.is_empty() {
        let reason = format!("the payout {} cannot be posted: {}", payout.id, statement.problems.join("; "));
        return Err(Stop::hold(reason, statement.evidence(Plan::new().ordered_by(&payout.id))));
    }
    let unmatched = statement.unmatched().len();
    let reason = format!(
        "the ERP does not know {unmatched} of {} transactions of the payout {}",
        statement.entries.len(),
        payout.id
    );
    // Its charges may be on their way: nothing says that their webhooks came first.
    let rules = &erp.flow().payout;
    if unmatched > 0 && (rules.unmatched == Unmatched::Defer || cx.attempt() <= rules.patience) {
        return Err(Stop::defer(reason));
    }
    let journals = Journals::of(erp, &statement)?;
    let mut plan = planned(cx, erp, &statement, &journals)?;
    let mut reasons = journals.concern.into_iter().collect::<Vec<_>>();
    if unmatched > 0 {
        plan = statement.evidence(plan);
        reasons.insert(0, reason);
    }
    holds::or_hold(plan, &reasons)
}

/// The deliveries of the journals, and who is told.
fn planned<E: Erp>(
    cx: &Cx<'_>,
    erp: &E,
    statement: &Statement<'_>,
    journals: &Journals,
) -> Result<Plan, Stop> {
    let payout = statement.payout;
    let mut plan = Plan::new().ordered_by(&payout.id);
    if journals.aggregated {
        let detail = json!({"payout": payout.id, "transactions": statement.entries.len()});
        let title = format!(
            "The payout {} has more transactions than a plan has lines: posted by category",
            payout.id
        );
        plan = plan.alert(Severity::Info, "payout-aggregated", title, &detail);
    }
    for fee in &journals.fees {
        plan = plan.deliver(erp.journal(cx, fee)?);
    }
    let mut numbers = Vec::new();
    for journal in &journals.parts {
        let mut delivery = erp.journal(cx, journal)?;
        if numbers.is_empty() {
            numbers.extend(tell::journal_number(&delivery));
            // Fees that belong to their charges, and were posted here: nobody posts them again.
            let pointer = delivery.captures.first().map(|capture| capture.pointer.clone());
            for transaction in journals.fees_here.iter().filter(|_| pointer.is_some()) {
                delivery.captures.push(Capture {
                    key: ReferenceKey {
                        kind: "stripe.balance-transaction".to_owned(),
                        id: transaction.clone(),
                    },
                    system: E::JOURNAL.to_owned(),
                    pointer: pointer.clone().unwrap_or_default(),
                });
            }
        }
        plan = plan.deliver(delivery);
    }
    let id = payout.id.as_str();
    let told = tell::Told { kind: "payout", object: "payout", id, status: "posted", about: id };
    Ok(tell::tell(plan, erp.flow(), &told, &numbers))
}

/// `payout.paid`
pub(super) fn paid<E: Erp>(cx: &Cx<'_>, erp: &E) -> Result<Plan, Stop> {
    let payout: Payout = read(cx, erp.flow())?.object;
    if payout.automatic {
        return Err(Stop::skip(format!("{} waits for its reconciliation", payout.id)));
    }
    let journal = manual(cx, erp, &payout)?;
    let delivery = erp.journal(cx, &journal)?;
    let numbers: Vec<_> = tell::journal_number(&delivery).into_iter().collect();
    let id = payout.id.as_str();
    let told = tell::Told { kind: "payout", object: "payout", id, status: "posted", about: id };
    let plan = Plan::new().ordered_by(id).deliver(delivery);
    let reason = format!(
        "{id} is a manual payout of {}: Stripe has no exact list of what is in it, so it is posted as a whole",
        payout.total()
    );
    Err(Stop::hold(reason, tell::tell(plan, erp.flow(), &told, &numbers)))
}

/// What is known of a manual payout: the amount, and the fee of an instant one.
fn manual<E: Erp>(cx: &Cx<'_>, erp: &E, payout: &Payout) -> Result<Journal, Stop> {
    let own = payout.balance_transaction.as_deref();
    let own =
        own.map(|id| ask::query::<BalanceTransaction>(STRIPE, "balance-transaction.get", json!({"id": id})));
    let own = cx.all(own)?.flatten();
    let accounts = &erp.flow().accounts;
    let mut lines = Lined::new(&payout.id, Some(short::reference(&payout.id)));
    lines.add(accounts.named("bank", accounts.bank.as_ref(), payout.currency)?, payout.total());
    let mut whole = payout.amount;
    if let Some(own) = own.filter(|own| own.currency == payout.currency) {
        for (kind, fee) in own.fees().unwrap_or_default() {
            lines.add(accounts.fee(kind)?, Money::new(fee, own.currency));
            whole = whole.saturating_add(fee);
        }
    }
    let against = accounts.transit.as_ref().or(accounts.clearing.as_ref());
    let against = accounts.named("transit", against, payout.currency)?;
    lines.add(against, Money::new(whole.saturating_neg(), payout.currency));
    Ok(part(payout, 1, 1, payout_day(erp, payout)?, lines.lines))
}

/// One part of a payout's journal.
fn part(payout: &Payout, number: usize, of: usize, day: Date, lines: Vec<super::JournalLine>) -> Journal {
    let title = "Stripe payout".to_owned();
    Journal {
        key: format!("journal-{number}"),
        fact: fact::payout(&payout.id, number),
        object: ("stripe.payout", payout.id.clone()),
        reference: payout.id.clone(),
        title: if of > 1 { format!("{title} {number}/{of}") } else { title },
        day,
        lines,
    }
}

/// The day on which a payout arrives. Stripe says it as midnight in UTC, wherever the bank is.
fn payout_day<E: Erp>(erp: &E, payout: &Payout) -> Result<Date, Stop> {
    match payout.arrival_date {
        Some(arrival) => Ok(date::in_zone(arrival, "UTC")?),
        None => super::day(erp, payout.created),
    }
}

/// `payout.failed`, `payout.canceled`
pub(super) fn failed<E: Erp>(cx: &Cx<'_>, erp: &E) -> Result<Plan, Stop> {
    let payout: Payout = read(cx, erp.flow())?.object;
    let known_as = cx.reference("stripe.payout", &payout.id)?;
    let numbers = parts_posted::<E>(&known_as);
    if numbers.is_empty() {
        return Err(Stop::skip(format!("{} is {}, and was never posted", payout.id, payout.status)));
    }
    let journals = posted(cx, erp, &payout, numbers.first().map(String::as_str))?;
    let day = event_day(cx, erp)?;
    let mut plan = Plan::new().ordered_by(&payout.id);
    let posted_parts = journals.len();
    for (index, (journal, number)) in journals.into_iter().zip(&numbers).enumerate() {
        let reversal = Reversal {
            key: format!("reversal-{}", index + 1),
            fact: fact::payout_reversal(&payout.id, index + 1),
            journal,
            number: number.clone(),
            day,
        };
        plan = plan.deliver(erp.reverse_journal(cx, &reversal)?);
    }
    let detail = json!({
        "payout": payout.id, "amount": payout.total().to_string(), "status": payout.status,
        "failure_code": payout.failure_code, "failure": payout.failure_message, "journals": numbers,
    });
    let title = format!("The payout {} of {} is {}", payout.id, payout.total(), payout.status);
    let id = payout.id.as_str();
    let told = tell::Told { kind: "payout-failed", object: "payout", id, status: "reversed", about: id };
    plan = tell::tell(plan, erp.flow(), &told, &[]);
    plan = plan.alert(Severity::Critical, "payout-failed", title, &detail);
    let differs = (posted_parts != numbers.len()).then(|| {
        format!("the ERP has {} journals of {id}, and now it would be {posted_parts}", numbers.len())
    });
    holds::or_hold(plan, differs.as_slice())
}

/// The numbers of a payout's journals, part by part.
fn parts_posted<E: Erp>(known_as: &Counterparts) -> Vec<String> {
    let first = known_as.id(E::JOURNAL).map(str::to_owned);
    let others = (2..).map_while(|part| known_as.id(&format!("{}.{part}", E::JOURNAL)).map(str::to_owned));
    match first {
        Some(first) => std::iter::once(first).chain(others).collect(),
        None => Vec::new(),
    }
}

/// The journals as they were posted, made again of the same facts.
fn posted<E: Erp>(cx: &Cx<'_>, erp: &E, payout: &Payout, number: Option<&str>) -> Result<Vec<Journal>, Stop> {
    if !payout.automatic {
        return Ok(vec![manual(cx, erp, payout)?]);
    }
    let rows = cx.all(statement::question(&payout.id))?;
    let statement = Statement::of(cx, erp, payout, rows.unwrap_or_default().data, number)?;
    if statement.problems.is_empty() {
        return Ok(Journals::of(erp, &statement)?.parts);
    }
    let reason =
        format!("the journals of {} cannot be made again: {}", payout.id, statement.problems.join("; "));
    Err(Stop::hold(reason, statement.evidence(Plan::new().ordered_by(&payout.id))))
}
