//! A few connections that only read, each used by one read at a time, on threads that may block. A read sees
//! everything that was committed before it began.
//!
//! When the writer has to begin anew (see `writer`), it closes all of these, too: until they are open again, every read
//! is told that the store is unavailable.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;
use tokio::{sync::Semaphore, task::JoinSet};

use super::error::Hindrance;
use crate::StoreError;

/// The connections.
#[derive(Debug, Default)]
struct Pool {
    state: Mutex<State>,
    /// Told whenever a connection comes back.
    returned: Condvar,
}

/// The lock is held only to take one or put one back.
#[derive(Debug, Default)]
struct State {
    idle: Vec<Connection>,
    lent: usize,
    /// What comes back is closed.
    closing: bool,
}

impl Pool {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<Connection> {
        let mut state = self.state();
        let conn = state.idle.pop()?;
        state.lent += 1;
        Some(conn)
    }

    fn put(&self, conn: Connection) {
        let mut state = self.state();
        state.lent -= 1;
        if state.closing {
            // Closed before the lock is given up, so that who waits for it finds it closed.
            drop(conn);
        } else {
            state.idle.push(conn);
        }
        drop(state);
        self.returned.notify_all();
    }
}

/// Puts a connection back, whatever the read did.
struct Borrowed<'a> {
    pool: &'a Pool,
    conn: Option<Connection>,
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take() {
            self.pool.put(conn);
        }
    }
}

/// The pool.
#[derive(Debug, Clone)]
pub(super) struct Readers {
    pool: Arc<Pool>,
    permits: Arc<Semaphore>,
}

impl Readers {
    /// For so many connections, none of which is open yet.
    pub(super) fn new(connections: usize) -> Self {
        Self { pool: Arc::default(), permits: Arc::new(Semaphore::new(connections)) }
    }

    /// Closes every connection, waiting for reads under way. Blocks.
    pub(super) fn close(&self) {
        let mut state = self.pool.state();
        state.closing = true;
        state.idle.clear();
        while state.lent > 0 {
            state = self.pool.returned.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether connections are being closed: who reads for long stops.
    pub(super) fn is_closing(&self) -> bool {
        self.pool.state().closing
    }

    /// Reads with these from now on.
    pub(super) fn open(&self, connections: Vec<Connection>) {
        let mut state = self.pool.state();
        state.idle = connections;
        state.closing = false;
    }

    /// Reads. Waits when every connection is in use.
    pub(super) async fn read<T, F>(&self, make: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let (permits, pool) = (Arc::clone(&self.permits), Arc::clone(&self.pool));
        let mut reading = JoinSet::new();
        // A task of its own, which ends when nobody waits for it any more: a permit that is handed to somebody whose turn on
        // the processor comes later is a connection that nobody uses meanwhile.
        reading.spawn(async move {
            let permit = permits.acquire_owned().await.map_err(|_| Hindrance::Closing)?;
            let read = tokio::task::spawn_blocking(move || {
                // Dropped last, so that whoever gets the permit finds the connection.
                let _permit = permit;
                let borrowed = Borrowed { pool: &pool, conn: pool.take() };
                borrowed.conn.as_ref().map_or_else(|| Err(Hindrance::Reopening.into()), make)
            });
            read.await.map_err(|_| Hindrance::Abandoned)?
        });
        reading.join_next().await.and_then(Result::ok).ok_or(Hindrance::Abandoned)?
    }
}
