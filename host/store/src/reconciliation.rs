//! What follows a restore. A database that was put back has forgotten what was sent since the backup was taken; whoever
//! simply went on would send it again. So each restored environment *reconciles*: every delivery that was not final in
//! the backup, and every one that is planned while it reconciles, is in doubt before its first attempt, and so is asked
//! about before anything is sent, as after a crash (or a person is asked). What was received since the backup is
//! fetched again from where it came, as far as that can be asked.
//!
//! A reconciliation ends by itself when every source of the environment was asked to the end since the restore and
//! nothing of what happened before it is under way; or by somebody's word. Even then, what comes late of an event from
//! before the restore is in doubt from the beginning.
//!
//! The embedded store's [`Restore`](crate::sqlite::Restore) begins reconciliations.

use std::path::Path;

use async_trait::async_trait;
use portolan_domain::{Scope, SourceId, Timestamp};

use crate::{StoreError, export::Wanted, run::Decision};

/// How often this database was restored, and when it was last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Incarnation {
    /// 1, and one more with every restore.
    pub number: u64,
    /// When it was restored; none for the first.
    pub restored_at: Option<Timestamp>,
}

/// Where the reconciliation of an environment stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconciliation {
    /// Which environment.
    pub scope: Scope,
    /// When the backup was taken: what was done since is forgotten.
    pub lost_from: Timestamp,
    /// Until when.
    pub restored_at: Timestamp,
    /// When it ended, and by whom; none while it is under way.
    pub ended: Option<Decision>,
    /// What it waits for.
    pub waiting: Waiting,
}

/// What a reconciliation waits for. All of it must be gone before it ends by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Runs of events from before the restore that are not planned yet.
    pub runs: u64,
    /// Deliveries that may have been made before the restore and are being asked about.
    pub deliveries: u64,
    /// Such deliveries that wait for a person. They do not keep it from ending: each stays in doubt by itself.
    pub persons: u64,
    /// Sources that were not asked to the end since the restore.
    pub sources: Vec<Unasked>,
}

impl Waiting {
    /// Whether it ends.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.runs == 0 && self.deliveries == 0 && self.sources.is_empty()
    }
}

/// A source that was not asked to the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unasked {
    /// Which.
    pub source: SourceId,
    /// What people call it.
    pub name: String,
    /// Whether it is being asked. When not, only a person can say that nothing is missing.
    pub can_be_asked: bool,
}

/// A backup that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// What was done after this time is not in it.
    pub taken_at: Timestamp,
    /// Its length.
    pub bytes: u64,
}

/// Backups, restores and what follows them.
#[async_trait]
pub trait Reconciliations: Send + Sync {
    /// Which incarnation this is.
    async fn incarnation(&self) -> Result<Incarnation, StoreError>;
    /// Writes a consistent copy of everything to a new file, while work goes on. It cannot be served before it was
    /// restored. Durable when this returns. No other read waits for it; another export or backup does.
    async fn backup(&self, to: &Path, now: Timestamp, wanted: Wanted) -> Result<Backup, StoreError>;
    /// Every reconciliation that is under way.
    async fn reconciliation_list(&self) -> Result<Vec<Reconciliation>, StoreError>;
    /// The latest reconciliation of an environment; none when it was never restored.
    async fn reconciliation_get(&self, scope: &Scope) -> Result<Option<Reconciliation>, StoreError>;
    /// A person ends a reconciliation. `Conflict` when none is under way.
    async fn reconciliation_end(&self, scope: &Scope, decision: Decision) -> Result<(), StoreError>;
    /// Ends a reconciliation if it waits for nothing any more; says whether it did.
    async fn reconciliation_settle(&self, scope: &Scope, now: Timestamp) -> Result<bool, StoreError>;
}
