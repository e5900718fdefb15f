//! Function calls by SOAP-RFC and by web services: envelope, answers, faults, and what HTTP statuses mean here.
//! Knows functions by name only; what they do is known to its callers.
//!
//! A web service (`/sap/bc/srt/rfc/sap/…`) takes the same elements, one address for each function, with dates in
//! ISO form; it answers `<FM>Response`. What leaves here has SAP's own dates whichever way it came.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderValue, Method, header};
use portolan_domain::verdict::{CallFailure, CallProblem};
use serde_json::{Map, Value, json};

use super::xml::{DateFormat, Element, Writer, element_name, parse};
use crate::{
    call::{Call, Doing, plain_header, quote, retry_after_ms, secret_header, status_code},
    outbound::{Answer, Request},
    parameters::invalid,
};

const ENVELOPE_OPEN: &str = concat!(
    "<?xml version=\"1.0\" encoding=\"utf-8\"?>",
    "<soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" ",
    "xmlns:urn=\"urn:sap-com:document:sap:rfc:functions\"><soapenv:Header/><soapenv:Body>"
);
const ENVELOPE_CLOSE: &str = "</soapenv:Body></soapenv:Envelope>";
/// Cookies of one session.
const COOKIES_MAX: usize = 32;
/// The longest name and value of a cookie together.
const COOKIE_BYTES_MAX: usize = 4096;

/// How the function calls of a system are reached.
#[derive(Debug)]
pub(super) struct Rfc {
    pub(super) way: Way,
    pub(super) client: String,
    pub(super) language: String,
    pub(super) headers: HeaderMap,
    pub(super) dates: DateFormat,
}

/// Where functions are.
#[derive(Debug)]
pub(super) enum Way {
    /// All behind one path.
    One(Vec<String>),
    /// Each behind its own.
    Each {
        /// Segments in which `{function}` stands for the name in lower-case, `{client}` for the client.
        template: Vec<String>,
        /// Those that are elsewhere, by name.
        named: BTreeMap<String, Vec<String>>,
    },
}

impl Way {
    fn path(&self, function: &str, client: &str) -> Vec<String> {
        match self {
            Self::One(path) => path.clone(),
            Self::Each { template, named } => named.get(function).cloned().unwrap_or_else(|| {
                let name = function.to_lowercase().replace('/', "_");
                let fill =
                    |segment: &String| segment.replace("{function}", &name).replace("{client}", client);
                template.iter().map(fill).collect()
            }),
        }
    }

    /// The action that a service names in its description; none for SOAP-RFC, whose headers have theirs.
    fn action(&self, function: &str, path: &[String]) -> Option<HeaderValue> {
        // …/<definition>/<client>/<service>/<binding>
        let service = path.len().checked_sub(2).and_then(|at| path.get(at)).map(|name| name.to_uppercase());
        let service = match self {
            Self::One(_) => None,
            Self::Each { .. } => service,
        };
        let action =
            format!("\"urn:sap-com:document:sap:rfc:functions:{}:{function}Request\"", service.as_deref()?);
        plain_header(&action)
    }
}

/// A call to make.
pub(super) struct Function<'a> {
    pub(super) name: &'a str,
    pub(super) parameters: &'a Map<String, Value>,
    /// Tables that come back only when they are named.
    pub(super) tables_out: &'a [&'a str],
}

/// How a function ended.
pub(super) enum Reply {
    /// With its export parameters and tables by name.
    Done(Map<String, Value>),
    /// With an exception or a fault: nothing was committed.
    Refused(Fault),
}

/// Why a function did not run to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// The exception (`NOT_FOUND`) or the kind of error.
    pub(super) name: String,
    /// For people.
    pub(super) message: String,
}

impl Reply {
    /// The answer; a fault becomes the failure that it stands for.
    pub(super) fn done(self) -> Result<Map<String, Value>, CallFailure> {
        match self {
            Self::Done(values) => Ok(values),
            Self::Refused(fault) => Err(fault.failure()),
        }
    }
}

