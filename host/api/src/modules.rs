//! Modules: uploaded, checked, compiled elsewhere, described, stored.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aide::axum::{ApiRouter, routing::get_with};
use axum::{
    extract::{Request, State},
    http::StatusCode,
};
use portolan_domain::{ModuleDigest, TenantId, contract::Description};
use portolan_sandbox::{AdmitError, ModuleLimits};
use portolan_store::module::Module;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use crate::{
    Api, ApiSettings,
    answer::{List, Time, Uploaded},
    auth::{Developer, OfTenant, Viewer},
    body,
    desk::DecisionAnswer,
    hooks,
    openapi::op,
    page::{self, Paged},
    params::Digest,
    problem::Problem,
    signing::{self, Signature},
};

pub(crate) fn routes() -> ApiRouter<Api> {
    ApiRouter::new()
        .api_route(
            "/modules",
            get_with(list_modules, op("list_modules", "The tenant's modules")).post_with(
                upload_module,
                |operation| {
                    op("upload_module", "Uploads, checks, compiles and describes a module")(operation)
                        .input::<body::Raw>()
                        .response_with::<422, Problem, _>(|refused| {
                            refused.description("What is wrong with it, and the remedy.")
                        })
                },
            ),
        )
        .api_route(
            "/modules/{digest}",
            get_with(get_module, op("get_module", "A module and what it says of itself")),
        )
        .with_path_items(|path| path.tag("modules"))
}

/// A module.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Module")]
pub(crate) struct Answer {
    digest: ModuleDigest,
    name: String,
    /// Semantic version.
    version: String,
    /// What it said of itself when it was uploaded.
    description: Description,
    component_bytes: u64,
    /// The name of the tenant's key that has signed it; null: none.
    signed_by: Option<String>,
    /// Who paused it, and why; then the events of its mappings wait.
    paused: Option<DecisionAnswer>,
    uploaded_at: Time,
}

/// Who uploads, so that nobody takes all places; and the memory of all uploads together.
#[derive(Debug, Clone)]
pub(crate) struct Uploads {
    under_way: Arc<Mutex<HashMap<TenantId, usize>>>,
    per_tenant_max: usize,
    room: body::Room,
}

/// One upload under way.
pub(crate) struct Upload {
    under_way: Arc<Mutex<HashMap<TenantId, usize>>>,
    tenant: TenantId,
}

impl Uploads {
    pub(crate) fn new(settings: &ApiSettings) -> Self {
        let room = body::Room::new(settings.module_bytes_max.saturating_mul(settings.uploads_max));
        Self { under_way: Arc::default(), per_tenant_max: settings.uploads_per_tenant_max, room }
    }

    fn begin(&self, tenant: &TenantId) -> Result<Upload, Problem> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let count = under_way.entry(tenant.clone()).or_default();
        if *count >= self.per_tenant_max {
            return Err(busy("Other uploads of this tenant are under way; try again in a moment."));
        }
        *count += 1;
        Ok(Upload { under_way: self.under_way.clone(), tenant: tenant.clone() })
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = under_way.get_mut(&self.tenant) {
            *count -= 1;
            if *count == 0 {
                under_way.remove(&self.tenant);
            }
        }
    }
}

fn busy(text: &'static str) -> Problem {
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "uploads-busy", text)
}

/// The body is the component (or a core module that carries the component type). 201
/// when it is new, 200 when the tenant has it already, 422 naming what is wrong with it and the remedy.
pub(crate) async fn upload_module(
    State(api): State<Api>,
    caller: OfTenant<Developer>,
    signature: Signature,
    request: Request,
) -> Result<Uploaded<Answer>, Problem> {
    if api.shared.storage.shortage().is_some() {
        return Err(Problem::storage_low());
    }
    // Larger than JSON by an order: it may take as much longer to arrive.
    let patience = Duration::from_millis(api.settings.body_ms_max.saturating_mul(6));
    let _place = api.uploads.begin(&caller.tenant)?;
    let limits = body::Limits { bytes_max: api.settings.module_bytes_max, patience, room: &api.uploads.room };
    let bytes = body::read(request, limits).await?;
    let digest = ModuleDigest::of(&bytes);
    let signed = signing::of_upload(&api, &caller.tenant, &signature, &digest).await?;
    if let Ok(mut known) = api.shared.store.module_get(&caller.tenant, &digest).await {
        if let Some(signed) = signed.filter(|signed| known.signed.as_ref() != Some(signed)) {
            api.shared.store.module_sign(&caller.tenant, &digest, signed.clone()).await?;
            known.signed = Some(signed);
        }
        return Ok(Uploaded { new: false, told: answer(&known) });
    }
    let room = api.shared.tenants.admit_module(&caller.tenant, bytes.len() as u64).await?;
    room.map_err(hooks::slowed_down)?;
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
        sheet: json!({
            "imports": admitted.imports,
            "exports": admitted.exports,
            "stats": admitted.stats,
            "warnings": admitted.warnings,
        }),
        signed,
        paused: None,
        uploaded_at: api.shared.clock.now(),
    };
    let told = answer(&module);
    let new = api.shared.store.module_create(module, admitted.component).await?;
    Ok(Uploaded { new, told })
}

pub(crate) async fn list_modules(
    State(api): State<Api>,
    caller: OfTenant<Viewer>,
    Paged(page): Paged,
) -> Result<axum::Json<List<Answer>>, Problem> {
    let modules = api.shared.store.module_list(&caller.tenant, page.clone()).await?;
    Ok(page::answer(&page, &modules, |module| module.digest.to_string(), answer))
}

pub(crate) async fn get_module(
    State(api): State<Api>,
    caller: OfTenant<Viewer>,
    Digest(digest): Digest<ModuleDigest>,
) -> Result<axum::Json<Answer>, Problem> {
    Ok(axum::Json(answer(&api.shared.store.module_get(&caller.tenant, &digest).await?)))
}

fn refused(error: AdmitError) -> Problem {
    match error {
        AdmitError::Refused(refusal) => Problem::unprocessable(refusal.code, refusal.to_string())
            .with("message", json!(refusal.message))
            .with("remedy", json!(refusal.remedy)),
        AdmitError::Busy => busy("Other uploads of this tenant are being compiled; try again in a moment."),
        AdmitError::Unavailable(error) => Problem::unavailable(&error),
    }
}

fn answer(module: &Module) -> Answer {
    Answer {
        digest: module.digest.clone(),
        name: module.description.name.clone(),
        version: module.description.version.clone(),
        description: module.description.clone(),
        component_bytes: module.component_bytes,
        signed_by: module.signed.as_ref().map(|signed| signed.by.clone()),
        paused: module.paused.as_ref().map(DecisionAnswer::from),
        uploaded_at: module.uploaded_at.into(),
    }
}
