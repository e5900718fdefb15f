//! Fetches what a run asks for: all needs of one round at once.

use std::{borrow::Cow, collections::HashSet};

use futures::future::join_all;
use portolan_connectors::{CallContext, Effect, Found};
use portolan_domain::{
    ConnectionId, RunId, Scope,
    card::{mask_json, mask_json_text},
    contract::{Answer, Description, Fact, Need, Problem, Query},
    plan::check_need,
    pointer::is_deeper,
    verdict::CallFailure,
};
use portolan_store::{StoreError, mapping::Mapping, run::RunClaim};
use serde_json::{Value, json};

use crate::{PipelineSettings, Shared, connections::Unusable, refused};

/// Levels of an answer.
const FACT_DEPTH_MAX: usize = 100;

/// Why a round's facts could not be had.
#[derive(Debug)]
pub enum NoFacts {
    /// The mapping does not grant it, by name: the run fails.
    NotGranted(String),
    /// The module asks for what it may not, or for what it was told already: it failed.
    Nonsense(String),
    /// A system or the store did not answer now: the run is executed again later.
    Later(CallFailure),
    /// The connection refuses our credentials: the run waits until it is resumed.
    Refused(ConnectionId),
}

/// Answers the needs of one round, in their order.
///
/// # Errors
/// See [`NoFacts`].
#[expect(
    clippy::too_many_arguments,
    reason = "a run is these: claim, mapping, declaration, what it knows and asks"
)]
pub async fn fetch(
    shared: &Shared,
    claim: &RunClaim,
    mapping: &Mapping,
    description: &Description,
    known: &[Fact],
    needs: Vec<Need>,
) -> Result<Vec<Fact>, NoFacts> {
    check(&shared.settings, description, known, &needs).map_err(NoFacts::Nonsense)?;
    if let Some(name) = mapping
        .life
        .grants
        .as_ref()
        .and_then(|grants| needs.iter().find_map(|need| grants.refused_of_need(need)))
    {
        return Err(NoFacts::NotGranted(name));
    }
    let asker = Asker {
        scope: &claim.event.scope,
        run: &claim.id,
        attempt: claim.attempt,
        traceparent: claim.event.traceparent.as_deref(),
        pauses: true,
    };
    let answers = join_all(needs.iter().map(|need| answer(shared, asker, mapping, need))).await;
    let facts = needs.into_iter().zip(answers);
    facts.map(|(need, answer)| Ok(Fact { need, answer: without_cards(answer?) })).collect()
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker<'a> {
    pub(crate) scope: &'a Scope,
    pub(crate) run: &'a RunId,
    pub(crate) attempt: u32,
    /// Of the event's trace; a replay has none.
    pub(crate) traceparent: Option<&'a str>,
    /// Whether a connection that refuses our credentials is paused.
    pub(crate) pauses: bool,
}

/// A module is told what is kept with its run, so that it can be told the same again.
pub(crate) fn without_cards(mut answer: Answer) -> Answer {
    match &mut answer {
        Answer::Found(value) => {
            mask_json(value);
        }
        Answer::Failed(problem) => {
            if let Cow::Owned(masked) = mask_json_text(&problem.message) {
                problem.message = masked;
            }
        }
        Answer::Absent => {}
    }
    answer
}

/// Whether a module may ask this: what it declared, no more at once than is answered, nothing twice.
///
/// # Errors
/// What it may not, in a sentence.
pub fn check(
    settings: &PipelineSettings,
    description: &Description,
    known: &[Fact],
    needs: &[Need],
) -> Result<(), String> {
    if needs.is_empty() {
        return Err("the module needs facts but names none".to_owned());
    }
    let queries = needs.iter().filter(|need| matches!(need, Need::Query(_))).count();
    let lookups = needs.len() - queries;
    for (what, count, max) in [
        ("queries", queries, settings.queries_max),
        ("lookups and references", lookups, settings.lookups_max),
    ] {
        if count > max {
            return Err(format!("the module has {count} {what} at once, at most {max} are allowed"));
        }
    }
    let text = |need: &Need| serde_json::to_string(need).unwrap_or_default();
    let mut told: HashSet<String> = known.iter().map(|fact| text(&fact.need)).collect();
    for need in needs {
        check_need(need, description)?;
        let need = text(need);
        if told.contains(&need) {
            return Err(format!("the module asks twice for the same fact: {need}"));
        }
        told.insert(need);
    }
    Ok(())
}

