//! Epicor ERP 10 and Kinetic, REST v2 and v1. Operations and settings: `docs/connectors.md`.
//!
//! | module | holds |
//! |---|---|
//! | `setup` | what a tenant's settings and secrets mean |
//! | `access` | tokens and sessions |
//! | `rest` | addresses, OData, methods, errors |
//! | `numbers` | which fields are JSON numbers |
//! | `customers` | customers, and what changed of them |
//! | `orders` | sales orders, resumable line by line |
//! | `holds` | orders held and released |
//! | `groups` | the groups that receipts, invoices and journals are entered in and posted by |
//! | `cash` | cash receipts, their allocations and reversals |
//! | `invoices` | AR invoices and credit memos |
//! | `journals` | general ledger journals |
//! | `queries` | BAQs, function libraries, any entity set |

mod access;
mod cash;
mod customers;
mod groups;
mod holds;
mod invoices;
mod journals;
mod numbers;
mod orders;
mod queries;
mod rest;
mod setup;

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use portolan_domain::{
    class::WriteClass,
    verdict::{CallFailure, CallProblem},
};
use serde_json::Value;

use self::rest::Rest;
use crate::{
    ConfigError, Connection, ConnectionConfig, Connector, Effect, Found, Operation,
    call::{Call, Doing},
    connection::System,
    outbound::Outbound,
    settings::SETTLE,
};

const READ: Effect = Effect::Read;
const ASKED: Effect = Effect::Write(WriteClass::AskedByKey { settle: SETTLE });
/// What is set to the same values again stays as it is.
const REPEATABLE: Effect = Effect::Write(WriteClass::Repeatable);
/// A tenant's own function: nothing is known of it.
const BLIND: Effect = Effect::Write(WriteClass::Blind);
const OPERATIONS: &[Operation] = &[
    Operation { name: "customer.find", effect: READ },
    Operation { name: "customer.get", effect: READ },
    Operation { name: "customers.changed", effect: READ },
    Operation { name: "sales-order.find", effect: READ },
    Operation { name: "sales-order.get", effect: READ },
    Operation { name: "cash-group.find", effect: READ },
    Operation { name: "cash-receipt.find", effect: READ },
    Operation { name: "ar-invoice.find", effect: READ },
    Operation { name: "ar-invoice.open-by-order", effect: READ },
    Operation { name: "credit-memo.find", effect: READ },
    Operation { name: "gl-journal.find", effect: READ },
    Operation { name: "part.get", effect: READ },
    Operation { name: "reason.get", effect: READ },
    Operation { name: "baq.read", effect: READ },
    Operation { name: "odata.get", effect: READ },
    Operation { name: "efx.query", effect: READ },
    Operation { name: "customer.create", effect: ASKED },
    Operation { name: "customer.update", effect: REPEATABLE },
    Operation { name: "sales-order.create", effect: ASKED },
    Operation { name: "sales-order.hold", effect: REPEATABLE },
    Operation { name: "sales-order.release", effect: REPEATABLE },
    Operation { name: "cash-group.ensure", effect: REPEATABLE },
    Operation { name: "cash-receipt.create", effect: ASKED },
    Operation { name: "cash-receipt.reverse", effect: ASKED },
    Operation { name: "cash-group.post", effect: ASKED },
    Operation { name: "credit-memo.create", effect: ASKED },
    Operation { name: "credit-memo.post", effect: ASKED },
    Operation { name: "gl-journal.post", effect: ASKED },
    Operation { name: "gl-journal.reverse", effect: ASKED },
    Operation { name: "efx.call", effect: BLIND },
];

/// The connector `epicor`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Epicor;

impl Connector for Epicor {
    fn name(&self) -> &'static str {
        "epicor"
    }

    fn operations(&self) -> &'static [Operation] {
        OPERATIONS
    }

    fn connect(
        &self,
        config: &ConnectionConfig,
        outbound: &Outbound,
    ) -> Result<Arc<dyn Connection>, ConfigError> {
        setup::connect(self.name(), OPERATIONS, config, outbound)
    }
}

/// Which of Epicor's two ways a document is entered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    /// Rows posted to entity sets.
    EntitySet,
    /// The methods that Epicor's own client calls.
    Methods,
}

