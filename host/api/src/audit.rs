//! The audit log: a tenant's admin sees the tenant's, an operator the host's own.

use aide::axum::{ApiRouter, routing::get_with};
use axum::extract::State;
use portolan_domain::TenantId;
use portolan_store::{
    audit::{Entry, Fault, HOST, hex, verify_all},
    key::Key,
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::{
    Api,
    answer::{List, Time},
    auth::AsAuditor,
    openapi::op,
    page::{self, Paged},
    problem::Problem,
};

pub(crate) fn routes() -> ApiRouter<Api> {
    ApiRouter::new()
        .api_route(
            "/audit",
            get_with(
                list_audit,
                op("list_audit", "The audit log: a tenant's, or for an operator the host's"),
            ),
        )
        .api_route(
            "/audit/verify",
            get_with(verify_audit, op("verify_audit", "Whether the log is as it was written")),
        )
        .with_path_items(|path| path.tag("audit"))
}

pub(crate) async fn list_audit(
    State(api): State<Api>,
    AsAuditor(key): AsAuditor,
    Paged(page): Paged,
) -> Result<axum::Json<List<Answer>>, Problem> {
    let Key { tenant, environment, .. } = key;
    let entries = api.shared.store.audit_list(tenant.as_ref(), environment, page.clone()).await?;
    Ok(page::answer(&page, &entries, |entry| entry.number.to_string(), answer))
}

/// Whether the chain is as it was written; for an operator: every chain.
pub(crate) async fn verify_audit(
    State(api): State<Api>,
    AsAuditor(key): AsAuditor,
) -> Result<axum::Json<Verified>, Problem> {
    let chains = api.shared.store.audit_chains(key.tenant.as_ref()).await?;
    let fault = verify_all(&chains, &api.shared.store.audit_key()).err();
    let chains = chains.iter().map(|(name, chain)| ChainAnswer {
        chain: name.clone(),
        entries: u64::try_from(chain.entries.len()).unwrap_or(u64::MAX),
        last: chain.entries.last().map(|entry| hex(&entry.mac)),
    });
    Ok(axum::Json(Verified { ok: fault.is_none(), chains: chains.collect(), fault }))
}

/// Whether a log is as it was written.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Verified {
    ok: bool,
    /// The first thing that is wrong.
    fault: Option<Fault>,
    chains: Vec<ChainAnswer>,
}

/// One tenant's log, or the host's.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuditChain")]
pub(crate) struct ChainAnswer {
    /// A tenant's id, or `host`.
    chain: String,
    entries: u64,
    /// The MAC of the last entry, in hex.
    last: Option<String>,
}

/// Who did what.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuditEntry")]
pub(crate) struct Answer {
    /// Its place, from 1.
    number: u64,
    at: Time,
    /// Null: the host's own.
    tenant: Option<String>,
    environment: Option<String>,
    /// A key's id, or `host`.
    by: String,
    /// The key's role then, or `host`.
    role: String,
    action: String,
    subject: String,
    /// More about it. Never a secret.
    detail: Value,
    /// In hex.
    mac: String,
}

fn answer(entry: &Entry) -> Answer {
    let of_tenant = entry.chain != HOST && entry.chain.starts_with(TenantId::PREFIX);
    Answer {
        number: entry.number,
        at: entry.at.into(),
        tenant: of_tenant.then(|| entry.chain.clone()),
        environment: entry.environment.clone(),
        by: entry.by.clone(),
        role: entry.role.clone(),
        action: entry.action.clone(),
        subject: entry.subject.clone(),
        detail: entry.detail.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default(),
        mac: hex(&entry.mac),
    }
}
