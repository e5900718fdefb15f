//! A log of what the real store wrote while callers used it; kept in a file when something is found, because the order
//! in which threads come cannot be made again.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use portolan_store::{
    Store,
    sqlite::{SqliteSettings, SqliteStore},
};

use crate::{
    disk::{Disk, Entry, FILES},
    facts::Fact,
    shim,
    workload::Workload,
};

/// Callers, each with a tenant of its own. What they write at once shares a commit.
const CALLERS: usize = 5;

/// A sync of a quick disk. The writer thread sleeps meanwhile, so that others queue.
const SYNC_TAKES: Duration = Duration::from_micros(400);

/// What happened, and what was acknowledged.
#[derive(Debug)]
pub(crate) struct Recording {
    pub(crate) log: Vec<Entry>,
    pub(crate) facts: Vec<Fact>,
}

/// Small, so that the log begins anew many times.
fn settings() -> SqliteSettings {
    SqliteSettings { log_kib_max: 512, ..SqliteSettings::default() }
}

/// Records two sessions: the second opens what the first closed.
pub(crate) fn record(folder: &Path, steps: usize, seed: u64) -> anyhow::Result<Recording> {
    std::fs::create_dir_all(folder)?;
    let disk = Disk::new(folder, SYNC_TAKES);
    shim::watch(&disk);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let file = folder.join(FILES[0]);
    let worked = runtime.block_on(async {
        let store: Arc<dyn Store> = SqliteStore::open_with(&file, &settings())?;
        let workload = Arc::new(Workload::set_up(store, disk.clone(), CALLERS).await);
        workload.run(steps / 2, seed).await?;
        let callers = Arc::into_inner(workload).context("a caller is still at work")?.leave();
        let store: Arc<dyn Store> = SqliteStore::open_with(&file, &settings())?;
        let workload = Arc::new(Workload::enter(callers, store, disk.clone()));
        workload.run(steps - steps / 2, seed.wrapping_add(1)).await?;
        anyhow::Ok(())
    });
    drop(runtime);
    shim::leave(&disk);
    worked.context("the store failed on a sound disk")?;
    let (log, facts) = disk.take();
    Ok(Recording { log, facts })
}

impl Recording {
    /// Writes it down: a line of JSON with the facts, then each entry as number, file, offset, length and bytes.
    pub(crate) fn save(&self, path: &Path) -> anyhow::Result<()> {
        let mut out = serde_json::to_vec(&self.facts)?;
        out.push(b'\n');
        for entry in &self.log {
            let (kind, file, place, bytes): (u8, u8, u64, &[u8]) = match entry {
                Entry::Create(file) => (0, *file, 0, &[]),
                Entry::Write { file, offset, bytes } => (1, *file, *offset, bytes),
                Entry::Truncate { file, bytes } => (2, *file, *bytes, &[]),
                Entry::Sync { file, folder } => (3, *file, u64::from(*folder), &[]),
                Entry::SyncFailed(file) => (4, *file, 0, &[]),
                Entry::Delete { file, folder } => (5, *file, u64::from(*folder), &[]),
                Entry::Acknowledged(fact) => (6, 0, *fact as u64, &[]),
            };
            out.extend([kind, file]);
            out.extend(place.to_le_bytes());
            out.extend((bytes.len() as u64).to_le_bytes());
            out.extend(bytes);
        }
        std::fs::write(path, out).with_context(|| path.display().to_string())
    }

    pub(crate) fn load(path: &Path) -> anyhow::Result<Self> {
        let all = std::fs::read(path).with_context(|| path.display().to_string())?;
        let end = all.iter().position(|byte| *byte == b'\n').context("it has no facts")?;
        let (facts, mut rest) = all.split_at(end);
        rest = rest.get(1..).unwrap_or_default();
        let mut log = Vec::new();
        while !rest.is_empty() {
            let cut = || "it is cut";
            let (head, after) = rest.split_at_checked(18).with_context(cut)?;
            let number =
                |range: std::ops::Range<usize>| Some(u64::from_le_bytes(head.get(range)?.try_into().ok()?));
            let (place, length) = (number(2..10).with_context(cut)?, number(10..18).with_context(cut)?);
            let (bytes, after) = after.split_at_checked(usize::try_from(length)?).with_context(cut)?;
            let file = head.get(1).copied().unwrap_or(0);
            log.push(match head.first() {
                Some(0) => Entry::Create(file),
                Some(1) => Entry::Write { file, offset: place, bytes: bytes.into() },
                Some(2) => Entry::Truncate { file, bytes: place },
                Some(3) => Entry::Sync { file, folder: place == 1 },
                Some(4) => Entry::SyncFailed(file),
                Some(5) => Entry::Delete { file, folder: place == 1 },
                _ => Entry::Acknowledged(usize::try_from(place)?),
            });
            rest = after;
        }
        Ok(Self { log, facts: serde_json::from_slice(facts)? })
    }
}
