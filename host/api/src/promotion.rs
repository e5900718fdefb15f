//! Moving a mapping's pin: at once, or after a replay of the new version on the latest events has shown no difference, or
//! none but those that were listed.

use std::{collections::BTreeMap, time::Duration};

use aide::{
    OperationOutput,
    axum::{ApiRouter, routing::post_with},
    generate::GenContext,
    openapi::{Operation, Response as Documented},
};
use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use portolan_domain::{ConnectionId, MappingId, ModuleDigest, ReplayId, replay::Allowed};
use portolan_pipeline::replayer::{EVENTS_MAX, RUNNING_PER_TENANT_MAX};
use portolan_store::{
    mapping::{Mapping, MappingChange, PinChange},
    replay::{Asked, NewReplay, Promotion, Replay, ReplayKind, ReplaySettings, ReplayState},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    Api, answer,
    auth::{Developer, InScope},
    body::Json,
    etag::{self, IfMatch},
    mappings,
    openapi::op,
    params::Id,
    problem::Problem,
    replays::{NeedsBy, busy},
    runs::Why,
    versions::{self, Wanted},
};

/// How old a replay may be that a pin is moved after.
const AGE_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Places of one list.
const LISTED_MAX: usize = 500;

pub(crate) fn routes() -> ApiRouter<Api> {
    ApiRouter::new()
        .api_route(
            "/mappings/{id}/pin",
            post_with(pin_mapping, op("pin_mapping", "Moves the pin, at once or after a clean replay")),
        )
        .with_path_items(|path| path.tag("mappings"))
}

/// What a mapping shall be pinned to.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPin {
    module: ModuleDigest,
    settings: Option<Map<String, Value>>,
    connections: Option<BTreeMap<String, ConnectionId>>,
    /// What is granted to a version that asks for more, by the names that the refusal tells.
    #[serde(default)]
    grant: Vec<String>,
    /// In your words, 1 to 1,000 characters; kept with the pin.
    #[schemars(length(min = 1, max = 1000))]
    why: Option<String>,
    after_replay: Option<AfterReplay>,
}

/// What a replay must show before the pin is moved.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AfterReplay {
    /// The latest events of the mapping; fewer if it has fewer.
    #[schemars(range(min = 1, max = 10000))]
    events: u64,
    /// `none` (default): not one difference. `listed`: those at the places in `listed`. What newly fails, or asks for
    /// what it was not told then, is never allowed.
    #[serde(default)]
    allow_diff: AllowDiff,
    /// JSON Pointers into what is compared, `*` for any one part: `/plan/deliveries/order/body/note`. `newly-works` for
    /// events that failed before and work now.
    #[serde(default)]
    listed: Vec<String>,
    /// A replay of this version that is done already (at most a day ago, of all kinds of events); without it one is made,
    /// and the pin moves by itself when it is clean.
    replay: Option<ReplayId>,
    /// Who answers what a run was not told then; for a replay that is made.
    #[serde(default)]
    new_needs: NeedsBy,
}

/// Which differences a promotion allows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum AllowDiff {
    #[default]
    None,
    Listed,
}

/// What became of it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Pinned")]
pub(crate) struct Pinned {
    /// `pinned` (200), or `replaying` (202): the pin moves when the replay is done and clean; see its `promotion`.
    state: &'static str,
    /// The number of the pin in force now.
    pin: u64,
    replay: Option<ReplayId>,
}

impl IntoResponse for Pinned {
    fn into_response(self) -> Response {
        let status = if self.state == "pinned" { StatusCode::OK } else { StatusCode::ACCEPTED };
        (status, axum::Json(self)).into_response()
    }
}

impl OperationOutput for Pinned {
    type Inner = Self;

    fn inferred_responses(ctx: &mut GenContext, _: &mut Operation) -> Vec<(Option<u16>, Documented)> {
        vec![
            (Some(200), answer::json::<Self>(ctx, "The pin was moved.")),
            (Some(202), answer::json::<Self>(ctx, "A replay was begun; the pin moves when it is clean.")),
        ]
    }
}

/// Takes effect with the next run.
pub(crate) async fn pin_mapping(
    State(api): State<Api>,
    caller: InScope<Developer>,
    Id(id): Id<MappingId>,
    seen: IfMatch,
    Json(new): Json<NewPin>,
) -> Result<Pinned, Problem> {
    let _alone = etag::alone(&api, &caller.scope.tenant).await;
    let mapping = api.shared.store.mapping_get(&caller.scope, &id).await?;
    seen.check(&mappings::answer(&mapping))?;
    let events = new.after_replay.as_ref().map_or(0, |after| after.events);
    versions::demand_replay(&api, &caller.scope, events).await?;
    let wanted = Wanted {
        module: Some(new.module),
        settings: new.settings.map(Value::Object),
        connections: new.connections,
        grant: new.grant,
        grants: None,
    };
    let pin = wanted.checked(&api, &mapping).await?.unwrap_or_default();
    let why = new.why.map(|why| Why::new(why).by(&caller, api.shared.clock.now())).transpose()?;
    let pin = PinChange { by: Some(caller.key.to_string()), why: why.map(|decision| decision.why), ..pin };
    match new.after_replay {
        None => moved(&api, &mapping, pin, None).await,
        Some(after) => after_replay(&api, &mapping, pin, after).await,
    }
}

