//! Runs a mapping natively, as the host runs it in the sandbox: round after round, each with the facts that the
//! earlier ones asked for, until there is an outcome. For `cargo test`; not part of a module.
//!
//! ```
//! use portolan_sdk::{prelude::*, testing::{Trial, charge}};
//! # struct Skips;
//! # impl Mapping for Skips {
//! #     fn describe() -> Description { Description::new("skips", "1.0.0", "").table("parts", "") }
//! #     fn map(cx: &Cx<'_>) -> Result<Plan, Stop> {
//! #         let part: Option<String> = cx.lookup("parts", "prod_1")?;
//! #         Err(Stop::skip(part.unwrap_or_default()))
//! #     }
//! # }
//! let trial = Trial::<Skips>::of_charge(&charge("ch_1", 4998, "usd").customer("cus_1"))
//!     .settings(json!({"time_zone": "Europe/Berlin"}))
//!     .lookup("parts", "prod_1", json!("WIDGET-1"))
//!     .run();
//! assert_eq!(trial.rounds, 2);
//! assert_eq!(trial.skipped(), "WIDGET-1");
//! ```

mod cases;
mod charge;
mod objects;
mod rules;

use std::{cell::RefCell, marker::PhantomData};

use serde_json::{Value, json};

pub use cases::cases;
pub use charge::{TestCharge, charge};
pub use objects::{
    TestObject, balance_transaction, checkout_session, credit_note, customer, dispute, early_fraud_warning,
    echoed, invoice, list, payment_intent, payout, refund, review, subscription, thin,
};

use crate::{
    Mapping,
    contract::{
        Answer, Environment, Event, Fact, HeldPlan, Input, Lookup, Need, Outcome, Plan, Problem, Query,
        ReferenceKey, Violation,
    },
    log::Level,
};

/// More rounds than the host grants: a mapping that still asks then is refused there.
const ROUNDS_MAX: usize = 8;

thread_local! {
    static LINES: RefCell<Vec<(Level, String)>> = const { RefCell::new(Vec::new()) };
}

pub(crate) fn keep_line(level: Level, text: &str) {
    LINES.with_borrow_mut(|lines| lines.push((level, text.to_owned())));
}

/// A mapping, an event, and what the host would find out.
#[derive(Debug, Clone)]
pub struct Trial<M> {
    input: Input,
    known: Vec<Fact>,
    mapping: PhantomData<fn() -> M>,
}

/// What came of a trial.
#[derive(Debug, Clone)]
pub struct Ended {
    /// The outcome; never a need.
    pub outcome: Outcome,
    /// How often the mapping was called.
    pub rounds: usize,
    /// Every need, in the order in which they were asked.
    pub needs: Vec<Need>,
    /// What the mapping logged, in all rounds.
    pub lines: Vec<(Level, String)>,
}

impl<M: Mapping> Trial<M> {
    /// A mapping on an event of any system.
    #[must_use]
    pub fn new(system: &str, kind: &str, payload: &Value) -> Self {
        let mut trial = Self::of_text(system, kind, "application/json", &payload.to_string());
        trial.input.event.object_id =
            payload.pointer("/data/object/id").and_then(Value::as_str).map(str::to_owned);
        trial
    }

    /// A mapping on an event whose payload is not JSON.
    #[must_use]
    pub fn of_text(system: &str, kind: &str, media_type: &str, payload: &str) -> Self {
        let event = Event {
            id: "evt_01TRIAL".into(),
            source: "trial".into(),
            system: system.into(),
            kind: kind.into(),
            object_id: None,
            occurred_at: 1_795_217_400_000,
            received_at: 1_795_217_401_000,
            media_type: media_type.into(),
            payload: payload.into(),
        };
        let input = Input {
            event,
            environment: Environment::Sandbox,
            attempt: 1,
            settings: "{}".into(),
            facts: Vec::new(),
        };
        Self { input, known: Vec::new(), mapping: PhantomData }
    }

    /// A mapping on `charge.succeeded`.
    #[must_use]
    pub fn of_charge(charge: &TestCharge) -> Self {
        Self::new("stripe", "charge.succeeded", &charge.event())
    }

