//! The versions of a mapping: what it is pinned to, what was before, what runs beside it, and what is stopped.
//!
//! A pin is moved by one request, at once or after a clean replay; a rollback needs nothing but the request.

use std::collections::BTreeMap;

use aide::axum::{
    ApiRouter,
    routing::{get_with, post_with, put_with},
};
use axum::{extract::State, response::NoContent};
use portolan_domain::{ConnectionId, MappingId, ModuleDigest, ReplayId, Scope, grant::Grants};
use portolan_pipeline::{replayer::EVENTS_MAX, signatures};
use portolan_store::{
    mapping::{Canary, Mapping, MappingChange, Pin, PinChange, Shadow},
    module::Module,
    replay::{Asked, NewReplay, ReplayKind, ReplaySettings},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::sync::OwnedMutexGuard;

use crate::{
    Api,
    answer::{List, Tagged, Time},
    auth::{Admin, Developer, InScope, Viewer},
    body::Json,
    etag::{self, IfMatch},
    mappings::{self, foreign},
    openapi::op,
    params::Id,
    problem::Problem,
    runs::Why,
};

pub(crate) fn routes() -> ApiRouter<Api> {
    let path = |rest: &str| format!("/mappings/{{id}}/{rest}");
    ApiRouter::new()
        .api_route(&path("pins"), get_with(list_pins, op("list_pins", "What a mapping was and is pinned to")))
        .api_route(
            &path("rollback"),
            post_with(
                rollback_mapping,
                op("rollback_mapping", "Returns to the pin before this one, at once"),
            ),
        )
        .api_route(
            &path("shadow"),
            put_with(put_shadow, op("put_shadow", "Has a version executed beside the pinned one"))
                .delete_with(delete_shadow, op("delete_shadow", "Takes the shadow off")),
        )
        .api_route(
            &path("canary"),
            put_with(put_canary, op("put_canary", "Gives a share of the objects to a version"))
                .delete_with(delete_canary, op("delete_canary", "Gives all objects to the pinned version")),
        )
        .api_route(&path("pause"), post_with(pause_mapping, op("pause_mapping", "Has its events wait")))
        .api_route(
            &path("resume"),
            post_with(resume_mapping, op("resume_mapping", "Has its events executed again")),
        )
        .with_path_items(|path| path.tag("mappings"))
}

/// What a mapping shall be pinned to; what is left out stays.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) module: Option<ModuleDigest>,
    pub(crate) settings: Option<Value>,
    pub(crate) connections: Option<BTreeMap<String, ConnectionId>>,
    /// Granted by name.
    pub(crate) grant: Vec<String>,
    /// Granted as a whole.
    pub(crate) grants: Option<Grants>,
}

impl Wanted {
    /// The change of the pin, checked as a whole; none when nothing of it is changed.
    pub(crate) async fn checked(self, api: &Api, mapping: &Mapping) -> Result<Option<PinChange>, Problem> {
        let mut next = mapping.clone();
        next.module = self.module.clone().unwrap_or(next.module);
        next.settings = self.settings.clone().unwrap_or(next.settings);
        next.connections = self.connections.clone().unwrap_or(next.connections);
        let module = module_of(api, &mapping.scope, &next.module).await?;
        mappings::check(api, &next, &module.description).await?;
        if self.module.is_some() {
            check_signed(api, &module).await?;
        }
        let grants = match self.grants {
            Some(grants) => Some(grants),
            None if self.module.is_some() || !self.grant.is_empty() => {
                Some(granted(api, mapping, &module, &self.grant).await?)
            }
            None => None,
        };
        let is_change = self.module.is_some()
            || self.settings.is_some()
            || self.connections.is_some()
            || grants.is_some();
        let (module, settings, connections) = (self.module, self.settings, self.connections);
        Ok(is_change.then(|| PinChange { module, settings, connections, grants, ..PinChange::default() }))
    }
}

