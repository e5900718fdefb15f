//! The systems that send events: how each proves who it is, and what its requests hold. One request may hold
//! several events (SAP sends IDocs in packets); each is an event of its own from here on.
//!
//! | system | proof | one event is |
//! |---|---|---|
//! | `stripe` | `Stripe-Signature` | the body |
//! | `sap-ecc` | Basic, or a client certificate that the proxy before us has checked | an IDoc of the body |
//! | `epicor`, `sage-pro` | `X-Signature` (HMAC), or a Bearer token | the body |

mod idoc;
mod row;
pub mod signature;
mod stripe;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, header};
use portolan_domain::{Secret, Timestamp};
use serde::Deserialize;
use subtle::ConstantTimeEq;

use signature::{SignatureProblem, verify_signature};

/// Longest text taken from an event for an index, in characters: every system's ids are shorter than 100.
const TEXT_CHARS_MAX: usize = 255;

/// Levels of a JSON body. What skips over values that it does not know counts none, and modules recurse.
const DEPTH_MAX: usize = 128;

/// A kind of system that sends events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// Webhooks, v1 and v2.
    Stripe,
    /// IDocs by HTTP.
    SapEcc,
    /// Calls of BPM directives.
    Epicor,
    /// Calls of a gateway.
    SagePro,
}

/// What a request must hold to be believed, besides secrets: a part of a source's settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Auth {
    /// `Stripe-Signature` or `X-Signature`: `t=<Unix seconds>,v1=<HMAC-SHA256 of t.body, in hex>`.
    Signature,
    /// `Authorization: Bearer <secret>`.
    Bearer,
    /// `Authorization: Basic <base64 of secret>`; each secret is `user:password`.
    Basic,
    /// The fingerprint of a client certificate, in the header that the operator named.
    ClientCertificate,
}

/// What is looked at to believe a request.
#[derive(Debug)]
pub struct Proof<'a> {
    /// What the source asks for.
    pub auth: Auth,
    /// Every active secret.
    pub secrets: &'a [&'a Secret],
    /// SHA-256 fingerprints of client certificates that are let in, in hex without separators.
    pub certificates: &'a [String],
    /// Where the proxy before us puts the fingerprint of the client's certificate. None: nobody is believed.
    pub certificate_header: Option<&'a HeaderName>,
    /// Now.
    pub now_s: u64,
    /// How far a signature's time may be from now.
    pub tolerance_s: u64,
}

/// The head of an event: what intake must know of it. Everything else is the module's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventHead {
    /// Distinguishes it from every other event of its source.
    pub idempotency_key: String,
    /// What happened, in the system's words.
    pub kind: String,
    /// When it happened, if it says so readably.
    pub occurred_at: Option<Timestamp>,
    /// The id of the object it is about.
    pub object_id: Option<String>,
    /// Stripe: live or test mode.
    pub livemode: Option<bool>,
    /// Stripe: the connected account.
    pub account: Option<String>,
    /// The event as it is stored.
    pub payload: Bytes,
}

/// Why a body holds no event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAnEvent {
    /// Not in the system's format.
    #[error("the body is not {what}: {why}")]
    Malformed {
        /// What was expected.
        what: &'static str,
        /// What it is not.
        why: String,
    },
    /// JSON within JSON within JSON: what reads it may not survive it.
    #[error("the body is nested deeper than 128 levels")]
    TooDeep,
    /// A text that is used as a key is empty or too long.
    #[error("the event's {0} is empty, longer than 255 characters or has control characters")]
    BadText(&'static str),
}

