//! Webhooks on their way. A month is sent as life does: out of order within a window, some twice, some not at all,
//! again after every answer that is not 2xx. What calls change meanwhile is told as it happens.
//!
//! Memory holds the order of the month (a number for each webhook) and what is under way, never the bodies: each is
//! made when its turn comes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;

use super::post::{Address, Post};
use super::webhooks::Receiver;
use crate::exchange::Simulator;
use crate::story::month::dice::Dice;

/// Webhooks of changes that are sent at the same time.
const LIVE_MAX: usize = 4;
/// The first pause before another attempt, and the longest.
const PAUSE_MS: (u64, u64) = (50, 2_000);
/// Senders of a month.
pub(crate) const CONCURRENCY_MAX: usize = 64;
/// How many places a webhook may move.
pub(crate) const WINDOW_MAX: u64 = 100_000;

/// How a month is sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Manner {
    /// Of a thousand webhooks, how many are never sent.
    pub(crate) drop_per_mille: u64,
    /// Of a thousand, how many are sent once more.
    pub(crate) duplicate_per_mille: u64,
    /// How many places a webhook may be late.
    pub(crate) window: u64,
    /// Webhooks under way at the same time.
    pub(crate) concurrency: usize,
    /// Webhooks that may begin in a second; 0 for no limit.
    pub(crate) per_second: u64,
    /// Attempts before a webhook is given up.
    pub(crate) attempts_max: u32,
    /// Another seed, another order.
    pub(crate) order: u64,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            drop_per_mille: 0,
            duplicate_per_mille: 0,
            window: 0,
            concurrency: 4,
            per_second: 0,
            attempts_max: 12,
            order: 1,
        }
    }
}

/// How far a month has got.
#[derive(Debug, Default)]
struct Progress {
    planned: AtomicU64,
    begun: AtomicU64,
    attempts: AtomicU64,
    acknowledged: AtomicU64,
    given_up: AtomicU64,
    duplicates: AtomicU64,
    live: AtomicU64,
}

/// What senders share with the account.
#[derive(Debug, Default)]
pub(crate) struct Sending {
    /// Events that calls have raised, by id.
    raised: Mutex<VecDeque<String>>,
    wake: Arc<Notify>,
    receiver: Mutex<Option<Receiver>>,
    dropped: Mutex<Vec<String>>,
    progress: Progress,
    is_under_way: std::sync::atomic::AtomicBool,
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

impl Sending {
    /// An event was raised by a call.
    pub(crate) fn tell(&self, event_id: &str) {
        self.raised.lock().unwrap_or_else(PoisonError::into_inner).push_back(event_id.to_owned());
        self.wake.notify_one();
    }

