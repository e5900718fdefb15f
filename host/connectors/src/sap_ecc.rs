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
//! | `documents` | sales orders and accounting documents |

mod documents;
mod messages;
mod soap;
mod table;
mod xml;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use portolan_domain::verdict::{CallFailure, InDoubt};
use serde_json::{Map, Value, json};

use self::{
    documents::Document,
    soap::{Function, Reply, Rfc},
    xml::{DateFormat, element_name},
};
use crate::{
    ConfigError, Connection, ConnectionConfig, Connector, Effect, Found, Operation,
    call::{Call, Doing, basic_header, plain_header},
    connection::{Guarded, Scrub, System},
    outbound::Outbound,
    parameters::{object, object_of, text},
    settings::{Settings, refuse, refuse_secret},
};

const ASK: Effect = Effect::Write(InDoubt::Ask);
const OPERATIONS: &[Operation] = &[
    Operation { name: "sales-order.find", effect: Effect::Read },
    Operation { name: "accounting-document.find", effect: Effect::Read },
    Operation { name: "accounting-document.check", effect: Effect::Read },
    Operation { name: "customer.get", effect: Effect::Read },
    Operation { name: "table.read", effect: Effect::Read },
    Operation { name: "sales-order.create", effect: ASK },
    Operation { name: "accounting-document.post", effect: ASK },
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
    unit_of_work: UnitOfWork,
    order_wrapper: String,
    posting_wrapper: String,
    read_back: ReadBack,
    table_reader: String,
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
        let (order_wrapper, posting_wrapper) = wrappers(&settings)?;
        let read_back = read_back(&settings)?;
        let table_reader = settings.text_or("table_reader", "RFC_READ_TABLE")?;
        let limits = settings.limits()?;
        let (authorization, scrub) = login(&settings)?;
        let rfc = rfc(&settings, authorization)?;
        settings.finish()?;

        element_name(table_reader, "").map_err(|_| refuse("table_reader", "must be a function's name"))?;
        let pool = outbound.pool(base_url, limits.timeout)?;
        let table_reader = table_reader.to_owned();
        let system = Ecc { rfc, unit_of_work, order_wrapper, posting_wrapper, read_back, table_reader };
        let connector = self.name();
        Ok(Guarded { connector, operations: OPERATIONS, system, pool, limits, scrub }.shared())
    }
}

fn rfc(settings: &Settings<'_>, authorization: HeaderValue) -> Result<Rfc, ConfigError> {
    let client = settings.text_or("client", "100")?;
    let language = settings.text_or("language", "EN")?;
    let path = settings.text_or("soap_path", "/sap/bc/soap/rfc")?;
    let action = settings.text_or("soap_action", "")?;
    let formats = [("dats", DateFormat::Dats), ("iso", DateFormat::Iso)];
    let dates = settings.choice("date_format", &formats, DateFormat::Dats)?;
    if client.len() != 3 || !client.bytes().all(|b| b.is_ascii_digit()) {
        return Err(refuse("client", "must be three digits, like 100"));
    }
    if !(1..=2).contains(&language.len()) || !language.bytes().all(|b| b.is_ascii_alphabetic()) {
        return Err(refuse("language", "must be a language's letters, like EN"));
    }
    let segments: Vec<String> = path.trim_matches('/').split('/').map(str::to_owned).collect();
    if segments.iter().any(|segment| matches!(segment.as_str(), "" | "." | ".."))
        || path.contains(['?', '#', '%'])
    {
        return Err(refuse("soap_path", "must be a path like /sap/bc/soap/rfc"));
    }
    let action = plain_header(&format!("\"{action}\"")).filter(|_| !action.contains('"'));
    let action = action.ok_or_else(|| refuse("soap_action", "must be visible ASCII without quotes"))?;
    let headers = HeaderMap::from_iter([
        (header::AUTHORIZATION, authorization),
        (header::ACCEPT, HeaderValue::from_static("text/xml")),
        (HeaderName::from_static("soapaction"), action),
    ]);
    let (client, language) = (client.to_owned(), language.to_owned());
    Ok(Rfc { path: segments, client, language, headers, dates })
}

fn login(settings: &Settings<'_>) -> Result<(HeaderValue, Scrub), ConfigError> {
    let (user, password) = (settings.secret_required("user")?, settings.secret_required("password")?);
    if user.expose().contains(':') {
        return Err(refuse_secret("user", "must not hold a colon: Basic cannot carry it"));
    }
    let value = basic_header(&user, &password).ok_or_else(|| refuse_secret("password", "is too long"))?;
    Ok((value, Scrub::new([&user, &password]).with_basic(&user, &password)))
}

