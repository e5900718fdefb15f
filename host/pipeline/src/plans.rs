//! From a module's plan to the rows of the outbox.

use portolan_domain::{
    AlertId, ConnectionId, DeliveryId, Timestamp,
    contract::{Description, Plan, PlannedAlert},
    plan::{self, PlanLimits},
};
use portolan_store::{
    alert::NewAlert,
    event::Event,
    mapping::Mapping,
    run::{NewDelivery, RunEnd},
};
use sha2::{Digest, Sha256};

/// Why a plan is not stored: a rule it breaks, or a connection that its mapping does not bind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPlan {
    /// The module's doing: it breaks a rule.
    #[error("{0}")]
    Rule(String),
    /// The mapping's: it binds no connection of this name.
    #[error("the mapping binds no connection {0:?}")]
    Unbound(String),
}

impl BadPlan {
    /// Stable and machine-readable.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Rule(_) => "plan-refused",
            Self::Unbound(_) => "connection-unbound",
        }
    }
}

/// Checks a plan and turns it into what is stored.
///
/// # Errors
/// The first rule that the plan breaks. Nothing of it is carried out then.
#[expect(
    clippy::too_many_arguments,
    reason = "a plan becomes rows by its event, mapping, rules and the time"
)]
pub fn to_run_end(
    plan: Plan,
    held: Option<String>,
    event: &Event,
    mapping: &Mapping,
    rules: (&Description, &PlanLimits),
    now: Timestamp,
) -> Result<RunEnd, BadPlan> {
    plan::check(&plan, rules.0, rules.1).map_err(|problem| BadPlan::Rule(problem.to_string()))?;
    let ordering_key = plan.ordering_key.or_else(|| event.object_id.clone());
    let mut deliveries = Vec::with_capacity(plan.deliveries.len());
    for planned in plan.deliveries {
        let connection = mapping
            .connections
            .get(&planned.connection)
            .ok_or_else(|| BadPlan::Unbound(planned.connection.clone()))?;
        deliveries.push(NewDelivery {
            id: DeliveryId::generate(now),
            call_id: match &planned.once {
                Some(fact) => call_id_of_fact(event, connection, fact),
                None => call_id(event, mapping, &planned.key),
            },
            connection: connection.clone(),
            key: planned.key,
            operation: planned.operation,
            body: planned.body,
            after: planned.after,
            bindings: planned.bindings,
            unless: planned.unless,
            once: planned.once,
            captures: planned.captures,
            ledger: planned.ledger,
        });
    }
    Ok(RunEnd::Planned {
        deliveries,
        ordering_key: ordering_key.unwrap_or_else(|| event.id.as_str().to_owned()),
        references: plan.references,
        alerts: plan.alerts.into_iter().map(|alert| to_alert(alert, now)).collect(),
        held,
    })
}

/// The identity of a call, from which idempotency keys and references are derived: the same however often
/// the run is executed or the delivery attempted, on any host, and after a restore. 32 hex digits.
#[must_use]
pub fn call_id(event: &Event, mapping: &Mapping, key: &str) -> String {
    identity(&[
        event.scope.tenant.as_str(),
        event.scope.environment.as_str(),
        event.source.as_str(),
        &event.idempotency_key,
        mapping.id.as_str(),
        key,
    ])
}

/// The identity of a call that records an economic fact: the same for every event and mapping that tells it, so
/// that whoever makes the call, the other system sees one.
#[must_use]
pub fn call_id_of_fact(event: &Event, connection: &ConnectionId, fact: &str) -> String {
    let scope = &event.scope;
    identity(&[scope.tenant.as_str(), scope.environment.as_str(), "once", connection.as_str(), fact])
}

fn identity(parts: &[&str]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        digest.update(part.as_bytes());
    }
    let mut id = hex::encode(digest.finalize());
    id.truncate(32);
    id
}

fn to_alert(alert: PlannedAlert, at: Timestamp) -> NewAlert {
    NewAlert {
        id: AlertId::generate(at),
        severity: alert.severity,
        code: alert.code,
        title: alert.title,
        detail: alert.detail,
        at,
    }
}
