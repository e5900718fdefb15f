//! Mappings: what goes where, checked as a whole before it is stored.

use std::collections::BTreeMap;

use axum::{extract::State, http::StatusCode};
use portolan_connectors::Effect;
use portolan_domain::{
    ConnectionId, MappingId, ModuleDigest, SourceId,
    contract::{Description, kind_covers},
};
use portolan_store::mapping::{Mapping, MappingChange};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    Api,
    auth::{Developer, InScope, Viewer},
    body::Json,
    page::{self, Paged},
    params::Id,
    problem::Problem,
    tenants::check_name,
};

/// Event kinds of one mapping.
const KINDS_MAX: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewMapping {
    name: String,
    source: SourceId,
    /// Default: every kind that the module serves of the source's system.
    kinds: Option<Vec<String>>,
    module: ModuleDigest,
    #[serde(default)]
    settings: Map<String, Value>,
    #[serde(default)]
    connections: BTreeMap<String, ConnectionId>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangedMapping {
    module: Option<ModuleDigest>,
    settings: Option<Map<String, Value>>,
    connections: Option<BTreeMap<String, ConnectionId>>,
    enabled: Option<bool>,
}

/// `POST …/mappings`
pub(crate) async fn create_mapping(
    State(api): State<Api>,
    caller: InScope<Developer>,
    Json(new): Json<NewMapping>,
) -> Result<(StatusCode, axum::Json<Value>), Problem> {
    check_name(&new.name)?;
    let store = &api.shared.store;
    let source = store.source_get(&caller.scope, &new.source).await.map_err(|_| foreign("source"))?;
    let module = store.module_get(&caller.scope.tenant, &new.module).await.map_err(|_| foreign("module"))?;
    let served = module.description.serves.iter().filter(|served| served.system == source.system);
    let served: Vec<String> = served.map(|served| served.kind.clone()).collect();
    let now = api.shared.clock.now();
    let mapping = Mapping {
        id: MappingId::generate(now),
        scope: caller.scope,
        name: new.name,
        source: source.id,
        kinds: new.kinds.unwrap_or_else(|| served.clone()),
        module: new.module,
        settings: Value::Object(new.settings),
        connections: new.connections,
        enabled: true,
        created_at: now,
    };
    check_kinds(&mapping.kinds, &served)?;
    check(&api, &mapping, &module.description).await?;
    let answer = render(&mapping);
    store.mapping_create(mapping).await?;
    api.shared.routes.forget();
    Ok((StatusCode::CREATED, axum::Json(answer)))
}

/// `PATCH …/mappings/{id}`: moves the pin, changes settings or connections, switches on or off.
pub(crate) async fn update_mapping(
    State(api): State<Api>,
    caller: InScope<Developer>,
    Id(id): Id<MappingId>,
    Json(changed): Json<ChangedMapping>,
) -> Result<axum::Json<Value>, Problem> {
    let store = &api.shared.store;
    let mut mapping = store.mapping_get(&caller.scope, &id).await?;
    mapping.module = changed.module.clone().unwrap_or(mapping.module);
    let settings = changed.settings.map(Value::Object);
    mapping.settings = settings.clone().unwrap_or(mapping.settings);
    mapping.connections = changed.connections.clone().unwrap_or(mapping.connections);
    let module = store.module_get(&caller.scope.tenant, &mapping.module).await;
    check(&api, &mapping, &module.map_err(|_| foreign("module"))?.description).await?;
    let change = MappingChange {
        module: changed.module,
        settings,
        connections: changed.connections,
        enabled: changed.enabled,
    };
    let mapping = store.mapping_update(&caller.scope, &id, change).await?;
    api.shared.routes.forget();
    Ok(axum::Json(render(&mapping)))
}

/// `GET …/mappings`
pub(crate) async fn list_mappings(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Paged(page): Paged,
) -> Result<axum::Json<Value>, Problem> {
    let mappings = api.shared.store.mapping_list(&caller.scope, page.clone()).await?;
    Ok(axum::Json(page::answer(&page, &mappings, |mapping| mapping.id.to_string(), render)))
}

/// `GET …/mappings/{id}`
pub(crate) async fn get_mapping(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Id(id): Id<MappingId>,
) -> Result<axum::Json<Value>, Problem> {
    Ok(axum::Json(render(&api.shared.store.mapping_get(&caller.scope, &id).await?)))
}

fn foreign(what: &str) -> Problem {
    Problem::unprocessable("unknown-part", format!("There is no such {what} in this environment."))
}

fn refuse(text: String) -> Problem {
    Problem::unprocessable("invalid-mapping", text)
}

fn check_kinds(kinds: &[String], served: &[String]) -> Result<(), Problem> {
    if kinds.is_empty() || kinds.len() > KINDS_MAX {
        return Err(refuse("kinds: name 1 to 100 event kinds that the module serves".to_owned()));
    }
    match kinds
        .iter()
        .find(|kind| !served.iter().any(|pattern| pattern == *kind || kind_covers(pattern, kind)))
    {
        Some(kind) => Err(refuse(format!("kinds: the module serves {served:?}, not {kind:?}"))),
        None => Ok(()),
    }
}

async fn check(api: &Api, mapping: &Mapping, description: &Description) -> Result<(), Problem> {
    check_settings(mapping, description)?;
    if let Some(name) = mapping
        .connections
        .keys()
        .find(|name| description.connections.iter().all(|wanted| wanted.name != **name))
    {
        return Err(refuse(format!("connections/{name}: the module uses no connection of this name")));
    }
    for wanted in &description.connections {
        let name = &wanted.name;
        let Some(id) = mapping.connections.get(name) else {
            if wanted.optional {
                continue;
            }
            let text = format!("connections/{name}: the module needs a connection to {}", wanted.connector);
            return Err(refuse(text));
        };
        let row = api.shared.store.connection_get(&mapping.scope, id).await;
        let row = row.map_err(|_| foreign(&format!("connection as connections/{name} names")))?;
        if row.connector != wanted.connector {
            let text = format!(
                "connections/{name}: the module needs {}, this is {}",
                wanted.connector, row.connector
            );
            return Err(refuse(text));
        }
        let connector = api.shared.registry.get(&row.connector);
        let known: Vec<&str> = connector
            .map(|connector| {
                connector.operations().iter().filter(|operation| operation.effect != Effect::Setup)
            })
            .map(|operations| operations.map(|operation| operation.name).collect())
            .unwrap_or_default();
        if let Some(operation) = wanted.operations.iter().find(|name| !known.contains(&name.as_str())) {
            return Err(refuse(format!(
                "connections/{name}: {} has no operation {operation:?}",
                row.connector
            )));
        }
    }
    Ok(())
}

fn check_settings(mapping: &Mapping, description: &Description) -> Result<(), Problem> {
    let validator = crate::schema::validator(&description.settings_schema)
        .map_err(|error| refuse(format!("the module's settings schema is no JSON Schema: {error}")))?;
    let errors: Vec<Value> = validator
        .iter_errors(&mapping.settings)
        .take(20)
        .map(|error| json!({ "pointer": error.instance_path().to_string(), "message": error.to_string() }))
        .collect();
    if errors.is_empty() {
        return Ok(());
    }
    let text = "The settings are not what the module's schema asks for.";
    Err(Problem::unprocessable("invalid-settings", text).with("errors", json!(errors)))
}

fn render(mapping: &Mapping) -> Value {
    json!({
        "id": mapping.id,
        "name": mapping.name,
        "environment": mapping.scope.environment,
        "source": mapping.source,
        "kinds": mapping.kinds,
        "module": mapping.module,
        "settings": mapping.settings,
        "connections": mapping.connections,
        "enabled": mapping.enabled,
        "created_at": mapping.created_at.to_string(),
    })
}
