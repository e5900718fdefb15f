//! A JSON request to a configured base URL, so that any system can be a target. Optionally signed as a
//! Standard Webhook (<https://www.standardwebhooks.com>), so that the receiver can tell forgeries and repeats.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use portolan_domain::{
    Secret,
    class::WriteClass,
    verdict::{CallFailure, CallProblem},
};
use serde_json::{Value, json};
use sha2::Sha256;
use url::Url;

use crate::{
    ConfigError, Connection, ConnectionConfig, Connector, Effect, Found, Operation,
    call::{Call, Doing, basic_header, plain_header, quote, secret_header, status_code},
    connection::{Guarded, Scrub, System},
    outbound::{Answer, Outbound, Request},
    parameters::{invalid, object_of},
    settings::{SETTLE, Settings, has_control, refuse, refuse_secret},
};

/// Headers that a tenant may set.
const HEADERS_MAX: usize = 32;
/// How long a target is trusted to recognise a repeat, where the connection does not say: a day, in seconds.
const KEY_WINDOW_S: u64 = 24 * 3_600;
/// The longest that it may be trusted: thirty days.
const KEY_WINDOW_S_MAX: u64 = 30 * KEY_WINDOW_S;
/// The longest path, in bytes.
const PATH_BYTES_MAX: usize = 2048;
/// The most query parameters.
const QUERY_MAX: usize = 64;
/// Headers that are not for tenants to set: the connector or the protocol does.
const RESERVED_HEADERS: &[&str] = &[
    "accept-encoding",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "idempotency-key",
    "keep-alive",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "webhook-id",
    "webhook-signature",
    "webhook-timestamp",
];

const OPERATIONS: &[Operation] = &[
    Operation { name: "request.get", effect: Effect::Read },
    Operation { name: "request.post", effect: Effect::Write(WriteClass::Blind) },
];

/// The connector `http`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JsonHttp;

#[derive(Debug, Clone, Copy)]
enum Auth {
    Nobody,
    Bearer,
    Basic,
    Header,
}

impl Connector for JsonHttp {
    fn name(&self) -> &'static str {
        "http"
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
        let limits = settings.limits()?;
        let mut headers = fixed_headers(&settings)?;
        let (authorization, mut scrub) = authorization(&settings)?;
        headers.extend(authorization);
        let signing = settings.choice("signing", &[("none", false), ("standard-webhooks", true)], false)?;
        let signing_key = if signing {
            let secret = settings.secret_required("signing_secret")?;
            scrub.add(secret.clone());
            Some(signing_key(&secret)?)
        } else {
            None
        };
        let class = class(&settings, signing)?;
        settings.finish()?;

        let pool = outbound.pool(base_url, limits.timeout)?;
        let system = Target { headers, signing_key, class };
        let connector = self.name();
        Ok(Guarded { connector, operations: OPERATIONS, system, pool, limits, scrub }.shared())
    }
}

/// What the target does with a repeat, as far as the tenant knows. A receiver of signed webhooks recognises their ids.
fn class(settings: &Settings<'_>, signing: bool) -> Result<WriteClass, ConfigError> {
    let window = Duration::from_secs(settings.integer("key_window_s", KEY_WINDOW_S, 1..=KEY_WINDOW_S_MAX)?);
    let keyed = WriteClass::NativeKey { window };
    let choices = [
        ("same-key-again", keyed),
        ("ask", WriteClass::AskedByKey { settle: SETTLE }),
        ("ask-person", WriteClass::Blind),
    ];
    settings.choice("in_doubt", &choices, if signing { keyed } else { WriteClass::Blind })
}

fn fixed_headers(settings: &Settings<'_>) -> Result<HeaderMap, ConfigError> {
    let mut headers = HeaderMap::new();
    let fields = match settings.value("headers") {
        None => return Ok(headers),
        Some(Value::Object(fields)) if fields.len() <= HEADERS_MAX => fields,
        Some(_) => return Err(refuse("headers", "must be an object of at most 32 names and texts")),
    };
    for (name, value) in fields {
        let pointer = format!("headers/{name}");
        let header = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| refuse(&pointer, "is not the name of a header"))?;
        if RESERVED_HEADERS.contains(&header.as_str()) {
            return Err(refuse(&pointer, "is set by the connector; see auth and signing"));
        }
        let value = value.as_str().and_then(plain_header);
        headers.insert(header, value.ok_or_else(|| refuse(&pointer, "must be a text of visible ASCII"))?);
    }
    Ok(headers)
}

