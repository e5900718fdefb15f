//! Refunds: one document each, whichever event tells it, once money has gone back. A refund that overtakes its
//! charge waits for it; one that fails is taken back; one for fraud starts the fraud flow as well.

use super::{
    Documents, Erp, Flow, REASONS, Refund, STRIPE, charge_of_intent, charge_question, day, event_day, fraud,
    holds, known, read, tell,
};
use crate::{
    Cx, Stop,
    ask::{self, Counterparts, Row},
    contract::Plan,
    prelude::json,
    short,
    stripe::{self, Charge, Event, List},
};

/// `charge.refunded`: all refunds of the charge.
pub(super) fn of_charge<E: Erp>(cx: &Cx<'_>, erp: &E) -> Result<Plan, Stop> {
    let charge: Charge = read(cx, erp.flow())?.object;
    let (refunds, posted) = cx.all((
        ask::query::<List<stripe::Refund>>(STRIPE, "refunds.by-charge", json!({"charge": charge.id})),
        ask::reference("stripe.charge", &charge.id),
    ))?;
    let mut refunds = refunds.unwrap_or_default().data;
    refunds.retain(stripe::Refund::succeeded);
    refunds.sort_by(|one, other| (one.created, &one.id).cmp(&(other.created, &other.id)));
    if refunds.is_empty() {
        return Err(Stop::skip(format!("no refund of {} has succeeded yet", charge.id)));
    }
    posted_or_wait::<E>(&posted, &charge)?;
    let reasons = refunds.iter().map(|refund| reason_question(refund.reason.as_deref()));
    let rows = cx.all(reasons.collect::<Vec<_>>())?;
    let mut all = Documents::default();
    let mut fraudulent = None;
    for (refund, row) in refunds.iter().zip(rows) {
        let refund = refund_of(erp, refund, row.flatten(), &charge, &posted)?;
        let documents = erp.refund(cx, &refund)?;
        // The only one's calls are those that its own events tell.
        if refunds.len() == 1 {
            all = documents
        } else {
            all.join(documents, &refund.id)
        }
        if is_fraud(&refund) {
            fraudulent = Some(refund);
        }
    }
    // Of one refund it is told as by its own events; of several as of their charge.
    let (object, id) = match refunds.as_slice() {
        [only] => ("refund", only.id.as_str()),
        _ => ("charge", charge.id.as_str()),
    };
    let about = refunds.iter().map(|refund| refund.id.as_str()).collect::<Vec<_>>();
    let about = if about.len() == 1 { id.to_owned() } else { short::reference(&about.join(",")) };
    finish(cx, erp, (all, fraudulent.as_ref()), &charge, (object, id, &about))
}

/// `refund.created`, `.updated`, `.failed`, `charge.refund.updated`
pub(super) fn of_refund<E: Erp>(cx: &Cx<'_>, erp: &E) -> Result<Plan, Stop> {
    let event: Event<stripe::Refund> = read(cx, erp.flow())?;
    if event.is_echo() && event.previous.is_some() {
        return Err(Stop::skip("caused by Portolan itself"));
    }
    let refund = event.object;
    if refund.failed() {
        return failed(cx, erp, &refund);
    }
    if !refund.succeeded() {
        let status = refund.status.as_deref().unwrap_or_default();
        return Err(Stop::skip(format!(
            "{} is {status}: an update tells when money has gone back",
            refund.id
        )));
    }
    // As it is now: a failure may have overtaken this event.
    let (now, charge, posted, row) = asked(cx, &refund)?;
    if now.as_ref().is_some_and(stripe::Refund::failed) {
        return Err(Stop::skip(format!("{} has failed since", refund.id)));
    }
    posted_or_wait::<E>(&posted, &charge)?;
    let refund = refund_of(erp, &refund, row, &charge, &posted)?;
    let documents = erp.refund(cx, &refund)?;
    let fraudulent = Some(&refund).filter(|refund| is_fraud(refund));
    finish(cx, erp, (documents, fraudulent), &charge, ("refund", &refund.id, &refund.id))
}

/// The refund as it is now, its charge, what the ERP has of that, and the row for the reason.
type Asked = (Option<stripe::Refund>, Charge, Counterparts, Option<Row>);