/// What the mapping grants to this version; a problem that names what is new when it asks for more.
pub(crate) async fn granted(
    api: &Api,
    mapping: &Mapping,
    module: &Module,
    grant: &[String],
) -> Result<Grants, Problem> {
    let before = match &mapping.life.grants {
        Some(grants) => grants.clone(),
        None => Grants::of(&module_of(api, &mapping.scope, &mapping.module).await?.description),
    };
    let mut new = before.missing_for(&module.description);
    new.retain(|name| !grant.contains(name));
    if new.is_empty() {
        return Ok(Grants::of(&module.description));
    }
    let text = format!(
        "The module asks for what the mapping does not grant: {}. Name these in `grant` to allow them.",
        new.join(", ")
    );
    Err(Problem::unprocessable("needs-grant", text).with("new", json!(new)))
}

/// A version of the caller's own.
pub(crate) async fn module_of(api: &Api, scope: &Scope, digest: &ModuleDigest) -> Result<Module, Problem> {
    api.shared.store.module_get(&scope.tenant, digest).await.map_err(|_| foreign("module"))
}

/// Where the tenant demands signatures, only what a key that it trusts now has signed is pinned.
pub(crate) async fn check_signed(api: &Api, module: &Module) -> Result<(), Problem> {
    if signatures::may_be_pinned(&*api.shared.store, module).await? {
        return Ok(());
    }
    let text = "The tenant demands signed modules, and this one is not signed by a key that it trusts: upload it again \
                with the header `Portolan-Signature`.";
    Err(Problem::unprocessable("signature-required", text))
}

/// Where the environment demands it, a version is put to work only after a replay of so many events.
pub(crate) async fn demand_replay(api: &Api, scope: &Scope, events: u64) -> Result<(), Problem> {
    let least = api.shared.store.environment_settings(scope).await?.replay_events_min;
    if events >= least {
        return Ok(());
    }
    let text = format!(
        "This environment demands a clean replay of {least} events: use …/mappings/{{id}}/pin with `after_replay`."
    );
    Err(Problem::unprocessable("replay-required", text).with("events", json!(least)))
}

/// A pin of a mapping.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Pin")]
pub(crate) struct PinAnswer {
    number: u64,
    module: ModuleDigest,
    settings: Value,
    connections: BTreeMap<String, ConnectionId>,
    /// Null: everything that the module declares.
    grants: Option<Grants>,
    /// The number of the pin that a rollback returns to.
    before: Option<u64>,
    /// The replay that it was moved after.
    replay: Option<ReplayId>,
    /// A key's id.
    by: String,
    why: Option<String>,
    at: Time,
}

impl From<&Pin> for PinAnswer {
    fn from(pin: &Pin) -> Self {
        Self {
            number: pin.number,
            module: pin.module.clone(),
            settings: pin.settings.clone(),
            connections: pin.connections.clone(),
            grants: pin.grants.clone(),
            before: pin.before,
            replay: pin.replay.clone(),
            by: pin.by.clone(),
            why: pin.why.clone(),
            at: pin.at.into(),
        }
    }
}

/// Newest first.
pub(crate) async fn list_pins(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Id(id): Id<MappingId>,
) -> Result<axum::Json<List<PinAnswer>>, Problem> {
    let pins = api.shared.store.mapping_pins(&caller.scope, &id).await?;
    Ok(List::whole(pins.iter().map(PinAnswer::from)))
}

/// Takes effect with the next run. Again: the pin before that one.
pub(crate) async fn rollback_mapping(
    State(api): State<Api>,
    caller: InScope<Developer>,
    Id(id): Id<MappingId>,
    Json(why): Json<Why>,
) -> Result<Tagged<mappings::Answer>, Problem> {
    let decision = why.by(&caller, api.shared.clock.now())?;
    let mapping = api.shared.store.mapping_rollback(&caller.scope, &id, decision).await?;
    api.shared.routes.forget();
    Ok(Tagged(mappings::answer(&mapping)))
}

/// A version that is to run beside the pinned one, and the mapping as it was seen.
struct Beside {
    mapping: Mapping,
    /// The mapping as that version would have it.
    wanted: Mapping,
    /// Its settings, when they are not the mapping's.
    settings: Option<Value>,
    module: Module,
    /// Nobody changes the mapping meanwhile.
    _alone: OwnedMutexGuard<()>,
}