impl Sender {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Stripe, Self::SapEcc, Self::Epicor, Self::SagePro];

    /// The system's name.
    #[must_use]
    pub const fn system(self) -> &'static str {
        match self {
            Self::Stripe => "stripe",
            Self::SapEcc => "sap-ecc",
            Self::Epicor => "epicor",
            Self::SagePro => "sage-pro",
        }
    }

    /// By the system's name.
    #[must_use]
    pub fn of(system: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|sender| sender.system() == system)
    }

    /// The proofs that it can give; the first is the default.
    #[must_use]
    pub const fn auths(self) -> &'static [Auth] {
        match self {
            Self::Stripe => &[Auth::Signature],
            Self::SapEcc => &[Auth::Basic, Auth::ClientCertificate],
            Self::Epicor | Self::SagePro => &[Auth::Signature, Auth::Bearer],
        }
    }

    /// The media type of a body that does not say.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::SapEcc => "application/xml",
            Self::Stripe | Self::Epicor | Self::SagePro => "application/json",
        }
    }

    const fn signature_header(self) -> &'static str {
        match self {
            Self::Stripe => "stripe-signature",
            Self::SapEcc | Self::Epicor | Self::SagePro => "x-signature",
        }
    }

    /// Whether the request comes from who it says.
    ///
    /// # Errors
    /// Why it is not believed.
    pub fn verify(self, proof: &Proof<'_>, headers: &HeaderMap, body: &[u8]) -> Result<(), SignatureProblem> {
        match proof.auth {
            Auth::Signature => {
                let header = only(headers, self.signature_header())?;
                verify_signature(header, body, proof.secrets.iter().copied(), proof.now_s, proof.tolerance_s)
            }
            Auth::Bearer => {
                let token = authorization(headers, "Bearer ")?;
                one_of(proof.secrets.iter().map(|secret| secret.expose()), token.as_bytes())
            }
            Auth::Basic => {
                let text = authorization(headers, "Basic ")?;
                let pair = STANDARD.decode(text).map_err(|_| SignatureProblem::CredentialsUnreadable)?;
                one_of(proof.secrets.iter().map(|secret| secret.expose()), &pair)
            }
            Auth::ClientCertificate => {
                let name = proof.certificate_header.ok_or(SignatureProblem::CredentialsMismatch)?;
                let text = only(headers, name.as_str())?.ok_or(SignatureProblem::CredentialsUnreadable)?;
                let plain: String = text.chars().filter(char::is_ascii_hexdigit).collect();
                one_of(proof.certificates.iter().map(String::as_str), plain.to_lowercase().as_bytes())
            }
        }
    }

    /// The events of a body, at least one.
    ///
    /// # Errors
    /// Why it holds none.
    pub fn read(self, body: &Bytes) -> Result<Vec<EventHead>, NotAnEvent> {
        if self != Self::SapEcc && depth(body) > DEPTH_MAX {
            return Err(NotAnEvent::TooDeep);
        }
        let heads = match self {
            Self::Stripe => vec![stripe::read_head(body)?],
            Self::SapEcc => idoc::read_heads(body)?,
            Self::Epicor => vec![row::read_directive(body)?],
            Self::SagePro => vec![row::read_customer(body)?],
        };
        for head in &heads {
            check(head)?;
        }
        Ok(heads)
    }
}

/// How deep JSON is nested. Of what is no JSON, some number.
fn depth(body: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0usize, 0, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// What a sender is told that is not believed. From the request alone, so that nobody learns whether there is a source at
/// an address, of which system it is and what it asks for: an address without a source answers the same. Only
/// whoever signed with the source's secret learns that its clock is wrong. The tenant's alert says what
/// was wrong indeed.
#[must_use]
pub fn told(headers: &HeaderMap, problem: SignatureProblem) -> SignatureProblem {
    if problem == SignatureProblem::OutsideTolerance {
        return problem;
    }
    let mut signatures =
        ["stripe-signature", "x-signature"].into_iter().filter(|name| headers.contains_key(*name));
    if let Some(name) = signatures.next() {
        let one = only(headers, name).and_then(|value| value.ok_or(SignatureProblem::Unreadable));
        return one.and_then(signature::read_header).err().unwrap_or(SignatureProblem::Mismatch);
    }
    if headers.contains_key(header::AUTHORIZATION) {
        return SignatureProblem::CredentialsMismatch;
    }
    SignatureProblem::CredentialsUnreadable
}

/// As much work as it takes to find that a signature is not a source's, for an address without a source.
pub fn verify_in_vain(headers: &HeaderMap, body: &[u8], now_s: u64) {
    let nobodys = Secret::new("whsec_of_no_source_at_all_00000000");
    for name in ["stripe-signature", "x-signature"] {
        if let Ok(Some(header)) = only(headers, name) {
            let refused = verify_signature(Some(header), body, [&nobodys], now_s, 0);
            std::hint::black_box(refused.is_err());
        }
    }
}

fn check(head: &EventHead) -> Result<(), NotAnEvent> {
    let fits = |text: &str| {
        !text.is_empty() && text.chars().count() <= TEXT_CHARS_MAX && !text.chars().any(char::is_control)
    };
    if !fits(&head.idempotency_key) {
        return Err(NotAnEvent::BadText("id"));
    }
    if !fits(&head.kind) {
        return Err(NotAnEvent::BadText("kind"));
    }
    if head.object_id.as_deref().is_some_and(|id| !fits(id)) {
        return Err(NotAnEvent::BadText("object's id"));
    }
    Ok(())
}

/// The one header of a name. Two of one name would let a proxy and us look at different ones.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, SignatureProblem> {
    let mut values = headers.get_all(name).iter();
    let value = values.next();
    if values.next().is_some() {
        return Err(SignatureProblem::Unreadable);
    }
    Ok(value.and_then(|value| value.to_str().ok()))
}

