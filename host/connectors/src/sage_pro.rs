//! The Sage Pro gateway: JSON over HTTP in front of Sage Pro's tables, recognising repeats by
//! `Idempotency-Key` and by `ExternalRef`. Contract: `docs/sage-pro-gateway.md` and, for the shapes,
//! `docs/sage-pro-gateway.openapi.json`, against which a test holds every request that is made here.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use portolan_domain::{
    class::WriteClass,
    verdict::{CallFailure, CallProblem},
};
use portolan_proof::{Bug, has};
use serde_json::{Map, Value};

mod answers;
mod customers;

use answers::{document, error_code, existing_document, has_number, problem, refusal, tagged};

use crate::{
    ConfigError, Connection, ConnectionConfig, Connector, Effect, Found, Operation,
    call::{Call, Doing, plain_header, retry_after_ms, secret_header},
    connection::{Guarded, Scrub, System},
    outbound::{Answer, Outbound, Request},
    parameters::{invalid, object, object_of, text},
    settings::{Settings, refuse, refuse_secret},
};

/// The gateway keeps keys for at least 30 days, references for ever: `docs/sage-pro-gateway.md`, "Repeats". A day is left
/// for clocks.
const JOURNAL_KEPT: Duration = Duration::from_secs(29 * 24 * 3_600);

/// The longest `Idempotency-Key`.
const KEY_BYTES_MAX: usize = 255;

/// The gateway writes key and reference into its journal in the transaction that makes the document.
const JOURNALLED: Effect = Effect::Write(WriteClass::TransferId { remembered: JOURNAL_KEPT });

const fn read(name: &'static str) -> Operation {
    Operation { name, effect: Effect::Read }
}

const fn write(name: &'static str) -> Operation {
    Operation { name, effect: JOURNALLED }
}

/// A PUT: the same again changes nothing.
const fn put(name: &'static str) -> Operation {
    Operation { name, effect: Effect::Write(WriteClass::Repeatable) }
}

const OPERATIONS: &[Operation] = &[
    read("customer.find"),
    read("customer.get"),
    read("customers.by-email"),
    read("customers.changed"),
    read("invoice.find"),
    read("invoices.open"),
    read("credit-memo.find"),
    read("cash-receipt.find"),
    read("gl-journal.find"),
    read("item.get"),
    write("customer.create"),
    put("customer.update"),
    put("customer.hold"),
    write("invoice.create"),
    put("invoice.hold"),
    write("credit-memo.create"),
    write("credit-memo.void"),
    write("cash-receipt.create"),
    write("gl-journal.post"),
    write("gl-journal.reverse"),
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

/// The collection of an operation's documents, and the field that holds their number.
fn collection(operation: &str) -> (&'static str, &'static str) {
    match operation.split('.').next() {
        Some("customer") => ("Customer", "CustNo"),
        Some("invoice") => ("Invoice", "InvNo"),
        Some("credit-memo") => ("CreditMemo", "InvNo"),
        Some("cash-receipt") => ("CashReceipt", "ReceiptNo"),
        _ => ("GLJournal", "JournalNo"),
    }
}

/// What an operation does to a document that is there, as the last part of its path.
fn action(operation: &str) -> Option<&'static str> {
    match operation {
        "customer.hold" | "invoice.hold" => Some("Hold"),
        "credit-memo.void" => Some("Void"),
        "gl-journal.reverse" => Some("Reversal"),
        _ => None,
    }
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
            "customer.get" => self.get(&["Customer", of("CustNo")?], &[], call).await?,
            "customers.by-email" => self.get(&["Customer"], &[("email", of("Email")?)], call).await?,
            "customers.changed" => Some(self.changed(parameters, call).await?),
            "invoices.open" => {
                self.get(&["Invoice"], &[("order", of("Order")?), ("open", "true")], call).await?
            }
            "item.get" => self.get(&["Item", of("Item")?], &[], call).await?,
            _ => {
                let (collection, number) = collection(operation);
                let fields = object_of(parameters, &["ExternalRef", number])?;
                match fields.get(number).filter(|_| number != "CustNo") {
                    Some(_) => self.get(&[collection, text(fields, number)?], &[], call).await?,
                    None => self.find(collection, text(fields, "ExternalRef")?, number, call).await?,
                }
            }
        };
        Ok(found.map_or(Found::No, Found::Yes))
    }

    async fn write(&self, operation: &str, body: &Value, call: &Call<'_>) -> Result<Value, CallFailure> {
        let fields = object(body)?;
        match (operation, action(operation)) {
            ("customer.update", _) => self.customer_update(fields, call).await,
            (_, Some(action)) => self.act(operation, action, fields, call).await,
            (_, None) => {
                let url = call.pool().url(&[collection(operation).0], &[]);
                let url = url.ok_or_else(|| invalid("", "holds no usable number"))?;
                let mut of = text(fields, "ExternalRef")?;
                if has(Bug::FreshKeyPerAttempt) {
                    of = &call.context().call_id;
                }
                let key = idempotency_key(of, operation)?;
                let request = self.request(Method::POST, url, key).body("application/json", body.to_string());
                self.send(operation, fields, request, call).await
            }
        }
    }

    async fn probe(&self, call: &Call<'_>) -> Result<(), CallFailure> {
        // A customer that does not exist: the health page answers without asking for the key.
        self.find("Customer", "portolan-probe", "CustNo", call).await.map(|_| ())
    }
}

