//! When a failed attempt is made again: exponential back-off with full jitter, so that a thousand
//! deliveries that failed together do not come back together.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How often and how soon something is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryPolicy {
    /// The longest first delay, in milliseconds; doubled with every attempt.
    pub base_ms: u64,
    /// No delay is longer than this, in milliseconds.
    pub cap_ms: u64,
    /// After this many attempts a person is asked.
    pub attempts_max: u32,
}

impl Default for RetryPolicy {
    /// 1 s doubled up to 10 min, 20 attempts: about two hours until a person is asked.
    fn default() -> Self {
        Self { base_ms: 1_000, cap_ms: 600_000, attempts_max: 20 }
    }
}

impl RetryPolicy {
    /// The delay before attempt `attempt + 1`, when attempt number `attempt` (from 1) has failed, or `None`
    /// when there is none. `random` is any 64 random bits.
    ///
    /// Full jitter: uniform between 0 and `min(cap, base · 2^(attempt-1))`.
    #[must_use]
    pub fn delay(&self, attempt: u32, random: u64) -> Option<Duration> {
        if attempt >= self.attempts_max {
            return None;
        }
        let doublings = attempt.saturating_sub(1).min(32);
        let ceiling = self.base_ms.saturating_mul(1 << doublings).min(self.cap_ms);
        let scaled = (u128::from(random) * (u128::from(ceiling) + 1)) >> 64;
        Some(Duration::from_millis(u64::try_from(scaled).unwrap_or(ceiling)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_last_attempt_has_no_successor() {
        let policy = RetryPolicy { attempts_max: 3, ..RetryPolicy::default() };
        assert!(policy.delay(2, 0).is_some());
        assert_eq!(policy.delay(3, 0), None);
    }

    proptest! {
        #[test]
        fn a_delay_never_exceeds_its_ceiling(attempt in 1u32..1000, random: u64) {
            let policy = RetryPolicy { base_ms: 500, cap_ms: 60_000, attempts_max: u32::MAX };
            let delay = policy.delay(attempt, random).unwrap();
            let ceiling = 500u64.saturating_mul(1 << (attempt - 1).min(32)).min(60_000);
            prop_assert!(delay <= Duration::from_millis(ceiling));
        }

        #[test]
        fn jitter_covers_the_whole_range(attempt in 1u32..20) {
            let policy = RetryPolicy { attempts_max: u32::MAX, ..RetryPolicy::default() };
            prop_assert_eq!(policy.delay(attempt, 0), Some(Duration::ZERO));
            let most = policy.delay(attempt, u64::MAX).unwrap();
            prop_assert_eq!(most, Duration::from_millis(policy.base_ms.saturating_mul(1 << (attempt - 1)).min(policy.cap_ms)));
        }
    }
}