    fn next_raised(&self) -> Option<String> {
        self.raised.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Who asked for the month.
    pub(crate) fn receiver(&self) -> Option<Receiver> {
        self.receiver.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_receiver(&self, receiver: Receiver) {
        *self.receiver.lock().unwrap_or_else(PoisonError::into_inner) = Some(receiver);
    }

    /// Whether a month may be sent now; if so it is taken as begun.
    pub(crate) fn claim(&self) -> bool {
        !self.is_under_way.swap(true, Ordering::SeqCst)
    }

    /// `{"planned","sent","acknowledged",…,"done"}`.
    pub(crate) fn report(&self) -> Value {
        let read = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        let progress = &self.progress;
        let dropped = self.dropped.lock().unwrap_or_else(PoisonError::into_inner).clone();
        json!({
            "planned": read(&progress.planned), "sent": read(&progress.begun), "attempts": read(&progress.attempts),
            "acknowledged": read(&progress.acknowledged), "given_up": read(&progress.given_up),
            "duplicates": read(&progress.duplicates), "dropped": dropped.len(), "dropped_events": dropped,
            "live": read(&progress.live), "done": !self.is_under_way.load(Ordering::SeqCst),
        })
    }

    fn begin(&self, planned: usize, duplicates: u64, dropped: Vec<String>) {
        let progress = &self.progress;
        for counter in [&progress.begun, &progress.attempts, &progress.acknowledged, &progress.given_up] {
            counter.store(0, Ordering::SeqCst);
        }
        progress.planned.store(u64::try_from(planned).unwrap_or(u64::MAX), Ordering::SeqCst);
        progress.duplicates.store(duplicates, Ordering::SeqCst);
        *self.dropped.lock().unwrap_or_else(PoisonError::into_inner) = dropped;
    }
}

/// The order in which a month is sent.
pub(crate) struct Plan {
    /// Event ids.
    pub(crate) order: Vec<String>,
    dropped: Vec<String>,
    duplicates: u64,
}

impl Plan {
    /// Each event moves back by up to `window` places; dropped ones leave, doubled ones come again.
    pub(crate) fn of(events: Vec<String>, manner: &Manner) -> Self {
        let mut dice = Dice::new(manner.order);
        let (mut order, mut dropped, mut duplicates) = (Vec::with_capacity(events.len()), Vec::new(), 0);
        for (place, id) in (0_u64..).zip(events) {
            if dice.chance(manner.drop_per_mille) {
                dropped.push(id);
                continue;
            }
            if dice.chance(manner.duplicate_per_mille) {
                duplicates += 1;
                order.push((place + dice.below(manner.window + 1), id.clone()));
            }
            order.push((place + dice.below(manner.window + 1), id));
        }
        order.sort_by_key(|(place, _)| *place);
        Self { order: order.into_iter().map(|(_, id)| id).collect(), dropped, duplicates }
    }
}

/// Sends a month to its receivers. The caller has claimed it.
pub(crate) fn send_month(simulator: &Arc<Simulator>, sending: &Arc<Sending>, plan: Plan, manner: Manner) {
    sending.begin(plan.order.len(), plan.duplicates, plan.dropped);
    let (simulator, sending) = (Arc::downgrade(simulator), Arc::clone(sending));
    tokio::spawn(async move {
        let (order, next) = (Arc::new(plan.order), Arc::new(AtomicUsize::new(0)));
        let mut senders = JoinSet::new();
        for _ in 0..manner.concurrency.clamp(1, CONCURRENCY_MAX) {
            let sender = Sender {
                simulator: simulator.clone(),
                sending: Arc::clone(&sending),
                attempts_max: manner.attempts_max.max(1),
                post: Post::default(),
            };
            senders.spawn(sender.work(Arc::clone(&order), Arc::clone(&next), manner.clone()));
        }
        while senders.join_next().await.is_some() {}
        sending.is_under_way.store(false, Ordering::SeqCst);
    });
}

/// Tells what calls change, for as long as the simulator lives.
pub(crate) fn send_live(simulator: &Arc<Simulator>) {
    let sending = simulator.stand_in().as_stripe().map(|stripe| Arc::clone(&stripe.sending));
    let Some(sending) = sending else { return };
    let (simulator, wake) = (Arc::downgrade(simulator), Arc::clone(&sending.wake));
    let sending = Arc::downgrade(&sending);
    tokio::spawn(async move {
        let turns = Arc::new(Semaphore::new(LIVE_MAX));
        loop {
            wake.notified().await;
            let Some(sending) = sending.upgrade() else { return };
            while let Some(id) = sending.next_raised() {
                let Ok(turn) = Arc::clone(&turns).acquire_owned().await else { return };
                let (simulator, sending) = (simulator.clone(), Arc::clone(&sending));
                tokio::spawn(async move {
                    let mut sender = Sender { simulator, sending, attempts_max: 12, post: Post::default() };
                    let acknowledged = sender.deliver(&id, false).await;
                    add(&sender.sending.progress.live, acknowledged);
                    drop(turn);
                });
            }
        }
    });
}

struct Sender {
    simulator: Weak<Simulator>,
    sending: Arc<Sending>,
    attempts_max: u32,
    post: Post,
}

impl Sender {
    async fn work(mut self, order: Arc<Vec<String>>, next: Arc<AtomicUsize>, manner: Manner) {
        let share = u64::try_from(manner.concurrency.clamp(1, CONCURRENCY_MAX)).unwrap_or(1);
        let mut pace = (manner.per_second > 0)
            .then(|| tokio::time::interval(Duration::from_micros(share * 1_000_000 / manner.per_second)));
        while let Some(id) = order.get(next.fetch_add(1, Ordering::SeqCst)) {
            if let Some(pace) = &mut pace {
                pace.tick().await;
            }
            add(&self.sending.progress.begun, 1);
            self.deliver(id, true).await;
        }
    }

    /// Sends an event to everybody who wants it, and says to how many it came.
    async fn deliver(&mut self, event_id: &str, counted: bool) -> u64 {
        let Some(receivers) = self.receivers(event_id) else { return 0 };
        let mut acknowledged = 0;
        for receiver in receivers {
            let Some(address) = Address::parse(&receiver.url) else { continue };
            let is_through = self.insist(event_id, &receiver, &address, counted).await;
            acknowledged += u64::from(is_through);
            if counted {
                let progress = &self.sending.progress;
                add(if is_through { &progress.acknowledged } else { &progress.given_up }, 1);
            }
        }
        acknowledged
    }

    fn receivers(&self, event_id: &str) -> Option<Vec<Receiver>> {
        let simulator = self.simulator.upgrade()?;
        let mut stand_in = simulator.stand_in();
        let stripe = stand_in.as_stripe()?;
        let kind = stripe.kind_of(event_id)?.to_owned();
        Some(stripe.receivers().into_iter().filter(|receiver| receiver.wants(&kind)).collect())
    }

    fn body(&self, event_id: &str, receiver: &Receiver) -> Option<String> {
        let simulator = self.simulator.upgrade()?;
        let mut stand_in = simulator.stand_in();
        stand_in.as_stripe()?.body(event_id, receiver)
    }

    /// Tries until it is through.
    async fn insist(&mut self, event_id: &str, receiver: &Receiver, to: &Address, counted: bool) -> bool {
        let (mut pause_ms, pause_max_ms) = PAUSE_MS;
        for _ in 0..self.attempts_max {
            let Some(body) = self.body(event_id, receiver) else { return false };
            if counted {
                add(&self.sending.progress.attempts, 1);
            }
            let status = self.post.attempt(to, &receiver.secret, &body).await;
            if status.is_some_and(|status| status.is_success()) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            pause_ms = (pause_ms * 2).min(pause_max_ms);
        }
        false
    }
}
