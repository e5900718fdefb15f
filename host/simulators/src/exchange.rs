//! The life of one call: it is counted, meets its fault, is carried out, becomes ledger lines, is answered.
//!
//! Called by [`crate::server`] for every request that is not the simulator's own. The system's lock is held while
//! it decides and while its drafts become lines; never while something is waited for.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::now_ms;
use crate::faults::{FaultKind, Faults, HANG_MS_DEFAULT, Strike};
use crate::journal::Journal;
use crate::ledger::{Entry, Ledger, Receipt};
use crate::settings::System;
use crate::stand_in::{Call, Draft, Moment, Refusal, Reply, StandIn};

/// Operations that are counted by name; the rest are counted together.
const OPERATIONS_MAX: usize = 1_000;
/// Headers that say which attempt this is. Nothing secret.
const HEADERS_NOTED: &[&str] = &[
    "idempotency-key",
    "if-match",
    "soapaction",
    "stripe-account",
    "traceparent",
    "user-agent",
    "x-company",
    "x-request-id",
];

/// How a call ends.
pub(crate) enum Ending {
    Answer(Reply),
    /// The answer in drops, over so many milliseconds.
    Drip(Reply, u64),
    /// The answer, and then more and more.
    Endless(Reply),
    /// The connection is closed without a byte of an answer.
    Cut,
}

impl Ending {
    /// The status of the answer; none when there is no answer, or none that ends.
    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Self::Answer(reply) | Self::Drip(reply, _) => Some(reply.status.as_u16()),
            Self::Endless(_) | Self::Cut => None,
        }
    }
}

/// Calls whose traces are kept.
const TRACES_MAX: usize = 1_000;

/// One running system.
pub(crate) struct Simulator {
    pub(crate) system: System,
    stand_in: Mutex<Box<dyn StandIn>>,
    pub(crate) ledger: Ledger,
    journal: Journal,
    faults: Mutex<Faults>,
    calls: Mutex<BTreeMap<String, u64>>,
    /// The `traceparent` of the latest calls that had one, with their operations.
    traces: Mutex<VecDeque<(String, String)>>,
    in_flight: Arc<AtomicU32>,
    latency_ms: u64,
}

struct Flight(Arc<AtomicU32>);

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A call that the system has let begin. Dropped when it is through, or when its caller is gone.
struct UnderWay {
    simulator: Arc<Simulator>,
    token: Option<String>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(token) = &self.token {
            self.simulator.stand_in().end(token);
        }
    }
}

impl Simulator {
    /// A system that has read its ledger.
    pub(crate) fn new(
        system: System,
        mut stand_in: Box<dyn StandIn>,
        (ledger, journal): (Ledger, Journal),
        faults: Faults,
        latency_ms: u64,
    ) -> Self {
        for entry in ledger.entries() {
            stand_in.apply(&entry);
        }
        Self {
            system,
            stand_in: Mutex::new(stand_in),
            ledger,
            journal,
            faults: Mutex::new(faults),
            calls: Mutex::default(),
            traces: Mutex::default(),
            in_flight: Arc::default(),
            latency_ms,
        }
    }

