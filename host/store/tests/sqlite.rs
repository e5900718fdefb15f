//! The embedded store: the suite that every store passes, and what only a file can do.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use std::{path::PathBuf, sync::Arc};

use portolan_store::{
    Store, StoreError,
    conformance::{Place, world::World},
    sqlite::SqliteStore,
};
use tempfile::TempDir;

/// A folder of its own for every test.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("portolan.db")
    }
}

#[async_trait::async_trait]
impl Place for Folder {
    async fn open(&self) -> Arc<dyn Store> {
        SqliteStore::open(&self.file()).unwrap()
    }
}

portolan_store::store_conformance!(crate::Folder::new());

#[tokio::test]
async fn a_file_that_is_open_is_refused_until_it_is_closed() {
    let folder = Folder::new();
    let first = SqliteStore::open(&folder.file()).unwrap();
    let StoreError::Unavailable(why) = SqliteStore::open(&folder.file()).unwrap_err() else {
        panic!("the second must hear that the store is unavailable");
    };
    assert!(why.to_string().contains("in use by another process"), "{why}");
    drop(first);
    SqliteStore::open(&folder.file()).unwrap();
}

#[tokio::test]
async fn writes_that_come_together_share_commits() {
    let folder = Folder::new();
    let store = SqliteStore::open(&folder.file()).unwrap();
    let world = World::new(store.clone()).await;
    let before = store.commits();
    let writes: Vec<_> = (0..200)
        .map(|number| {
            let world = world.clone();
            tokio::spawn(async move { world.accept(&format!("ch_{number}")).await })
        })
        .collect();
    for write in writes {
        write.await.unwrap();
    }
    let commits = store.commits() - before;
    assert!(commits < 100, "200 writes took {commits} commits");
}

#[tokio::test]
async fn a_caller_that_stops_waiting_does_not_take_its_write_back() {
    let folder = Folder::new();
    let world = World::new(SqliteStore::open(&folder.file()).unwrap()).await;
    let event = world.an_event(None);
    {
        let offer = world.store.event_accept(event.clone(), vec![]);
        let mut offer = std::pin::pin!(offer);
        // Polled once: it is queued. Then its caller goes away.
        let waker = std::task::Waker::noop();
        assert!(offer.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_pending());
    }
    let World { store, scope, .. } = world;
    drop(store);
    let store = folder.open().await;
    assert_eq!(store.event_get(&scope, &event.id).await.unwrap(), event);
}