fn asked(cx: &Cx<'_>, refund: &stripe::Refund) -> Result<Asked, Stop> {
    let id = match (&refund.charge, &refund.payment_intent) {
        (Some(charge), _) => charge.to_string(),
        (None, Some(intent)) => known(charge_of_intent(cx, intent)?, intent)?.id,
        (None, None) => {
            let text = format!("{} does not say what it gives back", refund.id);
            return Err(Stop::reject("/data/object/charge", "missing", text));
        }
    };
    let (now, charge, posted, row) = cx.all((
        ask::query(STRIPE, "refund.get", json!({"id": refund.id})),
        charge_question(&id),
        ask::reference("stripe.charge", &id),
        reason_question(refund.reason.as_deref()),
    ))?;
    Ok((now, known(charge, &id)?, posted, row.flatten()))
}

pub(super) fn reason_question(reason: Option<&str>) -> Option<ask::Question<Row>> {
    reason.map(|reason| ask::lookup(REASONS, reason))
}

/// A refund cannot be written down before its charge.
pub(super) fn posted_or_wait<E: Erp>(posted: &Counterparts, charge: &Charge) -> Result<(), Stop> {
    match posted.id(E::PAYMENT) {
        Some(_) => Ok(()),
        None => Err(Stop::defer(format!("the payment of {} is not in the ERP yet", charge.id))),
    }
}

fn refund_of<E: Erp>(
    erp: &E,
    refund: &stripe::Refund,
    reason_row: Option<Row>,
    charge: &Charge,
    posted: &Counterparts,
) -> Result<Refund, Stop> {
    let captured = charge.amount_captured.unwrap_or(charge.amount);
    if refund.amount <= 0 || refund.amount > captured || refund.currency != charge.currency {
        let text = format!("{} of {captured} {} is impossible", refund.total(), charge.currency);
        return Err(Stop::reject("/data/object/amount", "impossible-amount", text));
    }
    Ok(Refund {
        id: refund.id.clone(),
        amount: refund.total(),
        reason: refund.reason.clone(),
        reason_row,
        day: day(erp, refund.created)?,
        charge: charge.clone(),
        whole: refund.amount == captured,
        posted: posted.clone(),
    })
}

fn is_fraud(refund: &Refund) -> bool {
    refund.reason.as_deref() == Some("fraudulent")
}

/// The plan of refunds' documents, with what fraud adds.
fn finish<E: Erp>(
    cx: &Cx<'_>,
    erp: &E,
    (mut documents, fraudulent): (Documents, Option<&Refund>),
    charge: &Charge,
    (object, id, about): (&'static str, &str, &str),
) -> Result<Plan, Stop> {
    let flow: &Flow = erp.flow();
    let signs = fraudulent.map(|refund| fraud::Signs::refund(&refund.id, charge, &refund.posted));
    if let Some(signs) = &signs {
        documents.join(signs.block(cx, erp)?, "fraud");
    }
    let (concerns, numbers) =
        (std::mem::take(&mut documents.concerns), std::mem::take(&mut documents.numbers));
    let told = tell::Told { kind: "refund", object, id, status: "posted", about };
    let plan = tell::tell(tell::plan(documents, &charge.id), flow, &told, &numbers);
    holds::or_hold(signs.iter().fold(plan, |plan, signs| signs.alert(plan)), &concerns)
}

/// A refund that failed: what was posted is taken back.
fn failed<E: Erp>(cx: &Cx<'_>, erp: &E, refund: &stripe::Refund) -> Result<Plan, Stop> {
    let known_as = cx.reference("stripe.refund", &refund.id)?;
    if known_as.id(&format!("{}.refund", E::SYSTEM)).is_none() {
        return Err(Stop::skip(format!("{} has failed, and was never posted", refund.id)));
    }
    let (_, charge, posted, row) = asked(cx, refund)?;
    let refund = Refund { day: event_day(cx, erp)?, ..refund_of(erp, refund, row, &charge, &posted)? };
    let mut documents = erp.reverse_refund(cx, &refund)?;
    let (concerns, numbers) =
        (std::mem::take(&mut documents.concerns), std::mem::take(&mut documents.numbers));
    let id = refund.id.as_str();
    let told = tell::Told { kind: "refund-failed", object: "refund", id, status: "reversed", about: id };
    let plan = tell::tell(tell::plan(documents, &charge.id), erp.flow(), &told, &numbers);
    let detail = json!({"refund": refund.id, "charge": charge.id, "amount": refund.amount.to_string()});
    let title = format!("The refund {} failed: the customer has not got the money", refund.id);
    let plan = plan.alert(crate::contract::Severity::Warning, "refund-failed", title, &detail);
    holds::or_hold(plan, &concerns)
}
