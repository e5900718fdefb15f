//! IDocs in: `/sap/bc/idoc_xml` and `/sap/bc/srt/idoc`. A post is stored with status 64 and answered; it is posted
//! later, without a call, and then has status 53 or 51. Over SOAP there is one IDoc for each message id, over plain
//! XML there are as many as posts.
//!
//! What is posted goes through the functions of the BAPIs, so that one judge decides whichever way it came.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::background::own_call;
use crate::clock::dats;
use crate::ledger::Entry;
use crate::sap::idoc_read::{self, Posting};
use crate::sap::parameters::Parameters;
use crate::sap::tables::Record;
use crate::sap::xml::{self, Element};
use crate::sap::{Ended, SapEcc, Work, interface, soap_reply};
use crate::stand_in::{Call, Draft, Moment, Outcome, Reply};

/// The kind of a stored IDoc's ledger line.
pub(crate) const IDOC: &str = "idoc";
/// The kind of the line that changes its status.
pub(crate) const IDOC_UPDATE: &str = "idoc-update";
/// Where plain XML goes.
pub(crate) const XML_PATH: &str = "/sap/bc/idoc_xml";
/// Where envelopes go.
pub(crate) const SOAP_PATH: &str = "/sap/bc/srt/idoc";
/// The namespace of messages with one IDoc.
const MESSAGES_NAMESPACE: &str = "urn:sap-com:document:sap:idoc:soap:messages";
/// What a message id begins with.
const MESSAGE_ID_PREFIX: &str = "urn:sap.com:msgid=";

/// One row of EDIDS.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) code: String,
    pub(crate) class: String,
    pub(crate) number: String,
    pub(crate) text: String,
    pub(crate) parameters: Vec<String>,
}

/// An IDoc (EDIDC, EDIDS, EDID4), in either direction.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Idoc {
    pub(crate) number: String,
    /// 1 out, 2 in.
    pub(crate) direction: String,
    pub(crate) idoc_type: String,
    pub(crate) message: String,
    pub(crate) sender: String,
    pub(crate) receiver: String,
    pub(crate) archive_key: String,
    pub(crate) reference: String,
    pub(crate) created_ms: u64,
    pub(crate) statuses: Vec<Status>,
    /// When it is worked on: posted, or sent (again).
    pub(crate) due_ms: u64,
    /// Of one that goes out: the object it is about, and where it goes.
    pub(crate) object: String,
    pub(crate) url: String,
    /// The `<IDOC>` of one that goes out; the whole post of one that came in, and its place in it.
    pub(crate) xml: String,
    pub(crate) place: usize,
}

impl Idoc {
    pub(crate) fn status(&self) -> &str {
        self.statuses.last().map_or("", |status| &status.code)
    }

    pub(crate) fn with(mut self, code: &str, class: &str, number: &str, text: &str) -> Self {
        let text = text.chars().take(70).collect();
        let (code, class, number) = (code.to_owned(), class.to_owned(), number.to_owned());
        self.statuses.push(Status { code, class, number, text, parameters: Vec::new() });
        self
    }

    /// Its ledger line.
    pub(crate) fn draft(&self, kind: &'static str, call: &Call) -> Draft {
        let key = if self.archive_key.is_empty() { &self.reference } else { &self.archive_key };
        let lines = self.statuses.iter().map(|status| json!({"status": status.code, "text": status.text}));
        Draft::new(kind, self.number.clone(), key.clone(), call)
            .lines(lines.collect())
            .document(serde_json::to_value(self).unwrap_or_default())
    }
}

/// All IDocs of a system.
#[derive(Default)]
pub(crate) struct Idocs {
    by_number: BTreeMap<String, Idoc>,
    /// Those that are worked on some time: waiting to be posted, or to be sent.
    waiting: BTreeMap<String, u64>,
    next: u64,
}

impl Idocs {
    pub(crate) fn apply(&mut self, entry: &Entry) {
        let Ok(idoc) = serde_json::from_value::<Idoc>(entry.document.clone()) else { return };
        self.next = self.next.max(idoc.number.parse().unwrap_or(0));
        if matches!(idoc.status(), "64" | "30" | "02") {
            self.waiting.insert(idoc.number.clone(), idoc.due_ms);
        } else {
            self.waiting.remove(&idoc.number);
        }
        self.by_number.insert(idoc.number.clone(), idoc);
    }

    pub(crate) fn number(&mut self) -> String {
        self.next += 1;
        format!("{:0>16}", self.next)
    }

    pub(crate) fn get(&self, number: &str) -> Option<&Idoc> {
        self.by_number.get(number)
    }

    /// Those of a direction whose time has come, oldest first.
    pub(crate) fn due(&self, direction: &str, now_ms: u64) -> Vec<Idoc> {
        let due = self.waiting.iter().filter(|(_, due_ms)| **due_ms <= now_ms);
        let idocs = due.filter_map(|(number, _)| self.by_number.get(number));
        idocs.filter(|idoc| idoc.direction == direction).cloned().collect()
    }

