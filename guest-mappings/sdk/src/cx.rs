//! What a mapping knows and how it asks for more. A question whose answer is among the facts returns it; one
//! that is not stops the mapping with a need, through `?`, and the host calls again with the answer. So the
//! code reads as if it did I/O, and does none.
//!
//! ```
//! use portolan_sdk::{ask, prelude::*};
//!
//! fn part(cx: &Cx<'_>, product: &str) -> Result<String, Stop> {
//!     let known: Option<String> = cx.lookup("parts", product)?;
//!     known.ok_or_else(|| Stop::reject("", "unknown-product", format!("{product} is not in the table parts")))
//! }
//!
//! // Asked together, fetched together: one round instead of two.
//! fn both(cx: &Cx<'_>) -> Result<(Counterparts, Option<serde_json::Value>), Stop> {
//!     cx.all((
//!         ask::reference("stripe.customer", "cus_1"),
//!         ask::query("stripe", "customer.get", json!({"id": "cus_1"})),
//!     ))
//! }
//! ```

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    ask::{self, Ask, Counterparts, Facts},
    contract::{Environment, Event, Input},
    stop::Stop,
};

/// All that a call of a mapping knows.
#[derive(Debug, Clone, Copy)]
pub struct Cx<'a> {
    input: &'a Input,
}

impl<'a> Cx<'a> {
    /// The context of one call.
    #[must_use]
    pub fn new(input: &'a Input) -> Self {
        Self { input }
    }

    /// The event.
    #[must_use]
    pub fn event(&self) -> &'a Event {
        &self.input.event
    }

    /// Where the mapping runs.
    #[must_use]
    pub fn environment(&self) -> Environment {
        self.input.environment
    }

    /// Which attempt at the event this is, from 1: more after deferrals.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.input.attempt
    }

    /// The mapping's settings, typed.
    ///
    /// # Errors
    /// A refusal with code `settings` that names what does not fit.
    pub fn settings<T: DeserializeOwned>(&self) -> Result<T, Stop> {
        serde_json::from_str(&self.input.settings).map_err(|error| {
            Stop::reject("", "settings", format!("the mapping's settings do not fit: {error}"))
        })
    }

    /// The payload as JSON, typed. Unknown fields are passed over.
    ///
    /// # Errors
    /// A refusal with code `unreadable-payload`.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T, Stop> {
        serde_json::from_str(&self.input.event.payload).map_err(|error| {
            Stop::reject("", "unreadable-payload", format!("the payload does not fit: {error}"))
        })
    }

    /// A row of a lookup table, or `None` when the table has no such key.
    ///
    /// # Errors
    /// The need, when the answer is not known yet; a refusal, when the row has another shape.
    pub fn lookup<T: DeserializeOwned>(&self, table: &str, key: &str) -> Result<Option<T>, Stop> {
        self.ask(&ask::lookup(table, key))
    }

    /// A row of a lookup table, or `default` when the table has no such key.
    ///
    /// # Errors
    /// As [`Self::lookup`].
    pub fn lookup_or<T: DeserializeOwned>(&self, table: &str, key: &str, default: T) -> Result<T, Stop> {
        Ok(self.lookup(table, key)?.unwrap_or(default))
    }

    /// Under which ids other systems know an object. Empty when none does.
    ///
    /// # Errors
    /// The need, when the answer is not known yet.
    pub fn reference(&self, kind: &str, id: &str) -> Result<Counterparts, Stop> {
        self.ask(&ask::reference(kind, id))
    }

    /// A read through a connection, or `None` when the system does not have it.
    ///
    /// # Errors
    /// The need, when the answer is not known yet; a refusal, when the system refused or the answer has
    /// another shape.
    pub fn query<T: DeserializeOwned>(
        &self,
        connection: &str,
        operation: &str,
        parameters: Value,
    ) -> Result<Option<T>, Stop> {
        self.ask(&ask::query(connection, operation, parameters))
    }

    /// Several questions at once: a tuple, a `Vec` or an `Option` of questions. What is missing is fetched together.
    ///
    /// # Errors
    /// All needs that are not answered yet; else the first refusal.
    pub fn all<A: Ask>(&self, questions: A) -> Result<A::Answer, Stop> {
        self.ask(&questions)
    }

    fn ask<A: Ask>(&self, question: &A) -> Result<A::Answer, Stop> {
        let mut missing = Vec::new();
        let answer = question.read(&Facts::new(&self.input.facts), &mut missing)?;
        answer.ok_or(Stop::Need(missing))
    }
}
