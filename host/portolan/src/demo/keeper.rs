//! Keeps the demo's host alive, as a supervisor would: whoever kills it sees it come back on the
//! same data and address, and nothing lost or doubled.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use portolan::stage::Host;
use tokio::{sync::watch, task::JoinHandle, time::timeout};

use super::print;

/// How soon a death is noticed.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Whoever keeps the host.
pub(crate) struct Keeper {
    stop: watch::Sender<bool>,
    keeping: JoinHandle<anyhow::Result<Host>>,
    id: Arc<AtomicU32>,
}

impl Keeper {
    /// Takes the host over.
    pub(crate) fn keep(mut host: Host) -> Self {
        let (stop, mut stopped) = watch::channel(false);
        let id = Arc::new(AtomicU32::new(host.id().unwrap_or_default()));
        let shown = id.clone();
        let keeping = tokio::spawn(async move {
            // Until told to stop; a time-out only means that it is time to look again.
            while timeout(LOOK_EVERY, stopped.changed()).await.is_err() {
                if host.has_ended()? {
                    print::progress("The host has died. Starting it again on its data …");
                    host.start_again().await?;
                    shown.store(host.id().unwrap_or_default(), Ordering::Relaxed);
                }
            }
            Ok(host)
        });
        Self { stop, keeping, id }
    }

    /// The host's process id.
    pub(crate) fn id(&self) -> u32 {
        self.id.load(Ordering::Relaxed)
    }

    /// Gives the host back.
    pub(crate) async fn give_back(self) -> anyhow::Result<Host> {
        self.stop.send_replace(true);
        self.keeping.await?
    }
}