async fn beside(
    api: &Api,
    (scope, id): (&Scope, &MappingId),
    seen: &IfMatch,
    (module, settings): (&ModuleDigest, Option<Map<String, Value>>),
) -> Result<Beside, Problem> {
    let _alone = etag::alone(api, &scope.tenant).await;
    let mapping = api.shared.store.mapping_get(scope, id).await?;
    seen.check(&mappings::answer(&mapping))?;
    let settings = settings.map(Value::Object);
    let wanted = Mapping {
        module: module.clone(),
        settings: settings.clone().unwrap_or(mapping.settings.clone()),
        ..mapping.clone()
    };
    let module = module_of(api, scope, module).await?;
    Ok(Beside { mapping, wanted, settings, module, _alone })
}

/// A version that is executed beside the pinned one.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Shadow")]
pub(crate) struct ShadowAnswer {
    module: ModuleDigest,
    /// Where its differences are listed: see …/replays/{id}.
    replay: ReplayId,
}

impl From<&Shadow> for ShadowAnswer {
    fn from(shadow: &Shadow) -> Self {
        Self { module: shadow.module.clone(), replay: shadow.replay.clone() }
    }
}

/// A version to be executed beside the pinned one.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewShadow {
    module: ModuleDigest,
    /// Its settings, when they are not those of each run.
    settings: Option<Map<String, Value>>,
}

/// It delivers nothing, is told what the live version was told (and the present lookup tables and references for what is
/// new), and its differences are listed as a replay's.
pub(crate) async fn put_shadow(
    State(api): State<Api>,
    caller: InScope<Developer>,
    Id(id): Id<MappingId>,
    seen: IfMatch,
    Json(new): Json<NewShadow>,
) -> Result<Tagged<mappings::Answer>, Problem> {
    let beside = beside(&api, (&caller.scope, &id), &seen, (&new.module, new.settings)).await?;
    mappings::check_settings(&beside.wanted, &beside.module.description)?;
    let now = api.shared.clock.now();
    let replay = NewReplay {
        id: ReplayId::generate(now),
        mapping: id.clone(),
        module: new.module.clone(),
        kind: ReplayKind::Shadow,
        asked: Asked {
            settings: beside.settings.map_or(ReplaySettings::Recorded, ReplaySettings::Given),
            new_needs: portolan_store::replay::NewNeeds::FromStore,
            ..Asked::default()
        },
        events_max: EVENTS_MAX,
        by: caller.key.to_string(),
    };
    changed_shadow(&api, &beside.mapping, Some(replay)).await
}

/// Its differences stay where they are listed.
pub(crate) async fn delete_shadow(
    State(api): State<Api>,
    caller: InScope<Developer>,
    Id(id): Id<MappingId>,
) -> Result<Tagged<mappings::Answer>, Problem> {
    let _alone = etag::alone(&api, &caller.scope.tenant).await;
    let mapping = api.shared.store.mapping_get(&caller.scope, &id).await?;
    changed_shadow(&api, &mapping, None).await
}

async fn changed_shadow(
    api: &Api,
    mapping: &Mapping,
    shadow: Option<NewReplay>,
) -> Result<Tagged<mappings::Answer>, Problem> {
    changed(api, mapping, MappingChange { shadow: Some(shadow), ..MappingChange::default() }).await
}

async fn changed(
    api: &Api,
    mapping: &Mapping,
    change: MappingChange,
) -> Result<Tagged<mappings::Answer>, Problem> {
    let now = api.shared.clock.now();
    let changed = api.shared.store.mapping_update(&mapping.scope, &mapping.id, change, now).await?;
    api.shared.routes.forget();
    Ok(Tagged(mappings::answer(&changed)))
}

/// A version that a share of the objects goes to.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Canary")]
pub(crate) struct CanaryAnswer {
    module: ModuleDigest,
    /// Null: those of the mapping.
    settings: Option<Value>,
    /// Thousandths of the objects; always the same objects.
    per_mille: u16,
    /// More than this many failures within `runs_max` runs, and the share is 0 again.
    failures_max: u32,
    runs_max: u32,
    /// Runs since they were counted anew.
    runs: u32,
    failures: u32,
    /// When the host set the share to 0, because too many runs failed.
    returned_at: Option<Time>,
}

impl From<&Canary> for CanaryAnswer {
    fn from(canary: &Canary) -> Self {
        Self {
            module: canary.module.clone(),
            settings: canary.settings.clone(),
            per_mille: canary.per_mille,
            failures_max: canary.failures_max,
            runs_max: canary.runs_max,
            runs: canary.runs,
            failures: canary.failures,
            returned_at: canary.returned_at.map(Time::from),
        }
    }
}

