//! SAP Gateway, OData version 2: services of the customer's own, which commit by themselves. One changeset is one unit
//! of work; nothing recognises a repeat but the service's own keys.
//!
//! A write needs a token and the cookies of the session that it was drawn in; both are kept for each service until SAP
//! says `X-CSRF-Token: Required`. That refusal comes before anything is carried out, so a write that met it is made
//! again, once.
//!
//! Objects are the service's own, unchanged: decimals are texts, dates are `/Date(1763596800000)/`.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue, Method, header};
use portolan_domain::verdict::{CallFailure, CallProblem};
use serde_json::{Map, Value, json};
use url::Url;

use super::{
    Ecc, messages,
    multipart::{self, Part},
    odata_url::{self, name, segment},
    soap::{Jar, refusal},
};
use crate::{
    Found,
    call::{Call, Doing, plain_header, quote, secret_header},
    outbound::{Answer, Request},
    parameters::{invalid, object_of, text},
};

/// Pages of one question.
const PAGES_MAX: usize = 100;
/// Entities of one question.
const ENTITIES_MAX: usize = 10_000;
/// Requests of one changeset.
const CHANGES_MAX: usize = 1_000;

const CSRF: HeaderName = HeaderName::from_static("x-csrf-token");

/// What a service gave for writes: the token, and the cookies of its session.
#[derive(Debug, Clone)]
pub(super) struct Pass {
    token: HeaderValue,
    cookies: Option<HeaderValue>,
}

/// Passes by service.
pub(super) type Passes = std::sync::Mutex<BTreeMap<String, Pass>>;

/// A write, so that it can be made twice.
struct Change<'a> {
    service: &'a str,
    method: Method,
    url: Url,
    media_type: &'a str,
    body: String,
    etag: Option<HeaderValue>,
}

impl Ecc {
    fn odata_headers(&self, request: Request) -> Request {
        let request = request.header(header::ACCEPT, HeaderValue::from_static("application/json"));
        match self.rfc.headers.get(header::AUTHORIZATION) {
            Some(value) => request.header(header::AUTHORIZATION, value.clone()),
            None => request,
        }
    }

    fn odata_url(
        &self,
        service: &str,
        more: &[&str],
        query: &[(&str, &str)],
        call: &Call<'_>,
    ) -> Result<Url, CallFailure> {
        let path = self.odata_path.iter().map(String::as_str).chain([service]).chain(more.iter().copied());
        let mut all =
            vec![("sap-client", self.rfc.client.as_str()), ("sap-language", self.rfc.language.as_str())];
        all.extend(query);
        let url = call.pool().url(&path.collect::<Vec<_>>(), &all);
        url.ok_or_else(|| invalid("/entity_set", "cannot be appended to the service"))
    }

    /// `odata.get`
    pub(super) async fn odata_get(&self, parameters: &Value, call: &Call<'_>) -> Result<Found, CallFailure> {
        let known = ["service", "entity_set", "key", "select", "expand", "filter", "orderby", "top"];
        let fields = object_of(parameters, &known)?;
        let service = odata_url::service(fields)?;
        let set = segment(fields, "")?;
        let options = odata_url::options(fields)?;
        let options: Vec<(&str, &str)> =
            options.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut results: Vec<Value> = Vec::new();
        let mut page: Option<(String, String)> = None;
        for _ in 0..PAGES_MAX {
            let mut query = options.clone();
            query.extend(page.as_ref().map(|(name, value)| (name.as_str(), value.as_str())));
            let url = self.odata_url(service, &[&set], &query, call)?;
            let answer = call.send(Doing::Asking, self.odata_headers(Request::new(Method::GET, url))).await?;
            // Of a set or a service that there is not, 404 is no absence.
            let says_so = answer.header("content-type").is_some_and(|kind| kind.contains("json"));
            if answer.status == http::StatusCode::NOT_FOUND && fields.contains_key("key") && says_so {
                return Ok(Found::No);
            }
            let mut entity = self.entity(Doing::Asking, &answer, call)?;
            if fields.contains_key("key") {
                return Ok(Found::Yes(entity));
            }
            match entity.get_mut("results").map(Value::take) {
                Some(Value::Array(rows)) => results.extend(rows),
                _ => return Err(Doing::Asking.unreadable(&answer, "this is not a list of entities")),
            }
            page = entity.get("__next").and_then(Value::as_str).and_then(odata_url::next_page);
            if results.len() > ENTITIES_MAX {
                return Err(CallFailure::permanent(
                    "answer-too-large",
                    "more than 10000 entities: filter them",
                ));
            }
            if page.is_none() || fields.contains_key("top") {
                let found =
                    if results.is_empty() { Found::No } else { Found::Yes(json!({"results": results})) };
                return Ok(found);
            }
        }
        Err(CallFailure::permanent("answer-too-large", "more than 100 pages: filter them"))
    }

