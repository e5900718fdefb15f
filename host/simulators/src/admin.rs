//! The simulator's own routes, under `/_simulator/`: the ledger, the calls, the faults, the objects, the IDocs,
//! the locks.
//!
//! For tests and the demo. There is no authentication: simulators listen on loopback only.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Query, State};
use axum::response::Response;
use axum::routing::{get, post};
use http::{HeaderMap, Method, Request};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::System;
use crate::background::own_call;
use crate::clock::now_ms;
use crate::exchange::Simulator;
use crate::faults::{FaultKind, FaultRule, RandomFaults};
use crate::ledger::PAGE_LINES_MAX;
use crate::server::{REFUSE_MS_DEFAULT, forward, respond};
use crate::stand_in::{Call, Reply};

/// The largest request of customers.
const CUSTOMERS_BYTES_MAX: usize = 1 << 20;

/// The routes. `refuse` closes the listening socket for so many milliseconds.
pub(crate) fn routes(refuse: mpsc::Sender<u64>) -> Router<Arc<Simulator>> {
    Router::new()
        .route("/_simulator/ledger", get(ledger))
        .route("/_simulator/ledger/summary", get(summary))
        .route("/_simulator/calls", get(calls))
        .route("/_simulator/world", get(world))
        .route("/_simulator/health", get(health))
        .route(
            "/_simulator/objects",
            post(objects).layer(axum::extract::DefaultBodyLimit::max(64 * 1024 * 1024)),
        )
        // What people change in the system itself, past its interface.
        .route("/_simulator/customers", post(customers))
        .route("/_simulator/idocs", post(idocs))
        .route("/_simulator/locks", post(locks))
        .route(
            "/_simulator/faults",
            get(faults).delete(faults_clear).post(move |state, body| faults_set(state, body, refuse.clone())),
        )
        .merge(crate::stripe::month::routes())
}

#[derive(Deserialize)]
struct LedgerQuery {
    #[serde(default)]
    after: u64,
    kind: Option<String>,
    limit: Option<usize>,
}

async fn ledger(State(simulator): State<Arc<Simulator>>, Query(query): Query<LedgerQuery>) -> Response {
    let limit = query.limit.unwrap_or(PAGE_LINES_MAX);
    let (entries, more) = simulator.ledger.page(query.after, query.kind.as_deref(), limit);
    let next = entries.last().filter(|_| more).map(|entry| entry.seq);
    let entries: Vec<&crate::ledger::Entry> = entries.iter().map(AsRef::as_ref).collect();
    match serde_json::to_value(&entries) {
        Ok(entries) => answer(&json!({"entries": entries, "next": next})),
        Err(error) => refuse(&error.to_string()),
    }
}

/// Documents by kind, and every business key that was committed more than once.
async fn summary(State(simulator): State<Arc<Simulator>>) -> Response {
    let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
    let mut keys: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for entry in simulator.ledger.entries() {
        *kinds.entry(entry.kind.clone()).or_default() += 1;
        if !entry.business_key.is_empty() && !entry.kind.ends_with("-update") && entry.kind != "seed" {
            keys.entry((entry.kind.clone(), entry.business_key.clone()))
                .or_default()
                .push(entry.number.clone());
        }
    }
    let duplicates: Vec<Value> = keys
        .into_iter()
        .filter(|(_, numbers)| numbers.len() > 1)
        .map(|((kind, key), numbers)| json!({"kind": kind, "business_key": key, "numbers": numbers}))
        .collect();
    answer(&json!({"documents": kinds, "duplicates": duplicates}))
}

async fn calls(State(simulator): State<Arc<Simulator>>) -> Response {
    let calls = simulator.calls();
    let told = |(operation, traceparent)| json!({"operation": operation, "traceparent": traceparent});
    let traces: Vec<_> = simulator.traces().into_iter().map(told).collect();
    answer(&json!({"total": calls.values().sum::<u64>(), "calls": calls, "traces": traces}))
}

async fn world(State(simulator): State<Arc<Simulator>>) -> Response {
    let world = simulator.stand_in().world();
    answer(&world)
}

async fn health(State(simulator): State<Arc<Simulator>>) -> Response {
    answer(&json!({"system": simulator.system.name(), "ready": true}))
}