/// A version that a share of the objects shall go to.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewCanary {
    module: ModuleDigest,
    /// Its settings, when they are not those of the mapping.
    settings: Option<Map<String, Value>>,
    /// Thousandths of the objects.
    #[schemars(range(max = 1000))]
    per_mille: u16,
    /// When more than this many of `runs_max` runs fail, all objects return to the pinned version and an alert is raised.
    #[serde(default = "one")]
    failures_max: u32,
    /// Runs after which failures are counted anew.
    #[serde(default = "hundred")]
    #[schemars(range(min = 1))]
    runs_max: u32,
    /// Where the environment demands it: a clean replay of this version on the mapping.
    replay: Option<ReplayId>,
}

const fn one() -> u32 {
    1
}

const fn hundred() -> u32 {
    100
}

/// An object that goes to it once does so every time, also when the share grows.
pub(crate) async fn put_canary(
    State(api): State<Api>,
    caller: InScope<Developer>,
    Id(id): Id<MappingId>,
    seen: IfMatch,
    Json(new): Json<NewCanary>,
) -> Result<Tagged<mappings::Answer>, Problem> {
    if new.per_mille > 1_000 || new.runs_max == 0 {
        return Err(mappings::refuse("per_mille is 0 to 1000, runs_max at least 1".to_owned()));
    }
    let beside = beside(&api, (&caller.scope, &id), &seen, (&new.module, new.settings)).await?;
    let Beside { mapping, wanted, settings, module, _alone } = &beside;
    mappings::check(&api, wanted, &module.description).await?;
    check_signed(&api, module).await?;
    granted(&api, mapping, module, &[]).await?;
    let mut events = 0;
    if let Some(replay) = &new.replay {
        let replay = api.shared.store.replay_get(&caller.scope, replay).await?;
        let pin = PinChange {
            module: Some(new.module.clone()),
            settings: settings.clone(),
            ..PinChange::default()
        };
        crate::promotion::check_replay(&api, (mapping, &pin), &replay, (replay.events_max, None))?;
        events = replay.events_max;
    }
    demand_replay(&api, &caller.scope, events).await?;
    let canary = Canary {
        module: new.module,
        settings: settings.clone(),
        per_mille: new.per_mille,
        failures_max: new.failures_max,
        runs_max: new.runs_max,
        runs: 0,
        failures: 0,
        returned_at: None,
    };
    changed_canary(&api, mapping, Some(canary)).await
}

/// Runs of the canary that are under way end as they are.
pub(crate) async fn delete_canary(
    State(api): State<Api>,
    caller: InScope<Developer>,
    Id(id): Id<MappingId>,
) -> Result<Tagged<mappings::Answer>, Problem> {
    let _alone = etag::alone(&api, &caller.scope.tenant).await;
    let mapping = api.shared.store.mapping_get(&caller.scope, &id).await?;
    changed_canary(&api, &mapping, None).await
}

async fn changed_canary(
    api: &Api,
    mapping: &Mapping,
    canary: Option<Canary>,
) -> Result<Tagged<mappings::Answer>, Problem> {
    changed(api, mapping, MappingChange { canary: Some(canary), ..MappingChange::default() }).await
}

/// Its runs are not begun until it is resumed. What arrives meanwhile is stored and waits; planned deliveries go on.
pub(crate) async fn pause_mapping(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Id(id): Id<MappingId>,
    Json(why): Json<Why>,
) -> Result<NoContent, Problem> {
    let decision = why.by(&caller, api.shared.clock.now())?;
    api.shared.store.mapping_pause(&caller.scope, &id, decision).await?;
    Ok(NoContent)
}

/// What waited is executed in its order.
pub(crate) async fn resume_mapping(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Id(id): Id<MappingId>,
    Json(why): Json<Why>,
) -> Result<NoContent, Problem> {
    let decision = why.by(&caller, api.shared.clock.now())?;
    api.shared.store.mapping_resume(&caller.scope, &id, decision).await?;
    api.shared.runs_due.ring();
    Ok(NoContent)
}
