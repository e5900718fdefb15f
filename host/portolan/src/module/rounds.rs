//! A module called round after round, as the mapper calls it: the same limits, the same checks of needs and plans
//! (`portolan_pipeline::facts::check`, `portolan_domain::plan::check`), the same names for what goes wrong. Only
//! the facts come from somewhere else: from a case, or from a run that was made before.

use portolan_domain::{
    card::mask_json,
    contract::{Answer, Fact, HeldPlan, Input, LogLine, Need, Outcome},
    plan::{self, PlanLimits},
};
use portolan_pipeline::{PipelineSettings, facts};
use portolan_sandbox::{Frame, RunLimits};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::local::{Local, Ready};

/// What all rounds of one event cost together. Fuel and bytes are the same on every machine, the time is not.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Cost {
    pub(super) rounds: u64,
    pub(super) fuel: u64,
    pub(super) memory_bytes_max: u64,
    pub(super) input_bytes: u64,
    pub(super) output_bytes: u64,
    pub(super) wall_us: u64,
}

/// How a module's work on one event ended.
pub(super) struct Ended {
    pub(super) verdict: Verdict,
    pub(super) cost: Cost,
    pub(super) log: Vec<LogLine>,
    pub(super) facts: Vec<Fact>,
    /// Where it was when it failed.
    pub(super) stack: Vec<Frame>,
    /// What the last call was given.
    pub(super) last_input: Input,
}

pub(super) enum Verdict {
    /// The module decided, and the host would carry it out.
    Decided(Outcome),
    /// The module failed, or the host would refuse what it decided.
    Failed { code: String, message: String },
    /// It asks for what nobody here knows.
    Unknown(Vec<Need>),
}

impl Verdict {
    /// As cases expect it: the outcome in the contract's JSON form, or `{"failed": {"code", "message"}}`.
    pub(super) fn to_json(&self) -> Value {
        match self {
            Self::Decided(outcome) => compact(json!(outcome)),
            Self::Failed { code, message } => json!({"failed": {"code": code, "message": message}}),
            Self::Unknown(needs) => json!({"need": needs}),
        }
    }

    /// In a word.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Decided(Outcome::Deliver(_)) => "deliver",
            Self::Decided(Outcome::Hold(_)) => "hold",
            Self::Decided(Outcome::Defer(_)) => "defer",
            Self::Decided(Outcome::Skip(_)) => "skip",
            Self::Decided(Outcome::Reject(_)) => "reject",
            Self::Decided(Outcome::Need(_)) | Self::Unknown(_) => "need",
            Self::Failed { .. } => "failed",
        }
    }
}

/// Runs a module on an event until it has decided. `known` answers its needs; what it does not know ends the run.
pub(super) fn run(
    local: &Local,
    ready: &Ready,
    input: Input,
    known: impl Fn(&Need) -> Option<Answer>,
) -> Ended {
    let settings = PipelineSettings::default();
    let mut ended = Ended {
        verdict: Verdict::Unknown(Vec::new()),
        cost: Cost::default(),
        log: Vec::new(),
        facts: Vec::new(),
        stack: Vec::new(),
        last_input: input,
    };
    let description = &ready.sheet.description;
    for _ in 0..settings.rounds_max {
        let outcome = match call(local, ready, &mut ended) {
            Ok(outcome) => outcome,
            Err(failed) => {
                ended.verdict = failed;
                return ended;
            }
        };
        let Outcome::Need(needs) = outcome else {
            ended.verdict = decided(outcome, ready);
            return ended;
        };
        if let Err(problem) = facts::check(&settings, description, &ended.facts, &needs) {
            ended.verdict = failed("guest-nonsense", problem);
            return ended;
        }
        let answers: Vec<Option<Answer>> = needs.iter().map(&known).collect();
        let unknown = needs.iter().zip(&answers).filter(|(_, answer)| answer.is_none());
        let unknown: Vec<Need> = unknown.map(|(need, _)| need.clone()).collect();
        if !unknown.is_empty() {
            ended.verdict = Verdict::Unknown(unknown);
            return ended;
        }
        let answers = answers.into_iter().flatten();
        ended.facts.extend(needs.into_iter().zip(answers).map(|(need, answer)| Fact { need, answer }));
        ended.last_input.facts.clone_from(&ended.facts);
    }
    let text = format!("the module still needs facts after {} rounds", settings.rounds_max);
    ended.verdict = failed("too-many-rounds", text);
    ended
}

