//! S1 and S2 against a process that is killed in the middle of its writes (`kill -9`): whatever it had been told is
//! durable must be there, whole.
//!
//! The test is its own child: with `--child <file>` it writes until it is killed, and prints what was acknowledged.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::panic, reason = "test code")]

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use portolan_domain::{EventId, Scope, state::RunState};
use portolan_store::{
    Store,
    conformance::world::{START, World, delivered, plan, request},
    sqlite::SqliteStore,
};
use serde_json::json;

/// How often the child is killed.
const KILLS: usize = 5;

/// Acknowledgements after which it is killed.
const ACKNOWLEDGED_MIN: usize = 300;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match arguments.iter().position(|argument| argument == "--child").and_then(|at| arguments.get(at + 1)) {
        Some(file) => runtime.block_on(write_for_ever(Path::new(file))),
        None => {
            for _ in 0..KILLS {
                runtime.block_on(a_killed_process_loses_nothing_that_it_acknowledged());
            }
            println!("test a_killed_process_loses_nothing_that_it_acknowledged ... ok");
        }
    }
}

/// Eight callers, each of which takes events through their whole life. A line is printed when a step is durable.
async fn write_for_ever(file: &Path) {
    let store: Arc<dyn Store> = SqliteStore::open(file).unwrap();
    let local = tokio::task::LocalSet::new();
    for _ in 0..8 {
        let world = World::new(store.clone()).await;
        say(&format!("scope {}", serde_json::to_string(&world.scope).unwrap()));
        local.spawn_local(async move {
            loop {
                let (event, _) = world.accept("ch_1").await;
                say(&format!("accepted {event}"));
                live(&world).await;
            }
        });
    }
    local.await;
}

async fn live(world: &World) {
    for claim in world.store.run_claim(request("child", START)).await.unwrap() {
        let of = World { scope: claim.event.scope.clone(), ..world.clone() };
        let mut delivery = of.a_delivery("order", &[]);
        let own = of.store.mapping_get(&of.scope, &claim.mapping).await.unwrap();
        delivery.connection = own.connections.values().next().unwrap().clone();
        of.finish_run(&claim, plan("k", vec![delivery]), START).await;
        say(&format!("planned {}", claim.event.id));
    }
    for claim in world.store.delivery_claim(request("child", START)).await.unwrap() {
        world.finish_delivery(&claim, delivered(json!({"number": "1"})), START).await;
        say(&format!("delivered {}", claim.event));
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

/// Ends the child even when the test fails.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[derive(Default)]
struct Acknowledged {
    scopes: Vec<Scope>,
    accepted: Vec<EventId>,
    planned: BTreeSet<EventId>,
    delivered: BTreeSet<EventId>,
}

impl Acknowledged {
    fn hear(&mut self, line: &str) {
        let (what, which) = line.split_once(' ').unwrap();
        match what {
            "scope" => self.scopes.push(serde_json::from_str(which).unwrap()),
            "accepted" => self.accepted.push(which.parse().unwrap()),
            "planned" => drop(self.planned.insert(which.parse().unwrap())),
            "delivered" => drop(self.delivered.insert(which.parse().unwrap())),
            _ => panic!("the child said {line:?}"),
        }
    }
}

async fn a_killed_process_loses_nothing_that_it_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("portolan.db");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("--child").arg(&file).stdout(Stdio::piped());
    let mut child = Killed(command.spawn().unwrap());
    let mut acknowledged = Acknowledged::default();
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    while acknowledged.accepted.len() < ACKNOWLEDGED_MIN {
        acknowledged.hear(&lines.next().unwrap().unwrap());
    }
    child.0.kill().unwrap();
    child.0.wait().unwrap();
    // What it had said before it died counts, too; a line cut short does not.
    for line in lines.map_while(Result::ok).filter(|line| is_whole(line)) {
        acknowledged.hear(&line);
    }
    check(&file, &acknowledged).await;
}

fn is_whole(line: &str) -> bool {
    line.split_once(' ').is_some_and(|(_, id)| id.parse::<EventId>().is_ok())
}

async fn check(file: &Path, acknowledged: &Acknowledged) {
    let store: Arc<dyn Store> = SqliteStore::open(file).unwrap();
    for event in &acknowledged.accepted {
        let mut runs = Vec::new();
        for scope in &acknowledged.scopes {
            if store.event_get(scope, event).await.is_ok() {
                runs = store.run_of_event(scope, event).await.unwrap();
            }
        }
        assert_eq!(runs.len(), 1, "event {event} is there with its run");
        let run = runs.first().unwrap();
        let deliveries = store.delivery_of_run(&run.scope, &run.id).await.unwrap();
        let planned = matches!(run.state, RunState::Planned | RunState::Delivered);
        assert_eq!(planned, deliveries.len() == 1, "a run is planned together with its delivery");
        assert!(planned || !acknowledged.planned.contains(event));
        let done = deliveries.iter().all(|delivery| delivery.state.is_final());
        assert_eq!(planned && done, run.state == RunState::Delivered, "a run ends with its last delivery");
        assert!(run.state == RunState::Delivered || !acknowledged.delivered.contains(event));
    }
    store.leases_end_foreign("next", &[], START).await.unwrap();
    let claims = store.run_claim(request("next", START)).await.unwrap();
    assert!(claims.iter().all(|claim| claim.lease.epoch >= 1));
    drop(store);
    let conn = rusqlite::Connection::open(file).unwrap();
    let sound: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
    let broken = conn.prepare("PRAGMA foreign_key_check").unwrap().exists([]).unwrap();
    assert!(!broken);
}
