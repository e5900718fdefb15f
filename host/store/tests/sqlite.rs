//! The embedded store: the suite that every store passes, and what only a file can do.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use std::{path::PathBuf, sync::Arc};

use portolan_store::{
    Page, Store, StoreError,
    conformance::{Place, world::World},
    event::EventFilter,
    sqlite::{SqliteSettings, SqliteStore},
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

/// Writes events of 100 KiB as fast as it goes while somebody reads all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_stays_within_its_bound_under_steady_load() {
    const BOUND_KIB: u32 = 4 * 1024;
    let folder = Folder::new();
    let settings = SqliteSettings { log_kib_max: BOUND_KIB, ..SqliteSettings::default() };
    let store = SqliteStore::open_with(&folder.file(), &settings).unwrap();
    let world = World::new(store).await;
    let reading = world.clone();
    let reader = tokio::spawn(async move {
        loop {
            let page = Page { before: None, rows_max: 100 };
            reading.store.event_list(&reading.scope, EventFilter::default(), page).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    let mut log = folder.file().into_os_string();
    log.push("-wal");
    let mut longest = 0;
    for _ in 0..400 {
        let mut event = world.an_event(None);
        event.payload = vec![b'x'; 100 * 1024];
        world.store.event_accept(event, vec![]).await.unwrap();
        longest = longest.max(std::fs::metadata(&log).unwrap().len());
    }
    reader.abort();
    // 40 MiB were written. The bound, the commit that reaches it, and what a reader may hold up once or twice.
    let bound = u64::from(BOUND_KIB) * 1024;
    assert!(longest < bound + bound / 2, "the log grew to {} KiB", longest / 1024);
}
