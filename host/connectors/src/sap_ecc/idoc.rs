//! IDocs in: a document goes in as a file, is stored at once and posted later. So a 200 says nothing about the
//! document; what became of it is read in EDIDC and EDIDS, by the message id that the IDoc carries.
//!
//! The id is made of the call's own, the same in every attempt, so a repeat finds the IDoc of the attempt before
//! it and goes on from there, whichever of the two ways it went in. Over SOAP (`/sap/bc/srt/idoc`) SAP itself
//! refuses a second IDoc with the same id (ARCKEY `urn:sap.com:msgid=…`, message EA 728); over plain XML
//! (`/sap/bc/idoc_xml`) nothing does, so there the look comes before the post too.
//!
//! | status | what it means here |
//! |---|---|
//! | 53 | posted: the document is read back |
//! | 51, 56, 68 | not posted, or given up: a person decides (BD87), then the delivery is sent again and finds it |
//! | 50, 62, 64 and others | not yet: an unknown outcome, asked again later |
//!
//! Segments: `idoc_types.rs`.

use http::{HeaderName, HeaderValue, Method, header};
use portolan_domain::verdict::{CallFailure, CallProblem};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{
    Ecc,
    config::segments,
    documents::Document,
    doors::Door,
    find::{field, several},
    idoc_types::{self, Segment},
    soap::{Fault, fault, refusal},
    table::{Condition, TableQuestion},
    xml::parse,
};
use crate::{
    ConfigError,
    call::{Call, Doing, in_doubt},
    outbound::{Answer, Request},
    parameters::invalid,
    settings::{Settings, refuse},
};

/// The namespace of messages that carry one IDoc.
const NAMESPACE: &str = "urn:sap-com:document:sap:idoc:soap:messages";
/// What a message id in ARCKEY begins with.
const MESSAGE_ID_PREFIX: &str = "urn:sap.com:msgid=";
/// Longer call ids are hashed: a line of a condition holds 69 characters, the prefix among them.
const MESSAGE_ID_CHARS_MAX: usize = 48;
/// Rows of EDIDS that are looked at.
const STATUS_ROWS_MAX: u64 = 50;

/// How IDocs are addressed.
#[derive(Debug, Clone)]
pub(super) struct Idocs {
    xml_path: Vec<String>,
    soap_path: Vec<String>,
    sender: Partner,
    receiver: Partner,
    customer_type: String,
}

/// One side of an IDoc.
#[derive(Debug, Clone)]
struct Partner {
    port: String,
    kind: String,
    number: String,
}

impl Idocs {
    /// The settings' `idoc`; the receiver is required where IDocs are sent.
    pub(super) fn read(settings: &Settings<'_>, is_used: bool) -> Result<Self, ConfigError> {
        const KNOWN: [(&str, usize); 8] = [
            ("sender", 10),
            ("sender_port", 10),
            ("receiver", 10),
            ("receiver_port", 10),
            ("partner_type", 2),
            ("customer_type", 30),
            ("xml_path", 256),
            ("soap_path", 256),
        ];
        let nothing = Map::new();
        let fields = match settings.value("idoc") {
            None => &nothing,
            Some(Value::Object(fields)) => fields,
            Some(_) => return Err(refuse("idoc", "must be an object, like {\"receiver\": \"ECDCLNT100\"}")),
        };
        if let Some(name) = fields.keys().find(|name| KNOWN.iter().all(|(known, _)| known != name)) {
            let names = KNOWN.map(|(name, _)| name).join(", ");
            return Err(refuse(&format!("idoc/{name}"), format!("is not a setting; they are: {names}")));
        }
        if is_used && !fields.contains_key("receiver") {
            let message = "is required by the doors of IDocs: SAP's logical system, like ECDCLNT100";
            return Err(refuse("idoc/receiver", message));
        }
        let text = |name: &str, default: String| match fields.get(name) {
            None => Ok(default),
            Some(value) => {
                let chars_max = KNOWN.iter().find(|(known, _)| *known == name).map_or(0, |(_, chars)| *chars);
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-/.".contains(&byte);
                let text = value.as_str().filter(|text| (1..=chars_max).contains(&text.len()));
                text.filter(|text| text.bytes().all(plain)).map(str::to_owned).ok_or_else(|| {
                    let message = format!("must be 1 to {chars_max} letters, digits, _ and -");
                    refuse(&format!("idoc/{name}"), message)
                })
            }
        };
        let path = |name: &str, default: &str| {
            let path = segments(&text(name, default.to_owned())?);
            path.ok_or_else(|| refuse(&format!("idoc/{name}"), "must be a path like /sap/bc/idoc_xml"))
        };
        let kind = text("partner_type", "LS".to_owned())?;
        let receiver = text("receiver", String::new())?;
        let system: String = receiver.chars().take(3).collect();
        Ok(Self {
            xml_path: path("xml_path", "/sap/bc/idoc_xml")?,
            soap_path: path("soap_path", "/sap/bc/srt/idoc")?,
            sender: Partner {
                port: text("sender_port", "PORTOLAN".to_owned())?,
                kind: kind.clone(),
                number: text("sender", "PORTOLAN".to_owned())?,
            },
            receiver: Partner {
                port: text("receiver_port", format!("SAP{system}"))?,
                kind,
                number: receiver,
            },
            customer_type: text("customer_type", "DEBMAS06".to_owned())?,
        })
    }

