//! What a run came to, before and after: a module executed again on a stored event, compared with what was recorded.
//! Field by field ([`crate::diff`]), to the cent ([`Tally`]) and in fuel. Pure: who executes is the pipeline.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    contract::{LedgerLine, Need, Outcome, Plan, PlannedDelivery},
    diff::{self, Difference},
};

mod sum;
mod tally;

pub use sum::{Sum, TooLong};
pub use tally::{Account, Allowed, FIELDS_MAX, Tally, Unclean};

/// How an execution ended, as far as it is the module's doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It decided.
    Decided(Outcome),
    /// It failed, by a rule that holds on every machine: out of fuel, trapped, a plan that breaks a rule.
    Failed {
        /// `guest-trapped`, `plan-refused`, …
        code: String,
        /// For people; not compared.
        message: String,
    },
    /// It asks for facts that it was not told then, and nobody was to be asked now.
    Unanswered(Vec<Need>),
}

/// What came of an event, as the report tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// The same in every field.
    Unchanged,
    /// It worked before and works now, or failed both times, in another way.
    Changed,
    /// It worked before, and fails now.
    NewlyFails,
    /// It failed before, and works now.
    NewlyWorks,
    /// It asks for what it was not told then.
    NewNeed,
    /// There is nothing to compare with: no run of the mapping, or one that ended by no doing of its module.
    Uncompared,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 6] =
        [Self::Unchanged, Self::Changed, Self::NewlyFails, Self::NewlyWorks, Self::NewNeed, Self::Uncompared];

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Changed => "changed",
            Self::NewlyFails => "newly-fails",
            Self::NewlyWorks => "newly-works",
            Self::NewNeed => "new-need",
            Self::Uncompared => "uncompared",
        }
    }
}

impl std::str::FromStr for Class {
    type Err = crate::state::UnknownState;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|class| class.as_str() == text);
        known.ok_or_else(|| crate::state::UnknownState::of(text))
    }
}

impl Ending {
    /// `deliver`, `hold`, `defer`, `skip`, `reject`, `failed` or `need`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Decided(Outcome::Deliver(_)) => "deliver",
            Self::Decided(Outcome::Hold(_)) => "hold",
            Self::Decided(Outcome::Defer(_)) => "defer",
            Self::Decided(Outcome::Skip(_)) => "skip",
            Self::Decided(Outcome::Reject(_)) => "reject",
            Self::Failed { .. } => "failed",
            Self::Decided(Outcome::Need(_)) | Self::Unanswered(_) => "need",
        }
    }

    /// Whether the event is not mapped by it: the module failed, or rejects it.
    #[must_use]
    pub const fn is_failure(&self) -> bool {
        matches!(self, Self::Failed { .. } | Self::Decided(Outcome::Reject(_) | Outcome::Need(_)))
    }

    /// The accounting lines of the plan, if there is one.
    pub fn ledger(&self) -> impl Iterator<Item = &LedgerLine> {
        let plan = match self {
            Self::Decided(Outcome::Deliver(plan)) => Some(plan),
            Self::Decided(Outcome::Hold(held)) => Some(&held.plan),
            Self::Decided(Outcome::Need(_) | Outcome::Defer(_) | Outcome::Skip(_) | Outcome::Reject(_))
            | Self::Failed { .. }
            | Self::Unanswered(_) => None,
        };
        plan.into_iter().flat_map(|plan| &plan.deliveries).flat_map(|delivery| &delivery.ledger)
    }

    /// The document that is compared: `/outcome`, `/reason`, `/violations`, `/failure/code`, and of a plan
    /// `/plan/deliveries/{key}/…`, `/plan/order`, `/plan/references/…`, `/plan/alerts/…`.
    #[must_use]
    pub fn document(&self) -> Value {
        let mut document = Map::from_iter([("outcome".to_owned(), json!(self.name()))]);
        let mut with = |name: &str, value: Value| document.insert(name.to_owned(), value);
        match self {
            Self::Decided(Outcome::Deliver(plan)) => drop(with("plan", plan_document(plan))),
            Self::Decided(Outcome::Hold(held)) => {
                with("reason", json!(held.reason));
                with("plan", plan_document(&held.plan));
            }
            Self::Decided(Outcome::Defer(deferral)) => {
                with("reason", json!(deferral.reason));
                with("not-before", json!(deferral.not_before));
            }
            Self::Decided(Outcome::Skip(reason)) => drop(with("reason", json!(reason))),
            Self::Decided(Outcome::Reject(violations)) => drop(with("violations", json!(violations))),
            Self::Failed { code, .. } => drop(with("failure", json!({ "code": code }))),
            Self::Decided(Outcome::Need(needs)) | Self::Unanswered(needs) => {
                with("needs", json!(needs));
            }
        }
        Value::Object(document)
    }
}

/// Deliveries stand under their keys, so that one more or less does not move the others.
fn plan_document(plan: &Plan) -> Value {
    let mut deliveries = Map::new();
    for delivery in &plan.deliveries {
        deliveries.insert(delivery.key.clone(), delivery_document(delivery));
    }
    let mut references = Map::new();
    for reference in &plan.references {
        let of = format!("{} {} in {}", reference.key.kind, reference.key.id, reference.system);
        references.insert(of, json!(reference.id));
    }
    let is_keyed = deliveries.len() == plan.deliveries.len() && references.len() == plan.references.len();
    // Two of one name are nothing that a plan may have; then the lists stand as they are.
    let keyed = |map: Map<String, Value>, list: Value| if is_keyed { Value::Object(map) } else { list };
    json!({
        "ordering-key": plan.ordering_key,
        "order": plan.deliveries.iter().map(|delivery| &delivery.key).collect::<Vec<_>>(),
        "deliveries": keyed(deliveries, json!(plan.deliveries)),
        "references": keyed(references, json!(plan.references)),
        "alerts": plan.alerts,
    })
}

