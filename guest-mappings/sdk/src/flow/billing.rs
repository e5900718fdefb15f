//! Invoices that are voided, credit notes, and the life of subscriptions. (An invoice that is paid is a sale.)

use super::{
    Credit, Documents, Erp, STRIPE, charge_of_invoice, day, event_day, holds, read, refund::posted_or_wait,
    refund::reason_question, tell,
};
use crate::{
    Cx, Stop,
    ask::{self, Counterparts},
    contract::{Plan, Severity},
    money::Money,
    prelude::json,
    stripe::{Buyer, Charge, CreditNote, Customer, Event, Invoice, Refund, Subscription},
};

/// `invoice.voided`
pub(super) fn voided<E: Erp>(cx: &Cx<'_>, erp: &E) -> Result<Plan, Stop> {
    let invoice: Invoice = read(cx, erp.flow())?.object;
    let charge = charge_of_invoice(cx, &invoice)?
        .map_err(|why| Stop::skip(format!("voided, and nothing was posted of it: {why}")))?;
    let (buyer, posted) = buyer(cx, &charge)?;
    if posted.id(E::PAYMENT).is_none() {
        return Err(Stop::skip(format!("voided, and {} was never posted", charge.id)));
    }
    let credit = Credit {
        text: format!("Invoice {} voided", invoice.number.as_deref().unwrap_or(&invoice.id)),
        amount: Money::new(invoice.amount_paid, invoice.currency.unwrap_or(charge.currency)),
        id: invoice.id,
        reason: None,
        reason_row: None,
        day: event_day(cx, erp)?,
        buyer,
        posted,
    };
    write(cx, erp, &credit, ("invoice", &charge.id))
}

fn buyer(cx: &Cx<'_>, charge: &Charge) -> Result<(Buyer, Counterparts), Stop> {
    let customer = charge.customer.as_deref();
    let (customer, posted) = cx.all((
        customer.map(|id| ask::query::<Customer>(STRIPE, "customer.get", json!({"id": id}))),
        ask::reference("stripe.charge", &charge.id),
    ))?;
    Ok((Buyer::of(charge, customer.flatten().as_ref()), posted))
}

/// `credit_note.created`: the part of it that is no refund; refunds have events of their own.
pub(super) fn credited<E: Erp>(cx: &Cx<'_>, erp: &E) -> Result<Plan, Stop> {
    let note: CreditNote = read(cx, erp.flow())?.object;
    if note.status == "void" {
        return Err(Stop::skip(format!("{} is void", note.id)));
    }
    if note.kind.as_deref() == Some("pre_payment") {
        let text = format!("{} came before the payment: what is paid is what will be posted", note.id);
        return Err(Stop::skip(text));
    }
    let before_payment = note.pre_payment_amount.unwrap_or(0);
    let left = note.amount.saturating_sub(before_payment).saturating_sub(refunded(cx, &note)?);
    if left == 0 {
        return Err(Stop::skip(format!("{} is a refund as a whole: that has events of its own", note.id)));
    }
    if left < 0 {
        let text = format!("more of {} was refunded than it credits: {}", note.id, note.total());
        return Err(Stop::reject("/data/object/amount", "impossible-amount", text));
    }
    let Some(invoice) = note.invoice.as_deref() else {
        return Err(Stop::reject(
            "/data/object/invoice",
            "missing",
            format!("{} credits no invoice", note.id),
        ));
    };
    let (invoice, reason_row) = cx.all((
        ask::query::<Invoice>(STRIPE, "invoice.get", json!({"id": invoice})),
        reason_question(note.reason.as_deref()),
    ))?;
    let invoice = super::known(invoice, &note.id)?;
    let charge = charge_of_invoice(cx, &invoice)?
        .map_err(|why| Stop::skip(format!("{} credits what was never posted: {why}", note.id)))?;
    let (buyer, posted) = buyer(cx, &charge)?;
    posted_or_wait::<E>(&posted, &charge)?;
    let text = note.memo.or(note.number).unwrap_or_else(|| format!("Credit note {}", note.id));
    let credit = Credit {
        id: note.id,
        amount: Money::new(left, note.currency),
        text,
        reason: note.reason,
        reason_row: reason_row.flatten(),
        day: day(erp, note.created)?,
        buyer,
        posted,
    };
    write(cx, erp, &credit, ("credit_note", &charge.id))
}

