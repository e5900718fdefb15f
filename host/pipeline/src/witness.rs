//! The witness of a host's death: a small file that says which modules are being executed on which runs.
//!
//! A slot is written before a module is called and wiped after it, without waiting for the disk: what a process has
//! written survives its own death, however it dies, and loss of power is nobody's guilt. The next start reads the
//! file and lets it count against those runs alone ([`portolan_store::Upkeep::leases_end_foreign`]); wiping it comes
//! after that is durable, so a death in between loses nothing, and counts nothing twice because a run's lease ends once.
//!
//! A run that is a suspect is executed alone, so that a second death has one suspect only.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::FileExt,
    path::Path,
    sync::{Mutex, PoisonError, RwLock},
};

use portolan_domain::ModuleDigest;
use portolan_store::run::Executing;

/// Bytes of a slot: a run's id, a module's digest, and room.
const SLOT_BYTES: usize = 128;
/// More than there can be guest threads.
const SLOTS_MAX: u64 = 1_024;

/// Knows what is being executed, and what was when the host before this one died.
#[derive(Debug)]
pub struct Witness {
    file: Option<File>,
    testimony: Vec<Executing>,
    slots: Mutex<Slots>,
    /// Shared by everybody, had alone by a suspect.
    floor: RwLock<()>,
}

#[derive(Debug, Default)]
struct Slots {
    free: Vec<u64>,
    next: u64,
}

impl Witness {
    /// Opens the file of the host's data folder and reads what the host before this one left there.
    ///
    /// # Errors
    /// When the file cannot be read or made.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut bytes = Vec::new();
        file.by_ref().take(SLOTS_MAX * SLOT_BYTES as u64).read_to_end(&mut bytes)?;
        let testimony = bytes.chunks(SLOT_BYTES).filter_map(read).collect();
        Ok(Self { file: Some(file), testimony, ..Self::blind() })
    }

    /// One that sees nothing: for a bench.
    #[must_use]
    pub fn blind() -> Self {
        Self { file: None, testimony: Vec::new(), slots: Mutex::default(), floor: RwLock::new(()) }
    }

    /// What was being executed when the host before this one died.
    #[must_use]
    pub fn testimony(&self) -> &[Executing] {
        &self.testimony
    }

    /// The testimony has been heard: it counts no more.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn heard(&self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), |file| file.set_len(0))
    }

    /// Has a module executed, and sees it. On the guest's thread: this may wait until a suspect has ended, or, for a
    /// suspect, until all others have.
    pub fn see(&self, call: &Executing, suspect: bool, execute: impl FnOnce()) {
        if suspect {
            let _alone = self.floor.write().unwrap_or_else(PoisonError::into_inner);
            self.execute(call, execute);
        } else {
            let _shared = self.floor.read().unwrap_or_else(PoisonError::into_inner);
            self.execute(call, execute);
        }
    }

    fn execute(&self, call: &Executing, execute: impl FnOnce()) {
        if portolan_proof::has(portolan_proof::Bug::AttemptsCountedAfter) {
            return execute();
        }
        let _mark = self.mark(call);
        execute();
    }

    fn mark(&self, call: &Executing) -> Option<Mark<'_>> {
        let file = self.file.as_ref()?;
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let number = slots.free.pop().unwrap_or_else(|| {
            slots.next += 1;
            slots.next - 1
        });
        drop(slots);
        let mark = Mark { witness: self, file, number };
        let mut text = format!("{} {}\n", call.run.as_str(), call.module.as_str()).into_bytes();
        text.resize(SLOT_BYTES, b' ');
        mark.write(&text);
        Some(mark)
    }
}

/// A slot in use. Wiped when it is dropped, also by a panic.
struct Mark<'w> {
    witness: &'w Witness,
    file: &'w File,
    number: u64,
}

impl Mark<'_> {
    /// Without it a death would count for nobody, which is no reason to stop: the disk may be full.
    fn write(&self, text: &[u8]) {
        if let Err(error) = self.file.write_all_at(text, self.number * SLOT_BYTES as u64) {
            tracing::warn!(%error, "what is being executed cannot be written down");
        }
    }
}

impl Drop for Mark<'_> {
    fn drop(&mut self) {
        self.write(&[b' '; SLOT_BYTES]);
        self.witness.slots.lock().unwrap_or_else(PoisonError::into_inner).free.push(self.number);
    }
}

/// What a slot says; nothing when it is empty or torn.
fn read(slot: &[u8]) -> Option<Executing> {
    let text = std::str::from_utf8(slot).ok()?;
    let (run, module) = text.split_once('\n')?.0.split_once(' ')?;
    Some(Executing { run: run.parse().ok()?, module: module.parse::<ModuleDigest>().ok()? })
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use portolan_domain::{RunId, Timestamp};

    use super::*;

    fn call(number: u64) -> Executing {
        let module = ModuleDigest::of(b"a module");
        Executing { run: RunId::generate(Timestamp::from_millis(number)), module }
    }

    #[test]
    fn what_is_being_executed_is_in_the_file_and_nothing_else() {
        let folder = std::env::temp_dir().join(RunId::generate(Timestamp::from_millis(1)).as_str());
        let witness = Witness::open(&folder).unwrap();
        let (ended, first, second) = (call(1), call(2), call(3));
        witness.see(&ended, false, || ());
        witness.see(&first, false, || {
            witness.see(&second, false, || {
                assert_eq!(Witness::open(&folder).unwrap().testimony(), [first.clone(), second.clone()]);
            });
            assert_eq!(Witness::open(&folder).unwrap().testimony(), std::slice::from_ref(&first));
        });
        assert!(Witness::open(&folder).unwrap().testimony().is_empty());
        std::fs::remove_file(folder).unwrap();
    }

    #[test]
    fn a_torn_or_foreign_file_accuses_nobody() {
        let folder = std::env::temp_dir().join(RunId::generate(Timestamp::from_millis(2)).as_str());
        std::fs::write(&folder, [b"run_".as_slice(), &[0xff; 300], b"\nrun_1 2\n"].concat()).unwrap();
        assert!(Witness::open(&folder).unwrap().testimony().is_empty());
        std::fs::remove_file(folder).unwrap();
    }

    #[test]
    fn a_suspect_is_executed_alone() {
        let witness = Arc::new(Witness::blind());
        let busy = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..8)
            .map(|number| {
                let (witness, busy) = (witness.clone(), busy.clone());
                std::thread::spawn(move || {
                    for _ in 0..200 {
                        let suspect = number % 4 == 0;
                        witness.see(&call(number), suspect, || {
                            let others = busy.fetch_add(1, Ordering::SeqCst);
                            assert!(!suspect || others == 0, "{others} others");
                            std::thread::yield_now();
                            busy.fetch_sub(1, Ordering::SeqCst);
                        });
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}