fn delivery_document(delivery: &PlannedDelivery) -> Value {
    let mut document = json!(delivery);
    if let Some(document) = document.as_object_mut() {
        document.remove("key");
    }
    document
}

/// How what was recorded and what comes of it now differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// In one word.
    pub class: Class,
    /// In every field.
    pub differences: Vec<Difference>,
}

/// Compares. `before` is none when there is nothing to compare with.
#[must_use]
pub fn compare(before: Option<&Ending>, after: &Ending) -> Comparison {
    let without = |class| Comparison { class, differences: Vec::new() };
    let Some(before) = before else { return without(Class::Uncompared) };
    if let Ending::Unanswered(_) = after {
        return without(Class::NewNeed);
    }
    let (mut old, mut new) = (before.document(), after.document());
    same_order(&mut old, &mut new);
    let differences = diff::differences(&old, &new);
    let class = match (before.is_failure(), after.is_failure()) {
        _ if differences.is_empty() => Class::Unchanged,
        (false, true) => Class::NewlyFails,
        (true, false) => Class::NewlyWorks,
        (true, true) | (false, false) => Class::Changed,
    };
    Comparison { class, differences }
}

/// The order of deliveries is told of those that both plans have; what only one has is told as itself.
fn same_order(before: &mut Value, after: &mut Value) {
    let order = |of: &Value| of.pointer("/plan/order").and_then(Value::as_array).cloned();
    let (Some(old), Some(new)) = (order(before), order(after)) else { return };
    let both = |list: &[Value], other: &[Value]| -> Vec<Value> {
        list.iter().filter(|key| other.contains(key)).cloned().collect()
    };
    let (in_old, in_new) = (both(&old, &new), both(&new, &old));
    // Told whole: moving one moves the others.
    let told = |document: &mut Value, keys: Vec<Value>| {
        if let Some(order) = document.pointer_mut("/plan/order") {
            *order = json!(keys.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "));
        }
    };
    told(before, in_old);
    told(after, in_new);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn delivery(key: &str, body: Value) -> PlannedDelivery {
        PlannedDelivery {
            key: key.into(),
            connection: "erp".into(),
            operation: "order.create".into(),
            body,
            after: vec![],
            bindings: vec![],
            unless: None,
            once: None,
            captures: vec![],
            ledger: vec![],
        }
    }

    fn planned(deliveries: Vec<PlannedDelivery>) -> Ending {
        Ending::Decided(Outcome::Deliver(Plan {
            ordering_key: None,
            deliveries,
            references: vec![],
            alerts: vec![],
        }))
    }

    fn pointers(before: &Ending, after: &Ending) -> Vec<String> {
        compare(Some(before), after).differences.into_iter().map(|one| one.pointer).collect()
    }

    #[test]
    fn deliveries_are_matched_by_key() {
        let before = planned(vec![delivery("a", json!({"n": 1})), delivery("b", json!({}))]);
        let after = planned(vec![
            delivery("new", json!({})),
            delivery("a", json!({"n": 2})),
            delivery("b", json!({})),
        ]);
        assert_eq!(pointers(&before, &after), ["/plan/deliveries/a/body/n", "/plan/deliveries/new"]);
        let turned = planned(vec![delivery("b", json!({})), delivery("a", json!({"n": 1}))]);
        assert_eq!(pointers(&before, &turned), ["/plan/order"]);
    }

    #[test]
    fn what_newly_fails_or_works_is_called_so() {
        let works = planned(vec![]);
        let fails = Ending::Failed { code: "guest-trapped".into(), message: "at x".into() };
        let fails_alike = Ending::Failed { code: "guest-trapped".into(), message: "at y".into() };
        let rejects = Ending::Decided(Outcome::Reject(vec![]));
        assert_eq!(compare(Some(&works), &fails).class, Class::NewlyFails);
        assert_eq!(compare(Some(&works), &rejects).class, Class::NewlyFails);
        assert_eq!(compare(Some(&fails), &works).class, Class::NewlyWorks);
        assert_eq!(compare(Some(&fails), &rejects).class, Class::Changed);
        assert_eq!(compare(Some(&fails), &fails_alike).class, Class::Unchanged);
        assert_eq!(compare(None, &works).class, Class::Uncompared);
        assert_eq!(compare(Some(&works), &Ending::Unanswered(vec![])).class, Class::NewNeed);
    }

    #[test]
    fn a_plan_that_waits_for_approval_now_differs_in_that_alone() {
        let plan = Plan { ordering_key: None, deliveries: vec![], references: vec![], alerts: vec![] };
        let held = crate::contract::HeldPlan { reason: "large".into(), plan: plan.clone() };
        let (before, after) = (Ending::Decided(Outcome::Deliver(plan)), Ending::Decided(Outcome::Hold(held)));
        assert_eq!(pointers(&before, &after), ["/outcome", "/reason"]);
    }

    #[test]
    fn classes_read_as_they_are_written() {
        for class in Class::ALL {
            assert_eq!(class.as_str().parse(), Ok(class));
            assert_eq!(json!(class), json!(class.as_str()));
        }
    }

    proptest! {
        #[test]
        fn what_is_the_same_never_differs(keys in prop::collection::btree_set("[a-e]{1,2}", 0..6), n in any::<i64>()) {
            let ending = planned(keys.iter().map(|key| delivery(key, json!({ "n": n }))).collect());
            let compared = compare(Some(&ending), &ending.clone());
            prop_assert_eq!(compared.class, Class::Unchanged);
            prop_assert!(compared.differences.is_empty());
        }
    }
}
