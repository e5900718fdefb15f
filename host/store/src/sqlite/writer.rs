//! The one thread that writes.
//!
//! It takes every write that is queued (at most [`WRITES_PER_COMMIT_MAX`]), makes each in a savepoint of one
//! transaction, commits, and only then answers any of them. So a thousand callers share one flush to disk,
//! and an `Ok` means durable (S1). A write that fails takes back only its own savepoint. When the commit fails,
//! nothing of the whole group happened and every caller is told so.
//!
//! When a transaction fails as a whole, or a copy of the log into the database, the disk is ill, and what the operating
//! system says about earlier writes can no longer be believed: after a failed flush it takes for clean what may never
//! have arrived. So all connections, with all that they remember, are closed, and every write and read is refused until
//! new ones are open and the writer has proved by a commit of its own that the disk is well again. It tries at once, and
//! then with every write that comes; nobody has to restart anything. (Recovery may find a transaction whose flush failed
//! whole in the log, and carry it out: see `log`. Its callers were told `Unavailable`; they ask again under the same id
//! or lease, and are told.)
//!
//! A plan may be megabytes, and whoever shares its commit waits until all of it is written. So what is large goes by itself,
//! when what is small and came in the meantime has gone: whoever stores little waits for one large write at most, and one
//! goes between any two groups of small ones.
//!
//! No lock is held while a caller waits, and a caller that stops waiting does not take its write back.

use std::{
    collections::VecDeque,
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

use super::{
    Place,
    checkpoint::{self, Checkpoints},
    error::Hindrance,
    turn::Turns,
    usage,
};
use crate::StoreError;

/// Writes that share one commit. More would make the last one's caller wait longer than a flush takes.
const WRITES_PER_COMMIT_MAX: usize = 256;

/// A write of more bytes has a commit of its own.
const SMALL_BYTES_MAX: usize = 64 << 10;

/// Bytes of the writes that share one commit; the last may exceed it.
const BYTES_PER_COMMIT_MAX: usize = 256 << 10;

/// Writes that may wait for the thread before their callers wait to be queued.
pub(super) const QUEUED_WRITES_MAX: usize = 4_096;

/// Changes a page, so that it has to reach the disk.
pub(super) const PING: &str = "UPDATE pings SET number = number + 1";

/// What a write works with: the transaction, and whose turn it is.
pub(super) struct Tx<'a> {
    pub(super) conn: &'a Connection,
    pub(super) turns: &'a mut Turns,
}

/// Tells the caller, once it is known whether the transaction was committed.
type Answer = Box<dyn FnOnce(bool) + Send>;

/// Makes a change. Says whether to keep it, and how to tell the caller.
type Write = Box<dyn FnOnce(&mut Tx<'_>) -> (bool, Answer) + Send>;

/// A write, and about how many bytes it stores.
struct Queued {
    bytes: usize,
    write: Write,
}

/// The queue in front of the thread. Dropping it lets the thread finish what is queued and waits for its end.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Option<mpsc::Sender<Queued>>,
    thread: Option<JoinHandle<()>>,
    commits: Arc<AtomicU64>,
}

impl Writer {
    /// Starts the thread. It keeps `lock` until its connections are closed.
    pub(super) fn start(open: Open, place: Place, lock: File) -> Result<Self, std::io::Error> {
        let (queue, queued) = mpsc::channel(QUEUED_WRITES_MAX);
        let commits = Arc::new(AtomicU64::new(0));
        let (open, turns) = (Some(open), Turns::default());
        let mut state = Thread { open, place, turns, commits: Arc::clone(&commits) };
        let thread = std::thread::Builder::new().name("store-writer".to_owned()).spawn(move || {
            state.run(queued);
            // Before those that write: the last to be closed copies the log, which one that reads may not.
            state.place.close_readers();
            drop(state);
            drop(lock);
        })?;
        Ok(Self { queue: Some(queue), thread: Some(thread), commits })
    }

    /// Transactions committed since the start.
    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Makes a change that stores about so many bytes, and returns when it is durable, or has not happened.
    pub(super) async fn write<T, F>(&self, bytes: usize, make: F) -> Result<T, StoreError>
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
        queue.send(Queued { bytes, write }).await.map_err(|_| Hindrance::Closing)?;
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

/// The connections that write.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) conn: Connection,
    pub(super) checkpoints: Checkpoints,
}

/// What the thread owns.
struct Thread {
    /// None after something failed, until new connections have proved themselves.
    open: Option<Open>,
    place: Place,
    turns: Turns,
    commits: Arc<AtomicU64>,
}