    /// IDoc type and message type of a document.
    fn types(&self, document: Document) -> (&str, &'static str) {
        match document {
            Document::SalesOrder => ("ORDERS05", "ORDERS"),
            Document::Accounting => ("ACC_DOCUMENT03", "ACC_DOCUMENT"),
            Document::Customer | Document::CustomerChange => (&self.customer_type, "DEBMAS"),
            // The settings let none of these choose this door.
            Document::SalesOrderChange | Document::Reversal => ("", ""),
        }
    }
}

/// The ids that an IDoc carries, made of the call's own.
#[derive(Debug, Clone)]
struct MessageId {
    /// ARCKEY, 70 characters.
    archive_key: String,
    /// REFMES, 14 characters.
    reference: String,
}

impl MessageId {
    fn of(call_id: &str) -> Self {
        const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
        let digest = Sha256::digest(call_id.as_bytes());
        let digit = |byte: &u8| DIGITS.get(usize::from(byte & 31)).copied().map_or('0', char::from);
        let id = if call_id.len() <= MESSAGE_ID_CHARS_MAX {
            call_id.to_owned()
        } else {
            digest.iter().map(digit).collect()
        };
        Self {
            archive_key: format!("{MESSAGE_ID_PREFIX}{id}"),
            reference: digest.iter().take(14).map(digit).collect(),
        }
    }
}

/// An IDoc that SAP has.
#[derive(Debug)]
struct Stored {
    number: String,
    status: String,
}