async fn moved(
    api: &Api,
    mapping: &Mapping,
    pin: PinChange,
    replay: Option<ReplayId>,
) -> Result<Pinned, Problem> {
    let pin = Some(PinChange { replay: replay.clone(), ..pin });
    let instead_of = Some(mapping.life.pin);
    let change = MappingChange { pin, instead_of, ..MappingChange::default() };
    let now = api.shared.clock.now();
    let mapping = api.shared.store.mapping_update(&mapping.scope, &mapping.id, change, now).await?;
    api.shared.routes.forget();
    Ok(Pinned { state: "pinned", pin: mapping.life.pin, replay })
}

async fn after_replay(
    api: &Api,
    mapping: &Mapping,
    pin: PinChange,
    after: AfterReplay,
) -> Result<Pinned, Problem> {
    if after.events == 0 || after.events > EVENTS_MAX || after.listed.len() > LISTED_MAX {
        let text = format!("after_replay: 1 to {EVENTS_MAX} events, at most {LISTED_MAX} places");
        return Err(Problem::unprocessable("invalid-replay", text));
    }
    let allowed = (after.allow_diff == AllowDiff::Listed).then_some(after.listed);
    let store = &api.shared.store;
    if let Some(id) = after.replay {
        let replay = store.replay_get(&mapping.scope, &id).await?;
        check_replay(api, (mapping, &pin), &replay, (after.events, allowed.as_deref()))?;
        return moved(api, mapping, pin, Some(id)).await;
    }
    let now = api.shared.clock.now();
    let id = ReplayId::generate(now);
    let new = NewReplay {
        id: id.clone(),
        mapping: mapping.id.clone(),
        module: pin.module.clone().unwrap_or(mapping.module.clone()),
        kind: ReplayKind::Replay,
        by: pin.by.clone().unwrap_or_default(),
        asked: Asked {
            settings: pin.settings.clone().map_or(ReplaySettings::Recorded, ReplaySettings::Given),
            new_needs: after.new_needs.into(),
            promotion: Some(Promotion { pin, allowed, instead_of: mapping.life.pin }),
            ..Asked::default()
        },
        events_max: after.events,
    };
    store.replay_create(&mapping.scope, new, RUNNING_PER_TENANT_MAX, now).await.map_err(busy)?;
    api.shared.replays_due.ring();
    Ok(Pinned { state: "replaying", pin: mapping.life.pin, replay: Some(id) })
}

fn unfit(why: impl std::fmt::Display) -> Problem {
    Problem::unprocessable("replay-unfit", format!("The replay cannot speak for this pin: {why}."))
}

/// Whether a replay shows that the mapping may be given this version and these settings. `demanded`: so many events;
/// `listed`: the places that may differ.
pub(crate) fn check_replay(
    api: &Api,
    (mapping, pin): (&Mapping, &PinChange),
    replay: &Replay,
    (demanded, listed): (u64, Option<&[String]>),
) -> Result<(), Problem> {
    let asked = &replay.asked;
    let settings = pin.settings.as_ref().unwrap_or(&mapping.settings);
    let same_settings = match &asked.settings {
        ReplaySettings::Given(given) => given == settings,
        // Each run's own say nothing about others.
        ReplaySettings::Recorded => *settings == mapping.settings,
    };
    let is_whole =
        asked.kinds.is_empty() && asked.object_id.is_none() && asked.from.is_none() && asked.until.is_none();
    let module = pin.module.as_ref().unwrap_or(&mapping.module);
    let why = if replay.mapping != mapping.id || replay.module != *module {
        Some("it is of another mapping or version")
    } else if replay.kind != ReplayKind::Replay || replay.state != ReplayState::Done {
        Some("it is not done")
    } else if !same_settings {
        Some("it had other settings")
    } else if !is_whole {
        Some("it left out some of the mapping's events")
    } else if asked.without_runs {
        Some("it counts events that the mapping has no run on")
    } else if replay.events_max < demanded {
        Some("it was asked for fewer events")
    } else if api.shared.clock.now().since(replay.created_at) > AGE_MAX {
        Some("it is more than a day old")
    } else {
        None
    };
    if let Some(why) = why {
        return Err(unfit(why));
    }
    if !replay.tally.is_enough(demanded, replay.events_max) {
        let compared = replay.tally.compared();
        return Err(unfit(format_args!("only {compared} events could be compared")));
    }
    replay.tally.check(&listed.map_or(Allowed::None, Allowed::Listed)).map_err(|unclean| {
        let text = "The replay shows differences that are not allowed; see them in …/replays/{id}/items.";
        Problem::unprocessable("replay-differs", text).with("unclean", json!(unclean))
    })
}