    /// `odata.create`
    pub(super) async fn odata_create(&self, body: &Value, call: &Call<'_>) -> Result<Value, CallFailure> {
        let fields = object_of(body, &["service", "entity_set", "body"])?;
        let service = odata_url::service(fields)?;
        let set = name(text(fields, "entity_set")?, "/entity_set")?;
        let url = self.odata_url(service, &[set], &[], call)?;
        let change = Change {
            service,
            method: Method::POST,
            url,
            media_type: "application/json",
            body: entity_body(fields)?,
            etag: None,
        };
        let answer = self.change(&change, call).await?;
        self.entity(Doing::Changing, &answer, call)
    }

    /// `odata.update`
    pub(super) async fn odata_update(&self, body: &Value, call: &Call<'_>) -> Result<Value, CallFailure> {
        let fields = object_of(body, &["service", "entity_set", "key", "method", "etag", "body"])?;
        let service = odata_url::service(fields)?;
        if !fields.contains_key("key") {
            return Err(invalid("/key", "is required"));
        }
        let url = self.odata_url(service, &[&segment(fields, "")?], &[], call)?;
        let change = Change {
            service,
            method: update_method(fields, "")?,
            url,
            media_type: "application/json",
            body: entity_body(fields)?,
            etag: etag(fields, "")?,
        };
        let answer = self.change(&change, call).await?;
        if answer.status.is_success() {
            return Ok(json!({"entity_set": fields.get("entity_set"), "key": fields.get("key")}));
        }
        Err(self.odata_failure(Doing::Changing, &answer, call))
    }

    /// `odata.batch`: one changeset, all of it or nothing.
    pub(super) async fn odata_batch(&self, body: &Value, call: &Call<'_>) -> Result<Value, CallFailure> {
        let fields = object_of(body, &["service", "changes"])?;
        let service = odata_url::service(fields)?;
        let changes = fields.get("changes").and_then(Value::as_array);
        let changes = changes.filter(|changes| (1..=CHANGES_MAX).contains(&changes.len()));
        let changes = changes.ok_or_else(|| invalid("/changes", "must be an array of 1 to 1000 changes"))?;
        let parts =
            changes.iter().enumerate().map(|(index, change)| part(change, &format!("/changes/{index}")));
        let parts: Vec<Part> = parts.collect::<Result<_, _>>()?;
        let id = &call.context().call_id;
        let media_type = format!("multipart/mixed; boundary=batch_{id}");
        let change = Change {
            service,
            method: Method::POST,
            url: self.odata_url(service, &["$batch"], &[], call)?,
            media_type: &media_type,
            body: multipart::batch(id, &parts),
            etag: None,
        };
        let answer = self.change(&change, call).await?;
        if !answer.status.is_success() {
            return Err(self.odata_failure(Doing::Changing, &answer, call));
        }
        let said = std::str::from_utf8(&answer.body).ok();
        let replies = said.and_then(|said| multipart::replies(answer.header("content-type")?, said));
        let replies = replies.unwrap_or_default();
        // An error in one is the answer of all: nothing of the changeset was committed.
        if let Some(failed) = replies.iter().find(|reply| reply.status >= 400) {
            return Err(said_failure(failed.status, &failed.body));
        }
        if replies.len() != parts.len() {
            return Err(Doing::Changing.unreadable(&answer, "this is not the answer of one changeset"));
        }
        let replies =
            replies.into_iter().map(|reply| json!({"status": reply.status, "body": unwrapped(reply.body)}));
        Ok(json!({"responses": replies.collect::<Vec<_>>()}))
    }

