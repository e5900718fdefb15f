//! What recovery is about to believe, made durable first.
//!
//! SQLite reads the write-ahead log through the operating system's cache. After a flush that failed, Linux takes what
//! may never have arrived for clean: the frames are read back whole, by the same process or the next, but are not on the
//! disk, and no later flush brings them there. Commits that are then appended are flushed, acknowledged and, after a
//! loss of power, behind a gap at which recovery ends. So before the log is opened every byte of it is written again and
//! flushed. A loss of power on the way is harmless, because nothing changes but what is durable.

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use super::error::Hindrance;
use crate::StoreError;

/// Bytes that are written again at once.
const PIECE: usize = 256 * 1_024;

/// Makes the log of the database at `path` durable as it is read, if there is one. No connection may be open.
pub(super) fn persist(path: &Path) -> Result<(), StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    let log = PathBuf::from(name);
    let file = match OpenOptions::new().read(true).write(true).open(&log) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(Hindrance::Open { path: log, source }.into()),
    };
    write_again(&file)
        .and_then(|()| file.sync_all())
        .and_then(|()| portolan_proof::rewritten(&log))
        .map_err(super::unavailable)
}

fn write_again(file: &File) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    let mut at = 0;
    loop {
        let read = file.read_at(&mut piece, at)?;
        let Some(bytes) = piece.get(..read).filter(|bytes| !bytes.is_empty()) else { return Ok(()) };
        file.write_all_at(bytes, at)?;
        at += read as u64;
    }
}
