//! Write operations by what may be done when nobody knows whether one was carried out.
//!
//! Every write operation of a connector names its class, and an operation cannot be declared without one. From the
//! class, and from nothing else, follows what happens to a delivery in doubt: [`WriteClass::remedy`].
//!
//! | class | the system | in doubt |
//! |---|---|---|
//! | [`NativeKey`](WriteClass::NativeKey) | recognises our key, for a time | the same key and bytes again while the key is young enough; then as *asked by key* |
//! | [`TransferId`](WriteClass::TransferId) | keeps the identity of what was handed over in a journal | the same again while the journal surely holds it; then as *asked by key* |
//! | [`Repeatable`](WriteClass::Repeatable) | is left by a second call as the first left it | again |
//! | [`AskedByKey`](WriteClass::AskedByKey) | can be asked for the document by a key of ours | asked twice, a settle time apart: found, adopted; absent both times, sent; several, a person |
//! | [`Blind`](WriteClass::Blind) | neither recognises a repeat nor can be asked | a person |

use std::time::Duration;

/// What is known of a write operation. Its numbers come with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteClass {
    /// The system recognises a repeat by the idempotency key and answers it as it answered the first.
    NativeKey {
        /// How old a key may be to be relied on: shorter than the system's own memory.
        window: Duration,
    },
    /// The system writes the identity of every transfer down and carries none out twice.
    TransferId {
        /// How long it surely keeps it.
        remembered: Duration,
    },
    /// Carried out twice it has the effect of once.
    Repeatable,
    /// Not recognised, but what it makes carries a key of ours and can be asked for.
    AskedByKey {
        /// How long after an unknown outcome the system may still be working, and a copy that it answers from may
        /// lag behind.
        settle: Duration,
    },
    /// None of these.
    Blind,
}

/// A delivery of which nobody knows whether it was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Doubt {
    /// How long ago the latest doubt arose.
    pub age: Duration,
    /// How long ago its key may first have been used.
    pub key_age: Duration,
    /// How long ago the system was asked since, and did not have the document.
    pub absent_for: Option<Duration>,
    /// Whether the delivery says how to ask.
    pub can_ask: bool,
    /// Whether a person changed the body since an earlier attempt: then it is no repeat any more.
    pub is_corrected: bool,
}

/// What may be done about a doubt, now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// The same key and the same bytes once more.
    SendAgain,
    /// Nothing, for so long.
    Wait(Duration),
    /// Ask. Found: adopt. Absent: ask a second time, so much later.
    Ask {
        /// The settle time.
        again_after: Duration,
    },
    /// Ask a second time. Found: adopt. Absent again: send.
    AskThenSend,
    /// A person decides.
    AskPerson,
}

impl WriteClass {
    /// What may be done about a doubt. `settle` is the connection's settle time: what a class without one of its own
    /// is asked by when its key is not to be relied on any more.
    #[must_use]
    pub fn remedy(self, doubt: &Doubt, settle: Duration) -> Remedy {
        match self {
            Self::Repeatable => Remedy::SendAgain,
            Self::NativeKey { window: trusted } | Self::TransferId { remembered: trusted } => {
                if doubt.key_age < trusted && !doubt.is_corrected {
                    Remedy::SendAgain
                } else {
                    asked(doubt, settle)
                }
            }
            Self::AskedByKey { settle } => asked(doubt, settle),
            Self::Blind => Remedy::AskPerson,
        }
    }

    /// As it is written in the API and the documentation.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NativeKey { .. } => "native-key",
            Self::TransferId { .. } => "transfer-id",
            Self::Repeatable => "repeatable",
            Self::AskedByKey { .. } => "asked-by-key",
            Self::Blind => "blind",
        }
    }
}

/// Twice, because a single absence may be a call that was still under way, or a copy that lagged behind.
fn asked(doubt: &Doubt, settle: Duration) -> Remedy {
    if !doubt.can_ask {
        return Remedy::AskPerson;
    }
    let quiet_for = doubt.absent_for.unwrap_or(doubt.age);
    match settle.checked_sub(quiet_for).filter(|left| !left.is_zero()) {
        Some(left) => Remedy::Wait(left),
        None if doubt.absent_for.is_some() => Remedy::AskThenSend,
        None => Remedy::Ask { again_after: settle },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const CLASSES: [WriteClass; 5] = [
        WriteClass::NativeKey { window: seconds(100) },
        WriteClass::TransferId { remembered: seconds(100) },
        WriteClass::Repeatable,
        WriteClass::AskedByKey { settle: seconds(10) },
        WriteClass::Blind,
    ];

    /// By class, in the order of [`CLASSES`].
    fn remedies(doubt: Doubt) -> [Remedy; 5] {
        CLASSES.map(|class| class.remedy(&doubt, seconds(7)))
    }

    const FRESH: Doubt =
        Doubt { age: seconds(0), key_age: seconds(0), absent_for: None, can_ask: true, is_corrected: false };

    #[test]
    fn what_follows_from_a_doubt_follows_from_the_class() {
        use Remedy::{Ask, AskPerson, AskThenSend, SendAgain, Wait};
        let table = [
            ("fresh", FRESH, [SendAgain, SendAgain, SendAgain, Wait(seconds(10)), AskPerson]),
            (
                "settled",
                Doubt { age: seconds(10), key_age: seconds(10), ..FRESH },
                [SendAgain, SendAgain, SendAgain, Ask { again_after: seconds(10) }, AskPerson],
            ),
            (
                "absent a moment ago",
                Doubt { age: seconds(12), absent_for: Some(seconds(2)), ..FRESH },
                [SendAgain, SendAgain, SendAgain, Wait(seconds(8)), AskPerson],
            ),
            (
                "absent, and settled since",
                Doubt { age: seconds(30), absent_for: Some(seconds(10)), ..FRESH },
                [SendAgain, SendAgain, SendAgain, AskThenSend, AskPerson],
            ),
            (
                "the window is over",
                Doubt { age: seconds(5), key_age: seconds(100), ..FRESH },
                [Wait(seconds(2)), Wait(seconds(2)), SendAgain, Wait(seconds(5)), AskPerson],
            ),
            (
                "the window is over, and it was absent",
                Doubt { age: seconds(50), key_age: seconds(100), absent_for: Some(seconds(7)), ..FRESH },
                [AskThenSend, AskThenSend, SendAgain, Wait(seconds(3)), AskPerson],
            ),
            (
                "the window is over, and nobody can be asked",
                Doubt { key_age: seconds(100), can_ask: false, ..FRESH },
                [AskPerson, AskPerson, SendAgain, AskPerson, AskPerson],
            ),
            (
                "a person changed the body",
                Doubt { age: seconds(10), is_corrected: true, ..FRESH },
                [
                    Ask { again_after: seconds(7) },
                    Ask { again_after: seconds(7) },
                    SendAgain,
                    Ask { again_after: seconds(10) },
                    AskPerson,
                ],
            ),
        ];
        for (what, doubt, expected) in table {
            assert_eq!(remedies(doubt), expected, "{what}");
        }
    }

    #[test]
    fn the_last_moment_of_a_window_is_outside_of_it() {
        let class = WriteClass::NativeKey { window: seconds(100) };
        let at = |key_age| class.remedy(&Doubt { key_age, ..FRESH }, seconds(0));
        assert_eq!(at(seconds(100) - Duration::from_millis(1)), Remedy::SendAgain);
        assert_eq!(at(seconds(100)), Remedy::Ask { again_after: seconds(0) });
    }
}
