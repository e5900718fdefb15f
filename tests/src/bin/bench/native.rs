//! The mappings as native code: the same Rust, called without a sandbox. Between the host's types and the
//! SDK's stands a conversion, as one stands between the host's types and a guest's memory; it is written here
//! without detours, so that native code is not made slower than it is.

use std::{str::FromStr, sync::Arc};

use anyhow::Context;
use async_trait::async_trait;
use portolan_domain::{
    Clock, Environment, ModuleDigest, SystemClock, TenantId, Timestamp,
    contract::{self as host, Description},
    money::Amount,
};
use portolan_pipeline::engine::{Call, Engine, ModuleError, Report, SandboxEngine};
use portolan_sdk::contract as sdk;
use serde_json::Value;

/// One call of a mapping, with the SDK's types.
pub(crate) type Transform = fn(&sdk::Input) -> sdk::Outcome;

/// Executes one mapping, whatever module is asked for, in place of the sandbox.
#[derive(Debug)]
pub(crate) struct NativeEngine {
    transform: Transform,
    /// Knows the descriptions; executes nothing.
    sandbox: SandboxEngine,
    clock: SystemClock,
}

impl NativeEngine {
    /// With the mapping that it executes.
    pub(crate) fn new(transform: Transform, sandbox: SandboxEngine) -> Self {
        Self { transform, sandbox, clock: SystemClock::new() }
    }
}

#[async_trait]
impl Engine for NativeEngine {
    async fn description(
        &self,
        tenant: &TenantId,
        module: &ModuleDigest,
    ) -> Result<Arc<Description>, ModuleError> {
        self.sandbox.description(tenant, module).await
    }

    async fn transform(&self, call: Call<'_>) -> Result<Report, ModuleError> {
        let started = self.clock.monotonic();
        let outcome = outcome((self.transform)(&native_input(&call.input)));
        let wall = self.clock.monotonic().saturating_sub(started);
        Ok(Report {
            verdict: Ok(outcome.map_err(|error| ModuleError::Unavailable(error.into()))?),
            log: Vec::new(),
            log_dropped: 0,
            fuel: 0,
            wall_us: u64::try_from(wall.as_micros()).unwrap_or(u64::MAX),
            memory_bytes: 0,
            input_bytes: 0,
            output_bytes: 0,
        })
    }
}

/// An input as the mapping takes it.
pub(crate) fn native_input(input: &host::Input) -> sdk::Input {
    let event = &input.event;
    sdk::Input {
        event: sdk::Event {
            id: event.id.clone(),
            source: event.source.clone(),
            system: event.system.clone(),
            kind: event.kind.clone(),
            object_id: event.object_id.clone(),
            occurred_at: event.occurred_at.as_millis(),
            received_at: event.received_at.as_millis(),
            media_type: event.media_type.clone(),
            payload: event.payload.clone(),
        },
        attempt: input.attempt,
        environment: match input.environment {
            Environment::Sandbox => sdk::Environment::Sandbox,
            Environment::Qa => sdk::Environment::Qa,
            Environment::Production => sdk::Environment::Production,
        },
        settings: input.settings.to_string(),
        facts: input.facts.iter().map(fact).collect(),
    }
}

fn fact(fact: &host::Fact) -> sdk::Fact {
    let need = match &fact.need {
        host::Need::Lookup(lookup) => {
            sdk::Need::Lookup(sdk::Lookup { table: lookup.table.clone(), key: lookup.key.clone() })
        }
        host::Need::Reference(key) => {
            sdk::Need::Reference(sdk::ReferenceKey { kind: key.kind.clone(), id: key.id.clone() })
        }
        host::Need::Query(query) => sdk::Need::Query(sdk::Query {
            connection: query.connection.clone(),
            operation: query.operation.clone(),
            parameters: query.parameters.to_string(),
        }),
    };
    let answer = match &fact.answer {
        host::Answer::Found(value) => sdk::Answer::Found(value.to_string()),
        host::Answer::Absent => sdk::Answer::Absent,
        host::Answer::Failed(problem) => {
            sdk::Answer::Failed(sdk::Problem { code: problem.code.clone(), message: problem.message.clone() })
        }
    };
    sdk::Fact { need, answer }
}

