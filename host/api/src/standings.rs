//! How tenants stand: whether they are served, what they may use, how long things are kept, and their end.

use std::{collections::BTreeMap, time::Duration};

use aide::axum::{
    ApiRouter,
    routing::{get_with, post_with, put_with},
};
use axum::{extract::State, http::StatusCode, response::NoContent};
use portolan_domain::{
    KeyId, TenantId,
    quota::{QuotaChange, Quotas},
    retention::{Retention, RetentionChange},
    state::TenantState,
};
use portolan_store::{run::Decision, standing::Standing};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Api,
    answer::{Tagged, Time},
    auth::{AsOperator, OfTenant, OfWholeTenant, Viewer},
    body::Json,
    desk::DecisionAnswer,
    etag::{self, IfMatch, Seen},
    openapi::op,
    params::Tenant,
    problem::Problem,
};

/// The longest time that may be given before a tenant is removed, in days.
const DELETE_DAYS_MAX: u32 = 366;

pub(crate) fn routes() -> ApiRouter<Api> {
    ApiRouter::new()
        .api_route(
            "/tenant",
            get_with(get_own_tenant, op("get_own_tenant", "How the key's own tenant stands")),
        )
        .api_route(
            "/retention",
            put_with(
                put_own_retention,
                op("put_own_retention", "How long what is finished is kept: shorter only"),
            ),
        )
        .api_route("/tenants/{tenant}", get_with(get_tenant, op("get_tenant", "How a tenant stands")))
        .api_route(
            "/tenants/{tenant}/quotas",
            put_with(put_quotas, op("put_quotas", "Sets what a tenant may use")),
        )
        .api_route(
            "/tenants/{tenant}/retention",
            put_with(put_retention, op("put_retention", "Sets how long what is finished is kept")),
        )
        .api_route(
            "/tenants/{tenant}/suspend",
            post_with(suspend_tenant, op("suspend_tenant", "Stops a tenant; nothing is lost")),
        )
        .api_route(
            "/tenants/{tenant}/resume",
            post_with(resume_tenant, op("resume_tenant", "Lets a tenant be served again")),
        )
        .api_route(
            "/tenants/{tenant}/delete",
            post_with(
                delete_tenant,
                op("delete_tenant", "Suspends a tenant, and has it removed when its time has come"),
            ),
        )
        .api_route(
            "/tenants/{tenant}/delete/confirm",
            post_with(
                confirm_delete,
                op("confirm_delete_tenant", "Has a tenant removed now, with all that is its"),
            ),
        )
        .with_path_items(|path| path.tag("tenants"))
}

/// Why an operator decides so.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "OperatorsWhy")]
#[serde(deny_unknown_fields)]
pub(crate) struct Why {
    /// 1 to 1,000 characters.
    #[schemars(length(min = 1, max = 1000))]
    why: String,
}

/// That a tenant is to be removed.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewDelete {
    /// 1 to 1,000 characters.
    #[schemars(length(min = 1, max = 1000))]
    why: String,
    /// After so many days it is removed without anybody's word: 1 to 366. Until then `resume` takes it back.
    #[serde(default = "delete_days_default")]
    #[schemars(range(min = 1, max = 366))]
    after_days: u32,
}

const fn delete_days_default() -> u32 {
    30
}

/// That a tenant is to be removed now. There is no way back.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeleteConfirmation {
    /// 1 to 1,000 characters.
    #[schemars(length(min = 1, max = 1000))]
    why: String,
    /// The tenant's name, so that nobody removes another by mistake.
    name: String,
    /// The `x-portolan-sha256` of the tenant's latest export, in hex.
    export_sha256: String,
}

/// A tenant, and how it stands.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TenantStanding")]
pub(crate) struct Answer {
    id: TenantId,
    name: String,
    created_at: Time,
    state: TenantState,
    /// Who paused its work, and why; then its events wait. Null when nobody did.
    paused: Option<DecisionAnswer>,
    /// Who decided on its state: a key's id, or `host`; null while nobody has.
    decided_by: Option<String>,
    why: Option<String>,
    decided_at: Option<Time>,
    /// When a tenant in state `deleting` is removed without anybody's word.
    ends_at: Option<Time>,
    /// What it may use.
    quotas: Quotas,
    /// Which of these an operator has set for it; the others are the host's defaults.
    quotas_set: QuotaChange,
    /// How long what is finished is kept, in days.
    retention: Retention,
    /// Which of these were set for it; the others are the host's defaults.
    retention_set: RetentionChange,
    stored_bytes: u64,
    modules: u64,
    module_bytes: u64,
    /// How often each quota was exceeded since this host was started.
    exceeded: BTreeMap<&'static str, u64>,
}