    fn of_message(&self, archive_key: &str) -> Option<&Idoc> {
        self.by_number.values().find(|idoc| idoc.direction == "2" && idoc.archive_key == archive_key)
    }

    /// Rows of EDIDC or EDIDS.
    pub(crate) fn records(&self, table: &str) -> Vec<Record> {
        let mut records = Vec::new();
        for idoc in self.by_number.values() {
            if table == "EDIDC" {
                records.push(Record::from([
                    ("DOCNUM", idoc.number.clone()),
                    ("STATUS", idoc.status().to_owned()),
                    ("DIRECT", idoc.direction.clone()),
                    ("IDOCTP", idoc.idoc_type.clone()),
                    ("MESTYP", idoc.message.clone()),
                    ("SNDPRN", idoc.sender.clone()),
                    ("RCVPRN", idoc.receiver.clone()),
                    ("REFMES", idoc.reference.clone()),
                    ("ARCKEY", idoc.archive_key.clone()),
                    ("CREDAT", dats(idoc.created_ms)),
                ]));
                continue;
            }
            for (index, status) in idoc.statuses.iter().enumerate() {
                let parameter = |place: usize| status.parameters.get(place).cloned().unwrap_or_default();
                records.push(Record::from([
                    ("DOCNUM", idoc.number.clone()),
                    ("COUNTR", format!("{index:0>16}")),
                    ("STATUS", status.code.clone()),
                    ("STAMID", status.class.clone()),
                    ("STAMNO", status.number.clone()),
                    ("STATXT", status.text.clone()),
                    ("STAPA1", parameter(0)),
                    ("STAPA2", parameter(1)),
                    ("STAPA3", parameter(2)),
                    ("STAPA4", parameter(3)),
                ]));
            }
        }
        records
    }
}

fn inside<'a>(element: &'a Element, found: &mut Vec<&'a Element>) {
    for child in &element.children {
        if child.name == "IDOC" { found.push(child) } else { inside(child, found) }
    }
}

/// The IDocs of a post, whatever stands around them.
fn idocs_of(root: &Element) -> Vec<&Element> {
    let mut found = Vec::new();
    inside(root, &mut found);
    found
}

fn refused(name: &str, text: &str) -> Outcome {
    soap_reply(500, xml::fault("EA 728", &format!("{name}: {text}"))).into()
}

impl SapEcc {
    /// A post of plain XML. Everything in it is stored; what is wrong with it is found out later.
    pub(crate) fn idoc_xml(&mut self, call: &Call, moment: Moment) -> Outcome {
        if call.method != http::Method::POST {
            return Reply::html(405, "405 Method not allowed", "IDocs are posted.").into();
        }
        let root = match xml::parse(&call.body) {
            Ok(root) => root,
            Err(error) => return Reply::html(500, "IDoc-XML-inbound", &error).into(),
        };
        let idocs = idocs_of(&root);
        if idocs.is_empty() {
            return Reply::html(500, "IDoc-XML-inbound", "The document holds no IDoc.").into();
        }
        let stored = idocs.iter().enumerate().map(|(place, idoc)| self.stored(call, moment, (place, idoc)));
        let stored: Vec<Idoc> = stored.collect();
        let commits = stored.iter().map(|idoc| idoc.draft(IDOC, call)).collect();
        let reply = Reply::new(200, "text/html; charset=utf-8", "IDoc-XML-inbound o.k.");
        Outcome { reply, commits }
    }

    /// A message with one IDoc, exactly once by its id.
    pub(crate) fn idoc_soap(&mut self, call: &Call, moment: Moment) -> Outcome {
        let envelope = match xml::parse(&call.body) {
            Ok(envelope) if envelope.name == "Envelope" && envelope.namespace == xml::SOAP_NAMESPACE => {
                envelope
            }
            Ok(_) => {
                return soap_reply(500, xml::fault("SOAP_FORMAT", "This is no SOAP 1.1 envelope")).into();
            }
            Err(error) => return soap_reply(500, xml::fault("SOAP_FORMAT", &error)).into(),
        };
        let message = envelope.child("Body").and_then(|body| body.children.first());
        let Some(message) = message.filter(|message| message.namespace == MESSAGES_NAMESPACE) else {
            return soap_reply(
                500,
                xml::fault("SOAP_FORMAT", "The message is not in the namespace of IDocs"),
            )
            .into();
        };
        if !self.options.idoc_types.contains(&message.name) {
            let text = format!("IDoc type {} is not registered in SRTIDOC", message.name);
            return soap_reply(500, xml::fault("IDOC_TYPE", &text)).into();
        }
        let idocs = idocs_of(message);
        let [idoc] = idocs.as_slice() else {
            return refused("MULTIPLE_IDOCS_NOT_ALLOWED", "a message holds exactly one IDoc");
        };
        let idoc = self.stored(call, moment, (0, idoc));
        if idoc.archive_key.is_empty() {
            return refused("SOAP_MSGID_INITIAL", "EDI_DC40-ARCKEY has no message id");
        }
        if !idoc.archive_key.starts_with(MESSAGE_ID_PREFIX) {
            return refused("SOAP_MSGID_PREFIX_INVALID", "a message id begins with urn:sap.com:msgid=");
        }
        if self.is_locked(&idoc.archive_key.to_uppercase()) {
            return refused("MSGID_LOCKED", "the message id is being processed");
        }
        if let Some(known) = self.idocs.of_message(&idoc.archive_key) {
            let text = format!("IDoc {} was created with this message id", known.number);
            return refused("MSGID_ALREADY_PROCESSED", &text);
        }
        let commits = vec![idoc.draft(IDOC, call)];
        let body = format!("<n0:{}.Response xmlns:n0=\"{MESSAGES_NAMESPACE}\"/>", message.name);
        Outcome { reply: soap_reply(200, xml::envelope(&body)), commits }
    }

