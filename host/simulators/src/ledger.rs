//! The judge's book: one line for each document that was really committed.
//!
//! Written by the exchange only, read over `GET /_simulator/ledger`. With a path, a line is on disk (written and
//! fsynced, several lines together where calls are parallel) before the call that caused it is answered; without
//! one it lives as long as the process. Lines are never changed or removed.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::oneshot;

use crate::settings::System;

/// Lines on their way to the disk. More than there can be calls, so that a full queue means a dead disk.
const LINES_WAITING_MAX: usize = 8_192;
/// Lines that share one fsync.
const LINES_PER_SYNC_MAX: usize = 512;
/// Lines of one page of the ledger.
pub const PAGE_LINES_MAX: usize = 10_000;

/// One committed document.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// 1, 2, 3 … without gaps.
    pub seq: u64,
    /// When it was committed, by the simulator's clock.
    pub at_ms: u64,
    /// Which system committed it.
    pub system: System,
    /// `sales-order`, `accounting-document`, `customer`, `cash-receipt`, `cash-receipt-posting`, `invoice`,
    /// `gl-journal` … (docs/simulators.md lists them).
    pub kind: String,
    /// The system's own number.
    pub number: String,
    /// The caller's reference, parsed from the payload itself (`PURCH_NO_C`, `REF_DOC_NO`, `PONum`, `CheckRef`,
    /// `ExternalRef`): two lines of one kind with the same key are a document posted twice.
    pub business_key: String,
    /// Totals by currency, as decimal text.
    pub amounts: BTreeMap<String, String>,
    /// The document's lines, as the system understood them.
    pub lines: Vec<Value>,
    /// SHA-256 (hex) of the request body that brought the document.
    pub payload_sha256: String,
    /// What the caller said about the attempt (`idempotency-key` …); never credentials.
    pub headers: BTreeMap<String, String>,
    /// The operation that committed it.
    pub operation: String,
    /// The fault that was applied to the call, if any.
    pub fault: Option<String>,
    /// Whether the simulator meant to answer the call truthfully. (Whether the caller was still there to hear it
    /// is not known.)
    pub answered: bool,
    /// The document itself.
    pub document: Value,
}

/// Why a ledger is unusable.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file cannot be opened, read or written.
    #[error("the ledger file cannot be used")]
    Io(#[from] std::io::Error),
    /// A line in the middle of the file is not a ledger line.
    #[error("line {line} of the ledger is not readable")]
    Damaged {
        /// Counted from 1.
        line: usize,
        /// What the reader said.
        #[source]
        source: serde_json::Error,
    },
}

struct Line {
    bytes: Vec<u8>,
    durable: oneshot::Sender<()>,
}

/// The promise that a line will be on disk.
pub(crate) struct Receipt(Option<oneshot::Receiver<()>>);

impl Receipt {
    /// Waits for the disk. False when the line did not get there: the call may then not be answered as done.
    pub(crate) async fn durable(self) -> bool {
        match self.0 {
            Some(receiver) => receiver.await.is_ok(),
            None => true,
        }
    }
}

/// The book.
pub struct Ledger {
    entries: Mutex<Vec<Arc<Entry>>>,
    file: Option<SyncSender<Line>>,
}

impl Ledger {
    /// Opens the book, and reads what is in it. A last line that was cut by a crash was never answered: it is
    /// removed.
    ///
    /// # Errors
    /// The file cannot be used, or holds something else.
    pub fn open(path: Option<&Path>) -> Result<Self, LedgerError> {
        let Some(path) = path else { return Ok(Self { entries: Mutex::default(), file: None }) };
        let file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
        let mut entries: Vec<Arc<Entry>> = Vec::new();
        let mut reader = BufReader::new(&file);
        let (mut text, mut sound_bytes, mut line) = (String::new(), 0_u64, 0_usize);
        while reader.read_line(&mut text)? > 0 {
            line += 1;
            if !text.ends_with('\n') {
                file.set_len(sound_bytes)?;
                file.sync_all()?;
                break;
            }
            let entry =
                serde_json::from_str(&text).map_err(|source| LedgerError::Damaged { line, source })?;
            entries.push(Arc::new(entry));
            sound_bytes += u64::try_from(text.len()).unwrap_or(u64::MAX);
            text.clear();
        }
        let (sender, receiver) = sync_channel(LINES_WAITING_MAX);
        std::thread::Builder::new()
            .name("simulator-ledger".to_owned())
            .spawn(move || write_lines(file, &receiver))?;
        Ok(Self { entries: Mutex::new(entries), file: Some(sender) })
    }