    /// Makes a write with the service's pass, drawing a new one where it has run out.
    async fn change(&self, change: &Change<'_>, call: &Call<'_>) -> Result<Answer, CallFailure> {
        let mut is_new = false;
        loop {
            let known = if is_new { None } else { self.passes().get(change.service).cloned() };
            let pass = match known {
                Some(pass) => pass,
                None => {
                    is_new = true;
                    self.draw_pass(change.service, call).await?
                }
            };
            let request = Request::new(change.method.clone(), change.url.clone());
            let mut request = self.odata_headers(request).header(CSRF, pass.token);
            for (name, value) in [(header::COOKIE, pass.cookies), (header::IF_MATCH, change.etag.clone())] {
                if let Some(value) = value {
                    request = request.header(name, value);
                }
            }
            let media_type = plain_header(change.media_type);
            request = request.body("application/json", change.body.clone());
            request =
                request.header(header::CONTENT_TYPE, media_type.ok_or_else(|| invalid("", "no media type"))?);
            let answer = call.send(Doing::Changing, request).await?;
            let is_asked =
                answer.header("x-csrf-token").is_some_and(|said| said.eq_ignore_ascii_case("required"));
            if answer.status != http::StatusCode::FORBIDDEN || !is_asked {
                return Ok(answer);
            }
            self.passes().remove(change.service);
            if is_new {
                return Ok(answer);
            }
            is_new = true;
        }
    }

