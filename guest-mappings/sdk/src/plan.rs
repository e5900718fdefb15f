//! Builders of plans. A plan is data; the builders only spare the empty fields.
//!
//! ```
//! use portolan_sdk::prelude::*;
//! use portolan_sdk::money::Decimal;
//!
//! let amount = Decimal::new(4998, 2);
//! let order = Delivery::new("order", "erp", "sales-order.create", json!({"PONum": "ch_1"}))
//!     .unless(Check::always("sales-order.find", json!({"PONum": "ch_1"}), "/OrderNum"))
//!     .capture("stripe.charge", "ch_1", "epicor.order", "/OrderNum");
//! let receipt = Delivery::new("receipt", "erp", "cash-receipt.create", json!({"DocTranAmt": amount.to_string()}))
//!     .after("order")
//!     .bind("order", "/OrderNum", "/OrderNum")
//!     .debit("1010", amount, "USD")
//!     .credit("1200", amount, "USD");
//! let plan = Plan::new().deliver(order).deliver(receipt);
//! assert_eq!(plan.deliveries[1].after, ["order"]);
//! ```

use crate::money::Decimal;
use serde_json::Value;

use crate::contract::{
    Alert, Binding, Capture, CheckTime, Delivery, ExistenceCheck, LedgerLine, Plan, Reference, ReferenceKey,
    Severity, Side,
};

impl Plan {
    /// Nothing to do yet.
    #[must_use]
    #[expect(
        clippy::new_without_default,
        reason = "an empty plan is a beginning, not a value to fall back to"
    )]
    pub fn new() -> Self {
        Self { ordering_key: None, deliveries: Vec::new(), references: Vec::new(), alerts: Vec::new() }
    }

    /// Carried out after earlier plans with this key. Left out: the event's object id.
    #[must_use]
    pub fn ordered_by(mut self, key: impl Into<String>) -> Self {
        self.ordering_key = Some(key.into());
        self
    }

    /// One more call to make.
    #[must_use]
    pub fn deliver(mut self, delivery: Delivery) -> Self {
        self.deliveries.push(delivery);
        self
    }

    /// A pair of ids that is known already.
    #[must_use]
    pub fn remember(
        mut self,
        kind: impl Into<String>,
        id: impl Into<String>,
        system: impl Into<String>,
        counterpart: impl Into<String>,
    ) -> Self {
        let key = ReferenceKey { kind: kind.into(), id: id.into() };
        self.references.push(Reference { key, system: system.into(), id: counterpart.into() });
        self
    }

    /// Something people should hear of.
    #[must_use]
    pub fn alert(
        mut self,
        severity: Severity,
        code: impl Into<String>,
        title: impl Into<String>,
        detail: &Value,
    ) -> Self {
        let (code, title, detail) = (code.into(), title.into(), detail.to_string());
        self.alerts.push(Alert { severity, code, title, detail });
        self
    }
}

impl Delivery {
    /// A call: its key in the plan, the connection by its declared name, the operation, the body.
    #[must_use]
    pub fn new(
        key: impl Into<String>,
        connection: impl Into<String>,
        operation: impl Into<String>,
        body: Value,
    ) -> Self {
        Self {
            key: key.into(),
            connection: connection.into(),
            operation: operation.into(),
            body: body.to_string(),
            after: Vec::new(),
            bindings: Vec::new(),
            once: None,
            unless: None,
            captures: Vec::new(),
            ledger: Vec::new(),
        }
    }

    /// Not before another delivery of the plan has succeeded.
    #[must_use]
    pub fn after(mut self, key: impl Into<String>) -> Self {
        let key = key.into();
        if !self.after.contains(&key) {
            self.after.push(key);
        }
        self
    }

    /// Copies a value of an earlier response into the body. The earlier one must come before, see [`Self::after`].
    #[must_use]
    pub fn bind(
        mut self,
        delivery: impl Into<String>,
        source: impl Into<String>,
        target: impl Into<String>,
    ) -> Self {
        self.bindings.push(Binding {
            delivery: delivery.into(),
            source: source.into(),
            target: target.into(),
        });
        self
    }

    /// The economic fact that the call records: of all deliveries through the connection that name the same one,
    /// one call is made, and the others take its response for their own.
    #[must_use]
    pub fn once(mut self, fact: impl Into<String>) -> Self {
        self.once = Some(fact.into());
        self
    }

    /// How to find out whether the document is there already.
    #[must_use]
    pub fn unless(mut self, check: Check) -> Self {
        self.unless = Some(check.0);
        self
    }

    /// Remembers the id at `pointer` of the response (or of the existence check's answer).
    #[must_use]
    pub fn capture(
        mut self,
        kind: impl Into<String>,
        id: impl Into<String>,
        system: impl Into<String>,
        pointer: impl Into<String>,
    ) -> Self {
        let key = ReferenceKey { kind: kind.into(), id: id.into() };
        self.captures.push(Capture { key, system: system.into(), pointer: pointer.into() });
        self
    }

    /// An accounting line on the debit side.
    #[must_use]
    pub fn debit(self, account: impl Into<String>, amount: Decimal, currency: impl Into<String>) -> Self {
        self.line(Side::Debit, account.into(), amount, currency.into())
    }

    /// An accounting line on the credit side.
    #[must_use]
    pub fn credit(self, account: impl Into<String>, amount: Decimal, currency: impl Into<String>) -> Self {
        self.line(Side::Credit, account.into(), amount, currency.into())
    }

    /// A line's amount is never negative: a negative one stands on the other side.
    fn line(mut self, side: Side, account: String, amount: Decimal, currency: String) -> Self {
        let side = match (amount.is_sign_negative(), side) {
            (false, side) => side,
            (true, Side::Debit) => Side::Credit,
            (true, Side::Credit) => Side::Debit,
        };
        self.ledger.push(LedgerLine { account, side, amount: amount.abs().to_string(), currency });
        self
    }
}

/// An existence check under construction: a read of the same connection, and where its answer names the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check(ExistenceCheck);

impl Check {
    /// Asked before the first send too: somebody else may have made the document.
    #[must_use]
    pub fn always(operation: impl Into<String>, parameters: Value, hit: impl Into<String>) -> Self {
        Self::new(CheckTime::Always, operation.into(), &parameters, hit.into())
    }

    /// Asked only when an earlier send may have been carried out, after a redrive, and after a restore.
    #[must_use]
    pub fn in_doubt(operation: impl Into<String>, parameters: Value, hit: impl Into<String>) -> Self {
        Self::new(CheckTime::InDoubt, operation.into(), &parameters, hit.into())
    }

    fn new(when: CheckTime, operation: String, parameters: &Value, hit: String) -> Self {
        let parameters = parameters.to_string();
        Self(ExistenceCheck { when, operation, parameters, bindings: Vec::new(), hit })
    }

    /// Copies a value of an earlier response into the parameters.
    #[must_use]
    pub fn bind(
        mut self,
        delivery: impl Into<String>,
        source: impl Into<String>,
        target: impl Into<String>,
    ) -> Self {
        let (delivery, source, target) = (delivery.into(), source.into(), target.into());
        self.0.bindings.push(Binding { delivery, source, target });
        self
    }
}
