//! The Sage Pro gateway: JSON over HTTP in front of Sage Pro's tables, recognising repeats by
//! `Idempotency-Key` and by `ExternalRef`. Contract: `docs/sage-pro-gateway.md`.

use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use portolan_domain::verdict::{CallFailure, CallProblem, InDoubt};
use serde_json::{Map, Value, json};

use crate::{
    ConfigError, Connection, ConnectionConfig, Connector, Effect, Found, Operation,
    call::{Call, Doing, plain_header, quote, retry_after_ms, secret_header, status_code},
    connection::{Guarded, Scrub, System},
    outbound::{Answer, Outbound, Request},
    parameters::{invalid, object, object_of, text},
    settings::{Settings, refuse, refuse_secret},
};

/// The longest `Idempotency-Key`.
const KEY_BYTES_MAX: usize = 255;

const AGAIN: Effect = Effect::Write(InDoubt::SameKeyAgain);
const OPERATIONS: &[Operation] = &[
    Operation { name: "customer.find", effect: Effect::Read },
    Operation { name: "customer.get", effect: Effect::Read },
    Operation { name: "invoice.find", effect: Effect::Read },
    Operation { name: "item.get", effect: Effect::Read },
    Operation { name: "customer.create", effect: AGAIN },
    Operation { name: "customer.update", effect: AGAIN },
    Operation { name: "invoice.create", effect: AGAIN },
    Operation { name: "credit-memo.create", effect: AGAIN },
    Operation { name: "cash-receipt.create", effect: AGAIN },
    Operation { name: "gl-journal.post", effect: AGAIN },
];

/// The connector `sage-pro`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SagePro;

impl Connector for SagePro {
    fn name(&self) -> &'static str {
        "sage-pro"
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
        let company = settings.text_or("company", "01")?;
        let limits = settings.limits()?;
        let api_key = settings.secret_required("api_key")?;
        settings.finish()?;

        let company = plain_header(company).filter(|company| company.len() == 2);
        let company = company.ok_or_else(|| refuse("company", "must be two characters, like 01"))?;
        let key = secret_header(api_key.expose())
            .ok_or_else(|| refuse_secret("api_key", "must be visible ASCII"))?;
        let headers = HeaderMap::from_iter([
            (HeaderName::from_static("x-api-key"), key),
            (HeaderName::from_static("x-company"), company),
        ]);
        let pool = outbound.pool(base_url, limits.timeout)?;
        let (connector, scrub) = (self.name(), Scrub::new([&api_key]));
        let system = Gateway { headers };
        Ok(Guarded { connector, operations: OPERATIONS, system, pool, limits, scrub }.shared())
    }
}

/// How a write is made.
struct WriteShape {
    collection: &'static str,
    /// The field of the answer that holds the document's number.
    number: &'static str,
}

fn write_shape(operation: &str) -> WriteShape {
    let (collection, number) = match operation {
        "customer.create" | "customer.update" => ("Customer", "CustNo"),
        "invoice.create" => ("Invoice", "InvNo"),
        "credit-memo.create" => ("CreditMemo", "InvNo"),
        "cash-receipt.create" => ("CashReceipt", "ReceiptNo"),
        _ => ("GLJournal", "JournalNo"),
    };
    WriteShape { collection, number }
}

#[derive(Debug)]
struct Gateway {
    headers: HeaderMap,
}

#[async_trait]
impl System for Gateway {
    async fn read(&self, operation: &str, parameters: &Value, call: &Call<'_>) -> Result<Found, CallFailure> {
        let of = |name| text(object_of(parameters, &[name])?, name);
        let found = match operation {
            "customer.find" => self.find("Customer", of("ExternalRef")?, "CustNo", call).await?,
            "invoice.find" => self.find("Invoice", of("ExternalRef")?, "InvNo", call).await?,
            "customer.get" => self.get(&["Customer", of("CustNo")?], &[], call).await?,
            _ => self.get(&["Item", of("Item")?], &[], call).await?,
        };
        Ok(found.map_or(Found::No, Found::Yes))
    }

    async fn write(&self, operation: &str, body: &Value, call: &Call<'_>) -> Result<Value, CallFailure> {
        let shape = write_shape(operation);
        let fields = object(body)?;
        let (method, url, key, body) = if operation == "customer.update" {
            let customer = text(fields, "CustNo")?;
            let mut changes = fields.clone();
            changes.remove("CustNo");
            let url = call.pool().url(&["Customer", customer], &[]);
            // The same customer may be updated many times: the delivery tells the updates apart.
            (Method::PUT, url, call.context().call_id.clone(), Value::Object(changes))
        } else {
            let reference = text(fields, "ExternalRef")?;
            (Method::POST, call.pool().url(&[shape.collection], &[]), reference.to_owned(), body.clone())
        };
        let url = url.ok_or_else(|| invalid("/CustNo", "is not a customer number"))?;
        let key = idempotency_key(&key, operation)?;
        let request = Request::new(method, url)
            .headers(&self.headers)
            .header(HeaderName::from_static("idempotency-key"), key)
            .body("application/json", body.to_string());
        let answer = call.send(Doing::Changing, request).await?;
        match answer.status.as_u16() {
            200 | 201 => document(&answer.body, shape.number).ok_or_else(|| {
                Doing::Changing.unreadable(&answer, &format!("the answer has no {}", shape.number))
            }),
            409 => self.conflict(operation, fields, &answer, call).await,
            _ => Err(refusal(Doing::Changing, &answer, call)),
        }
    }

    async fn probe(&self, call: &Call<'_>) -> Result<(), CallFailure> {
        // A customer that does not exist: the health page answers without asking for the key.
        self.find("Customer", "portolan-probe", "CustNo", call).await.map(|_| ())
    }
}