fn authorization<'a>(headers: &'a HeaderMap, scheme: &str) -> Result<&'a str, SignatureProblem> {
    let text = only(headers, header::AUTHORIZATION.as_str())?;
    let text = text.filter(|text| text.get(..scheme.len()).is_some_and(|s| s.eq_ignore_ascii_case(scheme)));
    let text = text.ok_or(SignatureProblem::CredentialsUnreadable)?;
    Ok(text.get(scheme.len()..).unwrap_or_default().trim())
}

/// Whether one of the texts is the given one, in a time that does not tell which or how much of it.
fn one_of<'a>(known: impl Iterator<Item = &'a str>, given: &[u8]) -> Result<(), SignatureProblem> {
    let matches = known.fold(subtle::Choice::from(0), |matches, text| matches | text.as_bytes().ct_eq(given));
    if bool::from(matches) { Ok(()) } else { Err(SignatureProblem::CredentialsMismatch) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof<'a>(auth: Auth, secrets: &'a [&'a Secret], certificates: &'a [String]) -> Proof<'a> {
        Proof { auth, secrets, certificates, certificate_header: None, now_s: 0, tolerance_s: 300 }
    }

    fn headers(name: &'static str, values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn basic_and_bearer_are_any_active_secret_and_nothing_else() {
        let secrets = [&Secret::new("SAPHTTP:old-password-1"), &Secret::new("SAPHTTP:new-password-2")];
        let basic = |pair: &str| headers("authorization", &[&format!("Basic {}", STANDARD.encode(pair))]);
        let proof = proof(Auth::Basic, &secrets, &[]);
        for good in ["SAPHTTP:old-password-1", "SAPHTTP:new-password-2"] {
            assert_eq!(Sender::SapEcc.verify(&proof, &basic(good), b""), Ok(()));
        }
        for bad in ["SAPHTTP:", "SAPHTTP:old-password-", "saphttp:old-password-1", ""] {
            assert_eq!(
                Sender::SapEcc.verify(&proof, &basic(bad), b""),
                Err(SignatureProblem::CredentialsMismatch),
                "{bad}"
            );
        }
        let none = Sender::SapEcc.verify(&proof, &HeaderMap::new(), b"");
        assert_eq!(none, Err(SignatureProblem::CredentialsUnreadable));
        let bearer = Proof { auth: Auth::Bearer, ..proof };
        let two = headers("authorization", &["Bearer SAPHTTP:old-password-1", "Bearer x"]);
        assert_eq!(Sender::Epicor.verify(&bearer, &two, b""), Err(SignatureProblem::Unreadable));
        let one = headers("authorization", &["bearer SAPHTTP:old-password-1"]);
        assert_eq!(Sender::Epicor.verify(&bearer, &one, b""), Ok(()));
    }

    #[test]
    fn a_certificate_counts_only_in_the_header_that_the_operator_named() {
        let certificates = ["ab".repeat(32)];
        let name = HeaderName::from_static("x-client-fingerprint");
        let mut proof = proof(Auth::ClientCertificate, &[], &certificates);
        let given = headers("x-client-fingerprint", &[&"AB:".repeat(32)]);
        assert!(Sender::SapEcc.verify(&proof, &given, b"").is_err(), "no header is named");
        proof.certificate_header = Some(&name);
        assert_eq!(Sender::SapEcc.verify(&proof, &given, b""), Ok(()));
        let other = headers("x-client-fingerprint", &[&"AC".repeat(32)]);
        assert!(Sender::SapEcc.verify(&proof, &other, b"").is_err());
    }

    /// What would be a bomb for some reader of JSON or XML is no event, and says why; or it is one, and costs no more than
    /// its bytes.
    #[test]
    fn bombs_are_named_or_harmless() {
        let stripe = |inner: &str| {
            format!(
                r#"{{"id":"evt_1","object":"event","type":"a.b","data":{{"object":{{"id":"x","v":{inner}}}}}}}"#
            )
        };
        let deep =
            |open: &str, close: &str| stripe(&format!("{}1{}", open.repeat(100_000), close.repeat(100_000)));
        let read = |sender: Sender, body: &[u8]| sender.read(&Bytes::copy_from_slice(body));
        for body in [deep("[", "]"), deep("{\"a\":", "}"), deep("[", ""), "[".repeat(1_000_000)] {
            assert_eq!(read(Sender::Stripe, body.as_bytes()), Err(NotAnEvent::TooDeep));
            assert_eq!(read(Sender::Epicor, body.as_bytes()), Err(NotAnEvent::TooDeep));
        }
        let duplicates: String = (0..100_000).map(|_| "\"a\":1,").collect();
        let elements = format!("[{}1]", "1,".repeat(400_000));
        let number = "1".repeat(900_000);
        for inner in ["1e400", "\"\\ud800\"", &elements, &number, &format!("{{{duplicates}\"b\":2}}")] {
            let heads = read(Sender::Stripe, stripe(inner).as_bytes()).unwrap();
            assert_eq!((heads.len(), heads[0].object_id.as_deref()), (1, Some("x")));
        }
        for created in ["1e400", &elements, "-1", "\"soon\"", "{}"] {
            let body = format!(r#"{{"id":"evt_1","object":"event","type":"a.b","created":{created}}}"#);
            assert_eq!(
                read(Sender::Stripe, body.as_bytes()).unwrap()[0].occurred_at,
                None,
                "{:.40}",
                created
            );
        }
        let bad: [&[u8]; 9] = [
            br#"{"id":"evt_1","id":"evt_2","object":"event","type":"a"}"#,
            br#"{"id":"\ud800","object":"event","type":"a"}"#,
            br#"{"id":"a\u0000b","object":"event","type":"a"}"#,
            br#"{"id":1e400,"object":"event","type":"a"}"#,
            b"\xef\xbb\xbf{\"id\":\"evt_1\",\"object\":\"event\",\"type\":\"a\"}",
            b"\xff\xfe{\0\"\0i\0d\0",
            b"{\0\"\0i\0d\0",
            b"\0",
            b"\x1f\x8b\x08\0",
        ];
        for body in bad {
            assert!(read(Sender::Stripe, body).is_err(), "{body:?}");
        }
        let idoc = |inner: &str| {
            format!("<D>{inner}<IDOC><EDI_DC40><DOCNUM>1</DOCNUM><MESTYP>M</MESTYP></EDI_DC40></IDOC></D>")
        };
        let laughs = "<!DOCTYPE D [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;\">]>".to_owned() + &idoc("&b;");
        let file = "<!DOCTYPE D [<!ENTITY a SYSTEM \"file:///etc/passwd\">]>".to_owned() + &idoc("&a;");
        let name = format!(
            "<{0}>{1}</{0}>",
            "D".repeat(100_000),
            "<IDOC><EDI_DC40><DOCNUM>1</DOCNUM><MESTYP>M</MESTYP></EDI_DC40></IDOC>".repeat(900)
        );
        let deep = idoc(&format!("{}{}", "<a>".repeat(10_000), "</a>".repeat(10_000)));
        for body in [laughs, file, name, deep, idoc("&a;")] {
            assert!(read(Sender::SapEcc, body.as_bytes()).is_err(), "{body:.80}");
        }
        let attributes: String = (0..50_000).map(|n| format!(" a{n}=\"1\"")).collect();
        let flood = idoc(&format!("<x{attributes}/>"));
        assert_eq!(read(Sender::SapEcc, flood.as_bytes()).unwrap().len(), 1);
    }
}
