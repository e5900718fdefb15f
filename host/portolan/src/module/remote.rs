//! A real event of an environment, through the public API: its payload, the settings of its mapping, and the facts that
//! its run was told. What comes of it is a case, as if somebody had written it down.

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
use crate::access::wait_for;

/// Which event of which environment.
#[derive(Args)]
pub(super) struct RemoteArgs {
    /// The environment of an event evt_…: sandbox, qa or production.
    #[arg(long, env = "PORTOLAN_ENVIRONMENT")]
    environment: Option<String>,
    /// The mapping whose settings and facts to use, where the event has runs of several: map_…
    #[arg(long)]
    mapping: Option<String>,
    /// The host's address.
    #[arg(long, env = "PORTOLAN_URL", default_value = "http://127.0.0.1:8080")]
    host: String,
    /// A key of the tenant; a viewer's will do.
    #[arg(long, env = "PORTOLAN_KEY", hide_env_values = true)]
    key: Option<String>,
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

impl RemoteArgs {
    pub(super) fn open(&self) -> anyhow::Result<Remote> {
        let environment = self.environment.as_deref();
        let environment =
            environment.context("which environment? --environment sandbox, qa or production")?;
        let key = self.key.as_deref().context("a key of the tenant is needed: --key or PORTOLAN_KEY")?;
        let client = Client::new(&self.host, Some(key))?;
        Ok(Remote { client, base: format!("/api/v1/environments/{environment}") })
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
        let (facts, settings) = match runs.as_slice() {
            [] if mapping.is_some() => bail!("the event has no run of that mapping"),
            [] => (Vec::new(), Value::Object(serde_json::Map::new())),
            [run] => {
                let row: Value = self.get(&format!("/runs/{}", run.id)).await?;
                let mapping: Value = self.get(&format!("/mappings/{}", run.mapping)).await?;
                let facts = row.get("facts").cloned().unwrap_or(Value::Array(Vec::new()));
                let facts: Vec<Fact> = serde_json::from_value(facts).unwrap_or_default();
                (facts, mapping.get("settings").cloned().unwrap_or_default())
            }
            several => {
                let names: Vec<&str> = several.iter().map(|run| run.mapping.as_str()).collect();
                bail!("the event has runs of several mappings; say which: --mapping {}", names.join(" or "))
            }
        };
        let source = self.source_name(&told.source).await?;
        Ok(Case {
            about: Some(format!("{} of {environment}", told.id)),
            event: EventForm {
                id: Some(told.id),
                source: Some(source),
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
            attempt: 1,
            settings,
            facts,
            fuel: None,
            expect: None,
        })
    }

    /// Modules know sources by their names.
    async fn source_name(&self, id: &str) -> anyhow::Result<String> {
        let listed: Value = self.get("/sources?limit=500").await?;
        let items = listed.get("items").and_then(Value::as_array).into_iter().flatten();
        let mut named = items.filter(|item| item.get("id").and_then(Value::as_str) == Some(id));
        let name = named.find_map(|item| item.get("name").and_then(Value::as_str));
        Ok(name.unwrap_or(id).to_owned())
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

/// A part of a path.
fn encoded(text: &str) -> String {
    let mut path = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
    path
}

fn time(text: &str) -> anyhow::Result<Timestamp> {
    let time: jiff::Timestamp = text.parse().with_context(|| format!("the host's time {text:?}"))?;
    Ok(Timestamp::from_millis(u64::try_from(time.as_millisecond()).unwrap_or_default()))
}
