//! Removes what was kept long enough, and tenants that are to be removed: in the background, in steps so small that live
//! work does not notice, each a transaction of its own. A crash between two costs nothing: the next sweep goes on.
//!
//! What a step may remove is the store's promise (S26, S28).

use std::time::Duration;

use portolan_domain::{Clock, Environment, Scope, TenantId, Timestamp, retention::Retention};
use portolan_store::{
    Page, StoreError,
    retention::{Hidden, Noun, Step, Swept, TenantNoun},
    standing::Purged,
};
use tokio::sync::watch;

use crate::Shared;

/// Rows that one step looks at.
const ROWS_MAX: u32 = 100;

/// Rows that one step removes of what is hidden: an item of a replay may have hundreds of KiB.
const HIDDEN_ROWS_MAX: u32 = 50;

/// Between two steps, so that others' writes come first.
const PAUSE: Duration = Duration::from_millis(10);

/// How often it is looked whether a tenant is to be removed, or something that nobody sees any more.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Tenants that are looked at together.
const TENANTS_MAX: u32 = 500;

const ENVIRONMENTS: [Environment; 3] = [Environment::Sandbox, Environment::Qa, Environment::Production];

const DAY: Duration = Duration::from_secs(86_400);

/// Sweeps until the host stops.
pub(crate) async fn sweeps(shared: Shared, stopped: watch::Receiver<bool>) {
    let mut sweep = Sweep { shared, stopped };
    let every = Duration::from_secs(sweep.shared.settings.sweep_every_s.max(1));
    // Not at once: a host that has just started has better things to do.
    let mut last = sweep.shared.clock.monotonic().saturating_sub(every) + LOOK_EVERY;
    while !sweep.is_over() {
        if let Err(error) = sweep.purge().await {
            tracing::error!(error = &error as &dyn std::error::Error, "a tenant could not be removed yet");
        }
        sweep.hidden().await;
        let now = sweep.shared.clock.monotonic();
        if now.saturating_sub(last) >= every {
            last = now;
            sweep.all().await;
        }
        sweep.pause(LOOK_EVERY).await;
    }
}

struct Sweep {
    shared: Shared,
    stopped: watch::Receiver<bool>,
}

impl Sweep {
    fn is_over(&self) -> bool {
        *self.stopped.borrow()
    }

