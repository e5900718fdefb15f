//! After a restore: asks the sources for what was received since the backup was taken, and ends each environment's
//! reconciliation when it waits for nothing any more. What "in doubt" means for a delivery is [`crate::attempt`]'s, and
//! when a delivery is in doubt is the store's (see `portolan_store::reconciliation`).
//!
//! A source of Stripe without a poll of its own is asked all the same while its environment reconciles, through the
//! connection to Stripe that one of its mappings is bound to.

use std::time::Duration;

use portolan_connectors::Effect;
use portolan_domain::Scope;
use portolan_store::{Page, StoreError, reconciliation::Reconciliation};
use tokio::sync::watch;

use crate::{
    Shared,
    routes::{PollSettings, Route},
    senders::Sender,
};

/// How often it is looked whether a reconciliation is over.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often Stripe is asked meanwhile, in seconds.
const SWEEP_EVERY_S: u64 = 30;

/// How Stripe lists its events.
const SWEEP: &str = "events.changed";

/// Sources of an environment that are looked at.
const SOURCES_MAX: u32 = 500;

/// Has the sources of every environment that reconciles asked, and waits for the ends. Returns when none is left.
pub async fn reconcile(shared: Shared, mut stopped: watch::Receiver<bool>) {
    let mut begun = false;
    loop {
        let looked = look(&shared, &mut begun).await;
        match looked {
            Ok(0) => return,
            Ok(left) => metrics::gauge!("portolan_reconciling_environments")
                .set(u32::try_from(left).unwrap_or(u32::MAX)),
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "reconciliations cannot be looked at"
                )
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            _ = stopped.changed() => return,
        }
    }
}

/// How many environments still reconcile.
async fn look(shared: &Shared, begun: &mut bool) -> Result<usize, StoreError> {
    let all = shared.store.reconciliation_list().await?;
    if !*begun {
        for one in &all {
            begin(shared, one).await?;
        }
        *begun = true;
    }
    let mut left = 0;
    for one in &all {
        if one.waiting.is_over() && shared.store.reconciliation_settle(&one.scope, shared.clock.now()).await?
        {
            tracing::warn!(tenant.id = %one.scope.tenant, environment = %one.scope.environment, "the reconciliation is over");
            end(shared, &one.scope).await?;
        } else {
            left += 1;
        }
    }
    if left == 0 {
        metrics::gauge!("portolan_reconciling_environments").set(0.0);
    }
    Ok(left)
}

async fn begin(shared: &Shared, one: &Reconciliation) -> Result<(), StoreError> {
    tracing::warn!(
        tenant.id = %one.scope.tenant, environment = %one.scope.environment,
        restored.at = %one.restored_at, lost.from = %one.lost_from,
        "restored from a backup: everything is asked about before it is sent"
    );
    for (route, sweep) in swept(shared, &one.scope).await? {
        let (store, now) = (&shared.store, shared.clock.now());
        let every = Duration::from_secs(sweep.every_s);
        store.poll_schedule(&one.scope, &route.source.id, Some(every), now).await?;
    }
    Ok(())
}

/// Who ended it does not matter: what was asked only because of it is asked no longer.
///
/// # Errors
/// When the store does not answer.
pub async fn end(shared: &Shared, scope: &Scope) -> Result<(), StoreError> {
    for (route, _) in swept(shared, scope).await? {
        shared.store.poll_schedule(scope, &route.source.id, None, shared.clock.now()).await?;
    }
    Ok(())
}

/// The sources that are asked only while the environment reconciles.
async fn swept(
    shared: &Shared,
    scope: &Scope,
) -> Result<Vec<(std::sync::Arc<Route>, PollSettings)>, StoreError> {
    let mut found = Vec::new();
    let mut page = Page { before: None, rows_max: SOURCES_MAX };
    loop {
        let sources = shared.store.source_list(scope, page.clone()).await?;
        for source in &sources {
            // A source that cannot be read is not asked; the reconciliation says that it waits for it.
            let Ok(route) = shared.routes.find(&source.id).await else { continue };
            if route.settings.poll.is_none()
                && let Some(sweep) = sweep_of(shared, &route).await?
            {
                found.push((route, sweep));
            }
        }
        match sources.last() {
            Some(last) if sources.len() >= SOURCES_MAX as usize => page.before = Some(last.id.to_string()),
            _ => return Ok(found),
        }
    }
}

/// How a source of Stripe can be asked that has no poll of its own; none when no mapping of it has a connection to
/// Stripe.
///
/// # Errors
/// When the store does not answer.
pub async fn sweep_of(shared: &Shared, route: &Route) -> Result<Option<PollSettings>, StoreError> {
    if route.sender != Sender::Stripe {
        return Ok(None);
    }
    let system = route.sender.system();
    let operations = shared.registry.get(system).map(|connector| connector.operations()).unwrap_or_default();
    if !operations.iter().any(|known| known.name == SWEEP && known.effect == Effect::Read) {
        return Ok(None);
    }
    for id in route.mappings.iter().flat_map(|mapping| mapping.connections.values()) {
        if shared.store.connection_get(&route.source.scope, id).await?.connector == system {
            return Ok(Some(PollSettings {
                connection: id.clone(),
                operation: SWEEP.to_owned(),
                every_s: SWEEP_EVERY_S,
                parameters: serde_json::Map::new(),
            }));
        }
    }
    Ok(None)
}
