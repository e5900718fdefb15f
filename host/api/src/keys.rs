//! Keys of a tenant, made by operators.

use axum::{extract::State, http::StatusCode};
use portolan_domain::{Environment, KeyId, TenantId};
use portolan_store::key::{Key, Role};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    Api,
    auth::{AsOperator, new_key},
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
}

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
    let (key, secret) = made.map_err(|error| Problem::unavailable(&error))?;
    let mut answer = render(&key);
    api.shared.store.key_create(key).await?;
    if let Some(answer) = answer.as_object_mut() {
        answer.insert("secret".to_owned(), json!(secret.expose()));
    }
    Ok((StatusCode::CREATED, axum::Json(answer)))
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
    })
}
