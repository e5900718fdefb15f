//! Every call that came, as it came: for a judge of what was *sent*, not only of what was committed. A call that was
//! sent again with another key, with other bytes or without a question is wrong even when nothing was doubled by it.
//!
//! Two lines for a call, written by the exchange: when it came, before it meets its fault, and how it was answered. A
//! call without the second line was under way when the simulator was killed. Lines are not fsynced: they are to
//! survive a kill, not a loss of power.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use crate::clock::now_ms;
use crate::exchange::Ending;
use crate::faults::Strike;
use crate::stand_in::Call;

/// The journal; of no effect without a file.
pub(crate) struct Journal {
    file: Option<Mutex<File>>,
    calls: AtomicU64,
}

impl Journal {
    /// Goes on with the file, if there is one.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, std::io::Error> {
        let open = |path| OpenOptions::new().create(true).append(true).open(path).map(Mutex::new);
        Ok(Self { file: path.map(open).transpose()?, calls: AtomicU64::new(0) })
    }

    /// A call came. The answer names it in [`Self::went`].
    pub(crate) fn came(&self, call: &Call, operation: &str, strike: Option<Strike>) -> String {
        if self.file.is_none() {
            return String::new();
        }
        // Unique over restarts, too.
        let name = format!("{}-{}", std::process::id(), self.calls.fetch_add(1, Ordering::Relaxed));
        self.write(&json!({
            "came": name, "at_ms": now_ms(), "operation": operation, "method": call.method.as_str(), "path": call.path,
            "query": call.query, "key": call.header("idempotency-key"), "payload_sha256": call.payload_sha256(),
            "body": String::from_utf8_lossy(&call.body), "fault": strike.map(|strike| strike.kind.name()),
        }));
        name
    }

    /// It was answered, or cut.
    pub(crate) fn went(&self, name: &str, ending: &Ending) {
        let status = ending.status();
        self.write(&json!({ "went": name, "at_ms": now_ms(), "status": status }));
    }

    fn write(&self, line: &Value) {
        let Some(file) = &self.file else { return };
        let written =
            file.lock().unwrap_or_else(PoisonError::into_inner).write_all(format!("{line}\n").as_bytes());
        if let Err(error) = written {
            tracing::error!(%error, "the journal of calls cannot be written");
        }
    }
}