impl Gateway {
    fn request(&self, method: Method, url: url::Url, key: HeaderValue) -> Request {
        Request::new(method, url)
            .headers(&self.headers)
            .header(HeaderName::from_static("idempotency-key"), key)
    }

    /// Makes a write; its answer holds the document's number.
    async fn send(
        &self,
        operation: &str,
        fields: &Map<String, Value>,
        request: Request,
        call: &Call<'_>,
    ) -> Result<Value, CallFailure> {
        let (_, number) = collection(operation);
        let answer = call.send(Doing::Changing, request).await?;
        match answer.status.as_u16() {
            200 | 201 => document(&answer.body, number)
                .ok_or_else(|| Doing::Changing.unreadable(&answer, &format!("the answer has no {number}"))),
            409 => self.conflict(operation, fields, &answer, call).await,
            _ => Err(refusal(Doing::Changing, &answer, call)),
        }
    }

    /// Holds, voids, reverses a document that is there.
    async fn act(
        &self,
        operation: &str,
        action: &str,
        fields: &Map<String, Value>,
        call: &Call<'_>,
    ) -> Result<Value, CallFailure> {
        let (collection, number) = collection(operation);
        let mut body = fields.clone();
        body.remove(number);
        let url = call.pool().url(&[collection, text(fields, number)?, action], &[]);
        let url = url.ok_or_else(|| invalid(&format!("/{number}"), "is not a number of a document"))?;
        let reference = text(fields, "ExternalRef")?;
        // The same hold may be set and lifted many times: the delivery tells them apart.
        let (method, key) = match action {
            "Hold" => (Method::PUT, idempotency_key(&call.context().call_id, operation)?),
            _ => (Method::POST, idempotency_key(reference, operation)?),
        };
        let request =
            self.request(method, url, key).body("application/json", Value::Object(body).to_string());
        self.send(operation, fields, request, call).await
    }

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
            200 => tagged(&answer)
                .map(Some)
                .ok_or_else(|| Doing::Asking.unreadable(&answer, "the body is no JSON")),
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
            // Another record has it: of a change there is no document that could stand in.
            Some("duplicate_reference")
                if !matches!(operation, "customer.update" | "customer.hold" | "invoice.hold") =>
            {
                let (collection, number) = collection(operation);
                if let Some(document) = existing_document(answer, number) {
                    return Ok(document);
                }
                let reference = text(fields, "ExternalRef")?;
                let found = self.find(collection, reference, number, call).await?;
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
