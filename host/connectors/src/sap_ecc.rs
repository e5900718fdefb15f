//! SAP ECC by SOAP-RFC. Operations and settings: `docs/connectors.md`.
//!
//! The trap this connector is built around: over HTTP every call is its own unit of work, so a BAPI answers
//! with a number and stores nothing, and a commit in the next call commits nothing. Either a customer's
//! wrapper function does both in one call, or the system is known to keep a session; see [`UnitOfWork`].
//!
//! | module | holds |
//! |---|---|
//! | `xml` | reading and writing XML |
//! | `soap` | function calls, answers, faults |
//! | `messages` | what the rows of RETURN mean |
//! | `table` | reading tables |
//! | `find` | documents that are there |
//! | `customers` | customers that are there |
//! | `doors` | which way a document goes in |
//! | `odata`, `odata_url`, `multipart` | services of SAP Gateway |
//! | `idoc`, `idoc_types` | IDocs in, and what became of them |
//! | `documents` | writing them, and reading them back |

mod config;
mod customers;
mod documents;
mod doors;
mod find;
mod idoc;
mod idoc_types;
mod messages;
mod multipart;
mod odata;
mod odata_url;
mod soap;
mod table;
mod xml;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use portolan_domain::{class::WriteClass, verdict::CallFailure};
use serde_json::{Map, Value, json};

use self::{
    config::{login, read_back, rfc, segments, services, wrappers},
    documents::Document,
    doors::Doors,
    idoc::Idocs,
    odata::Passes,
    soap::{Function, Reply, Rfc},
    xml::element_name,
};
use crate::{
    ConfigError, Connection, ConnectionConfig, Connector, Effect, Found, Operation,
    call::{Call, Doing},
    connection::{Guarded, System},
    outbound::Outbound,
    parameters::{object, object_of, text},
    settings::{SETTLE, Settings, refuse},
};

const ASKED: Effect = Effect::Write(WriteClass::AskedByKey { settle: SETTLE });
/// A change to the same values is no second change.
const REPEATABLE: Effect = Effect::Write(WriteClass::Repeatable);
const OPERATIONS: &[Operation] = &[
    Operation { name: "sales-order.find", effect: Effect::Read },
    Operation { name: "accounting-document.find", effect: Effect::Read },
    Operation { name: "accounting-document.check", effect: Effect::Read },
    Operation { name: "sales-order.by-number", effect: Effect::Read },
    Operation { name: "sales-order.get", effect: Effect::Read },
    Operation { name: "accounting-document.get", effect: Effect::Read },
    Operation { name: "accounting-document.reversal", effect: Effect::Read },
    Operation { name: "open-items.by-customer", effect: Effect::Read },
    Operation { name: "customer.get", effect: Effect::Read },
    Operation { name: "customer.find", effect: Effect::Read },
    Operation { name: "customer.by-email", effect: Effect::Read },
    Operation { name: "table.read", effect: Effect::Read },
    Operation { name: "odata.get", effect: Effect::Read },
    Operation { name: "sales-order.create", effect: ASKED },
    Operation { name: "sales-order.change", effect: REPEATABLE },
    Operation { name: "accounting-document.post", effect: ASKED },
    Operation { name: "accounting-document.reverse", effect: ASKED },
    Operation { name: "customer.create", effect: ASKED },
    Operation { name: "customer.change", effect: REPEATABLE },
    Operation { name: "odata.create", effect: ASKED },
    Operation { name: "odata.update", effect: REPEATABLE },
    Operation { name: "odata.batch", effect: ASKED },
];

/// The connector `sap-ecc`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SapEcc;

/// How a document and its commit come into one unit of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UnitOfWork {
    /// A customer function calls the BAPI and commits or rolls back itself.
    Wrapper,
    /// BAPI and commit are calls of one session, held together by cookies.
    Session,
}

/// How patiently a written document is looked for.
#[derive(Debug, Clone, Copy)]
struct ReadBack {
    attempts: u64,
    delay: Duration,
}

#[derive(Debug)]
struct Ecc {
    rfc: Rfc,
    services: Rfc,
    idocs: Idocs,
    odata_path: Vec<String>,
    passes: Passes,
    unit_of_work: UnitOfWork,
    doors: Doors,
    wrappers: BTreeMap<Document, String>,
    read_back: ReadBack,
    table_reader: String,
    /// Decimals by currency, as far as they were asked for.
    decimals: Mutex<BTreeMap<String, usize>>,
}

