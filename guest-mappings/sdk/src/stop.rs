//! Why a mapping stops before it has a plan. Everything that is not a plan travels as an error through `?`:
//! a fact that is not there yet, a skip, a wait, a hold, a refusal.

use crate::contract::{Deferral, HeldPlan, Need, Outcome, Plan, Violation};

/// The end of a mapping without a plan to carry out at once.
///
/// ```
/// use portolan_sdk::prelude::*;
///
/// fn require_paid(paid: bool) -> Result<(), Stop> {
///     if paid { Ok(()) } else { Err(Stop::skip("not paid yet")) }
/// }
/// assert!(require_paid(false).is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// Facts are missing: the host fetches them and calls again.
    Need(Vec<Need>),
    /// Nothing to do, on purpose.
    Skip(String),
    /// Something this event depends on has not arrived yet.
    Defer(Deferral),
    /// A plan that a person must approve first.
    Hold(Box<HeldPlan>),
    /// The event cannot be used as it is.
    Reject(Vec<Violation>),
}

impl Stop {
    /// Nothing to do, with the reason a reader of the event will see.
    pub fn skip(reason: impl Into<String>) -> Self {
        Self::Skip(reason.into())
    }

    /// Not yet: the host calls again after its back-off.
    pub fn defer(reason: impl Into<String>) -> Self {
        Self::Defer(Deferral { reason: reason.into(), not_before: None })
    }

    /// Not yet, and not before a time (milliseconds since 1970).
    pub fn defer_until(reason: impl Into<String>, not_before_ms: u64) -> Self {
        Self::Defer(Deferral { reason: reason.into(), not_before: Some(not_before_ms) })
    }

    /// A person decides. The reason says what, in one sentence.
    pub fn hold(reason: impl Into<String>, plan: Plan) -> Self {
        Self::Hold(Box::new(HeldPlan { reason: reason.into(), plan }))
    }

    /// The event is unusable: where (a JSON Pointer into the payload, empty for the whole), a stable code,
    /// and a text that says what would be right.
    pub fn reject(pointer: impl Into<String>, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Reject(vec![Violation { pointer: pointer.into(), code: code.into(), message: message.into() }])
    }

    /// The event is unusable for several reasons.
    #[must_use]
    pub fn reject_all(violations: Vec<Violation>) -> Self {
        Self::Reject(violations)
    }

    /// The same refusal, about a certain place in the payload. Changes nothing but refusals without a place.
    #[must_use]
    pub fn at(mut self, pointer: &str) -> Self {
        if let Self::Reject(violations) = &mut self {
            for violation in violations.iter_mut().filter(|violation| violation.pointer.is_empty()) {
                violation.pointer = pointer.to_owned();
            }
        }
        self
    }
}

impl From<Stop> for Outcome {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Need(needs) => Self::Need(needs),
            Stop::Skip(reason) => Self::Skip(reason),
            Stop::Defer(deferral) => Self::Defer(deferral),
            Stop::Hold(held) => Self::Hold(*held),
            Stop::Reject(violations) => Self::Reject(violations),
        }
    }
}

/// Says where in the payload a refused value stood: `sap::PURCH_NO_C.text(&id).at("/data/object/id")?`.
pub trait At<T> {
    /// Names the place (a JSON Pointer into the payload).
    ///
    /// # Errors
    /// The same as before, with its place.
    fn at(self, pointer: &str) -> Result<T, Stop>;
}

impl<T, E: Into<Stop>> At<T> for Result<T, E> {
    fn at(self, pointer: &str) -> Result<T, Stop> {
        self.map_err(|error| error.into().at(pointer))
    }
}
