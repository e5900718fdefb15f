//! The contract's types, `portolan:mapping@1.0.0`, as wit-bindgen wrote them. `wit/mapping.wit` documents each.

pub use crate::bindings::portolan::mapping::types::{
    Alert, Answer, Binding, Capture, CheckTime, Deferral, Delivery, Description, Environment, Event,
    ExistenceCheck, Fact, HeldPlan, Input, LedgerLine, Lookup, Need, Outcome, Plan, Problem, Query,
    Reference, ReferenceKey, RequiredConnection, RequiredTable, Served, Severity, Side, Violation,
};
