//! SAP ECC behind `/sap/bc/soap/rfc`.
//!
//! What it is faithful to: stateless calls (a BAPI answers a number and stores nothing, a commit in another call
//! commits nothing), customer functions that commit inside, sessions where they are switched on, output tables
//! only when named, RETURN sequences, ALPHA, TCURX, number gaps, faults and HTML pages.
//!
//! The cast: [`xml`] reads and writes SOAP, [`parameters`] turns text into ABAP values, [`documents`] is what was
//! committed, `sales_order`, `accounting`, `open_items`, `customer` and [`read_table`] are the functions, [`messages`] the rows
//! of RETURN. This file is the ICF node: paths, logon, sessions, the unit of work.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Value, json};

use crate::ledger::Entry;
use crate::settings::{SapOptions, UnitOfWork};
use crate::stand_in::{Call, Draft, Moment, Outcome, Refusal, Reply, StandIn};

mod accounting;
mod customer;
mod documents;
mod messages;
mod open_items;
mod parameters;
mod read_table;
mod sales_order;
mod tables;
mod where_clause;
mod xml;

use documents::{Customer, Documents};
use messages::Message;
use parameters::{Interface, Parameters, alpha, alpha_out};
use xml::{Answer, Row};

/// Where SOAP-RFC is.
const SOAP_PATH: &str = "/sap/bc/soap/rfc";
/// Where a session is ended.
const LOGOFF_PATH: &str = "/sap/public/bc/icf/logoff";
/// Sessions at the same time; beyond, the oldest is rolled back.
const SESSIONS_MAX: usize = 1_000;
/// A session without a call for so long is rolled back.
const SESSION_IDLE_MS: u64 = 15 * 60 * 1_000;

/// Who calls, when, with which request.
pub(crate) struct Work<'a> {
    call: &'a Call,
    moment: Moment,
    user: &'a str,
}

