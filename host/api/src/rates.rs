//! How many requests each key of the admin API may make: so many in a second over time, and so many at once after a quiet
//! time. Beyond it a request is answered 429 and changes nothing.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use axum::http::StatusCode;
use portolan_domain::KeyId;
use portolan_pipeline::tokens::Tokens;

use crate::problem::Problem;

/// Keys known at most; beyond, those that are not held back are forgotten.
const KNOWN_MAX: usize = 20_000;

/// The requests of all keys.
#[derive(Debug)]
pub(crate) struct Rates {
    per_second: u64,
    burst: u64,
    keys: Mutex<HashMap<KeyId, Tokens>>,
}

impl Rates {
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        Self { per_second: per_second.max(1).into(), burst: burst.max(1).into(), keys: Mutex::default() }
    }

    /// One more request of this key; `now` is monotonic.
    pub(crate) fn take(&self, key: &KeyId, now: Duration) -> Result<(), Problem> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= KNOWN_MAX {
            let burst = usize::try_from(self.burst).unwrap_or(usize::MAX);
            keys.retain(|_, tokens| tokens.left(now) < burst);
        }
        let tokens = keys.entry(key.clone()).or_insert_with(|| Tokens::new(self.per_second, self.burst, now));
        if tokens.left(now) > 0 {
            tokens.take(1, now);
            return Ok(());
        }
        metrics::counter!("portolan_api_rate_limited_total").increment(1);
        let after_s = tokens.wait(now).as_secs().saturating_add(1);
        let text =
            format!("This key makes more than {} requests a second. Nothing was done.", self.per_second);
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate-limited", text);
        Err(problem.after(u16::try_from(after_s).unwrap_or(u16::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use portolan_domain::Timestamp;

    use super::*;

    #[test]
    fn a_key_is_held_back_alone_and_not_for_long() {
        let rates = Rates::new(2, 3);
        let (busy, other) =
            (KeyId::generate(Timestamp::from_millis(1)), KeyId::generate(Timestamp::from_millis(2)));
        let at = |millis| Duration::from_millis(millis);
        assert_eq!((0..5).filter(|_| rates.take(&busy, at(0)).is_ok()).count(), 3);
        assert!(rates.take(&other, at(0)).is_ok());
        assert!(rates.take(&busy, at(499)).is_err());
        assert!(rates.take(&busy, at(500)).is_ok());
    }
}
