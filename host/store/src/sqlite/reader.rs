//! A few connections that only read, each used by one read at a time, on threads that may block. A read sees
//! everything that was committed before it began.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::error::Hindrance;
use crate::StoreError;

/// The connections that are not in use. The lock is held only to take one or put one back.
#[derive(Debug, Default)]
struct Idle(Mutex<Vec<Connection>>);

impl Idle {
    fn take(&self) -> Option<Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn put(&self, conn: Connection) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
    }
}

/// Puts a connection back, whatever the read did.
struct Borrowed<'a> {
    idle: &'a Idle,
    conn: Option<Connection>,
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take() {
            self.idle.put(conn);
        }
    }
}

/// The pool.
#[derive(Debug)]
pub(super) struct Readers {
    idle: Arc<Idle>,
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn new(connections: Vec<Connection>) -> Self {
        let permits = Arc::new(Semaphore::new(connections.len()));
        Self { idle: Arc::new(Idle(Mutex::new(connections))), permits }
    }

    /// Reads. Waits when every connection is in use.
    pub(super) async fn read<T, F>(&self, make: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| Hindrance::Closing)?;
        let idle = Arc::clone(&self.idle);
        let read = tokio::task::spawn_blocking(move || {
            // Dropped last, so that whoever gets the permit finds the connection.
            let _permit = permit;
            let borrowed = Borrowed { idle: &idle, conn: idle.take() };
            borrowed.conn.as_ref().map_or_else(|| Err(Hindrance::Closing.into()), make)
        });
        read.await.map_err(|_| Hindrance::Abandoned)?
    }
}