    fn stored(&mut self, call: &Call, moment: Moment, (place, element): (usize, &Element)) -> Idoc {
        let control = element.child("EDI_DC40");
        let field = |name: &str| {
            let field = control.and_then(|control| control.child(name));
            field.map(|field| field.text.trim().to_owned()).unwrap_or_default()
        };
        let idoc = Idoc {
            number: self.idocs.number(),
            direction: "2".to_owned(),
            idoc_type: field("IDOCTYP"),
            message: field("MESTYP"),
            sender: field("SNDPRN"),
            receiver: field("RCVPRN"),
            archive_key: field("ARCKEY"),
            reference: field("REFMES"),
            created_ms: moment.now_ms,
            due_ms: moment.now_ms + self.options.idoc_delay_ms,
            xml: String::from_utf8_lossy(&call.body).into_owned(),
            place,
            ..Idoc::default()
        };
        let idoc = idoc.with("50", "E0", "050", "IDoc added");
        if field("RCVPRN") != self.logical_system() || !self.options.partners.contains(&idoc.sender) {
            return idoc.with("56", "E0", "337", "EDI: Partner profile inbound not available");
        }
        idoc.with("64", "E0", "064", "IDoc ready to be transferred to application")
    }

    /// Posts what waits for it.
    pub(crate) fn idocs_due(&mut self, now_ms: u64) -> Vec<Draft> {
        let due = self.idocs.due("2", now_ms);
        due.into_iter().flat_map(|idoc| self.idoc_posted(idoc, now_ms)).collect()
    }

    fn idoc_posted(&mut self, idoc: Idoc, now_ms: u64) -> Vec<Draft> {
        let mut call = own_call();
        call.body = idoc.xml.clone().into();
        let root = xml::parse(&call.body).unwrap_or_default();
        let moment = Moment { now_ms, seen_ms: now_ms };
        let work = Work { call: &call, moment, user: "ALEREMOTE" };
        let ended = match idocs_of(&root).get(idoc.place) {
            Some(element) => self.idoc_carried_out(&work, element, &idoc),
            None => Err("the IDoc has no data".to_owned()),
        };
        let (idoc, mut drafts) = match ended {
            Ok((text, drafts)) => (
                idoc.with("62", "E0", "062", "IDoc passed to application").with("53", "E0", "053", &text),
                drafts,
            ),
            Err(text) => (idoc.with("51", "E0", "051", &text), Vec::new()),
        };
        if self.options.idocs_out.as_ref().is_some_and(|out| out.aleaud) {
            drafts.extend(self.aleaud(&idoc, &drafts, now_ms));
        }
        drafts.push(idoc.draft(IDOC_UPDATE, &call));
        drafts
    }

    /// What the IDoc created, or the first thing that is wrong with it.
    fn idoc_carried_out(
        &mut self,
        work: &Work<'_>,
        element: &Element,
        idoc: &Idoc,
    ) -> Result<(String, Vec<Draft>), String> {
        let (function, arguments) = match idoc_read::read(element, &idoc.message)? {
            Posting::Function(function, arguments) => (function, arguments),
            Posting::Customer(master) => return self.idoc_customer(work, &master),
        };
        let known = interface(function).ok_or("no function for this message")?;
        let parameters = Parameters::read(known, &arguments).map_err(|(_, text)| text)?;
        match self.execute(function, work, &parameters) {
            Ended::Answered(finished) if !finished.failed => {
                let number = finished.drafts.first().map(|draft| draft.number.clone()).unwrap_or_default();
                Ok((format!("Document {number} has been saved"), finished.drafts))
            }
            Ended::Answered(finished) => {
                let cause = finished.failures().into_iter().next();
                Err(cause.map_or_else(|| "Error in document".to_owned(), |(_, text)| text))
            }
            Ended::Exception(name) => Err(name.to_owned()),
            Ended::Fault(_, text) => Err(text),
        }
    }
}

/// The parameter of a wish.
pub(crate) fn wished<'a>(wish: &'a Value, name: &str) -> Option<&'a str> {
    wish.get(name).and_then(Value::as_str)
}
