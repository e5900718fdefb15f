//! The kill switches of a module and of a whole tenant: what is stopped waits, and is lost by nobody. Those of a mapping and
//! of a connection stand with their nouns.

use aide::axum::{ApiRouter, routing::post_with};
use axum::{extract::State, response::NoContent};
use portolan_domain::ModuleDigest;
use portolan_store::run::Decision;

use crate::{Api, auth::OfWholeTenant, body::Json, openapi::op, params::Digest, problem::Problem, runs::Why};

pub(crate) fn routes() -> ApiRouter<Api> {
    ApiRouter::new()
        .api_route(
            "/modules/{digest}/pause",
            post_with(pause_module, op("pause_module", "Has the events of its mappings wait")),
        )
        .api_route(
            "/modules/{digest}/resume",
            post_with(resume_module, op("resume_module", "Has it executed again")),
        )
        .with_path_items(|path| path.tag("modules"))
        .merge(of_tenant())
}

fn of_tenant() -> ApiRouter<Api> {
    ApiRouter::new()
        .api_route(
            "/tenant/pause",
            post_with(
                pause_tenant,
                op("pause_tenant", "Has all runs and deliveries of the tenant wait; events are taken in"),
            ),
        )
        .api_route("/tenant/resume", post_with(resume_tenant, op("unpause_tenant", "Has them go on")))
        .with_path_items(|path| path.tag("tenants"))
}

/// The runs of mappings that are pinned to it are not begun until it is resumed, in every environment; what arrives
/// meanwhile is stored and waits. A canary of it gets no objects, a shadow of it waits.
pub(crate) async fn pause_module(
    State(api): State<Api>,
    caller: OfWholeTenant,
    Digest(digest): Digest<ModuleDigest>,
    Json(why): Json<Why>,
) -> Result<NoContent, Problem> {
    let decision = decision(&api, why)?;
    api.shared.store.module_pause(&caller.tenant, &digest, decision).await?;
    api.shared.routes.forget();
    Ok(NoContent)
}

/// What waited is executed in its order.
pub(crate) async fn resume_module(
    State(api): State<Api>,
    caller: OfWholeTenant,
    Digest(digest): Digest<ModuleDigest>,
    Json(why): Json<Why>,
) -> Result<NoContent, Problem> {
    let decision = decision(&api, why)?;
    api.shared.store.module_resume(&caller.tenant, &digest, decision).await?;
    api.shared.routes.forget();
    api.shared.runs_due.ring();
    api.shared.replays_due.ring();
    Ok(NoContent)
}

/// Its events are taken in and wait; runs and calls that are under way end.
pub(crate) async fn pause_tenant(
    State(api): State<Api>,
    OfWholeTenant { tenant }: OfWholeTenant,
    Json(why): Json<Why>,
) -> Result<NoContent, Problem> {
    let decision = decision(&api, why)?;
    api.shared.store.tenant_pause(&tenant, decision).await?;
    Ok(NoContent)
}

/// What waited goes on in its order.
pub(crate) async fn resume_tenant(
    State(api): State<Api>,
    OfWholeTenant { tenant }: OfWholeTenant,
    Json(why): Json<Why>,
) -> Result<NoContent, Problem> {
    let decision = decision(&api, why)?;
    api.shared.store.tenant_go_on(&tenant, decision).await?;
    api.shared.runs_due.ring();
    api.shared.deliveries_due.ring();
    api.shared.replays_due.ring();
    Ok(NoContent)
}

/// A decision by whoever makes this request.
fn decision(api: &Api, why: Why) -> Result<Decision, Problem> {
    why.by_key(portolan_store::audit::actor().by, api.shared.clock.now())
}
