//! What a loss of power leaves: files made from a log of what was written.
//!
//! What was synced is there. Of what was not, each sector holds what it held after any of the writes to it, whatever the
//! others hold: so writes are lost, reordered and torn. A file has any of the lengths that it had since its last sync; what
//! it has beyond what was written is zeros. Names that were made or removed are so or not, until their folder was synced.
//! A sector that was being written may hold noise where it was being written, no further (SQLite takes disks for granted
//! that do not spoil the bytes beside).

use portolan_tests::dice::Dice;
use std::{collections::BTreeMap, path::Path, sync::Arc};

use crate::disk::{Entry, FILES, FileNumber};

/// What a disk writes whole or not at all.
const SECTOR_BYTES: u64 = 512;

/// A change of a file that has not been synced.
#[derive(Debug, Clone)]
enum Change {
    Write { offset: u64, bytes: Arc<[u8]> },
    Truncate(u64),
}

#[derive(Debug, Clone, Default)]
struct File {
    synced: Vec<u8>,
    changes: Vec<Change>,
}

#[derive(Debug, Clone, Copy)]
enum NameChange {
    Made(FileNumber, usize),
    Removed(FileNumber),
}

/// The files of one folder, at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Files {
    files: Vec<File>,
    names: BTreeMap<FileNumber, usize>,
    synced_names: BTreeMap<FileNumber, usize>,
    name_changes: Vec<NameChange>,
    failed_syncs: u64,
}

/// What each file holds; a file that is not there is not in it.
pub(crate) type Contents = BTreeMap<FileNumber, Vec<u8>>;

fn overwrite(content: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    let end = start.saturating_add(bytes.len());
    if content.len() < end {
        content.resize(end, 0);
    }
    if let Some(place) = content.get_mut(start..end) {
        place.copy_from_slice(bytes);
    }
}

fn apply(content: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write { offset, bytes } => overwrite(content, *offset, bytes),
        Change::Truncate(bytes) => content.resize(usize::try_from(*bytes).unwrap_or(usize::MAX), 0),
    }
}

impl Files {
    /// With these, durable.
    pub(crate) fn of(contents: &Contents) -> Self {
        let mut files = Self::default();
        for (name, content) in contents {
            files.names.insert(*name, files.files.len());
            files.files.push(File { synced: content.clone(), changes: Vec::new() });
        }
        files.synced_names.clone_from(&files.names);
        files
    }

    /// The next thing happens.
    pub(crate) fn go_on(&mut self, entry: &Entry) {
        match entry {
            Entry::Create(file) => {
                self.files.push(File::default());
                let place = self.files.len() - 1;
                self.names.insert(*file, place);
                self.name_changes.push(NameChange::Made(*file, place));
            }
            Entry::Write { file, offset, bytes } => {
                self.change(*file, Change::Write { offset: *offset, bytes: bytes.clone() });
            }
            Entry::Truncate { file, bytes } => self.change(*file, Change::Truncate(*bytes)),
            Entry::Sync { file, folder } => {
                if let Some(file) = self.file(*file) {
                    for change in std::mem::take(&mut file.changes) {
                        apply(&mut file.synced, &change);
                    }
                }
                if *folder {
                    self.sync_names();
                }
            }
            Entry::SyncFailed(file) => self.fail(*file),
            Entry::Delete { file, folder } => {
                self.names.remove(file);
                self.name_changes.push(NameChange::Removed(*file));
                if *folder {
                    self.sync_names();
                }
            }
            Entry::Acknowledged(_) => {}
        }
    }

    fn file(&mut self, file: FileNumber) -> Option<&mut File> {
        let place = *self.names.get(&file)?;
        self.files.get_mut(place)
    }

    fn change(&mut self, file: FileNumber, change: Change) {
        if let Some(file) = self.file(file) {
            file.changes.push(change);
        }
    }

    fn sync_names(&mut self) {
        self.synced_names.clone_from(&self.names);
        self.name_changes.clear();
    }

    /// After a sync that failed the operating system takes for clean what may never have arrived: some of it is lost now,
    /// and no later sync will bring it back.
    fn fail(&mut self, file: FileNumber) {
        self.failed_syncs += 1;
        let mut dice = Dice::new(self.failed_syncs);
        if let Some(file) = self.file(file) {
            file.synced = file.after_loss(Luck::Some, &mut dice);
            file.changes.clear();
        }
    }