    pub(crate) fn stand_in(&self) -> MutexGuard<'_, Box<dyn StandIn>> {
        self.stand_in.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn calls(&self) -> BTreeMap<String, u64> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The `traceparent` of the latest calls that had one, with their operations, oldest first.
    pub(crate) fn traces(&self) -> Vec<(String, String)> {
        self.traces.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn trace(&self, operation: &str, traceparent: Option<&str>) {
        let Some(traceparent) = traceparent else { return };
        let mut traces = self.traces.lock().unwrap_or_else(PoisonError::into_inner);
        if traces.len() >= TRACES_MAX {
            traces.pop_front();
        }
        traces.push_back((operation.to_owned(), traceparent.to_owned()));
    }

    fn count(&self, operation: &str) {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let known = calls.contains_key(operation) || calls.len() < OPERATIONS_MAX;
        *calls.entry(if known { operation } else { "(other)" }.to_owned()).or_default() += 1;
    }

    /// Answers one call.
    pub(crate) async fn exchange(self: &Arc<Self>, mut call: Call) -> Ending {
        call.in_flight = self.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        let _flight = Flight(Arc::clone(&self.in_flight));
        let operation = self.stand_in().operation(&call);
        self.count(&operation);
        self.trace(&operation, call.header("traceparent"));
        let begun = self.stand_in().begin(&call);
        let under_way = match begun {
            Ok(token) => UnderWay { simulator: Arc::clone(self), token },
            Err(reply) => return Ending::Answer(reply),
        };
        let strike = self.faults().take(&operation, &call.path);
        if self.latency_ms > 0 {
            tokio::time::sleep(Duration::from_millis(self.latency_ms)).await;
        }
        let name = self.journal.came(&call, &operation, strike);
        let ending = match strike {
            None => Ending::Answer(self.carry_out(&call, &operation, None).await),
            Some(strike) => self.strike(call, &operation, strike, under_way).await,
        };
        self.journal.went(&name, &ending);
        ending
    }

    async fn strike(
        self: &Arc<Self>,
        call: Call,
        operation: &str,
        strike: Strike,
        under_way: UnderWay,
    ) -> Ending {
        let refuse = |refusal| Ending::Answer(self.stand_in().refusal(&call, refusal));
        let pause = |default_ms| tokio::time::sleep(Duration::from_millis(strike.ms.unwrap_or(default_ms)));
        match strike.kind {
            FaultKind::Refuse | FaultKind::CutBeforeCommit => Ending::Cut,
            FaultKind::Error500BeforeCommit => refuse(Refusal::Internal),
            FaultKind::RateLimited => refuse(Refusal::RateLimited { retry_after_s: strike.retry_after_s }),
            FaultKind::RateLimitedUntil => until(
                self.stand_in().refusal(&call, Refusal::RateLimited { retry_after_s: strike.retry_after_s }),
                strike.retry_after_s,
            ),
            FaultKind::Redirect => {
                let elsewhere = Reply::html(307, "307 Temporary Redirect", "The system has moved.");
                Ending::Answer(elsewhere.with("location", format!("http://127.0.0.1:9{}", call.path)))
            }
            FaultKind::BusinessError => refuse(Refusal::Business),
            FaultKind::Locked => refuse(Refusal::Locked),
            FaultKind::Unauthorized => refuse(Refusal::Unauthorized),
            FaultKind::Forbidden => refuse(Refusal::Forbidden),
            FaultKind::Unavailable => refuse(Refusal::Unavailable),
            FaultKind::Hang => {
                pause(HANG_MS_DEFAULT).await;
                Ending::Cut
            }
            FaultKind::LateCommit => {
                let (simulator, operation) = (Arc::clone(self), operation.to_owned());
                let late = pause(1_000);
                // Detached on purpose: the caller is gone by then, the system works on.
                tokio::spawn(async move {
                    late.await;
                    simulator.carry_out(&call, &operation, Some(strike)).await;
                    drop(under_way);
                });
                Ending::Cut
            }
            FaultKind::Slow => {
                pause(1_000).await;
                Ending::Answer(self.carry_out(&call, operation, Some(strike)).await)
            }
            FaultKind::Twice => {
                self.carry_out(&call, operation, Some(strike)).await;
                Ending::Answer(self.carry_out(&call, operation, Some(strike)).await)
            }
            FaultKind::CheckStale | FaultKind::UpdateLost => {
                Ending::Answer(self.carry_out(&call, operation, Some(strike)).await)
            }
            FaultKind::HangAfterCommit
            | FaultKind::CommitThenCut
            | FaultKind::Error500AfterCommit
            | FaultKind::Gateway502AfterCommit
            | FaultKind::Gateway503AfterCommit
            | FaultKind::Gateway504AfterCommit
            | FaultKind::GarbageAfterCommit
            | FaultKind::EndlessAfterCommit
            | FaultKind::Drip => self.strike_answer(call, operation, strike, under_way).await,
        }
    }

    /// The call is carried out, and something goes wrong with its answer.
    async fn strike_answer(
        self: &Arc<Self>,
        call: Call,
        operation: &str,
        strike: Strike,
        under_way: UnderWay,
    ) -> Ending {
        let reply = self.carry_out(&call, operation, Some(strike)).await;
        let gateway = |status, title, text| Ending::Answer(Reply::html(status, title, text));
        match strike.kind {
            FaultKind::Error500AfterCommit => {
                Ending::Answer(self.stand_in().refusal(&call, Refusal::Internal))
            }
            FaultKind::Gateway502AfterCommit => {
                gateway(502, "502 Bad Gateway", "The proxy lost its upstream.")
            }
            FaultKind::Gateway503AfterCommit => {
                gateway(503, "503 Service Unavailable", "The proxy has no upstream.")
            }
            FaultKind::Gateway504AfterCommit => {
                gateway(504, "504 Gateway Timeout", "The upstream did not answer in time.")
            }
            FaultKind::GarbageAfterCommit => Ending::Answer(Reply { body: garbled(&reply.body), ..reply }),
            FaultKind::Drip => Ending::Drip(reply, strike.ms.unwrap_or(1_000)),
            FaultKind::EndlessAfterCommit => Ending::Endless(reply),
            FaultKind::HangAfterCommit => {
                drop(under_way);
                tokio::time::sleep(Duration::from_millis(strike.ms.unwrap_or(HANG_MS_DEFAULT))).await;
                Ending::Cut
            }
            FaultKind::CommitThenCut
            | FaultKind::Refuse
            | FaultKind::Hang
            | FaultKind::CutBeforeCommit
            | FaultKind::Error500BeforeCommit
            | FaultKind::RateLimited
            | FaultKind::RateLimitedUntil
            | FaultKind::Redirect
            | FaultKind::BusinessError
            | FaultKind::Locked
            | FaultKind::Slow
            | FaultKind::LateCommit
            | FaultKind::Unauthorized
            | FaultKind::Forbidden
            | FaultKind::Unavailable
            | FaultKind::Twice
            | FaultKind::CheckStale
            | FaultKind::UpdateLost => Ending::Cut,
        }
    }

    /// The system decides; what it decided is on disk when this returns.
    async fn carry_out(&self, call: &Call, operation: &str, strike: Option<Strike>) -> Reply {
        let now_ms = now_ms();
        let kind = strike.map(|strike| strike.kind);
        let stale_ms =
            if kind == Some(FaultKind::CheckStale) { strike.and_then(|s| s.ms).unwrap_or(5_000) } else { 0 };
        let moment = Moment { now_ms, seen_ms: now_ms.saturating_sub(stale_ms) };
        let (reply, receipts) = {
            let mut stand_in = self.stand_in();
            let outcome = stand_in.answer(call, moment);
            let commits = if kind == Some(FaultKind::UpdateLost) { Vec::new() } else { outcome.commits };
            let receipts =
                self.commit(stand_in.as_mut(), commits, &Circumstances { call, operation, kind, now_ms });
            (outcome.reply, receipts)
        };
        for receipt in receipts {
            if !receipt.durable().await {
                return self.stand_in().refusal(call, Refusal::Internal);
            }
        }
        reply
    }

    fn commit(
        &self,
        stand_in: &mut dyn StandIn,
        commits: Vec<Draft>,
        around: &Circumstances<'_>,
    ) -> Vec<Receipt> {
        let headers: BTreeMap<String, String> = HEADERS_NOTED
            .iter()
            .filter_map(|name| around.call.header(name).map(|value| ((*name).to_owned(), value.to_owned())))
            .collect();
        let entries = commits.into_iter().map(|draft| Entry {
            seq: 0,
            at_ms: around.now_ms,
            system: self.system,
            kind: draft.kind.to_owned(),
            number: draft.number,
            business_key: draft.business_key,
            amounts: draft.amounts,
            lines: draft.lines,
            payload_sha256: draft.payload_sha256,
            headers: headers.clone(),
            operation: around.operation.to_owned(),
            fault: around.kind.map(FaultKind::name),
            answered: around.kind.is_none_or(FaultKind::answers),
            document: draft.document,
        });
        let mut receipts = Vec::new();
        for entry in entries {
            let (entry, receipt) = self.ledger.append(entry);
            stand_in.apply(&entry);
            receipts.push(receipt);
        }
        receipts
    }

    /// Takes objects that other people would have made; they become ledger lines too, so that a restart keeps them.
    ///
    /// # Errors
    /// What the system says against them.
    pub(crate) async fn seed(&self, call: &Call, objects: Vec<serde_json::Value>) -> Result<usize, String> {
        let receipts = {
            let mut stand_in = self.stand_in();
            let drafts = stand_in.seed(objects)?;
            let around = Circumstances { call, operation: "seed", kind: None, now_ms: now_ms() };
            self.commit(stand_in.as_mut(), drafts, &around)
        };
        let seeded = receipts.len();
        for receipt in receipts {
            if !receipt.durable().await {
                return Err("the ledger cannot be written".to_owned());
            }
        }
        Ok(seeded)
    }
}

impl Simulator {
    /// Commits what the system did without being called; what cannot be written is lost and logged.
    pub(crate) async fn commit_unasked(&self, call: &Call, drafts: Vec<Draft>, operation: &str) {
        if drafts.is_empty() {
            return;
        }
        let receipts = {
            let mut stand_in = self.stand_in();
            let around = Circumstances { call, operation, kind: None, now_ms: now_ms() };
            self.commit(stand_in.as_mut(), drafts, &around)
        };
        for receipt in receipts {
            if !receipt.durable().await {
                tracing::error!("the ledger cannot be written: background work is lost");
            }
        }
    }
}

struct Circumstances<'a> {
    call: &'a Call,
    operation: &'a str,
    kind: Option<FaultKind>,
    now_ms: u64,
}

/// The refusal with a date in `Retry-After` in the place of seconds.
fn until(mut reply: Reply, seconds: u64) -> Ending {
    reply.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("retry-after"));
    Ending::Answer(reply.with("retry-after", crate::clock::http_date(now_ms() / 1_000 + seconds)))
}

/// The first half of an answer, and something that belongs to no format.
fn garbled(body: &bytes::Bytes) -> bytes::Bytes {
    let mut bytes = body.slice(..body.len() / 2).to_vec();
    bytes.extend_from_slice(b"\x00\xff<{]");
    bytes.into()
}
