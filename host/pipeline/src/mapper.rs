//! Executes modules on events: step 3 of an event's life.
//!
//! A run is claimed under a lease, its module is called outside any transaction, the facts it asks for are
//! fetched and it is called again, and one transaction stores the outcome, the facts, the log, the cost and
//! every delivery that follows.
//!
//! A run whose module was being executed when the host died is counted before it is executed again, and executed alone;
//! after [`crate::PipelineSettings::process_deaths_max`] deaths it is quarantined, and after
//! [`crate::PipelineSettings::module_deaths_max`] so is its module. A panic of the host costs the run that it is in.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use opentelemetry::trace::SpanKind;
use portolan_domain::{
    AlertId, ModuleDigest, ReplayId, TenantId, Timestamp,
    card::mask_json,
    contract::{Deferral, EventFacts, Fact, Input, LogLine, Outcome, Severity},
    verdict::CallFailure,
};
use portolan_proof::{Point, pass};
use portolan_store::{
    ClaimRequest, Finish, StoreError,
    alert::NewAlert,
    event::Event,
    mapping::Mapping,
    run::{ModuleDeaths, RunClaim, RunEnd, RunRecord},
};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::{
    Nudge, Shared,
    engine::{Call, Cost, Engine, ModuleError},
    facts::{self, NoFacts},
    plans, refused,
    rooms::Rooms,
    traces::{self, Span},
    work::{self, Work},
};

/// Log lines kept with a run over all its rounds.
const LOG_LINES_MAX: usize = 500;

/// Why a run that kills the host is dead.
const QUARANTINED: &str = "quarantined";
/// Why the runs of a module that kills the host are dead.
const MODULE_QUARANTINED: &str = "module-quarantined";
/// Why a run is dead whose module used what its mapping does not grant.
const NOT_GRANTED: &str = "not-granted";
/// Why a run in which the host panicked is dead.
const HOST_PANIC: &str = "host-panic";

/// The loop that executes runs.
#[derive(Debug)]
pub struct Mapper {
    shared: Shared,
    engine: Arc<dyn Engine>,
    rooms: Rooms,
    /// As it was at the start. Hosts die between starts only, so it can but shrink.
    guilty: Vec<ModuleDeaths>,
}

/// What one execution came to: what is kept of it, and how it ended.
struct Execution {
    module: Option<ModuleDigest>,
    settings: Value,
    is_canary: bool,
    shadow: Option<ReplayId>,
    outcome: Value,
    facts: Vec<Fact>,
    log: Vec<LogLine>,
    cost: Cost,
}

impl Mapper {
    /// A mapper that has not begun.
    #[must_use]
    pub fn new(shared: Shared, engine: Arc<dyn Engine>, guilty: Vec<ModuleDeaths>) -> Self {
        Self { shared, engine, rooms: Rooms::default(), guilty }
    }

    /// Works until `stopped` turns true, then waits for what is under way.
    pub async fn work(self, stopped: watch::Receiver<bool>) {
        work::work(self, stopped).await;
    }