impl Thread {
    /// Until the queue is closed and empty.
    fn run(&mut self, mut queue: mpsc::Receiver<Queued>) {
        let mut small = Vec::with_capacity(WRITES_PER_COMMIT_MAX);
        let mut large = VecDeque::new();
        loop {
            // Nobody's write is kept waiting for one that has not come yet.
            let mut next = if large.is_empty() { queue.blocking_recv() } else { queue.try_recv().ok() };
            let mut bytes = 0;
            while let Some(queued) = next {
                if queued.bytes > SMALL_BYTES_MAX {
                    large.push_back(queued.write);
                } else {
                    bytes += queued.bytes;
                    small.push(queued.write);
                }
                let is_full = small.len() == WRITES_PER_COMMIT_MAX || bytes >= BYTES_PER_COMMIT_MAX;
                next = if is_full { None } else { queue.try_recv().ok() };
            }
            if !small.is_empty() {
                self.commit(small.drain(..));
            } else if large.is_empty() {
                return;
            }
            if let Some(write) = large.pop_front() {
                self.commit(std::iter::once(write));
            }
        }
    }

    /// One transaction, and what follows from how it ended.
    fn commit(&mut self, writes: impl ExactSizeIterator<Item = Write>) {
        let count = writes.len();
        let well = self.commit_group(writes) && self.after_commit(count);
        metrics::gauge!("portolan_store_writable").set(if well { 1.0 } else { 0.0 });
        if !well {
            metrics::counter!("portolan_store_failures_total").increment(1);
            self.close();
            // It may have been for once. If not, the next write tries again.
            self.open = self.place.open_proved();
        }
    }

    /// False when nothing of the group happened. A write that is dropped tells its caller that it was abandoned.
    fn commit_group(&mut self, writes: impl Iterator<Item = Write>) -> bool {
        if self.open.is_none() {
            self.open = self.place.open_proved();
        }
        let Some(Open { conn, .. }) = &self.open else { return false };
        if let Err(error) = execute(conn, "BEGIN IMMEDIATE") {
            tracing::error!(error = %error, "the store cannot begin a transaction");
            return false;
        }
        let turns = &mut self.turns;
        let answers: Vec<Answer> = writes.filter_map(|write| make(conn, turns, write)).collect();
        let committed = commit(conn);
        // What a transaction counted that was taken back must not be counted by the next.
        usage::forget();
        if committed {
            self.commits.fetch_add(1, Ordering::Relaxed);
        }
        for answer in answers {
            answer(committed);
        }
        committed
    }

    /// False when the log could not be copied.
    fn after_commit(&mut self, writes: usize) -> bool {
        metrics::counter!("portolan_store_writes_total").increment(writes as u64);
        metrics::counter!("portolan_store_commits_total").increment(1);
        self.open.as_mut().is_none_or(|open| open.checkpoints.after_commit(&open.conn))
    }

    /// Closes every connection, copying nothing: SQLite begins anew with what is in the log when the next is opened.
    fn close(&mut self) {
        self.place.close_readers();
        if let Some(Open { conn, checkpoints }) = self.open.take() {
            checkpoints.give_up();
            checkpoint::close(conn, true);
        }
    }
}

/// Makes one write in a savepoint of its own. None when it panicked or was not begun: its caller then hears that it
/// was abandoned.
fn make(conn: &Connection, turns: &mut Turns, write: Write) -> Option<Answer> {
    // A full or broken disk makes SQLite roll back by itself in the middle of the group. Outside the transaction a
    // savepoint would commit on its own, and its caller would be told that nothing happened.
    if conn.is_autocommit() {
        return None;
    }
    if let Err(error) = execute(conn, "SAVEPOINT one_write") {
        tracing::error!(error = %error, "the store cannot begin a write");
        return None;
    }
    let mut tx = Tx { conn, turns };
    let (keep, answer) = match catch_unwind(AssertUnwindSafe(|| write(&mut tx))) {
        Ok((keep, answer)) => (keep, Some(answer)),
        Err(_) => (false, None),
    };
    usage::settle(keep);
    if conn.is_autocommit() {
        return answer;
    }
    if !keep && let Err(error) = execute(conn, "ROLLBACK TO one_write") {
        tracing::error!(error = %error, "the store cannot take a write back");
        give_up(conn);
        return answer;
    }
    if let Err(error) = execute(conn, "RELEASE one_write") {
        tracing::error!(error = %error, "the store cannot end a write");
        give_up(conn);
    }
    answer
}

/// False when nothing of the group happened.
fn commit(conn: &Connection) -> bool {
    if conn.is_autocommit() {
        tracing::error!("the store lost a transaction");
        return false;
    }
    if let Err(error) = usage::store(conn) {
        tracing::error!(error = &error as &dyn std::error::Error, "the store cannot count what was used");
        give_up(conn);
        return false;
    }
    let Err(error) = execute(conn, "COMMIT") else { return true };
    tracing::error!(error = %error, "the store cannot commit");
    give_up(conn);
    false
}

/// Takes the whole group back. Closing the connection, which comes next, would do it, too.
fn give_up(conn: &Connection) {
    if !conn.is_autocommit()
        && let Err(error) = execute(conn, "ROLLBACK")
    {
        tracing::error!(error = %error, "the store cannot roll back");
    }
}

fn execute(conn: &Connection, sql: &str) -> rusqlite::Result<usize> {
    conn.prepare_cached(sql)?.execute([])
}