fn wrappers(settings: &Settings<'_>) -> Result<(String, String), ConfigError> {
    let mut order = "Z_STRIPE_ORDER_CREATE".to_owned();
    let mut posting = "Z_STRIPE_ACC_DOCUMENT_POST".to_owned();
    let fields = match settings.value("wrappers") {
        None => return Ok((order, posting)),
        Some(Value::Object(fields)) => fields,
        Some(_) => return Err(refuse("wrappers", "must be an object of operations and function names")),
    };
    for (operation, name) in fields {
        let pointer = format!("wrappers/{operation}");
        let name = name.as_str().filter(|name| element_name(name, "").is_ok());
        let name = name.ok_or_else(|| refuse(&pointer, "must be a function's name in upper case"))?;
        match operation.as_str() {
            "sales-order.create" => name.clone_into(&mut order),
            "accounting-document.post" => name.clone_into(&mut posting),
            _ => {
                let message = "is no write; they are: sales-order.create, accounting-document.post";
                return Err(refuse(&pointer, message));
            }
        }
    }
    Ok((order, posting))
}

fn read_back(settings: &Settings<'_>) -> Result<ReadBack, ConfigError> {
    let mut read_back = ReadBack { attempts: 5, delay: Duration::from_millis(400) };
    let fields = match settings.value("read_back") {
        None => return Ok(read_back),
        Some(Value::Object(fields)) => fields,
        Some(_) => {
            return Err(refuse("read_back", "must be an object: {\"attempts\": 5, \"delay_ms\": 400}"));
        }
    };
    for (name, value) in fields {
        let pointer = format!("read_back/{name}");
        let number = |max: u64| value.as_u64().filter(|number| *number <= max);
        match name.as_str() {
            "attempts" => {
                let attempts = number(50).filter(|attempts| *attempts > 0);
                read_back.attempts = attempts.ok_or_else(|| refuse(&pointer, "must be from 1 to 50"))?;
            }
            "delay_ms" => {
                let delay_ms = number(60_000).ok_or_else(|| refuse(&pointer, "must be from 0 to 60000"))?;
                read_back.delay = Duration::from_millis(delay_ms);
            }
            _ => return Err(refuse(&pointer, "is not a setting; they are: attempts, delay_ms")),
        }
    }
    Ok(read_back)
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
            "customer.get" => self.customer(parameters, call).await?,
            _ => Some(self.read_table(parameters, call).await?),
        };
        Ok(found.map_or(Found::No, Found::Yes))
    }

    async fn write(&self, operation: &str, body: &Value, call: &Call<'_>) -> Result<Value, CallFailure> {
        let document = match operation {
            "sales-order.create" => Document::SalesOrder,
            _ => Document::Accounting,
        };
        self.write_document(document, body, call).await
    }

    /// Looks for an order that does not exist: this takes the logon and the right to read tables.
    async fn probe(&self, call: &Call<'_>) -> Result<(), CallFailure> {
        self.find_order("portolan-probe", call).await.map(|_| ())
    }
}

impl Ecc {
    fn wrapper(&self, document: Document) -> &str {
        match document {
            Document::SalesOrder => &self.order_wrapper,
            Document::Accounting => &self.posting_wrapper,
        }
    }

    async fn check(&self, parameters: &Map<String, Value>, call: &Call<'_>) -> Result<Value, CallFailure> {
        let function = Function { name: "BAPI_ACC_DOCUMENT_CHECK", parameters, tables_out: &["RETURN"] };
        let values = self.rfc.call(Doing::Asking, &function, call).await?.done()?;
        let rows = messages::rows(values.get("RETURN"));
        messages::failure(&rows).map_or_else(|| Ok(json!({"RETURN": rows})), Err)
    }

    async fn customer(&self, parameters: &Value, call: &Call<'_>) -> Result<Option<Value>, CallFailure> {
        let names = ["CUSTOMERNO", "PI_SALESORG", "PI_DISTR_CHAN", "PI_DIVISION"];
        let fields = object_of(parameters, &names)?;
        for name in names {
            text(fields, name)?;
        }
        // Its answers are structures only, RETURN among them; these come unasked.
        let function = Function { name: "BAPI_CUSTOMER_GETDETAIL1", parameters: fields, tables_out: &[] };
        let mut values = match self.rfc.call(Doing::Asking, &function, call).await? {
            Reply::Refused(fault) if fault.name == "NOT_FOUND" => return Ok(None),
            reply @ (Reply::Done(_) | Reply::Refused(_)) => reply.done()?,
        };
        let rows = messages::rows(values.remove("RETURN").as_ref());
        match messages::failure(&rows) {
            Some(CallFailure::Permanent { .. }) if messages::says_absent(&rows) => Ok(None),
            Some(failure) => Err(failure),
            None => Ok(Some(Value::Object(values))),
        }
    }
}