    /// Writes one line; its number is given here. The caller holds the system's lock, so that lines stand in the
    /// order in which the system committed them.
    pub(crate) fn append(&self, mut entry: Entry) -> (Arc<Entry>, Receipt) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entry.seq = u64::try_from(entries.len()).unwrap_or(u64::MAX).saturating_add(1);
        let entry = Arc::new(entry);
        entries.push(Arc::clone(&entry));
        let receipt = self.file.as_ref().map(|file| {
            let (durable, receiver) = oneshot::channel();
            if let Ok(mut bytes) = serde_json::to_vec(entry.as_ref()) {
                bytes.push(b'\n');
                if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
                    file.try_send(Line { bytes, durable })
                {
                    tracing::error!(
                        "the ledger's writer does not keep up: a line is lost and its call fails"
                    );
                }
            }
            receiver
        });
        (entry, Receipt(receipt))
    }

    /// All lines, oldest first.
    #[must_use]
    pub fn entries(&self) -> Vec<Arc<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// One page: lines after `after`, of one kind where it is given, at most `limit`; and whether there are more.
    #[must_use]
    pub fn page(&self, after: u64, kind: Option<&str>, limit: usize) -> (Vec<Arc<Entry>>, bool) {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let start = usize::try_from(after).unwrap_or(usize::MAX);
        let mut matching =
            entries.iter().skip(start).filter(|entry| kind.is_none_or(|kind| entry.kind == kind));
        let page: Vec<Arc<Entry>> = matching.by_ref().take(limit.min(PAGE_LINES_MAX)).cloned().collect();
        let more = matching.next().is_some();
        (page, more)
    }
}

/// The writer: it ends with the ledger, or with the disk. Callers whose line it did not write hear of it because
/// their `durable` sender is dropped.
fn write_lines(mut file: File, lines: &Receiver<Line>) {
    while let Ok(first) = lines.recv() {
        let mut batch = vec![first];
        while batch.len() < LINES_PER_SYNC_MAX
            && let Ok(line) = lines.try_recv()
        {
            batch.push(line);
        }
        let bytes: Vec<u8> = batch.iter().flat_map(|line| line.bytes.iter().copied()).collect();
        if let Err(error) = file.write_all(&bytes).and_then(|()| file.sync_data()) {
            tracing::error!(%error, "the ledger cannot be written: nothing is committed from here on");
            return;
        }
        for line in batch {
            if line.durable.send(()).is_err() {
                tracing::debug!("a caller went away; its document is committed all the same");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: &str, key: &str) -> Entry {
        Entry {
            seq: 0,
            at_ms: 1,
            system: System::SapEcc,
            kind: kind.to_owned(),
            number: "1".to_owned(),
            business_key: key.to_owned(),
            amounts: BTreeMap::new(),
            lines: Vec::new(),
            payload_sha256: String::new(),
            headers: BTreeMap::new(),
            operation: String::new(),
            fault: None,
            answered: true,
            document: Value::Null,
        }
    }

    #[test]
    fn a_line_cut_by_a_crash_is_removed_and_the_rest_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.jsonl");
        let ledger = Ledger::open(Some(&path)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for key in ["a", "b"] {
            assert!(runtime.block_on(ledger.append(entry("invoice", key)).1.durable()));
        }
        drop(ledger);
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"seq\":3,\"at").unwrap();
        let keys =
            |ledger: &Ledger| ledger.entries().iter().map(|e| e.business_key.clone()).collect::<Vec<_>>();
        let ledger = Ledger::open(Some(&path)).unwrap();
        assert_eq!(keys(&ledger), ["a", "b"]);
        assert!(runtime.block_on(ledger.append(entry("invoice", "c")).1.durable()));
        drop(ledger);
        assert_eq!(keys(&Ledger::open(Some(&path)).unwrap()), ["a", "b", "c"]);
    }

    #[test]
    fn pages_end_where_their_kind_ends() {
        let ledger = Ledger::open(None).unwrap();
        for number in 0..5 {
            ledger.append(entry(if number % 2 == 0 { "invoice" } else { "customer" }, "x"));
        }
        let (page, more) = ledger.page(0, Some("invoice"), 2);
        assert_eq!((page.iter().map(|e| e.seq).collect::<Vec<_>>(), more), (vec![1, 3], true));
        let (page, more) = ledger.page(3, Some("invoice"), 2);
        assert_eq!((page.iter().map(|e| e.seq).collect::<Vec<_>>(), more), (vec![5], false));
    }
}
