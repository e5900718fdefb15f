//! Replays: a version executed again on stored events, delivering nothing, and what would differ.

use std::collections::BTreeMap;

use aide::axum::{
    ApiRouter,
    routing::{get_with, post_with},
};
use axum::{extract::State, http::StatusCode, response::NoContent};
use portolan_domain::{
    MappingId, ModuleDigest, ReplayId, Timestamp,
    replay::{Account, Class},
};
use portolan_pipeline::replayer::{EVENTS_MAX, RUNNING_PER_TENANT_MAX};
use portolan_store::{
    StoreError,
    replay::{Asked, NewNeeds, NewReplay, Replay, ReplayItem, ReplayKind, ReplaySettings, ReplayState},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    Api,
    answer::{Created, List, Time},
    auth::{Developer, InScope, Viewer},
    body::Json,
    openapi::op,
    page::{self, Paged},
    params::Id,
    problem::Problem,
    query::Query,
    versions,
};

/// Event kinds of one replay.
const KINDS_MAX: usize = 100;

pub(crate) fn routes() -> ApiRouter<Api> {
    ApiRouter::new()
        .api_route(
            "/replays",
            get_with(list_replays, op("list_replays", "The replays and shadows of the environment"))
                .post_with(
                    create_replay,
                    op("create_replay", "Executes a version again on stored events, delivering nothing"),
                ),
        )
        .api_route("/replays/{id}", get_with(get_replay, op("get_replay", "What a replay came to so far")))
        .api_route("/replays/{id}/cancel", post_with(cancel_replay, op("cancel_replay", "Ends a replay")))
        .api_route(
            "/replays/{id}/items",
            get_with(list_replay_items, op("list_replay_items", "What came of each event, field by field")),
        )
        .with_path_items(|path| path.tag("replays"))
}

/// Who answers what a run was not told when it ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum NeedsBy {
    /// Nobody (default): the event is told as `new-need`.
    #[default]
    Nobody,
    /// Lookup tables and references, as they are now.
    Store,
    /// Other systems, too: reads through the mapping's connections.
    Systems,
}

impl From<NeedsBy> for NewNeeds {
    fn from(by: NeedsBy) -> Self {
        match by {
            NeedsBy::Nobody => Self::Told,
            NeedsBy::Store => Self::FromStore,
            NeedsBy::Systems => Self::Asked,
        }
    }
}

/// A replay to be begun.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AskedReplay {
    /// Whose runs it is compared with.
    mapping: MappingId,
    /// The version to execute; without it, the pinned one.
    module: Option<ModuleDigest>,
    /// At most so many events, the newest first; 500 without it.
    #[serde(default = "events")]
    #[schemars(range(min = 1, max = 10000))]
    events: u64,
    /// Event kinds: `charge.succeeded`, `charge.*`; all without it.
    #[serde(default)]
    kinds: Vec<String>,
    object_id: Option<String>,
    /// Received at this time or later (RFC 3339).
    from: Option<String>,
    /// Received before this time (RFC 3339).
    until: Option<String>,
    /// Events of the mapping's source that it has no run on, too.
    #[serde(default)]
    without_runs: bool,
    /// Settings for all events. Without it each event gets those that its run had, as far as they were kept.
    settings: Option<Map<String, Value>>,
    /// With the mapping's present settings instead.
    #[serde(default)]
    present_settings: bool,
    /// Who answers what a run was not told when it ran.
    #[serde(default)]
    new_needs: NeedsBy,
}

const fn events() -> u64 {
    500
}

/// A replay and what it came to so far.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Replay")]
pub(crate) struct Answer {
    id: ReplayId,
    kind: ReplayKind,
    state: ReplayState,
    mapping: MappingId,
    module: ModuleDigest,
    /// At most so many events, the newest first.
    events_max: u64,
    /// Events executed.
    events_done: u64,
    /// New events that a shadow was not executed on, because too many waited.
    passed_over: u64,
    /// Events by what came of them.
    classes: BTreeMap<Class, u64>,
    /// At how many events each place differs, those that newly work left out. Numbers in a place are `*`.
    fields: BTreeMap<String, u64>,
    /// Differences at further places, which are not counted one by one.
    fields_beyond: u64,
    /// Ledger lines of the compared events, summed by currency and account.
    ledger: Vec<AccountAnswer>,
    /// Lines of further accounts, which are not summed, of events that differ.
    lines_beyond: u64,
    /// Fuel of the compared events then and now.
    fuel_before: u64,
    fuel_after: u64,
    /// Why it failed: `{"code","message"}`; else null.
    reason: Value,
    /// What became of the pin that was to be moved: `{"state": "pinned"|"refused", …}`; null when there is none.
    promotion: Value,
    /// A key's id.
    by: String,
    created_at: Time,
    updated_at: Time,
    ended_at: Option<Time>,
}

/// One account in one currency, exact.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ReplayedAccount")]
pub(crate) struct AccountAnswer {
    /// ISO 4217.
    currency: String,
    account: String,
    debit_before: String,
    credit_before: String,
    debit_after: String,
    credit_after: String,
    /// By how much debits less credits would differ.
    difference: String,
    /// Whether both sides are as they were.
    unchanged: bool,
}

fn account(currency: &str, name: &str, of: &Account) -> AccountAnswer {
    AccountAnswer {
        currency: currency.to_owned(),
        account: name.to_owned(),
        debit_before: of.debit_before.to_string(),
        credit_before: of.credit_before.to_string(),
        debit_after: of.debit_after.to_string(),
        credit_after: of.credit_after.to_string(),
        difference: of.difference().to_string(),
        unchanged: of.is_unchanged(),
    }
}

