//! A gate for every connection: how many deliveries may be claimed for it now.
//!
//! The deliverer asks before every claim ([`Gates::room`]) and tells what came of each attempt ([`Gates::heard`]). What
//! is held back is not claimed, so no attempt is used up by it. A gate has three parts, each switched off by a zero in
//! the connection's settings:
//!
//! * a **breaker** (`breaker`): after several outages in a row, or when half of the latest calls were outages, nothing
//!   is sent but one probe at a time (a delivery that is due), at most one a second, rarer while they fail;
//! * a **bucket** ([`crate::tokens`]): calls a second, with bursts of one second's worth;
//! * a **budget** ([`crate::tokens`]): retries are put off when they become more than a share of all sends.
//!
//! Gates are kept in memory: after a start all are open, and an outage is found out again within a few calls.

mod breaker;

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use portolan_connectors::Traffic;
use portolan_domain::verdict::CallFailure;

use self::breaker::Breaker;
use crate::tokens::Tokens;

/// Gates kept at most; beyond, those that hold nothing back are forgotten.
const KEPT_MAX: usize = 20_000;

/// Retries that are never put off, in a second.
const RETRIES_PER_SECOND: u64 = 10;

/// What an attempt said about the other system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It answers, whatever it answers.
    Up,
    /// It is down, or cannot be reached.
    Down,
}

impl Heard {
    /// What a call's failure says; none when it says nothing about the other system.
    #[must_use]
    pub fn of(failure: &CallFailure) -> Option<Self> {
        match failure {
            failure if failure.is_outage() => Some(Self::Down),
            // Nothing was sent.
            CallFailure::Retryable { problem, .. } | CallFailure::Permanent { problem }
                if matches!(problem.code.as_str(), "paced" | "address-refused") =>
            {
                None
            }
            CallFailure::Retryable { .. }
            | CallFailure::Permanent { .. }
            | CallFailure::Unauthorized { .. }
            | CallFailure::Ambiguous { .. } => Some(Self::Up),
        }
    }
}

/// What changed when an attempt was heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turned {
    /// Nothing.
    No,
    /// The breaker has opened: people should know.
    Opened,
    /// The breaker is closed, for the first time since the start or since it was open.
    Closed,
}

/// How a gate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// `closed`: calls are made. `open`: none. `half-open`: a probe may be made, or is.
    pub breaker: &'static str,
    /// Outages in a row.
    pub failures: u32,
}

/// One connection's.
#[derive(Debug)]
struct Gate {
    traffic: Traffic,
    breaker: Breaker,
    bucket: Tokens,
    budget: Tokens,
}

impl Gate {
    fn new(traffic: Traffic, now: Duration) -> Self {
        let rate = u64::from(traffic.requests_per_second);
        Self {
            traffic,
            breaker: Breaker::new(traffic.breaker_failures),
            bucket: Tokens::new(rate, rate, now),
            budget: Tokens::new(RETRIES_PER_SECOND, RETRIES_PER_SECOND * 2, now),
        }
    }

    fn room(&mut self, now: Duration) -> usize {
        let by_breaker = self.breaker.room(now);
        if self.traffic.requests_per_second == 0 { by_breaker } else { by_breaker.min(self.bucket.left(now)) }
    }
}

/// All gates.
#[derive(Debug, Default)]
pub struct Gates {
    gates: Mutex<HashMap<String, Gate>>,
}

impl Gates {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Gate>> {
        self.gates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For every connection that holds anything back: how many deliveries may be claimed now. `now` is monotonic, here
    /// and everywhere in this file.
    #[must_use]
    pub fn room(&self, now: Duration) -> Vec<(String, usize)> {
        let mut gates = self.lock();
        let rooms = gates.iter_mut().map(|(lane, gate)| (lane, gate.room(now)));
        let held_back = rooms.filter(|(_, room)| *room < usize::MAX);
        held_back.map(|(lane, room)| (lane.clone(), room)).collect()
    }

    /// A delivery was claimed: it will make a call, and the breaker waits for its outcome.
    pub fn claimed(&self, lane: &str, is_retry: bool, now: Duration) {
        if let Some(gate) = self.lock().get_mut(lane) {
            gate.breaker.claimed(now);
            gate.bucket.take(1, now);
            if !is_retry {
                gate.budget.earn(u64::from(gate.traffic.retry_percent_max), now);
            }
        }
    }

    /// An attempt is over. None: it said nothing about the other system.
    pub fn heard(&self, lane: &str, traffic: Traffic, heard: Option<Heard>, now: Duration) -> Turned {
        let mut gates = self.lock();
        if gates.len() >= KEPT_MAX {
            gates.retain(|_, gate| gate.breaker.is_open());
        }
        let gate = gates.entry(lane.to_owned()).or_insert_with(|| Gate::new(traffic, now));
        if gate.traffic != traffic {
            *gate = Gate::new(traffic, now);
        }
        gate.breaker.heard(heard, now)
    }

