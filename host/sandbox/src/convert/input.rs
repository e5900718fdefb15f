//! Host to guest: the texts of an input, and a view of it that borrows everything else.

use portolan_domain::{
    Environment,
    contract::{Answer, Fact, Input, Lookup, Need, Query, ReferenceKey},
};
use serde_json::Value;

use crate::bindings::types;

/// The JSON texts of an input, made once; the view borrows from them and from the input.
pub(crate) struct Prepared<'i> {
    input: &'i Input,
    settings: String,
    /// For each fact the text of its query's parameters and the text of what was found; empty when there is none.
    facts: Vec<(String, String)>,
}

impl<'i> Prepared<'i> {
    pub(crate) fn new(input: &'i Input) -> Self {
        let facts = input.facts.iter().map(|fact| (parameters(fact), found(fact))).collect();
        Self { input, settings: text(&input.settings), facts }
    }

    /// What will be copied into the guest.
    pub(crate) fn bytes(&self) -> usize {
        let event = &self.input.event;
        let texts = [&event.id, &event.source, &event.system, &event.kind, &event.media_type, &event.payload];
        let event: usize = texts.iter().map(|text| text.len()).sum();
        let facts: usize =
            self.facts.iter().map(|(parameters, found)| parameters.len().saturating_add(found.len())).sum();
        event.saturating_add(self.settings.len()).saturating_add(facts)
    }

    pub(crate) fn view<'v>(&'v self, facts: &'v [types::Fact<'v>]) -> types::Input<'v> {
        let event = &self.input.event;
        types::Input {
            event: types::Event {
                id: &event.id,
                source: &event.source,
                system: &event.system,
                kind: &event.kind,
                object_id: event.object_id.as_deref(),
                occurred_at: event.occurred_at.as_millis(),
                received_at: event.received_at.as_millis(),
                media_type: &event.media_type,
                payload: &event.payload,
            },
            environment: match self.input.environment {
                Environment::Sandbox => types::Environment::Sandbox,
                Environment::Qa => types::Environment::Qa,
                Environment::Production => types::Environment::Production,
            },
            attempt: self.input.attempt,
            settings: &self.settings,
            facts,
        }
    }

    pub(crate) fn facts(&self) -> Vec<types::Fact<'_>> {
        self.input.facts.iter().zip(&self.facts).map(|(fact, texts)| view_fact(fact, texts)).collect()
    }
}

fn view_fact<'v>(fact: &'v Fact, (parameters, found): &'v (String, String)) -> types::Fact<'v> {
    let need = match &fact.need {
        Need::Lookup(Lookup { table, key }) => types::NeedParam::Lookup(types::LookupParam { table, key }),
        Need::Reference(ReferenceKey { kind, id }) => {
            types::NeedParam::Reference(types::ReferenceKeyParam { kind, id })
        }
        Need::Query(Query { connection, operation, .. }) => {
            types::NeedParam::Query(types::QueryParam { connection, operation, parameters })
        }
    };
    let answer = match &fact.answer {
        Answer::Found(_) => types::Answer::Found(found),
        Answer::Absent => types::Answer::Absent,
        Answer::Failed(problem) => {
            types::Answer::Failed(types::Problem { code: &problem.code, message: &problem.message })
        }
    };
    types::Fact { need, answer }
}

fn parameters(fact: &Fact) -> String {
    match &fact.need {
        Need::Query(query) => text(&query.parameters),
        Need::Lookup(_) | Need::Reference(_) => String::new(),
    }
}

fn found(fact: &Fact) -> String {
    match &fact.answer {
        Answer::Found(value) => text(value),
        Answer::Absent | Answer::Failed(_) => String::new(),
    }
}

fn text(value: &Value) -> String {
    // Keys keep the order of the value's map, so the same value gives the same text.
    value.to_string()
}
