//! One event, executed again: told what it was told then, and nothing else unless it was asked for.

use std::collections::HashMap;

use portolan_domain::{
    ModuleDigest, RunId, Scope,
    card::mask_json_text,
    contract::{Answer, Description, Fact, Need, Outcome},
    plan,
    replay::Ending,
};
use portolan_store::{
    StoreError,
    mapping::Mapping,
    replay::{Asked, NewNeeds, ReplayInput, ReplaySettings},
};
use serde_json::Value;

use crate::{
    Shared,
    engine::{Call, Cost, Engine, ModuleError},
    facts::{self, Asker, NoFacts},
    mapper,
};

/// How often a call is made that fails for a reason of the host's.
const CALLS_MAX: u32 = 3;

/// What executing takes.
pub(crate) struct Executor<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) engine: &'a dyn Engine,
    pub(crate) scope: &'a Scope,
    pub(crate) module: &'a ModuleDigest,
    pub(crate) asked: &'a Asked,
    pub(crate) mapping: &'a Mapping,
    pub(crate) description: &'a Description,
    /// Whether nobody waits for it.
    pub(crate) behind: bool,
}

/// Why an event could not be executed.
pub(crate) enum Failed {
    /// Something of ours was not available: later.
    Later(String),
    /// It can not be: a code and a text.
    Never(&'static str, String),
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound => {
                Self::Never("gone", "the mapping, its module or the event no longer exists".to_owned())
            }
            error @ StoreError::Corrupt { .. } => Self::Never("unreadable", mapper::chain(&error)),
            error @ (StoreError::Conflict(_) | StoreError::Unavailable(_)) => {
                Self::Later(mapper::chain(&error))
            }
        }
    }
}

/// What a round's needs are answered with.
enum Told {
    Facts(Vec<Fact>),
    Ends(Ending),
}

