//! Backups and restores of the embedded store.
//!
//! A backup is a copy made in one read transaction through SQLite's backup interface: one state of the database,
//! whatever is written meanwhile. It says of itself when it was taken, and so that it is a backup: nobody can serve it
//! by mistake. A [`Restore`] works on a copy beside the place where the database will be and puts it there last, in one
//! rename; a crash before leaves nothing that could be served.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use portolan_domain::{Scope, Timestamp};
use portolan_proof::{Bug, has};
use rusqlite::{Connection, backup, params};
use serde_json::json;

use super::{
    SqliteStore,
    audit::append,
    error::Hindrance,
    migrate,
    row::{all, change, first, millis},
    sealed::host_key,
};
use crate::{
    StoreError,
    audit::{self, Actor, AuditKey, Change},
    export::Wanted,
};

/// What was under way when the backup was taken, or could have begun since: nobody knows what became of it.
const DOUBT: &str = "
    UPDATE deliveries SET doubt_since = ?1, lost_from = min(coalesce(lost_from, ?2), ?2)
    WHERE open = 1";

const RECONCILE: &str = "
    INSERT INTO reconciliations (tenant, environment, lost_from, restored_at) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (tenant, environment) DO UPDATE SET
        lost_from = CASE WHEN ended_at IS NULL THEN min(lost_from, excluded.lost_from) ELSE excluded.lost_from END,
        restored_at = excluded.restored_at, ended_at = NULL, ended_by = NULL, why = NULL";

const SCOPES: &str = "
    SELECT tenant, environment FROM sources UNION SELECT tenant, environment FROM connections";

/// Every poll begins at once. Stripe's list of events is walked from its beginning: a webhook may have come long after
/// its event, and what is known is known by its id. The rows of the others are known by their versions, and their
/// cursors stand where they stood.
const ASK_AGAIN: &str = "
    UPDATE polls SET wake_at = 0, asked_at = NULL, lease_owner = NULL,
        cursor = CASE WHEN source IN (SELECT id FROM sources WHERE system = 'stripe') THEN NULL ELSE cursor END";

fn io(path: &Path) -> impl Fn(std::io::Error) -> StoreError + '_ {
    |source| Hindrance::Open { path: path.to_owned(), source }.into()
}

/// Pages that are copied between two looks whether the copy is still wanted.
const PAGES_PER_STEP: i32 = 1_000;

impl SqliteStore {
    /// Has `make` fill a new file that only its owner can read, with the connection for what takes long. A file that does
    /// not become whole is removed.
    pub(super) async fn copy<T, F>(&self, to: &Path, wanted: Wanted, make: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection, &Path, &dyn Fn() -> Result<(), StoreError>) -> Result<T, StoreError>
            + Send
            + 'static,
    {
        let (to, copying) = (to.to_owned(), self.copying.clone());
        let make = move |conn: &Connection| {
            // A disk that failed waits for every connection to be closed.
            let go_on = || {
                if wanted() && !copying.is_closing() { Ok(()) } else { Err(Hindrance::Unwanted.into()) }
            };
            go_on()?;
            let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&to);
            drop(made.map_err(io(&to))?);
            let made = make(conn, &to, &go_on).and_then(|made| go_on().map(|()| made));
            if made.is_err()
                && let Err(error) = std::fs::remove_file(&to)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                tracing::warn!(%error, "a copy that was given up cannot be removed");
            }
            made
        };
        self.copying.read(make).await
    }
}

/// Writes a copy of the database to a file that is empty; answers its length. Durable on return.
pub(super) fn write(
    conn: &Connection,
    to: &Path,
    now: Timestamp,
    go_on: &dyn Fn() -> Result<(), StoreError>,
) -> Result<u64, StoreError> {
    let mut copy = Connection::open(to)?;
    {
        // One read transaction for all steps: without it, every write in between would begin the copy anew.
        let conn = &*conn.unchecked_transaction()?;
        conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        let pages = backup::Backup::new(conn, &mut copy)?;
        loop {
            match pages.step(PAGES_PER_STEP)? {
                backup::StepResult::Done => break,
                backup::StepResult::More => go_on()?,
                backup::StepResult::Busy | backup::StepResult::Locked | _ => {
                    return Err(Hindrance::Setting("a copy of itself").into());
                }
            }
        }
    }
    // One file, without a log beside it.
    let mode: String = copy.pragma_update_and_check(None, "journal_mode", "DELETE", |row| row.get(0))?;
    if mode != "delete" {
        return Err(Hindrance::Setting("journal_mode=DELETE").into());
    }
    copy.execute("UPDATE incarnations SET backup_at = ?1", [millis(now)])?;
    sound(&copy)?;
    copy.close().map_err(|(_, error)| error)?;
    let file = File::open(to).map_err(io(to))?;
    file.sync_all().map_err(io(to))?;
    Ok(file.metadata().map_err(io(to))?.len())
}

/// Whether the file is whole.
fn sound(conn: &Connection) -> Result<(), StoreError> {
    let said: String = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if said == "ok" { Ok(()) } else { Err(Hindrance::Damaged(said).into()) }
}

