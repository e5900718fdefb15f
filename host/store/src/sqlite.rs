//! The embedded store: one SQLite file, used by one process.
//!
//! The cast: the `writer` thread makes every change and groups commits; a few `reader` connections answer questions, of
//! which lists that may take long use one at a time; one more copies (exports, backups); the `checkpoint` thread keeps the
//! write-ahead log short; one file per noun holds its SQL; `turn` shares claims out fairly; `wake` brings back what has
//! become due and ends leases.
//!
//! How the promises are kept:
//! * S1, S2: WAL with `synchronous=FULL`; callers are answered after the commit. What hangs together is one
//!   write, hence one savepoint, hence in one commit or in none.
//! * S5: every claim raises `lease_epoch`; every finish asks for owner and epoch.
//! * S7: a trigger refuses every transition that `portolan_domain::state` does not know.
//! * S8, S13: claims probe partial indexes that hold only what can be claimed now; finished and blocked rows
//!   are not in them.
//! * S9, S10: the column `turn` says whether a row is next in its order. Whatever changes the front of an order
//!   sets it, in the same transaction.
//! * S11: each statement on tenant data asks for tenant and environment, and foreign keys carry them; follow-up
//!   changes go by `seq` from a row that was found so.
//!
//! After a crash: the log is made durable as it is read (`log`), SQLite replays it; [`Upkeep::leases_end_foreign`] ends the leases of the dead process.

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use portolan_domain::Timestamp;
use rusqlite::{Connection, OpenFlags, config::DbConfig};
use tokio::sync::Semaphore;

use crate::{Store, StoreError, Upkeep, audit::AuditKey, run::Executing};

mod alert;
mod audit;
mod backlog;
mod backup;
mod checkpoint;
mod connection;
mod decision;
mod delivery;
mod error;
mod event;
mod export;
mod idempotency;
mod key;
mod log;
mod lookup;
mod mapping;
mod migrate;
mod module;
mod notification;
mod owned;
mod pause;
mod poll;
mod reader;
mod reconciliation;
mod reference;
mod replay;
mod retention;
mod row;
mod run;
mod sealed;
mod source;
mod standing;
mod tenant;
#[cfg(test)]
mod tests;
mod turn;
mod usage;
mod wake;
mod writer;

pub use audit::{AuditCopy, read_audit};
pub use backup::{Restore, Restored};
use error::Hindrance;

/// Versions before this one can corrupt a write-ahead log when two connections write and checkpoint at once.
const SQLITE_VERSION_MIN: i32 = 3_051_003;

/// Every statement of this crate fits, so that none is compiled twice.
const STATEMENTS_CACHED: usize = 330;

/// Pages that the connection keeps in memory that copies from the log: it reads each once.
const COPYING_CACHE_KIB: u32 = 64;

/// A checkpoint by the writer waits this long for readers, then leaves it to the next.
const BUSY_TIMEOUT: Duration = Duration::from_millis(100);

/// How the embedded store is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqliteSettings {
    /// Connections that read. Each may hold `reader_cache_kib` of pages.
    pub readers: usize,
    /// Pages that the writer keeps in memory, in KiB.
    pub writer_cache_kib: u32,
    /// Pages that each reader keeps in memory, in KiB.
    pub reader_cache_kib: u32,
    /// How long the write-ahead log may become, in KiB.
    pub log_kib_max: u32,
}

impl Default for SqliteSettings {
    /// 3 readers with 4 MiB each, a writer with 32 MiB, a log of 64 MiB.
    fn default() -> Self {
        Self { readers: 3, writer_cache_kib: 32 * 1024, reader_cache_kib: 4 * 1024, log_kib_max: 64 * 1024 }
    }
}

/// The embedded store. Dropping the last handle finishes what is queued, closes the file and gives up its lock.
#[derive(Debug)]
pub struct SqliteStore {
    writer: writer::Writer,
    readers: reader::Readers,
    /// The one connection for what may take minutes: exports and backups.
    copying: reader::Readers,
    /// Lists that may walk over many rows take turns at one reader, so that short reads find another.
    searches: Arc<Semaphore>,
    audit_key: OnceLock<AuditKey>,
    path: PathBuf,
}

impl SqliteStore {
    /// Opens the database at `path` with the default settings: see [`Self::open_with`].
    pub fn open(path: &Path) -> Result<Arc<Self>, StoreError> {
        Self::open_with(path, &SqliteSettings::default())
    }