/// The authorization header, and what must not be printed of it.
fn authorization(settings: &Settings<'_>) -> Result<(HeaderMap, Scrub), ConfigError> {
    let choices =
        [("none", Auth::Nobody), ("bearer", Auth::Bearer), ("basic", Auth::Basic), ("header", Auth::Header)];
    let auth = settings.choice("auth", &choices, Auth::Nobody)?;
    let name = settings.text("auth_header")?;
    let not_ascii = |name| refuse_secret(name, "must be visible ASCII");
    let scrub;
    let (header, value) = match auth {
        Auth::Nobody => return Ok((HeaderMap::new(), Scrub::default())),
        Auth::Bearer => {
            let token = settings.secret_required("token")?;
            let value = secret_header(&format!("Bearer {}", token.expose()));
            scrub = Scrub::new([&token]);
            (http::header::AUTHORIZATION, value.ok_or_else(|| not_ascii("token"))?)
        }
        Auth::Basic => {
            let (user, password) = (settings.secret_required("user")?, settings.secret_required("password")?);
            if user.expose().contains(':') {
                return Err(refuse_secret("user", "must not hold a colon: Basic cannot carry it"));
            }
            let value = basic_header(&user, &password).ok_or_else(|| not_ascii("password"))?;
            scrub = Scrub::new([&user, &password]).with_basic(&user, &password);
            (http::header::AUTHORIZATION, value)
        }
        Auth::Header => {
            let token = settings.secret_required("token")?;
            let name = name.ok_or_else(|| refuse("auth_header", "is required with auth header"))?;
            let header = HeaderName::from_bytes(name.as_bytes()).ok();
            let header = header.filter(|h| h == http::header::AUTHORIZATION || !is_reserved(h));
            let header = header.ok_or_else(|| refuse("auth_header", "is not a header that may be set"))?;
            scrub = Scrub::new([&token]);
            (header, secret_header(token.expose()).ok_or_else(|| not_ascii("token"))?)
        }
    };
    Ok((HeaderMap::from_iter([(header, value)]), scrub))
}

fn is_reserved(header: &HeaderName) -> bool {
    RESERVED_HEADERS.contains(&header.as_str())
}

/// The bytes behind `whsec_…`.
fn signing_key(secret: &Secret) -> Result<Secret, ConfigError> {
    let encoded = secret.expose().strip_prefix("whsec_").unwrap_or(secret.expose());
    let key = STANDARD.decode(encoded).ok().filter(|key| (16..=128).contains(&key.len()));
    // Kept as it was written: decoded again for each signature, so that the raw bytes live shortly.
    key.map(|_| Secret::new(encoded))
        .ok_or_else(|| refuse_secret("signing_secret", "must be whsec_ and base64 of 16 to 128 bytes"))
}

