//! The contract with modules, `portolan:mapping@1.0.0` (`wit/mapping.wit`), as plain Rust types. The WIT
//! file documents every item; here stands only what it does not say. As JSON, a variant is an object with
//! its case as the only key (`{"deliver":{…}}`), and names are in kebab-case, as in the WIT file.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Environment, Timestamp, money::Amount};

/// Declares a contract record: public fields, kebab-case JSON, equality.
macro_rules! record {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "kebab-case")]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }
    )*};
}

record! {
    /// What a module is told about an event.
    EventFacts {
        /// `evt_…`
        id: String,
        /// The source's name.
        source: String,
        /// The kind of system: `stripe`.
        system: String,
        /// What happened: `charge.succeeded`.
        kind: String,
        /// The object it happened to.
        object_id: Option<String>,
        /// By the source's clock.
        occurred_at: Timestamp,
        /// By the host's clock.
        received_at: Timestamp,
        /// `application/json`
        media_type: String,
        /// The body as text.
        payload: String,
    }

    /// All that a call of a module knows.
    Input {
        /// The event.
        event: EventFacts,
        /// Where the mapping runs.
        environment: Environment,
        /// From 1.
        attempt: u32,
        /// The mapping's settings.
        settings: Value,
        /// Answers to earlier needs, in the order in which they were asked.
        facts: Vec<Fact>,
    }

    /// A row of a lookup table.
    Lookup {
        /// Its table.
        table: String,
        /// Its key.
        key: String,
    }

    /// An object at home.
    ReferenceKey {
        /// `stripe.customer`
        kind: String,
        /// `cus_…`
        id: String,
    }

    /// A read through a connection.
    Query {
        /// The module's name for the connection.
        connection: String,
        /// A read operation.
        operation: String,
        /// Its parameters.
        parameters: Value,
    }

    /// Why a fact could not be had.
    Problem {
        /// Stable and machine-readable.
        code: String,
        /// For people.
        message: String,
    }

    /// A need and its answer.
    Fact {
        /// As the module asked.
        need: Need,
        /// What came back.
        answer: Answer,
    }

    /// A plan that waits for a person.
    HeldPlan {
        /// What to decide.
        reason: String,
        /// What happens on approval.
        plan: Plan,
    }

    /// Why an event cannot be mapped yet.
    Deferral {
        /// What is awaited.
        reason: String,
        /// Not before.
        not_before: Option<Timestamp>,
    }

    /// One thing that makes an event unusable.
    Violation {
        /// JSON Pointer into the payload.
        pointer: String,
        /// Stable and machine-readable.
        code: String,
        /// For people.
        message: String,
    }

    /// Everything that follows from an event.
    Plan {
        /// Plans with the same key are carried out in the order of their events.
        ordering_key: Option<String>,
        /// The calls to make.
        deliveries: Vec<PlannedDelivery>,
        /// Pairs of ids known now.
        references: Vec<Reference>,
        /// What people should hear of.
        alerts: Vec<PlannedAlert>,
    }

    /// One call to make, as the module planned it.
    PlannedDelivery {
        /// Unique in the plan.
        key: String,
        /// The module's name for the connection.
        connection: String,
        /// A write operation.
        operation: String,
        /// What to send.
        body: Value,
        /// Keys of deliveries that must have succeeded first.
        after: Vec<String>,
        /// Values to copy into the body.
        bindings: Vec<Binding>,
        /// How to find out whether the call was made already.
        unless: Option<ExistenceCheck>,
        /// The economic fact that it records: one call is made for all that name the same one.
        once: Option<String>,
        /// Ids to remember.
        captures: Vec<Capture>,
        /// The accounting lines it stands for.
        ledger: Vec<LedgerLine>,
    }

    /// Copies a value of an earlier response.
    Binding {
        /// Whose response.
        delivery: String,
        /// JSON Pointer into it.
        source: String,
        /// JSON Pointer into the body or the parameters.
        target: String,
    }

    /// A read that tells whether the document is there already.
    ExistenceCheck {
        /// When to ask.
        when: CheckTime,
        /// A read operation of the same connection.
        operation: String,
        /// What to look for.
        parameters: Value,
        /// Values to copy into the parameters.
        bindings: Vec<Binding>,
        /// JSON Pointer into the answer.
        hit: String,
    }

    /// Remembers an id from a response.
    Capture {
        /// The object whose counterpart it is.
        key: ReferenceKey,
        /// The system that answered.
        system: String,
        /// JSON Pointer into the response.
        pointer: String,
    }

    /// The same thing in two systems.
    Reference {
        /// The object.
        key: ReferenceKey,
        /// The other system.
        system: String,
        /// Its id there.
        id: String,
    }