    async fn pause(&mut self, pause: Duration) {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = self.stopped.changed() => {}
        }
    }

    fn now(&self) -> Timestamp {
        surely_now(&*self.shared.clock)
    }

    /// Removes what nobody sees any more.
    async fn hidden(&mut self) {
        for hidden in Hidden::ALL {
            while !self.is_over() {
                match self.shared.store.sweep_hidden(hidden, HIDDEN_ROWS_MAX).await {
                    Ok(swept) => {
                        count(hidden.as_str(), swept);
                        if !swept.more {
                            break;
                        }
                        self.pause(PAUSE).await;
                    }
                    Err(error) => {
                        failed(&error, hidden.as_str());
                        break;
                    }
                }
            }
        }
    }

    /// Removes every tenant whose time has come.
    async fn purge(&mut self) -> Result<(), StoreError> {
        let now = self.now();
        for tenant in self.shared.store.tenants_to_purge(now).await? {
            self.shared.tenants.forget(&tenant);
            self.shared.routes.forget();
            loop {
                match self.shared.store.tenant_purge(&tenant, ROWS_MAX).await? {
                    Purged::All => break,
                    Purged::More(_) if self.is_over() => return Ok(()),
                    Purged::More(_) => self.pause(PAUSE).await,
                }
            }
            self.shared.routes.forget();
            tracing::info!(tenant.id = %tenant, "a tenant was removed");
        }
        Ok(())
    }

    /// One sweep over everything. What fails is told and does not keep the rest from being swept.
    async fn all(&mut self) {
        let begun = self.shared.clock.monotonic();
        let mut before = None;
        let mut removed = self.host().await;
        loop {
            let page = Page { before: before.take(), rows_max: TENANTS_MAX };
            let tenants = match self.shared.store.tenant_list(page).await {
                Ok(tenants) => tenants,
                Err(error) => return failed(&error, "tenants"),
            };
            for tenant in &tenants {
                if self.is_over() {
                    return;
                }
                match self.shared.store.standing(&tenant.id).await {
                    Ok(standing) => {
                        let kept = self.shared.settings.retention.with(&standing.retention);
                        removed += self.tenant(&tenant.id, &kept).await;
                    }
                    // Gone meanwhile.
                    Err(StoreError::NotFound) => {}
                    Err(error) => failed(&error, "tenants"),
                }
            }
            match tenants.last() {
                Some(last) if tenants.len() >= TENANTS_MAX as usize => before = Some(last.id.to_string()),
                _ => break,
            }
        }
        let took = self.shared.clock.monotonic().saturating_sub(begun);
        metrics::gauge!("portolan_sweep_last_timestamp_seconds")
            .set(u32::try_from(self.shared.clock.now().as_seconds()).unwrap_or(u32::MAX));
        metrics::gauge!("portolan_sweep_last_seconds").set(took.as_secs_f64());
        if let Ok((used, free)) = self.shared.store.file_bytes().await {
            metrics::gauge!("portolan_store_bytes", "state" => "used").set(as_gauge(used));
            metrics::gauge!("portolan_store_bytes", "state" => "free").set(as_gauge(free));
        }
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        tracing::info!(rows.removed = removed, duration_ms = took_ms, "swept what was kept long enough");
    }

    /// What belongs to no tenant.
    async fn host(&mut self) -> u64 {
        let kept = self.shared.settings.retention;
        self.of_tenant(None, TenantNoun::Usage, kept.usage_days).await
            + self.of_tenant(None, TenantNoun::Audit, kept.audit_days).await
    }

    async fn tenant(&mut self, tenant: &TenantId, kept: &Retention) -> u64 {
        let mut removed = 0;
        for environment in ENVIRONMENTS {
            let scope = Scope { tenant: tenant.clone(), environment };
            for noun in Noun::ALL {
                removed += self.in_scope(&scope, noun, days_of(kept, noun)).await;
            }
        }
        for noun in TenantNoun::ALL {
            removed += self.of_tenant(Some(tenant), noun, days_of_tenant(kept, noun)).await;
        }
        removed
    }

    async fn in_scope(&mut self, scope: &Scope, noun: Noun, days: u32) -> u64 {
        let now = self.now();
        let step = Step { noun, before: ago(now, days), now, rows_max: ROWS_MAX };
        let mut removed = 0;
        while !self.is_over() {
            match self.shared.store.sweep(scope, step).await {
                Ok(swept) => {
                    count(noun.as_str(), swept);
                    removed += swept.removed;
                    if !swept.more {
                        break;
                    }
                    self.pause(PAUSE).await;
                }
                Err(error) => {
                    failed(&error, noun.as_str());
                    break;
                }
            }
        }
        removed
    }

    async fn of_tenant(&mut self, tenant: Option<&TenantId>, noun: TenantNoun, days: u32) -> u64 {
        let before = ago(self.now(), days);
        let mut removed = 0;
        while !self.is_over() {
            match self.shared.store.sweep_tenant(tenant, noun, before, ROWS_MAX).await {
                Ok(swept) => {
                    count(noun.as_str(), swept);
                    removed += swept.removed;
                    if !swept.more {
                        break;
                    }
                    self.pause(PAUSE).await;
                }
                Err(error) => {
                    failed(&error, noun.as_str());
                    break;
                }
            }
        }
        removed
    }
}

/// What is removed does not come back: who sets the machine's clock ahead while the host runs must not make anything look
/// old enough.
fn surely_now(clock: &dyn Clock) -> Timestamp {
    clock.now().min(clock.steady())
}

fn ago(now: Timestamp, days: u32) -> Timestamp {
    let ms = u64::try_from((DAY * days).as_millis()).unwrap_or(u64::MAX);
    Timestamp::from_millis(now.as_millis().saturating_sub(ms))
}

const fn days_of(kept: &Retention, noun: Noun) -> u32 {
    match noun {
        Noun::Payloads => kept.payloads_days,
        Noun::Runs => kept.runs_days,
        Noun::Deliveries => kept.deliveries_days,
        Noun::Events => kept.events_days,
        Noun::Alerts => kept.alerts_days,
    }
}

const fn days_of_tenant(kept: &Retention, noun: TenantNoun) -> u32 {
    match noun {
        TenantNoun::Tombstones => kept.tombstones_days,
        TenantNoun::Usage => kept.usage_days,
        TenantNoun::Audit => kept.audit_days,
        TenantNoun::Modules => kept.modules_days,
    }
}

fn count(noun: &'static str, swept: Swept) {
    if swept.removed > 0 {
        metrics::counter!("portolan_swept_total", "noun" => noun).increment(swept.removed);
    }
}

fn failed(error: &StoreError, noun: &str) {
    tracing::error!(error = error as &dyn std::error::Error, noun, "a sweep could not go on");
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus gauges are floats; this is for a picture")]
const fn as_gauge(bytes: u64) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests {
    use portolan_domain::ManualClock;

    use super::*;

    #[test]
    fn a_clock_that_is_set_ahead_makes_nothing_older() {
        let start = Timestamp::from_millis(1_700_000_000_000);
        let clock = ManualClock::new(start);
        clock.advance(DAY);
        clock.jump(DAY * 1_000);
        assert_eq!(ago(surely_now(&clock), 1), start);
    }
}
