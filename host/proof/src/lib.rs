//! Where the crash proof takes hold of the host: points at which it may die, and bugs that may be planted in it.
//!
//! A proof that finds nothing proves little as long as nobody knows what it would find. So the host can be built
//! with bugs in it, one at a time, each of which breaks a promise; a judge that does not notice is no judge. And it can
//! be told to die at the *n*-th pass of any point of an event's life, so that no step is left to chance.
//!
//! Without the feature `armed` (only `tests/` asks for it) every function here is empty and its calls vanish.
//! With it, the environment decides, read once:
//!
//! | variable | value | effect |
//! |---|---|---|
//! | `PORTOLAN_PROOF_DIE` | `P12` or `P12:3` | the process aborts at the first (third) pass of that [`Point`] |
//! | `PORTOLAN_PROOF_BUG` | a [`Bug`]'s name | the host has that bug |
//! | `PORTOLAN_PROOF_STRIKE` | `abort:X`, `exit:X`, `overflow:X`, `panic:X`, several with commas | the process ends in this way when a module is executed on a payload with X in it |
//! | `PORTOLAN_PROOF_AHEAD_S` | seconds | the host's clock is so far ahead |
//! | `PORTOLAN_PROOF_PASSES` | a file | gets a line (`P12`) at the first pass of each point |
//!
//! Knows no other crate.

mod disk;
mod strike;

#[cfg(feature = "armed")]
pub use disk::on_rewrite;
pub use disk::rewritten;
pub use strike::strike;

