//! Keeps the write-ahead log short without making writers wait.
//!
//! SQLite would copy the log into the database at the end of some unlucky commit. Here a thread of its own does
//! it, with a connection of its own, while commits go on (`PASSIVE`). Under steady load such a copy never catches
//! up with the end of the log, so the log could not begin anew; when it has grown past [`LOG_PAGES_MAX`], the
//! writer does the little that is left between two commits (`RESTART`).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::JoinHandle,
};

use rusqlite::Connection;

/// A checkpoint is begun after this many writes. A write changes about ten pages, many of them again and again.
const WRITES_PER_CHECKPOINT: usize = 4_000;

/// The log begins anew when it is longer, in pages of 4 KiB: 64 MiB.
const LOG_PAGES_MAX: i64 = 16_384;

/// The writer's side.
#[derive(Debug)]
pub(super) struct Checkpoints {
    nudge: Option<mpsc::SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    overgrown: Arc<AtomicBool>,
    writes: usize,
}

impl Checkpoints {
    /// Starts the thread.
    pub(super) fn start(conn: Connection) -> Result<Self, std::io::Error> {
        // One nudge may wait while a checkpoint runs; more would say nothing new.
        let (nudge, nudged) = mpsc::sync_channel(1);
        let overgrown = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&overgrown);
        let thread = std::thread::Builder::new().name("store-checkpoint".to_owned()).spawn(move || {
            while nudged.recv().is_ok() {
                if log_pages(&conn, "PASSIVE") > LOG_PAGES_MAX {
                    flag.store(true, Ordering::Relaxed);
                }
            }
        })?;
        Ok(Self { nudge: Some(nudge), thread: Some(thread), overgrown, writes: 0 })
    }

    /// Called by the writer between two transactions.
    pub(super) fn after_commit(&mut self, conn: &Connection, writes: usize) {
        self.writes += writes;
        if self.writes >= WRITES_PER_CHECKPOINT
            && let Some(nudge) = &self.nudge
            && nudge.try_send(()).is_ok()
        {
            self.writes = 0;
        }
        if self.overgrown.swap(false, Ordering::Relaxed) {
            log_pages(conn, "RESTART");
        }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.nudge = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's checkpoint thread had panicked");
        }
    }
}

/// Copies from the log into the database; answers how long the log is. A checkpoint that does not succeed is
/// made up for by the next one.
fn log_pages(conn: &Connection, mode: &str) -> i64 {
    let pages = conn.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| row.get::<_, i64>(1));
    match pages {
        Ok(pages) => {
            metrics::counter!("portolan_store_checkpoints_total", "mode" => mode.to_owned()).increment(1);
            pages
        }
        Err(error) => {
            tracing::warn!(error = %error, "the write-ahead log could not be copied now");
            0
        }
    }
}
