//! What each system implements, and the words in which it speaks with the exchange.
//!
//! A stand-in decides and never does: [`StandIn::answer`] returns the reply and the drafts of what is to be
//! committed, and changes nothing that a restart would have to know. [`StandIn::apply`] is the only way into the
//! system's documents, for a commit as for a ledger that is read again. So a fault can lose, delay or repeat a
//! commit without any system knowing of faults.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use rust_decimal::Decimal;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::ledger::Entry;
use crate::money;

/// One request, read completely.
pub(crate) struct Call {
    pub(crate) method: Method,
    /// As sent, still percent-encoded.
    pub(crate) path: String,
    /// Decoded pairs, in the order sent.
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Calls under way, this one included: what licences and dialog processes are counted by.
    pub(crate) in_flight: u32,
}

impl Call {
    /// A header's text, or nothing.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The first value of a query parameter.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// User and password of HTTP Basic.
    pub(crate) fn basic(&self) -> Option<(String, String)> {
        use base64::Engine as _;
        let encoded = self.header("authorization")?.strip_prefix("Basic ")?;
        let bytes = base64::engine::general_purpose::STANDARD.decode(encoded.trim()).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        text.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
    }

    /// The token of HTTP Bearer.
    pub(crate) fn bearer(&self) -> Option<&str> {
        self.header("authorization")?.strip_prefix("Bearer ").map(str::trim)
    }

    /// SHA-256 of the body, in hex.
    pub(crate) fn payload_sha256(&self) -> String {
        hex::encode(Sha256::digest(&self.body))
    }
}

/// The time of a call, and how old the system's knowledge is when it reads.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) now_ms: u64,
    /// Documents that became visible later than this are not seen by reads. Equal to `now_ms`, unless a fault
    /// makes the answer stale.
    pub(crate) seen_ms: u64,
}

/// What goes back over the wire.
#[derive(Clone)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Bytes,
}

impl Reply {
    /// A JSON answer.
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::new(status, "application/json; charset=utf-8", body.to_string())
    }

    /// An HTML page, as ERP web servers and proxies send when something is wrong.
    pub(crate) fn html(status: u16, title: &str, text: &str) -> Self {
        let page = format!(
            "<html><head><title>{title}</title></head><body><h1>{title}</h1><p>{text}</p></body></html>"
        );
        Self::new(status, "text/html; charset=utf-8", page)
    }

    /// An answer with a body of the given type.
    pub(crate) fn new(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, headers: vec![("content-type", content_type.to_owned())], body: body.into() }
    }

    /// An answer without a body.
    pub(crate) fn empty(status: u16) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, headers: Vec::new(), body: Bytes::new() }
    }

    /// The same answer with one more header.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// What a call decided.
pub(crate) struct Outcome {
    pub(crate) reply: Reply,
    /// In the order in which they become ledger lines.
    pub(crate) commits: Vec<Draft>,
}

impl From<Reply> for Outcome {
    fn from(reply: Reply) -> Self {
        Self { reply, commits: Vec::new() }
    }
}

/// A document about to be committed.
#[derive(Clone)]
pub(crate) struct Draft {
    pub(crate) kind: &'static str,
    pub(crate) number: String,
    pub(crate) business_key: String,
    pub(crate) amounts: BTreeMap<String, String>,
    pub(crate) lines: Vec<Value>,
    /// Hash of the request that brought it: with sessions that is not always the request that commits it.
    pub(crate) payload_sha256: String,
    /// Everything that [`StandIn::apply`] needs.
    pub(crate) document: Value,
}

impl Draft {
    pub(crate) fn new(
        kind: &'static str,
        number: impl Into<String>,
        key: impl Into<String>,
        call: &Call,
    ) -> Self {
        Self {
            kind,
            number: number.into(),
            business_key: key.into(),
            amounts: BTreeMap::new(),
            lines: Vec::new(),
            payload_sha256: call.payload_sha256(),
            document: Value::Null,
        }
    }

    /// Notes a total.
    pub(crate) fn amount(mut self, currency: &str, amount: Decimal) -> Self {
        self.amounts.insert(currency.to_owned(), money::text(amount, currency));
        self
    }

    pub(crate) fn lines(mut self, lines: Vec<Value>) -> Self {
        self.lines = lines;
        self
    }

    pub(crate) fn document(mut self, document: Value) -> Self {
        self.document = document;
        self
    }
}

/// Something that a system sends on its own.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) url: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
    /// What it carries, by the system's own numbers.
    pub(crate) numbers: Vec<String>,
}

/// The answers that a fault asks for in the system's own words.
#[derive(Clone, Copy)]
pub(crate) enum Refusal {
    Unauthorized,
    Forbidden,
    RateLimited { retry_after_s: u64 },
    Internal,
    Unavailable,
    Locked,
    Business,
}

/// A system.
pub(crate) trait StandIn: Send {
    /// The call's operation: what faults are addressed to and calls are counted by.
    fn operation(&self, call: &Call) -> String;
    /// Decides. May move number ranges, sessions and journals of unfinished work; never documents.
    fn answer(&mut self, call: &Call, moment: Moment) -> Outcome;
    /// Takes a committed document into the state, at its commit as at a restart.
    fn apply(&mut self, entry: &Entry);
    /// A refusal in the system's own words.
    fn refusal(&self, call: &Call, refusal: Refusal) -> Reply;
    /// Lets another user lock an object (by its number), or let go of it.
    fn lock(&mut self, object: &str, locked: bool);
    /// Objects for a system that other people fill (Stripe).
    ///
    /// # Errors
    /// A sentence, when the system takes no objects or these are unusable.
    fn seed(&mut self, _objects: Vec<Value>) -> Result<Vec<Draft>, String> {
        Err("this system takes no objects: write through its interface".to_owned())
    }
    /// The world as it was configured.
    fn world(&self) -> Value;
    /// A call arrives: what it is known by while it is under way, if anything.
    ///
    /// # Errors
    /// The refusal, when another call under way is in its way.
    fn begin(&mut self, _call: &Call) -> Result<Option<String>, Reply> {
        Ok(None)
    }
    /// The call that is known so is through.
    fn end(&mut self, _token: &str) {}
    /// Stripe, for the routes that only it has.
    fn as_stripe(&mut self) -> Option<&mut crate::stripe::Stripe> {
        None
    }
    /// What became due without a call: work that was stored for later.
    fn due(&mut self, _now_ms: u64) -> Vec<Draft> {
        Vec::new()
    }
    /// What is to be sent to others now.
    fn outgoing(&mut self, _now_ms: u64) -> Vec<Outgoing> {
        Vec::new()
    }
    /// What follows from the answer to a post; `None` when there was none.
    fn sent(&mut self, _post: &Outgoing, _status: Option<u16>, _now_ms: u64) -> Vec<Draft> {
        Vec::new()
    }
    /// IDocs that somebody asks for (SAP).
    ///
    /// # Errors
    /// A sentence, when the system sends none or the wish is unusable.
    fn idocs(&mut self, _wish: &Value, _now_ms: u64) -> Result<Vec<Draft>, String> {
        Err("this system sends no IDocs".to_owned())
    }
}
