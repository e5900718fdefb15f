//! Keys of a tenant, made by operators.

use std::time::Duration;

use aide::axum::{
    ApiRouter,
    routing::{delete_with, get_with, post_with},
};
use axum::{extract::State, response::NoContent};
use portolan_domain::{Environment, KeyId, TenantId, Timestamp};
use portolan_store::key::{Key, Role};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Api,
    answer::{Created, List, Time},
    auth::{AsHolder, AsOperator, KeySecret, new_key},
    body::Json,
    openapi::op,
    page::{self, Paged},
    params::{Id, Tenant},
    problem::Problem,
    tenants::check_name,
};

pub(crate) fn routes() -> ApiRouter<Api> {
    ApiRouter::new()
        .api_route(
            "/tenants/{tenant}/keys",
            get_with(list_keys, op("list_keys", "The keys of a tenant")).post_with(
                create_key,
                op("create_key", "Makes a key, whose secret is shown here and never again"),
            ),
        )
        .api_route(
            "/tenants/{tenant}/keys/{id}",
            delete_with(delete_key, op("delete_key", "The key opens nothing from now on")),
        )
        .api_route(
            "/key/rotate",
            post_with(rotate_key, op("rotate_key", "A new key in the place of the caller's own")),
        )
        .with_path_items(|path| path.tag("keys"))
}

/// A key to be made.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewKey {
    /// 1 to 100 characters.
    #[schemars(length(min = 1, max = 100))]
    name: String,
    /// One of the tenant's roles.
    role: Role,
    /// Opens this environment alone.
    environment: Option<Environment>,
    /// Seconds until it opens nothing any more; without it, it has no end.
    expires_in_s: Option<u64>,
}

/// How a key is rotated.
#[derive(Deserialize, JsonSchema)]
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

/// The secret is shown here and never again.
pub(crate) async fn create_key(
    State(api): State<Api>,
    _: AsOperator,
    Tenant(tenant): Tenant<TenantId>,
    Json(new): Json<NewKey>,
) -> Result<Created<NewAnswer>, Problem> {
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
    Ok(Created(answer))
}

/// A new key of the same role, tenant and environment in the place of the caller's own, whose
/// secret is shown here and never again. It ends when the old one would have.
pub(crate) async fn rotate_key(
    State(api): State<Api>,
    AsHolder(old): AsHolder,
    Json(KeyRotation { overlap_s }): Json<KeyRotation>,
) -> Result<Created<NewAnswer>, Problem> {
    let now = api.shared.clock.now();
    let made = new_key(old.role, old.tenant, old.environment, &old.name, now);
    let (mut key, secret) = made.map_err(|error| Problem::unavailable(&error))?;
    key.expires_at = old.expires_at;
    let answer = render_new(&key, &secret);
    api.shared.store.key_rotate(&old.id, key, end_of(now, overlap_s)?).await?;
    Ok(Created(answer))
}

fn end_of(from: Timestamp, seconds: u64) -> Result<Timestamp, Problem> {
    if seconds > LASTS_MAX_S {
        return Err(Problem::unprocessable("invalid-key", format!("Give at most {LASTS_MAX_S} seconds.")));
    }
    Ok(from.plus(Duration::from_secs(seconds)))
}

fn render_new(key: &Key, secret: &KeySecret) -> NewAnswer {
    NewAnswer { key: answer(key), secret: secret.expose().to_owned() }
}

pub(crate) async fn list_keys(
    State(api): State<Api>,
    _: AsOperator,
    Tenant(tenant): Tenant<TenantId>,
    Paged(page): Paged,
) -> Result<axum::Json<List<Answer>>, Problem> {
    let keys = api.shared.store.key_list(Some(&tenant), page.clone()).await?;
    Ok(page::answer(&page, &keys, |key| key.id.to_string(), answer))
}

pub(crate) async fn delete_key(
    State(api): State<Api>,
    _: AsOperator,
    Tenant(tenant): Tenant<TenantId>,
    Id(id): Id<KeyId>,
) -> Result<NoContent, Problem> {
    api.shared.store.key_delete(Some(&tenant), &id).await?;
    Ok(NoContent)
}

/// A key, without its secret.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Key")]
pub(crate) struct Answer {
    id: KeyId,
    name: String,
    role: Role,
    /// The only one that it opens; null: all of the tenant's.
    environment: Option<Environment>,
    created_at: Time,
    /// Null: it has no end.
    expires_at: Option<Time>,
    /// To the minute.
    last_used_at: Option<Time>,
}

/// A key that was just made.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "MadeKey")]
pub(crate) struct NewAnswer {
    #[serde(flatten)]
    key: Answer,
    /// `ptk_…`: shown here and never again.
    secret: String,
}

fn answer(key: &Key) -> Answer {
    Answer {
        id: key.id.clone(),
        name: key.name.clone(),
        role: key.role,
        environment: key.environment,
        created_at: key.created_at.into(),
        expires_at: key.expires_at.map(Time::from),
        last_used_at: key.last_used_at.map(Time::from),
    }
}
