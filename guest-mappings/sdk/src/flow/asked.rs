//! What flows ask of Stripe: the event, and the ways to its charge.

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::{Erp, Flow, STRIPE};
use crate::{
    Cx, Stop,
    ask::{self, Question},
    date::{self, Date},
    prelude::json,
    stripe::{Charge, Event, Invoice, List, Paid},
};

/// The event of a call, when it is one for this tenant.
pub(super) fn read<T: DeserializeOwned>(cx: &Cx<'_>, flow: &Flow) -> Result<Event<T>, Stop> {
    served(cx, flow)?.typed()
}

/// The same before the object's type is known.
fn served(cx: &Cx<'_>, flow: &Flow) -> Result<Event<Box<RawValue>>, Stop> {
    let event = Event::unread(cx, STRIPE)?;
    if let Some((served, mode)) = flow.livemode.zip(event.livemode).filter(|(served, mode)| served != mode) {
        let mode = if mode { "live" } else { "test" };
        return Err(Stop::skip(format!("an event of {mode} mode, and flow.livemode is {served}")));
    }
    if let Some(served) = flow.account.as_ref().filter(|served| event.account.as_ref() != Some(served)) {
        let account = event.account.as_deref().unwrap_or("the platform's own account");
        return Err(Stop::skip(format!("an event of {account}, and flow.account is {served}")));
    }
    Ok(event)
}

/// A charge by its id.
pub(super) fn charge_question(id: &str) -> Question<Charge> {
    ask::query(STRIPE, "charge.get", json!({"id": id}))
}

/// What Stripe was asked for and must have.
pub(super) fn known<T>(found: Option<T>, id: &str) -> Result<T, Stop> {
    found.ok_or_else(|| Stop::reject("", "gone", format!("Stripe does not have {id}")))
}

/// The charge that a payment intent took money with.
pub(super) fn charge_of_intent(cx: &Cx<'_>, intent: &str) -> Result<Option<Charge>, Stop> {
    let charges: Option<List<Charge>> =
        cx.query(STRIPE, "charges.by-payment-intent", json!({"payment_intent": intent}))?;
    let charges = charges.unwrap_or_default().data;
    Ok(charges.into_iter().find(|charge| charge.status == "succeeded" && charge.captured))
}

/// The charge that paid an invoice, or why there is none.
pub(super) fn charge_of_invoice(cx: &Cx<'_>, invoice: &Invoice) -> Result<Result<Charge, String>, Stop> {
    let paid = match invoice.paid() {
        // What an event leaves out, the invoice itself may say.
        Paid::Unsaid => {
            let whole: Option<Invoice> = cx.query(STRIPE, "invoice.get", json!({"id": invoice.id}))?;
            whole.map_or(Paid::Unsaid, |whole| whole.paid())
        }
        said @ (Paid::Charge(_) | Paid::Intent(_) | Paid::Several | Paid::Without) => said,
    };
    let charge = match paid {
        Paid::Charge(charge) => Some(known(cx.all(charge_question(&charge))?, &charge)?),
        Paid::Intent(intent) => charge_of_intent(cx, &intent)?,
        Paid::Several => {
            return Ok(Err(format!(
                "{} was paid by several payments: each charge tells its own",
                invoice.id
            )));
        }
        Paid::Without => {
            return Ok(Err(format!("{} was paid outside Stripe, or nothing was to be paid", invoice.id)));
        }
        Paid::Unsaid => {
            return Ok(Err(format!(
                "{} does not say how it was paid: its charge tells the sale",
                invoice.id
            )));
        }
    };
    Ok(charge.ok_or_else(|| format!("the payment of {} has no captured charge", invoice.id)))
}

/// When something was, as the ERP dates it.
pub(super) fn day<E: Erp>(erp: &E, seconds: i64) -> Result<Date, Stop> {
    Ok(date::in_zone(seconds, erp.time_zone())?)
}

/// When the event happened, as the ERP dates it.
pub(super) fn event_day<E: Erp>(cx: &Cx<'_>, erp: &E) -> Result<Date, Stop> {
    day(erp, i64::try_from(cx.event().occurred_at / 1000).unwrap_or(i64::MAX))
}
