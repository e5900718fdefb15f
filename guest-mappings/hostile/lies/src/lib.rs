//! Returns plans and needs that break a rule, one per lie; settings choose: `{"lie": "unbalanced"}`. The host must
//! refuse each by name and carry out nothing of it.

use portolan_sdk::prelude::*;
use serde::Deserialize;

/// A mapping that lies.
#[derive(Debug)]
pub struct Lies;

#[derive(Debug, Deserialize)]
struct Settings {
    lie: Lie,
}

/// Which rule to break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Lie {
    /// An operation that `describe` does not declare.
    UndeclaredOperation,
    /// A connection that `describe` does not declare.
    UndeclaredConnection,
    /// A query that `describe` does not declare.
    UndeclaredQuery,
    /// A lookup table that `describe` does not declare.
    UndeclaredTable,
    /// Debits that are not credits.
    Unbalanced,
    /// Two deliveries with one key.
    DuplicateKey,
    /// Deliveries that wait for each other.
    Cycle,
    /// A copy from what does not come before.
    BindingNotAfter,
    /// A predecessor that is not in the plan.
    UnknownPredecessor,
    /// A body that is not JSON.
    BodyNotJson,
    /// An amount with an exponent.
    BadAmount,
    /// No needs at all, as a need.
    EmptyNeed,
    /// No violations at all, as a refusal.
    EmptyReject,
    /// More deliveries than a plan may have.
    TooManyDeliveries,
}

impl Mapping for Lies {
    fn describe() -> Description {
        Description::new("hostile-lies", env!("CARGO_PKG_VERSION"), "Breaks the rule that its settings name.")
            .serves("stripe", "charge.succeeded")
            .connection("erp", "http", &["request.post", "request.get"])
            .settings_schema(r#"{"type":"object","required":["lie"],"properties":{"lie":{"type":"string"}}}"#)
    }

    fn map(cx: &Cx<'_>) -> Result<Plan, Stop> {
        let Settings { lie } = cx.settings()?;
        if lie == Lie::UndeclaredQuery {
            cx.query::<serde_json::Value>("bank", "balance.get", json!({}))?;
        }
        if lie == Lie::UndeclaredTable {
            cx.lookup::<String>("secrets", "all")?;
        }
        if lie == Lie::EmptyNeed {
            return Err(Stop::Need(Vec::new()));
        }
        if lie == Lie::EmptyReject {
            return Err(Stop::reject_all(Vec::new()));
        }
        Ok(plan(lie))
    }
}

fn plan(lie: Lie) -> Plan {
    let post = |key: &str| Delivery::new(key, "erp", "request.post", json!({"path": "/", "body": {}}));
    let one = portolan_sdk::money::Decimal::ONE;
    let plan = Plan::new();
    match lie {
        Lie::UndeclaredOperation => plan.deliver(Delivery::new("a", "erp", "request.delete", json!({}))),
        Lie::UndeclaredConnection => plan.deliver(Delivery::new("a", "bank", "request.post", json!({}))),
        Lie::Unbalanced => plan.deliver(post("a").debit("1000", one, "USD")),
        Lie::DuplicateKey => plan.deliver(post("a")).deliver(post("a")),
        Lie::Cycle => plan.deliver(post("a").after("b")).deliver(post("b").after("a")),
        Lie::BindingNotAfter => plan.deliver(post("a")).deliver(post("b").bind("a", "/status", "/body/x")),
        Lie::UnknownPredecessor => plan.deliver(post("a").after("z")),
        Lie::BodyNotJson => {
            let mut broken = post("a");
            broken.body = "{not json".to_owned();
            plan.deliver(broken)
        }
        Lie::BadAmount => {
            let mut broken = post("a").debit("1000", one, "USD").credit("2000", one, "USD");
            broken.ledger.iter_mut().for_each(|line| line.amount = "1e3".to_owned());
            plan.deliver(broken)
        }
        Lie::TooManyDeliveries => {
            (0..10_000).fold(plan, |plan, number| plan.deliver(post(&number.to_string())))
        }
        Lie::UndeclaredQuery | Lie::UndeclaredTable | Lie::EmptyNeed | Lie::EmptyReject => plan,
    }
}

portolan_sdk::mapping!(Lies);

#[cfg(test)]
mod tests {
    use portolan_sdk::testing::{Trial, charge};

    use super::*;

    fn tell(lie: &str) -> Trial<Lies> {
        Trial::<Lies>::of_charge(&charge("ch_1", 1, "eur")).settings(json!({"lie": lie}))
    }

    #[test]
    #[should_panic(expected = "debits minus credits in USD are 1")]
    fn an_unbalanced_plan_fails_its_trial() {
        drop(tell("unbalanced").run());
    }

    #[test]
    #[should_panic(expected = "request.delete on connection erp is not declared")]
    fn an_undeclared_operation_fails_its_trial() {
        drop(tell("undeclared-operation").run());
    }

    #[test]
    #[should_panic(expected = "b copies from a, which does not come before")]
    fn a_copy_from_elsewhere_fails_its_trial() {
        drop(tell("binding-not-after").run());
    }

    #[test]
    #[should_panic(expected = "the lookup table secrets is not declared")]
    fn an_undeclared_table_fails_its_trial() {
        drop(tell("undeclared-table").run());
    }
}