impl Gateway {
    async fn get(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        call: &Call<'_>,
    ) -> Result<Option<Value>, CallFailure> {
        let url = call.pool().url(path, query).ok_or_else(|| invalid("", "holds no usable number"))?;
        let request = Request::new(Method::GET, url).headers(&self.headers);
        let answer = call.send(Doing::Asking, request).await?;
        match answer.status.as_u16() {
            200 => serde_json::from_slice(&answer.body)
                .map(Some)
                .map_err(|_| Doing::Asking.unreadable(&answer, "the body is no JSON")),
            // Only the gateway's own word counts: a wrong base URL is not an absent record.
            404 if error_code(&answer).as_deref() == Some("record_not_found") => Ok(None),
            _ => Err(refusal(Doing::Asking, &answer, call)),
        }
    }

    /// The record with this external reference. The gateway answers with it, or with a list of at most one.
    async fn find(
        &self,
        collection: &str,
        reference: &str,
        number: &str,
        call: &Call<'_>,
    ) -> Result<Option<Value>, CallFailure> {
        let found = self.get(&[collection], &[("externalRef", reference)], call).await?;
        let unreadable = || {
            let message = format!("the answer has no {number}");
            Doing::Asking.unclear(CallProblem::new("unreadable-answer", message))
        };
        let Some(found) = found else { return Ok(None) };
        let found = found.get("value").or_else(|| found.get("data")).cloned().unwrap_or(found);
        let rows = if let Value::Array(rows) = found { rows } else { vec![found] };
        match rows.as_slice() {
            [] => Ok(None),
            [record] if has_number(record, number) => Ok(Some(record.clone())),
            [_] => Err(unreadable()),
            _ => Err(CallFailure::permanent(
                "several-documents",
                format!("several records of {collection} have the external reference {reference}"),
            )),
        }
    }

    /// 409: the document is there already, or a record is locked.
    async fn conflict(
        &self,
        operation: &str,
        fields: &Map<String, Value>,
        answer: &Answer,
        call: &Call<'_>,
    ) -> Result<Value, CallFailure> {
        let problem = problem(answer);
        match error_code(answer).as_deref() {
            Some("record_locked") => {
                let after_ms = retry_after_ms(answer, call.context().now_seconds);
                Err(CallFailure::Retryable { problem, after_ms })
            }
            Some("duplicate_reference") => {
                let shape = write_shape(operation);
                if let Some(document) = existing_document(answer, shape.number) {
                    return Ok(document);
                }
                if !matches!(operation, "customer.create" | "invoice.create") {
                    return Err(CallFailure::Permanent { problem });
                }
                let reference = text(fields, "ExternalRef")?;
                let found = self.find(shape.collection, reference, shape.number, call).await?;
                found.ok_or(CallFailure::Permanent { problem })
            }
            _ => Err(call.refusal(Doing::Changing, answer, problem)),
        }
    }
}

fn idempotency_key(of: &str, operation: &str) -> Result<HeaderValue, CallFailure> {
    let key = format!("{of}:{operation}");
    let key = plain_header(&key).filter(|key| key.len() <= KEY_BYTES_MAX);
    key.ok_or_else(|| invalid("/ExternalRef", "must be visible ASCII, at most 200 characters"))
}

fn has_number(record: &Value, number: &str) -> bool {
    match record.get(number) {
        Some(Value::String(text)) => !text.trim().is_empty(),
        Some(Value::Number(_)) => true,
        _ => false,
    }
}

/// The document of an answer, its number without the padding of FoxPro's fixed widths.
fn document(body: &[u8], number: &str) -> Option<Value> {
    trimmed(serde_json::from_slice(body).ok()?, number)
}

fn trimmed(mut document: Value, number: &str) -> Option<Value> {
    if !has_number(&document, number) {
        return None;
    }
    if let Some(Value::String(text)) = document.get_mut(number) {
        *text = text.trim().to_owned();
    }
    Some(document)
}

/// The document that a `duplicate_reference` names: beside the error, inside it, or as its first detail.
fn existing_document(answer: &Answer, number: &str) -> Option<Value> {
    let body: Value = serde_json::from_slice(&answer.body).ok()?;
    let places = ["/existing", "/document", "/error/existing", "/error/document", "/error/details/0", ""];
    places.iter().filter_map(|place| body.pointer(place)).find_map(|found| trimmed(found.clone(), number))
}

fn error_code(answer: &Answer) -> Option<String> {
    let body: Value = serde_json::from_slice(&answer.body).ok()?;
    body.pointer("/error/code").and_then(Value::as_str).map(str::to_owned)
}

fn problem(answer: &Answer) -> CallProblem {
    let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let error = body.as_ref().and_then(|body| body.get("error")).filter(|error| error.is_object());
    let Some(error) = error else {
        let message = format!("the gateway answered {}", answer.status);
        return CallProblem::new(status_code(answer.status), message).with_detail(quote(answer));
    };
    let field = |name| error.get(name).and_then(Value::as_str);
    let code = field("code").map_or_else(|| status_code(answer.status).to_owned(), |c| c.replace('_', "-"));
    let message = field("message").unwrap_or("the gateway gave no reason");
    CallProblem::new(&code, message).with_detail(json!({"status": answer.status.as_u16(), "error": error}))
}

fn refusal(doing: Doing, answer: &Answer, call: &Call<'_>) -> CallFailure {
    let problem = problem(answer);
    let after_ms = retry_after_ms(answer, call.context().now_seconds);
    // With its own error code the gateway speaks for itself: it did not begin.
    match (answer.status.as_u16(), error_code(answer).as_deref()) {
        (503, Some("database_busy" | "maintenance")) => CallFailure::Retryable { problem, after_ms },
        _ => call.refusal(doing, answer, problem),
    }
}