    /// After so many attempts that ended in deferrals.
    #[must_use]
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.input.attempt = attempt;
        self
    }

    /// A mapping on an event of Stripe, of the kind that the event says.
    #[must_use]
    pub fn of_event(event: &Value) -> Self {
        Self::new("stripe", event.get("type").and_then(Value::as_str).unwrap_or_default(), event)
    }

    /// With these settings.
    #[must_use]
    pub fn settings(mut self, settings: Value) -> Self {
        self.input.settings = settings.to_string();
        self
    }

    /// A lookup table has this row.
    #[must_use]
    pub fn lookup(self, table: &str, key: &str, value: Value) -> Self {
        self.known(
            Need::Lookup(Lookup { table: table.into(), key: key.into() }),
            Answer::Found(value.to_string()),
        )
    }

    /// An object is known under these ids: `json!({"epicor": "812"})`.
    #[must_use]
    pub fn reference(self, kind: &str, id: &str, counterparts: Value) -> Self {
        let need = Need::Reference(ReferenceKey { kind: kind.into(), id: id.into() });
        self.known(need, Answer::Found(counterparts.to_string()))
    }

    /// A system answers a query with this.
    #[must_use]
    pub fn query(self, connection: &str, operation: &str, parameters: Value, answer: Value) -> Self {
        self.known(query(connection, operation, &parameters), Answer::Found(answer.to_string()))
    }

    /// A system refuses a query for good.
    #[must_use]
    pub fn refusal(self, connection: &str, operation: &str, parameters: Value, code: &str) -> Self {
        let problem = Problem { code: code.into(), message: "refused in this trial".into() };
        self.known(query(connection, operation, &parameters), Answer::Failed(problem))
    }

    fn known(mut self, need: Need, answer: Answer) -> Self {
        self.known.push(Fact { need, answer });
        self
    }

    /// The input of the first round, for benches.
    #[must_use]
    pub fn input(&self) -> &Input {
        &self.input
    }

    /// Runs the mapping to its end. What the trial does not know is absent.
    ///
    /// # Panics
    /// When the mapping asks for ever, asks or plans what it did not declare, or returns a plan that the host
    /// would refuse: each with the reason.
    #[must_use]
    #[expect(clippy::panic, reason = "a test fails by panicking")]
    pub fn run(mut self) -> Ended {
        LINES.with_borrow_mut(Vec::clear);
        let description = M::describe();
        let mut needs = Vec::new();
        for round in 1..=ROUNDS_MAX {
            let outcome = crate::run::transform::<M>(&self.input);
            let Outcome::Need(asked) = outcome else {
                if let Err(problem) = rules::check_outcome(&outcome, &description) {
                    panic!("{problem}");
                }
                return Ended { outcome, rounds: round, needs, lines: LINES.with_borrow(Clone::clone) };
            };
            if let Err(problem) = rules::check_needs(&asked, &description) {
                panic!("{problem}");
            }
            for need in asked {
                self.answer(need.clone());
                needs.push(need);
            }
        }
        panic!("the mapping still asks after {ROUNDS_MAX} rounds")
    }

    /// The input of the last round: all facts that the mapping asks for, for benches.
    #[must_use]
    pub fn last_input(mut self) -> Input {
        for _ in 0..ROUNDS_MAX {
            let Outcome::Need(asked) = crate::run::transform::<M>(&self.input) else { break };
            asked.into_iter().for_each(|need| self.answer(need));
        }
        self.input
    }

    fn answer(&mut self, need: Need) {
        let known = self.known.iter().find(|fact| fact.need == need);
        let answer = known.map_or(Answer::Absent, |fact| fact.answer.clone());
        self.input.facts.push(Fact { need, answer });
    }
}

fn query(connection: &str, operation: &str, parameters: &Value) -> Need {
    let (connection, operation) = (connection.to_owned(), operation.to_owned());
    Need::Query(Query { connection, operation, parameters: parameters.to_string() })
}

#[expect(clippy::panic, reason = "a test fails by panicking")]
impl Ended {
    /// The plan to carry out.
    ///
    /// # Panics
    /// When the outcome is another.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        let Outcome::Deliver(plan) = &self.outcome else {
            panic!("a plan was expected, not {:?}", self.outcome)
        };
        plan
    }

    /// The plan that waits for a person.
    ///
    /// # Panics
    /// When the outcome is another.
    #[must_use]
    pub fn held(&self) -> &HeldPlan {
        let Outcome::Hold(held) = &self.outcome else {
            panic!("a hold was expected, not {:?}", self.outcome)
        };
        held
    }

    /// Why there is nothing to do.
    ///
    /// # Panics
    /// When the outcome is another.
    #[must_use]
    pub fn skipped(&self) -> &str {
        let Outcome::Skip(reason) = &self.outcome else {
            panic!("a skip was expected, not {:?}", self.outcome)
        };
        reason
    }

    /// Why the event is unusable: the first reason.
    ///
    /// # Panics
    /// When the outcome is another.
    #[must_use]
    pub fn violation(&self) -> &Violation {
        let Outcome::Reject(violations) = &self.outcome else {
            panic!("a refusal was expected, not {:?}", self.outcome)
        };
        violations.first().unwrap_or_else(|| panic!("a refusal without a reason"))
    }

    /// The body of a delivery of the plan, by its key.
    ///
    /// # Panics
    /// When there is no such delivery.
    #[must_use]
    pub fn body(&self, key: &str) -> Value {
        let delivery = self.plan().deliveries.iter().find(|delivery| delivery.key == key);
        let body = delivery.and_then(|delivery| serde_json::from_str(&delivery.body).ok());
        body.unwrap_or_else(|| panic!("the plan has no delivery {key}: {:?}", self.plan()))
    }

    /// The outcome as JSON, for snapshots; with the rounds it took.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({"rounds": self.rounds, "outcome": crate::json::outcome(&self.outcome)})
    }
}