macro_rules! points {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Points of an event's life, in their order.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Point { $($(#[$doc])* $name,)* }

        impl Point {
            /// Every point.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// `P1` to `P21`.
            #[must_use]
            pub const fn number(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

points! {
    /// A request's body has been read.
    BodyRead = "P1",
    /// Its signature has been checked.
    SignatureChecked = "P2",
    /// The event is in the transaction.
    EventInserted = "P3",
    /// The event is durable.
    EventCommitted = "P4",
    /// The answer is about to be written.
    Answered = "P5",
    /// A run's claim is durable.
    RunClaimed = "P6",
    /// The module is about to be called.
    Instantiated = "P7",
    /// The module has answered.
    Transformed = "P8",
    /// The plan has been checked.
    PlanChecked = "P9",
    /// The plan and its deliveries are in the transaction.
    PlanInserted = "P10",
    /// The plan and its deliveries are durable.
    PlanCommitted = "P11",
    /// An attempt's intent is durable.
    IntentCommitted = "P12",
    /// The existence check has been answered, or none is due.
    ExistenceChecked = "P13",
    /// The connection is open and the call is about to be made.
    Connected = "P14",
    /// The request is on its way: from here on the other system may carry it out.
    RequestSent = "P15",
    /// The response's head has arrived: the other system has carried it out, or not.
    ResponseBegun = "P16",
    /// The response has been read.
    ResponseRead = "P17",
    /// The result is in the transaction.
    ResultInserted = "P18",
    /// The result is durable.
    ResultCommitted = "P19",
    /// What was waiting for it has been told.
    Followed = "P20",
    /// The attempt is over.
    AttemptOver = "P21",
}

macro_rules! bugs {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Bugs that break a promise.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Bug { $($(#[$doc])* $name,)* }

        impl Bug {
            /// Every bug.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// As it is written in `PORTOLAN_PROOF_BUG`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

bugs! {
    /// A sender is answered before its event is durable.
    AnswerBeforeCommit = "answer-before-commit",
    /// The database does not wait for the disk. Only loss of power shows it.
    NoSync = "no-sync",
    /// Every attempt has an idempotency key of its own.
    FreshKeyPerAttempt = "fresh-key-per-attempt",
    /// What is in doubt is sent again without a question.
    CheckSkipped = "check-skipped",
    /// The existence check is answered from a copy that is some seconds old.
    CheckOnReplica = "check-on-replica",
    /// Whoever has lost a lease may still write.
    NoEpoch = "no-epoch",
    /// What a system may forget once it was told so is told before the result is durable.
    ResultAfterConfirm = "result-after-confirm",
    /// A plan's deliveries are stored in a transaction of their own.
    OutboxOutsideTransaction = "outbox-outside-transaction",
    /// A call is made before its intent is durable.
    IntentAfterSend = "intent-after-send",
    /// A module is executed again although its plan is stored.
    RunAgainAfterPlan = "run-again-after-plan",
    /// A run's attempts are counted when it has ended.
    AttemptsCountedAfter = "attempts-counted-after",
    /// A lease ends by a clock that may jump.
    LeaseByLocalClock = "lease-by-local-clock",
    /// A final state may be left again.
    FinalStateLeft = "final-state-left",
    /// An idempotency key is trusted for longer than the other system remembers it.
    KeyTrustedTooLong = "key-trusted-too-long",
    /// A restored database sends as if nothing had happened since.
    RestoreWithoutReconcile = "restore-without-reconcile",
}

/// A pass of a point. The process may end here.
#[cfg(not(feature = "armed"))]
#[inline(always)]
pub const fn pass(_: Point) {}

/// Whether the host has this bug.
#[cfg(not(feature = "armed"))]
#[inline(always)]
#[must_use]
pub const fn has(_: Bug) -> bool {
    false
}

/// How far the host's clock is ahead of the machine's.
#[cfg(not(feature = "armed"))]
#[inline(always)]
#[must_use]
pub const fn ahead() -> std::time::Duration {
    std::time::Duration::ZERO
}

#[cfg(feature = "armed")]
pub use armed::{ahead, has, pass};

#[cfg(feature = "armed")]
#[expect(clippy::disallowed_methods, reason = "what the proof asks for is no setting of the host")]
mod armed {
    use std::sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    };

    use super::{Bug, Point};

    struct Death {
        at: Point,
        passes_left: AtomicU64,
    }

    /// How long a request is on its way before the process dies.
    const IN_FLIGHT: std::time::Duration = std::time::Duration::from_millis(4);

    /// Leaves word that a point was passed: what a proof did not reach it did not prove.
    fn note(point: Point) {
        static FILE: OnceLock<Option<std::fs::File>> = OnceLock::new();
        static PASSED: AtomicU64 = AtomicU64::new(0);
        let open = || {
            let path = std::env::var_os("PORTOLAN_PROOF_PASSES")?;
            std::fs::OpenOptions::new().create(true).append(true).open(path).ok()
        };
        let Some(mut file) = FILE.get_or_init(open).as_ref() else { return };
        let bit = 1 << (point as u64);
        if PASSED.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            // One write of a few bytes at the end of the file: whole, whoever dies next. A disk that is full loses it.
            drop(std::io::Write::write_all(&mut file, format!("{}\n", point.number()).as_bytes()));
        }
    }

    fn death() -> Option<&'static Death> {
        static DEATH: OnceLock<Option<Death>> = OnceLock::new();
        let read = || {
            let text = std::env::var("PORTOLAN_PROOF_DIE").ok()?;
            let (number, pass) = text.split_once(':').unwrap_or((&text, "1"));
            let at = Point::ALL.iter().copied().find(|point| point.number() == number)?;
            Some(Death { at, passes_left: AtomicU64::new(pass.parse().ok()?) })
        };
        DEATH.get_or_init(read).as_ref()
    }

    /// A pass of a point. The process may end here.
    pub fn pass(point: Point) {
        note(point);
        let Some(death) = death().filter(|death| death.at == point) else { return };
        if death.passes_left.fetch_sub(1, Ordering::SeqCst) != 1 {
            return;
        }
        if point == Point::RequestSent {
            // Nothing in the process knows when the last byte has left. So it goes on for a moment, and dies with the
            // request on the wire, in the other system's socket or already carried out.
            std::thread::spawn(|| {
                std::thread::sleep(IN_FLIGHT);
                std::process::abort();
            });
        } else {
            std::process::abort();
        }
    }

    /// How far the host's clock is ahead of the machine's.
    #[must_use]
    pub fn ahead() -> std::time::Duration {
        let seconds = std::env::var("PORTOLAN_PROOF_AHEAD_S").ok().and_then(|text| text.parse().ok());
        std::time::Duration::from_secs(seconds.unwrap_or(0))
    }

    /// Whether the host has this bug.
    #[must_use]
    pub fn has(bug: Bug) -> bool {
        static PLANTED: OnceLock<Option<String>> = OnceLock::new();
        let planted = PLANTED.get_or_init(|| std::env::var("PORTOLAN_PROOF_BUG").ok());
        planted.as_deref() == Some(bug.name())
    }
}

#[cfg(test)]
mod tests {
    use super::{Bug, Point};

    #[test]
    fn points_and_bugs_have_names_of_their_own() {
        assert_eq!(Point::ALL.len(), 21);
        for (index, point) in Point::ALL.iter().enumerate() {
            assert_eq!(point.number(), format!("P{}", index + 1));
        }
        let names: std::collections::BTreeSet<_> = Bug::ALL.iter().map(|bug| bug.name()).collect();
        assert_eq!(names.len(), 15);
    }
}
