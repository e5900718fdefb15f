//! The smallest correct work loop: look for due work, carry out what was claimed, listen until there may be
//! more. Mapper and deliverer are two of these.

use std::{future::Future, sync::Arc, time::Duration};

use portolan_domain::Timestamp;
use portolan_store::StoreError;
use tokio::{sync::watch, task::JoinSet};

use crate::{Nudge, Shared};

/// What a loop does.
pub(crate) trait Work: Send + Sync + 'static {
    /// What is claimed.
    type Claim: Send + 'static;
    /// For logs.
    const NAME: &'static str;

    fn shared(&self) -> &Shared;
    fn nudge(&self) -> &Nudge;
    /// Whose turns on the processor it takes.
    fn lane(claim: &Self::Claim) -> &str;
    /// How much may be under way at once.
    fn slots_max(&self) -> usize;
    fn claim(&self, slots: usize) -> impl Future<Output = Result<Vec<Self::Claim>, StoreError>> + Send;
    fn next_due(&self, now: Timestamp) -> impl Future<Output = Result<Option<Timestamp>, StoreError>> + Send;
    /// Carries one claim out and stores its end, also when what it does panics. A panic while that end is stored
    /// leaves the lease to end by itself.
    fn carry_out(&self, claim: Self::Claim) -> impl Future<Output = ()> + Send;
    /// A claim was carried out, and who may go on was told.
    fn over(&self) {}
}

/// Works until told to stop, then waits for what is under way.
pub(crate) async fn work<W: Work>(work: W, mut stopped: watch::Receiver<bool>) {
    let work = Arc::new(work);
    let mut under_way = JoinSet::new();
    while !*stopped.borrow() {
        while let Some(ended) = under_way.try_join_next() {
            report(W::NAME, ended);
        }
        let slots = work.slots_max().saturating_sub(under_way.len());
        if slots == 0 {
            tokio::select! {
                Some(ended) = under_way.join_next() => report(W::NAME, ended),
                _ = stopped.changed() => {}
            }
            continue;
        }
        let claimed = match work.claim(slots).await {
            Ok(claims) => claims,
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "{} cannot claim work", W::NAME);
                Vec::new()
            }
        };
        if claimed.is_empty() {
            let patience = patience(&*work).await;
            tokio::select! {
                () = work.nudge().wait(patience) => {}
                _ = stopped.changed() => {}
            }
        }
        for claim in claimed {
            let work = work.clone();
            let (rota, lane) = (Arc::clone(&work.shared().rota), W::lane(&claim).to_owned());
            under_way.spawn(async move {
                let of_lane = Arc::clone(&work);
                rota.carry_out(&lane, async move { of_lane.carry_out(claim).await }).await;
                // What was carried out may have made way for something else.
                work.nudge().ring();
                work.over();
            });
        }
    }
    while let Some(ended) = under_way.join_next().await {
        report(W::NAME, ended);
    }
}

/// Until something is due, at most until the next poll.
async fn patience<W: Work>(work: &W) -> Duration {
    let shared = work.shared();
    let poll = Duration::from_millis(shared.settings.poll_ms);
    let now = shared.steady();
    match work.next_due(now).await {
        Ok(Some(due)) => due.since(now).clamp(Duration::from_millis(1), poll),
        Ok(None) | Err(_) => poll,
    }
}

fn report(name: &str, ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(error = &error as &dyn std::error::Error, "{name} failed in one unit of work");
    }
}

/// Stores an end, trying again while the store is unavailable: what is not stored now would have to be found
/// out again after the lease.
pub(crate) async fn store_end<T, F>(store: impl Fn() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    const PAUSES: [Duration; 4] = [
        Duration::from_millis(50),
        Duration::from_millis(250),
        Duration::from_secs(1),
        Duration::from_secs(5),
    ];
    for pause in PAUSES {
        match store().await {
            Err(StoreError::Unavailable(error)) => {
                tracing::warn!(error = &*error, "the store is unavailable; trying again in {pause:?}");
                tokio::time::sleep(pause).await;
            }
            ended => return ended,
        }
    }
    store().await
}
