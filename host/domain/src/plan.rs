//! What must hold before a plan is stored. A plan that breaks a rule is the module's failure, with the
//! rule's name; nothing of it is carried out.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    contract::{Binding, Description, Need, Plan, PlannedDelivery, ReferenceKey},
    money::{self, Unbalanced},
    pointer::is_pointer,
};

/// Upper bounds of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanLimits {
    /// Deliveries of a plan.
    pub deliveries_max: usize,
    /// References, captures, alerts and ledger lines, each.
    pub entries_max: usize,
    /// Bytes of a delivery's body as JSON.
    pub body_bytes_max: usize,
    /// Bytes of an alert's detail as JSON.
    pub detail_bytes_max: usize,
    /// Characters of a key, a name or an id.
    pub key_chars_max: usize,
    /// Characters of an alert's title.
    pub title_chars_max: usize,
}

impl Default for PlanLimits {
    fn default() -> Self {
        Self {
            deliveries_max: 64,
            entries_max: 2_000,
            body_bytes_max: 1 << 20,
            detail_bytes_max: 64 << 10,
            key_chars_max: 200,
            title_chars_max: 1_000,
        }
    }
}

/// A rule that a plan breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanProblem {
    /// More of something than allowed.
    #[error("the plan has {count} {what}, at most {max} are allowed")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// How many may be.
        max: usize,
    },
    /// A key, name or id is empty, too long or has control characters.
    #[error("{what} {text:?} must be 1 to {max} characters without control characters")]
    BadText {
        /// Of what.
        what: &'static str,
        /// The beginning of it.
        text: String,
        /// Characters allowed.
        max: usize,
    },
    /// Two deliveries with one key.
    #[error("two deliveries have the key {0:?}")]
    DuplicateKey(String),
    /// A connection or operation that `describe` did not declare.
    #[error(
        "delivery {key:?} uses {operation:?} on connection {connection:?}, which the module does not declare"
    )]
    Undeclared {
        /// The delivery.
        key: String,
        /// The connection.
        connection: String,
        /// The operation.
        operation: String,
    },
    /// `after` names no delivery of the plan.
    #[error("delivery {key:?} comes after {after:?}, which is not in the plan")]
    UnknownPredecessor {
        /// The delivery.
        key: String,
        /// What it names.
        after: String,
    },
    /// Deliveries wait for each other.
    #[error("delivery {0:?} waits for itself")]
    Cycle(String),
    /// A binding reads from a delivery that does not come before.
    #[error("delivery {key:?} copies from {from:?}, but does not come after it")]
    BindingNotAfter {
        /// The delivery.
        key: String,
        /// What it copies from.
        from: String,
    },
    /// Not a JSON Pointer.
    #[error("delivery {key:?}: {pointer:?} is not a JSON Pointer")]
    BadPointer {
        /// The delivery.
        key: String,
        /// The text.
        pointer: String,
    },
    /// A body over the limit.
    #[error("the body of delivery {key:?} has {bytes} bytes, at most {max} are allowed")]
    BodyTooLarge {
        /// The delivery.
        key: String,
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// An alert's detail over the limit.
    #[error("the detail of an alert has {bytes} bytes, at most {max} are allowed")]
    DetailTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Debits and credits differ.
    #[error(transparent)]
    Unbalanced(#[from] Unbalanced),
}

/// Checks a plan against what its module declared and against the limits.
///
/// # Errors
/// The first rule that it breaks.
pub fn check(plan: &Plan, description: &Description, limits: &PlanLimits) -> Result<(), PlanProblem> {
    check_counts(plan, limits)?;
    let mut by_key: BTreeMap<&str, &PlannedDelivery> = BTreeMap::new();
    for delivery in &plan.deliveries {
        text("the delivery key", &delivery.key, limits.key_chars_max)?;
        if by_key.insert(&delivery.key, delivery).is_some() {
            return Err(PlanProblem::DuplicateKey(delivery.key.clone()));
        }
    }
    for delivery in &plan.deliveries {
        let earlier = predecessors(&by_key, delivery)?;
        check_delivery(delivery, &earlier, description, limits)?;
    }
    for reference in &plan.references {
        check_reference(&reference.key, &reference.system, limits)?;
        text("the reference id", &reference.id, limits.key_chars_max)?;
    }
    for alert in &plan.alerts {
        text("the alert code", &alert.code, limits.key_chars_max)?;
        text("the alert title", &alert.title, limits.title_chars_max)?;
        let bytes = alert.detail.to_string().len();
        if bytes > limits.detail_bytes_max {
            return Err(PlanProblem::DetailTooLarge { bytes, max: limits.detail_bytes_max });
        }
    }
    if let Some(ordering_key) = &plan.ordering_key {
        text("the ordering key", ordering_key, limits.key_chars_max)?;
    }
    money::check_balance(plan.deliveries.iter().flat_map(|delivery| &delivery.ledger))?;
    Ok(())
}

/// Checks that a need is one the module declared.
///
/// # Errors
/// A sentence that names what was not declared.
pub fn check_need(need: &Need, description: &Description) -> Result<(), String> {
    match need {
        Need::Lookup(lookup) if description.tables.iter().all(|table| table.name != lookup.table) => {
            Err(format!("the module reads the lookup table {:?}, which it does not declare", lookup.table))
        }
        Need::Query(query) if !declares(description, &query.connection, &query.operation) => Err(format!(
            "the module asks {:?} of connection {:?}, which it does not declare",
            query.operation, query.connection
        )),
        Need::Lookup(_) | Need::Reference(_) | Need::Query(_) => Ok(()),
    }
}

fn declares(description: &Description, connection: &str, operation: &str) -> bool {
    description.connections.iter().any(|required| {
        required.name == connection && required.operations.iter().any(|name| name == operation)
    })
}

fn check_counts(plan: &Plan, limits: &PlanLimits) -> Result<(), PlanProblem> {
    let entries = limits.entries_max;
    let captures = plan.deliveries.iter().map(|d| d.captures.len()).sum();
    let ledger = plan.deliveries.iter().map(|d| d.ledger.len()).sum();
    let bindings = |d: &PlannedDelivery| d.bindings.len() + d.unless.as_ref().map_or(0, |c| c.bindings.len());
    let after = plan.deliveries.iter().map(|d| d.after.len()).sum();
    let counts = [
        ("predecessors", after, entries),
        ("bindings", plan.deliveries.iter().map(bindings).sum(), entries),
        ("deliveries", plan.deliveries.len(), limits.deliveries_max),
        ("references", plan.references.len(), entries),
        ("alerts", plan.alerts.len(), entries),
        ("captures", captures, entries),
        ("ledger lines", ledger, entries),
    ];
    match counts.into_iter().find(|(_, count, max)| count > max) {
        Some((what, count, max)) => Err(PlanProblem::TooMany { what, count, max }),
        None => Ok(()),
    }
}

fn text(what: &'static str, text: &str, max: usize) -> Result<(), PlanProblem> {
    let fits = !text.is_empty() && text.chars().count() <= max && !text.chars().any(char::is_control);
    if fits { Ok(()) } else { Err(PlanProblem::BadText { what, text: text.chars().take(40).collect(), max }) }
}

/// Everything that must have succeeded before `delivery`, directly or not.
fn predecessors<'a>(
    by_key: &BTreeMap<&'a str, &'a PlannedDelivery>,
    delivery: &'a PlannedDelivery,
) -> Result<BTreeSet<&'a str>, PlanProblem> {
    let mut found = BTreeSet::new();
    let mut todo: Vec<&PlannedDelivery> = vec![delivery];
    while let Some(current) = todo.pop() {
        for after in &current.after {
            let earlier = by_key.get(after.as_str()).ok_or_else(|| PlanProblem::UnknownPredecessor {
                key: current.key.clone(),
                after: after.clone(),
            })?;
            if earlier.key == delivery.key {
                return Err(PlanProblem::Cycle(delivery.key.clone()));
            }
            if found.insert(earlier.key.as_str()) {
                todo.push(earlier);
            }
        }
    }
    Ok(found)
}