    async fn execute(&self, claim: &RunClaim, execution: &mut Execution) -> RunEnd {
        if claim.process_deaths >= self.shared.settings.process_deaths_max {
            let text = format!(
                "the host died {} times while it executed the module on this event; it is not executed again until \
                 a person redrives it",
                claim.process_deaths
            );
            return self.dead(claim, QUARANTINED, text);
        }
        let mapping = match self.mapping(claim).await {
            Ok(mapping) => version_for(mapping, claim, execution),
            Err(StoreError::NotFound) => {
                return self.dead(claim, "mapping-gone", "the mapping no longer exists".to_owned());
            }
            Err(error) => {
                return self.later(claim, &CallFailure::retryable("store-unavailable", error.to_string()));
            }
        };
        execution.module = Some(mapping.module.clone());
        match self.deaths_of(&claim.event.scope.tenant, &mapping.module).await {
            Ok(deaths) if deaths >= self.shared.settings.module_deaths_max => {
                let text = format!(
                    "the host died {deaths} times while it executed this module; no event is handed to it until a \
                     person redrives one"
                );
                return self.dead(claim, MODULE_QUARANTINED, text);
            }
            Ok(_) => {}
            Err(error) => {
                return self.later(claim, &CallFailure::retryable("store-unavailable", error.to_string()));
            }
        }
        let Ok(payload) = std::str::from_utf8(&claim.event.payload) else {
            return self.dead(claim, "payload-not-utf-8", "the payload is not UTF-8 text".to_owned());
        };
        match self.rounds(claim, &mapping, payload, execution).await {
            Ok(end) => end,
            Err(ModuleError::Unknown(digest)) => {
                self.dead(claim, "module-gone", format!("the tenant has no module {digest}"))
            }
            Err(error @ ModuleError::Unavailable(_)) => {
                self.later(claim, &CallFailure::retryable("module-unavailable", chain(&error)))
            }
        }
    }

    /// How often the host died of a module. Asked of the store only about those that it ever died of.
    async fn deaths_of(&self, tenant: &TenantId, module: &ModuleDigest) -> Result<u32, StoreError> {
        let is = |of: &&ModuleDeaths| of.tenant == *tenant && of.module == *module;
        if self.guilty.iter().find(is).is_none() {
            return Ok(0);
        }
        let known = self.shared.store.run_module_deaths().await?;
        Ok(known.iter().find(is).map_or(0, |of| of.deaths))
    }

    async fn mapping(&self, claim: &RunClaim) -> Result<Mapping, StoreError> {
        if let Ok(route) = self.shared.routes.find(&claim.event.source).await
            && let Some(mapping) = route.mappings.iter().find(|mapping| mapping.id == claim.mapping)
        {
            return Ok(mapping.clone());
        }
        // Switched off since: what was accepted before is still carried out.
        self.shared.store.mapping_get(&claim.event.scope, &claim.mapping).await
    }

    async fn rounds(
        &self,
        claim: &RunClaim,
        mapping: &Mapping,
        payload: &str,
        execution: &mut Execution,
    ) -> Result<RunEnd, ModuleError> {
        let tenant = &claim.event.scope.tenant;
        let description = self.engine.description(tenant, &mapping.module).await?;
        for _ in 0..self.shared.settings.rounds_max {
            let input = input(claim, mapping, payload, &execution.facts);
            let (module, run, suspect) = (&mapping.module, &claim.id, claim.suspect);
            let call = Call { tenant, module, run, suspect, behind: false, input };
            pass(Point::Instantiated);
            let report = self.engine.transform(call).await?;
            pass(Point::Transformed);
            execution.cost.add(&report);
            let room = LOG_LINES_MAX.saturating_sub(execution.log.len());
            execution.log.extend(report.log.into_iter().take(room));
            let outcome = match report.verdict {
                Ok(outcome) => outcome,
                Err(failure) if failure.retryable => {
                    return Ok(self.later(claim, &CallFailure::retryable(&failure.code, failure.message)));
                }
                Err(failure) => return Ok(self.dead(claim, &failure.code, failure.message)),
            };
            let Outcome::Need(needs) = outcome else {
                let (outcome, as_json) = match without_cards(outcome) {
                    Ok(masked) => masked,
                    Err(text) => return Ok(self.dead(claim, "guest-nonsense", text)),
                };
                execution.outcome = as_json;
                return Ok(self.decided(claim, mapping, &description, outcome));
            };
            let known = &execution.facts;
            match facts::fetch(&self.shared, claim, mapping, &description, known, needs).await {
                Ok(facts) => execution.facts.extend(facts),
                Err(NoFacts::NotGranted(name)) => {
                    return Ok(self.dead(claim, NOT_GRANTED, not_granted(&name)));
                }
                Err(NoFacts::Nonsense(text)) => return Ok(self.dead(claim, "guest-nonsense", text)),
                Err(NoFacts::Later(failure)) => return Ok(self.later(claim, &failure)),
                Err(NoFacts::Refused(connection)) => {
                    let due_at = self.shared.steady().plus(self.pause(claim));
                    let reason = reason(refused::CODE, &refused::title(&connection));
                    return Ok(RunEnd::Postponed { due_at, reason });
                }
            }
        }
        let text = format!("the module still needs facts after {} rounds", self.shared.settings.rounds_max);
        Ok(self.dead(claim, "too-many-rounds", text))
    }