/// Answers one need as things are now.
///
/// # Errors
/// See [`NoFacts`].
pub(crate) async fn answer(
    shared: &Shared,
    asker: Asker<'_>,
    mapping: &Mapping,
    need: &Need,
) -> Result<Answer, NoFacts> {
    let scope = asker.scope;
    match need {
        Need::Lookup(lookup) => {
            let value = shared
                .store
                .lookup_get(scope, &lookup.table, &lookup.key)
                .await
                .map_err(|error| unavailable(&error))?;
            Ok(value.map_or(Answer::Absent, Answer::Found))
        }
        Need::Reference(key) => {
            let counterparts =
                shared.store.reference_find(scope, key).await.map_err(|error| unavailable(&error))?;
            Ok(if counterparts.is_empty() { Answer::Absent } else { Answer::Found(json!(counterparts)) })
        }
        Need::Query(query) => ask(shared, asker, mapping, query).await,
    }
}

async fn ask(shared: &Shared, asker: Asker<'_>, mapping: &Mapping, query: &Query) -> Result<Answer, NoFacts> {
    let scope = asker.scope;
    let failed = |code: &str, message: String| Ok(Answer::Failed(Problem { code: code.to_owned(), message }));
    let Some(id) = mapping.connections.get(&query.connection) else {
        return failed(
            "connection-unbound",
            format!("the mapping binds no connection {:?}", query.connection),
        );
    };
    let opened = match shared.connections.open(scope, id).await {
        Ok(opened) => opened,
        Err(Unusable::Store(error)) => return Err(unavailable(&error)),
        Err(error) => {
            return Err(NoFacts::Later(CallFailure::retryable("connection-unusable", error.to_string())));
        }
    };
    if opened.is_refused {
        return Err(NoFacts::Refused(id.clone()));
    }
    if opened.effect(&query.operation) != Some(Effect::Read) {
        return failed(
            "operation-unknown",
            format!("{} has no read {:?}", opened.connector, query.operation),
        );
    }
    let context = CallContext {
        call_id: asker.run.as_str().to_owned(),
        attempt: asker.attempt,
        timeout: opened.connection.timeout(),
        now_seconds: shared.clock.now().as_seconds(),
        traceparent: asker.traceparent.map(str::to_owned),
    };
    match opened.connection.read(&query.operation, &query.parameters, &context).await {
        // Facts are stored inside other JSON, and what is too deep cannot be read back.
        Ok(Found::Yes(value)) if is_deeper(&value, FACT_DEPTH_MAX) => {
            failed("answer-too-deep", format!("the answer has more than {FACT_DEPTH_MAX} levels"))
        }
        Ok(Found::Yes(value)) => Ok(Answer::Found(value)),
        Ok(Found::No) => Ok(Answer::Absent),
        Err(CallFailure::Permanent { problem }) => {
            Ok(Answer::Failed(Problem { code: problem.code, message: problem.message }))
        }
        Err(CallFailure::Unauthorized { problem }) => {
            if asker.pauses {
                refused::pause(shared, (scope, id), &opened, &problem)
                    .await
                    .map_err(|error| unavailable(&error))?;
            }
            Err(NoFacts::Refused(id.clone()))
        }
        Err(failure @ (CallFailure::Retryable { .. } | CallFailure::Ambiguous { .. })) => {
            Err(NoFacts::Later(failure))
        }
    }
}

fn unavailable(error: &StoreError) -> NoFacts {
    NoFacts::Later(CallFailure::retryable("store-unavailable", error.to_string()))
}

/// A failure as it is stored with a run or attempt.
#[must_use]
pub fn reason(failure: &CallFailure) -> Value {
    json!(failure.problem())
}