    /// One accounting line.
    LedgerLine {
        /// In the ERP's words.
        account: String,
        /// Debit or credit.
        side: Side,
        /// Not negative.
        amount: Amount,
        /// ISO 4217.
        currency: String,
    }

    /// Something people should hear of.
    PlannedAlert {
        /// How much it matters.
        severity: Severity,
        /// Stable and machine-readable.
        code: String,
        /// One line.
        title: String,
        /// The facts it rests on.
        detail: Value,
    }

    /// What a module is and may do.
    Description {
        /// `stripe-to-epicor`
        name: String,
        /// Semantic version.
        version: String,
        /// One sentence.
        summary: String,
        /// The events it serves.
        serves: Vec<Served>,
        /// The connections it uses.
        connections: Vec<RequiredConnection>,
        /// The lookup tables it reads.
        tables: Vec<RequiredTable>,
        /// JSON Schema (2020-12) of its settings.
        settings_schema: Value,
    }

    /// A kind of event.
    Served {
        /// `stripe`
        system: String,
        /// `charge.succeeded`, `charge.*`
        kind: String,
    }

    /// A connection that a module uses.
    RequiredConnection {
        /// The module's name for it.
        name: String,
        /// The connector it must be.
        connector: String,
        /// Every operation used on it.
        operations: Vec<String>,
        /// Whether a mapping may leave it unbound.
        #[serde(default)]
        optional: bool,
    }

    /// A lookup table that a module reads.
    RequiredTable {
        /// Its name.
        name: String,
        /// What it maps to what.
        summary: String,
    }
}

impl Served {
    /// Whether an event of this system and kind is meant. A kind that ends in `.*` means all that begin alike.
    #[must_use]
    pub fn covers(&self, system: &str, kind: &str) -> bool {
        self.system == system && kind_covers(&self.kind, kind)
    }
}

/// Whether the pattern (`charge.succeeded`, `charge.*` or `*`) means this event kind.
#[must_use]
pub fn kind_covers(pattern: &str, kind: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some("") => true,
        Some(prefix) if prefix.ends_with('.') => kind.starts_with(prefix),
        _ => pattern == kind,
    }
}

/// What a run asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// A row of a lookup table.
    Lookup(Lookup),
    /// The counterparts of an object.
    Reference(ReferenceKey),
    /// A read through a connection.
    Query(Query),
}

/// What a run is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// The system has it.
    Found(Value),
    /// The system was asked and does not have it.
    Absent,
    /// The system refused for good.
    Failed(Problem),
}

/// What a module decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Carry out the plan.
    Deliver(Plan),
    /// Facts are missing.
    Need(Vec<Need>),
    /// A person must approve first.
    Hold(HeldPlan),
    /// Not yet.
    Defer(Deferral),
    /// Nothing to do, on purpose.
    Skip(String),
    /// The event cannot be used.
    Reject(Vec<Violation>),
}

/// When to make an existence check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CheckTime {
    /// Before the first send too.
    Always,
    /// Only when an earlier send may have been carried out.
    InDoubt,
}

/// Which side of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// Left.
    Debit,
    /// Right.
    Credit,
}

/// How much an alert matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Look today.
    Warning,
    /// Look now.
    Critical,
}

impl Severity {
    /// All, the least first.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Critical];

    /// As it is written: `info`, `warning`, `critical`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// A line that a module logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct LogLine {
    /// `debug`, `info`, `warn`, `error`.
    pub level: LogLevel,
    /// Without control characters.
    pub message: String,
}

/// How much a log line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LogLevel {
    /// For the module's author.
    Debug,
    /// Worth keeping.
    Info,
    /// Odd, but handled.
    Warn,
    /// Wrong.
    Error,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_pattern_covers_its_own_kinds_only() {
        assert!(kind_covers("charge.*", "charge.succeeded"));
        assert!(kind_covers("charge.*", "charge.dispute.created"));
        assert!(kind_covers("*", "anything"));
        assert!(kind_covers("charge.succeeded", "charge.succeeded"));
        assert!(!kind_covers("charge.*", "charger.x"));
        assert!(!kind_covers("charge*", "charge.x"));
        assert!(!kind_covers("charge", "charge.succeeded"));
    }

    #[test]
    fn variants_are_objects_with_their_case_as_only_key() {
        let need = Need::Reference(ReferenceKey { kind: "stripe.customer".into(), id: "cus_1".into() });
        let json = serde_json::to_value(&need).unwrap();
        assert_eq!(json, serde_json::json!({"reference":{"kind":"stripe.customer","id":"cus_1"}}));
        assert_eq!(serde_json::from_value::<Need>(json).unwrap(), need);
    }
}