    fn decided(
        &self,
        claim: &RunClaim,
        mapping: &Mapping,
        description: &portolan_domain::contract::Description,
        outcome: Outcome,
    ) -> RunEnd {
        let (plan, held) = match outcome {
            Outcome::Deliver(plan) => (plan, None),
            Outcome::Hold(held) => (held.plan, Some(held.reason)),
            Outcome::Defer(deferral) => return self.defer(claim, deferral),
            Outcome::Skip(text) => return RunEnd::Skipped { reason: reason("skipped", &text) },
            Outcome::Reject(violations) => {
                let text = violations.first().map_or("no violation named", |first| &first.message);
                let text = format!("the module rejects the event: {text}");
                let mut reason = reason("rejected", &text);
                if let Some(reason) = reason.as_object_mut() {
                    reason.insert("violations".to_owned(), json!(violations));
                }
                return RunEnd::Dead { reason, alerts: vec![self.alert(claim, "rejected", &text)] };
            }
            // The caller answers needs and asks again.
            Outcome::Need(_) => return self.dead(claim, "guest-nonsense", "unanswered needs".to_owned()),
        };
        let refused = mapping.life.grants.as_ref().and_then(|grants| grants.refused_of_plan(&plan));
        let rules = (description, &self.shared.settings.plan);
        let end = plans::to_run_end(plan, held, &claim.event, mapping, rules, self.shared.clock.now());
        pass(Point::PlanChecked);
        match (end, refused) {
            // What was never declared is no question of grants.
            (Err(problem), _) => self.dead(claim, problem.code(), problem.to_string()),
            (Ok(_), Some(name)) => self.dead(claim, NOT_GRANTED, not_granted(&name)),
            (Ok(end), None) => end,
        }
    }

    /// Until a run is executed again that did not fail.
    fn pause(&self, claim: &RunClaim) -> Duration {
        let policy =
            portolan_domain::retry::RetryPolicy { attempts_max: u32::MAX, ..self.shared.settings.run_retry };
        policy.delay(claim.attempt, rand::random()).unwrap_or_default()
    }

    fn defer(&self, claim: &RunClaim, deferral: Deferral) -> RunEnd {
        let now = self.shared.steady();
        let age = now.since(claim.event.received_at);
        if age > Duration::from_millis(self.shared.settings.deferral_ms_max) {
            return self.dead(claim, "deferred-too-long", format!("still waiting: {}", deferral.reason));
        }
        // A module may name the end of time; whoever waits for the event must hear of it before.
        let latest =
            claim.event.received_at.plus(Duration::from_millis(self.shared.settings.deferral_ms_max + 1));
        let due_at = now.plus(self.pause(claim)).max(deferral.not_before.unwrap_or(now)).min(latest.max(now));
        RunEnd::Deferred { due_at, reason: reason("deferred", &deferral.reason) }
    }

    fn later(&self, claim: &RunClaim, failure: &CallFailure) -> RunEnd {
        // Not its attempts: being deferred is no failure, and a run that was deferred for days must survive a second
        // without the other system.
        let failures = claim.failures.saturating_add(1);
        let Some(pause) = self.shared.settings.run_retry.delay(failures, rand::random()) else {
            let problem = failure.problem();
            return self.dead(
                claim,
                &problem.code,
                format!("given up after {failures} tries: {}", problem.message),
            );
        };
        let pause = pause.max(failure.after().unwrap_or_default());
        RunEnd::Retried { due_at: self.shared.steady().plus(pause), reason: facts::reason(failure) }
    }

