//! Connections. Secrets go in and never come out.

use std::collections::BTreeMap;

use aide::axum::{
    ApiRouter,
    routing::{get_with, post_with},
};
use axum::{extract::State, response::NoContent};
use portolan_connectors::{CallContext, Effect, Operation};
use portolan_domain::{ConnectionId, Environment, Scope, Secret, class::WriteClass, verdict::CallProblem};
use portolan_pipeline::{
    connections::{Unusable, sealed_for},
    deliverer::{DOWN, down_title},
    refused,
};
use portolan_store::connection::ConnectionRow;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    Api,
    answer::{Created, List, Tagged, Time},
    auth::{Admin, InScope, OfTenant, Viewer},
    body::Json,
    bounds,
    etag::{self, IfMatch, Seen},
    openapi::op,
    page::{self, Paged},
    params::Id,
    problem::Problem,
    runs::Why,
    tenants::check_name,
};

pub(crate) fn routes() -> ApiRouter<Api> {
    ApiRouter::new()
        .api_route(
            "/connections",
            get_with(list_connections, op("list_connections", "The connections of the environment"))
                .post_with(create_connection, op("create_connection", "Makes a connection")),
        )
        .api_route(
            "/connections/{id}",
            get_with(get_connection, op("get_connection", "A connection, without its secrets")).put_with(
                update_connection,
                op("update_connection", "Changes settings and secrets, as a whole"),
            ),
        )
        .api_route(
            "/connections/{id}/test",
            post_with(test_connection, op("test_connection", "Really calls the system")),
        )
        .api_route(
            "/connections/{id}/pause",
            post_with(pause_connection, op("pause_connection", "Sends nothing until it is resumed")),
        )
        .api_route(
            "/connections/{id}/resume",
            post_with(resume_connection, op("resume_connection", "Ends a pause, whoever made it")),
        )
        .api_route(
            "/connections/{id}/reset",
            post_with(
                reset_connection,
                op("reset_connection", "A person says that the system is up: closes the breaker"),
            ),
        )
        .with_path_items(|path| path.tag("connections"))
}

/// What concerns no environment.
pub(crate) fn routes_of_host() -> ApiRouter<Api> {
    ApiRouter::new()
        .api_route(
            "/connectors",
            get_with(list_connectors, op("list_connectors", "What this host can connect to, and do there")),
        )
        .with_path_items(|path| path.tag("connections"))
}

/// A connection to be made.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewConnection {
    /// 1 to 100 characters; unique in the environment.
    #[schemars(length(min = 1, max = 100))]
    name: String,
    /// `stripe`, `sap-ecc`, `epicor`, `sage-pro`, `http`: see `/api/v1/connectors`.
    connector: String,
    /// As the connector documents them.
    #[serde(default)]
    settings: serde_json::Map<String, Value>,
    /// As the connector names them. They never come out again.
    #[serde(default)]
    secrets: BTreeMap<String, Secret>,
}

/// A connection as it shall be.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangedConnection {
    /// All of them.
    settings: serde_json::Map<String, Value>,
    /// All of them; what is left out is gone.
    secrets: BTreeMap<String, Secret>,
}

pub(crate) async fn create_connection(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Json(new): Json<NewConnection>,
) -> Result<Created<Answer>, Problem> {
    check_name(&new.name)?;
    let now = api.shared.clock.now();
    let row = ConnectionRow {
        id: ConnectionId::generate(now),
        scope: caller.scope,
        name: new.name,
        connector: new.connector,
        settings: Value::Object(new.settings),
        sealed_secrets: Vec::new(),
        revision: 1,
        paused: None,
        created_at: now,
    };
    Ok(Created(answer(&api, &put(&api, (row, true), &new.secrets).await?)))
}

pub(crate) async fn update_connection(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Id(id): Id<ConnectionId>,
    seen: IfMatch,
    Json(changed): Json<ChangedConnection>,
) -> Result<Tagged<Answer>, Problem> {
    let _alone = etag::alone(&api, &caller.scope.tenant).await;
    let mut row = api.shared.store.connection_get(&caller.scope, &id).await?;
    seen.check(&answer(&api, &row))?;
    row.settings = Value::Object(changed.settings);
    Ok(Tagged(answer(&api, &put(&api, (row, false), &changed.secrets).await?)))
}

