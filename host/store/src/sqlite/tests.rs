//! What only the inside of the embedded store can show: its settings, its last guards, and the cost of a claim.

use std::sync::Arc;

use portolan_domain::state::{DeliveryState, RunState};
use rusqlite::{Connection, StatementStatus};
use serde_json::json;
use tempfile::TempDir;

use super::{
    SqliteStore, connection, delivery, durable, mapping, migrate, pause, run, standing, wake, writer,
};
use crate::{
    Page, StoreError,
    backlog::{Backlogs, Whose},
    conformance::world::{START, World, delivered, plan, request},
    delivery::{Deliveries, Sent},
    run::RunEnd,
};

mod bounds;

fn open() -> (TempDir, Arc<SqliteStore>) {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("portolan.db")).unwrap();
    (folder, store)
}

#[tokio::test]
async fn s1_the_writer_flushes_every_commit() {
    let (_folder, store) = open();
    assert!(store.write(|tx| durable(tx.conn)).await.unwrap());
    let mode: String = store
        .write(|tx| Ok(tx.conn.pragma_query_value(None, "journal_mode", |row| row.get(0))?))
        .await
        .unwrap();
    assert_eq!(mode, "wal");
}

#[tokio::test]
async fn a_panic_fails_that_write_only() {
    let (_folder, store) = open();
    let world = World::new(store.clone()).await;
    let (before, broken) = tokio::join!(
        world.accept("ch_1"),
        store.write::<(), _>(|tx| {
            tx.conn.execute("DELETE FROM runs", []).unwrap();
            panic!("on purpose")
        }),
    );
    assert!(matches!(broken, Err(StoreError::Unavailable(_))));
    world.accept("ch_2").await;
    assert_eq!(world.run_state(&before.1).await, RunState::Pending);
    assert_eq!(world.claim_runs(START).await.len(), 2);
}

#[tokio::test]
async fn a_reader_that_panicked_gives_its_connection_back() {
    let (_folder, store) = open();
    for _ in 0..10 {
        assert!(store.read::<(), _>(|_| panic!("on purpose")).await.is_err());
    }
    store.backlog(Whose::All).await.unwrap();
}

/// A schema with one run and one delivery, without anything around them.
fn bare() -> Connection {
    let mut conn = Connection::open_in_memory().unwrap();
    migrate::migrate(&mut conn).unwrap();
    conn.pragma_update(None, "foreign_keys", false).unwrap();
    // Only the transition is looked at here, not what else must be true of a state.
    conn.pragma_update(None, "ignore_check_constraints", true).unwrap();
    conn
}

fn set_run(conn: &Connection, from: RunState, to: RunState) -> bool {
    conn.execute("DELETE FROM runs", []).unwrap();
    conn.execute(
        "INSERT INTO runs (id, tenant, environment, event_seq, mapping, ordering_key, state, turn, due, due_at,
             created_at, updated_at) VALUES ('r', 't', 'qa', 1, 'm', 'k', ?1, 1, 0, 0, 0, 0)",
        [from.as_str()],
    )
    .unwrap();
    conn.execute("UPDATE runs SET state = ?1", [to.as_str()]).is_ok()
}

fn set_delivery(conn: &Connection, from: DeliveryState, to: DeliveryState) -> bool {
    conn.execute("DELETE FROM deliveries", []).unwrap();
    conn.execute(
        "INSERT INTO deliveries (id, tenant, environment, event_seq, run_seq, mapping, ordering_key, position, key,
             call_id, connection, operation, state, after_open, turn, due, due_at, created_at, updated_at)
         VALUES ('d', 't', 'qa', 1, 1, 'm', 'k', 0, 'k', 'c', 'con', 'op', ?1, 0, 1, 0, 0, 0, 0)",
        [from.as_str()],
    )
    .unwrap();
    conn.execute("UPDATE deliveries SET state = ?1", [to.as_str()]).is_ok()
}

