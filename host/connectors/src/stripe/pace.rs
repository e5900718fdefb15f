//! The client's own speed limit: a token bucket in front of every request of a connection, so that a tenant's
//! backlog does not use up the rate limit that the tenant's shop needs too.
//! Source: Stripe's rate limits (100 requests a second live, 25 in a sandbox).

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Lets so many requests a second begin, with bursts of one second's worth after a rest.
#[derive(Debug)]
pub(super) struct Pace {
    interval: Duration,
    burst: Duration,
    /// When the next request would begin if nothing could be saved up. Bursts run ahead of it.
    next: Mutex<Option<Instant>>,
}

impl Pace {
    pub(super) fn new(per_second: u64) -> Self {
        let interval = Duration::from_nanos(1_000_000_000 / per_second.max(1));
        Self { interval, burst: Duration::from_secs(1).saturating_sub(interval), next: Mutex::default() }
    }

    /// How long a request that wants to begin now has to wait; its place is taken. `None`, and no place taken,
    /// when that would be longer than `wait_max`.
    pub(super) fn take(&self, now: Instant, wait_max: Duration) -> Option<Duration> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let due = next.map_or(now, |next| next.max(now));
        let wait = due.saturating_duration_since(now).saturating_sub(self.burst);
        if wait > wait_max {
            return None;
        }
        *next = Some(due + self.interval);
        Some(wait)
    }

    /// Nothing is saved up any more: the other side said that we are too fast.
    pub(super) fn drain(&self, now: Instant) {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let drained = now + self.burst + self.interval;
        *next = Some(next.map_or(drained, |next| next.max(drained)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_let_through_and_then_the_pace_is_kept() {
        let (pace, now, long) = (Pace::new(20), Instant::now(), Duration::from_secs(60));
        let waits: Vec<u128> = (0..60).map(|_| pace.take(now, long).unwrap().as_millis()).collect();
        assert_eq!(waits.iter().filter(|wait| **wait == 0).count(), 20);
        assert_eq!(waits.last(), Some(&2_000));
        assert_eq!(pace.take(now + Duration::from_secs(10), long), Some(Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn who_cannot_wait_takes_no_place() {
        let (pace, now) = (Pace::new(1), Instant::now());
        assert_eq!(pace.take(now, Duration::ZERO), Some(Duration::ZERO));
        for _ in 0..10 {
            assert_eq!(pace.take(now, Duration::from_millis(500)), None);
        }
        assert_eq!(pace.take(now, Duration::from_secs(1)), Some(Duration::from_secs(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn being_told_off_ends_a_burst() {
        let (pace, now) = (Pace::new(10), Instant::now());
        pace.drain(now);
        assert_eq!(pace.take(now, Duration::from_secs(9)), Some(Duration::from_millis(100)));
    }
}
