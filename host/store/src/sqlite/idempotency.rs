//! Idempotency keys of the API.

use async_trait::async_trait;
use rusqlite::params;

use super::{
    SqliteStore,
    row::{change, first, millis},
};
use crate::{
    StoreError,
    idempotency::{Begun, IdempotencyKeys, KeyedRequest},
};

/// A stored row.
struct Known {
    request: [u8; 32],
    owner: String,
    status: Option<u16>,
    answer: Option<Vec<u8>>,
}

#[async_trait]
impl IdempotencyKeys for SqliteStore {
    async fn idempotency_begin(&self, keyed: KeyedRequest) -> Result<Begun, StoreError> {
        self.write(move |tx| {
            // A few at a time: more are forgotten than are begun.
            let forget = "DELETE FROM idempotency WHERE id IN
                          (SELECT id FROM idempotency WHERE begun_at < ?1 ORDER BY begun_at LIMIT 100)";
            change(tx.conn, forget, [millis(keyed.since)])?;
            let find = "SELECT request, owner, status, answer FROM idempotency WHERE id = ?1";
            let known = first(tx.conn, find, [keyed.id], |c| {
                let (request, owner): ([u8; 32], String) = (c.get()?, c.get()?);
                Ok(Known { request, owner, status: c.get()?, answer: c.get()? })
            })?;
            let Some(known) = known else {
                let add = "INSERT INTO idempotency (id, request, owner, begun_at) VALUES (?1, ?2, ?3, ?4)";
                change(tx.conn, add, params![keyed.id, keyed.request, keyed.owner, millis(keyed.now)])?;
                return Ok(Begun::New);
            };
            Ok(match (known.status, known.answer) {
                _ if known.request != keyed.request => Begun::Different,
                (Some(status), Some(answer)) => Begun::Ended { status, answer },
                _ if known.owner == keyed.owner => Begun::UnderWay,
                _ => Begun::Unknown,
            })
        })
        .await
    }

    async fn idempotency_end(&self, id: [u8; 32], status: u16, answer: Vec<u8>) -> Result<(), StoreError> {
        self.write(move |tx| {
            let sql = "UPDATE idempotency SET status = ?2, answer = ?3 WHERE id = ?1";
            change(tx.conn, sql, params![id, status, answer])?;
            Ok(())
        })
        .await
    }

    async fn idempotency_forget(&self, id: [u8; 32]) -> Result<(), StoreError> {
        self.write(move |tx| {
            change(tx.conn, "DELETE FROM idempotency WHERE id = ?1", [id])?;
            Ok(())
        })
        .await
    }
}
