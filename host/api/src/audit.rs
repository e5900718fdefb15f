//! The audit log: a tenant's admin sees the tenant's, an operator the host's own.

use axum::extract::State;
use portolan_domain::TenantId;
use portolan_store::{
    audit::{Entry, HOST, hex, verify_all},
    key::Key,
};
use serde_json::{Value, json};

use crate::{
    Api,
    auth::AsAuditor,
    page::{self, Paged},
    problem::Problem,
};

/// `GET /api/v1/audit`: newest first.
pub(crate) async fn list_audit(
    State(api): State<Api>,
    AsAuditor(key): AsAuditor,
    Paged(page): Paged,
) -> Result<axum::Json<Value>, Problem> {
    let Key { tenant, environment, .. } = key;
    let entries = api.shared.store.audit_list(tenant.as_ref(), environment, page.clone()).await?;
    Ok(axum::Json(page::answer(&page, &entries, |entry| entry.number.to_string(), render)))
}

/// `GET /api/v1/audit/verify`: whether the chain is as it was written; for an operator: every chain.
pub(crate) async fn verify_audit(
    State(api): State<Api>,
    AsAuditor(key): AsAuditor,
) -> Result<axum::Json<Value>, Problem> {
    let chains = api.shared.store.audit_chains(key.tenant.as_ref()).await?;
    let fault = verify_all(&chains, &api.shared.store.audit_key()).err();
    let known: Vec<Value> = chains
        .iter()
        .map(|(name, chain)| {
            let last = chain.entries.last().map(|entry| hex(&entry.mac));
            json!({ "chain": name, "entries": chain.entries.len(), "last": last })
        })
        .collect();
    Ok(axum::Json(json!({ "ok": fault.is_none(), "fault": fault, "chains": known })))
}

fn render(entry: &Entry) -> Value {
    let detail: Value =
        entry.detail.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    json!({
        "number": entry.number,
        "at": entry.at.to_string(),
        "tenant": Some(&entry.chain).filter(|chain| *chain != HOST && chain.starts_with(TenantId::PREFIX)),
        "environment": entry.environment,
        "by": entry.by,
        "role": entry.role,
        "action": entry.action,
        "subject": entry.subject,
        "detail": detail,
        "mac": hex(&entry.mac),
    })
}
