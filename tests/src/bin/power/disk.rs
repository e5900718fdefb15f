//! What stands between SQLite and the disk, seen from SQLite: a log of everything that was written, and faults.
//!
//! The log is in one order for all threads: an operation is carried out while the log is locked. An acknowledgement
//! goes into the same log, so that whatever was logged before it had been done before it.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rusqlite::ffi;

use crate::facts::Fact;

/// The files of a database, by their place in this list.
pub(crate) const FILES: [&str; 3] = ["portolan.db", "portolan.db-wal", "portolan.db-journal"];

/// A file of the database: its place in [`FILES`].
pub(crate) type FileNumber = u8;

/// What happened.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    /// A file was made.
    Create(FileNumber),
    /// Bytes were written.
    Write { file: FileNumber, offset: u64, bytes: Arc<[u8]> },
    /// A file was cut.
    Truncate { file: FileNumber, bytes: u64 },
    /// What was written to the file reached the disk; with `folder`, the names of all files, too.
    Sync { file: FileNumber, folder: bool },
    /// The disk refused: nobody knows what of it arrived, and a later sync does not care for it.
    SyncFailed(FileNumber),
    /// A file was removed.
    Delete { file: FileNumber, folder: bool },
    /// The store said that something is durable: the number of a fact.
    Acknowledged(usize),
}

/// What SQLite is about to do that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Write,
    Truncate,
    Sync,
}

/// How a disk fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Input/output error.
    Broken,
    /// No space left.
    Full,
    /// Half of a write, then no space left.
    Short,
}

impl Failure {
    pub(crate) const ALL: [Self; 3] = [Self::Broken, Self::Full, Self::Short];

    /// What SQLite's own file system would answer.
    const fn code(self, kind: Kind) -> i32 {
        match (self, kind) {
            (Self::Full | Self::Short, Kind::Write) => ffi::SQLITE_FULL,
            (Self::Broken, Kind::Write) => ffi::SQLITE_IOERR_WRITE,
            (_, Kind::Truncate) => ffi::SQLITE_IOERR_TRUNCATE,
            (_, Kind::Sync) => ffi::SQLITE_IOERR_FSYNC,
        }
    }
}

/// When a disk fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    /// From which operation on, from 0.
    pub(crate) at: usize,
    /// That one only, or all until [`Disk::heal`].
    pub(crate) lasting: bool,
    pub(crate) failure: Failure,
}

/// The log and the fault of one folder.
#[derive(Debug)]
pub(crate) struct Disk {
    folder: PathBuf,
    /// How long a sync takes: writes that come meanwhile share the next commit.
    sync_takes: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    log: Vec<Entry>,
    facts: Vec<Fact>,
    operations: usize,
    fault: Option<Fault>,
    failed: usize,
    failed_syncs: [usize; FILES.len()],
}

/// What to do with an operation.
enum Order {
    Go,
    Fail(Failure),
}

impl State {
    fn order(&mut self) -> Order {
        let number = self.operations;
        self.operations += 1;
        match self.fault {
            Some(fault) if number == fault.at || (fault.lasting && number > fault.at) => {
                self.failed += 1;
                Order::Fail(fault.failure)
            }
            Some(_) | None => Order::Go,
        }
    }
}

impl Disk {
    pub(crate) fn new(folder: &Path, sync_takes: Duration) -> Arc<Self> {
        Arc::new(Self { folder: folder.to_owned(), sync_takes, state: Mutex::default() })
    }

