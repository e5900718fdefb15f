//! Tenants, for operators.

use aide::axum::{ApiRouter, routing::get_with};
use axum::extract::State;
use portolan_domain::{KeyId, TenantId, state::TenantState};
use portolan_store::{key::Role, tenant::Tenant};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Api,
    answer::{Created, List, Time},
    auth::{AsOperator, new_key},
    body::Json,
    openapi::op,
    page::{self, Paged},
    problem::Problem,
};

pub(crate) fn routes() -> ApiRouter<Api> {
    ApiRouter::new()
        .api_route(
            "/tenants",
            get_with(list_tenants, op("list_tenants", "All tenants"))
                .post_with(create_tenant, op("create_tenant", "Makes a tenant and its first key")),
        )
        .with_path_items(|path| path.tag("tenants"))
}

/// A tenant to be made.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTenant {
    /// 1 to 100 characters; unique.
    #[schemars(length(min = 1, max = 100))]
    name: String,
}

/// A tenant.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Tenant")]
pub(crate) struct Answer {
    id: TenantId,
    name: String,
    created_at: Time,
    state: TenantState,
    /// Whether its work is paused.
    paused: bool,
}

/// A tenant that was just made.
#[derive(Serialize, JsonSchema)]
pub(crate) struct MadeTenant {
    #[serde(flatten)]
    tenant: Answer,
    /// Its first key.
    key: FirstKey,
}

/// A key whose secret is shown here and never again.
#[derive(Serialize, JsonSchema)]
pub(crate) struct FirstKey {
    id: KeyId,
    role: Role,
    /// `ptk_…`
    secret: String,
}

/// The key is shown here and never again.
pub(crate) async fn create_tenant(
    State(api): State<Api>,
    _: AsOperator,
    Json(new): Json<NewTenant>,
) -> Result<Created<MadeTenant>, Problem> {
    check_name(&new.name)?;
    let now = api.shared.clock.now();
    let tenant = Tenant::new(new.name, now);
    let made = new_key(Role::TenantAdmin, Some(tenant.id.clone()), None, "first key", now);
    let (key, secret) = made.map_err(|error| Problem::unavailable(&error))?;
    let first = FirstKey { id: key.id.clone(), role: key.role, secret: secret.expose().to_owned() };
    let answer = MadeTenant { tenant: answer(&tenant), key: first };
    api.shared.store.tenant_create_with_key(tenant, key).await?;
    Ok(Created(answer))
}

pub(crate) async fn list_tenants(
    State(api): State<Api>,
    _: AsOperator,
    Paged(page): Paged,
) -> Result<axum::Json<List<Answer>>, Problem> {
    let tenants = api.shared.store.tenant_list(page.clone()).await?;
    Ok(page::answer(&page, &tenants, |tenant| tenant.id.to_string(), answer))
}

fn answer(tenant: &Tenant) -> Answer {
    Answer {
        id: tenant.id.clone(),
        name: tenant.name.clone(),
        created_at: tenant.created_at.into(),
        state: tenant.state,
        paused: tenant.paused,
    }
}

/// Names of tenants, sources, connections, mappings and keys.
pub(crate) fn check_name(name: &str) -> Result<(), Problem> {
    let fits = !name.trim().is_empty() && name.chars().count() <= 100 && !name.chars().any(char::is_control);
    if fits {
        return Ok(());
    }
    Err(Problem::unprocessable("invalid-name", "A name has 1 to 100 characters and no control characters."))
}