/// How much of a note is refunds, whichever shape says so.
fn refunded(cx: &Cx<'_>, note: &CreditNote) -> Result<i64, Stop> {
    if let (true, Some(refund)) = (note.refunds.is_empty(), note.refund.as_deref()) {
        let refund: Option<Refund> = cx.query(STRIPE, "refund.get", json!({"id": refund}))?;
        return Ok(super::known(refund, &note.id)?.amount);
    }
    Ok(note.refunds.iter().fold(0, |sum: i64, refund| sum.saturating_add(refund.amount_refunded)))
}

fn write<E: Erp>(
    cx: &Cx<'_>,
    erp: &E,
    credit: &Credit,
    (object, charge): (&'static str, &str),
) -> Result<Plan, Stop> {
    let mut documents: Documents = erp.credit(cx, credit)?;
    let (concerns, numbers) =
        (std::mem::take(&mut documents.concerns), std::mem::take(&mut documents.numbers));
    let told = tell::Told { kind: "credit", object, id: &credit.id, status: "posted", about: &credit.id };
    let plan = tell::tell(tell::plan(documents, charge), erp.flow(), &told, &numbers);
    holds::or_hold(plan, &concerns)
}

/// What of a subscription is a change of its plan.
const PLAN: [&str; 3] = ["items", "plan", "quantity"];

/// `customer.subscription.*`: no document, because what is paid for comes as invoices; what is known is remembered
/// and told.
pub(super) fn subscribed<E: Erp>(cx: &Cx<'_>, erp: &E) -> Result<Plan, Stop> {
    let event: Event<Subscription> = read(cx, erp.flow())?;
    if event.is_echo() && event.previous.is_some() {
        return Err(Stop::skip("caused by Portolan itself"));
    }
    let subscription = &event.object;
    let what = match cx.event().kind.rsplit('.').next().unwrap_or_default() {
        "updated" if event.previous.is_some() && event.changed(&PLAN) => "changed",
        "updated" if event.previous.is_some() && event.changed(&["cancel_at_period_end"]) => {
            if subscription.cancel_at_period_end { "to be cancelled" } else { "to be continued" }
        }
        "updated" if !event.changed(&["status"]) => {
            return Err(Stop::skip(format!("nothing changed that matters: {} goes on", subscription.id)));
        }
        "deleted" => "cancelled",
        other => other,
    };
    let customer = subscription.customer.as_deref();
    let known_as = cx.all(customer.map(|id| ask::reference("stripe.customer", id)))?.unwrap_or_default();
    let detail = json!({
        "subscription": subscription.id,
        "customer": customer,
        "erp": known_as,
        "status": subscription.status,
        "products": subscription.products(),
        "paid_until": subscription.paid_until(),
        "before": PLAN.iter().find_map(|field| event.before(field)),
    });
    let title = format!("The subscription {} is {what}", subscription.id);
    let mut plan =
        Plan::new().ordered_by(&subscription.id).alert(Severity::Info, "subscription", title, &detail);
    if let Some(ours) = known_as.id(E::SYSTEM) {
        plan = plan.remember("stripe.subscription", &subscription.id, E::SYSTEM, ours);
    }
    // Each change is told: the event is what happened.
    let (id, about) = (subscription.id.as_str(), cx.event().id.as_str());
    let told = tell::Told { kind: "subscription", object: "subscription", id, status: what, about };
    Ok(tell::tell(plan, erp.flow(), &told, &[]))
}