    /// Opens the database at `path`, makes or migrates it, and locks it for this process (`<path>.lock`).
    ///
    /// Blocks for as long as recovery and migration take. `Unavailable` when another process holds the file, when
    /// the linked SQLite is unsafe, or when the database was written by a later program.
    pub fn open_with(path: &Path, settings: &SqliteSettings) -> Result<Arc<Self>, StoreError> {
        if rusqlite::version_number() < SQLITE_VERSION_MIN {
            return Err(Hindrance::OldLibrary { found: rusqlite::version() }.into());
        }
        let lock = lock(path)?;
        log::persist(path)?;
        let mut conn = open_writer(path, settings.writer_cache_kib, settings)?;
        migrate::migrate(&mut conn)?;
        backup::refuse_unrestored(&conn)?;
        drop(conn);
        let place = Place {
            path: path.to_owned(),
            settings: settings.clone(),
            readers: reader::Readers::new(settings.readers.max(1)),
            copying: reader::Readers::new(1),
        };
        let open = place.open()?;
        let (readers, copying) = (place.readers.clone(), place.copying.clone());
        let writer = writer::Writer::start(open, place, lock).map_err(unavailable)?;
        Ok(Arc::new(Self {
            writer,
            readers,
            copying,
            searches: Arc::new(Semaphore::new(1)),
            audit_key: OnceLock::new(),
            path: path.to_owned(),
        }))
    }

    /// Writes the database at `path` anew, without what was removed and without the room that it took; answers its length
    /// before and after, in bytes. Blocks for as long as that takes, and needs as much room again beside the database and in
    /// the folder for temporary files (`SQLITE_TMPDIR`).
    ///
    /// `Unavailable` when a process has it open.
    pub fn compact(path: &Path) -> Result<(u64, u64), StoreError> {
        let _lock = lock(path)?;
        log::persist(path)?;
        let bytes = || std::fs::metadata(path).map(|file| file.len()).map_err(unavailable);
        let before = bytes()?;
        let mut conn = open_compacting(path)?;
        migrate::migrate(&mut conn)?;
        conn.execute_batch("VACUUM")?;
        conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        conn.close().map_err(|(_, error)| error)?;
        Ok((before, bytes()?))
    }

    /// Transactions committed since it was opened: many writes share one.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.writer.commits()
    }

    async fn write<T, F>(&self, make: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut writer::Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.write_bytes(0, make).await
    }

    /// As [`Self::write`], of what stores about so many bytes: what is large must not keep others waiting.
    async fn write_bytes<T, F>(&self, bytes: usize, make: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut writer::Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.writer.write(bytes, make).await
    }

    async fn read<T, F>(&self, make: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        self.readers.read(make).await
    }

    /// As [`Self::read`]; with `is_search`, of a list that may have to walk over many rows.
    async fn look<T, F>(&self, is_search: bool, make: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        if !is_search {
            return self.read(make).await;
        }
        let turn = Arc::clone(&self.searches).acquire_owned().await.map_err(|_| Hindrance::Closing)?;
        // Kept by the read itself, which goes on when its caller does not wait for it any more.
        let searching = move |conn: &Connection| {
            let _turn = turn;
            make(conn)
        };
        self.read(searching).await
    }
}

impl Store for SqliteStore {}

/// Where connections are opened: at the start, and again after the disk failed.
struct Place {
    path: PathBuf,
    settings: SqliteSettings,
    readers: reader::Readers,
    copying: reader::Readers,
}

impl Place {
    /// Opens every connection. None may be open.
    fn open(&self) -> Result<writer::Open, StoreError> {
        let Self { path, settings, readers, copying } = self;
        log::persist(path)?;
        let conn = open_writer(path, settings.writer_cache_kib, settings)?;
        let copies = open_writer(path, COPYING_CACHE_KIB, settings)?;
        let reading = (0..settings.readers.max(1)).map(|_| open_reader(path, settings.reader_cache_kib));
        let reading = reading.collect::<Result<Vec<_>, _>>()?;
        let apart = open_reader(path, COPYING_CACHE_KIB)?;
        let checkpoints =
            checkpoint::Checkpoints::start(copies, settings.log_kib_max).map_err(unavailable)?;
        readers.open(reading);
        copying.open(vec![apart]);
        Ok(writer::Open { conn, checkpoints })
    }