/// What differs from tenant to tenant.
#[derive(Debug)]
struct Choices {
    /// By operation; [`Door::EntitySet`] for what is not there.
    doors: BTreeMap<String, Door>,
    /// Where an invoice keeps the other system's id.
    invoice_reference: String,
    /// Where a line of a credit memo keeps its reason; none is kept where this is empty.
    reason_column: String,
    /// Where a journal keeps its reference.
    journal_reference: String,
    /// A column that says that a receipt was reversed, where there is one.
    reversed_column: Option<String>,
    /// More columns of `customer.get` and `customers.changed`.
    customer_columns: Vec<String>,
    /// Rows that this user changed last are passed over by `customers.changed`: the column, and the user.
    own_changes: Option<(String, String)>,
    /// Whether `customers.changed` begins with what changes from now on.
    poll_from_now: bool,
    /// Functions that may be called, as `Library/Function`, and whether they change anything.
    functions: BTreeMap<String, Doing>,
}

#[derive(Debug)]
struct Kinetic {
    rest: Rest,
    choices: Choices,
}

impl Kinetic {
    fn door(&self, operation: &str) -> Door {
        self.choices.doors.get(operation).copied().unwrap_or(Door::EntitySet)
    }
}

#[async_trait]
impl System for Kinetic {
    async fn read(&self, operation: &str, parameters: &Value, call: &Call<'_>) -> Result<Found, CallFailure> {
        let found = match operation {
            "customer.find" => self.find_customer(parameters, call).await?,
            "customer.get" => self.get_customer(parameters, call).await?,
            "customers.changed" => Some(self.changed_customers(parameters, call).await?),
            "sales-order.find" => self.find_order(parameters, call).await?,
            "sales-order.get" => self.get_order(parameters, call).await?,
            "cash-group.find" => self.find_cash_group(parameters, call).await?,
            "cash-receipt.find" => self.find_receipt(parameters, call).await?,
            "ar-invoice.find" => self.find_invoice(parameters, call).await?,
            "ar-invoice.open-by-order" => self.open_invoices(parameters, call).await?,
            "credit-memo.find" => self.find_memo(parameters, call).await?,
            "gl-journal.find" => self.find_journal(parameters, call).await?,
            "reason.get" => self.get_reason(parameters, call).await?,
            "baq.read" => Some(self.read_baq(parameters, call).await?),
            "odata.get" => Some(self.read_rows(parameters, call).await?),
            "efx.query" => Some(self.call_function(parameters, Doing::Asking, call).await?),
            _ => self.get_part(parameters, call).await?,
        };
        Ok(found.map_or(Found::No, Found::Yes))
    }

    async fn write(&self, operation: &str, body: &Value, call: &Call<'_>) -> Result<Value, CallFailure> {
        match operation {
            "customer.create" => self.create_customer(body, call).await,
            "customer.update" => self.update_customer(body, call).await,
            "sales-order.create" => self.create_order(body, call).await,
            "sales-order.hold" => self.hold_order(body, call).await,
            "sales-order.release" => self.release_order(body, call).await,
            "cash-group.ensure" => self.ensure_cash_group(body, call).await,
            "cash-receipt.create" => self.create_receipt(body, call).await,
            "cash-receipt.reverse" => self.reverse_receipt(body, call).await,
            "credit-memo.create" => self.create_memo(body, call).await,
            "credit-memo.post" => self.post_memo(body, call).await,
            "gl-journal.post" => self.post_journal(body, call).await,
            "gl-journal.reverse" => self.reverse_journal(body, call).await,
            "efx.call" => self.call_function(body, Doing::Changing, call).await,
            _ => self.post_receipts(body, call).await,
        }
    }

    async fn probe(&self, call: &Call<'_>) -> Result<(), CallFailure> {
        self.customer("CustNum eq 0", call).await.map(|_| ())
    }
}

/// Whether a key that Epicor assigns is there.
fn is_positive(value: Option<&Value>) -> bool {
    value.and_then(Value::as_u64).is_some_and(|number| number > 0)
}

fn is_true(row: &Value, name: &str) -> bool {
    row.get(name).and_then(Value::as_bool).unwrap_or(false)
}

/// A number of a row as it stands there.
fn whole(row: &Value, name: &str) -> u64 {
    row.get(name).and_then(Value::as_u64).unwrap_or_default()
}

fn problem(code: &str, message: impl Into<String>) -> CallFailure {
    CallFailure::Permanent { problem: CallProblem::new(code, message) }
}
