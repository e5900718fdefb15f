//! The one thread that writes.
//!
//! It takes every write that is queued (at most [`WRITES_PER_COMMIT_MAX`]), makes each in a savepoint of one
//! transaction, commits, and only then answers any of them. So a thousand callers share one flush to disk,
//! and an `Ok` means durable (S1). A write that fails takes back only its own savepoint. When the commit fails,
//! nothing of the whole group happened and every caller is told so.
//!
//! No lock is held while a caller waits, and a caller that stops waiting does not take its write back.

use std::{
    fs::File,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::{checkpoint::Checkpoints, error::Hindrance, turn::Turns};
use crate::StoreError;

/// Writes that share one commit. More would make the last one's caller wait longer than a flush takes.
const WRITES_PER_COMMIT_MAX: usize = 256;

/// Writes that may wait for the thread before their callers wait to be queued.
pub(super) const QUEUED_WRITES_MAX: usize = 4_096;

/// What a write works with: the transaction, and whose turn it is.
pub(super) struct Tx<'a> {
    pub(super) conn: &'a Connection,
    pub(super) turns: &'a mut Turns,
}

/// Tells the caller, once it is known whether the transaction was committed.
type Answer = Box<dyn FnOnce(bool) + Send>;

/// Makes a change. Says whether to keep it, and how to tell the caller.
type Write = Box<dyn FnOnce(&mut Tx<'_>) -> (bool, Answer) + Send>;

/// The queue in front of the thread. Dropping it lets the thread finish what is queued and waits for its end.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Option<mpsc::Sender<Write>>,
    thread: Option<JoinHandle<()>>,
    commits: Arc<AtomicU64>,
}

impl Writer {
    /// Starts the thread. It keeps `lock` until the connection is closed.
    pub(super) fn start(
        conn: Connection,
        checkpoints: Checkpoints,
        lock: File,
    ) -> Result<Self, std::io::Error> {
        let (queue, queued) = mpsc::channel(QUEUED_WRITES_MAX);
        let commits = Arc::new(AtomicU64::new(0));
        let mut state = Thread { conn, checkpoints, turns: Turns::default(), commits: Arc::clone(&commits) };
        let thread = std::thread::Builder::new().name("store-writer".to_owned()).spawn(move || {
            state.run(queued);
            drop(state);
            drop(lock);
        })?;
        Ok(Self { queue: Some(queue), thread: Some(thread), commits })
    }

    /// Transactions committed since the start.
    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Makes a change and returns when it is durable, or has not happened.
    pub(super) async fn write<T, F>(&self, make: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let (tell, told) = oneshot::channel();
        let write: Write = Box::new(move |tx| {
            let result = make(tx);
            let keep = result.is_ok();
            let answer = move |committed: bool| {
                let result = if committed { result } else { Err(Hindrance::NotCommitted.into()) };
                // A caller that no longer waits is no concern of ours: its write is durable all the same.
                drop(tell.send(result));
            };
            (keep, Box::new(answer) as Answer)
        });
        let queue = self.queue.as_ref().ok_or(Hindrance::Closing)?;
        queue.send(write).await.map_err(|_| Hindrance::Closing)?;
        told.await.map_err(|_| Hindrance::Abandoned)?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's writer thread had panicked");
        }
    }
}

/// What the thread owns.
struct Thread {
    conn: Connection,
    checkpoints: Checkpoints,
    turns: Turns,
    commits: Arc<AtomicU64>,
}

impl Thread {
    /// Until the queue is closed and empty.
    fn run(&mut self, mut queued: mpsc::Receiver<Write>) {
        let mut group = Vec::with_capacity(WRITES_PER_COMMIT_MAX);
        while let Some(write) = queued.blocking_recv() {
            group.push(write);
            while group.len() < WRITES_PER_COMMIT_MAX
                && let Ok(write) = queued.try_recv()
            {
                group.push(write);
            }
            let writes = group.len();
            self.commit_group(group.drain(..));
            metrics::counter!("portolan_store_writes_total").increment(writes as u64);
            metrics::counter!("portolan_store_commits_total").increment(1);
            self.checkpoints.after_commit(&self.conn, writes);
        }
    }

    fn commit_group(&mut self, writes: impl Iterator<Item = Write>) {
        if let Err(error) = self.execute("BEGIN IMMEDIATE") {
            tracing::error!(error = %error, "the store cannot begin a transaction");
            // Dropping a write tells its caller that it was abandoned.
            writes.for_each(drop);
            return;
        }
        let answers: Vec<Answer> = writes.filter_map(|write| self.make(write)).collect();
        let committed = self.commit();
        if committed {
            self.commits.fetch_add(1, Ordering::Relaxed);
        }
        for answer in answers {
            answer(committed);
        }
    }

    /// Makes one write in a savepoint of its own. None when it panicked: its caller then hears that it was
    /// abandoned.
    fn make(&mut self, write: Write) -> Option<Answer> {
        if let Err(error) = self.execute("SAVEPOINT one_write") {
            tracing::error!(error = %error, "the store cannot begin a write");
            return None;
        }
        let mut tx = Tx { conn: &self.conn, turns: &mut self.turns };
        let (keep, answer) = match catch_unwind(AssertUnwindSafe(|| write(&mut tx))) {
            Ok((keep, answer)) => (keep, Some(answer)),
            Err(_) => (false, None),
        };
        if !keep && let Err(error) = self.execute("ROLLBACK TO one_write") {
            tracing::error!(error = %error, "the store cannot take a write back");
        }
        if let Err(error) = self.execute("RELEASE one_write") {
            tracing::error!(error = %error, "the store cannot end a write");
        }
        answer
    }

    /// False when nothing of the group happened.
    fn commit(&self) -> bool {
        // A full disk makes SQLite roll back by itself: then there is nothing left to commit.
        if self.conn.is_autocommit() {
            tracing::error!("the store lost a transaction");
            return false;
        }
        let Err(error) = self.execute("COMMIT") else { return true };
        tracing::error!(error = %error, "the store cannot commit");
        if !self.conn.is_autocommit()
            && let Err(error) = self.execute("ROLLBACK")
        {
            tracing::error!(error = %error, "the store cannot roll back");
        }
        false
    }

    fn execute(&self, sql: &str) -> rusqlite::Result<usize> {
        self.conn.prepare_cached(sql)?.execute([])
    }
}
