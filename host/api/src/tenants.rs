//! Tenants, for operators.

use axum::{extract::State, http::StatusCode};
use portolan_domain::TenantId;
use portolan_store::{key::Role, tenant::Tenant};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    Api,
    auth::{AsOperator, new_key},
    body::Json,
    page::{self, Paged},
    problem::Problem,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTenant {
    name: String,
}

/// `POST /api/v1/tenants`: makes a tenant and its first key, which is shown here and never again.
pub(crate) async fn create_tenant(
    State(api): State<Api>,
    _: AsOperator,
    Json(new): Json<NewTenant>,
) -> Result<(StatusCode, axum::Json<Value>), Problem> {
    check_name(&new.name)?;
    let now = api.shared.clock.now();
    let tenant = Tenant { id: TenantId::generate(now), name: new.name, created_at: now };
    let made = new_key(Role::TenantAdmin, Some(tenant.id.clone()), None, "first key", now);
    let (key, secret) = made.map_err(|error| Problem::unavailable(&error))?;
    let mut answer = render(&tenant);
    api.shared.store.tenant_create(tenant).await?;
    let key_id = key.id.clone();
    api.shared.store.key_create(key).await?;
    if let Some(answer) = answer.as_object_mut() {
        answer.insert(
            "key".to_owned(),
            json!({ "id": key_id, "role": "tenant-admin", "secret": secret.expose() }),
        );
    }
    Ok((StatusCode::CREATED, axum::Json(answer)))
}

/// `GET /api/v1/tenants`
pub(crate) async fn list_tenants(
    State(api): State<Api>,
    _: AsOperator,
    Paged(page): Paged,
) -> Result<axum::Json<Value>, Problem> {
    let tenants = api.shared.store.tenant_list(page.clone()).await?;
    Ok(axum::Json(page::answer(&page, &tenants, |tenant| tenant.id.to_string(), render)))
}

fn render(tenant: &Tenant) -> Value {
    json!({ "id": tenant.id, "name": tenant.name, "created_at": tenant.created_at.to_string() })
}

/// Names of tenants, sources, connections, mappings and keys.
pub(crate) fn check_name(name: &str) -> Result<(), Problem> {
    let fits = !name.trim().is_empty() && name.chars().count() <= 100 && !name.chars().any(char::is_control);
    if fits {
        return Ok(());
    }
    Err(Problem::unprocessable("invalid-name", "A name has 1 to 100 characters and no control characters."))
}