    fn dead(&self, claim: &RunClaim, code: &str, text: String) -> RunEnd {
        RunEnd::Dead { reason: reason(code, &text), alerts: vec![self.alert(claim, code, &text)] }
    }

    fn alert(&self, claim: &RunClaim, code: &str, text: &str) -> NewAlert {
        let at = self.shared.clock.now();
        // What endangers the host is everybody's concern, not this tenant's alone.
        let critical = [QUARANTINED, MODULE_QUARANTINED, HOST_PANIC].contains(&code);
        NewAlert {
            id: AlertId::generate(at),
            severity: if critical { Severity::Critical } else { Severity::Warning },
            code: format!("run-dead.{code}"),
            title: format!("events of kind {} cannot be mapped by {}", claim.event.kind, claim.mapping),
            detail: json!({ "event": claim.event.id, "run": claim.id, "message": text }),
            at,
        }
    }

    /// The run's span; what it asks for belongs below it.
    fn begin(&self, claim: &mut RunClaim) -> Span {
        let event = &mut claim.event;
        let mut span = self.shared.traces.begin("run", SpanKind::Consumer, event.traceparent.as_deref());
        span.set("portolan.tenant.id", event.scope.tenant.to_string());
        span.set("portolan.environment", event.scope.environment.as_str());
        span.set("portolan.event.id", event.id.to_string());
        span.set_text("portolan.event.kind", &event.kind);
        span.set("portolan.run.id", claim.id.to_string());
        span.set("portolan.run.attempt", i64::from(claim.attempt));
        span.set("portolan.mapping.id", claim.mapping.to_string());
        event.traceparent = span.traceparent();
        span
    }

    /// The canonical line of a run, its metrics and the end of its span.
    fn log(&self, claim: &RunClaim, end: &RunEnd, took: Duration, (execution, mut span): (&Execution, Span)) {
        let (name, reason) = match end {
            RunEnd::Planned { held: None, .. } => ("planned", &Value::Null),
            RunEnd::Planned { held: Some(_), .. } => ("held", &Value::Null),
            RunEnd::Deferred { reason, .. } => ("deferred", reason),
            RunEnd::Retried { reason, .. } => ("retried", reason),
            RunEnd::Postponed { reason, .. } => ("postponed", reason),
            RunEnd::Skipped { reason } => ("skipped", reason),
            RunEnd::Dead { reason, .. } => ("dead", reason),
        };
        metrics::counter!("portolan_runs_finished_total", "end" => name).increment(1);
        metrics::histogram!("portolan_run_seconds").record(took);
        let cost = execution.cost.to_json();
        let fuel = cost.get("fuel").and_then(Value::as_u64);
        let deliveries = match end {
            RunEnd::Planned { deliveries, .. } => deliveries.len(),
            RunEnd::Deferred { .. }
            | RunEnd::Retried { .. }
            | RunEnd::Postponed { .. }
            | RunEnd::Skipped { .. }
            | RunEnd::Dead { .. } => 0,
        };
        let (module, code) = (execution.module.as_ref(), reason["code"].as_str());
        tracing::info!(
            run.id = %claim.id, attempt.number = claim.attempt, run.end = name, run.deliveries = deliveries,
            problem.code = code, problem.message = reason["message"].as_str(),
            event.id = %claim.event.id, event.kind = claim.event.kind, object.id = claim.event.object_id,
            mapping.id = %claim.mapping, module.digest = module.map(|digest| digest.as_str()),
            tenant.id = %claim.event.scope.tenant, environment = %claim.event.scope.environment,
            fuel, cost = %cost, facts = execution.facts.len(),
            trace.id = traces::trace_id(claim.event.traceparent.as_deref()),
            duration_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            "run"
        );
        span.set("portolan.run.end", name);
        span.set("portolan.run.deliveries", i64::try_from(deliveries).unwrap_or(i64::MAX));
        span.set("portolan.run.fuel", fuel.and_then(|fuel| i64::try_from(fuel).ok()).unwrap_or_default());
        span.set("portolan.run.facts", i64::try_from(execution.facts.len()).unwrap_or(i64::MAX));
        if let Some(digest) = module {
            span.set("portolan.module.digest", digest.as_str().to_owned());
        }
        if matches!(end, RunEnd::Dead { .. } | RunEnd::Retried { .. }) {
            span.fail(code.unwrap_or("failed"));
        }
    }
}