#[test]
fn s7_the_database_knows_the_transitions_of_the_domain() {
    let conn = bare();
    for from in RunState::ALL {
        for to in RunState::ALL.iter().filter(|to| *to != from) {
            assert_eq!(set_run(&conn, *from, *to), from.may_become(*to), "run: {from} to {to}");
        }
    }
    for from in DeliveryState::ALL {
        for to in DeliveryState::ALL.iter().filter(|to| *to != from) {
            assert_eq!(set_delivery(&conn, *from, *to), from.may_become(*to), "delivery: {from} to {to}");
        }
    }
}

#[test]
fn the_database_knows_the_states_of_the_domain_and_no_others() {
    let conn = bare();
    let sql: String = conn
        .query_row("SELECT group_concat(sql, ' ') FROM sqlite_schema WHERE type = 'table'", [], |row| {
            row.get(0)
        })
        .unwrap();
    let sql = sql.split_whitespace().collect::<Vec<_>>().join(" ");
    let check = |states: &[&str]| {
        let each: Vec<_> = states.iter().map(|state| format!("state = '{state}'")).collect();
        format!("CHECK ( {})", each.join(" OR "))
    };
    let runs: Vec<_> = RunState::ALL.iter().map(|state| state.as_str()).collect();
    let deliveries: Vec<_> = DeliveryState::ALL.iter().map(|state| state.as_str()).collect();
    assert!(sql.contains(&check(&runs)), "{}", check(&runs));
    assert!(sql.contains(&check(&deliveries)), "{}", check(&deliveries));
}

fn claim_statements() -> Vec<&'static str> {
    let mut all = run::claim_statements();
    all.extend(delivery::CLAIM_STATEMENTS);
    all.extend(delivery::ONCE_STATEMENTS);
    all.extend(wake::CLAIM_STATEMENTS);
    all.extend(connection::CLAIM_STATEMENTS);
    all.extend(standing::CLAIM_STATEMENTS);
    all.extend(mapping::CLAIM_STATEMENTS);
    all.extend(pause::CLAIM_STATEMENTS);
    all
}

/// A column of what SQLite says about a statement.
fn explain(conn: &Connection, how: &str, sql: &str, column: usize) -> Vec<String> {
    let mut statement = conn.prepare(&format!("{how} {sql}")).unwrap();
    let params = rusqlite::params_from_iter(std::iter::repeat_n(1, statement.parameter_count()));
    statement.query_map(params, |row| row.get(column)).unwrap().map(Result::unwrap).collect()
}

#[test]
fn s13_no_statement_of_a_claim_scans_or_sorts() {
    let conn = bare();
    for sql in claim_statements() {
        let steps = explain(&conn, "EXPLAIN", sql, 1);
        let temporary = |step: &String| step.contains("Ephemeral") || step.contains("Sorter");
        assert!(!steps.iter().any(temporary), "a temporary table: {sql}");
        let plan = explain(&conn, "EXPLAIN QUERY PLAN", sql, 3);
        for step in plan {
            // A partial index that holds only what can be claimed may be walked: its first row is the answer.
            let walks_work_only = step.ends_with("USING INDEX runs_claim")
                || step.ends_with("USING COVERING INDEX runs_claim")
                || step.ends_with("USING INDEX deliveries_claim");
            assert!(!step.starts_with("SCAN") || walks_work_only, "{step}: {sql}");
            assert!(!step.contains("TEMP B-TREE"), "{step}: {sql}");
        }
    }
}

/// The steps of SQLite's machine that all statements of claims have taken so far.
async fn steps(store: &SqliteStore) -> i64 {
    let sum = |tx: &mut super::writer::Tx<'_>| {
        let of = |sql: &&str| tx.conn.prepare_cached(sql).map(|s| s.get_status(StatementStatus::VmStep));
        Ok(claim_statements().iter().map(|sql| of(sql).map(i64::from)).sum::<Result<i64, _>>()?)
    };
    store.write(sum).await.unwrap()
}

