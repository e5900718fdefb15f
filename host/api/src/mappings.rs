//! Mappings: what goes where, checked as a whole before it is stored.

use std::collections::BTreeMap;

use aide::axum::{ApiRouter, routing::get_with};
use axum::extract::State;
use portolan_connectors::Effect;
use portolan_domain::{
    ConnectionId, Environment, MappingId, ModuleDigest, Scope, SourceId,
    contract::{Description, kind_covers},
    grant::Grants,
};
use portolan_store::mapping::{Life, Mapping, MappingChange};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    Api,
    answer::{Created, List, Tagged, Time},
    auth::{Developer, InScope, Viewer},
    body::Json,
    desk::DecisionAnswer,
    etag::{self, IfMatch, Seen},
    openapi::op,
    page::{self, Paged},
    params::Id,
    problem::Problem,
    tenants::check_name,
    versions::{self, Wanted},
};

/// Event kinds of one mapping.
const KINDS_MAX: usize = 100;
/// Settings of one mapping, as JSON.
const SETTINGS_BYTES_MAX: usize = 256 << 10;
/// Characters of an event kind.
const KIND_CHARS_MAX: usize = 200;

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
    /// What is granted to a version that asks for more, by the names that the refusal tells: `connections/erp/order.create`.
    #[serde(default)]
    grant: Vec<String>,
    /// Instead: everything that its module may do. What is left out is refused at run time.
    grants: Option<Grants>,
    enabled: Option<bool>,
}

impl NewMapping {
    /// Of these parts.
    pub(crate) fn of(
        (name, source, kinds): (&str, SourceId, Vec<String>),
        module: ModuleDigest,
        settings: Value,
        connections: BTreeMap<String, ConnectionId>,
    ) -> Self {
        let settings = settings.as_object().cloned().unwrap_or_default();
        Self { name: name.to_owned(), source, kinds: Some(kinds), module, settings, connections }
    }
}

pub(crate) async fn create_mapping(
    State(api): State<Api>,
    caller: InScope<Developer>,
    Json(new): Json<NewMapping>,
) -> Result<Created<Answer>, Problem> {
    Ok(Created(answer(&made(&api, &caller.scope, new).await?)))
}

/// Checks a mapping as a whole and makes it.
pub(crate) async fn made(api: &Api, scope: &Scope, new: NewMapping) -> Result<Mapping, Problem> {
    check_name(&new.name)?;
    let store = &api.shared.store;
    let source = store.source_get(scope, &new.source).await.map_err(|_| foreign("source"))?;
    let module = store.module_get(&scope.tenant, &new.module).await.map_err(|_| foreign("module"))?;
    let served = module.description.serves.iter().filter(|served| served.system == source.system);
    let served: Vec<String> = served.map(|served| served.kind.clone()).collect();
    let now = api.shared.clock.now();
    let mapping = Mapping {
        id: MappingId::generate(now),
        scope: scope.clone(),
        name: new.name,
        source: source.id,
        kinds: new.kinds.unwrap_or_else(|| served.clone()),
        module: new.module,
        settings: Value::Object(new.settings),
        connections: new.connections,
        enabled: true,
        life: Life { pin: 1, grants: Some(Grants::of(&module.description)), ..Life::default() },
        created_at: now,
    };
    versions::check_signed(api, &module).await?;
    check_kinds(&mapping.kinds, &served)?;
    check(api, &mapping, &module.description).await?;
    store.mapping_create(mapping.clone()).await?;
    api.shared.routes.forget();
    Ok(mapping)
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
    let _alone = etag::alone(&api, &caller.scope.tenant).await;
    let mapping = store.mapping_get(&caller.scope, &id).await?;
    seen.check(&answer(&mapping))?;
    let wanted = Wanted {
        module: changed.module,
        settings: changed.settings.map(Value::Object),
        connections: changed.connections,
        grant: changed.grant,
        grants: changed.grants,
    };
    let pin = wanted.checked(&api, &mapping).await?;
    if pin.as_ref().is_some_and(|pin| pin.module.is_some() || pin.settings.is_some()) {
        versions::demand_replay(&api, &caller.scope, 0).await?;
    }
    let change = MappingChange { pin, enabled: changed.enabled, ..MappingChange::default() };
    let mapping = store.mapping_update(&caller.scope, &id, change, api.shared.clock.now()).await?;
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

pub(crate) fn foreign(what: &str) -> Problem {
    Problem::unprocessable("unknown-part", format!("There is no such {what} in this environment."))
}

pub(crate) fn refuse(text: String) -> Problem {
    Problem::unprocessable("invalid-mapping", text)
}

pub(crate) fn check_kinds(kinds: &[String], served: &[String]) -> Result<(), Problem> {
    let is_long = |kind: &String| kind.chars().count() > KIND_CHARS_MAX;
    if kinds.is_empty() || kinds.len() > KINDS_MAX || kinds.iter().any(is_long) {
        let text = "kinds: name 1 to 100 event kinds that the module serves, of at most 200 characters";
        return Err(refuse(text.to_owned()));
    }
    match kinds
        .iter()
        .find(|kind| !served.iter().any(|pattern| pattern == *kind || kind_covers(pattern, kind)))
    {
        Some(kind) => Err(refuse(format!("kinds: the module serves {served:?}, not {kind:?}"))),
        None => Ok(()),
    }
}

pub(crate) async fn check(api: &Api, mapping: &Mapping, description: &Description) -> Result<(), Problem> {
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

pub(crate) fn check_settings(mapping: &Mapping, description: &Description) -> Result<(), Problem> {
    if mapping.settings.to_string().len() > SETTINGS_BYTES_MAX {
        let text =
            format!("Settings have at most {SETTINGS_BYTES_MAX} bytes; put tables into lookup tables.");
        return Err(Problem::unprocessable("invalid-settings", text));
    }
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
    /// The number of the pin in force.
    pin: u64,
    /// What its module may do; null: everything that it declares.
    grants: Option<Grants>,
    /// A version that is executed on every new event and delivers nothing.
    shadow: Option<versions::ShadowAnswer>,
    /// A version that a share of the objects goes to.
    canary: Option<versions::CanaryAnswer>,
    /// Who paused it, and why; then its events wait.
    paused: Option<DecisionAnswer>,
    created_at: Time,
}

impl Seen for Answer {
    /// Without what a canary's runs count.
    fn tag(&self) -> String {
        let mut told = json!(self);
        if let Some(canary) = told.get_mut("canary").and_then(Value::as_object_mut) {
            canary.remove("runs");
            canary.remove("failures");
        }
        etag::of(&told)
    }
}

pub(crate) fn answer(mapping: &Mapping) -> Answer {
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
        pin: mapping.life.pin,
        grants: mapping.life.grants.clone(),
        shadow: mapping.life.shadow.as_ref().map(versions::ShadowAnswer::from),
        canary: mapping.life.canary.as_ref().map(versions::CanaryAnswer::from),
        paused: mapping.life.paused.as_ref().map(DecisionAnswer::from),
        created_at: mapping.created_at.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_that_the_module_serves_is_no_longer_than_a_name() {
        let served = vec!["charge.*".to_owned()];
        let kind = |chars: usize| vec![format!("charge.{}", "x".repeat(chars))];
        assert!(check_kinds(&kind(10), &served).is_ok());
        assert!(check_kinds(&kind(KIND_CHARS_MAX), &served).is_err());
    }
}