/// An outcome in the host's types, its bodies read.
pub(crate) fn outcome(outcome: sdk::Outcome) -> anyhow::Result<host::Outcome> {
    Ok(match outcome {
        sdk::Outcome::Deliver(done) => host::Outcome::Deliver(plan(done)?),
        sdk::Outcome::Need(needs) => host::Outcome::Need(each(needs, need)?),
        sdk::Outcome::Hold(held) => {
            host::Outcome::Hold(host::HeldPlan { reason: held.reason, plan: plan(held.plan)? })
        }
        sdk::Outcome::Defer(deferral) => host::Outcome::Defer(host::Deferral {
            reason: deferral.reason,
            not_before: deferral.not_before.map(Timestamp::from_millis),
        }),
        sdk::Outcome::Skip(reason) => host::Outcome::Skip(reason),
        sdk::Outcome::Reject(violations) => host::Outcome::Reject(each(violations, |one| {
            Ok(host::Violation { pointer: one.pointer, code: one.code, message: one.message })
        })?),
    })
}

fn each<A, B>(all: Vec<A>, convert: impl Fn(A) -> anyhow::Result<B>) -> anyhow::Result<Vec<B>> {
    all.into_iter().map(convert).collect()
}

fn json(text: &str) -> anyhow::Result<Value> {
    serde_json::from_str(text).with_context(|| format!("not JSON: {text}"))
}

fn need(need: sdk::Need) -> anyhow::Result<host::Need> {
    Ok(match need {
        sdk::Need::Lookup(lookup) => {
            host::Need::Lookup(host::Lookup { table: lookup.table, key: lookup.key })
        }
        sdk::Need::Reference(key) => host::Need::Reference(reference_key(key)),
        sdk::Need::Query(query) => host::Need::Query(host::Query {
            connection: query.connection,
            operation: query.operation,
            parameters: json(&query.parameters)?,
        }),
    })
}

fn reference_key(key: sdk::ReferenceKey) -> host::ReferenceKey {
    host::ReferenceKey { kind: key.kind, id: key.id }
}

fn plan(plan: sdk::Plan) -> anyhow::Result<host::Plan> {
    Ok(host::Plan {
        ordering_key: plan.ordering_key,
        deliveries: each(plan.deliveries, delivery)?,
        references: each(plan.references, |one| {
            Ok(host::Reference { key: reference_key(one.key), system: one.system, id: one.id })
        })?,
        alerts: each(plan.alerts, alert)?,
    })
}

fn delivery(delivery: sdk::Delivery) -> anyhow::Result<host::PlannedDelivery> {
    Ok(host::PlannedDelivery {
        key: delivery.key,
        connection: delivery.connection,
        operation: delivery.operation,
        body: json(&delivery.body)?,
        after: delivery.after,
        bindings: each(delivery.bindings, binding)?,
        unless: delivery.unless.map(check).transpose()?,
        once: delivery.once,
        captures: each(delivery.captures, |one| {
            Ok(host::Capture { key: reference_key(one.key), system: one.system, pointer: one.pointer })
        })?,
        ledger: each(delivery.ledger, ledger_line)?,
    })
}

fn binding(binding: sdk::Binding) -> anyhow::Result<host::Binding> {
    Ok(host::Binding { delivery: binding.delivery, source: binding.source, target: binding.target })
}

fn check(check: sdk::ExistenceCheck) -> anyhow::Result<host::ExistenceCheck> {
    Ok(host::ExistenceCheck {
        when: match check.when {
            sdk::CheckTime::Always => host::CheckTime::Always,
            sdk::CheckTime::InDoubt => host::CheckTime::InDoubt,
        },
        operation: check.operation,
        parameters: json(&check.parameters)?,
        bindings: each(check.bindings, binding)?,
        hit: check.hit,
    })
}

fn ledger_line(line: sdk::LedgerLine) -> anyhow::Result<host::LedgerLine> {
    Ok(host::LedgerLine {
        account: line.account,
        side: match line.side {
            sdk::Side::Debit => host::Side::Debit,
            sdk::Side::Credit => host::Side::Credit,
        },
        amount: Amount::from_str(&line.amount).context(line.amount)?,
        currency: line.currency,
    })
}

fn alert(alert: sdk::Alert) -> anyhow::Result<host::PlannedAlert> {
    Ok(host::PlannedAlert {
        severity: match alert.severity {
            sdk::Severity::Info => host::Severity::Info,
            sdk::Severity::Warning => host::Severity::Warning,
            sdk::Severity::Critical => host::Severity::Critical,
        },
        code: alert.code,
        title: alert.title,
        detail: json(&alert.detail)?,
    })
}
