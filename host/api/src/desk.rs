//! What an environment asks of those who decide, and what waits for a second key.

use aide::axum::{ApiRouter, routing::get_with};
use axum::extract::State;
use portolan_pipeline::replayer::EVENTS_MAX;
use portolan_store::{
    desk::{EnvironmentSettings, Past, Proposal},
    run::Decision,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Api,
    answer::{List, Settled, Tagged, Time},
    auth::{Admin, InScope, Viewer},
    body::Json,
    etag::{self, IfMatch, Seen},
    openapi::op,
    problem::Problem,
    runs::Why,
};

pub(crate) fn routes() -> ApiRouter<Api> {
    ApiRouter::new()
        .api_route(
            "/settings",
            get_with(get_settings, op("get_settings", "What the environment asks for"))
                .put_with(put_settings, op("put_settings", "Changes what the environment asks for")),
        )
        .api_route(
            "/proposals",
            get_with(list_proposals, op("list_proposals", "What waits for a second key")),
        )
        .with_path_items(|path| path.tag("environment"))
}

/// What an environment shall ask for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangedSettings {
    why: String,
    /// Whether decisions that may double or forge a document take two keys.
    four_eyes: bool,
    /// A pin is moved only after a clean replay of at least so many events, or of all that there are; 0: without.
    #[serde(default)]
    #[schemars(range(max = 10000))]
    replay_events_min: u64,
}

/// What an environment asks for.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "EnvironmentSettings")]
pub(crate) struct SettingsAnswer {
    /// Whether decisions that may double or forge a document take two keys.
    four_eyes: bool,
    /// A pin is moved only after a clean replay of at least so many events, or of all that there are; 0: without.
    replay_events_min: u64,
}

impl Seen for SettingsAnswer {}

impl From<EnvironmentSettings> for SettingsAnswer {
    fn from(settings: EnvironmentSettings) -> Self {
        Self { four_eyes: settings.four_eyes, replay_events_min: settings.replay_events_min }
    }
}

pub(crate) async fn get_settings(
    State(api): State<Api>,
    caller: InScope<Viewer>,
) -> Result<Tagged<SettingsAnswer>, Problem> {
    Ok(Tagged(api.shared.store.environment_settings(&caller.scope).await?.into()))
}

/// To give up four eyes takes four eyes.
pub(crate) async fn put_settings(
    State(api): State<Api>,
    caller: InScope<Admin>,
    seen: IfMatch,
    Json(ChangedSettings { why, four_eyes, replay_events_min }): Json<ChangedSettings>,
) -> Result<Settled, Problem> {
    let decision = Why::new(why).by(&caller, api.shared.clock.now())?;
    let _alone = etag::alone(&api, &caller.scope.tenant).await;
    seen.check(&SettingsAnswer::from(api.shared.store.environment_settings(&caller.scope).await?))?;
    let settings = EnvironmentSettings { four_eyes, replay_events_min };
    check(settings)?;
    Ok(Settled(api.shared.store.environment_settings_put(&caller.scope, settings, decision).await?))
}

/// Whether an environment may ask for this.
pub(crate) fn check(settings: EnvironmentSettings) -> Result<(), Problem> {
    if settings.replay_events_min > EVENTS_MAX {
        let text = format!("replay_events_min: at most {EVENTS_MAX}");
        return Err(Problem::unprocessable("invalid-settings", text));
    }
    Ok(())
}

/// To confirm one, make its request with another key.
pub(crate) async fn list_proposals(
    State(api): State<Api>,
    caller: InScope<Viewer>,
) -> Result<axum::Json<List<ProposalAnswer>>, Problem> {
    let proposals = api.shared.store.proposal_list(&caller.scope).await?;
    Ok(List::whole(proposals.into_iter().map(ProposalAnswer::from)))
}

/// A decision that waits for a second key.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Proposal")]
pub(crate) struct ProposalAnswer {
    /// A run's or delivery's id, or the environment.
    subject: String,
    action: String,
    /// What else the decision says; null when nothing.
    content: Value,
    proposed: DecisionAnswer,
}

impl From<Proposal> for ProposalAnswer {
    fn from(proposal: Proposal) -> Self {
        let proposed = DecisionAnswer::from(&proposal.decision);
        Self { subject: proposal.subject, action: proposal.action, content: proposal.content, proposed }
    }
}

/// A decision as it is kept.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PastDecision")]
pub(crate) struct PastAnswer {
    action: String,
    decided: DecisionAnswer,
    /// Who had proposed it, where four eyes were asked for.
    proposed: Option<DecisionAnswer>,
}

impl From<&Past> for PastAnswer {
    fn from(past: &Past) -> Self {
        Self {
            action: past.action.clone(),
            decided: DecisionAnswer::from(&past.decision),
            proposed: past.proposed.as_ref().map(DecisionAnswer::from),
        }
    }
}

/// Who decided, and why.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Decision")]
pub(crate) struct DecisionAnswer {
    /// A key's id.
    by: String,
    why: String,
    at: Time,
}

impl From<&Decision> for DecisionAnswer {
    fn from(decision: &Decision) -> Self {
        Self { by: decision.by.clone(), why: decision.why.clone(), at: decision.at.into() }
    }
}
