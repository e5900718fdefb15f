//! A circuit breaker.
//!
//! ```text
//! closed ── outages in a row, or half of the latest ──> open ── its pause is over ──> half-open
//!    ^                                                    ^                              │ one probe
//!    └──────────────── any call that is answered ─────────┼──────────────────────────────┤
//!                                                         └── an outage: twice the pause ┘
//! ```

use std::time::Duration;

use super::{Heard, Standing, Turned};

/// The first pause between probes, and the shortest.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest pause between probes: so late is a recovery noticed at most.
const PAUSE_MAX: Duration = Duration::from_secs(15);
/// Calls of which at least half must be outages, when there are not enough in a row.
const LATEST: u32 = 20;
/// A probe of which nothing was heard for so long is given up: its host or its task has died.
const PROBE_MAX: Duration = Duration::from_secs(200);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    /// Nothing is sent before `until`; a probe may be then.
    Open {
        until: Duration,
        pause: Duration,
    },
    Probing {
        since: Duration,
        pause: Duration,
    },
}

#[derive(Debug)]
pub(super) struct Breaker {
    failures_max: u32,
    failures: u32,
    /// The latest calls, the last in the lowest bit; set where it was an outage.
    latest: u32,
    heard: u32,
    state: State,
    /// Whether it was said that it is closed.
    is_told: bool,
}

impl Breaker {
    /// Closed. `failures_max` 0: never opens.
    pub(super) const fn new(failures_max: u32) -> Self {
        Self { failures_max, failures: 0, latest: 0, heard: 0, state: State::Closed, is_told: false }
    }

    /// How many calls may begin.
    pub(super) fn room(&self, now: Duration) -> usize {
        match self.state {
            State::Closed => usize::MAX,
            State::Open { until, .. } => usize::from(now >= until),
            State::Probing { since, .. } => usize::from(now.saturating_sub(since) >= PROBE_MAX),
        }
    }

    /// A call begins.
    pub(super) fn claimed(&mut self, now: Duration) {
        match self.state {
            State::Closed => {}
            State::Open { pause, .. } | State::Probing { pause, .. } => {
                self.state = State::Probing { since: now, pause };
            }
        }
    }

    pub(super) fn heard(&mut self, heard: Option<Heard>, now: Duration) -> Turned {
        match (heard, self.state) {
            (Some(Heard::Up), state) => {
                self.note(false);
                self.failures = 0;
                self.state = State::Closed;
                let turned = if state == State::Closed && self.is_told { Turned::No } else { Turned::Closed };
                self.is_told = true;
                if turned == Turned::Closed {
                    self.latest = 0;
                    self.heard = 0;
                }
                turned
            }
            (Some(Heard::Down), State::Closed) => {
                self.note(true);
                self.failures = self.failures.saturating_add(1);
                if !self.is_enough() {
                    return Turned::No;
                }
                self.state = State::Open { until: now + PAUSE, pause: PAUSE };
                Turned::Opened
            }
            (Some(Heard::Down), State::Probing { pause, .. }) => {
                self.failures = self.failures.saturating_add(1);
                let pause = (pause * 2).min(PAUSE_MAX);
                self.state = State::Open { until: now + pause, pause };
                Turned::No
            }
            // A probe that made no call: another may, not sooner than the one would have been answered.
            (None, State::Probing { pause, .. }) => {
                self.state = State::Open { until: now + pause, pause };
                Turned::No
            }
            // Calls that were under way when it opened.
            (Some(Heard::Down), State::Open { .. }) | (None, State::Closed | State::Open { .. }) => {
                Turned::No
            }
        }
    }

    fn note(&mut self, outage: bool) {
        self.latest = ((self.latest << 1) | u32::from(outage)) & ((1 << LATEST) - 1);
        self.heard = self.heard.saturating_add(1);
    }

    const fn is_enough(&self) -> bool {
        let half = self.heard >= LATEST && self.latest.count_ones() * 2 >= LATEST;
        self.failures_max > 0 && (self.failures >= self.failures_max || half)
    }

    pub(super) fn is_open(&self) -> bool {
        self.state != State::Closed
    }

    pub(super) fn standing(&self, now: Duration) -> Standing {
        let breaker = match self.state {
            State::Closed => "closed",
            State::Open { until, .. } if now < until => "open",
            State::Open { .. } | State::Probing { .. } => "half-open",
        };
        Standing { breaker, failures: self.failures }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn opened() -> Breaker {
        let mut breaker = Breaker::new(3);
        assert_eq!(breaker.heard(Some(Heard::Down), at(0)), Turned::No);
        assert_eq!(breaker.heard(Some(Heard::Down), at(0)), Turned::No);
        assert_eq!(breaker.heard(Some(Heard::Down), at(0)), Turned::Opened);
        breaker
    }

    #[test]
    fn it_opens_after_outages_in_a_row_and_sends_one_probe() {
        let mut breaker = opened();
        assert_eq!(breaker.room(at(999)), 0);
        assert_eq!(breaker.room(at(1_000)), 1);
        breaker.claimed(at(1_000));
        assert_eq!(breaker.room(at(1_500)), 0, "one probe at a time");
        assert_eq!(breaker.heard(Some(Heard::Up), at(1_600)), Turned::Closed);
        assert_eq!(breaker.room(at(1_600)), usize::MAX);
    }

    #[test]
    fn an_answer_in_between_begins_the_count_anew() {
        let mut breaker = Breaker::new(3);
        for _ in 0..9 {
            breaker.heard(Some(Heard::Down), at(0));
            breaker.heard(Some(Heard::Down), at(0));
            breaker.heard(Some(Heard::Up), at(0));
            breaker.heard(Some(Heard::Up), at(0));
            breaker.heard(Some(Heard::Up), at(0));
        }
        assert_eq!(breaker.room(at(0)), usize::MAX);
    }

    #[test]
    fn it_opens_when_half_of_the_latest_calls_are_outages() {
        let mut breaker = Breaker::new(3);
        breaker.heard(Some(Heard::Up), at(0));
        let turned = (0..40).map(|n| {
            let heard = if n % 2 == 0 { Heard::Up } else { Heard::Down };
            breaker.heard(Some(heard), at(0))
        });
        assert!(turned.collect::<Vec<_>>().contains(&Turned::Opened));
    }

    #[test]
    fn there_is_at_most_one_probe_a_second_during_an_outage_and_one_every_quarter_of_a_minute() {
        let mut breaker = opened();
        let mut probes = Vec::new();
        for millis in 0..600_000 {
            if breaker.room(at(millis)) > 0 {
                probes.push(millis);
                breaker.claimed(at(millis));
                breaker.heard(Some(Heard::Down), at(millis));
            }
        }
        assert!(probes.windows(2).all(|pair| pair[1] - pair[0] >= 1_000), "{probes:?}");
        assert!((40..=50).contains(&probes.len()), "{} probes in ten minutes", probes.len());
    }

    #[test]
    fn a_probe_that_is_never_heard_of_is_given_up() {
        let mut breaker = opened();
        breaker.claimed(at(1_000));
        assert_eq!(breaker.room(at(100_000)), 0);
        assert_eq!(breaker.room(at(201_000)), 1);
    }
}
