//! Mappings: what goes where, checked as a whole before it is stored.

use std::collections::BTreeMap;

use aide::axum::{ApiRouter, routing::get_with};
use axum::extract::State;
use portolan_connectors::Effect;
use portolan_domain::{
    ConnectionId, Environment, MappingId, ModuleDigest, SourceId,
    contract::{Description, kind_covers},
};
use portolan_store::mapping::{Mapping, MappingChange};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    Api,
    answer::{Created, List, Tagged, Time},
    auth::{Developer, InScope, Viewer},
    body::Json,
    etag::{self, IfMatch, Seen},
    openapi::op,
    page::{self, Paged},
    params::Id,
    problem::Problem,
    tenants::check_name,
};

/// Event kinds of one mapping.
const KINDS_MAX: usize = 100;

pub(crate) fn routes() -> ApiRouter<Api> {
    ApiRouter::new()
        .api_route(
            "/mappings",
            get_with(list_mappings, op("list_mappings", "The mappings of the environment"))
                .post_with(create_mapping, op("create_mapping", "Makes a mapping, checked as a whole")),
        )
        .api_route(
            "/mappings/{id}",
            get_with(get_mapping, op("get_mapping", "A mapping")).patch_with(
                update_mapping,
                op("update_mapping", "Moves the pin, changes settings or connections, switches on or off"),
            ),
        )
        .with_path_items(|path| path.tag("mappings"))
}

/// A mapping to be made.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewMapping {
    /// 1 to 100 characters; unique in the environment.
    #[schemars(length(min = 1, max = 100))]
    name: String,
    source: SourceId,
    /// Default: every kind that the module serves of the source's system.
    kinds: Option<Vec<String>>,
    module: ModuleDigest,
    /// Valid against the module's schema.
    #[serde(default)]
    settings: Map<String, Value>,
    /// The module's name for a connection → the tenant's connection.
    #[serde(default)]
    connections: BTreeMap<String, ConnectionId>,
}

/// What of a mapping is changed; what is left out stays.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangedMapping {
    module: Option<ModuleDigest>,
    settings: Option<Map<String, Value>>,
    connections: Option<BTreeMap<String, ConnectionId>>,
    enabled: Option<bool>,
}

pub(crate) async fn create_mapping(
    State(api): State<Api>,
    caller: InScope<Developer>,
    Json(new): Json<NewMapping>,
) -> Result<Created<Answer>, Problem> {
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
    let answer = answer(&mapping);
    store.mapping_create(mapping).await?;
    api.shared.routes.forget();
    Ok(Created(answer))
}

/// Moves the pin, changes settings or connections, switches on or off.
pub(crate) async fn update_mapping(
    State(api): State<Api>,
    caller: InScope<Developer>,
    Id(id): Id<MappingId>,
    seen: IfMatch,
    Json(changed): Json<ChangedMapping>,
) -> Result<Tagged<Answer>, Problem> {
    let store = &api.shared.store;
    let _alone = etag::alone(&api).await;
    let mut mapping = store.mapping_get(&caller.scope, &id).await?;
    seen.check(&answer(&mapping))?;
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
    Ok(Tagged(answer(&mapping)))
}

pub(crate) async fn list_mappings(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Paged(page): Paged,
) -> Result<axum::Json<List<Answer>>, Problem> {
    let mappings = api.shared.store.mapping_list(&caller.scope, page.clone()).await?;
    Ok(page::answer(&page, &mappings, |mapping| mapping.id.to_string(), answer))
}

pub(crate) async fn get_mapping(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Id(id): Id<MappingId>,
) -> Result<Tagged<Answer>, Problem> {
    Ok(Tagged(answer(&api.shared.store.mapping_get(&caller.scope, &id).await?)))
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

/// A mapping.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Mapping")]
pub(crate) struct Answer {
    id: MappingId,
    name: String,
    environment: Environment,
    source: SourceId,
    kinds: Vec<String>,
    /// The module version that it is pinned to.
    module: ModuleDigest,
    settings: Value,
    /// The module's name for a connection → the tenant's connection.
    connections: BTreeMap<String, ConnectionId>,
    /// Whether events are routed to it.
    enabled: bool,
    created_at: Time,
}

impl Seen for Answer {}

fn answer(mapping: &Mapping) -> Answer {
    Answer {
        id: mapping.id.clone(),
        name: mapping.name.clone(),
        environment: mapping.scope.environment,
        source: mapping.source.clone(),
        kinds: mapping.kinds.clone(),
        module: mapping.module.clone(),
        settings: mapping.settings.clone(),
        connections: mapping.connections.clone(),
        enabled: mapping.enabled,
        created_at: mapping.created_at.into(),
    }
}
