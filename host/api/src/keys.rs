//! Keys: a tenant's admin makes those of the tenant, an operator those of every tenant.

use std::time::Duration;

use aide::axum::{
    ApiRouter,
    routing::{delete_with, get_with, post_with},
};
use axum::{extract::State, response::NoContent};
use portolan_domain::{Environment, KeyId, TenantId, Timestamp};
use portolan_store::{
    Page,
    key::{Key, Role},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Api,
    answer::{Created, List, Time},
    auth::{Admin, AsHolder, AsOperator, KeySecret, OfTenant, new_key},
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
            "/keys",
            get_with(list_own_keys, op("list_keys", "The tenant's own keys")).post_with(
                create_own_key,
                op("create_key", "Makes a key, whose secret is shown here and never again"),
            ),
        )
        .api_route(
            "/keys/{id}",
            delete_with(delete_own_key, op("delete_key", "The key opens nothing from now on")),
        )
        .api_route(
            "/tenants/{tenant}/keys",
            get_with(list_keys, op("list_tenant_keys", "The keys of a tenant"))
                .post_with(create_key, op("create_tenant_key", "Makes a key of a tenant")),
        )
        .api_route(
            "/tenants/{tenant}/keys/{id}",
            delete_with(delete_key, op("delete_tenant_key", "Ends a key of a tenant")),
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

/// A key that is bound to an environment makes keys that are bound to it, and to none else.
pub(crate) async fn create_own_key(
    State(api): State<Api>,
    caller: OfTenant<Admin>,
    Json(new): Json<NewKey>,
) -> Result<Created<NewAnswer>, Problem> {
    if caller.environment.is_some() && new.environment != caller.environment {
        let text = "A key that is bound to an environment makes keys of that environment: name it.";
        return Err(Problem::unprocessable("invalid-role", text));
    }
    make(&api, &caller.tenant, new).await
}

pub(crate) async fn list_own_keys(
    State(api): State<Api>,
    caller: OfTenant<Admin>,
    Paged(page): Paged,
) -> Result<axum::Json<List<Answer>>, Problem> {
    let keys = api.shared.store.key_list(Some(&caller.tenant), page.clone()).await?;
    Ok(page::answer(&page, &keys, |key| key.id.to_string(), answer))
}

pub(crate) async fn delete_own_key(
    State(api): State<Api>,
    caller: OfTenant<Admin>,
    Id(id): Id<KeyId>,
) -> Result<NoContent, Problem> {
    if caller.environment.is_some() {
        let key = find(&api, &caller.tenant, &id).await?;
        if key.environment != caller.environment {
            return Err(Problem::not_found());
        }
    }
    api.shared.store.key_delete(Some(&caller.tenant), &id).await?;
    Ok(NoContent)
}

/// A key of a tenant: it has few.
async fn find(api: &Api, tenant: &TenantId, id: &KeyId) -> Result<Key, Problem> {
    let mut page = Page { before: None, rows_max: 500 };
    loop {
        let keys = api.shared.store.key_list(Some(tenant), page.clone()).await?;
        let last = keys.last().map(|key| key.id.to_string());
        let full = keys.len() >= 500;
        if let Some(key) = keys.into_iter().find(|key| key.id == *id) {
            return Ok(key);
        }
        if !full {
            return Err(Problem::not_found());
        }
        page.before = last;
    }
}

/// The secret is shown here and never again.
pub(crate) async fn create_key(
    State(api): State<Api>,
    _: AsOperator,
    Tenant(tenant): Tenant<TenantId>,
    Json(new): Json<NewKey>,
) -> Result<Created<NewAnswer>, Problem> {
    make(&api, &tenant, new).await
}

async fn make(api: &Api, tenant: &TenantId, new: NewKey) -> Result<Created<NewAnswer>, Problem> {
    check_name(&new.name)?;
    if new.role == Role::Operator {
        return Err(Problem::unprocessable("invalid-role", "A tenant's key has one of the tenant's roles."));
    }
    let tenant = api.shared.store.tenant_get(tenant).await?;
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