impl Seen for Answer {
    fn tag(&self) -> String {
        // What it uses changes by itself.
        etag::of(&(&self.id, self.state, &self.why, &self.quotas_set, &self.retention_set))
    }
}

fn answer(api: &Api, standing: &Standing, paused: Option<&Decision>) -> Answer {
    let tenant = &standing.tenant;
    let decided = standing.decided.as_ref();
    let exceeded = api.shared.tenants.exceeded(&tenant.id);
    Answer {
        id: tenant.id.clone(),
        name: tenant.name.clone(),
        created_at: tenant.created_at.into(),
        state: tenant.state,
        paused: paused.map(DecisionAnswer::from),
        decided_by: decided.map(|decided| decided.by.clone()),
        why: decided.map(|decided| decided.why.clone()),
        decided_at: decided.map(|decided| decided.at.into()),
        ends_at: standing.ends_at.map(Time::from),
        quotas: api.shared.settings.quotas.with(&standing.quotas),
        quotas_set: standing.quotas,
        retention: api.shared.settings.retention.with(&standing.retention),
        retention_set: standing.retention,
        stored_bytes: standing.stored_bytes,
        modules: standing.modules,
        module_bytes: standing.module_bytes,
        exceeded: exceeded.into_iter().map(|(quota, count)| (quota.as_str(), count)).collect(),
    }
}

async fn seen(api: &Api, tenant: &TenantId) -> Result<Answer, Problem> {
    let standing = api.shared.store.standing(tenant).await?;
    let paused = api.shared.store.tenant_paused(tenant).await?;
    Ok(answer(api, &standing, paused.as_ref()))
}

pub(crate) async fn get_tenant(
    State(api): State<Api>,
    _: AsOperator,
    Tenant(tenant): Tenant<TenantId>,
) -> Result<Tagged<Answer>, Problem> {
    Ok(Tagged(seen(&api, &tenant).await?))
}

pub(crate) async fn get_own_tenant(
    State(api): State<Api>,
    caller: OfTenant<Viewer>,
) -> Result<Tagged<Answer>, Problem> {
    Ok(Tagged(seen(&api, &caller.tenant).await?))
}

/// All of them at once: what is not named is the host's default again.
pub(crate) async fn put_quotas(
    State(api): State<Api>,
    _: AsOperator,
    Tenant(tenant): Tenant<TenantId>,
    if_match: IfMatch,
    Json(quotas): Json<QuotaChange>,
) -> Result<Tagged<Answer>, Problem> {
    let checked = api.shared.settings.quotas.with(&quotas).check();
    checked.map_err(|error| Problem::unprocessable("invalid-quota", error.to_string()))?;
    let _alone = etag::alone(&api, &tenant).await;
    if_match.check(&seen(&api, &tenant).await?)?;
    api.shared.store.quotas_put(&tenant, quotas).await?;
    heed(&api, &tenant).await?;
    Ok(Tagged(seen(&api, &tenant).await?))
}

/// All of them at once: what is not named is the host's default again.
pub(crate) async fn put_retention(
    State(api): State<Api>,
    _: AsOperator,
    Tenant(tenant): Tenant<TenantId>,
    if_match: IfMatch,
    Json(retention): Json<RetentionChange>,
) -> Result<Tagged<Answer>, Problem> {
    let _alone = etag::alone(&api, &tenant).await;
    if_match.check(&seen(&api, &tenant).await?)?;
    set_retention(&api, &tenant, retention).await
}

/// All of them at once: what is not named is the host's default again. None may be longer than that, or than it is now:
/// an operator can make them longer.
pub(crate) async fn put_own_retention(
    State(api): State<Api>,
    caller: OfWholeTenant,
    if_match: IfMatch,
    Json(retention): Json<RetentionChange>,
) -> Result<Tagged<Answer>, Problem> {
    let _alone = etag::alone(&api, &caller.tenant).await;
    let before = seen(&api, &caller.tenant).await?;
    if_match.check(&before)?;
    let defaults = api.shared.settings.retention;
    let wanted = defaults.with(&retention);
    if let Some(name) = wanted.longer_than(&defaults.longest(&before.retention)) {
        let text = format!("{name}: a tenant can only have it shorter; ask the operator.");
        return Err(Problem::unprocessable("invalid-retention", text));
    }
    set_retention(&api, &caller.tenant, retention).await
}

