//! What the host refuses of an outcome, as far as a test needs to know it: undeclared connections, operations and
//! tables, keys that are not unique, copies from what does not come before, ledger lines that do not balance.

use std::collections::{BTreeMap, BTreeSet};

use crate::money::Decimal;

use crate::contract::{Delivery, Description, LedgerLine, Need, Outcome, Plan, Side};

pub(super) fn check_needs(needs: &[Need], description: &Description) -> Result<(), String> {
    for need in needs {
        match need {
            Need::Lookup(lookup) if description.tables.iter().all(|table| table.name != lookup.table) => {
                return Err(format!("the lookup table {} is not declared", lookup.table));
            }
            Need::Query(query) => declared(description, &query.connection, &query.operation)?,
            Need::Lookup(_) | Need::Reference(_) => {}
        }
    }
    Ok(())
}

pub(super) fn check_outcome(outcome: &Outcome, description: &Description) -> Result<(), String> {
    match outcome {
        Outcome::Deliver(plan) => check_plan(plan, description),
        Outcome::Hold(held) => check_plan(&held.plan, description),
        Outcome::Reject(violations) if violations.is_empty() => Err("a refusal without a reason".into()),
        Outcome::Need(_) | Outcome::Defer(_) | Outcome::Skip(_) | Outcome::Reject(_) => Ok(()),
    }
}

fn check_plan(plan: &Plan, description: &Description) -> Result<(), String> {
    let mut before: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for delivery in &plan.deliveries {
        let earlier = earlier(delivery, &before)?;
        if before.insert(&delivery.key, earlier).is_some() {
            return Err(format!("two deliveries have the key {}", delivery.key));
        }
    }
    for delivery in &plan.deliveries {
        declared(description, &delivery.connection, &delivery.operation)?;
        if let Some(check) = &delivery.unless {
            declared(description, &delivery.connection, &check.operation)?;
        }
        let checked = delivery.unless.iter().flat_map(|check| &check.bindings);
        for binding in delivery.bindings.iter().chain(checked) {
            let comes_before = before.get(delivery.key.as_str());
            if !comes_before.is_some_and(|earlier| earlier.contains(binding.delivery.as_str())) {
                return Err(format!(
                    "{} copies from {}, which does not come before",
                    delivery.key, binding.delivery
                ));
            }
        }
    }
    balanced(plan.deliveries.iter().flat_map(|delivery| &delivery.ledger))
}

/// All that comes before a delivery. Deliveries are listed in an order in which they can be made.
fn earlier<'a>(
    delivery: &'a Delivery,
    before: &BTreeMap<&'a str, BTreeSet<&'a str>>,
) -> Result<BTreeSet<&'a str>, String> {
    let mut earlier = BTreeSet::new();
    for key in &delivery.after {
        let more = before.get(key.as_str());
        let more =
            more.ok_or_else(|| format!("{} comes after {key}, which is not listed before it", delivery.key))?;
        earlier.extend(more.iter().copied());
        earlier.insert(key.as_str());
    }
    Ok(earlier)
}

fn declared(description: &Description, connection: &str, operation: &str) -> Result<(), String> {
    let known = description.connections.iter().any(|required| {
        required.name == connection && required.operations.iter().any(|name| name == operation)
    });
    if known { Ok(()) } else { Err(format!("{operation} on connection {connection} is not declared")) }
}

fn balanced<'a>(lines: impl Iterator<Item = &'a LedgerLine>) -> Result<(), String> {
    let mut sums: BTreeMap<&str, Decimal> = BTreeMap::new();
    for line in lines {
        let amount =
            Decimal::from_str_exact(&line.amount).map_err(|error| format!("{}: {error}", line.amount))?;
        if amount.is_sign_negative() && !amount.is_zero() {
            return Err(format!("the ledger line on {} is negative", line.account));
        }
        let sum = sums.entry(&line.currency).or_default();
        *sum += if line.side == Side::Debit { amount } else { -amount };
    }
    match sums.into_iter().find(|(_, sum)| !sum.is_zero()) {
        Some((currency, sum)) => Err(format!("debits minus credits in {currency} are {sum}")),
        None => Ok(()),
    }
}
