//! Documents become a plan: their calls, what is remembered, and who is told: Stripe's object, in its metadata, and
//! where the tenant wants it a shop or dashboard, by a signed webhook.

use super::{Documents, Flow, NOTIFY, Number, STRIPE, fact};
use crate::{
    contract::{Delivery, Plan, Reference, ReferenceKey},
    prelude::json,
};

/// What is told of.
pub(super) struct Told<'a> {
    /// One of the kinds of [`super::Notify`].
    pub(super) kind: &'static str,
    /// Stripe's name of the object.
    pub(super) object: &'static str,
    /// Its id.
    pub(super) id: &'a str,
    /// `posted`, `reversed`, …
    pub(super) status: &'a str,
    /// What is told, in the name of the fact: the object's id, or that of what happened to it.
    pub(super) about: &'a str,
}

impl Documents {
    /// Takes in documents of another fact; their calls get keys of their own.
    pub(super) fn join(&mut self, other: Self, suffix: &str) {
        let renamed = |key: &str| format!("{key}-{suffix}");
        for mut delivery in other.deliveries {
            delivery.key = renamed(&delivery.key);
            delivery.after.iter_mut().for_each(|key| *key = renamed(key));
            let checked = delivery.unless.iter_mut().flat_map(|check| &mut check.bindings);
            for binding in delivery.bindings.iter_mut().chain(checked) {
                binding.delivery = renamed(&binding.delivery);
            }
            self.deliveries.push(delivery);
        }
        let numbers = other.numbers.into_iter();
        self.numbers.extend(numbers.map(|number| Number { delivery: renamed(&number.delivery), ..number }));
        self.references.extend(other.references);
        self.concerns.extend(other.concerns);
        self.new_customer |= other.new_customer;
    }

    /// Whether there is nothing to do.
    pub(super) fn are_none(&self) -> bool {
        self.deliveries.is_empty() && self.references.is_empty() && self.concerns.is_empty()
    }
}

/// The plan of documents, ordered by the object that they are about.
pub(super) fn plan(documents: Documents, ordered_by: &str) -> Plan {
    let mut plan = Plan::new().ordered_by(ordered_by);
    plan.deliveries = documents.deliveries;
    plan.references = documents
        .references
        .into_iter()
        .map(|[kind, id, system, counterpart]| Reference {
            key: ReferenceKey { kind, id },
            system,
            id: counterpart,
        })
        .collect();
    plan
}

/// The number of a journal, as its delivery remembers it.
pub(super) fn journal_number(delivery: &Delivery) -> Option<Number> {
    let capture = delivery.captures.first()?;
    Some(Number { name: "erp_journal", delivery: delivery.key.clone(), pointer: capture.pointer.clone() })
}

/// Adds who is told of a status without documents.
pub(super) fn tell_status(plan: Plan, flow: &Flow, told: &Told<'_>) -> Plan {
    let plan = if flow.write_back { plan.deliver(write_back(told)) } else { plan };
    notify(plan, flow, told, &[], &[])
}

/// Adds who is told, after every call of the plan. A plan without calls has nothing to tell Stripe.
pub(super) fn tell(mut plan: Plan, flow: &Flow, told: &Told<'_>, numbers: &[Number]) -> Plan {
    let documents: Vec<String> = plan.deliveries.iter().map(|delivery| delivery.key.clone()).collect();
    if flow.write_back && !documents.is_empty() {
        plan.deliveries.push(after(write_back(told), &documents, numbers, "/metadata"));
    }
    notify(plan, flow, told, &documents, numbers)
}

/// Numbers come in when documents have answered.
fn write_back(told: &Told<'_>) -> Delivery {
    let body = json!({"object": told.object, "id": told.id, "metadata": {"erp_status": told.status}});
    Delivery::new("write-back", STRIPE, "metadata.update", body).once(told.fact(""))
}

fn notify(mut plan: Plan, flow: &Flow, told: &Told<'_>, documents: &[String], numbers: &[Number]) -> Plan {
    if let Some(notify) = flow.notify.as_ref().filter(|notify| notify.tells(told.kind)) {
        let body = json!({"path": notify.path, "body": {
            "kind": told.kind, "object": told.object, "id": told.id, "status": told.status, "numbers": {},
        }});
        let delivery = Delivery::new("notify", NOTIFY, "request.post", body).once(told.fact("notify-"));
        plan.deliveries.push(after(delivery, documents, numbers, "/body/numbers"));
    }
    plan
}

impl Told<'_> {
    fn fact(&self, whom: &str) -> String {
        fact::told(&format!("{whom}{}-{}", self.kind, self.status), self.about)
    }
}

fn after(delivery: Delivery, documents: &[String], numbers: &[Number], target: &str) -> Delivery {
    let delivery = documents.iter().fold(delivery, Delivery::after);
    numbers.iter().fold(delivery, |delivery, number| {
        delivery.bind(&number.delivery, &number.pointer, format!("{target}/{}", number.name))
    })
}

impl super::Notify {
    fn tells(&self, kind: &str) -> bool {
        self.kinds.is_empty() || self.kinds.iter().any(|told| told == kind)
    }
}
