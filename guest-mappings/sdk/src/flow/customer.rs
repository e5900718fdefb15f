//! Customers. Whatever order their events arrive in, the ERP is told what Stripe knows now, and only when something
//! differs, so that two systems which tell each other come to rest.

use super::{Customers, Erp, STRIPE, holds, read, tell};
use crate::{
    Cx, Stop, ask,
    contract::{Plan, Severity},
    prelude::json,
    stripe::{Customer, Event},
};

/// What of a customer matters to an ERP.
const MATTERS: [&str; 12] = [
    "address",
    "business_name",
    "currency",
    "deleted",
    "email",
    "individual_name",
    "metadata",
    "name",
    "phone",
    "preferred_locales",
    "shipping",
    "tax_exempt",
];

/// `customer.created`, `customer.updated`
pub(super) fn changed<E: Erp>(cx: &Cx<'_>, erp: &E, created: bool) -> Result<Plan, Stop> {
    let flow = erp.flow();
    if flow.customers == Customers::Off {
        return Err(Stop::skip("flow.customers is off: customers are created with their first sale"));
    }
    let event: Event<Customer> = read(cx, flow)?;
    if event.is_echo() {
        return Err(Stop::skip("caused by Portolan itself"));
    }
    if !created && !event.changed(&MATTERS) {
        return Err(Stop::skip("nothing changed that matters to the ERP"));
    }
    let id = event.object.id;
    let (now, known_as) = cx.all((
        ask::query::<Customer>(STRIPE, "customer.get", json!({"id": id})),
        ask::reference("stripe.customer", &id),
    ))?;
    let customer = now
        .filter(|customer| !customer.deleted)
        .ok_or_else(|| Stop::skip(format!("{id} was deleted since")))?;
    if flow.customers == Customers::CreateOnly && known_as.id(E::SYSTEM).is_some() {
        return Err(Stop::skip(format!("the ERP has {id}, and flow.customers is create-only")));
    }
    let mut documents = erp.customer(cx, &customer)?;
    if documents.are_none() {
        return Err(Stop::skip(format!("the ERP says the same of {id}")));
    }
    let (concerns, numbers) =
        (std::mem::take(&mut documents.concerns), std::mem::take(&mut documents.numbers));
    // Each change is told: the event is what happened.
    let about = &cx.event().id;
    let told = tell::Told { kind: "customer", object: "customer", id: &id, status: "posted", about };
    let plan = tell::tell(tell::plan(documents, &id), flow, &told, &numbers);
    // When Stripe's own side changed it: what a conflict with the ERP is decided by.
    let changed_at = (cx.event().occurred_at / 1_000).to_string();
    holds::or_hold(plan.remember("stripe.customer", &id, "stripe.changed", changed_at), &concerns)
}

/// `customer.deleted`: nothing is deleted in an ERP, which needs its history; a person is told.
pub(super) fn deleted<E: Erp>(cx: &Cx<'_>, erp: &E) -> Result<Plan, Stop> {
    let event: Event<Customer> = read(cx, erp.flow())?;
    let id = &event.object.id;
    let known_as = cx.reference("stripe.customer", id)?;
    let Some(ours) = known_as.id(E::SYSTEM) else {
        return Err(Stop::skip(format!("{id} was deleted, and the ERP never had it")));
    };
    let title = format!("Stripe's customer {id} was deleted; the ERP keeps it as {ours}");
    let detail = json!({"customer": id, "erp": known_as, "by_portolan": event.is_echo()});
    let severity = if event.is_echo() { Severity::Info } else { Severity::Warning };
    let plan = Plan::new().ordered_by(id).alert(severity, "customer-deleted", title, &detail);
    let told = tell::Told { kind: "customer", object: "customer", id, status: "deleted", about: id };
    Ok(tell::tell(plan, erp.flow(), &told, &[]))
}