    /// An attempt is over that made no call.
    pub fn heard_nothing(&self, lane: &str, now: Duration) -> Turned {
        self.lock().get_mut(lane).map_or(Turned::No, |gate| gate.breaker.heard(None, now))
    }

    /// A second call of one attempt.
    pub fn called_again(&self, lane: &str, now: Duration) {
        if let Some(gate) = self.lock().get_mut(lane) {
            gate.bucket.take(1, now);
        }
    }

    /// By how much a retry is put off; its place in the budget is taken.
    #[must_use]
    pub fn retry_pause(&self, lane: &str, now: Duration) -> Duration {
        let mut gates = self.lock();
        match gates.get_mut(lane) {
            Some(gate) if gate.traffic.retry_percent_max > 0 => gate.budget.take(1, now),
            Some(_) | None => Duration::ZERO,
        }
    }

    /// A person says that the system is up: calls are made at once.
    pub fn reset(&self, lane: &str) {
        if let Some(gate) = self.lock().get_mut(lane) {
            gate.breaker = Breaker::new(gate.traffic.breaker_failures);
        }
    }

    /// How a connection's gate stands; none before its first attempt since the start.
    #[must_use]
    pub fn standing(&self, lane: &str, now: Duration) -> Option<Standing> {
        self.lock().get(lane).map(|gate| gate.breaker.standing(now))
    }

    /// How many breakers are not closed.
    #[must_use]
    pub fn open(&self) -> usize {
        self.lock().values().filter(|gate| gate.breaker.is_open()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRAFFIC: Traffic = Traffic { requests_per_second: 10, breaker_failures: 3, retry_percent_max: 10 };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn room(gates: &Gates, now: Duration) -> Option<usize> {
        gates.room(now).first().map(|(_, room)| *room)
    }

    #[test]
    fn a_rate_is_kept_over_any_ten_seconds() {
        let gates = Gates::default();
        assert_eq!(gates.heard("con", TRAFFIC, Some(Heard::Up), seconds(0)), Turned::Closed);
        let mut sent = 0;
        for millis in 0..10_000 {
            let now = Duration::from_millis(millis);
            for _ in 0..room(&gates, now).unwrap() {
                gates.claimed("con", false, now);
                sent += 1;
            }
        }
        assert!(
            (100..=110).contains(&sent),
            "{sent} calls in ten seconds at ten a second and a burst of ten"
        );
    }

    #[test]
    fn retries_are_a_tenth_of_the_sends_and_ten_a_second() {
        let gates = Gates::default();
        gates.heard("con", TRAFFIC, Some(Heard::Up), seconds(0));
        let mut last = Duration::ZERO;
        for _ in 0..1_000 {
            last = gates.retry_pause("con", seconds(0));
        }
        assert!(last >= seconds(97), "the thousandth retry of one moment comes {last:?} later");
        let gates = Gates::default();
        let busy = Traffic { requests_per_second: 0, ..TRAFFIC };
        gates.heard("con", busy, Some(Heard::Up), seconds(0));
        for _ in 0..100 {
            gates.claimed("con", false, seconds(0));
            gates.claimed("con", false, seconds(0));
            assert!(gates.retry_pause("con", seconds(0)) <= seconds(9), "sends earn retries");
        }
    }

    #[test]
    fn what_is_switched_off_holds_nothing_back() {
        let gates = Gates::default();
        let off = Traffic { requests_per_second: 0, breaker_failures: 0, retry_percent_max: 0 };
        for _ in 0..100 {
            assert_ne!(gates.heard("con", off, Some(Heard::Down), seconds(0)), Turned::Opened);
            gates.claimed("con", true, seconds(0));
            assert_eq!(gates.retry_pause("con", seconds(0)), Duration::ZERO);
        }
        assert_eq!(room(&gates, seconds(0)), None);
    }

    #[test]
    fn a_business_error_is_no_outage() {
        assert_eq!(Heard::of(&CallFailure::permanent("refused", "x")), Some(Heard::Up));
        assert_eq!(Heard::of(&CallFailure::retryable("record-locked", "x")), Some(Heard::Up));
        assert_eq!(Heard::of(&CallFailure::retryable("not-connected", "x")), Some(Heard::Down));
        assert_eq!(Heard::of(&CallFailure::ambiguous("timeout", "x")), Some(Heard::Down));
        assert_eq!(Heard::of(&CallFailure::retryable("paced", "x")), None);
    }
}
