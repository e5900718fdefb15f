//! What an environment asks of those who decide, and what waits for a second key.

use axum::{extract::State, response::Response};
use portolan_store::{
    desk::{EnvironmentSettings, Past, Proposal},
    run::Decision,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    Api,
    auth::{Admin, InScope, Viewer},
    body::Json,
    problem::Problem,
    runs::{Why, answer},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangedSettings {
    why: String,
    four_eyes: bool,
}

/// `GET …/settings`
pub(crate) async fn get_settings(
    State(api): State<Api>,
    caller: InScope<Viewer>,
) -> Result<axum::Json<Value>, Problem> {
    let settings = api.shared.store.environment_settings(&caller.scope).await?;
    Ok(axum::Json(json!({ "four_eyes": settings.four_eyes })))
}

/// `PUT …/settings`: to give up four eyes takes four eyes.
pub(crate) async fn put_settings(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Json(ChangedSettings { why, four_eyes }): Json<ChangedSettings>,
) -> Result<Response, Problem> {
    let decision = Why::new(why).by(&caller, api.shared.clock.now())?;
    let settings = EnvironmentSettings { four_eyes };
    Ok(answer(api.shared.store.environment_settings_put(&caller.scope, settings, decision).await?))
}

/// `GET …/proposals`: what waits for a second key. To confirm one, make its request with another key.
pub(crate) async fn list_proposals(
    State(api): State<Api>,
    caller: InScope<Viewer>,
) -> Result<axum::Json<Value>, Problem> {
    let proposals = api.shared.store.proposal_list(&caller.scope).await?;
    let items: Vec<Value> = proposals.iter().map(render_proposal).collect();
    Ok(axum::Json(json!({ "items": items, "next": null })))
}

fn render_proposal(proposal: &Proposal) -> Value {
    json!({
        "subject": proposal.subject,
        "action": proposal.action,
        "content": proposal.content,
        "proposed": render_decision(&proposal.decision),
    })
}

/// A decision as it is kept.
pub(crate) fn render_past(past: &Past) -> Value {
    json!({
        "action": past.action,
        "decided": render_decision(&past.decision),
        "proposed": past.proposed.as_ref().map(render_decision),
    })
}

fn render_decision(decision: &Decision) -> Value {
    json!({ "by": decision.by, "why": decision.why, "at": decision.at.to_string() })
}