    /// As every process sees it, and as a process that is killed leaves it.
    pub(crate) fn seen(&self) -> Contents {
        let content = |place: &usize| {
            let file = self.files.get(*place)?;
            let mut content = file.synced.clone();
            file.changes.iter().for_each(|change| apply(&mut content, change));
            Some(content)
        };
        self.names.iter().filter_map(|(name, place)| Some((*name, content(place)?))).collect()
    }

    /// As a loss of power leaves it now.
    pub(crate) fn after_loss(&self, dice: &mut Dice) -> Contents {
        let luck = Luck::by_chance(dice);
        let mut names = self.synced_names.clone();
        for change in &self.name_changes {
            if luck.of(dice) {
                match change {
                    NameChange::Made(name, place) => names.insert(*name, *place),
                    NameChange::Removed(name) => names.remove(name),
                };
            }
        }
        let mut contents = Contents::new();
        for (name, place) in names {
            if let Some(file) = self.files.get(place) {
                let luck = Luck::by_chance(dice);
                contents.insert(name, file.after_loss(luck, dice));
            }
        }
        contents
    }
}

/// How much of what was not synced arrived.
#[derive(Debug, Clone, Copy)]
enum Luck {
    Nothing,
    Some,
    Most,
    All,
    /// The writes up to one of them, in their order.
    InOrder,
}

impl Luck {
    fn by_chance(dice: &mut Dice) -> Self {
        let all =
            [Self::Nothing, Self::Some, Self::Some, Self::Most, Self::All, Self::InOrder, Self::InOrder];
        dice.pick(&all).copied().unwrap_or(Self::Some)
    }

    fn of(self, dice: &mut Dice) -> bool {
        match self {
            Self::Nothing => false,
            Self::Some | Self::InOrder => dice.once_in(2),
            Self::Most => !dice.once_in(8),
            Self::All => true,
        }
    }
}

/// The part of a write that falls into one sector.
type Piece<'a> = (u64, &'a [u8]);

impl File {
    fn after_loss(&self, luck: Luck, dice: &mut Dice) -> Vec<u8> {
        if self.changes.is_empty() {
            return self.synced.clone();
        }
        let arrived = match luck {
            Luck::InOrder => dice.below(self.changes.len() + 1),
            Luck::Nothing | Luck::Some | Luck::Most | Luck::All => self.changes.len(),
        };
        let changes = self.changes.split_at(arrived).0;
        // Every length that it had on the way.
        let mut lengths = vec![self.synced.len()];
        let mut sectors: BTreeMap<u64, Vec<Piece<'_>>> = BTreeMap::new();
        for change in changes {
            let before = lengths.last().copied().unwrap_or(0);
            match change {
                Change::Write { offset, bytes } => {
                    let end = usize::try_from(*offset).unwrap_or(0) + bytes.len();
                    lengths.push(before.max(end));
                    cut(*offset, bytes, &mut sectors);
                }
                Change::Truncate(bytes) => lengths.push(usize::try_from(*bytes).unwrap_or(0)),
            }
        }
        let mut content = self.synced.clone();
        let noisy = dice.once_in(10).then(|| dice.below(sectors.len()));
        for (number, pieces) in sectors.into_values().enumerate() {
            let kept = match luck {
                Luck::Nothing => 0,
                Luck::All | Luck::InOrder => pieces.len(),
                Luck::Some => dice.below(pieces.len() + 1),
                Luck::Most => {
                    if dice.once_in(8) {
                        dice.below(pieces.len() + 1)
                    } else {
                        pieces.len()
                    }
                }
            };
            for (offset, bytes) in pieces.split_at(kept).0 {
                overwrite(&mut content, *offset, bytes);
            }
            if noisy == Some(number)
                && let Some((offset, bytes)) = pieces.last()
            {
                let mut noise = bytes.to_vec();
                dice.fill(&mut noise);
                overwrite(&mut content, *offset, &noise);
            }
        }
        let length = match luck {
            Luck::Nothing | Luck::Some | Luck::Most => dice.pick(&lengths).copied(),
            Luck::All | Luck::InOrder => lengths.last().copied(),
        };
        content.resize(length.unwrap_or(0), 0);
        content
    }
}