/// Sage Pro takes rows as it takes objects; Epicor has desks of its own.
async fn customers(state: State<Arc<Simulator>>, request: Request<Body>) -> Response {
    if state.system != System::SagePro {
        return forward(state, request).await;
    }
    match to_bytes(request.into_body(), CUSTOMERS_BYTES_MAX).await {
        Ok(body) => objects(state, body).await,
        Err(error) => refuse(&error.to_string()),
    }
}

async fn objects(State(simulator): State<Arc<Simulator>>, body: Bytes) -> Response {
    let objects = match serde_json::from_slice::<Value>(&body) {
        Ok(Value::Array(objects)) => objects,
        Ok(object @ Value::Object(_)) => vec![object],
        Ok(_) => return refuse("an object or an array of objects is expected"),
        Err(error) => return refuse(&error.to_string()),
    };
    let call = Call {
        method: Method::POST,
        path: "/_simulator/objects".to_owned(),
        query: Vec::new(),
        headers: HeaderMap::new(),
        body,
        in_flight: 0,
    };
    match simulator.seed(&call, objects).await {
        Ok(seeded) => answer(&json!({"seeded": seeded})),
        Err(error) => refuse(&error),
    }
}

async fn idocs(State(simulator): State<Arc<Simulator>>, body: Bytes) -> Response {
    let wish = match serde_json::from_slice::<Value>(&body) {
        Ok(wish) => wish,
        Err(error) => return refuse(&error.to_string()),
    };
    let drafts = simulator.stand_in().idocs(&wish, now_ms());
    match drafts {
        Ok(drafts) => {
            let numbers: Vec<String> = drafts.iter().map(|draft| draft.number.clone()).collect();
            simulator.commit_unasked(&own_call(), drafts, "idocs").await;
            answer(&json!({"idocs": numbers}))
        }
        Err(error) => refuse(&error),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lock {
    object: String,
    locked: bool,
}

async fn locks(State(simulator): State<Arc<Simulator>>, body: Bytes) -> Response {
    match serde_json::from_slice::<Lock>(&body) {
        Ok(lock) => {
            simulator.stand_in().lock(&lock.object, lock.locked);
            answer(&json!({"object": lock.object, "locked": lock.locked}))
        }
        Err(error) => refuse(&error.to_string()),
    }
}

async fn faults(State(simulator): State<Arc<Simulator>>) -> Response {
    let waiting = serde_json::to_value(simulator.faults().rules());
    match waiting {
        Ok(waiting) => answer(&json!({"waiting": waiting})),
        Err(error) => refuse(&error.to_string()),
    }
}

async fn faults_clear(State(simulator): State<Arc<Simulator>>) -> Response {
    simulator.faults().clear();
    answer(&json!({"waiting": []}))
}

async fn faults_set(
    State(simulator): State<Arc<Simulator>>,
    body: Bytes,
    refuse_for: mpsc::Sender<u64>,
) -> Response {
    let rules = match serde_json::from_slice::<Value>(&body) {
        Ok(Value::Array(rules)) => rules,
        Ok(rule @ Value::Object(_)) => vec![rule],
        Ok(_) => return refuse("a fault or an array of faults is expected"),
        Err(error) => return refuse(&error.to_string()),
    };
    for rule in rules {
        if let Some(random) = rule.get("random") {
            match serde_json::from_value::<RandomFaults>(random.clone()) {
                Ok(random) => simulator.faults().set_random(random),
                Err(error) => return refuse(&error.to_string()),
            }
            continue;
        }
        let rule = match serde_json::from_value::<FaultRule>(rule) {
            Ok(rule) => rule,
            Err(error) => return refuse(&error.to_string()),
        };
        if rule.fault == FaultKind::Refuse && rule.operation == "*" {
            if refuse_for.send(rule.ms.unwrap_or(REFUSE_MS_DEFAULT)).await.is_err() {
                return refuse("the simulator is ending");
            }
        } else if !simulator.faults().add(rule) {
            return refuse("too many faults are waiting");
        }
    }
    faults(State(simulator)).await
}

fn answer(body: &Value) -> Response {
    respond(Reply::json(200, body))
}

fn refuse(reason: &str) -> Response {
    respond(Reply::json(400, &json!({"error": reason})))
}