/// One call, in a fresh sandbox.
fn call(local: &Local, ready: &Ready, ended: &mut Ended) -> Result<Outcome, Verdict> {
    let report = local.sandbox.transform_here(&ready.module, &ended.last_input, &RunLimits::default());
    let cost = &mut ended.cost;
    cost.rounds += 1;
    cost.fuel += report.cost.fuel;
    cost.memory_bytes_max = cost.memory_bytes_max.max(report.cost.memory_bytes_max);
    cost.input_bytes += report.cost.input_bytes;
    cost.output_bytes += report.cost.output_bytes;
    cost.wall_us += report.cost.wall_us;
    let text = report.failure_text();
    ended.log.extend(report.log);
    ended.stack = report.stack;
    report.verdict.map_err(|failure| {
        failed(&format!("guest-{}", failure.code()), text.unwrap_or_else(|| failure.to_string()))
    })
}

/// What the host makes of an outcome before it stores anything.
fn decided(outcome: Outcome, ready: &Ready) -> Verdict {
    let mut as_json = json!(outcome);
    let outcome = if mask_json(&mut as_json) {
        match Outcome::deserialize(&as_json) {
            Ok(masked) => masked,
            Err(error) => {
                return failed("guest-nonsense", format!("a card number where none can be masked: {error}"));
            }
        }
    } else {
        outcome
    };
    if let Outcome::Deliver(plan) | Outcome::Hold(HeldPlan { plan, .. }) = &outcome
        && let Err(problem) = plan::check(plan, &ready.sheet.description, &PlanLimits::default())
    {
        return failed("plan-refused", problem.to_string());
    }
    Verdict::Decided(outcome)
}

fn failed(code: &str, message: impl Into<String>) -> Verdict {
    Verdict::Failed { code: code.to_owned(), message: message.into() }
}

/// An outcome without the fields that say nothing: a plan has many, and a person has to read it. Two outcomes are the
/// same if and only if they are the same after this.
pub(super) fn compact(mut outcome: Value) -> Value {
    let plan = match outcome.get_mut("hold") {
        Some(held) => held.get_mut("plan"),
        None => outcome.get_mut("deliver"),
    };
    if let Some(plan) = plan {
        let deliveries = plan.get_mut("deliveries").and_then(Value::as_array_mut);
        for delivery in deliveries.into_iter().flatten() {
            if let Some(check) = delivery.get_mut("unless") {
                drop_empty(check, &["bindings"]);
            }
            drop_empty(delivery, &["after", "bindings", "once", "unless", "captures", "ledger"]);
        }
        drop_empty(plan, &["ordering-key", "references", "alerts", "deliveries"]);
    }
    if let Some(deferral) = outcome.get_mut("defer") {
        drop_empty(deferral, &["not-before"]);
    }
    outcome
}

fn drop_empty(object: &mut Value, fields: &[&str]) {
    let Some(object) = object.as_object_mut() else { return };
    for field in fields {
        let is_empty = object
            .get(*field)
            .is_some_and(|value| value.is_null() || value.as_array().is_some_and(Vec::is_empty));
        if is_empty {
            object.remove(*field);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_nothing_is_left_out_of_plans_and_never_of_bodies() {
        let full = json!({"hold": {"reason": "r", "plan": {
            "ordering-key": null, "references": [], "alerts": [],
            "deliveries": [{"key": "k", "body": {"empty": [], "none": null}, "after": [], "once": null,
                "unless": {"when": "always", "bindings": []}}],
        }}});
        let short = json!({"hold": {"reason": "r", "plan": {
            "deliveries": [{"key": "k", "body": {"empty": [], "none": null}, "unless": {"when": "always"}}],
        }}});
        assert_eq!(compact(full), short);
        assert_eq!(compact(short.clone()), short);
    }
}
