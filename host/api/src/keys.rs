//! Keys of a tenant, made by operators.

use std::time::Duration;

use axum::{extract::State, http::StatusCode};
use portolan_domain::{Environment, KeyId, TenantId, Timestamp};
use portolan_store::key::{Key, Role};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    Api,
    auth::{AsHolder, AsOperator, KeySecret, new_key},
    body::Json,
    page::{self, Paged},
    params::{Id, Tenant},
    problem::Problem,
    tenants::check_name,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewKey {
    name: String,
    role: Role,
    environment: Option<Environment>,
    /// Seconds until it opens nothing any more; without it, it has no end.
    expires_in_s: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyRotation {
    /// For how many seconds the old key still opens what it opened.
    #[serde(default = "overlap_default")]
    overlap_s: u64,
}

const fn overlap_default() -> u64 {
    3_600
}

/// Ten years, in seconds: no key lasts longer once it has an end, and no rotation takes longer.
const LASTS_MAX_S: u64 = 10 * 366 * 86_400;

/// `POST /api/v1/tenants/{tenant}/keys`: the secret is shown here and never again.
pub(crate) async fn create_key(
    State(api): State<Api>,
    _: AsOperator,
    Tenant(tenant): Tenant<TenantId>,
    Json(new): Json<NewKey>,
) -> Result<(StatusCode, axum::Json<Value>), Problem> {
    check_name(&new.name)?;
    if new.role == Role::Operator {
        return Err(Problem::unprocessable("invalid-role", "A tenant's key has one of the tenant's roles."));
    }
    let tenant = api.shared.store.tenant_get(&tenant).await?;
    let made = new_key(new.role, Some(tenant.id), new.environment, &new.name, api.shared.clock.now());
    let (mut key, secret) = made.map_err(|error| Problem::unavailable(&error))?;
    key.expires_at = new.expires_in_s.map(|seconds| end_of(key.created_at, seconds)).transpose()?;
    let answer = render_new(&key, &secret);
    api.shared.store.key_create(key).await?;
    Ok((StatusCode::CREATED, axum::Json(answer)))
}

/// `POST /api/v1/key/rotate`: a new key of the same role, tenant and environment in the place of the caller's own, whose
/// secret is shown here and never again. It ends when the old one would have.
pub(crate) async fn rotate_key(
    State(api): State<Api>,
    AsHolder(old): AsHolder,
    Json(KeyRotation { overlap_s }): Json<KeyRotation>,
) -> Result<(StatusCode, axum::Json<Value>), Problem> {
    let now = api.shared.clock.now();
    let made = new_key(old.role, old.tenant, old.environment, &old.name, now);
    let (mut key, secret) = made.map_err(|error| Problem::unavailable(&error))?;
    key.expires_at = old.expires_at;
    let answer = render_new(&key, &secret);
    api.shared.store.key_rotate(&old.id, key, end_of(now, overlap_s)?).await?;
    Ok((StatusCode::CREATED, axum::Json(answer)))
}

fn end_of(from: Timestamp, seconds: u64) -> Result<Timestamp, Problem> {
    if seconds > LASTS_MAX_S {
        return Err(Problem::unprocessable("invalid-key", format!("Give at most {LASTS_MAX_S} seconds.")));
    }
    Ok(from.plus(Duration::from_secs(seconds)))
}

fn render_new(key: &Key, secret: &KeySecret) -> Value {
    let mut answer = render(key);
    if let Some(answer) = answer.as_object_mut() {
        answer.insert("secret".to_owned(), json!(secret.expose()));
    }
    answer
}

/// `GET /api/v1/tenants/{tenant}/keys`
pub(crate) async fn list_keys(
    State(api): State<Api>,
    _: AsOperator,
    Tenant(tenant): Tenant<TenantId>,
    Paged(page): Paged,
) -> Result<axum::Json<Value>, Problem> {
    let keys = api.shared.store.key_list(Some(&tenant), page.clone()).await?;
    Ok(axum::Json(page::answer(&page, &keys, |key| key.id.to_string(), render)))
}

/// `DELETE /api/v1/tenants/{tenant}/keys/{id}`: the key opens nothing from now on.
pub(crate) async fn delete_key(
    State(api): State<Api>,
    _: AsOperator,
    Tenant(tenant): Tenant<TenantId>,
    Id(id): Id<KeyId>,
) -> Result<StatusCode, Problem> {
    api.shared.store.key_delete(Some(&tenant), &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn render(key: &Key) -> Value {
    json!({
        "id": key.id,
        "name": key.name,
        "role": key.role,
        "environment": key.environment,
        "created_at": key.created_at.to_string(),
        "expires_at": key.expires_at.map(|at| at.to_string()),
        "last_used_at": key.last_used_at.map(|at| at.to_string()),
    })
}