impl Ecc {
    /// Sends a document as an IDoc and waits for its posting. Returns when it is posted.
    pub(super) async fn send_idoc(
        &self,
        door: Door,
        document: Document,
        (parameters, call): (&Map<String, Value>, &Call<'_>),
    ) -> Result<(), CallFailure> {
        let id = MessageId::of(&call.context().call_id);
        let is_first = door == Door::IdocSoap && call.context().attempt <= 1;
        let known = if is_first { None } else { self.stored(&id, call).await? };
        if let Some(stored) = known {
            return self.posted(stored, &id, call).await;
        }
        let segments = self.segments_of(document, (parameters, call)).await?;
        let idoc = self.written_idoc(document, &id, &segments);
        let fault = if door == Door::IdocSoap {
            self.post_in_envelope(self.idocs.types(document).0, &idoc, call).await?
        } else {
            self.post_plain(self.idocs.types(document).0, &idoc, call).await?;
            None
        };
        match (self.stored(&id, call).await.map_err(in_doubt)?, fault) {
            (Some(stored), _) => self.posted(stored, &id, call).await,
            (None, Some(fault)) => Err(refused_message(&fault)),
            (None, None) => {
                let message = "the IDoc that was sent cannot be found";
                Err(CallFailure::ambiguous("not-found-after-write", message))
            }
        }
    }

    async fn segments_of(
        &self,
        document: Document,
        (parameters, call): (&Map<String, Value>, &Call<'_>),
    ) -> Result<Vec<Segment>, CallFailure> {
        match document {
            Document::SalesOrder => idoc_types::order(parameters),
            Document::Accounting => idoc_types::accounting(parameters),
            Document::Customer => idoc_types::customer(parameters),
            Document::CustomerChange => {
                // DEBMAS carries whole names and streets: what is not changed is taken from what SAP says.
                let area = ["CUSTOMERNO", "PI_SALESORG", "PI_DISTR_CHAN", "PI_DIVISION"];
                let area = area.into_iter().filter_map(|name| parameters.get_key_value(name));
                let area: Map<String, Value> =
                    area.map(|(name, value)| (name.clone(), value.clone())).collect();
                let current = self.customer(&Value::Object(area), call).await?;
                let current = current.ok_or_else(|| {
                    CallFailure::permanent("data-refused", "the customer does not exist in the sales area")
                })?;
                idoc_types::customer_change(parameters, &current)
            }
            Document::SalesOrderChange | Document::Reversal => Err(invalid("", "there is no IDoc for it")),
        }
    }

    /// The inside of the root element.
    fn written_idoc(&self, document: Document, id: &MessageId, segments: &[Segment]) -> String {
        let idocs = &self.idocs;
        let (idoc_type, message) = idocs.types(document);
        let control = Segment::new("EDI_DC40")
            .with("TABNAM", "EDI_DC40")
            .with("MANDT", &self.rfc.client)
            .with("DIRECT", "2")
            .with("IDOCTYP", idoc_type)
            .with("MESTYP", message)
            .with("SNDPOR", &idocs.sender.port)
            .with("SNDPRT", &idocs.sender.kind)
            .with("SNDPRN", &idocs.sender.number)
            .with("RCVPOR", &idocs.receiver.port)
            .with("RCVPRT", &idocs.receiver.kind)
            .with("RCVPRN", &idocs.receiver.number)
            .with("REFMES", &id.reference)
            .with("ARCKEY", &id.archive_key);
        let mut xml = "<IDOC BEGIN=\"1\">".to_owned();
        control.write(&mut xml);
        segments.iter().for_each(|segment| segment.write(&mut xml));
        xml.push_str("</IDOC>");
        xml
    }

    fn idoc_request(&self, path: &[String], body: String, call: &Call<'_>) -> Result<Request, CallFailure> {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let query = [("sap-client", self.rfc.client.as_str()), ("sap-language", self.rfc.language.as_str())];
        let url = call.pool().url(&path, &query).ok_or_else(|| invalid("", "no path to the system"))?;
        let mut request = Request::new(Method::POST, url)
            .header(HeaderName::from_static("soapaction"), HeaderValue::from_static("\"\""))
            .body("text/xml; charset=utf-8", body);
        if let Some(value) = self.rfc.headers.get(header::AUTHORIZATION) {
            request = request.header(header::AUTHORIZATION, value.clone());
        }
        Ok(request)
    }

    async fn post_plain(&self, root: &str, idoc: &str, call: &Call<'_>) -> Result<(), CallFailure> {
        let body = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><{root}>{idoc}</{root}>");
        let request = self.idoc_request(&self.idocs.xml_path, body, call)?;
        let answer = call.send(Doing::Changing, request).await?;
        match answer.status.as_u16() {
            200..=202 => Ok(()),
            _ => Err(refusal(Doing::Changing, &answer, call)),
        }
    }

    /// What SAP said against it, if anything.
    async fn post_in_envelope(
        &self,
        root: &str,
        idoc: &str,
        call: &Call<'_>,
    ) -> Result<Option<Fault>, CallFailure> {
        // The message's own element is in a namespace, what is inside of it is not.
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\
             <soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\"><soapenv:Header/>\
             <soapenv:Body><idoc:{root} xmlns:idoc=\"{NAMESPACE}\">{idoc}</idoc:{root}></soapenv:Body></soapenv:Envelope>"
        );
        let request = self.idoc_request(&self.idocs.soap_path, body, call)?;
        let answer = call.send(Doing::Changing, request).await?;
        match said(&answer) {
            Said::Taken => Ok(None),
            Said::Refused(fault) => Ok(Some(fault)),
            Said::Else if answer.status.is_success() => {
                Err(Doing::Changing.unreadable(&answer, "this is not the answer of a SOAP service"))
            }
            Said::Else => Err(refusal(Doing::Changing, &answer, call)),
        }
    }

    /// The IDoc of this message id.
    async fn stored(&self, id: &MessageId, call: &Call<'_>) -> Result<Option<Stored>, CallFailure> {
        // REFMES finds it, ARCKEY makes sure: 14 characters may collide, and others may use REFMES too.
        let conditions = vec![
            Condition::text("REFMES", &id.reference, "/REFMES")?,
            Condition::text("ARCKEY", &id.archive_key, "/ARCKEY")?,
            Condition::equal("DIRECT", "2")?,
        ];
        let question =
            TableQuestion { table: "EDIDC", fields: &["DOCNUM", "STATUS"], conditions, rows_max: 2 };
        let rows = self.rows(&question, call).await?;
        match rows.as_slice() {
            [] => Ok(None),
            [row] => {
                let (number, status) = (field(row, "DOCNUM").to_owned(), field(row, "STATUS").to_owned());
                Ok(Some(Stored { number, status }))
            }
            _ => Err(several("several IDocs have this message id", &json!(rows))),
        }
    }

    /// Waits until the IDoc is posted, or given up.
    async fn posted(&self, mut stored: Stored, id: &MessageId, call: &Call<'_>) -> Result<(), CallFailure> {
        for attempt in 1..=self.read_back.attempts {
            match stored.status.as_str() {
                "53" => return Ok(()),
                "51" | "56" | "68" => return Err(self.given_up(&stored, call).await),
                _ => {}
            }
            if attempt == self.read_back.attempts || !call.pause(self.read_back.delay).await {
                break;
            }
            stored = self.stored(id, call).await.map_err(in_doubt)?.unwrap_or(stored);
        }
        let Stored { number, status } = stored;
        let message = format!("IDoc {number} has status {status}: it is stored and not posted yet");
        let problem = CallProblem::new("idoc-not-posted-yet", message);
        Err(CallFailure::Ambiguous {
            problem: problem.with_detail(json!({"DOCNUM": number, "STATUS": status})),
        })
    }

    /// The failure of an IDoc that was not posted, with what EDIDS says.
    async fn given_up(&self, stored: &Stored, call: &Call<'_>) -> CallFailure {
        let rows = self.status_rows(&stored.number, call).await.unwrap_or_default();
        let last = rows.iter().rev().find(|row| field(row, "STATUS") == stored.status);
        let text = last.map(sentence).unwrap_or_default();
        let Stored { number, status } = stored;
        let message =
            format!("IDoc {number} has status {status}: {text}. Process it in BD87, then send again");
        let detail = json!({"DOCNUM": number, "STATUS": status, "EDIDS": rows});
        CallFailure::Permanent { problem: CallProblem::new("idoc-not-posted", message).with_detail(detail) }
    }

    async fn status_rows(
        &self,
        number: &str,
        call: &Call<'_>,
    ) -> Result<Vec<Map<String, Value>>, CallFailure> {
        let fields =
            &["COUNTR", "STATUS", "STAMID", "STAMNO", "STATXT", "STAPA1", "STAPA2", "STAPA3", "STAPA4"];
        let conditions = vec![Condition::equal("DOCNUM", number)?];
        let question = TableQuestion { table: "EDIDS", fields, conditions, rows_max: STATUS_ROWS_MAX };
        self.rows(&question, call).await
    }
}

/// A row of EDIDS as a sentence: its parameters stand for the ampersands, `&` or `&1`.
fn sentence(row: &Map<String, Value>) -> String {
    let mut parameters = ["STAPA1", "STAPA2", "STAPA3", "STAPA4"].into_iter().map(|name| field(row, name));
    let mut text = format!("{} {}: ", field(row, "STAMID"), field(row, "STAMNO"));
    for (index, part) in field(row, "STATXT").split('&').enumerate() {
        if index > 0 {
            text.push_str(parameters.next().unwrap_or_default());
        }
        let numbered = part.strip_prefix(|c: char| index > 0 && c.is_ascii_digit());
        text.push_str(numbered.unwrap_or(part));
    }
    text.trim_end().to_owned()
}

/// What a SOAP service said to a message.
enum Said {
    Taken,
    Refused(Fault),
    /// Not in SOAP's words.
    Else,
}

fn said(answer: &Answer) -> Said {
    let status = answer.status.as_u16();
    if (200..=202).contains(&status) && answer.body.iter().all(u8::is_ascii_whitespace) {
        return Said::Taken;
    }
    let root = match status {
        200..=202 | 500 => parse(&answer.body).ok().filter(|root| root.name == "Envelope"),
        _ => None,
    };
    match root.as_ref().and_then(|root| root.child("Body")) {
        None => Said::Else,
        Some(body) => match body.child("Fault") {
            Some(element) => Said::Refused(fault(element)),
            None if status == 500 => Said::Else,
            None => Said::Taken,
        },
    }
}

/// A message that SAP did not take, and of which it has no IDoc.
fn refused_message(fault: &Fault) -> CallFailure {
    let text = format!("{} {}", fault.name, fault.message);
    // Another request with this id is being worked on: it will pass.
    if text.contains("MSGID_LOCKED") {
        CallFailure::retryable("record-locked", text)
    } else {
        fault.failure()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_fit_their_fields_and_differ() {
        for call_id in ["dlv01JD000000000000000000000", &"x".repeat(64)] {
            let id = MessageId::of(call_id);
            assert_eq!(id.reference.len(), 14);
            assert!(id.archive_key.len() <= 69, "{}", id.archive_key);
            assert_eq!(id.archive_key, MessageId::of(call_id).archive_key);
        }
        assert_ne!(MessageId::of("a").reference, MessageId::of("b").reference);
    }

    #[test]
    fn a_status_row_is_a_sentence() {
        let row = json!({"STAMID": "F5", "STAMNO": "102", "STATXT": "Customer & is not defined in company code &2",
            "STAPA1": "100042", "STAPA2": "1000"});
        let expected = "F5 102: Customer 100042 is not defined in company code 1000";
        assert_eq!(sentence(row.as_object().unwrap()), expected);
    }
}
