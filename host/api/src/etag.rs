//! Changes of what was seen: `ETag` out, `If-Match` in. The tag is a digest of what is told, so it changes with every
//! change that anybody could see, whoever made it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use aide::{OperationInput, generate::GenContext, openapi::Operation};
use axum::{
    extract::FromRequestParts,
    http::{StatusCode, header, request::Parts},
};
use portolan_domain::TenantId;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::sync::OwnedMutexGuard;

use crate::{Api, params, problem::Problem};

/// The tag of what is told.
pub(crate) fn of(told: &(impl Serialize + ?Sized)) -> String {
    let text = serde_json::to_vec(told).unwrap_or_default();
    let digest = hex::encode(Sha256::digest(text));
    format!("\"{}\"", digest.get(..32).unwrap_or(&digest))
}

/// What is told, and changed only as it was seen.
pub(crate) trait Seen: Serialize {
    /// Its tag; what changes by itself should have no part in it.
    fn tag(&self) -> String {
        of(self)
    }
}

/// What the caller saw, if they say so.
pub(crate) struct IfMatch(Option<String>);

impl IfMatch {
    /// Compares what the caller saw with what is there. The change is made while the guard is held: this process is
    /// the only one that changes the store.
    ///
    /// # Errors
    /// 412 when it is not the same any more.
    pub(crate) fn check(&self, now: &impl Seen) -> Result<(), Problem> {
        let Some(wanted) = &self.0 else { return Ok(()) };
        let now = now.tag();
        if wanted == "*" || wanted.split(',').any(|tag| tag.trim() == now) {
            return Ok(());
        }
        let text = "It was changed since you looked: get it again, and change that.";
        Err(Problem::new(StatusCode::PRECONDITION_FAILED, "changed-since", text))
    }
}

/// Who changes something now, by tenant. Kept for as long as somebody changes something, or waits to.
#[derive(Debug, Default)]
pub(crate) struct Changes(Mutex<HashMap<TenantId, Weak<Alone>>>);

/// Held by whoever changes something of a tenant.
type Alone = tokio::sync::Mutex<()>;

/// Tenants that are kept before those are forgotten of which nobody changes anything. There are never more of the others
/// than requests.
const KEPT_MAX: usize = 1_024;

impl Changes {
    fn of(&self, tenant: &TenantId) -> Arc<Alone> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(alone) = kept.get(tenant).and_then(Weak::upgrade) {
            return alone;
        }
        if kept.len() >= KEPT_MAX {
            kept.retain(|_, alone| alone.strong_count() > 0);
        }
        let alone = Arc::default();
        kept.insert(tenant.clone(), Arc::downgrade(&alone));
        alone
    }
}

/// A tenant's changes are made one after the other, so that none is made to what another has just changed. Tenants do
/// not wait for each other.
pub(crate) async fn alone(api: &Api, tenant: &TenantId) -> OwnedMutexGuard<()> {
    api.changes.of(tenant).lock_owned().await
}

impl FromRequestParts<Api> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        let value = parts.headers.get(header::IF_MATCH).and_then(|value| value.to_str().ok());
        Ok(Self(value.map(str::to_owned)))
    }
}

impl OperationInput for IfMatch {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        let text = "The `ETag` that you saw: 412 when it is not the same any more.";
        params::header(ctx, operation, "If-Match", text);
    }
}

#[cfg(test)]
mod tests {
    use portolan_domain::Timestamp;

    use super::*;

    #[tokio::test]
    async fn a_tenant_waits_for_its_own_changes_only_and_is_forgotten_afterwards() {
        let changes = Changes::default();
        let tenants: Vec<TenantId> =
            (0..KEPT_MAX as u64).map(|at| TenantId::generate(Timestamp::from_millis(at))).collect();
        let one = changes.of(&tenants[0]).try_lock_owned().unwrap();
        assert!(changes.of(&tenants[0]).try_lock_owned().is_err(), "the same tenant waits");
        for tenant in &tenants[1..] {
            assert!(changes.of(tenant).try_lock_owned().is_ok(), "another does not");
        }
        let last = changes.of(&TenantId::generate(Timestamp::from_millis(0)));
        assert_eq!(changes.0.lock().unwrap().len(), 2, "the one that changes something, and the last");
        assert!(changes.of(&tenants[0]).try_lock_owned().is_err());
        drop((one, last));
        assert!(changes.of(&tenants[0]).try_lock_owned().is_ok());
    }
}