    /// Closes every connection that reads. Who copies is told to stop, and waited for.
    fn close_readers(&self) {
        self.copying.close();
        self.readers.close();
    }

    /// Opens every connection and shows that a commit reaches the disk.
    fn open_proved(&self) -> Option<writer::Open> {
        let open = self.open().and_then(|open| match open.conn.execute(writer::PING, []) {
            Ok(_) => Ok(open),
            Err(error) => {
                self.close_readers();
                open.checkpoints.give_up();
                checkpoint::close(open.conn, true);
                Err(error.into())
            }
        });
        match open {
            Ok(open) => {
                tracing::info!("the store can be written again");
                Some(open)
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the store cannot be written yet");
                None
            }
        }
    }
}

#[async_trait::async_trait]
impl Upkeep for SqliteStore {
    async fn leases_end_foreign(
        &self,
        owner: &str,
        executing: &[Executing],
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let (owner, executing) = (owner.to_owned(), executing.to_vec());
        self.write(move |tx| {
            let polls = poll::end_foreign(tx.conn, &owner, now)? + replay::end_foreign(tx.conn, &owner, now)?;
            let notices = notification::end_foreign(tx.conn, &owner)?;
            Ok(polls + notices + wake::end_foreign(tx.conn, &owner, &executing, now)?)
        })
        .await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.write(|tx| {
            row::change(tx.conn, writer::PING, [])?;
            Ok(())
        })
        .await
    }

    async fn free_bytes(&self) -> Result<Option<u64>, StoreError> {
        let found = rustix::fs::statvfs(&self.path).map_err(|error| unavailable(error.into()))?;
        // Not what is kept back for root.
        Ok(Some(found.f_bavail.saturating_mul(found.f_frsize)))
    }
}

fn unavailable(error: std::io::Error) -> StoreError {
    StoreError::Unavailable(Box::new(error))
}

/// The lock of the operating system on a file beside the database: it ends with the process, however it ends.
fn lock(path: &Path) -> Result<File, StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let path = PathBuf::from(name);
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|source| Hindrance::Open { path: path.clone(), source })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Hindrance::Held { path }.into()),
        Err(TryLockError::Error(source)) => Err(Hindrance::Open { path, source }.into()),
    }
}

/// A connection that writes. The settings that a promise rests on are read back.
fn open_writer(path: &Path, cache_kib: u32, settings: &SqliteSettings) -> Result<Connection, StoreError> {
    let conn = Connection::open(path)?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    let mode: String = conn.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(Hindrance::Setting("journal_mode=WAL").into());
    }
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "foreign_keys", true)?;
    conn.pragma_update(None, "trusted_schema", false)?;
    stable_plans(&conn)?;
    // Savepoints keep what they may have to take back in memory, not in a file.
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    conn.pragma_update(None, "cache_size", -i64::from(cache_kib))?;
    // See `checkpoint`.
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    conn.pragma_update(None, "journal_size_limit", i64::from(settings.log_kib_max) * 1_024)?;
    if !durable(&conn)? {
        return Err(Hindrance::Setting("synchronous=FULL, foreign_keys=ON").into());
    }
    if portolan_proof::has(portolan_proof::Bug::NoSync) {
        conn.pragma_update(None, "synchronous", "OFF")?;
    }
    Ok(conn)
}

/// A connection that writes the database anew: the copy is in a file meanwhile, not in memory.
fn open_compacting(path: &Path) -> Result<Connection, StoreError> {
    let conn = open_writer(path, COPYING_CACHE_KIB, &SqliteSettings::default())?;
    conn.pragma_update(None, "temp_store", "FILE")?;
    Ok(conn)
}

/// A statement is planned once, not anew for every value bound to it.
fn stable_plans(conn: &Connection) -> Result<(), StoreError> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

/// Whether the settings that S1 and S11 rest on are in force.
fn durable(conn: &Connection) -> Result<bool, StoreError> {
    let synchronous: i64 = conn.pragma_query_value(None, "synchronous", |row| row.get(0))?;
    let foreign_keys: i64 = conn.pragma_query_value(None, "foreign_keys", |row| row.get(0))?;
    Ok(synchronous == 2 && foreign_keys == 1)
}

fn open_reader(path: &Path, cache_kib: u32) -> Result<Connection, StoreError> {
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    stable_plans(&conn)?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    conn.pragma_update(None, "cache_size", -i64::from(cache_kib))?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(conn)
}