fn check_reference(key: &ReferenceKey, system: &str, limits: &PlanLimits) -> Result<(), PlanProblem> {
    text("the reference kind", &key.kind, limits.key_chars_max)?;
    text("the reference id", &key.id, limits.key_chars_max)?;
    text("the reference system", system, limits.key_chars_max)
}

fn check_delivery(
    delivery: &PlannedDelivery,
    earlier: &BTreeSet<&str>,
    description: &Description,
    limits: &PlanLimits,
) -> Result<(), PlanProblem> {
    if let Some(once) = &delivery.once {
        text("the fact of `once`", once, limits.key_chars_max)?;
    }
    let unless = delivery.unless.iter();
    for operation in std::iter::once(&delivery.operation).chain(unless.clone().map(|check| &check.operation))
    {
        if !declares(description, &delivery.connection, operation) {
            return Err(PlanProblem::Undeclared {
                key: delivery.key.clone(),
                connection: delivery.connection.clone(),
                operation: operation.clone(),
            });
        }
    }
    let bindings = || delivery.bindings.iter().chain(unless.clone().flat_map(|check| &check.bindings));
    if let Some(binding) = bindings().find(|binding| !earlier.contains(binding.delivery.as_str())) {
        return Err(PlanProblem::BindingNotAfter {
            key: delivery.key.clone(),
            from: binding.delivery.clone(),
        });
    }
    let pointers = bindings()
        .flat_map(|Binding { source, target, .. }| [source, target])
        .chain(unless.clone().map(|check| &check.hit))
        .chain(delivery.captures.iter().map(|capture| &capture.pointer));
    if let Some(pointer) = pointers.into_iter().find(|pointer| !is_pointer(pointer)) {
        return Err(PlanProblem::BadPointer { key: delivery.key.clone(), pointer: pointer.clone() });
    }
    for capture in &delivery.captures {
        check_reference(&capture.key, &capture.system, limits)?;
    }
    for line in &delivery.ledger {
        text("the account", &line.account, limits.key_chars_max)?;
    }
    let bytes = delivery.body.to_string().len();
    if bytes > limits.body_bytes_max {
        return Err(PlanProblem::BodyTooLarge {
            key: delivery.key.clone(),
            bytes,
            max: limits.body_bytes_max,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::contract::{LedgerLine, PlannedAlert, RequiredConnection, Severity, Side};

    fn description() -> Description {
        Description {
            name: "m".into(),
            version: "1.0.0".into(),
            summary: String::new(),
            serves: vec![],
            connections: vec![RequiredConnection {
                name: "erp".into(),
                connector: "epicor".into(),
                operations: vec!["order.create".into()],
                optional: false,
            }],
            tables: vec![],
            settings_schema: json!({}),
        }
    }

    fn delivery(key: &str, after: &[&str]) -> PlannedDelivery {
        PlannedDelivery {
            key: key.into(),
            connection: "erp".into(),
            operation: "order.create".into(),
            body: json!({}),
            after: after.iter().map(|s| (*s).to_owned()).collect(),
            bindings: vec![],
            unless: None,
            once: None,
            captures: vec![],
            ledger: vec![],
        }
    }

    fn verdict(deliveries: Vec<PlannedDelivery>) -> Result<(), PlanProblem> {
        let plan = Plan { ordering_key: None, deliveries, references: vec![], alerts: vec![] };
        check(&plan, &description(), &PlanLimits::default())
    }

    #[test]
    fn a_chain_is_accepted_and_a_cycle_is_not() {
        assert_eq!(verdict(vec![delivery("a", &[]), delivery("b", &["a"]), delivery("c", &["b"])]), Ok(()));
        assert!(matches!(
            verdict(vec![delivery("a", &["b"]), delivery("b", &["a"])]),
            Err(PlanProblem::Cycle(_))
        ));
        assert!(matches!(verdict(vec![delivery("a", &["a"])]), Err(PlanProblem::Cycle(_))));
        assert!(matches!(verdict(vec![delivery("a", &["x"])]), Err(PlanProblem::UnknownPredecessor { .. })));
        assert!(matches!(
            verdict(vec![delivery("a", &[]), delivery("a", &[])]),
            Err(PlanProblem::DuplicateKey(_))
        ));
    }

    #[test]
    fn a_value_is_copied_only_from_what_comes_before() {
        let mut late = delivery("c", &["b"]);
        late.bindings = vec![Binding { delivery: "a".into(), source: "/x".into(), target: "/y".into() }];
        assert_eq!(verdict(vec![delivery("a", &[]), delivery("b", &["a"]), late.clone()]), Ok(()));
        late.after = vec![];
        assert!(matches!(verdict(vec![delivery("a", &[]), late]), Err(PlanProblem::BindingNotAfter { .. })));
    }

    #[test]
    fn what_was_not_declared_is_refused() {
        let mut other = delivery("a", &[]);
        other.operation = "order.delete".into();
        assert!(matches!(verdict(vec![other]), Err(PlanProblem::Undeclared { .. })));
        let mut other = delivery("a", &[]);
        other.connection = "bank".into();
        assert!(matches!(verdict(vec![other]), Err(PlanProblem::Undeclared { .. })));
    }

    #[test]
    fn an_alerts_title_is_one_line() {
        let titled = |title: &str| {
            let alerts = vec![PlannedAlert {
                severity: Severity::Info,
                code: "c".into(),
                title: title.into(),
                detail: json!({}),
            }];
            let plan = Plan { ordering_key: None, deliveries: vec![], references: vec![], alerts };
            check(&plan, &description(), &PlanLimits::default())
        };
        assert_eq!(titled(&"é".repeat(1_000)), Ok(()));
        for wrong in ["", "two\nlines", "\u{1b}[2J", &"é".repeat(1_001)] {
            assert!(matches!(titled(wrong), Err(PlanProblem::BadText { .. })), "{wrong:?}");
        }
    }

    #[test]
    fn an_unbalanced_plan_is_refused_whole() {
        let mut posting = delivery("a", &[]);
        posting.ledger = vec![LedgerLine {
            account: "1000".into(),
            side: Side::Debit,
            amount: "1.00".parse().unwrap(),
            currency: "USD".into(),
        }];
        assert!(matches!(verdict(vec![posting]), Err(PlanProblem::Unbalanced(_))));
    }
}