/// Makes a connection, or changes the one that is there; as it is stored since.
pub(crate) async fn put(
    api: &Api,
    (row, is_new): (ConnectionRow, bool),
    secrets: &BTreeMap<String, Secret>,
) -> Result<ConnectionRow, Problem> {
    let row = seal_and_check(api, row, secrets)?;
    let store = &api.shared.store;
    if is_new {
        store.connection_create(row.clone()).await?;
        return Ok(row);
    }
    store.connection_update(&row.scope, &row.id, row.settings, row.sealed_secrets).await?;
    let changed = store.connection_get(&row.scope, &row.id).await?;
    // A pause because of refused credentials has ended with them; a person's has not.
    if changed.paused.is_none() {
        go_on(api, &row.scope, &row.id).await?;
    }
    Ok(changed)
}

/// Nothing is sent until it is resumed. What is under way ends.
pub(crate) async fn pause_connection(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Id(id): Id<ConnectionId>,
    Json(why): Json<Why>,
) -> Result<NoContent, Problem> {
    let decision = why.by(&caller, api.shared.clock.now())?;
    api.shared.store.connection_pause(&caller.scope, &id, decision).await?;
    Ok(NoContent)
}

/// Whoever paused it.
pub(crate) async fn resume_connection(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Id(id): Id<ConnectionId>,
    Json(why): Json<Why>,
) -> Result<NoContent, Problem> {
    let decision = why.by(&caller, api.shared.clock.now())?;
    api.shared.store.connection_resume(&caller.scope, &id, decision).await?;
    go_on(&api, &caller.scope, &id).await?;
    Ok(NoContent)
}

/// A person says that the system is up; the breaker is closed.
pub(crate) async fn reset_connection(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Id(id): Id<ConnectionId>,
) -> Result<NoContent, Problem> {
    api.shared.store.connection_get(&caller.scope, &id).await?;
    let (store, now) = (&api.shared.store, api.shared.clock.now());
    store.alert_end(&caller.scope, DOWN, &down_title(&id), now).await?;
    go_on(&api, &caller.scope, &id).await?;
    Ok(NoContent)
}

/// What was held back is looked at again at once.
async fn go_on(api: &Api, scope: &Scope, id: &ConnectionId) -> Result<(), Problem> {
    let (store, now) = (&api.shared.store, api.shared.clock.now());
    store.alert_end(scope, refused::CODE, &refused::title(id), now).await?;
    api.shared.gates.reset(id.as_str());
    api.shared.deliveries_due.ring();
    Ok(())
}

/// What a connection's system said.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Tested {
    /// Whether it answered as it should.
    ok: bool,
    /// What was wrong.
    problem: Option<CallProblem>,
}

pub(crate) async fn test_connection(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Id(id): Id<ConnectionId>,
) -> Result<axum::Json<Tested>, Problem> {
    let opened = api.shared.connections.open(&caller.scope, &id).await.map_err(unusable)?;
    let context = CallContext {
        call_id: "probe".to_owned(),
        attempt: 1,
        timeout: opened.connection.timeout(),
        now_seconds: api.shared.clock.now().as_seconds(),
        traceparent: None,
    };
    let problem = opened.connection.probe(&context).await.err().map(|failure| failure.problem().clone());
    Ok(axum::Json(Tested { ok: problem.is_none(), problem }))
}

pub(crate) async fn list_connections(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Paged(page): Paged,
) -> Result<axum::Json<List<Answer>>, Problem> {
    let rows = api.shared.store.connection_list(&caller.scope, page.clone()).await?;
    Ok(page::answer(&page, &rows, |row| row.id.to_string(), |row| answer(&api, row)))
}

pub(crate) async fn get_connection(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Id(id): Id<ConnectionId>,
) -> Result<Tagged<Answer>, Problem> {
    Ok(Tagged(answer(&api, &api.shared.store.connection_get(&caller.scope, &id).await?)))
}

/// A kind of system, and what can be done there.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Connector")]
pub(crate) struct ConnectorAnswer {
    name: &'static str,
    operations: Vec<OperationAnswer>,
}

/// What can be done.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Operation")]
pub(crate) struct OperationAnswer {
    name: &'static str,
    /// `read`, `write`, or `setup` (not for mappings).
    effect: &'static str,
    /// Of a write: how an unknown end is found out.
    class: Option<&'static str>,
    /// Of a write with a key: how long the system surely remembers it, in seconds.
    key_window_s: Option<u64>,
}

