//! The script of misfortunes: which call goes wrong, and how.
//!
//! Set over `POST /_simulator/faults`, cleared by `DELETE`; chosen by the exchange, once per call, before the
//! system sees it. Scripted rules go first, in the order they were set; then the random plan, which is a function
//! of its seed and the call's number only.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Rules that may wait at the same time.
pub const RULES_MAX: usize = 1_000;
/// How long a call hangs that is never answered.
pub const HANG_MS_DEFAULT: u64 = 120_000;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// With operation `*`: the listening socket is closed for `ms` (default 1000), at once. Otherwise as
    /// `cut-before-commit`.
    Refuse,
    /// Nothing is done, and nothing is answered for `ms` (default 120000); then the connection is closed.
    Hang,
    /// The call is carried out, and not answered, as above.
    HangAfterCommit,
    /// The request is read, the connection closed, nothing done.
    CutBeforeCommit,
    /// The call is carried out, the connection closed without an answer.
    CommitThenCut,
    /// 500 in the system's words; nothing is done.
    #[serde(rename = "error-500-before-commit")]
    Error500BeforeCommit,
    /// The call is carried out and answered 500.
    #[serde(rename = "error-500-after-commit")]
    Error500AfterCommit,
    /// The call is carried out and answered by a proxy's HTML page, 502.
    #[serde(rename = "gateway-502-after-commit")]
    Gateway502AfterCommit,
    /// The same with 503.
    #[serde(rename = "gateway-503-after-commit")]
    Gateway503AfterCommit,
    /// The same with 504.
    #[serde(rename = "gateway-504-after-commit")]
    Gateway504AfterCommit,
    /// The call is carried out; its answer comes in drops, over `ms` (default 1000).
    Drip,
    /// The call is carried out; its answer does not end.
    EndlessAfterCommit,
    /// 429 (or what the system has instead), with `retry_after` seconds (default 1).
    RateLimited,
    /// The same, with a date in `Retry-After`.
    RateLimitedUntil,
    /// 307 to an address where nobody listens; nothing is done.
    Redirect,
    /// A refusal for the business to settle, in the system's words.
    BusinessError,
    /// Another user holds the object.
    Locked,
    /// The call is carried out; the answer is 200 and unreadable.
    GarbageAfterCommit,
    /// The call is carried out after `ms` (default 1000).
    Slow,
    /// The connection is closed at once; the call is carried out `ms` later (default 1000).
    LateCommit,
    /// 401 in the system's words.
    Unauthorized,
    /// 403 in the system's words.
    Forbidden,
    /// 503 in the system's words.
    Unavailable,
    /// A proxy delivers the request twice; the second answer comes back.
    Twice,
    /// The answer is as it was `ms` ago (default 5000).
    CheckStale,
    /// The system answers as usual, numbers included, and loses the work (an update terminated later).
    UpdateLost,
}

impl FaultKind {
    /// Whether the caller gets a truthful answer to a call that was carried out.
    pub(crate) fn answers(self) -> bool {
        matches!(self, Self::Slow | Self::Twice | Self::CheckStale | Self::Drip)
    }

    /// The name used on the wire and in the ledger.
    #[must_use]
    pub fn name(self) -> String {
        serde_json::to_value(self).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

/// A scripted fault.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// An operation's name (with or without its verb), a path prefix (starting with `/`), or `*`.
    pub operation: String,
    /// What goes wrong.
    pub fault: FaultKind,
    /// How many matching calls it strikes.
    #[serde(default = "one")]
    pub times: u32,
    /// How many matching calls it lets pass first.
    #[serde(default)]
    pub skip: u32,
    /// Milliseconds, where the fault has a duration.
    #[serde(default)]
    pub ms: Option<u64>,
    /// Seconds, for `rate-limited`.
    #[serde(default)]
    pub retry_after: Option<u64>,
}

fn one() -> u32 {
    1
}

impl FaultRule {
    fn matches(&self, operation: &str, path: &str) -> bool {
        self.operation == "*"
            || self.operation == operation
            || operation.split_once(' ').is_some_and(|(_, name)| name == self.operation)
            || (self.operation.starts_with('/') && path.starts_with(&self.operation))
    }
}

/// Faults at random, reproducible from the seed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomFaults {
    /// The same seed strikes the same calls.
    pub seed: u64,
    /// Of a thousand calls, how many go wrong.
    pub per_mille: u32,
    /// Chosen from, evenly.
    pub faults: Vec<FaultKind>,
    /// Milliseconds, for those that have a duration.
    #[serde(default)]
    pub ms: Option<u64>,
}