impl Fault {
    /// Rights alert, locks pass, a dump is an unknown outcome, anything else waits for a person.
    pub(super) fn failure(&self) -> CallFailure {
        let text = format!("{} {}", self.name, self.message).to_uppercase();
        let speaks_of = |words: &[&str]| words.iter().any(|word| text.contains(word));
        let detail = json!({"exception": self.name, "message": self.message});
        let problem = |code| CallProblem::new(code, format!("{}: {}", self.name, self.message));
        if speaks_of(&["AUTHORIZ", "AUTHORIS", "NO_AUTHORITY"]) {
            return CallFailure::Unauthorized { problem: problem("not-authorized").with_detail(detail) };
        }
        if speaks_of(&["FOREIGN_LOCK", "LOCKED BY", "IS LOCKED"]) {
            let problem = problem("record-locked").with_detail(detail);
            return CallFailure::Retryable { problem, after_ms: None };
        }
        // A dump (time limit, memory): a wrapper may have committed before it.
        if self.name.to_uppercase().starts_with("SYSTEM_FAILURE") {
            return CallFailure::Ambiguous { problem: problem("system-failure").with_detail(detail) };
        }
        CallFailure::Permanent { problem: problem("soap-fault").with_detail(detail) }
    }
}

/// The cookies of one session. Never kept longer than a unit of work.
#[derive(Debug, Default)]
pub(super) struct Jar(BTreeMap<String, String>);