impl Executor<'_> {
    /// What comes of the event, and its fuel.
    pub(crate) async fn execute(&self, input: &ReplayInput) -> Result<(Ending, u64), Failed> {
        let mut cost = Cost::default();
        let Ok(payload) = std::str::from_utf8(&input.event.payload) else {
            return Ok((failed("payload-not-utf-8", "the payload is not UTF-8 text"), 0));
        };
        let settings = self.settings(input);
        let run = self.run(input);
        let attempt = input.recorded.as_ref().map_or(1, |recorded| recorded.attempt.max(1));
        let known = known(input);
        let mut told: Vec<Fact> = Vec::new();
        for _ in 0..self.shared.settings.rounds_max {
            let told_now = mapper::told(&input.event, attempt, settings, (payload, &told));
            let outcome = match self.call(&run, &told_now, &mut cost).await? {
                Ok(outcome) => outcome,
                Err(ending) => return Ok((ending, cost.fuel())),
            };
            let Outcome::Need(needs) = outcome else {
                return Ok((self.decided(outcome), cost.fuel()));
            };
            match self.answers((&run, attempt), needs, (&told, &known)).await? {
                Told::Facts(facts) => told.extend(facts),
                Told::Ends(ending) => return Ok((ending, cost.fuel())),
            }
        }
        Ok((failed("too-many-rounds", "the module still needs facts"), cost.fuel()))
    }

    fn settings<'s>(&'s self, input: &'s ReplayInput) -> &'s Value {
        match &self.asked.settings {
            ReplaySettings::Given(settings) => settings,
            ReplaySettings::Recorded => {
                let recorded = input.recorded.as_ref().and_then(|recorded| recorded.settings.as_ref());
                recorded.unwrap_or(&self.mapping.settings)
            }
        }
    }

    /// The run in whose name it is executed; a new name for an event without one.
    fn run(&self, input: &ReplayInput) -> RunId {
        let recorded = input.recorded.as_ref().map(|recorded| recorded.run.clone());
        recorded.unwrap_or_else(|| RunId::generate(self.shared.clock.now()))
    }

    async fn call(
        &self,
        run: &RunId,
        input: &portolan_domain::contract::Input,
        cost: &mut Cost,
    ) -> Result<Result<Outcome, Ending>, Failed> {
        let (tenant, module, behind) = (&self.scope.tenant, self.module, self.behind);
        let mut why = String::new();
        for _ in 0..CALLS_MAX {
            let call = Call { tenant, module, run, suspect: false, behind, input: input.clone() };
            let report = match self.engine.transform(call).await {
                Ok(report) => report,
                Err(ModuleError::Unknown(digest)) => {
                    let text = format!("the tenant has no module {digest}");
                    return Err(Failed::Never("module-gone", text));
                }
                Err(error @ ModuleError::Unavailable(_)) => return Err(Failed::Later(mapper::chain(&error))),
            };
            match &report.verdict {
                Err(failure) if failure.retryable => why = failure.message.clone(),
                Err(failure) => {
                    let ending = failed(&failure.code, &failure.message);
                    cost.add(&report);
                    return Ok(Err(ending));
                }
                Ok(_) => {
                    cost.add(&report);
                    return Ok(report.verdict.map_err(|_| failed("unreachable", "")));
                }
            }
        }
        Err(Failed::Later(why))
    }

    /// Masked and checked as a run's is.
    fn decided(&self, outcome: Outcome) -> Ending {
        let outcome = match mapper::without_cards(outcome) {
            Ok((outcome, _)) => outcome,
            Err(text) => return failed("guest-nonsense", &text),
        };
        let plan = match &outcome {
            Outcome::Deliver(plan) => Some(plan),
            Outcome::Hold(held) => Some(&held.plan),
            Outcome::Need(_) | Outcome::Defer(_) | Outcome::Skip(_) | Outcome::Reject(_) => None,
        };
        let checked = plan.map(|plan| plan::check(plan, self.description, &self.shared.settings.plan));
        match checked {
            Some(Err(problem)) => failed("plan-refused", &problem.to_string()),
            Some(Ok(())) | None => Ending::Decided(outcome),
        }
    }

    async fn answers(
        &self,
        (run, attempt): (&RunId, u32),
        needs: Vec<Need>,
        (told, known): (&[Fact], &HashMap<String, Answer>),
    ) -> Result<Told, Failed> {
        if let Err(text) = facts::check(&self.shared.settings, self.description, told, &needs) {
            return Ok(Told::Ends(failed("guest-nonsense", &text)));
        }
        let mut answered = Vec::with_capacity(needs.len());
        let mut open = Vec::new();
        for need in needs {
            let answer = match known.get(&name(&need)) {
                Some(answer) => Some(answer.clone()),
                None if self.may_ask(&need) => {
                    let scope = self.scope;
                    let asker = Asker { scope, run, attempt, traceparent: None, pauses: false };
                    match facts::answer(self.shared, asker, self.mapping, &need).await {
                        Ok(answer) => Some(facts::without_cards(answer)),
                        Err(NoFacts::Later(failure)) => {
                            return Err(Failed::Later(failure.problem().message.clone()));
                        }
                        Err(NoFacts::Nonsense(_) | NoFacts::Refused(_) | NoFacts::NotGranted(_)) => None,
                    }
                }
                None => None,
            };
            match answer {
                Some(answer) => answered.push(Fact { need, answer }),
                None => open.push(need),
            }
        }
        Ok(if open.is_empty() { Told::Facts(answered) } else { Told::Ends(Ending::Unanswered(open)) })
    }

    /// Whether what was not recorded may be asked for now.
    fn may_ask(&self, need: &Need) -> bool {
        let is_granted =
            self.mapping.life.grants.as_ref().is_none_or(|grants| grants.refused_of_need(need).is_none());
        is_granted
            && match (self.asked.new_needs, need) {
                (NewNeeds::Told, _) | (NewNeeds::FromStore, Need::Query(_)) => false,
                (NewNeeds::FromStore, Need::Lookup(_) | Need::Reference(_)) | (NewNeeds::Asked, _) => true,
            }
    }
}

fn failed(code: &str, message: &str) -> Ending {
    Ending::Failed { code: code.to_owned(), message: message.to_owned() }
}

/// What was answered then, by what was asked.
fn known(input: &ReplayInput) -> HashMap<String, Answer> {
    let facts = input.recorded.iter().flat_map(|recorded| &recorded.facts);
    facts.map(|fact| (name(&fact.need), fact.answer.clone())).collect()
}

/// A need as it is kept: with its card numbers masked.
fn name(need: &Need) -> String {
    let text = serde_json::to_string(need).unwrap_or_default();
    mask_json_text(&text).into_owned()
}
