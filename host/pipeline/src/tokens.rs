//! A token bucket, in thousandths of a token so that nothing is rounded away. It may be overdrawn: whoever takes what is
//! not there is told how long that takes to come in.

use std::time::Duration;

const THOUSAND: u64 = 1_000;

/// A bucket.
#[derive(Debug)]
pub struct Tokens {
    /// Tokens that come in by themselves.
    per_second: u64,
    /// Thousandths that may be saved up.
    milli_max: i64,
    milli: i64,
    at: Duration,
}

impl Tokens {
    /// Full.
    #[must_use]
    pub fn new(per_second: u64, saved_max: u64, now: Duration) -> Self {
        let milli_max = i64::try_from(saved_max.saturating_mul(THOUSAND)).unwrap_or(i64::MAX);
        Self { per_second, milli_max, milli: milli_max, at: now }
    }

    fn come_in(&mut self, now: Duration) {
        let elapsed = now.saturating_sub(self.at);
        // A token a second is a thousandth a millisecond.
        let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        if millis > 0 {
            self.at += Duration::from_millis(millis);
            self.add(millis.saturating_mul(self.per_second));
        }
    }

    fn add(&mut self, milli: u64) {
        let milli = i64::try_from(milli).unwrap_or(i64::MAX);
        self.milli = self.milli.saturating_add(milli).min(self.milli_max);
    }

    /// The same with other numbers; what is saved up stays, as far as it may.
    pub fn set(&mut self, per_second: u64, saved_max: u64, now: Duration) {
        self.come_in(now);
        let milli_max = i64::try_from(saved_max.saturating_mul(THOUSAND)).unwrap_or(i64::MAX);
        // Whoever has used nothing has all of the new one.
        let full = self.milli == self.milli_max;
        (self.per_second, self.milli_max) = (per_second, milli_max);
        self.milli = if full { milli_max } else { self.milli.min(milli_max) };
    }

    /// How long until one token is there.
    pub fn wait(&mut self, now: Duration) -> Duration {
        self.come_in(now);
        let missing = u64::try_from(1_000_i64.saturating_sub(self.milli)).unwrap_or(0);
        Duration::from_millis(missing.div_ceil(self.per_second.max(1)))
    }

    /// Whole tokens that are there.
    pub fn left(&mut self, now: Duration) -> usize {
        self.come_in(now);
        usize::try_from(self.milli / 1_000).unwrap_or(0)
    }

    /// Takes tokens, there or not. How long until they will have come in.
    pub fn take(&mut self, tokens: u64, now: Duration) -> Duration {
        self.come_in(now);
        let milli = i64::try_from(tokens.saturating_mul(THOUSAND)).unwrap_or(i64::MAX);
        self.milli = self.milli.saturating_sub(milli);
        let missing = u64::try_from(-self.milli).unwrap_or(0);
        Duration::from_millis(missing.checked_div(self.per_second).unwrap_or(0))
    }

    /// Adds hundredths of a token.
    pub(crate) fn earn(&mut self, hundredths: u64, now: Duration) {
        self.come_in(now);
        self.add(hundredths.saturating_mul(10));
    }
}
