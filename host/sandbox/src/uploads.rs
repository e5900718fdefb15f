//! Whose upload is compiled next: one of each tenant at a time, and a bounded number that wait. A tenant that
//! pushes many at once waits for itself; another's upload waits only for a free worker.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use portolan_domain::TenantId;
use tokio::sync::{OwnedMutexGuard, Semaphore, SemaphorePermit};

/// The uploads that wait or are compiled.
#[derive(Debug)]
pub(crate) struct Uploads {
    waiting_per_tenant_max: usize,
    all: Semaphore,
    tenants: Mutex<HashMap<TenantId, Arc<tokio::sync::Mutex<()>>>>,
}

/// A tenant's turn. Others of the same tenant wait until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'u> {
    uploads: &'u Uploads,
    tenant: TenantId,
    /// `None` only while it is being dropped.
    held: Option<OwnedMutexGuard<()>>,
    _place: SemaphorePermit<'u>,
}

impl Uploads {
    pub(crate) fn new(waiting_per_tenant_max: usize, uploads_max: usize) -> Self {
        Self { waiting_per_tenant_max, all: Semaphore::new(uploads_max.max(1)), tenants: Mutex::default() }
    }

    /// Waits for the tenant's turn. `None` when too many wait already.
    pub(crate) async fn turn(&self, tenant: &TenantId) -> Option<Turn<'_>> {
        let place = self.all.try_acquire().ok()?;
        let gate = {
            let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
            let gate = tenants.entry(tenant.clone()).or_default();
            // The map, the one who holds it, and those who wait each have a reference.
            if Arc::strong_count(gate) > self.waiting_per_tenant_max.saturating_add(1) {
                return None;
            }
            gate.clone()
        };
        let held = Some(gate.lock_owned().await);
        Some(Turn { uploads: self, tenant: tenant.clone(), held, _place: place })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.held = None;
        let mut tenants = self.uploads.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if tenants.get(&self.tenant).is_some_and(|gate| Arc::strong_count(gate) == 1) {
            tenants.remove(&self.tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use portolan_domain::Timestamp;

    use super::*;

    fn tenant(at: u64) -> TenantId {
        TenantId::generate(Timestamp::from_millis(at))
    }

    #[tokio::test]
    async fn a_tenant_has_one_turn_at_a_time_and_another_tenant_has_its_own() {
        let uploads = Uploads::new(0, 10);
        let (ours, theirs) = (tenant(1), tenant(2));
        let turn = uploads.turn(&ours).await;
        assert!(turn.is_some());
        assert!(uploads.turn(&ours).await.is_none(), "nobody may wait");
        assert!(uploads.turn(&theirs).await.is_some());
        drop(turn);
        assert!(uploads.turn(&ours).await.is_some());
        assert!(uploads.tenants.lock().unwrap().is_empty(), "tenants without uploads are not remembered");
    }

    #[tokio::test]
    async fn the_uploads_of_all_tenants_are_bounded() {
        let uploads = Uploads::new(10, 2);
        let turns = [uploads.turn(&tenant(1)).await, uploads.turn(&tenant(2)).await];
        assert!(turns.iter().all(Option::is_some));
        assert!(uploads.turn(&tenant(3)).await.is_none());
    }
}
