//! What each tenant may use, and whether it is served: known in memory, so that the door and the claims ask nobody.
//!
//! * The **door** asks [`Tenants::admit`] for every request whose sender was believed. Who has used up its events of a
//!   second, or its bytes, is told to come again; so is a tenant that is suspended. Nothing is stored, nothing is lost.
//! * The **mapper** claims no run of a tenant whose runs at once, or whose fuel, are used up: its runs wait in the store,
//!   which is no failure, and others go on. Fuel is paid after the run, so the account may be overdrawn by what was under
//!   way, and the debt is waited for.
//! * The **deliverer** claims no more than the tenant's deliveries at once, and no connection's gate lets more through
//!   than its deliveries a second.
//!
//! Each exceeding is counted (`portolan_quota_exceeded_total`), told in `GET …/usage`, and an alert `quota` of the
//! environment that ends by itself when it has not happened for a minute.
//!
//! What is stored is read again at most every [`KEPT_FOR`]; a change through this host's API is heeded at once
//! ([`Tenants::forget`]), one through another host within that time. That a suspended tenant's work is not claimed is
//! the store's promise (S25), not this file's.

mod known;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use portolan_connectors::Traffic;
use portolan_domain::{
    AlertId, Clock, Scope, TenantId,
    contract::Severity,
    quota::{Exceeded, Quotas},
    state::TenantState,
};
use portolan_store::{Store, StoreError, alert::NewAlert, standing::Standing};
use serde_json::json;
use tokio::sync::watch as watching;

pub use self::known::Slowed;
use self::known::{Age, Alerted, FULL_RETRY_S, Known};
use crate::{Shared, rooms::Rooms};

/// How long what is known of a tenant is used before it is read again. Twice as old, it is not used any more.
pub const KEPT_FOR: Duration = Duration::from_secs(1);

/// An alert of one kind is stored at most so often for each tenant; the metric counts each.
const ALERT_PAUSE: Duration = Duration::from_secs(5);

/// After so long without an exceeding its alert ends.
const QUIET: Duration = Duration::from_secs(60);

/// Tenants known at most; beyond, those that hold nothing back are forgotten.
const KNOWN_MAX: usize = 20_000;

/// The code of the alerts.
pub const ALERT: &str = "quota";

/// All tenants.
#[derive(Debug)]
pub struct Tenants {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    defaults: Quotas,
    known: Mutex<HashMap<TenantId, Known>>,
}

impl Tenants {
    /// Knows nobody yet.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, defaults: Quotas) -> Self {
        Self { store, clock, defaults, known: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TenantId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a tenant may use for which nothing was set.
    #[must_use]
    pub const fn defaults(&self) -> Quotas {
        self.defaults
    }

    /// How often each quota of a tenant was exceeded since the start of this host.
    #[must_use]
    pub fn exceeded(&self, tenant: &TenantId) -> BTreeMap<Exceeded, u64> {
        self.lock().get(tenant).map(|known| known.exceeded.clone()).unwrap_or_default()
    }

    /// Reads a tenant again before it is used next: something was changed.
    pub fn forget(&self, tenant: &TenantId) {
        if let Some(known) = self.lock().get_mut(tenant) {
            known.read_at = None;
            known.forgotten += 1;
        }
    }

    /// Reads every tenant that is not served like everybody.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn look(&self) -> Result<(), StoreError> {
        let apart = self.store.standings_apart().await?;
        let now = self.clock.monotonic();
        let mut known = self.lock();
        for standing in &apart {
            self.learn(&mut known, standing, now);
        }
        // What was set for a tenant before may have been taken back.
        let ids: HashSet<&TenantId> = apart.iter().map(|standing| &standing.tenant.id).collect();
        for (_, known) in known.iter_mut().filter(|(id, _)| !ids.contains(id)) {
            known.stands(TenantState::Active, self.defaults, now);
        }
        if known.len() > KNOWN_MAX {
            known.retain(|_, of| of.quotas != self.defaults || !of.is_idle(now));
        }
        Ok(())
    }

    fn learn(&self, known: &mut HashMap<TenantId, Known>, standing: &Standing, now: Duration) {
        let quotas = self.defaults.with(&standing.quotas);
        let id = standing.tenant.id.clone();
        known.entry(id).or_insert_with(|| Known::new(quotas, now)).learn(standing, quotas, now);
    }

    /// Reads a tenant if what is known of it is old. While it can be used still, one of those who use it has that done and
    /// nobody waits: see [`crate::routes`].
    async fn refresh(self: &Arc<Self>, tenant: &TenantId) -> Result<(), StoreError> {
        let now = self.clock.monotonic();
        let age = self.lock().get_mut(tenant).map_or(Age::Unusable, |known| known.age(now));
        match age {
            Age::Fresh => Ok(()),
            Age::Unusable => self.read(tenant).await,
            Age::ToBeReadAgain => {
                let (tenants, tenant) = (Arc::clone(self), tenant.clone());
                tokio::spawn(async move {
                    // Whoever finds it unusable is told.
                    if let Err(error) = tenants.read(&tenant).await {
                        tracing::debug!(
                            error = &error as &dyn std::error::Error,
                            "a tenant cannot be read again"
                        );
                    }
                });
                Ok(())
            }
        }
    }