/// `v1,` and the HMAC-SHA256 of id, timestamp and body, in base64.
fn signature(key: &Secret, id: &str, timestamp: u64, body: &str) -> Option<String> {
    let key = STANDARD.decode(key.expose()).ok()?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
    mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
    Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

#[derive(Debug)]
struct Target {
    headers: HeaderMap,
    signing_key: Option<Secret>,
    class: WriteClass,
}

#[async_trait]
impl System for Target {
    async fn read(&self, _: &str, parameters: &Value, call: &Call<'_>) -> Result<Found, CallFailure> {
        object_of(parameters, &["path", "query"])?;
        let request = Request::new(Method::GET, url(parameters, call)?).headers(&self.headers);
        let answer = call.send(Doing::Asking, request).await?;
        if answer.status.is_success() {
            return Ok(Found::Yes(said(&answer)));
        }
        if answer.status == http::StatusCode::NOT_FOUND {
            return Ok(Found::No);
        }
        Err(call.refusal(Doing::Asking, &answer, problem(&answer)))
    }

    async fn write(&self, _: &str, body: &Value, call: &Call<'_>) -> Result<Value, CallFailure> {
        let fields = object_of(body, &["path", "query", "body"])?;
        let text = fields.get("body").unwrap_or(&Value::Null).to_string();
        let id = header_value(&call.context().call_id)?;
        let mut request = Request::new(Method::POST, url(body, call)?)
            .headers(&self.headers)
            .header(HeaderName::from_static("idempotency-key"), id.clone());
        if let Some(key) = &self.signing_key {
            let timestamp = call.context().now_seconds;
            let signature = signature(key, &call.context().call_id, timestamp, &text).unwrap_or_default();
            request = request
                .header(HeaderName::from_static("webhook-id"), id)
                .header(HeaderName::from_static("webhook-timestamp"), HeaderValue::from(timestamp))
                .header(HeaderName::from_static("webhook-signature"), header_value(&signature)?);
        }
        let answer = call.send(Doing::Changing, request.body("application/json", text)).await?;
        if answer.status.is_success() {
            return Ok(said(&answer));
        }
        Err(call.refusal(Doing::Changing, &answer, problem(&answer)))
    }

    /// Asks for the base URL itself. That it is not there is no fault: only the target knows what it serves.
    async fn probe(&self, call: &Call<'_>) -> Result<(), CallFailure> {
        match self.read("request.get", &json!({"path": ""}), call).await {
            Err(CallFailure::Permanent { problem }) if problem.code == "refused" => Ok(()),
            answer => answer.map(|_| ()),
        }
    }

    fn class(&self) -> Option<WriteClass> {
        Some(self.class)
    }
}

fn header_value(text: &str) -> Result<HeaderValue, CallFailure> {
    plain_header(text).ok_or_else(|| invalid("", "the call id is not fit for a header"))
}

/// The base URL, `path` and `query`.
fn url(parameters: &Value, call: &Call<'_>) -> Result<Url, CallFailure> {
    let path = match parameters.get("path") {
        None | Some(Value::Null) => "",
        Some(Value::String(path)) => path.strip_prefix('/').unwrap_or(path),
        Some(_) => return Err(invalid("/path", "must be a text")),
    };
    let refused = path.len() > PATH_BYTES_MAX
        || has_control(path)
        || path.contains(['?', '#', '\\', '%'])
        || path.contains("//")
        || path.contains("..")
        || path.contains("://");
    let trimmed = path.strip_suffix('/').unwrap_or(path);
    let mut segments: Vec<&str> = trimmed.split('/').filter(|_| !trimmed.is_empty()).collect();
    if refused || segments.iter().any(|segment| matches!(*segment, "" | ".")) {
        let message = "is appended to the base URL: no .., //, scheme, query, escape or control character";
        return Err(invalid("/path", message));
    }
    let query = query(parameters)?;
    let query: Vec<_> = query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut url = call.pool().url(&segments, &query).ok_or_else(|| invalid("/path", "cannot be appended"))?;
    segments.clear();
    if path.ends_with('/') && !trimmed.is_empty() {
        let with_slash = format!("{}/", url.path());
        url.set_path(&with_slash);
    }
    Ok(url)
}

fn query(parameters: &Value) -> Result<Vec<(String, String)>, CallFailure> {
    let fields = match parameters.get("query") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Object(fields)) if fields.len() <= QUERY_MAX => fields,
        Some(_) => return Err(invalid("/query", "must be an object of at most 64 names and values")),
    };
    let pair = |(name, value): (&String, &Value)| match value {
        Value::String(text) => Ok((name.clone(), text.clone())),
        Value::Number(number) => Ok((name.clone(), number.to_string())),
        Value::Bool(flag) => Ok((name.clone(), flag.to_string())),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            Err(invalid(&format!("/query/{name}"), "must be a text, a number or a truth value"))
        }
    };
    fields.iter().map(pair).collect()
}

/// Status and body: JSON where it is JSON, else text, else null.
fn said(answer: &Answer) -> Value {
    let body = serde_json::from_slice(&answer.body).unwrap_or_else(|_| match answer.body.as_ref() {
        [] => Value::Null,
        bytes => Value::String(String::from_utf8_lossy(bytes).into_owned()),
    });
    json!({"status": answer.status.as_u16(), "body": body})
}

fn problem(answer: &Answer) -> CallProblem {
    CallProblem::new(status_code(answer.status), format!("the system answered {}", answer.status))
        .with_detail(quote(answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_the_standards_own_example() {
        let key = signing_key(&Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")).unwrap();
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let signed = signature(&key, id, 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signed.as_deref(), Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
    }

    #[test]
    fn a_signing_secret_is_base64_of_enough_bytes() {
        for bad in ["whsec_", "whsec_AAAA", "whsec_not base64!", "hunter2"] {
            assert!(signing_key(&Secret::new(bad)).is_err(), "{bad}");
        }
    }
}
