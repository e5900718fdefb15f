//! Connections. Secrets go in and never come out.

use std::collections::BTreeMap;

use axum::{extract::State, http::StatusCode};
use portolan_connectors::{CallContext, Effect, Operation};
use portolan_domain::{ConnectionId, Secret, class::WriteClass};
use portolan_pipeline::{
    connections::{Unusable, sealed_for},
    deliverer::{DOWN, down_title},
    refused,
};
use portolan_store::connection::ConnectionRow;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    Api,
    auth::{Admin, InScope, OfTenant, Viewer},
    body::Json,
    page::{self, Paged},
    params::Id,
    problem::Problem,
    runs::Why,
    tenants::check_name,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewConnection {
    name: String,
    connector: String,
    #[serde(default)]
    settings: serde_json::Map<String, Value>,
    #[serde(default)]
    secrets: BTreeMap<String, Secret>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangedConnection {
    settings: serde_json::Map<String, Value>,
    /// All of them; what is left out is gone.
    secrets: BTreeMap<String, Secret>,
}

/// `POST …/connections`
pub(crate) async fn create_connection(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Json(new): Json<NewConnection>,
) -> Result<(StatusCode, axum::Json<Value>), Problem> {
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
    let row = seal_and_check(&api, row, &new.secrets)?;
    let answer = render(&api, &row);
    api.shared.store.connection_create(row).await?;
    Ok((StatusCode::CREATED, axum::Json(answer)))
}

/// `PUT …/connections/{id}`
pub(crate) async fn update_connection(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Id(id): Id<ConnectionId>,
    Json(changed): Json<ChangedConnection>,
) -> Result<axum::Json<Value>, Problem> {
    let mut row = api.shared.store.connection_get(&caller.scope, &id).await?;
    row.settings = Value::Object(changed.settings);
    let row = seal_and_check(&api, row, &changed.secrets)?;
    let (settings, sealed) = (row.settings, row.sealed_secrets);
    api.shared.store.connection_update(&caller.scope, &id, settings, sealed).await?;
    // A pause because of refused credentials has ended with them.
    let answer = api.shared.store.connection_get(&caller.scope, &id).await?;
    if answer.paused.is_none() {
        go_on(&api, &caller, &id).await?;
    }
    Ok(axum::Json(render(&api, &answer)))
}

/// `POST …/connections/{id}/pause`: nothing is sent until it is resumed. What is under way ends.
pub(crate) async fn pause_connection(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Id(id): Id<ConnectionId>,
    Json(why): Json<Why>,
) -> Result<StatusCode, Problem> {
    let decision = why.by(&caller, api.shared.clock.now())?;
    api.shared.store.connection_pause(&caller.scope, &id, decision).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST …/connections/{id}/resume`: whoever paused it.
pub(crate) async fn resume_connection(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Id(id): Id<ConnectionId>,
    Json(why): Json<Why>,
) -> Result<StatusCode, Problem> {
    let decision = why.by(&caller, api.shared.clock.now())?;
    api.shared.store.connection_resume(&caller.scope, &id, decision).await?;
    go_on(&api, &caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST …/connections/{id}/reset`: a person says that the system is up; the breaker is closed.
pub(crate) async fn reset_connection(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Id(id): Id<ConnectionId>,
) -> Result<StatusCode, Problem> {
    api.shared.store.connection_get(&caller.scope, &id).await?;
    let (store, now) = (&api.shared.store, api.shared.clock.now());
    store.alert_end(&caller.scope, DOWN, &down_title(&id), now).await?;
    go_on(&api, &caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What was held back is looked at again at once.
async fn go_on(api: &Api, caller: &InScope<Admin>, id: &ConnectionId) -> Result<(), Problem> {
    let (store, now) = (&api.shared.store, api.shared.clock.now());
    store.alert_end(&caller.scope, refused::CODE, &refused::title(id), now).await?;
    api.shared.gates.reset(id.as_str());
    api.shared.deliveries_due.ring();
    Ok(())
}

/// `POST …/connections/{id}/test`: really calls the system.
pub(crate) async fn test_connection(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Id(id): Id<ConnectionId>,
) -> Result<axum::Json<Value>, Problem> {
    let opened = api.shared.connections.open(&caller.scope, &id).await.map_err(unusable)?;
    let context = CallContext {
        call_id: "probe".to_owned(),
        attempt: 1,
        timeout: opened.connection.timeout(),
        now_seconds: api.shared.clock.now().as_seconds(),
    };
    Ok(axum::Json(match opened.connection.probe(&context).await {
        Ok(()) => json!({ "ok": true }),
        Err(failure) => json!({ "ok": false, "problem": failure.problem() }),
    }))
}

/// `GET …/connections`
pub(crate) async fn list_connections(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Paged(page): Paged,
) -> Result<axum::Json<Value>, Problem> {
    let rows = api.shared.store.connection_list(&caller.scope, page.clone()).await?;
    Ok(axum::Json(page::answer(&page, &rows, |row| row.id.to_string(), |row| render(&api, row))))
}

/// `GET …/connections/{id}`
pub(crate) async fn get_connection(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Id(id): Id<ConnectionId>,
) -> Result<axum::Json<Value>, Problem> {
    Ok(axum::Json(render(&api, &api.shared.store.connection_get(&caller.scope, &id).await?)))
}

/// `GET /api/v1/connectors`: what this host can connect to, and do there.
pub(crate) async fn list_connectors(
    State(api): State<Api>,
    _: OfTenant<Viewer>,
) -> Result<axum::Json<Value>, Problem> {
    let registry = &api.shared.registry;
    let connectors = registry.names().filter_map(|name| registry.get(name));
    let items: Vec<Value> = connectors
        .map(|connector| {
            let operations: Vec<Value> = connector.operations().iter().map(render_operation).collect();
            json!({ "name": connector.name(), "operations": operations })
        })
        .collect();
    Ok(axum::Json(json!({ "items": items, "next": null })))
}

fn render_operation(operation: &Operation) -> Value {
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
    json!({
        "name": operation.name,
        "effect": effect,
        "class": class.map(WriteClass::name),
        "key_window_s": window.map(|window| window.as_secs()),
    })
}

/// Seals the secrets, and makes the connection once to see that its settings are right.
fn seal_and_check(
    api: &Api,
    mut row: ConnectionRow,
    secrets: &BTreeMap<String, Secret>,
) -> Result<ConnectionRow, Problem> {
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

fn render(api: &Api, row: &ConnectionRow) -> Value {
    let gate = api.shared.gates.standing(row.id.as_str(), api.shared.clock.monotonic());
    let paused = row.paused.as_ref();
    json!({
        "id": row.id,
        "name": row.name,
        "environment": row.scope.environment,
        "connector": row.connector,
        "settings": row.settings,
        "revision": row.revision,
        "paused": paused.map(|pause| json!({"by": pause.by, "why": pause.why, "at": pause.at.to_string()})),
        // Before the first call since the start nothing is known of the system; calls are made.
        "breaker": gate.map_or("closed", |gate| gate.breaker),
        "outages_in_a_row": gate.map_or(0, |gate| gate.failures),
        "created_at": row.created_at.to_string(),
    })
}
