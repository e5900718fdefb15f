//! SAP ECC behind `/sap/bc/soap/rfc`, web services, IDocs and Gateway.
//!
//! What it is faithful to: stateless calls (a BAPI answers a number and stores nothing, a commit in another call
//! commits nothing), customer functions that commit inside, sessions where they are switched on, output tables
//! only when named, RETURN sequences, ALPHA, TCURX, number gaps, faults and HTML pages.
//!
//! The cast: [`xml`] reads and writes SOAP, [`parameters`] turns text into ABAP values, [`documents`] is what was
//! committed, `sales_order`, `accounting`, `open_items`, `customer` and [`read_table`] are the functions, [`messages`] the rows
//! of RETURN, `soap` the calls and their unit of work, `idoc`… what comes and goes as IDocs. This file is the ICF node:
//! paths and logon.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use crate::ledger::Entry;
use crate::settings::SapOptions;
use crate::stand_in::{Call, Draft, Moment, Outcome, Outgoing, Refusal, Reply, StandIn};

mod accounting;
mod customer;
mod documents;
mod idoc;
mod idoc_out;
mod idoc_read;
mod messages;
mod odata;
mod odata_batch;
mod odata_entity;
mod open_items;
mod parameters;
mod read_table;
mod sales_order;
mod soap;
mod tables;
mod where_clause;
mod wsdl;
mod xml;

use documents::{Customer, Documents};
use idoc::Idocs;
use messages::Message;
use parameters::{Interface, Parameters, alpha, alpha_out};
use soap::{Session, service_function, session_cookie, soap_reply};
use xml::{Answer, Row};

/// Where SOAP-RFC is.
const SOAP_PATH: &str = "/sap/bc/soap/rfc";
/// Where web services are, each under its function's name.
const SERVICES_PATH: &str = "/sap/bc/srt/rfc/sap/";
/// Where functions are described.
const WSDL_PATH: &str = "/sap/bc/soap/wsdl11";
/// Where a session is ended.
const LOGOFF_PATH: &str = "/sap/public/bc/icf/logoff";

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

    /// Rows of RETURN of type E, announcements left out: class and number, text.
    fn failures(&self) -> Vec<(String, String)> {
        let said = self.tables.iter().filter(|(name, _)| *name == "RETURN").flat_map(|(_, rows)| rows.iter());
        let structures = self.exports.iter().filter_map(|(name, answer)| match answer {
            Answer::Structure(row) if *name == "RETURN" => Some(row),
            Answer::Structure(_) | Answer::Scalar(_) | Answer::Table(_) => None,
        });
        let field = |row: &Row, name: &str| {
            row.iter().find(|(field, _)| *field == name).map(|(_, value)| value.clone()).unwrap_or_default()
        };
        let causes =
            said.chain(structures).filter(|row| field(row, "TYPE") == "E" && field(row, "ID") != "RW");
        causes
            .map(|row| (format!("{}/{}", field(row, "ID"), field(row, "NUMBER")), field(row, "MESSAGE")))
            .collect()
    }

    /// Dates as web services type them: `2026-11-20`.
    fn iso_dates(&mut self) {
        for (name, value) in self.tables.iter_mut().flat_map(|(_, rows)| rows).flatten() {
            if name.ends_with("_DATE") && value.len() == 8 {
                *value = [value.get(..4), value.get(4..6), value.get(6..)]
                    .map(Option::unwrap_or_default)
                    .join("-");
            }
        }
    }
}

/// The system.
pub(crate) struct SapEcc {
    options: SapOptions,
    documents: Documents,
    idocs: Idocs,
    /// Customers that no IDoc went out of since they changed.
    changed: BTreeSet<String>,
    /// Tokens of Gateway, and for how many writes each is still good (0: for ever).
    tokens: BTreeMap<String, u64>,
    next_token: u64,
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
            idocs: Idocs::default(),
            changed: BTreeSet::new(),
            tokens: BTreeMap::new(),
            next_token: 0,
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
        let doors = [SOAP_PATH, LOGOFF_PATH, WSDL_PATH, idoc::XML_PATH, idoc::SOAP_PATH];
        let is_gateway = call.path.starts_with(odata::ROOT);
        if !doors.contains(&call.path.as_str()) && service_function(call).is_none() && !is_gateway {
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

    fn described(&self, functions: &str) -> Reply {
        let target = |name: &str| self.options.wrappers.get(name).cloned().unwrap_or_else(|| name.to_owned());
        wsdl::answer(functions, target)
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

impl StandIn for SapEcc {
    fn operation(&self, call: &Call) -> String {
        match xml::function_name(&call.body) {
            Some(function) if call.path == SOAP_PATH || service_function(call).is_some() => {
                function.to_owned()
            }
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
        if call.path.starts_with(odata::ROOT) {
            return self.odata(call, moment, &user);
        }
        match call.path.as_str() {
            idoc::XML_PATH => self.idoc_xml(call, moment),
            idoc::SOAP_PATH => self.idoc_soap(call, moment),
            WSDL_PATH => self.described(call.query("services").unwrap_or_default()).into(),
            _ => match service_function(call).filter(|_| call.query("wsdl").is_some()) {
                Some(function) => self.described(&function).into(),
                None => self.soap(call, moment, &user),
            },
        }
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
        if matches!(entry.kind.as_str(), documents::CUSTOMER | documents::CUSTOMER_UPDATE) {
            self.changed.insert(entry.number.clone());
        }
        if matches!(entry.kind.as_str(), idoc::IDOC | idoc::IDOC_UPDATE) {
            self.idocs.apply(entry);
            if entry.kind == idoc::IDOC
                && let Some(sent) = self.idocs.get(&entry.number).filter(|idoc| idoc.direction == "1")
            {
                self.changed.remove(&sent.object);
            }
        }
        self.documents.apply(entry);
    }

    fn refusal(&self, call: &Call, refusal: Refusal) -> Reply {
        if call.path == idoc::SOAP_PATH && matches!(refusal, Refusal::Locked) {
            return soap_reply(500, xml::fault("EA 728", "MSGID_LOCKED: the message id is being processed"));
        }
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
        self.reply(function, finished, &read.unwrap_or_default(), service_function(call).is_some())
    }

    fn lock(&mut self, object: &str, locked: bool) {
        let object = alpha(object, 10);
        if locked {
            self.locked.insert(object);
        } else {
            self.locked.remove(&object);
        }
    }

    fn seed(&mut self, objects: Vec<Value>) -> Result<Vec<Draft>, String> {
        self.customers_seeded(objects, crate::clock::now_ms())
    }

    fn due(&mut self, now_ms: u64) -> Vec<Draft> {
        let mut drafts = self.idocs_due(now_ms);
        drafts.extend(self.debmas_due(now_ms));
        drafts
    }

    fn outgoing(&mut self, now_ms: u64) -> Vec<Outgoing> {
        self.idocs_outgoing(now_ms)
    }

    fn sent(&mut self, post: &Outgoing, status: Option<u16>, now_ms: u64) -> Vec<Draft> {
        self.idocs_sent(post, status, now_ms)
    }

    fn idocs(&mut self, wish: &Value, now_ms: u64) -> Result<Vec<Draft>, String> {
        self.idocs_wished(wish, now_ms)
    }

    fn world(&self) -> Value {
        serde_json::to_value(&self.options).unwrap_or_default()
    }
}