async fn set_retention(
    api: &Api,
    tenant: &TenantId,
    retention: RetentionChange,
) -> Result<Tagged<Answer>, Problem> {
    let checked = api.shared.settings.retention.with(&retention).check();
    checked.map_err(|error| Problem::unprocessable("invalid-retention", error.to_string()))?;
    api.shared.store.retention_put(tenant, retention).await?;
    Ok(Tagged(seen(api, tenant).await?))
}

/// Nothing is taken in (its hooks answer 503 with `Retry-After`), no run and no delivery begins; what is under way ends.
pub(crate) async fn suspend_tenant(
    State(api): State<Api>,
    caller: AsOperator,
    Tenant(tenant): Tenant<TenantId>,
    Json(Why { why }): Json<Why>,
) -> Result<NoContent, Problem> {
    let decision = decision(&api, caller.key, why)?;
    api.shared.store.tenant_suspend(&tenant, decision).await?;
    heed(&api, &tenant).await?;
    Ok(NoContent)
}

/// Everything goes on where it stood. Takes back that it is to be removed, too.
pub(crate) async fn resume_tenant(
    State(api): State<Api>,
    caller: AsOperator,
    Tenant(tenant): Tenant<TenantId>,
    Json(Why { why }): Json<Why>,
) -> Result<NoContent, Problem> {
    let decision = decision(&api, caller.key, why)?;
    api.shared.store.tenant_resume(&tenant, decision).await?;
    heed(&api, &tenant).await?;
    api.shared.runs_due.ring();
    api.shared.deliveries_due.ring();
    Ok(NoContent)
}

pub(crate) async fn delete_tenant(
    State(api): State<Api>,
    caller: AsOperator,
    Tenant(tenant): Tenant<TenantId>,
    Json(NewDelete { why, after_days }): Json<NewDelete>,
) -> Result<Tagged<Answer>, Problem> {
    if !(1..=DELETE_DAYS_MAX).contains(&after_days) {
        let text = format!("after_days: from 1 to {DELETE_DAYS_MAX}.");
        return Err(Problem::unprocessable("invalid-decision", text));
    }
    let decision = decision(&api, caller.key, why)?;
    let ends_at = decision.at.plus(Duration::from_secs(u64::from(after_days) * 86_400));
    api.shared.store.tenant_delete(&tenant, ends_at, decision).await?;
    heed(&api, &tenant).await?;
    Ok(Tagged(seen(&api, &tenant).await?))
}

/// Names the tenant, and the digest of a finished export, so that what it had is not lost. Its keys open nothing from now
/// on; its rows are removed in the background.
pub(crate) async fn confirm_delete(
    State(api): State<Api>,
    caller: AsOperator,
    Tenant(tenant): Tenant<TenantId>,
    Json(confirmation): Json<DeleteConfirmation>,
) -> Result<NoContent, Problem> {
    let decision = decision(&api, caller.key, confirmation.why)?;
    let standing = api.shared.store.standing(&tenant).await?;
    let mut sha256 = [0; 32];
    let is_read = hex::decode_to_slice(&confirmation.export_sha256, &mut sha256).is_ok();
    let is_known = is_read && api.shared.store.export_known(&tenant, sha256).await?;
    if standing.tenant.name != confirmation.name || !is_known {
        let text = "Name the tenant as it is called, and the `x-portolan-sha256` of its latest export.";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "not-confirmed", text));
    }
    api.shared.store.tenant_delete_confirm(&tenant, decision).await?;
    heed(&api, &tenant).await?;
    Ok(NoContent)
}

fn decision(api: &Api, by: KeyId, why: String) -> Result<Decision, Problem> {
    if why.trim().is_empty() || why.chars().count() > 1_000 {
        return Err(Problem::unprocessable("invalid-decision", "Say why, in 1 to 1,000 characters."));
    }
    Ok(Decision { by: by.to_string(), why, at: api.shared.clock.now() })
}

/// This host heeds a change at once.
async fn heed(api: &Api, tenant: &TenantId) -> Result<(), Problem> {
    api.shared.tenants.forget(tenant);
    api.shared.routes.forget();
    Ok(api.shared.tenants.look().await?)
}