    /// Which of the database's files this is, when it is one.
    pub(crate) fn file(&self, path: &Path) -> Option<FileNumber> {
        let name = path.strip_prefix(&self.folder).ok()?.to_str()?;
        FILES.iter().position(|file| *file == name).and_then(|place| FileNumber::try_from(place).ok())
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something was made durable.
    pub(crate) fn acknowledge(&self, fact: Fact) {
        let mut state = self.state();
        let number = state.facts.len();
        state.facts.push(fact);
        state.log.push(Entry::Acknowledged(number));
    }

    /// Fails from now on as told; operations are counted from 0 again.
    pub(crate) fn plan(&self, fault: Option<Fault>) {
        let mut state = self.state();
        (state.operations, state.fault, state.failed) = (0, fault, 0);
    }

    /// Is well again. Answers how many operations failed.
    pub(crate) fn heal(&self) -> usize {
        let mut state = self.state();
        state.fault = None;
        state.failed
    }

    /// Writes, truncations and syncs since the last plan.
    pub(crate) fn operations(&self) -> usize {
        self.state().operations
    }

    /// What happened, and the facts that were acknowledged.
    pub(crate) fn take(&self) -> (Vec<Entry>, Vec<Fact>) {
        let mut state = self.state();
        (std::mem::take(&mut state.log), std::mem::take(&mut state.facts))
    }

    /// Writes with `carry_out`, which is given the bytes that get through.
    pub(crate) fn write(
        &self,
        file: FileNumber,
        offset: u64,
        bytes: &[u8],
        carry_out: impl FnOnce(&[u8]) -> i32,
    ) -> i32 {
        let mut state = self.state();
        let (through, failed) = match state.order() {
            Order::Go => (bytes, None),
            Order::Fail(failure @ Failure::Short) => {
                (bytes.split_at(bytes.len() / 2).0, Some(failure.code(Kind::Write)))
            }
            Order::Fail(failure) => return failure.code(Kind::Write),
        };
        let code = if through.is_empty() { ffi::SQLITE_OK } else { carry_out(through) };
        if code == ffi::SQLITE_OK {
            state.log.push(Entry::Write { file, offset, bytes: through.into() });
        }
        failed.unwrap_or(code)
    }

    pub(crate) fn truncate(&self, file: FileNumber, bytes: u64, carry_out: impl FnOnce() -> i32) -> i32 {
        let mut state = self.state();
        if let Order::Fail(failure) = state.order() {
            return failure.code(Kind::Truncate);
        }
        let code = carry_out();
        if code == ffi::SQLITE_OK {
            state.log.push(Entry::Truncate { file, bytes });
        }
        code
    }

    /// Syncs a file. As Linux has it, everybody who has the file open when a sync fails is told so once, at their own next
    /// sync; `told` is how many failures this one has been told of.
    pub(crate) fn sync(
        &self,
        file: FileNumber,
        folder: bool,
        told: &mut usize,
        carry_out: impl FnOnce() -> i32,
    ) -> i32 {
        let mut state = self.state();
        let failures = state.failed_syncs.get(usize::from(file)).copied().unwrap_or(0);
        if let Order::Fail(failure) = state.order() {
            state.log.push(Entry::SyncFailed(file));
            if let Some(failures) = state.failed_syncs.get_mut(usize::from(file)) {
                *failures += 1;
                *told = *failures;
            }
            return failure.code(Kind::Sync);
        }
        if *told < failures {
            *told = failures;
            return ffi::SQLITE_IOERR_FSYNC;
        }
        let code = carry_out();
        if !self.sync_takes.is_zero() {
            std::thread::sleep(self.sync_takes);
        }
        state.log.push(if code == ffi::SQLITE_OK {
            Entry::Sync { file, folder }
        } else {
            Entry::SyncFailed(file)
        });
        code
    }

    /// A file was written again as it was, and synced, past SQLite.
    pub(crate) fn rewritten(&self, file: FileNumber, content: &[u8]) -> std::io::Result<()> {
        let mut state = self.state();
        if let Order::Fail(_) = state.order() {
            state.log.push(Entry::SyncFailed(file));
            return Err(std::io::Error::other("the disk fails"));
        }
        state.log.push(Entry::Write { file, offset: 0, bytes: content.into() });
        state.log.push(Entry::Sync { file, folder: false });
        Ok(())
    }

    /// How many syncs of a file failed.
    pub(crate) fn failed_syncs(&self, file: FileNumber) -> usize {
        self.state().failed_syncs.get(usize::from(file)).copied().unwrap_or(0)
    }

    /// Opens a file. `carry_out` says whether that made it.
    pub(crate) fn open(&self, file: FileNumber, carry_out: impl FnOnce() -> (i32, bool)) -> i32 {
        let mut state = self.state();
        let (code, made) = carry_out();
        if made {
            state.log.push(Entry::Create(file));
        }
        code
    }

    pub(crate) fn delete(&self, file: FileNumber, folder: bool, carry_out: impl FnOnce() -> i32) -> i32 {
        let mut state = self.state();
        let code = carry_out();
        if code == ffi::SQLITE_OK {
            state.log.push(Entry::Delete { file, folder });
        }
        code
    }
}