pub(crate) async fn list_connectors(
    State(api): State<Api>,
    _: OfTenant<Viewer>,
) -> Result<axum::Json<List<ConnectorAnswer>>, Problem> {
    let registry = &api.shared.registry;
    let connectors = registry.names().filter_map(|name| registry.get(name));
    Ok(List::whole(connectors.map(|connector| ConnectorAnswer {
        name: connector.name(),
        operations: connector.operations().iter().map(operation_answer).collect(),
    })))
}

fn operation_answer(operation: &Operation) -> OperationAnswer {
    let (effect, class) = match operation.effect {
        Effect::Read => ("read", None),
        Effect::Setup => ("setup", None),
        Effect::Write(class) => ("write", Some(class)),
    };
    let window = match class {
        Some(WriteClass::NativeKey { window } | WriteClass::TransferId { remembered: window }) => {
            Some(window)
        }
        Some(WriteClass::Repeatable | WriteClass::AskedByKey { .. } | WriteClass::Blind) | None => None,
    };
    OperationAnswer {
        name: operation.name,
        effect,
        class: class.map(WriteClass::name),
        key_window_s: window.map(|window| window.as_secs()),
    }
}

/// Its secrets, opened: for those who put them back as they are.
pub(crate) fn secrets_of(api: &Api, row: &ConnectionRow) -> Result<BTreeMap<String, Secret>, Problem> {
    api.vault.open(&sealed_for(row), &row.sealed_secrets).map_err(|error| Problem::unavailable(&error))
}

/// Seals the secrets, and makes the connection once to see that its settings are right.
fn seal_and_check(
    api: &Api,
    mut row: ConnectionRow,
    secrets: &BTreeMap<String, Secret>,
) -> Result<ConnectionRow, Problem> {
    let refuse = |text| Problem::unprocessable("invalid-connection", text);
    bounds::check(&row.settings, secrets.values()).map_err(refuse)?;
    let sealed = api.vault.seal(&sealed_for(&row), secrets);
    row.sealed_secrets = sealed.map_err(|error| Problem::unavailable(&error))?;
    api.shared.connections.connect(&row).map_err(unusable)?;
    Ok(row)
}

fn unusable(error: Unusable) -> Problem {
    match error {
        Unusable::Store(error) => error.into(),
        Unusable::Config(error) => Problem::unprocessable("invalid-connection", error.to_string())
            .with("pointer", json!(error.pointer)),
        error @ Unusable::UnknownConnector(_) => {
            Problem::unprocessable("unknown-connector", format!("{error}; see /api/v1/connectors"))
        }
        error @ Unusable::Sealed(_) => Problem::unavailable(&error),
    }
}

/// A connection, without its secrets.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Connection")]
pub(crate) struct Answer {
    id: ConnectionId,
    name: String,
    environment: Environment,
    connector: String,
    settings: Value,
    /// Counts the changes.
    revision: u64,
    paused: Option<Paused>,
    /// `closed`, `open` or `half-open`. Before the first call since the start nothing is known of the system; calls are
    /// made.
    breaker: &'static str,
    /// How often in a row the system did not answer.
    outages_in_a_row: u32,
    created_at: Time,
}

/// Why nothing is sent.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Paused {
    /// A key's id, or the host.
    by: String,
    why: String,
    at: Time,
}

impl Seen for Answer {
    /// The breaker opens and closes by itself.
    fn tag(&self) -> String {
        etag::of(&(&self.id, &self.name, &self.settings, self.revision, &self.paused))
    }
}

fn answer(api: &Api, row: &ConnectionRow) -> Answer {
    let gate = api.shared.gates.standing(row.id.as_str(), api.shared.clock.monotonic());
    let paused = row.paused.as_ref();
    Answer {
        id: row.id.clone(),
        name: row.name.clone(),
        environment: row.scope.environment,
        connector: row.connector.clone(),
        settings: row.settings.clone(),
        revision: row.revision,
        paused: paused.map(|pause| Paused {
            by: pause.by.clone(),
            why: pause.why.clone(),
            at: pause.at.into(),
        }),
        breaker: gate.as_ref().map_or("closed", |gate| gate.breaker),
        outages_in_a_row: gate.map_or(0, |gate| gate.failures),
        created_at: row.created_at.into(),
    }
}