pub(crate) fn answer(replay: &Replay) -> Answer {
    let tally = &replay.tally;
    let ledger = tally
        .ledger
        .iter()
        .flat_map(|(currency, accounts)| accounts.iter().map(|(name, of)| account(currency, name, of)));
    Answer {
        id: replay.id.clone(),
        kind: replay.kind,
        state: replay.state,
        mapping: replay.mapping.clone(),
        module: replay.module.clone(),
        events_max: replay.events_max,
        events_done: replay.events_done,
        passed_over: replay.passed_over,
        classes: tally.classes.clone(),
        fields: tally.fields.clone(),
        fields_beyond: tally.fields_beyond,
        ledger: ledger.collect(),
        lines_beyond: tally.lines_beyond,
        fuel_before: tally.fuel_before,
        fuel_after: tally.fuel_after,
        reason: replay.reason.clone(),
        promotion: replay.promotion.clone(),
        by: replay.by.clone(),
        created_at: replay.created_at.into(),
        updated_at: replay.updated_at.into(),
        ended_at: replay.ended_at.map(Time::from),
    }
}

fn refuse(text: impl Into<String>) -> Problem {
    Problem::unprocessable("invalid-replay", text)
}

/// More than a tenant may have at once is told as that.
pub(crate) fn busy(error: StoreError) -> Problem {
    match error {
        StoreError::Conflict(text) => Problem::new(StatusCode::TOO_MANY_REQUESTS, "replays-busy", text),
        error @ (StoreError::NotFound | StoreError::Unavailable(_) | StoreError::Corrupt { .. }) => {
            error.into()
        }
    }
}

fn time(text: Option<&str>, name: &str) -> Result<Option<Timestamp>, Problem> {
    text.map(|text| text.parse().map_err(|error| refuse(format!("{name}: {error}")))).transpose()
}

/// It runs in the background, behind all live work. What it came to so far is told at any time.
pub(crate) async fn create_replay(
    State(api): State<Api>,
    caller: InScope<Developer>,
    Json(new): Json<AskedReplay>,
) -> Result<Created<Answer>, Problem> {
    if new.events == 0 || new.events > EVENTS_MAX || new.kinds.len() > KINDS_MAX {
        return Err(refuse(format!("events: 1 to {EVENTS_MAX}; kinds: at most {KINDS_MAX}")));
    }
    if new.settings.is_some() && new.present_settings {
        return Err(refuse("settings or present_settings, not both"));
    }
    let store = &api.shared.store;
    let mapping = store.mapping_get(&caller.scope, &new.mapping).await?;
    let module = new.module.unwrap_or(mapping.module.clone());
    versions::module_of(&api, &caller.scope, &module).await?;
    let settings = match new.settings {
        Some(settings) => ReplaySettings::Given(Value::Object(settings)),
        // As they are now, also when they are changed meanwhile.
        None if new.present_settings => ReplaySettings::Given(mapping.settings.clone()),
        None => ReplaySettings::Recorded,
    };
    let now = api.shared.clock.now();
    let id = ReplayId::generate(now);
    let asked = Asked {
        kinds: new.kinds,
        object_id: new.object_id,
        from: time(new.from.as_deref(), "from")?,
        until: time(new.until.as_deref(), "until")?,
        without_runs: new.without_runs,
        settings,
        new_needs: new.new_needs.into(),
        promotion: None,
    };
    let new = NewReplay {
        id: id.clone(),
        mapping: mapping.id,
        module,
        kind: ReplayKind::Replay,
        asked,
        events_max: new.events,
        by: caller.key.to_string(),
    };
    store.replay_create(&caller.scope, new, RUNNING_PER_TENANT_MAX, now).await.map_err(busy)?;
    api.shared.replays_due.ring();
    Ok(Created(answer(&store.replay_get(&caller.scope, &id).await?)))
}

pub(crate) async fn list_replays(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Paged(page): Paged,
) -> Result<axum::Json<List<Answer>>, Problem> {
    let replays = api.shared.store.replay_list(&caller.scope, page.clone()).await?;
    Ok(page::answer(&page, &replays, |replay| replay.id.to_string(), answer))
}

pub(crate) async fn get_replay(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Id(id): Id<ReplayId>,
) -> Result<axum::Json<Answer>, Problem> {
    Ok(axum::Json(answer(&api.shared.store.replay_get(&caller.scope, &id).await?)))
}

/// What it came to so far stays.
pub(crate) async fn cancel_replay(
    State(api): State<Api>,
    caller: InScope<Developer>,
    Id(id): Id<ReplayId>,
) -> Result<NoContent, Problem> {
    api.shared.store.replay_cancel(&caller.scope, &id, api.shared.clock.now()).await?;
    Ok(NoContent)
}

/// Which events of a replay.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct OfClass {
    /// Only those of which this came.
    class: Option<Class>,
}

/// The newest event first.
pub(crate) async fn list_replay_items(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Id(id): Id<ReplayId>,
    Query(of): Query<OfClass>,
    Paged(page): Paged,
) -> Result<axum::Json<List<ReplayItem>>, Problem> {
    let items = api.shared.store.replay_items(&caller.scope, &id, of.class, page.clone()).await?;
    Ok(page::answer(&page, &items, |item| item.event.to_string(), Clone::clone))
}
