//! Modules: uploaded, checked, compiled elsewhere, described, stored.

use std::time::Duration;

use axum::{
    extract::{Request, State},
    http::StatusCode,
};
use portolan_domain::ModuleDigest;
use portolan_sandbox::{AdmitError, ModuleLimits};
use portolan_store::module::Module;
use serde_json::{Value, json};

use crate::{
    Api,
    auth::{Developer, OfTenant, Viewer},
    body,
    page::{self, Paged},
    params::Digest,
    problem::Problem,
};

/// `POST /api/v1/modules`: the body is the component (or a core module that carries the component type). 201
/// when it is new, 200 when the tenant has it already, 422 naming what is wrong with it and the remedy.
pub(crate) async fn upload_module(
    State(api): State<Api>,
    caller: OfTenant<Developer>,
    request: Request,
) -> Result<(StatusCode, axum::Json<Value>), Problem> {
    // Larger than JSON by an order: it may take as much longer to arrive.
    let patience = Duration::from_millis(api.settings.body_ms_max.saturating_mul(6));
    let bytes = body::read(request, api.settings.module_bytes_max, patience).await?;
    let digest = ModuleDigest::of(&bytes);
    if let Ok(known) = api.shared.store.module_get(&caller.tenant, &digest).await {
        return Ok((StatusCode::OK, axum::Json(render(&known))));
    }
    let limits = ModuleLimits::default();
    let admitted = api.sandbox.admit(&caller.tenant, bytes.to_vec(), &limits).await.map_err(refused)?;
    if let Err(error) = crate::schema::validator(&admitted.description.settings_schema) {
        let text = format!("the module's settings schema is no JSON Schema: {error}");
        return Err(Problem::unprocessable("module-description-invalid", text));
    }
    let module = Module {
        digest: admitted.digest,
        tenant: caller.tenant,
        description: admitted.description,
        component_bytes: u64::try_from(admitted.component.len()).unwrap_or(u64::MAX),
        uploaded_at: api.shared.clock.now(),
    };
    let answer = render(&module);
    let new = api.shared.store.module_create(module, admitted.component).await?;
    Ok((if new { StatusCode::CREATED } else { StatusCode::OK }, axum::Json(answer)))
}

/// `GET /api/v1/modules`
pub(crate) async fn list_modules(
    State(api): State<Api>,
    caller: OfTenant<Viewer>,
    Paged(page): Paged,
) -> Result<axum::Json<Value>, Problem> {
    let modules = api.shared.store.module_list(&caller.tenant, page.clone()).await?;
    Ok(axum::Json(page::answer(&page, &modules, |module| module.digest.to_string(), render)))
}

/// `GET /api/v1/modules/{digest}`
pub(crate) async fn get_module(
    State(api): State<Api>,
    caller: OfTenant<Viewer>,
    Digest(digest): Digest<ModuleDigest>,
) -> Result<axum::Json<Value>, Problem> {
    Ok(axum::Json(render(&api.shared.store.module_get(&caller.tenant, &digest).await?)))
}

fn refused(error: AdmitError) -> Problem {
    match error {
        AdmitError::Refused(refusal) => Problem::unprocessable(refusal.code, refusal.to_string())
            .with("message", json!(refusal.message))
            .with("remedy", json!(refusal.remedy)),
        AdmitError::Busy => {
            let text = "Other uploads of this tenant are being compiled; try again in a moment.";
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "uploads-busy", text)
        }
        AdmitError::Unavailable(error) => Problem::unavailable(&error),
    }
}

fn render(module: &Module) -> Value {
    json!({
        "digest": module.digest,
        "name": module.description.name,
        "version": module.description.version,
        "description": module.description,
        "component_bytes": module.component_bytes,
        "uploaded_at": module.uploaded_at.to_string(),
    })
}