    async fn read(&self, tenant: &TenantId) -> Result<(), StoreError> {
        let now = self.clock.monotonic();
        let forgotten = |known: &HashMap<TenantId, Known>| known.get(tenant).map_or(0, |of| of.forgotten);
        let before = forgotten(&self.lock());
        let standing = self.store.standing(tenant).await?;
        let mut known = self.lock();
        // What was read before it changed is not learned.
        if forgotten(&known) == before {
            self.learn(&mut known, &standing, now);
        }
        Ok(())
    }

    /// Whether so many events, with so many bytes together, may come in now; if so, they are counted.
    ///
    /// # Errors
    /// Why not, and when another try is worth it. Told in a metric and an alert, too.
    pub async fn admit(self: &Arc<Self>, scope: &Scope, events: usize, bytes: usize) -> Result<(), Slowed> {
        // A store that does not answer is told of when the event is to be stored.
        if let Err(error) = self.refresh(&scope.tenant).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "how a tenant stands cannot be read");
        }
        let now = self.clock.monotonic();
        let taken = match self.lock().get_mut(&scope.tenant) {
            Some(known) => known.take(events, bytes, now),
            None => Ok(()),
        };
        if let Err(Slowed::Quota { quota, .. }) = taken {
            self.tell(scope, quota).await;
        }
        taken
    }

    /// Whether a module of so many bytes may be stored besides those that are.
    ///
    /// # Errors
    /// When one more is too many, or the store does not answer.
    pub async fn admit_module(
        &self,
        tenant: &TenantId,
        bytes: u64,
    ) -> Result<Result<(), Slowed>, StoreError> {
        let standing = self.store.standing(tenant).await?;
        let quotas = self.defaults.with(&standing.quotas);
        let fits = standing.modules < u64::from(quotas.modules_max)
            && standing.module_bytes.saturating_add(bytes) <= quotas.modules_bytes_max;
        if fits {
            return Ok(Ok(()));
        }
        self.count(tenant, Exceeded::Modules);
        Ok(Err(Slowed::Quota { quota: Exceeded::Modules, after_s: FULL_RETRY_S }))
    }

    /// An event was asked for rather than sent: it counts, and is not refused.
    pub fn took(&self, tenant: &TenantId, bytes: usize) {
        let now = self.clock.monotonic();
        if let Some(known) = self.lock().get_mut(tenant) {
            known.events.take(1, now);
            known.stored_bytes = known.stored_bytes.saturating_add(bytes as u64);
        }
    }

    /// A run has used so much fuel.
    pub async fn spent(&self, scope: &Scope, fuel: u64) {
        let now = self.clock.monotonic();
        let overdrawn = {
            let mut known = self.lock();
            let quotas = self.defaults;
            let of = known.entry(scope.tenant.clone()).or_insert_with(|| Known::new(quotas, now));
            of.fuel.take(fuel, now) > Duration::ZERO
        };
        if overdrawn {
            self.tell(scope, Exceeded::Fuel).await;
        }
    }

    /// For every tenant with runs under way, or that is held back: how many more may be claimed. `of_all` is what any
    /// tenant may have.
    #[must_use]
    pub fn rooms_of_runs(&self, rooms: &Rooms, of_all: usize) -> BTreeMap<String, usize> {
        let now = self.clock.monotonic();
        let default = self.defaults.runs_max;
        self.rooms(rooms, of_all, |known| match known.quotas.runs_max {
            _ if known.fuel.left(now) == 0 => Some(0),
            own if own == default => None,
            own => Some(own),
        })
    }

    /// The same for deliveries.
    #[must_use]
    pub fn rooms_of_deliveries(&self, rooms: &Rooms, of_all: usize) -> BTreeMap<String, usize> {
        let default = self.defaults.deliveries_max;
        self.rooms(rooms, of_all, |known| Some(known.quotas.deliveries_max).filter(|own| *own != default))
    }

    /// `own` says what a tenant may have that is not what any may.
    fn rooms(
        &self,
        rooms: &Rooms,
        of_all: usize,
        own: impl Fn(&mut Known) -> Option<u32>,
    ) -> BTreeMap<String, usize> {
        let mut known = self.lock();
        let own = known.iter_mut().filter_map(|(tenant, known)| {
            own(known).map(|own| (tenant.as_str().to_owned(), usize::try_from(own).unwrap_or(usize::MAX)))
        });
        let own: BTreeMap<String, usize> = own.collect();
        drop(known);
        let mut left = rooms.left(|tenant| own.get(tenant).copied().unwrap_or(of_all));
        for (tenant, own) in own {
            left.entry(tenant).or_insert(own);
        }
        left
    }

    /// What a connection may do, with the tenant's deliveries a second as the most.
    #[must_use]
    pub fn traffic(&self, tenant: &TenantId, traffic: Traffic) -> Traffic {
        let most = self.lock().get(tenant).map_or(self.defaults, |known| known.quotas);
        let most = most.connection_deliveries_per_second;
        let own = traffic.requests_per_second;
        Traffic { requests_per_second: if own == 0 { most } else { own.min(most) }, ..traffic }
    }

    fn count(&self, tenant: &TenantId, quota: Exceeded) {
        metrics::counter!("portolan_quota_exceeded_total", "quota" => quota.as_str()).increment(1);
        if let Some(known) = self.lock().get_mut(tenant) {
            *known.exceeded.entry(quota).or_default() += 1;
        }
    }

    /// Counts an exceeding, and raises its alert unless that was done just now.
    async fn tell(&self, scope: &Scope, quota: Exceeded) {
        self.count(&scope.tenant, quota);
        let now = self.clock.monotonic();
        {
            let mut known = self.lock();
            let Some(known) = known.get_mut(&scope.tenant) else { return };
            let alerted = known.alerts.get_mut(&(scope.clone(), quota));
            match alerted {
                Some(alerted) if now.saturating_sub(alerted.stored) < ALERT_PAUSE => {
                    alerted.exceeded = now;
                    return;
                }
                Some(alerted) => *alerted = Alerted { stored: now, exceeded: now },
                None => {
                    known.alerts.insert((scope.clone(), quota), Alerted { stored: now, exceeded: now });
                }
            }
        }
        let at = self.clock.now();
        let alert = NewAlert {
            id: AlertId::generate(at),
            severity: Severity::Warning,
            code: ALERT.to_owned(),
            title: title(quota),
            detail: json!({ "quota": quota.as_str() }),
            at,
        };
        if let Err(error) = self.store.alert_raise(scope, alert).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "an alert could not be stored");
        }
    }

    /// Ends the alerts of the host before, which nobody remembers: what is still exceeded is told of again.
    async fn end_forgotten(&self) -> Result<(), StoreError> {
        let known: HashSet<Scope> = {
            let known = self.lock();
            known.values().flat_map(|of| of.alerts.keys().map(|(scope, _)| scope.clone())).collect()
        };
        self.store.alert_end_elsewhere(ALERT, known.into_iter().collect(), self.clock.now()).await.map(drop)
    }

    /// Ends the alerts of what has not been exceeded for a while.
    async fn calm(&self) {
        let now = self.clock.monotonic();
        let mut over = Vec::new();
        for known in self.lock().values_mut() {
            known.alerts.retain(|(scope, quota), alerted| {
                let is_over = now.saturating_sub(alerted.exceeded) >= QUIET;
                if is_over {
                    over.push((scope.clone(), *quota));
                }
                !is_over
            });
        }
        let at = self.clock.now();
        for (scope, quota) in over {
            if let Err(error) = self.store.alert_end(&scope, ALERT, &title(quota), at).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "an alert could not be ended");
            }
        }
    }
}

