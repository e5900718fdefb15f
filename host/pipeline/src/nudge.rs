//! A bell without a message.

use std::time::Duration;

use tokio::sync::Notify;

/// Wakes a loop sooner than its poll would. Rings while nobody listens are remembered as one.
#[derive(Debug, Default)]
pub struct Nudge(Notify);

impl Nudge {
    /// There may be work.
    pub fn ring(&self) {
        self.0.notify_one();
    }

    /// Waits for a ring, at most for `patience`.
    pub async fn wait(&self, patience: Duration) {
        // Whether it rang or the time ran out, the caller looks for work.
        drop(tokio::time::timeout(patience, self.0.notified()).await);
    }
}
