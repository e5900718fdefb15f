//! Connections. Secrets go in and never come out.

use std::collections::BTreeMap;

use axum::{extract::State, http::StatusCode};
use portolan_connectors::{CallContext, Effect, Operation};
use portolan_domain::{ConnectionId, Secret, verdict::InDoubt};
use portolan_pipeline::connections::{Unusable, sealed_for};
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
        created_at: now,
    };
    let row = seal_and_check(&api, row, &new.secrets)?;
    let answer = render(&row);
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
    Ok(axum::Json(render(&api.shared.store.connection_get(&caller.scope, &id).await?)))
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
    Ok(axum::Json(page::answer(&page, &rows, |row| row.id.to_string(), render)))
}

/// `GET …/connections/{id}`
pub(crate) async fn get_connection(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Id(id): Id<ConnectionId>,
) -> Result<axum::Json<Value>, Problem> {
    Ok(axum::Json(render(&api.shared.store.connection_get(&caller.scope, &id).await?)))
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
    let (effect, in_doubt) = match operation.effect {
        Effect::Read => ("read", None),
        Effect::Setup => ("setup", None),
        Effect::Write(InDoubt::SameKeyAgain) => ("write", Some("same-key-again")),
        Effect::Write(InDoubt::Ask) => ("write", Some("ask")),
        Effect::Write(InDoubt::AskPerson) => ("write", Some("ask-person")),
    };
    json!({ "name": operation.name, "effect": effect, "in_doubt": in_doubt })
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

fn render(row: &ConnectionRow) -> Value {
    json!({
        "id": row.id,
        "name": row.name,
        "environment": row.scope.environment,
        "connector": row.connector,
        "settings": row.settings,
        "revision": row.revision,
        "created_at": row.created_at.to_string(),
    })
}
