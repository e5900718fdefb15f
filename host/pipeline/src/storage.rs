//! The low-water mark: whether the store's disk has room for what is new.
//!
//! Looked at once a second, not with every request. Below the mark nothing new is taken in: hooks, uploads and backups are
//! answered 503, no source is asked. What was taken in before goes on, and the room below the mark is kept for it: its
//! documents are posted, and what came of them is written down. A disk that is full all the same loses nothing either,
//! but then nobody can be told what became of a call until there is room.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use portolan_store::{Store, Upkeep};
use tokio::sync::watch;

use crate::Shared;

/// How often is looked.
const PAUSE: Duration = Duration::from_secs(1);

/// What the disk has left when nobody knows.
const UNKNOWN: u64 = u64::MAX;

const MIB: u64 = 1 << 20;

/// What the last look found.
#[derive(Debug)]
pub struct Storage {
    free_bytes_min: u64,
    free_bytes: AtomicU64,
}

/// There is less room than there must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the disk of the data folder has {free_mib} MiB left; storage.free_mib_min asks for {free_mib_min} MiB"
)]
pub struct Shortage {
    /// What there is.
    pub free_mib: u64,
    /// What there must be.
    pub free_mib_min: u64,
}

impl Storage {
    /// With a mark; 0: none. Nothing is short before the first look.
    #[must_use]
    pub const fn new(free_mib_min: u64) -> Self {
        Self { free_bytes_min: free_mib_min.saturating_mul(MIB), free_bytes: AtomicU64::new(UNKNOWN) }
    }

    /// Some when nothing new may be taken in.
    #[must_use]
    pub fn shortage(&self) -> Option<Shortage> {
        let free = self.free_bytes.load(Ordering::Relaxed);
        let short = Shortage { free_mib: free / MIB, free_mib_min: self.free_bytes_min / MIB };
        (free < self.free_bytes_min).then_some(short)
    }

    /// Looks now. Operators are told when it changes.
    pub(crate) async fn look(&self, store: &dyn Store) {
        let free = match Upkeep::free_bytes(store).await {
            Ok(Some(free)) => free,
            Ok(None) => return,
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "what the disk has left cannot be found out"
                );
                return;
            }
        };
        self.found(free);
    }

    #[expect(clippy::cast_precision_loss, reason = "Prometheus gauges are floats; this is for a picture")]
    fn found(&self, free_bytes: u64) {
        metrics::gauge!("portolan_storage_free_bytes").set(free_bytes as f64);
        let before = self.shortage();
        self.free_bytes.store(free_bytes, Ordering::Relaxed);
        match (before, self.shortage()) {
            (None, Some(shortage)) => tracing::error!(
                storage.free_mib = shortage.free_mib,
                storage.free_mib_min = shortage.free_mib_min,
                "storage is low: nothing new is taken in until there is room again"
            ),
            (Some(_), None) => {
                tracing::info!(
                    storage.free_mib = free_bytes / MIB,
                    "there is room again: events are taken in"
                );
            }
            (None, None) | (Some(_), Some(_)) => {}
        }
    }
}

/// Looks until the host stops.
pub(crate) async fn watch(shared: Shared, mut stopped: watch::Receiver<bool>) {
    let (storage, store): (Arc<Storage>, _) = (shared.storage, shared.store);
    while !*stopped.borrow() {
        storage.look(&*store).await;
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            _ = stopped.changed() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_shortage_below_the_mark_and_only_there() {
        let storage = Storage::new(256);
        assert_eq!(storage.shortage(), None, "nobody has looked");
        storage.found(256 * MIB - 1);
        assert_eq!(storage.shortage(), Some(Shortage { free_mib: 255, free_mib_min: 256 }));
        storage.found(256 * MIB);
        assert_eq!(storage.shortage(), None);
    }

    #[test]
    fn without_a_mark_there_is_never_a_shortage() {
        let storage = Storage::new(0);
        storage.found(0);
        assert_eq!(storage.shortage(), None);
        // However large the number is.
        let storage = Storage::new(u64::MAX);
        storage.found(1 << 60);
        assert!(storage.shortage().is_some());
    }
}
