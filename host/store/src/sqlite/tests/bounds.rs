//! What must not cost more than its step, nor keep others waiting.

use std::sync::Arc;

use rusqlite::StatementStatus;
use tempfile::TempDir;

use super::{bare, explain, open};
use crate::{
    StoreError,
    backlog::{Backlogs, Whose},
    conformance::world::{START, World, decision},
    export::{Exports, Wanted, always},
    mapping::Mapping,
    reconciliation::Reconciliations,
    sqlite::{SqliteSettings, SqliteStore, alert, event, mapping, notification, open_compacting, retention},
};

#[test]
fn what_removes_and_lists_walks_over_nothing_that_it_does_not_mean() {
    let conn = bare();
    // So that the checks of foreign keys are in the plan.
    conn.pragma_update(None, "foreign_keys", true).unwrap();
    let mut all = event::remove_statements();
    all.extend(retention::statements());
    all.extend(notification::LIST_STATEMENTS);
    all.extend(alert::LIST_STATEMENTS);
    for sql in all {
        for step in explain(&conn, "EXPLAIN QUERY PLAN", sql, 3) {
            assert!(!step.starts_with("SCAN") && !step.contains("TEMP B-TREE"), "{step}: {sql}");
        }
    }
    // The few that have a key, one of each source, are sorted; no event of another key is looked at.
    let plan = explain(&conn, "EXPLAIN QUERY PLAN", event::BY_KEY, 3);
    assert!(plan.iter().any(|step| step.contains("(source=? AND idempotency_key=?")), "{plan:?}");
}

/// With so many connections that read.
fn open_with(readers: usize) -> (TempDir, Arc<SqliteStore>) {
    let folder = tempfile::tempdir().unwrap();
    let settings = SqliteSettings { readers, ..SqliteSettings::default() };
    let store = SqliteStore::open_with(&folder.path().join("portolan.db"), &settings).unwrap();
    (folder, store)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_keeps_no_read_waiting() {
    let (folder, store) = open_with(1);
    let world = World::new(store.clone()).await;
    let (begun, has_begun) = std::sync::mpsc::channel();
    let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
    let (first, may_go_on) = (std::sync::Once::new(), std::sync::Mutex::new(may_go_on));
    let wanted: Wanted = Arc::new(move || {
        first.call_once(|| {
            begun.send(()).unwrap();
            may_go_on.lock().unwrap().recv().unwrap();
        });
        true
    });
    let path = folder.path().join("export");
    let export = tokio::spawn({
        let (store, tenant) = (Arc::clone(&store), world.scope.tenant.clone());
        async move { store.export_write(&tenant, &path, START, wanted).await }
    });
    tokio::task::spawn_blocking(move || has_begun.recv().unwrap()).await.unwrap();
    store.backlog(Whose::All).await.unwrap();
    go_on.send(()).unwrap();
    assert!(export.await.unwrap().unwrap().rows > 0);
}

#[tokio::test]
async fn a_copy_that_nobody_wants_any_more_is_given_up_and_leaves_no_file() {
    let (folder, store) = open();
    let world = World::new(store.clone()).await;
    for looks in [0, 2] {
        let left = std::sync::atomic::AtomicI32::new(looks);
        let wanted: Wanted = Arc::new(move || left.fetch_sub(1, std::sync::atomic::Ordering::SeqCst) > 0);
        let path = folder.path().join("copy");
        let export = store.export_write(&world.scope.tenant, &path, START, Arc::clone(&wanted)).await;
        let backup = store.backup(&path, START, wanted).await;
        assert!(matches!(export, Err(StoreError::Unavailable(_))), "{export:?}");
        assert!(matches!(backup, Err(StoreError::Unavailable(_))), "{backup:?}");
        assert!(!path.exists());
    }
    let path = folder.path().join("there already");
    std::fs::write(&path, "not ours").unwrap();
    assert!(store.backup(&path, START, always()).await.is_err());
    assert!(path.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn searches_leave_a_reader_to_others() {
    let (_folder, store) = open_with(2);
    let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
    let may_go_on = Arc::new(std::sync::Mutex::new(may_go_on));
    let search = || {
        let (store, may_go_on) = (Arc::clone(&store), Arc::clone(&may_go_on));
        tokio::spawn(async move {
            store
                .look(true, move |_| {
                    may_go_on.lock().unwrap().recv().unwrap();
                    Ok(())
                })
                .await
        })
    };
    let searches = [search(), search(), search()];
    tokio::task::yield_now().await;
    store.backlog(Whose::All).await.unwrap();
    // Whichever comes first: none waits for another that is told only later.
    searches.iter().for_each(|_| go_on.send(()).unwrap());
    for search in searches {
        search.await.unwrap().unwrap();
    }
}

#[test]
fn a_database_that_is_written_anew_is_not_in_memory_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let conn = open_compacting(&folder.path().join("portolan.db")).unwrap();
    let kept: i64 = conn.pragma_query_value(None, "temp_store", |row| row.get(0)).unwrap();
    assert_eq!(kept, 1, "in a file");
}

#[tokio::test]
async fn what_is_not_paused_is_looked_up_once_for_a_claim() {
    let (_folder, store) = open();
    let world = World::new(store.clone()).await;
    for number in 0..10 {
        let id = portolan_domain::MappingId::generate(START);
        let mapping = Mapping { id, ..world.a_mapping(&format!("another {number}")) };
        let beside = World { mapping: mapping.id.clone(), ..world.clone() };
        world.store.mapping_create(mapping).await.unwrap();
        beside.accept(&format!("ch_{number}")).await;
    }
    world.store.mapping_pause(&world.scope, &world.mapping, decision(START)).await.unwrap();
    let looks = || {
        store.write(|tx| {
            Ok(tx.conn.prepare_cached(mapping::CLAIM_STATEMENTS[0])?.get_status(StatementStatus::Run))
        })
    };
    let before = looks().await.unwrap();
    assert_eq!(world.claim_runs(START).await.len(), 10);
    assert_eq!(looks().await.unwrap() - before, 10, "one of each mapping that has a run");
}