impl Work for Mapper {
    type Claim = RunClaim;
    const NAME: &'static str = "the mapper";

    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn nudge(&self) -> &Nudge {
        &self.shared.runs_due
    }

    fn lane(claim: &RunClaim) -> &str {
        claim.event.scope.tenant.as_str()
    }

    fn slots_max(&self) -> usize {
        self.shared.settings.runs_max
    }

    async fn claim(&self, slots: usize) -> Result<Vec<RunClaim>, StoreError> {
        let of_quota = self.shared.tenants.defaults().runs_max;
        let lane_room = self.shared.settings.runs_per_tenant_max.min(of_quota as usize);
        let room = self.shared.tenants.rooms_of_runs(&self.rooms, lane_room);
        let request = ClaimRequest {
            owner: self.shared.owner.to_string(),
            now: self.shared.steady(),
            lease_ms: self.shared.settings.lease_ms,
            rows_max: slots,
            room,
            lane_room,
            tenant_room: Default::default(),
            tenant_room_max: usize::MAX,
        };
        self.shared.store.run_claim(request).await
    }

    async fn next_due(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.shared.store.run_next_due(now).await
    }

    async fn carry_out(&self, mut claim: RunClaim) {
        pass(Point::RunClaimed);
        let span = self.begin(&mut claim);
        let _place = self.rooms.enter(claim.event.scope.tenant.as_str());
        let started = self.shared.clock.monotonic();
        let mut execution = Execution {
            module: None,
            settings: Value::Null,
            is_canary: false,
            shadow: None,
            outcome: Value::Null,
            facts: Vec::new(),
            log: Vec::new(),
            cost: Cost::default(),
        };
        let executed = AssertUnwindSafe(self.execute(&claim, &mut execution)).catch_unwind().await;
        let end = executed.unwrap_or_else(|_| {
            self.dead(&claim, HOST_PANIC, "the host panicked while it carried out this run".to_owned())
        });
        let took = self.shared.clock.monotonic().saturating_sub(started);
        self.log(&claim, &end, took, (&execution, span));
        let planned = matches!(end, RunEnd::Planned { held: None, .. });
        let (is_canary, followed) = (execution.is_canary, execution.shadow.is_some());
        let record = RunRecord {
            module: execution.module,
            settings: execution.settings,
            attempt: claim.attempt,
            is_canary,
            shadow: execution.shadow,
            outcome: execution.outcome,
            facts: json!(execution.facts),
            log: json!(execution.log),
            cost: execution.cost.to_json(),
        };
        self.shared.tenants.spent(&claim.event.scope, execution.cost.fuel()).await;
        let now = self.shared.steady();
        let finish =
            || self.shared.store.run_finish(&claim.id, &claim.lease, record.clone(), end.clone(), now);
        let stored = work::store_end(finish).await;
        if is_canary && matches!(end, RunEnd::Dead { .. }) {
            // It may have been one too many: its share is read again.
            self.shared.routes.forget();
        }
        if followed {
            self.shared.replays_due.ring();
        }
        match stored {
            Ok(Finish::Done) if planned => {
                pass(Point::PlanCommitted);
                self.shared.deliveries_due.ring();
            }
            Ok(Finish::Done) => {}
            Ok(Finish::LeaseLost) => {
                tracing::warn!(run.id = %claim.id, "another owner has the run by now; this result is dropped");
            }
            Err(error) => {
                tracing::error!(run.id = %claim.id, error = &error as &dyn std::error::Error, "a run's end could not be stored");
            }
        }
    }
}

