//! Senders: like Stripe, they send until they hear 2xx, and now and then once more.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use portolan::stage::Tenant;
use tokio::{sync::Notify, task::JoinSet};

use crate::{deeds::Deed, judge::Done, world::PATIENCE};

/// The pause before a webhook is sent again that was not acknowledged.
const PAUSE: Duration = Duration::from_millis(25);

/// Senders at work.
#[derive(Default)]
pub(crate) struct Load {
    senders: JoinSet<()>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    done: Mutex<Vec<Done>>,
    /// Acknowledgements so far.
    heard: AtomicU64,
    acknowledged: Notify,
}

impl Load {
    /// Sends an event until it is acknowledged; `repeats` times more after that.
    pub(crate) fn send(&mut self, tenant: &Tenant, place: usize, deed: Deed, repeats: u64) {
        let (tenant, state) = (tenant.clone(), Arc::clone(&self.state));
        self.senders.spawn(async move {
            loop {
                // No answer, or one that is not 2xx: it is sent again, whatever became of it.
                if let Ok((status, answer)) = tenant.webhook(deed.body.as_bytes()).await
                    && status.is_success()
                {
                    let event = answer["event"].as_str().unwrap_or_default().to_owned();
                    let done = Done { tenant: place, deed: deed.clone(), event };
                    state.done.lock().unwrap_or_else(PoisonError::into_inner).push(done);
                    state.heard.fetch_add(1, Ordering::SeqCst);
                    state.acknowledged.notify_waiters();
                    break;
                }
                tokio::time::sleep(PAUSE).await;
            }
            for _ in 0..repeats {
                drop(tenant.webhook(deed.body.as_bytes()).await);
            }
        });
    }

    /// Returns with the next acknowledgement, or after a while.
    pub(crate) async fn next_acknowledged(&self, patience: Duration) -> bool {
        tokio::time::timeout(patience, self.state.acknowledged.notified()).await.is_ok()
    }

    /// Whether everything is acknowledged.
    pub(crate) fn is_done(&mut self) -> bool {
        while self.senders.try_join_next().is_some() {}
        self.senders.is_empty()
    }

    /// Waits until everything is acknowledged, and gives what was.
    pub(crate) async fn all(&mut self) -> Result<Vec<Done>, String> {
        let all = async { while self.senders.join_next().await.is_some() {} };
        if tokio::time::timeout(PATIENCE, all).await.is_err() {
            let waiting = self.senders.len();
            self.senders.abort_all();
            return Err(format!(
                "{waiting} senders were not acknowledged although nothing is wrong any more"
            ));
        }
        Ok(std::mem::take(&mut self.state.done.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}