impl Connector for SapEcc {
    fn name(&self) -> &'static str {
        "sap-ecc"
    }

    fn operations(&self) -> &'static [Operation] {
        OPERATIONS
    }

    fn connect(
        &self,
        config: &ConnectionConfig,
        outbound: &Outbound,
    ) -> Result<Arc<dyn Connection>, ConfigError> {
        let settings = Settings::of(config)?;
        let base_url = settings.text_required("base_url")?;
        let units = [("wrapper", UnitOfWork::Wrapper), ("session", UnitOfWork::Session)];
        let unit_of_work = settings.choice("unit_of_work", &units, UnitOfWork::Wrapper)?;
        let (doors, wrappers) = (Doors::read(&settings)?, wrappers(&settings)?);
        let read_back = read_back(&settings)?;
        let table_reader = settings.text_or("table_reader", "RFC_READ_TABLE")?;
        let limits = settings.limits()?;
        let (authorization, scrub) = login(&settings)?;
        let services = services(&settings, authorization.clone())?;
        let rfc = rfc(&settings, authorization)?;
        let idocs = Idocs::read(&settings, doors.has_idocs())?;
        let odata_path = segments(settings.text_or("odata_path", "/sap/opu/odata/sap")?)
            .ok_or_else(|| refuse("odata_path", "must be a path like /sap/opu/odata/sap"))?;
        settings.finish()?;

        element_name(table_reader, "").map_err(|_| refuse("table_reader", "must be a function's name"))?;
        let pool = outbound.pool(base_url, limits.timeout)?;
        let system = Ecc {
            rfc,
            services,
            idocs,
            odata_path,
            passes: Passes::default(),
            unit_of_work,
            doors,
            wrappers,
            read_back,
            table_reader: table_reader.to_owned(),
            decimals: Mutex::default(),
        };
        let connector = self.name();
        Ok(Guarded { connector, operations: OPERATIONS, system, pool, limits, scrub }.shared())
    }
}

#[async_trait]
impl System for Ecc {
    async fn read(&self, operation: &str, parameters: &Value, call: &Call<'_>) -> Result<Found, CallFailure> {
        let found = match operation {
            "sales-order.find" => {
                let number = text(object_of(parameters, &["PURCH_NO_C"])?, "PURCH_NO_C")?;
                self.find_order(number, call).await?
            }
            "accounting-document.find" => self.find_accounting(parameters, call).await?,
            "accounting-document.check" => Some(self.check(object(parameters)?, call).await?),
            "accounting-document.get" => self.accounting(parameters, call).await?,
            "accounting-document.reversal" => {
                self.find_reversal(text(object_of(parameters, &["OBJ_KEY"])?, "OBJ_KEY")?, call).await?
            }
            "sales-order.by-number" => {
                self.order_row(text(object_of(parameters, &["SALESDOCUMENT"])?, "SALESDOCUMENT")?, call)
                    .await?
            }
            "sales-order.get" => self.order_status(parameters, call).await?,
            "open-items.by-customer" => self.open_items(parameters, call).await?,
            "customer.get" => self.customer(parameters, call).await?,
            "customer.find" => self.find_customer(parameters, call).await?,
            "odata.get" => return self.odata_get(parameters, call).await,
            "customer.by-email" => self.customer_by_email(parameters, call).await?,
            _ => Some(self.read_table(parameters, call).await?),
        };
        Ok(found.map_or(Found::No, Found::Yes))
    }

    async fn write(&self, operation: &str, body: &Value, call: &Call<'_>) -> Result<Value, CallFailure> {
        match operation {
            "odata.create" => return self.odata_create(body, call).await,
            "odata.update" => return self.odata_update(body, call).await,
            "odata.batch" => return self.odata_batch(body, call).await,
            _ => {}
        }
        let unknown = || CallFailure::permanent("unknown-operation", format!("{operation} is no write"));
        self.write_document(Document::of(operation).ok_or_else(unknown)?, body, call).await
    }

    /// Looks for an order that does not exist: this takes the logon and the right to read tables.
    async fn probe(&self, call: &Call<'_>) -> Result<(), CallFailure> {
        self.find_order("portolan-probe", call).await.map(|_| ())
    }
}

impl Ecc {
    /// Calls a function that changes nothing.
    async fn ask(&self, function: &Function<'_>, call: &Call<'_>) -> Result<Reply, CallFailure> {
        let rfc = if self.doors.reads_by_service { &self.services } else { &self.rfc };
        rfc.call(Doing::Asking, function, call).await
    }

    async fn check(&self, parameters: &Map<String, Value>, call: &Call<'_>) -> Result<Value, CallFailure> {
        let function = Function { name: "BAPI_ACC_DOCUMENT_CHECK", parameters, tables_out: &["RETURN"] };
        let values = self.ask(&function, call).await?.done()?;
        let rows = messages::rows(values.get("RETURN"));
        messages::failure(&rows).map_or_else(|| Ok(json!({"RETURN": rows})), Err)
    }
}

/// See [`crate::fuzz`].
#[cfg(feature = "fuzz")]
pub(crate) fn fuzz_soap(bytes: &[u8]) -> String {
    match xml::parse(bytes) {
        Ok(root) => format!("{} fields", serde_json::Value::Object(root.fields()).to_string().len().min(9)),
        Err(unreadable) => unreadable.to_string(),
    }
}

/// See [`crate::fuzz`].
#[cfg(feature = "fuzz")]
pub(crate) fn fuzz_batch(bytes: &[u8]) -> String {
    let replies = multipart::replies("multipart/mixed; boundary=ab", &String::from_utf8_lossy(bytes));
    replies.map_or("none".to_owned(), |replies| "x".repeat(replies.len().min(9)))
}
