//! The one flow that is carried out without the common side: a captured charge becomes a sale. Goes when
//! `flow::map` stands.

use portolan_sdk::{
    ask, date,
    flow::{Documents, Erp, Sale},
    prelude::*,
    stripe::{self, Buyer, Charge, Customer, Lines},
};

use crate::{ITEMS, STRIPE, Settings};

pub(crate) fn map(cx: &Cx<'_>) -> Result<Plan, Stop> {
    let settings: Settings = cx.settings()?;
    let charge: Charge = stripe::object(cx)?;
    let captured = charge.captured()?;
    let day = date::in_zone(charge.created, &settings.time_zone).at("/data/object/created")?;
    let known = charge.customer.as_deref();
    let (stripes, answers) = cx.all((
        known.map(|id| ask::query::<Customer>(STRIPE, "customer.get", json!({"id": id}))),
        Lines::ask(&charge, STRIPE, &settings.line_sources),
    ))?;
    let customer = stripes.flatten();
    let lines = Lines::of(&charge, answers, &settings.line_sources)?;
    let reduced = lines.reduced;
    let rows = cx.all(lines.row_questions(ITEMS))?;
    let sale = Sale {
        buyer: Buyer::of(&charge, customer.as_ref()),
        lines: lines.with_rows(rows),
        charge,
        captured,
        day,
        customer,
        order: None,
        invoice: None,
        subscription: None,
    };
    let plan = plan(settings.sale(cx, &sale)?)?;
    Ok(if reduced { tell_reduced(plan, &sale) } else { plan })
}

fn plan(documents: Documents) -> Result<Plan, Stop> {
    let plan = documents.deliveries.into_iter().fold(Plan::new(), Plan::deliver);
    let remember = |plan: Plan, [kind, id, system, counterpart]: [String; 4]| {
        plan.remember(kind, id, system, counterpart)
    };
    let plan = documents.references.into_iter().fold(plan, remember);
    if documents.concerns.is_empty() {
        return Ok(plan);
    }
    Err(Stop::hold(documents.concerns.join(" "), plan))
}

fn tell_reduced(plan: Plan, sale: &Sale) -> Plan {
    let detail =
        json!({"charge": sale.charge.id, "authorized": sale.charge.amount, "captured": sale.captured.minor});
    plan.alert(
        Severity::Info,
        "partial-capture",
        "The lines of a partly captured charge were reduced",
        &detail,
    )
}
