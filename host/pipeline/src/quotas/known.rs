//! What is known of one tenant, and what it may use now.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use portolan_domain::{
    Scope,
    quota::{Exceeded, Quotas},
    state::TenantState,
};
use portolan_store::standing::Standing;

use super::KEPT_FOR;
use crate::tokens::Tokens;

/// Until a tenant that is not served should be tried again, in seconds.
const NOT_SERVED_RETRY_S: u16 = 300;

/// Until a tenant whose bytes are used up should be tried again, in seconds.
pub(super) const FULL_RETRY_S: u16 = 60;

/// Why a tenant is told to come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Slowed {
    /// It has used up a quota.
    #[error("the tenant has used up its quota of {}; nothing was stored, try again in {after_s} s", .quota.as_str())]
    Quota {
        /// Which.
        quota: Exceeded,
        /// When another try is worth it, in seconds.
        after_s: u16,
    },
    /// It is suspended or being removed.
    #[error("the tenant is not served now; nothing was stored, try again later")]
    NotServed,
}

impl Slowed {
    /// Stable and machine-readable.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Quota { quota, .. } => quota.code(),
            Self::NotServed => "tenant-not-served",
        }
    }

    /// When another try is worth it, in seconds.
    #[must_use]
    pub const fn after_s(self) -> u16 {
        match self {
            Self::Quota { after_s, .. } => after_s,
            Self::NotServed => NOT_SERVED_RETRY_S,
        }
    }
}

/// How old what is known of a tenant is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    Fresh,
    /// By whoever is told so; nobody waits for it.
    ToBeReadAgain,
    Unusable,
}

/// What is known of one tenant.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) quotas: Quotas,
    pub(super) state: TenantState,
    pub(super) stored_bytes: u64,
    pub(super) events: Tokens,
    pub(super) fuel: Tokens,
    /// None when it is to be read anew: something was changed.
    pub(super) read_at: Option<Duration>,
    /// Somebody reads it again just now.
    pub(super) is_read_again: bool,
    /// How often something was changed.
    pub(super) forgotten: u64,
    /// How often each quota was exceeded since the start.
    pub(super) exceeded: BTreeMap<Exceeded, u64>,
    pub(super) alerts: HashMap<(Scope, Exceeded), Alerted>,
}

/// An alert that was raised.
#[derive(Debug, Clone, Copy)]
pub(super) struct Alerted {
    pub(super) stored: Duration,
    pub(super) exceeded: Duration,
}

impl Known {
    pub(super) fn new(quotas: Quotas, now: Duration) -> Self {
        Self {
            quotas,
            state: TenantState::Active,
            stored_bytes: 0,
            events: Tokens::new(quotas.events_per_second.into(), quotas.events_burst.into(), now),
            fuel: Tokens::new(quotas.fuel_per_second, quotas.fuel_burst, now),
            read_at: Some(now),
            is_read_again: false,
            forgotten: 0,
            exceeded: BTreeMap::new(),
            alerts: HashMap::new(),
        }
    }

    pub(super) fn learn(&mut self, standing: &Standing, quotas: Quotas, now: Duration) {
        self.stands(standing.tenant.state, quotas, now);
        self.stored_bytes = standing.stored_bytes;
        self.read_at = Some(now);
        self.is_read_again = false;
    }

    /// Whether it may be used as it is. Of those who ask when it should be read again, one is told so.
    pub(super) fn age(&mut self, now: Duration) -> Age {
        match self.read_at.map(|at| now.saturating_sub(at)) {
            Some(age) if age < KEPT_FOR || (age < KEPT_FOR * 2 && self.is_read_again) => Age::Fresh,
            Some(age) if age < KEPT_FOR * 2 => {
                self.is_read_again = true;
                Age::ToBeReadAgain
            }
            Some(_) | None => Age::Unusable,
        }
    }

    /// Whether it is served, and what it may use.
    pub(super) fn stands(&mut self, state: TenantState, quotas: Quotas, now: Duration) {
        if self.quotas != quotas {
            self.quotas = quotas;
            self.events.set(quotas.events_per_second.into(), quotas.events_burst.into(), now);
            self.fuel.set(quotas.fuel_per_second, quotas.fuel_burst, now);
        }
        self.state = state;
    }

    /// Takes what a request brings; overdrawn by what came with the last token.
    pub(super) fn take(&mut self, events: usize, bytes: usize, now: Duration) -> Result<(), Slowed> {
        if self.state != TenantState::Active {
            return Err(Slowed::NotServed);
        }
        if self.stored_bytes >= self.quotas.stored_bytes_max {
            return Err(Slowed::Quota { quota: Exceeded::StoredBytes, after_s: FULL_RETRY_S });
        }
        if self.events.left(now) == 0 {
            let after_s = self.events.wait(now).as_secs_f64().ceil();
            return Err(Slowed::Quota { quota: Exceeded::Events, after_s: seconds(after_s) });
        }
        self.events.take(events as u64, now);
        self.stored_bytes = self.stored_bytes.saturating_add(bytes as u64);
        Ok(())
    }

    pub(super) fn is_idle(&mut self, now: Duration) -> bool {
        self.alerts.is_empty() && self.fuel.left(now) > 0 && self.events.left(now) > 0
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 1 to 3600")]
fn seconds(after: f64) -> u16 {
    after.clamp(1.0, 3_600.0) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(quotas: Quotas) -> Known {
        Known::new(quotas, Duration::ZERO)
    }

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn events_come_in_at_their_rate_after_a_burst() {
        let mut known = known(Quotas { events_per_second: 10, events_burst: 5, ..Quotas::default() });
        let mut taken = 0;
        for millis in 0..10_000 {
            taken += u32::from(known.take(1, 1, at(millis)).is_ok());
        }
        assert!((104..=106).contains(&taken), "{taken} in ten seconds at ten a second and a burst of five");
    }

    #[test]
    fn what_is_old_is_read_again_by_one_and_used_by_the_others() {
        let mut known = known(Quotas::default());
        assert_eq!(known.age(at(999)), Age::Fresh);
        assert_eq!(known.age(at(1_000)), Age::ToBeReadAgain);
        assert_eq!(known.age(at(1_001)), Age::Fresh, "somebody is at it");
        assert_eq!(known.age(at(2_000)), Age::Unusable, "nobody was");
        known.read_at = None;
        assert_eq!(known.age(at(0)), Age::Unusable, "something was changed");
    }

    #[test]
    fn a_packet_may_overdraw_and_is_waited_for() {
        let mut known = known(Quotas { events_per_second: 2, events_burst: 2, ..Quotas::default() });
        known.take(8, 0, at(0)).unwrap();
        let slowed = known.take(1, 0, at(0)).unwrap_err();
        assert_eq!(slowed, Slowed::Quota { quota: Exceeded::Events, after_s: 4 });
        assert!(known.take(1, 0, at(3_400)).is_err());
        assert!(known.take(1, 0, at(3_500)).is_ok());
    }

    #[test]
    fn bytes_and_state_are_asked_first() {
        let mut known = known(Quotas { stored_bytes_max: 100, ..Quotas::default() });
        known.take(1, 60, at(0)).unwrap();
        known.take(1, 60, at(0)).unwrap();
        assert_eq!(known.take(1, 60, at(0)).unwrap_err().code(), "quota-stored-bytes");
        known.state = TenantState::Suspended;
        assert_eq!(known.take(1, 60, at(0)).unwrap_err(), Slowed::NotServed);
    }
}
