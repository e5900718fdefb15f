//! What can go wrong with SQLite, in the words of the store. The only place that knows which of SQLite's
//! codes a caller of the store can act on.

use std::path::PathBuf;

use rusqlite::{Error, ErrorCode, ffi};

use crate::StoreError;

/// Why the embedded store cannot answer, beside what SQLite itself reports.
#[derive(Debug, thiserror::Error)]
pub(super) enum Hindrance {
    /// Somebody else has the file open.
    #[error("{} is in use by another process", path.display())]
    Held {
        /// The lock file.
        path: PathBuf,
    },
    /// A file beside the database could not be opened.
    #[error("cannot open {}", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The linked SQLite can corrupt a database in WAL mode.
    #[error("SQLite {found} can corrupt a write-ahead log: at least 3.51.3 is needed")]
    OldLibrary {
        /// What is linked.
        found: &'static str,
    },
    /// What is to be restored stands in the way of a database that is there.
    #[error("{} is there already: restore into an empty data folder", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A file that is no backup of this program.
    #[error("this is no backup: only what `portolan backup` wrote can be restored")]
    NoBackup,
    /// A backup where a database should be.
    #[error("this database is a backup, which has forgotten what was sent since: use `portolan restore`")]
    NotRestored,
    /// A file that is not whole.
    #[error("the file is damaged: {0}")]
    Damaged(String),
    /// The database was written by a later version of this program.
    #[error("the database is at migration {found}, this program knows up to {known}: use a newer program")]
    NewerDatabase {
        /// In the file.
        found: i64,
        /// In this program.
        known: i64,
    },
    /// A setting did not take.
    #[error("the database refused `{0}`")]
    Setting(&'static str),
    /// The disk failed, and the database has not been opened again since.
    #[error("the disk failed; the database is being opened again")]
    Reopening,
    /// A copy was given up.
    #[error("the copy is not wanted any more: there is too little room, or nobody waits for it")]
    Unwanted,
    /// The store is being closed.
    #[error("the store is shutting down")]
    Closing,
    /// The transaction that held the change could not be committed.
    #[error("the transaction was not committed")]
    NotCommitted,
    /// The code that made the change or read panicked, or the change was never begun.
    #[error("the operation was abandoned")]
    Abandoned,
}

impl From<Hindrance> for StoreError {
    fn from(hindrance: Hindrance) -> Self {
        Self::Unavailable(Box::new(hindrance))
    }
}

/// Whether this is what SQLite reported.
pub(super) fn is_code(error: &Error, code: ErrorCode) -> bool {
    error.sqlite_error_code() == Some(code)
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        let Error::SqliteFailure(failure, _) = &error else {
            return Self::Corrupt { what: "a value".to_owned(), source: Box::new(error) };
        };
        match (failure.code, failure.extended_code) {
            // A row that was referred to does not exist in this scope.
            (ErrorCode::ConstraintViolation, ffi::SQLITE_CONSTRAINT_FOREIGNKEY) => Self::NotFound,
            (
                ErrorCode::ConstraintViolation,
                ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY,
            ) => Self::Conflict("a row with this id or name exists"),
            (ErrorCode::ConstraintViolation, _) => {
                tracing::error!(error = %error, "a change broke a rule of the schema");
                Self::Conflict("the change breaks a rule of the schema")
            }
            (ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase, _) => {
                Self::Corrupt { what: "the database file".to_owned(), source: Box::new(error) }
            }
            _ => Self::Unavailable(Box::new(error)),
        }
    }
}
