//! Function calls in envelopes: SOAP-RFC and web services. What is read, carried out and answered; sessions, and what
//! of the queued work is committed.

use serde_json::json;

use crate::sap::messages::Message;
use crate::sap::parameters::Parameters;
use crate::sap::xml::{self, Answer, Element};
use crate::sap::{Ended, Finished, SERVICES_PATH, SOAP_PATH, SapEcc, Work, interface};
use crate::settings::UnitOfWork;
use crate::stand_in::{Call, Draft, Moment, Outcome, Reply};

/// Sessions at the same time; beyond, the oldest is rolled back.
const SESSIONS_MAX: usize = 1_000;
/// A session without a call for so long is rolled back.
const SESSION_IDLE_MS: u64 = 15 * 60 * 1_000;

#[derive(Default)]
pub(crate) struct Session {
    pending: Vec<Draft>,
    used_at_ms: u64,
}

impl SapEcc {
    /// The function that a call names, with its parameters.
    fn called(&self, call: &Call, is_service: bool) -> Result<Element, Box<Outcome>> {
        let refuse =
            |kind: &str, text: &str| Err(Box::new(Outcome::from(soap_reply(500, xml::fault(kind, text)))));
        let page =
            |status, title: &str, text: &str| Err(Box::new(Outcome::from(Reply::html(status, title, text))));
        if call.method != http::Method::POST {
            return page(405, "405 Method not allowed", "SOAP-RFC takes POST.");
        }
        let content_type = call.header("content-type").unwrap_or_default();
        if !content_type.starts_with("text/xml") {
            return page(415, "415 Unsupported media type", "SOAP 1.1 is text/xml.");
        }
        let action = call.header("soapaction").unwrap_or_default().trim_matches('"');
        if self.options.soap_action_strict && !action.is_empty() && !is_service {
            return refuse("INVALID_ACTION", "invalid action");
        }
        let envelope = match xml::parse(&call.body) {
            Ok(envelope) if envelope.name == "Envelope" && envelope.namespace == xml::SOAP_NAMESPACE => {
                envelope
            }
            Ok(_) => return refuse("SOAP_FORMAT", "The document is not a SOAP 1.1 envelope"),
            Err(error) => return refuse("SOAP_FORMAT", &error),
        };
        let body = envelope.children.into_iter().find(|child| child.name == "Body");
        let Some(function) = body.and_then(|body| body.children.into_iter().next()) else {
            return refuse("SOAP_FORMAT", "The body is empty");
        };
        if function.namespace != xml::RFC_NAMESPACE {
            return refuse("FUNCTION_NOT_FOUND", "The function is not in the namespace of functions");
        }
        Ok(function)
    }

    pub(crate) fn soap(&mut self, call: &Call, moment: Moment, user: &str) -> Outcome {
        let service = service_function(call);
        let refuse = |kind: &str, text: &str| Outcome::from(soap_reply(500, xml::fault(kind, text)));
        let function = match self.called(call, service.is_some()) {
            Ok(function) => function,
            Err(outcome) => return *outcome,
        };
        if service.as_ref().is_some_and(|service| *service != function.name) {
            return refuse("SERVICE", "The service has no such operation");
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
        let parameters = match Parameters::read_as(interface, &function, service.is_some()) {
            Ok(parameters) => parameters,
            Err((kind, text)) => return refuse(kind, &text),
        };
        let work = Work { call, moment, user };
        let existing = if wrapped.is_some() { self.wrapper_finds(target, &parameters, moment) } else { None };
        let ended = existing.map_or_else(|| self.execute(target, &work, &parameters), Ended::Answered);
        // Services keep no sessions.
        let session =
            if service.is_some() { SessionKey::default() } else { self.session(call, moment.now_ms) };
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
                let reply = self.reply(&function.name, finished, &parameters, service.is_some());
                Outcome { reply: session.cookie(reply), commits }
            }
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

    pub(crate) fn reply(
        &self,
        function: &str,
        mut finished: Finished,
        parameters: &Parameters,
        is_service: bool,
    ) -> Reply {
        let prefix = &self.options.answer_prefix;
        let dot = if is_service { "" } else { "." };
        if is_service {
            finished.iso_dates();
        }
        let mut body =
            format!("<{prefix}:{function}{dot}Response xmlns:{prefix}=\"{}\">", xml::RFC_NAMESPACE);
        for (name, answer) in &finished.exports {
            xml::write_parameter(&mut body, name, answer);
        }
        for (name, rows) in finished.tables {
            if parameters.names_table(name) {
                xml::write_parameter(&mut body, name, &Answer::Table(rows));
            }
        }
        body.push_str(&format!("</{prefix}:{function}{dot}Response>"));
        soap_reply(200, xml::envelope(&body))
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

/// The function of a web service's address: `…/sap/<definition>/<client>/<service>/<binding>`.
pub(crate) fn service_function(call: &Call) -> Option<String> {
    let segments: Vec<&str> = call.path.strip_prefix(SERVICES_PATH)?.split('/').collect();
    match segments.as_slice() {
        [definition, _, _, _] if !definition.is_empty() => Some(definition.to_uppercase()),
        _ => None,
    }
}

/// The session that a call names, without its state suffix.
pub(crate) fn session_cookie(call: &Call) -> Option<String> {
    let cookies = call.headers.get_all("cookie").iter().filter_map(|value| value.to_str().ok());
    let value = cookies
        .flat_map(|line| line.split(';'))
        .find_map(|pair| pair.trim().strip_prefix("sap-contextid="))?;
    Some(value.strip_suffix("-NEW").or_else(|| value.strip_suffix("-ATT")).unwrap_or(value).to_owned())
}

pub(crate) fn soap_reply(status: u16, body: String) -> Reply {
    Reply::new(status, "text/xml; charset=utf-8", body)
}
