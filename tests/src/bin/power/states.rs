//! The states that a database passed through, commit by commit: what a loss of power may leave is one of them, whole.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
};

use anyhow::Context;
use portolan_tests::dice::Dice;
use rusqlite::{Connection, types::ValueRef};

use crate::{
    disk::{Entry, FILES},
    image::{self, Files},
    invariants,
};

/// What a database held after a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    /// The place in the log where it is written, though perhaps not durable.
    pub(crate) at: usize,
    /// Of everything that the database holds.
    pub(crate) digest: u64,
}

/// Everything that a database holds, as one number; and the version of its schema.
pub(crate) fn digest(conn: &Connection) -> rusqlite::Result<(u64, i64)> {
    let mut hasher = DefaultHasher::new();
    let mut tables = conn.prepare_cached(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name",
    )?;
    let tables: Vec<(String, String)> =
        tables.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    for (table, sql) in tables {
        sql.hash(&mut hasher);
        let mut rows = conn.prepare_cached(&format!("SELECT * FROM \"{table}\""))?;
        let columns = rows.column_count();
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            for column in 0..columns {
                match row.get_ref(column)? {
                    ValueRef::Null => 0_u8.hash(&mut hasher),
                    ValueRef::Integer(number) => (1_u8, number).hash(&mut hasher),
                    ValueRef::Real(number) => (2_u8, number.to_bits()).hash(&mut hasher),
                    ValueRef::Text(text) => (3_u8, text).hash(&mut hasher),
                    ValueRef::Blob(blob) => (4_u8, blob).hash(&mut hasher),
                }
            }
        }
    }
    let version = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok((hasher.finish(), version))
}

/// Watches the write-ahead log for commits: the page of a frame whose header says that it is a commit's last. SQLite
/// writes the header first; others may write to the database in between.
#[derive(Default)]
struct Commits {
    last_of_commit: bool,
}

impl Commits {
    fn ends_with(&mut self, entry: &Entry) -> bool {
        const FRAME_HEADER_BYTES: usize = 24;
        let log = FILES.iter().position(|name| name.ends_with("-wal"));
        let Entry::Write { file, bytes, .. } = entry else { return false };
        if log != Some(usize::from(*file)) {
            return false;
        }
        if bytes.len() == FRAME_HEADER_BYTES {
            // Bytes 4 to 8: the size of the database after the commit; 0 in all frames but a commit's last.
            let size = bytes.get(4..8).unwrap_or_default();
            self.last_of_commit = size.iter().any(|byte| *byte != 0);
            return false;
        }
        std::mem::take(&mut self.last_of_commit)
    }
}

/// Every state of a log, in its order. Each must keep the rules of the schema, as nothing is lost yet. While the schema is
/// being made, what comes after a loss is what it is when it is made: the program goes on with it.
pub(crate) fn of(log: &[Entry], folder: &Path) -> anyhow::Result<Vec<State>> {
    let mut files = Files::default();
    log.iter().for_each(|entry| files.go_on(entry));
    let (_, made) = digest(&open(&files, folder)?)?;
    files = Files::default();
    let mut states: Vec<(usize, Option<u64>)> = vec![(0, None)];
    let mut commits = Commits::default();
    for (at, entry) in log.iter().enumerate() {
        files.go_on(entry);
        if commits.ends_with(entry) {
            let conn = open(&files, folder)?;
            let (digest, version) = digest(&conn)?;
            states.push((at, (version == made).then_some(digest)));
            if version == made {
                let broken = invariants::broken(&conn)?;
                anyhow::ensure!(
                    broken.is_empty(),
                    "without any loss, at commit {}: {broken:?}",
                    states.len()
                );
            }
        }
    }
    let first = states.iter().find_map(|(_, digest)| *digest).context("the database was never made")?;
    Ok(states.into_iter().map(|(at, digest)| State { at, digest: digest.unwrap_or(first) }).collect())
}

fn open(files: &Files, folder: &Path) -> anyhow::Result<Connection> {
    image::write(&files.seen(), folder, &mut Dice::new(0))?;
    Ok(Connection::open(folder.join(FILES[0]))?)
}