/// What it costs to claim one run and its one delivery.
async fn cost_of_a_claim(store: &SqliteStore, world: &World) -> i64 {
    let before = steps(store).await;
    let run = world.claim_run(START).await;
    world.finish_run(&run, plan("k", vec![world.a_delivery("d", &[])]), START).await;
    let delivery = world.claim_delivery(START).await;
    let cost = steps(store).await - before;
    world.finish_delivery(&delivery, delivered(json!({})), START).await;
    cost
}

#[tokio::test]
async fn s13_a_claim_costs_the_same_beside_finished_and_blocked_rows() {
    let (_folder, store) = open();
    let world = World::new(store.clone()).await;
    world.accept("ch_1").await;
    let alone = cost_of_a_claim(&store, &world).await;

    // Finished ones of the same tenant.
    let accepts = (0..600).map(|number| {
        let world = world.clone();
        tokio::spawn(async move { world.accept(&format!("ch_{}", number % 200)).await })
    });
    for accept in accepts.collect::<Vec<_>>() {
        accept.await.unwrap();
    }
    let claims = store_claims(&store).await;
    assert_eq!(claims.len(), 200, "400 runs wait behind these");
    for claim in claims.iter().take(150) {
        world.finish_run(claim, plan("k", vec![world.a_delivery("d", &[])]), START).await;
    }
    let first = world.claim_delivery(START).await;
    world.finish_delivery(&first, delivered(json!({})), START).await;
    while let Some(claim) = world.claim_deliveries(START).await.first() {
        world.finish_delivery(claim, delivered(json!({})), START).await;
    }
    for claim in store_claims(&store).await {
        world.finish_run(&claim, plan("k", vec![]), START).await;
    }
    for claim in store_claims(&store).await {
        world.finish_run(&claim, plan("k", vec![]), START).await;
    }
    // And a long queue behind an object that waits for a person.
    for _ in 0..100 {
        world.accept("ch_stuck").await;
    }
    let stuck = world.claim_run(START).await;
    world.finish_run(&stuck, RunEnd::Dead { reason: json!({}), alerts: vec![] }, START).await;
    world.accept("ch_new").await;
    let beside = cost_of_a_claim(&store, &world).await;
    assert!(beside <= alone + alone / 10, "a claim took {alone} steps alone and {beside} beside many rows");
}

#[tokio::test]
async fn a_row_that_cannot_be_read_keeps_nobody_elses_from_being_claimed() {
    use crate::{
        alert::{AlertFilter, Alerts},
        delivery::Deliveries,
        run::Runs,
    };
    let (_folder, store) = open();
    let world = World::new(store.clone()).await;
    for object in ["ch_1", "ch_2"] {
        world.accept(object).await;
        let run = world.claim_run(START).await;
        world.finish_run(&run, plan(object, vec![world.a_delivery("d", &[])]), START).await;
    }
    let (_, broken) = world.accept("ch_3").await;
    let (_, sound) = world.accept("ch_4").await;
    // No JSON, and nested too deep to be read.
    let deep = "[".repeat(500) + &"]".repeat(500);
    let break_rows = move |tx: &mut super::writer::Tx<'_>| {
        let body =
            "UPDATE delivery_contents SET body = ?1 WHERE delivery_seq = (SELECT min(seq) FROM deliveries)";
        tx.conn.execute(body, [&deep])?;
        let count = "UPDATE events SET cards_masked = -1 WHERE seq = (SELECT max(seq) - 1 FROM events)";
        tx.conn.execute(count, [])?;
        Ok(())
    };
    store.write(break_rows).await.unwrap();

    let claims = world.claim_deliveries(START).await;
    assert_eq!(claims.len(), 1, "the second delivery");
    assert_eq!(claims[0].attempt, 1);
    let of_first = "SELECT lease_epoch, attempts FROM deliveries ORDER BY seq LIMIT 1";
    let counted =
        store.write(move |tx| Ok(tx.conn.query_row(of_first, [], |row| Ok((row.get(0)?, row.get(1)?)))?));
    assert_eq!(counted.await.unwrap(), (0, 0), "an epoch is the number of an attempt");
    assert_eq!(world.claim_run(START).await.id, sound);
    let run = store.run_get(&world.scope, &broken).await.unwrap();
    assert_eq!((run.state, &run.reason["code"]), (RunState::Dead, &json!("unreadable")));
    let alerts = store.alert_list(&world.scope, AlertFilter::unresolved(), Page::default()).await.unwrap();
    let mut codes: Vec<_> = alerts.iter().map(|alert| alert.code.as_str()).collect();
    codes.sort_unstable();
    assert_eq!(codes, ["delivery-unreadable", "run-unreadable"]);
    let backlog = store.backlog(Whose::All).await.unwrap();
    assert_eq!(backlog[&world.scope].deliveries.get(&DeliveryState::Dead), Some(&1), "{backlog:?}");
    assert!(Deliveries::delivery_next_due(&*store, START).await.is_ok());
}