    fn passes(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Pass>> {
        self.passes.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    async fn draw_pass(&self, service: &str, call: &Call<'_>) -> Result<Pass, CallFailure> {
        let url = self.odata_url(service, &[], &[], call)?;
        let request = self.odata_headers(Request::new(Method::GET, url));
        let request = request.header(CSRF, HeaderValue::from_static("Fetch"));
        let answer = call.send(Doing::Asking, request).await?;
        if !answer.status.is_success() {
            return Err(self.odata_failure(Doing::Asking, &answer, call));
        }
        let token = answer.header("x-csrf-token").and_then(secret_header);
        let token =
            token.ok_or_else(|| Doing::Asking.unreadable(&answer, "the service gives no CSRF token"))?;
        let mut jar = Jar::default();
        jar.keep(&answer);
        let pass = Pass { token, cookies: jar.header() };
        self.passes().insert(service.to_owned(), pass.clone());
        Ok(pass)
    }

    /// What stands in `d`.
    fn entity(&self, doing: Doing, answer: &Answer, call: &Call<'_>) -> Result<Value, CallFailure> {
        if !answer.status.is_success() {
            return Err(self.odata_failure(doing, answer, call));
        }
        match serde_json::from_slice::<Value>(&answer.body) {
            Ok(Value::Object(mut fields)) if fields.contains_key("d") => {
                Ok(fields.remove("d").unwrap_or_default())
            }
            _ => Err(doing.unreadable(answer, "this is not an entity of OData version 2 in JSON")),
        }
    }

    fn odata_failure(&self, doing: Doing, answer: &Answer, call: &Call<'_>) -> CallFailure {
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        match answer.status.as_u16() {
            400 | 404 | 405 | 409 | 412 | 422 | 428 if body.get("error").is_some() => {
                said_failure(answer.status.as_u16(), &body)
            }
            412 | 428 => said_failure(answer.status.as_u16(), &body),
            // A service's own code may have committed before it broke.
            500 if body.get("error").is_some() => {
                doing.unclear(said_failure(500, &body).problem().clone().with_detail(quote(answer)))
            }
            _ => refusal(doing, answer, call),
        }
    }
}

/// The failure that an error object stands for; its details are rows like those of RETURN.
fn said_failure(status: u16, body: &Value) -> CallFailure {
    let error = body.get("error").unwrap_or(body);
    let details = error.pointer("/innererror/errordetails").and_then(Value::as_array);
    let rows: Vec<Value> = details.into_iter().flatten().map(row).collect();
    if let Some(failure) = messages::failure(&rows) {
        return failure;
    }
    let said = |pointer: &str| error.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (code, message) = match status {
        412 => ("changed-meanwhile", "the entity was changed since its etag was read"),
        428 => ("etag-required", "the service wants the etag of what is changed"),
        _ => ("data-refused", "the service refused it"),
    };
    let text = format!("{} {}: {message}", said("/code"), said("/message/value"));
    let own = row(&json!({"code": said("/code"), "message": said("/message/value"), "severity": "error"}));
    match (status, messages::failure(&[own])) {
        // A lock is a lock, wherever it is told of.
        (_, Some(failure @ (CallFailure::Retryable { .. } | CallFailure::Unauthorized { .. }))) => failure,
        _ => {
            CallFailure::Permanent { problem: CallProblem::new(code, text.trim()).with_detail(body.clone()) }
        }
    }
}

/// `{"code": "F5/102", "message": "…", "severity": "error"}` as a row of RETURN.
fn row(detail: &Value) -> Value {
    let text = |name: &str| detail.get(name).and_then(Value::as_str).unwrap_or_default();
    let (id, number) = text("code").rsplit_once('/').unwrap_or((text("code"), ""));
    let kind = match text("severity") {
        "warning" => "W",
        "info" => "I",
        "success" => "S",
        _ => "E",
    };
    json!({"TYPE": kind, "ID": id, "NUMBER": number, "MESSAGE": text("message")})
}

fn unwrapped(body: Value) -> Value {
    match body {
        Value::Object(mut fields) if fields.contains_key("d") => fields.remove("d").unwrap_or_default(),
        other @ (Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_)) => other,
    }
}

fn entity_body(fields: &Map<String, Value>) -> Result<String, CallFailure> {
    match fields.get("body") {
        Some(body @ Value::Object(_)) => Ok(body.to_string()),
        _ => Err(invalid(
            "/body",
            "must be an object: the entity, with entities inside of it for a deep insert",
        )),
    }
}

fn update_method(fields: &Map<String, Value>, pointer: &str) -> Result<Method, CallFailure> {
    let refused = || invalid(&format!("{pointer}/method"), "must be MERGE, PATCH or PUT");
    let word = match fields.get("method") {
        None => "MERGE",
        Some(method) => method.as_str().ok_or_else(refused)?,
    };
    let known = ["MERGE", "PATCH", "PUT"].contains(&word);
    Method::from_bytes(word.as_bytes()).ok().filter(|_| known).ok_or_else(refused)
}

fn etag(fields: &Map<String, Value>, pointer: &str) -> Result<Option<HeaderValue>, CallFailure> {
    let Some(etag) = fields.get("etag").filter(|etag| !etag.is_null()) else { return Ok(None) };
    let value = etag.as_str().and_then(plain_header);
    value.map(Some).ok_or_else(|| invalid(&format!("{pointer}/etag"), "must be a text as __metadata has it"))
}

/// One change of a changeset.
fn part(change: &Value, pointer: &str) -> Result<Part, CallFailure> {
    let fields = object_of(change, &["method", "entity_set", "key", "etag", "body"])?;
    let word = fields.get("method").and_then(Value::as_str).unwrap_or("POST");
    let method = match word {
        "POST" | "DELETE" => word.to_owned(),
        _ => update_method(fields, pointer)?.to_string(),
    };
    let has_body = word != "DELETE";
    if (word == "POST") == fields.contains_key("key") {
        return Err(invalid(&format!("{pointer}/key"), "belongs to every change but POST"));
    }
    let etag = etag(fields, pointer)?.and_then(|etag| etag.to_str().ok().map(str::to_owned));
    let body = if has_body { Some(entity_body(fields)?) } else { None };
    Ok(Part { method, path: odata_url::escaped(&segment(fields, pointer)?), etag, body })
}