fn cut<'a>(offset: u64, bytes: &'a [u8], sectors: &mut BTreeMap<u64, Vec<Piece<'a>>>) {
    let (mut at, mut rest) = (offset, bytes);
    while !rest.is_empty() {
        let room = usize::try_from(SECTOR_BYTES - at % SECTOR_BYTES).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(room.min(rest.len()));
        sectors.entry(at / SECTOR_BYTES).or_default().push((at, piece));
        at += piece.len() as u64;
        rest = after;
    }
}

/// Puts files into a folder, and beside them what the index of the log may look like, which nobody ever syncs.
pub(crate) fn write(contents: &Contents, folder: &Path, dice: &mut Dice) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for entry in std::fs::read_dir(folder)? {
        std::fs::remove_file(entry?.path())?;
    }
    for (file, name) in FILES.iter().enumerate() {
        if let Some(content) = FileNumber::try_from(file).ok().and_then(|file| contents.get(&file)) {
            std::fs::write(folder.join(name), content)?;
        }
    }
    if dice.once_in(4) {
        let mut index = vec![0; 32 * 1024];
        if dice.once_in(2) {
            dice.fill(&mut index);
        }
        std::fs::write(folder.join("portolan.db-shm"), index)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(offset: u64, bytes: &[u8]) -> Entry {
        Entry::Write { file: 0, offset, bytes: bytes.into() }
    }

    fn files(entries: &[Entry]) -> Files {
        let mut files = Files::default();
        entries.iter().for_each(|entry| files.go_on(entry));
        files
    }

    #[test]
    fn what_was_synced_survives_every_loss() {
        let files = files(&[
            Entry::Create(0),
            write(0, &[7; 1_000]),
            Entry::Sync { file: 0, folder: true },
            write(1_000, &[8; 2_000]),
        ]);
        let mut lengths = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let contents = files.after_loss(&mut Dice::new(seed));
            let content = &contents[&0];
            assert!(content[..1_000].iter().all(|byte| *byte == 7));
            lengths.insert(content.len());
        }
        assert!(lengths.contains(&1_000) && lengths.contains(&3_000), "{lengths:?}");
    }

    #[test]
    fn what_was_not_synced_is_torn_at_sectors() {
        let files = files(&[
            Entry::Create(0),
            write(0, &[1; 2_048]),
            Entry::Sync { file: 0, folder: true },
            write(0, &[2; 2_048]),
        ]);
        let mut torn = 0;
        for seed in 0..200 {
            let contents = files.after_loss(&mut Dice::new(seed));
            let whole = |sector: &[u8]| sector.iter().all(|byte| *byte == sector[0]);
            let sectors: Vec<&[u8]> = contents[&0].chunks(512).collect();
            let mixed = sectors.iter().any(|s| s[0] == 1) && sectors.iter().any(|s| s[0] == 2);
            torn += usize::from(mixed && sectors.iter().all(|sector| whole(sector)));
        }
        assert!(torn > 20, "{torn}");
    }

    #[test]
    fn a_name_is_not_durable_before_its_folder_is() {
        let unsynced = files(&[Entry::Create(0), write(0, &[1]), Entry::Sync { file: 0, folder: false }]);
        assert!((0..50).any(|seed| unsynced.after_loss(&mut Dice::new(seed)).is_empty()));
        let synced = files(&[Entry::Create(0), write(0, &[1]), Entry::Sync { file: 0, folder: true }]);
        assert!((0..50).all(|seed| synced.after_loss(&mut Dice::new(seed))[&0] == [1]));
    }

    #[test]
    fn what_a_failed_sync_lost_does_not_come_back_with_the_next() {
        let files = files(&[
            Entry::Create(0),
            Entry::Sync { file: 0, folder: true },
            write(0, &[1; 64 * 512]),
            Entry::SyncFailed(0),
            write(64 * 512, &[2; 512]),
            Entry::Sync { file: 0, folder: false },
        ]);
        let contents = files.after_loss(&mut Dice::new(1));
        assert!(contents[&0][..64 * 512].contains(&0), "something was lost");
        assert!(contents[&0][64 * 512..].iter().all(|byte| *byte == 2));
    }
}
