//! A real event of an environment, through the public API: its payload, the facts and the attempt that its run was told,
//! and the settings that its mapping has now. What comes of it is a case, as if somebody had written it down.

use anyhow::{Context, bail};
use clap::Args;
use portolan::stage::{Client, Refused};
use portolan_domain::{
    Environment, Timestamp,
    contract::{Answer, Fact, Need},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::case::{Case, EventForm};
use crate::access::{TenantAccess, encoded, wait_for};

/// Which event of which environment.
#[derive(Args)]
pub(super) struct RemoteArgs {
    /// The environment of an event evt_…: sandbox, qa or production.
    #[arg(long, env = "PORTOLAN_ENVIRONMENT")]
    environment: Option<String>,
    /// The mapping whose settings of now and whose run's facts to use, where the event has runs of several: map_…
    #[arg(long)]
    mapping: Option<String>,
    #[command(flatten)]
    access: TenantAccess,
}

/// An environment of a tenant.
pub(super) struct Remote {
    client: Client,
    base: String,
}

#[derive(Deserialize)]
struct EventAnswer {
    id: String,
    source: String,
    system: String,
    kind: String,
    object_id: Option<String>,
    occurred_at: String,
    received_at: String,
    #[serde(default)]
    runs: Vec<RunAnswer>,
}

#[derive(Deserialize)]
struct RunAnswer {
    id: String,
    mapping: String,
}

/// What the run was told.
#[derive(Deserialize)]
struct RunTold {
    /// Null before the first result.
    facts: Option<Vec<Fact>>,
    /// How often it was claimed: the last one is told which one it is.
    attempts: u32,
}

#[derive(Deserialize)]
struct MappingAnswer {
    settings: Value,
}

#[derive(Deserialize)]
struct SourceAnswer {
    name: String,
}

impl RemoteArgs {
    pub(super) fn open(&self) -> anyhow::Result<Remote> {
        let environment = self.environment.as_deref();
        let environment =
            environment.context("which environment? --environment sandbox, qa or production")?;
        Ok(Remote { client: self.access.client()?, base: format!("/api/v1/environments/{environment}") })
    }

    /// The event as a case.
    pub(super) fn case(&self, remote: &Remote, event: &str) -> anyhow::Result<Case> {
        let environment = self.environment.as_deref().unwrap_or_default();
        wait_for(remote.case(event, environment, self.mapping.as_deref()))
    }
}

impl Remote {
    async fn case(&self, event: &str, environment: &str, mapping: Option<&str>) -> anyhow::Result<Case> {
        let told: EventAnswer = self.get(&format!("/events/{event}")).await?;
        let payload = self.client.get_text(&format!("{}/events/{event}/payload", self.base)).await?;
        let of_mapping = |run: &&RunAnswer| mapping.is_none_or(|mapping| run.mapping == mapping);
        let runs: Vec<&RunAnswer> = told.runs.iter().filter(of_mapping).collect();
        let (facts, attempt, settings) = match runs.as_slice() {
            [] if mapping.is_some() => bail!("the event has no run of that mapping"),
            [] => (Vec::new(), 1, Value::Object(serde_json::Map::new())),
            [run] => {
                let run_told: RunTold = self.get(&format!("/runs/{}", run.id)).await?;
                let mapping: MappingAnswer = self.get(&format!("/mappings/{}", run.mapping)).await?;
                (run_told.facts.unwrap_or_default(), run_told.attempts.max(1), mapping.settings)
            }
            several => {
                let names: Vec<&str> = several.iter().map(|run| run.mapping.as_str()).collect();
                bail!("the event has runs of several mappings; say which: --mapping {}", names.join(" or "))
            }
        };
        // Modules know sources by their names.
        let source: SourceAnswer = self.get(&format!("/sources/{}", told.source)).await?;
        Ok(Case {
            about: Some(format!("{} of {environment}", told.id)),
            event: EventForm {
                id: Some(told.id),
                source: Some(source.name),
                kind: Some(told.kind),
                object_id: told.object_id,
                occurred_at: Some(time(&told.occurred_at)?),
                received_at: Some(time(&told.received_at)?),
                payload: Some(Value::String(payload)),
                system: told.system,
                ..EventForm::default()
            },
            environment: serde_json::from_value::<Environment>(environment.into())
                .with_context(|| format!("{environment:?} is not sandbox, qa or production"))?,
            attempt,
            settings,
            facts,
            fuel: None,
            expect: None,
        })
    }

    /// What the environment says now to a need that the event's run did not have. Lookups only: references and reads
    /// of other systems are the host's to make.
    pub(super) fn answer(&self, need: &Need) -> anyhow::Result<Option<Answer>> {
        let Need::Lookup(lookup) = need else { return Ok(None) };
        let path = format!("/lookup-tables/{}/rows/{}", encoded(&lookup.table), encoded(&lookup.key));
        match wait_for(self.get::<Value>(&path)) {
            Ok(row) => Ok(Some(Answer::Found(row.get("value").cloned().unwrap_or(row)))),
            Err(error) => match error.downcast_ref::<Refused>() {
                Some(refused) if refused.status == 404 => Ok(Some(Answer::Absent)),
                _ => Err(error),
            },
        }
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let answer = self.client.get(&format!("{}{path}", self.base)).await?;
        serde_json::from_value(answer).with_context(|| format!("the host's answer to {path}"))
    }
}

fn time(text: &str) -> anyhow::Result<Timestamp> {
    let time: jiff::Timestamp = text.parse().with_context(|| format!("the host's time {text:?}"))?;
    Ok(Timestamp::from_millis(u64::try_from(time.as_millisecond()).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_run_was_told_is_read_whole_or_not_at_all() {
        let read = |facts: Value| serde_json::from_value::<RunTold>(json!({ "facts": facts, "attempts": 3 }));
        let fact = json!({ "need": { "lookup": { "table": "t", "key": "k" } }, "answer": "absent" });
        let told = read(json!([fact])).unwrap();
        assert_eq!((told.facts.unwrap().len(), told.attempts), (1, 3));
        assert!(read(Value::Null).unwrap().facts.is_none());
        assert!(read(json!([fact, { "need": "something new", "answer": "absent" }])).is_err());
    }
}
