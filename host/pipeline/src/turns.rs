//! Turns at the door: each tenant has a few events stored at once, and its others wait for them. So a flood of one
//! tenant fills its own queue, and not the commit that its neighbours wait for.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use portolan_domain::TenantId;
use tokio::sync::{Semaphore, SemaphorePermit};

/// The turns of all tenants.
#[derive(Debug)]
pub(crate) struct Turns {
    at_once: usize,
    requests_max: usize,
    tenants: Mutex<HashMap<TenantId, Arc<Tenant>>>,
}

#[derive(Debug)]
struct Tenant {
    turns: Semaphore,
    requests: AtomicUsize,
}

/// A request that was let in. Counts until it is dropped.
#[derive(Debug)]
pub(crate) struct Admitted(Arc<Tenant>);

impl Turns {
    /// For `at_once` events of one tenant at once, and `requests_max` requests of it that hold or await turns.
    pub(crate) fn new(at_once: usize, requests_max: usize) -> Self {
        Self { at_once: at_once.max(1), requests_max: requests_max.max(1), tenants: Mutex::default() }
    }

    /// Lets a request in whose sender was believed; none when too many of its tenant's are there already.
    pub(crate) fn admit(&self, tenant: &TenantId) -> Option<Admitted> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let known = tenants.entry(tenant.clone()).or_insert_with(|| {
            Arc::new(Tenant { turns: Semaphore::new(self.at_once), requests: AtomicUsize::new(0) })
        });
        let known = Arc::clone(known);
        drop(tenants);
        let admitted = Admitted(known);
        // Given back by `drop`, also when it was one too many.
        let before = admitted.0.requests.fetch_add(1, Ordering::Relaxed);
        (before < self.requests_max).then_some(admitted)
    }
}

impl Admitted {
    /// Waits for a turn, behind those of the same tenant that came first.
    pub(crate) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // Nobody closes it.
        self.0.turns.acquire().await.ok()
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn tenant(name: &str) -> TenantId {
        format!("ten_{name:0>26}").parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_tenant_waits_for_its_own_turns_and_nobody_elses() {
        let turns = Turns::new(2, 3);
        let (flood, other) = (tenant("1"), tenant("2"));
        let admitted: Vec<_> = (0..3).filter_map(|_| turns.admit(&flood)).collect();
        assert_eq!(admitted.len(), 3);
        assert!(turns.admit(&flood).is_none(), "one too many");
        let first = admitted[0].turn().await.unwrap();
        let second = admitted[1].turn().await.unwrap();
        let third = tokio::time::timeout(Duration::from_secs(9), admitted[2].turn());
        assert!(third.await.is_err(), "its own are in the way");
        let theirs = turns.admit(&other).unwrap();
        assert!(theirs.turn().await.is_some(), "a neighbour's are not");
        drop(first);
        assert!(admitted[2].turn().await.is_some());
        drop(second);
        drop(admitted);
        assert!(turns.admit(&flood).is_some(), "who has gone has made room");
    }
}