async fn store_claims(store: &SqliteStore) -> Vec<crate::run::RunClaim> {
    use crate::run::Runs;
    let all = crate::ClaimRequest { rows_max: 1_000, lane_room: 1_000, ..request("one", START) };
    store.run_claim(all).await.unwrap()
}

#[tokio::test]
async fn what_is_large_goes_by_itself_after_what_is_small_and_one_between_two_groups() {
    let (_folder, store) = open();
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (go, may_go) = std::sync::mpsc::channel::<()>();
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let blocking = store.write(move |_| {
        begun.send(()).unwrap();
        may_go.recv().unwrap();
        Ok(())
    });
    let queued = |bytes, name: &'static str| {
        let (store, order) = (Arc::clone(&store), Arc::clone(&order));
        async move {
            let make = move |_: &mut writer::Tx<'_>| {
                order.lock().unwrap().push(name);
                Ok(())
            };
            store.write_bytes(bytes, make).await.unwrap();
        }
    };
    let (large, small) = (1 << 20, 100);
    let rest = async {
        has_begun.await.unwrap();
        let all = async {
            tokio::join!(queued(large, "A"), queued(small, "b"), queued(large, "C"), queued(small, "d"));
        };
        let go = async {
            // All of them are in the queue.
            tokio::task::yield_now().await;
            go.send(()).unwrap();
        };
        tokio::join!(all, go);
    };
    let (blocked, ()) = tokio::join!(blocking, rest);
    blocked.unwrap();
    assert_eq!(*order.lock().unwrap(), ["b", "d", "A", "C"]);
}

#[tokio::test]
async fn a_body_that_is_sent_as_it_was_planned_is_kept_once() {
    let (_folder, store) = open();
    let world = World::new(store.clone()).await;
    let plan = || vec![world.a_delivery("a", &[]), world.a_delivery("b", &[])];
    let run = world.planned("order", plan()).await;
    for claim in world.claim_deliveries(START).await {
        let is_a = claim.key == "a";
        let body = if is_a { claim.body.clone() } else { json!({ "with": "values of responses" }) };
        let sent = Some(Sent { body, sha256: "aa".to_owned() });
        let finished =
            store.delivery_finish(&claim.id, &claim.lease, sent, delivered(json!({})), START).await;
        assert_eq!(finished.unwrap(), crate::Finish::Done);
    }
    let kept = "SELECT d.key, c.sent FROM deliveries d JOIN delivery_contents c ON c.delivery_seq = d.seq ORDER BY d.key";
    let kept: Vec<(String, Option<String>)> = store
        .read(move |conn| {
            let mut statement = conn.prepare(kept)?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
        .unwrap();
    assert_eq!(
        kept,
        [("a".to_owned(), None), ("b".to_owned(), Some(r#"{"with":"values of responses"}"#.to_owned()))]
    );
    let planned = world.a_delivery("a", &[]).body;
    assert_eq!(world.delivery(&run, "a").await.body, planned, "what is shown is what was sent");
    assert_eq!(world.delivery(&run, "b").await.body, json!({ "with": "values of responses" }));
}