/// A fault that strikes one call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Strike {
    pub(crate) kind: FaultKind,
    pub(crate) ms: Option<u64>,
    pub(crate) retry_after_s: u64,
}

/// All faults in wait.
#[derive(Default)]
pub(crate) struct Faults {
    rules: Vec<FaultRule>,
    random: Option<RandomFaults>,
    calls: u64,
}

impl Faults {
    pub(crate) fn new(random: Option<RandomFaults>) -> Self {
        Self { rules: Vec::new(), random, calls: 0 }
    }

    /// False when there are too many.
    pub(crate) fn add(&mut self, rule: FaultRule) -> bool {
        let room = self.rules.len() < RULES_MAX;
        if room {
            self.rules.push(rule);
        }
        room
    }

    pub(crate) fn set_random(&mut self, random: RandomFaults) {
        self.random = Some(random);
    }

    pub(crate) fn clear(&mut self) {
        self.rules.clear();
        self.random = None;
    }

    pub(crate) fn rules(&self) -> &[FaultRule] {
        &self.rules
    }

    /// The fault of the next call, used up by asking.
    pub(crate) fn take(&mut self, operation: &str, path: &str) -> Option<Strike> {
        self.calls += 1;
        let mut struck = None;
        for rule in &mut self.rules {
            if !rule.matches(operation, path) {
                continue;
            }
            if rule.skip > 0 {
                rule.skip -= 1;
            } else if struck.is_none() {
                rule.times = rule.times.saturating_sub(1);
                struck = Some(Strike {
                    kind: rule.fault,
                    ms: rule.ms,
                    retry_after_s: rule.retry_after.unwrap_or(1),
                });
            }
        }
        self.rules.retain(|rule| rule.times > 0);
        struck.or_else(|| self.at_random())
    }

    fn at_random(&self) -> Option<Strike> {
        let random = self.random.as_ref()?;
        let digest = Sha256::digest(format!("{}/{}", random.seed, self.calls));
        let mut bytes = digest.iter().copied().map(u64::from);
        let mut number = || bytes.by_ref().take(4).fold(0_u64, |sum, byte| sum * 256 + byte);
        let strikes = number() % 1_000 < u64::from(random.per_mille);
        let choice = number().checked_rem(u64::try_from(random.faults.len()).ok()?)?;
        let kind = random.faults.get(usize::try_from(choice).ok()?).copied()?;
        strikes.then_some(Strike { kind, ms: random.ms, retry_after_s: 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(operation: &str, fault: FaultKind, times: u32, skip: u32) -> FaultRule {
        FaultRule { operation: operation.to_owned(), fault, times, skip, ms: None, retry_after: None }
    }

    #[test]
    fn a_rule_lets_pass_then_strikes_then_is_gone() {
        let mut faults = Faults::default();
        faults.add(rule("Invoice", FaultKind::Hang, 2, 1));
        let kinds: Vec<_> =
            (0..4).map(|_| faults.take("POST Invoice", "/Invoice").map(|strike| strike.kind)).collect();
        assert_eq!(kinds, [None, Some(FaultKind::Hang), Some(FaultKind::Hang), None]);
        faults.add(rule("/Inv", FaultKind::Slow, 1, 0));
        assert!(faults.take("POST Customer", "/Customer").is_none());
        assert!(faults.take("POST Invoice", "/Invoice").is_some());
    }

    #[test]
    fn faults_have_the_names_that_the_page_of_the_simulators_says() {
        for name in
            ["error-500-before-commit", "error-500-after-commit", "gateway-502-after-commit", "check-stale"]
        {
            let kind: FaultKind = serde_json::from_value(name.into()).unwrap();
            assert_eq!(kind.name(), name);
        }
    }

    #[test]
    fn random_faults_are_the_same_for_the_same_seed() {
        let random = RandomFaults {
            seed: 7,
            per_mille: 200,
            faults: vec![FaultKind::Hang, FaultKind::Twice],
            ms: None,
        };
        let run = || {
            let mut faults = Faults::new(Some(random.clone()));
            (0..500).map(|_| faults.take("x", "/").map(|strike| strike.kind)).collect::<Vec<_>>()
        };
        let struck = run().into_iter().flatten().count();
        assert_eq!(run(), run());
        assert!((60..140).contains(&struck), "{struck}");
    }
}