fn not_granted(name: &str) -> String {
    format!("the mapping does not grant its module {name}")
}

/// The version that the event goes to: the pinned one, or the canary. What it is told is recorded with the run.
fn version_for(mut mapping: Mapping, claim: &RunClaim, execution: &mut Execution) -> Mapping {
    let event = &claim.event;
    let object = event.object_id.as_deref().unwrap_or(event.id.as_str());
    if let Some(canary) = mapping.life.canary.take()
        && canary.per_mille > share_of(mapping.id.as_str(), object)
    {
        execution.is_canary = true;
        mapping.module = canary.module;
        mapping.settings = canary.settings.unwrap_or(mapping.settings);
    }
    execution.settings = mapping.settings.clone();
    execution.shadow = mapping.life.shadow.as_ref().map(|shadow| shadow.replay.clone());
    mapping
}

/// Where an object stands among a mapping's objects, in thousandths: always the same, so that a larger share keeps those
/// of a smaller one.
fn share_of(mapping: &str, object: &str) -> u16 {
    let digest = Sha256::new().chain_update(mapping).chain_update([0]).chain_update(object).finalize();
    let [first, second, third, fourth, ..]: [u8; 32] = digest.into();
    u16::try_from(u32::from_be_bytes([first, second, third, fourth]) % 1_000).unwrap_or_default()
}

fn input(claim: &RunClaim, mapping: &Mapping, payload: &str, facts: &[Fact]) -> Input {
    told(&claim.event, claim.attempt, &mapping.settings, (payload, facts))
}

/// All that a call of a module is told.
pub(crate) fn told(
    event: &Event,
    attempt: u32,
    settings: &Value,
    (payload, facts): (&str, &[Fact]),
) -> Input {
    Input {
        event: EventFacts {
            id: event.id.as_str().to_owned(),
            source: event.source_name.clone(),
            system: event.system.clone(),
            kind: event.kind.clone(),
            object_id: event.object_id.clone(),
            occurred_at: event.occurred_at,
            received_at: event.received_at,
            media_type: event.media_type.clone(),
            payload: payload.to_owned(),
        },
        environment: event.scope.environment,
        attempt,
        settings: settings.clone(),
        facts: facts.to_vec(),
    }
}

/// What a module decided, and the same as JSON, with card numbers masked: a reference, a key or an alert holds none.
pub(crate) fn without_cards(outcome: Outcome) -> Result<(Outcome, Value), String> {
    let mut as_json = json!(outcome);
    if !mask_json(&mut as_json) {
        return Ok((outcome, as_json));
    }
    match Outcome::deserialize(&as_json) {
        Ok(masked) => Ok((masked, as_json)),
        // A card number stands where no text can be: in an amount.
        Err(error) => Err(format!("a card number where none can be masked: {error}")),
    }
}

fn reason(code: &str, text: &str) -> Value {
    json!({ "code": code, "message": text })
}

/// An error with everything that caused it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::share_of;

    #[test]
    fn objects_are_spread_over_the_share_and_keep_their_place() {
        let objects: Vec<String> = (0..4_000).map(|number| format!("ch_{number}")).collect();
        let within = |share| objects.iter().filter(|object| share_of("map_1", object) < share).count();
        assert!((300..500).contains(&within(100)), "{} of 4,000 are a tenth", within(100));
        assert_eq!((within(0), within(1_000)), (0, 4_000));
        assert_eq!(share_of("map_1", "ch_1"), share_of("map_1", "ch_1"));
        let same = objects.iter().filter(|object| share_of("map_1", object) == share_of("map_2", object));
        assert!(same.count() < 40, "another mapping chooses others");
    }
}