/// A backup is not served: it has forgotten what was sent since.
pub(super) fn refuse_unrestored(conn: &Connection) -> Result<(), StoreError> {
    match first(conn, "SELECT backup_at FROM incarnations WHERE backup_at IS NOT NULL", [], |c| c.time())? {
        Some(_) => Err(Hindrance::NotRestored.into()),
        None => Ok(()),
    }
}

/// A restore that is under way.
#[derive(Debug)]
pub struct Restore {
    conn: Connection,
    copy: PathBuf,
    to: PathBuf,
    taken_at: Timestamp,
}

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Restored {
    /// The incarnation that begins.
    pub incarnation: u64,
    /// When the backup was taken, in milliseconds since 1970.
    pub taken_at_ms: u64,
    /// Deliveries that were not final then: each is asked about before it is sent.
    pub deliveries_in_doubt: usize,
    /// Environments that reconcile.
    pub environments: usize,
}

impl Restore {
    /// Copies a backup to where the database will be, checks it and brings it to this program's schema. `Unavailable`
    /// when there is a database already, or the file is damaged or no backup.
    pub fn begin(from: &Path, to: &Path) -> Result<Self, StoreError> {
        for (path, suffix) in [(to, ""), (to, "-wal"), (to, "-journal")] {
            let path = beside(path, suffix);
            if path.exists() {
                return Err(Hindrance::Exists { path }.into());
            }
        }
        let copy = beside(to, ".restoring");
        // What an interrupted restore left, its journal above all: it must not be played back into another copy.
        for left in [copy.clone(), beside(&copy, "-journal")] {
            if left.exists() {
                std::fs::remove_file(&left).map_err(io(&left))?;
            }
        }
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&copy);
        let mut made = made.map_err(io(&copy))?;
        let mut source = File::open(from).map_err(io(from))?;
        std::io::copy(&mut source, &mut made).map_err(io(&copy))?;
        drop(made);
        let mut conn = Connection::open(&copy)?;
        conn.pragma_update(None, "synchronous", "FULL")?;
        conn.pragma_update(None, "foreign_keys", true)?;
        sound(&conn)?;
        migrate::migrate(&mut conn)?;
        let sql = "SELECT backup_at FROM incarnations WHERE backup_at IS NOT NULL";
        let taken_at = first(&conn, sql, [], |c| c.time())?.ok_or(Hindrance::NoBackup)?;
        Ok(Self { conn, copy, to: to.to_owned(), taken_at })
    }

    /// The sealed key of the audit log.
    pub fn sealed_key(&self) -> Result<Option<Vec<u8>>, StoreError> {
        host_key(&self.conn, audit::KEY_NAME)
    }

    /// Begins the new incarnation, every environment of which reconciles, and puts the database in its place.
    pub fn finish(mut self, key: &AuditKey, now: Timestamp) -> Result<Restored, StoreError> {
        let (taken, restored) = (millis(self.taken_at), millis(now));
        let conn = self.conn.transaction()?;
        let scopes = all(&conn, SCOPES, [], |c| c.scope())?;
        change(&conn, "UPDATE incarnations SET backup_at = NULL", [])?;
        let sql =
            "INSERT INTO incarnations (number, restored_at) SELECT max(number) + 1, ?1 FROM incarnations";
        change(&conn, sql, [restored])?;
        let incarnation = first(&conn, "SELECT max(number) FROM incarnations", [], |c| c.count())?;
        let mut deliveries_in_doubt = 0;
        if !has(Bug::RestoreWithoutReconcile) {
            deliveries_in_doubt = change(&conn, DOUBT, params![restored, taken])?;
            for scope in &scopes {
                let (tenant, environment) = (scope.tenant.as_str(), scope.environment.as_str());
                change(&conn, RECONCILE, params![tenant, environment, taken, restored])?;
            }
        }
        change(&conn, ASK_AGAIN, [])?;
        let detail = json!({ "incarnation": incarnation, "backup_taken_at": self.taken_at.to_string() });
        tell(&conn, &scopes, key, &detail)?;
        conn.commit()?;
        self.conn.close().map_err(|(_, error)| error)?;
        File::open(&self.copy).and_then(|file| file.sync_all()).map_err(io(&self.copy))?;
        std::fs::rename(&self.copy, &self.to).map_err(io(&self.to))?;
        let folder = self.to.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or_else(|| Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(io(folder))?;
        Ok(Restored {
            incarnation: incarnation.unwrap_or_default(),
            taken_at_ms: self.taken_at.as_millis(),
            deliveries_in_doubt,
            environments: scopes.len(),
        })
    }
}

/// The audit log tells of it, to the host and to every tenant.
fn tell(
    conn: &Connection,
    scopes: &[Scope],
    key: &AuditKey,
    detail: &serde_json::Value,
) -> Result<(), StoreError> {
    let mut told = vec![Change::of_host("restore", "database")];
    told.extend(scopes.iter().map(|scope| Change::of(scope, "restore", scope.environment.as_str())));
    told.into_iter().try_for_each(|told| append(conn, key, &Actor::host(), &told.with(detail.clone())))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