fn title(quota: Exceeded) -> String {
    format!("the tenant has used up its quota of {}: what is more waits", quota.as_str())
}

/// Keeps what is known up to date until the host stops.
pub(crate) async fn watch(shared: Shared, mut stopped: watching::Receiver<bool>) {
    let mut has_forgotten = true;
    while !*stopped.borrow() {
        if has_forgotten {
            match shared.tenants.end_forgotten().await {
                Ok(()) => has_forgotten = false,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "old alerts cannot be ended");
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(KEPT_FOR) => {}
            _ = stopped.changed() => {}
        }
        if let Err(error) = shared.tenants.look().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "how tenants stand cannot be read");
        }
        shared.tenants.calm().await;
    }
}

#[cfg(test)]
mod tests {
    use portolan_domain::{Environment, SystemClock};
    use portolan_store::{
        Page,
        alert::{AlertFilter, Alerts as _},
        sqlite::SqliteStore,
        tenant::{Tenant, Tenants as _},
    };

    use super::*;

    #[tokio::test]
    async fn alerts_of_the_host_before_end_and_those_of_this_one_stay() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(SystemClock::new());
        let store = SqliteStore::open(&folder.path().join("portolan.db")).unwrap();
        let tenant = Tenant::new("one".to_owned(), clock.now());
        store.tenant_create(tenant.clone()).await.unwrap();
        let scope = |environment| Scope { tenant: tenant.id.clone(), environment };
        let (old, new) = (scope(Environment::Sandbox), scope(Environment::Production));
        let host = || Arc::new(Tenants::new(store.clone(), clock.clone(), Quotas::default()));
        let before = host();
        before.refresh(&tenant.id).await.unwrap();
        before.tell(&old, Exceeded::Events).await;
        drop(before);

        let after = host();
        after.refresh(&tenant.id).await.unwrap();
        after.tell(&new, Exceeded::Events).await;
        after.end_forgotten().await.unwrap();
        for (scope, open) in [(&old, 0), (&new, 1)] {
            let page = Page { before: None, rows_max: 10 };
            let alerts = store.alert_list(scope, AlertFilter::default(), page).await.unwrap();
            let of_quotas = alerts.iter().filter(|alert| alert.code == ALERT && alert.resolved.is_none());
            assert_eq!(of_quotas.count(), open, "{scope:?}");
        }
    }
}
