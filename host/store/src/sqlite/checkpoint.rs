//! Keeps the write-ahead log short without making writers wait.
//!
//! SQLite would copy the log into the database at the end of some unlucky commit. Here a thread of its own does
//! it, with a connection of its own, while commits go on (`PASSIVE`), whenever a sixteenth of what the log may hold is not
//! copied yet. Under steady load such a copy never catches up with the end of the log, so the log could not begin anew;
//! when it has reached its bound, and little is left, the writer does that between two commits (`RESTART`). When much is
//! left, because everybody waits while the writer copies, the thread is given until the log is a quarter longer.
//!
//! How long the log is, is asked after every commit, because nothing else says it: a write is a page or a thousand. So the
//! log is never longer than its bound, a quarter and one commit, as long as readers let go of it: `RESTART` waits for those that still
//! read from it, at most [`super::BUSY_TIMEOUT`]. A reader that takes longer lets it grow by a sixteenth before the
//! writer waits again. A log that has grown beyond its bound is cut back to it when it begins anew.
//!
//! A copy that fails is the last one: a flush of the database that failed may have lost pages of earlier copies, which
//! SQLite counts as done and the operating system as clean, so that the next copy would succeed without them and the log,
//! which still has them, would begin anew. The writer then closes all connections and opens new ones, which makes SQLite
//! read the log from its beginning and copy all of it again.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, mpsc},
    thread::JoinHandle,
};

use rusqlite::{Connection, ErrorCode, config::DbConfig};

use super::error::is_code;
use crate::StoreError;

/// Bytes of a page.
const PAGE_BYTES: i64 = 4_096;

/// How much is in the log, in pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Log {
    pages: i64,
    /// Of these, how many the database holds as well.
    copied: i64,
}

/// Whether copies may still be made. Held while one is made.
#[derive(Debug, Default)]
struct Failed(bool);

/// The writer's side.
#[derive(Debug)]
pub(super) struct Checkpoints {
    nudge: Option<mpsc::SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    failed: Arc<Mutex<Failed>>,
    pages_max: i64,
    /// The writer begins the log anew when it is longer: more than `pages_max` after it had to give up.
    restart_at: i64,
}

impl Checkpoints {
    /// Starts the thread. The log may hold `log_kib_max`.
    pub(super) fn start(conn: Connection, log_kib_max: u32) -> Result<Self, std::io::Error> {
        // One nudge may wait while a checkpoint runs; more would say nothing new.
        let (nudge, nudged) = mpsc::sync_channel(1);
        let failed = Arc::new(Mutex::new(Failed::default()));
        let of_thread = Arc::clone(&failed);
        let thread = std::thread::Builder::new().name("store-checkpoint".to_owned()).spawn(move || {
            while nudged.recv().is_ok() {
                copy(&conn, "PASSIVE", &mut lock(&of_thread));
            }
            close(conn, lock(&of_thread).0);
        })?;
        let pages_max = (i64::from(log_kib_max) * 1_024 / PAGE_BYTES).max(16);
        Ok(Self { nudge: Some(nudge), thread: Some(thread), failed, pages_max, restart_at: pages_max })
    }

    /// Called by the writer between two transactions. False when a copy has failed.
    pub(super) fn after_commit(&mut self, conn: &Connection) -> bool {
        let Ok((_, log)) = look(conn, "NOOP") else { return true };
        if log.pages < self.pages_max {
            self.restart_at = self.pages_max;
        }
        let lag = log.pages - log.copied;
        let is_little = lag <= self.pages_max / 16;
        if log.pages >= self.restart_at && (is_little || log.pages >= self.restart_at + self.pages_max / 4) {
            let mut failed = match self.failed.try_lock() {
                Ok(failed) => failed,
                Err(TryLockError::Poisoned(failed)) => failed.into_inner(),
                // A copy is being made just now: the rest after the next commit.
                Err(TryLockError::WouldBlock) => return true,
            };
            // It begins anew when all of it was copied and nobody reads from it.
            let begun_anew = copy(conn, "RESTART", &mut failed);
            self.restart_at = if begun_anew { self.pages_max } else { log.pages + self.pages_max / 16 };
            return !failed.0;
        }
        if lag >= self.pages_max / 16
            && let Some(nudge) = &self.nudge
            && nudge.try_send(()).is_err()
        {
            tracing::trace!("a checkpoint is waiting already, and will see this, too");
        }
        self.failed.try_lock().map_or(true, |failed| !failed.0)
    }

    /// Ends the thread and closes its connection, copying nothing more.
    pub(super) fn give_up(self) {
        lock(&self.failed).0 = true;
        drop(self);
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

fn lock(failed: &Mutex<Failed>) -> MutexGuard<'_, Failed> {
    failed.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Closes a connection; after a failure without the copy that SQLite makes when the last one is closed.
pub(super) fn close(conn: Connection, failed: bool) {
    if failed && let Err(error) = conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true) {
        tracing::error!(error = %error, "the last copy of the log cannot be prevented");
    }
    drop(conn);
}

/// Copies from the log into the database, unless a copy has failed. Whether it was done to the end: what readers hindered
/// is made up for by the next one.
fn copy(conn: &Connection, mode: &str, failed: &mut Failed) -> bool {
    if failed.0 {
        return false;
    }
    match look(conn, mode) {
        Ok((busy, _)) => {
            metrics::counter!("portolan_store_checkpoints_total", "mode" => mode.to_owned()).increment(1);
            !busy
        }
        Err(error) if is_code(&error, ErrorCode::DatabaseBusy) => false,
        Err(error) => {
            let error = StoreError::from(error);
            tracing::error!(error = &error as &dyn std::error::Error, "the write-ahead log cannot be copied");
            failed.0 = true;
            false
        }
    }
}

/// Runs a checkpoint (`NOOP` only looks): whether it was hindered, and how long the log is.
fn look(conn: &Connection, mode: &str) -> rusqlite::Result<(bool, Log)> {
    let mut statement = conn.prepare_cached(&format!("PRAGMA wal_checkpoint({mode})"))?;
    statement.query_row([], |row| Ok((row.get(0)?, Log { pages: row.get(1)?, copied: row.get(2)? })))
}