/// A function's end.
pub(crate) enum Ended {
    Answered(Finished),
    /// A classic exception.
    Exception(&'static str),
    /// A system failure or a message of type E or A: fault type and text.
    Fault(&'static str, String),
}

/// What a function answers, and what it queued for the update task.
#[derive(Default)]
pub(crate) struct Finished {
    exports: Vec<(&'static str, Answer)>,
    tables: Vec<(&'static str, Vec<Row>)>,
    drafts: Vec<Draft>,
    /// RETURN holds an E or A.
    failed: bool,
}

impl Finished {
    fn export(&mut self, name: &'static str, answer: Answer) {
        self.exports.push((name, answer));
    }

    fn table(&mut self, name: &'static str, rows: Vec<Row>) {
        self.tables.push((name, rows));
    }
}

#[derive(Default)]
struct Session {
    pending: Vec<Draft>,
    used_at_ms: u64,
}

/// The system.
pub(crate) struct SapEcc {
    options: SapOptions,
    documents: Documents,
    locked: BTreeSet<String>,
    /// Number ranges are outside the unit of work: they only go up.
    next_order: u64,
    next_customer: u64,
    next_accounting: HashMap<(String, String), u64>,
    sessions: BTreeMap<String, Session>,
    next_session: u64,
}

/// Functions that a remote caller may use.
fn interface(function: &str) -> Option<Interface> {
    match function {
        "BAPI_SALESORDER_CREATEFROMDAT2" => Some(sales_order::CREATE),
        "BAPI_SALESORDER_GETSTATUS" => Some(sales_order::GETSTATUS),
        "BAPI_ACC_DOCUMENT_POST" | "BAPI_ACC_DOCUMENT_CHECK" => Some(accounting::POST),
        "BAPI_ACC_DOCUMENT_REV_POST" => Some(accounting::REVERSE),
        "BAPI_SALESORDER_CHANGE" => Some(sales_order::CHANGE),
        "BAPI_AR_ACC_GETOPENITEMS" => Some(open_items::INTERFACE),
        "BAPI_CUSTOMER_GETDETAIL1" => Some(customer::GETDETAIL),
        "BAPI_CUSTOMER_CREATEFROMDATA1" => Some(customer::CREATE),
        "BAPI_CUSTOMER_CHANGEFROMDATA1" => Some(customer::CHANGE),
        "RFC_READ_TABLE" => Some(read_table::INTERFACE),
        "BAPI_TRANSACTION_COMMIT" => Some(&[("WAIT", parameters::Shape::Scalar(parameters::Kind::C(1)))]),
        "BAPI_TRANSACTION_ROLLBACK" | "RFC_PING" | "RFC_SYSTEM_INFO" => Some(&[]),
        _ => None,
    }
}

impl SapEcc {
    pub(crate) fn new(options: SapOptions) -> Self {
        let mut documents = Documents::default();
        for (index, (number, master)) in options.customers.iter().enumerate() {
            documents.put_customer(customer::of_world(number, 20_001 + index, master));
        }
        Self {
            documents,
            locked: options.locked.iter().map(|object| alpha(object, 10)).collect(),
            next_order: options.sales_order_first,
            next_customer: options.customer_first,
            next_accounting: HashMap::new(),
            sessions: BTreeMap::new(),
            next_session: 0,
            options,
        }
    }

    fn logical_system(&self) -> String {
        format!("{}CLNT{}", self.options.system_id, self.options.client)
    }

    fn customer(&self, number: &str) -> Option<&Customer> {
        self.documents.customer(&alpha(number, 10))
    }

    /// Locks are kept in the length of customers; materials are compared without zeros.
    fn is_locked(&self, object: &str) -> bool {
        self.locked.contains(object) || self.locked.contains(&alpha(alpha_out(object), 10))
    }

    fn unauthorized(&self) -> Reply {
        let realm = format!(
            "Basic realm=\"SAP NetWeaver Application Server [{}/{}]\"",
            self.options.system_id, self.options.client
        );
        Reply::html(401, "Logon failed", "Client, name or password is not correct; log on again.")
            .with("www-authenticate", realm)
    }

    /// What stands before any function: path, node, processes, logon.
    fn door(&self, call: &Call) -> Result<String, Reply> {
        if call.path != SOAP_PATH && call.path != LOGOFF_PATH {
            return Err(Reply::html(404, "404 Resource not found", "The requested resource does not exist."));
        }
        if !self.options.icf_active {
            return Err(Reply::html(403, "403 Forbidden", "Service cannot be reached."));
        }
        if self.options.dialog_processes > 0 && call.in_flight > self.options.dialog_processes {
            return Err(Reply::html(503, "503 Service Unavailable", "No free dialog work process."));
        }
        let client = call.query("sap-client").unwrap_or(&self.options.client);
        let (user, password) = call.basic().ok_or_else(|| self.unauthorized())?;
        let user = user.to_uppercase();
        let known = self.options.users.get(&user).is_some_and(|known| known.password == password);
        if known && client == self.options.client { Ok(user) } else { Err(self.unauthorized()) }
    }

    fn soap(&mut self, call: &Call, moment: Moment, user: &str) -> Outcome {
        let refuse = |kind: &str, text: &str| Outcome::from(soap_reply(500, xml::fault(kind, text)));
        if call.method != http::Method::POST {
            return Reply::html(405, "405 Method not allowed", "SOAP-RFC takes POST.").into();
        }
        let content_type = call.header("content-type").unwrap_or_default();
        if !content_type.starts_with("text/xml") {
            return Reply::html(415, "415 Unsupported media type", "SOAP 1.1 is text/xml.").into();
        }
        let action = call.header("soapaction").unwrap_or_default().trim_matches('"');
        if self.options.soap_action_strict && !action.is_empty() {
            return refuse("INVALID_ACTION", "invalid action");
        }
        let envelope = match xml::parse(&call.body) {
            Ok(envelope) if envelope.name == "Envelope" && envelope.namespace == xml::SOAP_NAMESPACE => {
                envelope
            }
            Ok(_) => return refuse("SOAP_FORMAT", "The document is not a SOAP 1.1 envelope"),
            Err(error) => return refuse("SOAP_FORMAT", &error),
        };
        let Some(function) = envelope.child("Body").and_then(|body| body.children.first()) else {
            return refuse("SOAP_FORMAT", "The body is empty");
        };
        if function.namespace != xml::RFC_NAMESPACE {
            return refuse("FUNCTION_NOT_FOUND", "The function is not in the namespace of functions");
        }
        let wrapped = self.options.wrappers.get(&function.name).cloned();
        let target = wrapped.as_deref().unwrap_or(&function.name);
        let Some(interface) = interface(target) else {
            return refuse("FUNCTION_NOT_FOUND", &format!("Function module {} was not found", function.name));
        };
        if self.options.users.get(user).is_some_and(|known| known.forbidden.contains(&function.name)) {
            let text = format!("No RFC authorization for function module {}.", function.name);
            return refuse("RFC_AUTHORIZATION_FAILURE", &text);
        }
        let parameters = match Parameters::read(interface, function) {
            Ok(parameters) => parameters,
            Err((kind, text)) => return refuse(kind, &text),
        };
        let work = Work { call, moment, user };
        let existing = if wrapped.is_some() { self.wrapper_finds(target, &parameters, moment) } else { None };
        let ended = existing.map_or_else(|| self.execute(target, &work, &parameters), Ended::Answered);
        let session = self.session(call, moment.now_ms);
        match ended {
            Ended::Fault(kind, text) => {
                self.sessions.remove(&session.id);
                soap_reply(500, xml::fault(kind, &text)).into()
            }
            Ended::Exception(name) => {
                let prefix = &self.options.answer_prefix;
                let body = format!(
                    "<{prefix}:{function}.Exception xmlns:{prefix}=\"{}\"><Name>{name}</Name></{prefix}:{function}.Exception>",
                    xml::RFC_NAMESPACE,
                    function = function.name,
                );
                soap_reply(self.options.exception_status, xml::envelope(&body)).into()
            }
            Ended::Answered(mut finished) => {
                let drafts = std::mem::take(&mut finished.drafts);
                let wait = parameters.scalar("WAIT") == "X";
                let end = UnitEnd {
                    drafts,
                    wrapped: wrapped.is_some(),
                    failed: finished.failed,
                    now_ms: moment.now_ms,
                };
                let commits = self.unit_of_work(target, wait, end, &session);
                let reply = self.reply(&function.name, finished, &parameters);
                Outcome { reply: session.cookie(reply), commits }
            }
        }
    }

    fn execute(&mut self, function: &str, work: &Work<'_>, parameters: &Parameters) -> Ended {
        match function {
            "BAPI_SALESORDER_CREATEFROMDAT2" => self.sales_order_create(work, parameters),
            "BAPI_SALESORDER_GETSTATUS" => self.sales_order_status(work, parameters),
            "BAPI_ACC_DOCUMENT_POST" => self.accounting_post(work, parameters, false),
            "BAPI_ACC_DOCUMENT_CHECK" => self.accounting_post(work, parameters, true),
            "BAPI_ACC_DOCUMENT_REV_POST" => self.accounting_reverse(work, parameters),
            "BAPI_SALESORDER_CHANGE" => self.sales_order_change(work, parameters),
            "BAPI_AR_ACC_GETOPENITEMS" => self.open_items(work, parameters),
            "BAPI_CUSTOMER_GETDETAIL1" => self.customer_detail(parameters),
            "BAPI_CUSTOMER_CREATEFROMDATA1" => self.customer_create(work, parameters),
            "BAPI_CUSTOMER_CHANGEFROMDATA1" => self.customer_change(work, parameters),
            "RFC_READ_TABLE" => self.read_table(work, parameters),
            "BAPI_TRANSACTION_COMMIT" | "BAPI_TRANSACTION_ROLLBACK" => {
                Ended::Answered(sales_order::transaction_answer(&self.logical_system()))
            }
            "RFC_SYSTEM_INFO" => Ended::Answered(self.system_info()),
            _ => Ended::Answered(Finished::default()),
        }
    }

    /// A careful wrapper looks for the document first, and answers it.
    fn wrapper_finds(&self, function: &str, parameters: &Parameters, moment: Moment) -> Option<Finished> {
        if !self.options.wrapper_dedupe {
            return None;
        }
        let system = self.logical_system();
        let exists = |text: String| vec![Message::new("S", "ZSTRIPE", "001", text).row(&system)];
        let mut finished = Finished::default();
        if function == "BAPI_SALESORDER_CREATEFROMDAT2" {
            let header = parameters.structure("ORDER_HEADER_IN");
            let order = *self.documents.orders(Some(header.get("PURCH_NO_C")), moment.now_ms).first()?;
            finished.export("SALESDOCUMENT", Answer::Scalar(order.number.clone()));
            finished.table("RETURN", exists(format!("Sales document {} already exists", order.number)));
        } else if function == "BAPI_ACC_DOCUMENT_POST" {
            let header = parameters.structure("DOCUMENTHEADER");
            let found = self.documents.documents(Some(header.get("REF_DOC_NO")), moment.now_ms);
            let document = found.into_iter().find(|document| {
                document.company == header.get("COMP_CODE")
                    && document.doc_type == header.get("DOC_TYPE")
                    && document.reversed_by.is_empty()
                    && document.reverses.is_empty()
            })?;
            finished.export("OBJ_KEY", Answer::Scalar(document.key()));
            finished.export("OBJ_SYS", Answer::Scalar(system.clone()));
            finished.export("OBJ_TYPE", Answer::Scalar("BKPFF".to_owned()));
            finished.table("RETURN", exists(format!("Document {} already exists", document.key())));
        } else {
            return None;
        }
        Some(finished)
    }

    /// What of the queued work is committed by this call.
    fn unit_of_work(&mut self, function: &str, wait: bool, end: UnitEnd, session: &SessionKey) -> Vec<Draft> {
        if end.wrapped {
            // It commits with WAIT, or rolls back.
            return if end.failed { Vec::new() } else { end.drafts };
        }
        let Some(open) = self.sessions.get_mut(&session.id) else { return Vec::new() };
        match function {
            "BAPI_TRANSACTION_COMMIT" => {
                let delay_ms = if wait { 0 } else { self.options.update_delay_ms };
                let mut drafts = std::mem::take(&mut open.pending);
                for draft in &mut drafts {
                    if let Some(document) = draft.document.as_object_mut() {
                        document.insert("visible_at_ms".to_owned(), json!(end.now_ms + delay_ms));
                    }
                }
                drafts
            }
            "BAPI_TRANSACTION_ROLLBACK" => {
                open.pending.clear();
                Vec::new()
            }
            _ => {
                open.pending.extend(end.drafts);
                Vec::new()
            }
        }
    }

    /// The session of a call. In a stateless system there is none, and what a BAPI queued goes nowhere.
    fn session(&mut self, call: &Call, now_ms: u64) -> SessionKey {
        if self.options.unit_of_work == UnitOfWork::Stateless {
            return SessionKey::default();
        }
        self.sessions.retain(|_, session| session.used_at_ms + SESSION_IDLE_MS > now_ms);
        let sent = session_cookie(call);
        if let Some(id) = sent.filter(|id| self.sessions.contains_key(id)) {
            if let Some(session) = self.sessions.get_mut(&id) {
                session.used_at_ms = now_ms;
            }
            return SessionKey { id, new: false };
        }
        if self.sessions.len() >= SESSIONS_MAX {
            let oldest =
                self.sessions.iter().min_by_key(|(_, session)| session.used_at_ms).map(|(id, _)| id.clone());
            if let Some(oldest) = oldest {
                self.sessions.remove(&oldest);
            }
        }
        self.next_session += 1;
        let id = format!(
            "SID%3aANON%3asimulator_{}_00%3a{:08x}{now_ms:x}",
            self.options.system_id, self.next_session
        );
        self.sessions.insert(id.clone(), Session { pending: Vec::new(), used_at_ms: now_ms });
        SessionKey { id, new: true }
    }

    fn reply(&self, function: &str, finished: Finished, parameters: &Parameters) -> Reply {
        let prefix = &self.options.answer_prefix;
        let mut body = format!("<{prefix}:{function}.Response xmlns:{prefix}=\"{}\">", xml::RFC_NAMESPACE);
        for (name, answer) in &finished.exports {
            xml::write_parameter(&mut body, name, answer);
        }
        for (name, rows) in finished.tables {
            if parameters.names_table(name) {
                xml::write_parameter(&mut body, name, &Answer::Table(rows));
            }
        }
        body.push_str(&format!("</{prefix}:{function}.Response>"));
        soap_reply(200, xml::envelope(&body))
    }

    fn system_info(&self) -> Finished {
        let mut finished = Finished::default();
        let row = vec![
            ("RFCPROTO", "011".to_owned()),
            ("RFCCHARTYP", "4103".to_owned()),
            ("RFCHOST", "simulator".to_owned()),
            ("RFCSYSID", self.options.system_id.clone()),
            ("RFCDATABS", self.options.system_id.clone()),
            ("RFCDEST", format!("simulator_{}_00", self.options.system_id)),
            ("RFCSAPRL", "731".to_owned()),
        ];
        finished.export("RFCSI_EXPORT", Answer::Structure(row));
        finished
    }
}

/// How a function's unit of work ends.
struct UnitEnd {
    drafts: Vec<Draft>,
    wrapped: bool,
    failed: bool,
    now_ms: u64,
}

#[derive(Default)]
struct SessionKey {
    id: String,
    new: bool,
}

impl SessionKey {
    fn cookie(&self, reply: Reply) -> Reply {
        if self.id.is_empty() {
            return reply;
        }
        let state = if self.new { "NEW" } else { "ATT" };
        reply.with("set-cookie", format!("sap-contextid={}-{state}; path={SOAP_PATH}; HttpOnly", self.id))
    }
}

/// The session that a call names, without its state suffix.
fn session_cookie(call: &Call) -> Option<String> {
    let cookies = call.headers.get_all("cookie").iter().filter_map(|value| value.to_str().ok());
    let value = cookies
        .flat_map(|line| line.split(';'))
        .find_map(|pair| pair.trim().strip_prefix("sap-contextid="))?;
    Some(value.strip_suffix("-NEW").or_else(|| value.strip_suffix("-ATT")).unwrap_or(value).to_owned())
}

fn soap_reply(status: u16, body: String) -> Reply {
    Reply::new(status, "text/xml; charset=utf-8", body)
}

impl StandIn for SapEcc {
    fn operation(&self, call: &Call) -> String {
        match xml::function_name(&call.body) {
            Some(function) if call.path == SOAP_PATH => function.to_owned(),
            _ => format!("{} {}", call.method, call.path),
        }
    }

    fn answer(&mut self, call: &Call, moment: Moment) -> Outcome {
        let user = match self.door(call) {
            Ok(user) => user,
            Err(reply) => return reply.into(),
        };
        if call.path == LOGOFF_PATH {
            if let Some(id) = session_cookie(call) {
                self.sessions.remove(&id);
            }
            return Reply::html(200, "Logoff", "You have been logged off.").into();
        }
        self.soap(call, moment, &user)
    }

    fn apply(&mut self, entry: &Entry) {
        let number = |text: &str| text.get(..10).and_then(|digits| digits.parse::<u64>().ok()).unwrap_or(0);
        if entry.kind == documents::SALES_ORDER {
            self.next_order = self.next_order.max(number(&entry.number) + 1);
        } else if entry.kind == documents::CUSTOMER {
            self.next_customer = self.next_customer.max(number(&entry.number) + 1);
        } else if entry.kind == documents::ACCOUNTING_DOCUMENT {
            let company = entry.number.get(10..14).unwrap_or_default().to_owned();
            let year = entry.number.get(14..18).unwrap_or_default().to_owned();
            let next =
                self.next_accounting.entry((company, year)).or_insert(self.options.accounting_document_first);
            *next = (*next).max(number(&entry.number) + 1);
        }
        self.documents.apply(entry);
    }

    fn refusal(&self, call: &Call, refusal: Refusal) -> Reply {
        let function = xml::function_name(&call.body).unwrap_or_default();
        let target = self.options.wrappers.get(function).map_or(function, String::as_str);
        let message = match refusal {
            Refusal::Unauthorized => return self.unauthorized(),
            Refusal::Forbidden => return Reply::html(403, "403 Forbidden", "Service cannot be reached."),
            Refusal::Unavailable => {
                return Reply::html(503, "503 Service Unavailable", "The server is starting.");
            }
            Refusal::RateLimited { retry_after_s } => {
                return Reply::html(429, "429 Too Many Requests", "The dispatcher limits this client.")
                    .with("retry-after", retry_after_s.to_string());
            }
            Refusal::Internal => {
                return soap_reply(500, xml::fault("SYSTEM_FAILURE", "Time limit exceeded."));
            }
            Refusal::Locked if target.starts_with("BAPI_SALESORDER") => {
                Message::error("V1", "042", "Customer is currently being processed by user MILLER")
            }
            Refusal::Locked => {
                Message::error("MC", "601", "Object requested is currently locked by user MILLER")
            }
            Refusal::Business if target.starts_with("BAPI_SALESORDER") => {
                Message::error("M3", "305", "The material 4711 does not exist or is not activated")
            }
            Refusal::Business => Message::error("F5", "201", "Posting period 011 2026 is not open"),
        };
        let finished = match target {
            "BAPI_SALESORDER_CREATEFROMDAT2" | "BAPI_SALESORDER_CHANGE" => {
                sales_order::sales_refusal(message, &self.logical_system())
            }
            "BAPI_ACC_DOCUMENT_POST" | "BAPI_ACC_DOCUMENT_CHECK" | "BAPI_ACC_DOCUMENT_REV_POST" => {
                self.accounting_failure(vec![message])
            }
            _ => return soap_reply(500, xml::fault("ERROR_MESSAGE_STATE", &message.text)),
        };
        let envelope = xml::parse(&call.body).unwrap_or_default();
        let element = envelope.child("Body").and_then(|body| body.children.first());
        let read = element.and_then(|element| Parameters::read(interface(target)?, element).ok());
        self.reply(function, finished, &read.unwrap_or_default())
    }

    fn lock(&mut self, object: &str, locked: bool) {
        let object = alpha(object, 10);
        if locked {
            self.locked.insert(object);
        } else {
            self.locked.remove(&object);
        }
    }

    fn world(&self) -> Value {
        serde_json::to_value(&self.options).unwrap_or_default()
    }
}