impl Jar {
    pub(super) fn keep(&mut self, answer: &Answer) {
        for value in answer.headers.get_all(header::SET_COOKIE) {
            let pair = value.to_str().ok().and_then(|text| text.split(';').next()?.split_once('='));
            let Some((name, value)) = pair else { continue };
            let (name, value) = (name.trim(), value.trim());
            if name.len() + value.len() <= COOKIE_BYTES_MAX && self.0.len() < COOKIES_MAX {
                self.0.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    /// As a header, if there are any.
    pub(super) fn header(&self) -> Option<HeaderValue> {
        let pairs: Vec<_> = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        secret_header(&pairs.join("; ")).filter(|_| !self.0.is_empty())
    }
}

impl Rfc {
    /// Calls a function, outside of any session.
    pub(super) async fn call(
        &self,
        doing: Doing,
        function: &Function<'_>,
        call: &Call<'_>,
    ) -> Result<Reply, CallFailure> {
        self.call_in(&mut Jar::default(), doing, function, call).await
    }

    /// Calls a function within the session of these cookies.
    pub(super) async fn call_in(
        &self,
        jar: &mut Jar,
        doing: Doing,
        function: &Function<'_>,
        call: &Call<'_>,
    ) -> Result<Reply, CallFailure> {
        let path = self.way.path(function.name, &self.client);
        let action = self.way.action(function.name, &path);
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let query = [("sap-client", self.client.as_str()), ("sap-language", self.language.as_str())];
        let url = call.pool().url(&path, &query).ok_or_else(|| invalid("", "no path to the system"))?;
        let envelope = envelope(function, self.dates)?;
        let mut request =
            Request::new(Method::POST, url).headers(&self.headers).body("text/xml; charset=utf-8", envelope);
        if let Some(cookies) = jar.header() {
            request = request.header(header::COOKIE, cookies);
        }
        if let Some(action) = action {
            request = request.header(http::HeaderName::from_static("soapaction"), action);
        }
        let answer = call.send(doing, request).await?;
        jar.keep(&answer);
        let mut reply = self.read(doing, function.name, &answer, call)?;
        if let (Reply::Done(values), Way::Each { .. }) = (&mut reply, &self.way) {
            values.iter_mut().for_each(|(name, value)| internal_dates(name, value));
        }
        Ok(reply)
    }

    fn read(
        &self,
        doing: Doing,
        function: &str,
        answer: &Answer,
        call: &Call<'_>,
    ) -> Result<Reply, CallFailure> {
        let status = answer.status.as_u16();
        let parsed = match status {
            200 | 500 => parse(&answer.body),
            _ => return Err(refusal(doing, answer, call)),
        };
        let reply = match &parsed {
            Ok(root) => reply(root, function),
            Err(_) if status == 500 => return Err(refusal(doing, answer, call)),
            Err(unreadable) => return Err(doing.unreadable(answer, &unreadable.to_string())),
        };
        match reply {
            Some(reply @ Reply::Refused(_)) => Ok(reply),
            Some(reply @ Reply::Done(_)) if status == 200 => Ok(reply),
            _ => Err(doing.unreadable(answer, &format!("this is not the answer of {function}"))),
        }
    }
}

/// Dates of a web service as SAP keeps them: `2026-11-20` becomes `20261120`.
fn internal_dates(name: &str, value: &mut Value) {
    match value {
        Value::String(text) => {
            let is_date = name.ends_with("_DATE") || name == "KEYDATE";
            let digits = text.replace('-', "");
            if is_date && text.len() == 10 && digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_digit())
            {
                *text = digits;
            }
        }
        Value::Array(rows) => rows.iter_mut().for_each(|row| internal_dates(name, row)),
        Value::Object(fields) => fields.iter_mut().for_each(|(name, value)| internal_dates(name, value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn envelope(function: &Function<'_>, dates: DateFormat) -> Result<String, CallFailure> {
    let name = element_name(function.name, "")?;
    let mut writer = Writer { xml: format!("{ENVELOPE_OPEN}<urn:{name}>"), dates };
    writer.fields(function.parameters, "", 0)?;
    for table in function.tables_out.iter().filter(|table| !function.parameters.contains_key(**table)) {
        writer.xml.push_str(&format!("<{table}/>"));
    }
    writer.xml.push_str(&format!("</urn:{name}>{ENVELOPE_CLOSE}"));
    Ok(writer.xml)
}

/// Prefixes vary between systems, so names are compared without them.
fn reply(root: &Element, function: &str) -> Option<Reply> {
    let body = Some(root).filter(|root| root.name == "Envelope")?.child("Body")?;
    let content = body.children.first()?;
    if content.name == "Fault" {
        return Some(Reply::Refused(fault(content)));
    }
    if content.name.ends_with(".Exception") {
        return Some(Reply::Refused(exception(content)));
    }
    let suffix = content.name.strip_prefix(function)?;
    matches!(suffix, ".Response" | "Response").then(|| Reply::Done(content.fields()))
}

pub(super) fn fault(fault: &Element) -> Fault {
    let text = |name| fault.descendant(name).map(|element| element.text.trim().to_owned());
    let name = text("Name").or_else(|| text("type")).or_else(|| text("faultcode"));
    let message = text("message").or_else(|| text("Text")).or_else(|| text("faultstring"));
    Fault { name: name.unwrap_or_default(), message: message.unwrap_or_default() }
}

fn exception(exception: &Element) -> Fault {
    let text = |name| exception.descendant(name).map(|element| element.text.trim().to_owned());
    let name = text("Name").unwrap_or_else(|| exception.name.clone());
    Fault { name, message: text("Text").or_else(|| text("Message")).unwrap_or_default() }
}

pub(super) fn refusal(doing: Doing, answer: &Answer, call: &Call<'_>) -> CallFailure {
    let message = format!("SAP answered {}", answer.status);
    let problem = CallProblem::new(status_code(answer.status), message).with_detail(quote(answer));
    if answer.status == http::StatusCode::SERVICE_UNAVAILABLE && is_of_sap(answer) {
        let after_ms = retry_after_ms(answer, call.context().now_seconds);
        return CallFailure::Retryable { problem, after_ms };
    }
    call.refusal(doing, answer, problem)
}

/// Whether SAP's own web server speaks: it has no free process and did not begin. A gateway in front of it
/// that says 503 may have lost a call that is still running.
fn is_of_sap(answer: &Answer) -> bool {
    let server = answer.header("server").unwrap_or_default();
    server.to_ascii_lowercase().starts_with("sap") || answer.header("sap-server").is_some()
}
