//! Stripe's API, reads only. Objects are handed on as Stripe sends them; lists that Stripe serves in pages
//! are joined. Source of the protocol: Stripe's API reference, version 2026-07-29.dahlia.

use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderMap, HeaderName, Method};
use portolan_domain::{
    Secret,
    verdict::{CallFailure, CallProblem},
};
use serde_json::{Map, Value, json};

use crate::{
    ConfigError, Connection, ConnectionConfig, Connector, Effect, Found, Operation,
    call::{Call, Doing, plain_header, quote, retry_after_ms, secret_header, status_code},
    connection::{Guarded, Scrub, System},
    outbound::{Answer, Outbound, Request},
    parameters::{invalid, object_of, text},
    settings::{Settings, refuse, refuse_secret},
};

/// Rows per page: the most Stripe gives.
const PAGE_ROWS: &str = "100";
/// Pages that are joined. A list of more rows is refused, not cut.
const PAGES_MAX: usize = 500;
/// Bytes of all pages of a list together.
const LIST_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The longest id.
const ID_BYTES_MAX: usize = 255;

const OPERATIONS: &[Operation] = &[
    Operation { name: "charge.get", effect: Effect::Read },
    Operation { name: "payment-intent.get", effect: Effect::Read },
    Operation { name: "customer.get", effect: Effect::Read },
    Operation { name: "product.get", effect: Effect::Read },
    Operation { name: "checkout-session.by-payment-intent", effect: Effect::Read },
    Operation { name: "invoice.get", effect: Effect::Read },
    Operation { name: "invoice.by-payment-intent", effect: Effect::Read },
    Operation { name: "balance-transaction.get", effect: Effect::Read },
    Operation { name: "balance-transactions.by-payout", effect: Effect::Read },
    Operation { name: "refunds.by-charge", effect: Effect::Read },
];

/// The connector `stripe`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stripe;

impl Connector for Stripe {
    fn name(&self) -> &'static str {
        "stripe"
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
        let base_url = settings.text_or("base_url", "https://api.stripe.com")?;
        let version = settings.text_or("api_version", "2026-07-29.dahlia")?;
        let account = settings.text("account")?;
        let limits = settings.limits()?;
        let api_key = settings.secret_required("api_key")?;
        settings.finish()?;

        let pool = outbound.pool(base_url, limits.timeout)?;
        let headers = headers(version, account, &api_key)?;
        let scrub = Scrub::new([&api_key]);
        let system = StripeSystem { headers };
        let connector = self.name();
        Ok(Guarded { connector, operations: OPERATIONS, system, pool, limits, scrub }.shared())
    }
}

fn headers(version: &str, account: Option<&str>, api_key: &Secret) -> Result<HeaderMap, ConfigError> {
    let authorization = secret_header(&format!("Bearer {}", api_key.expose()))
        .ok_or_else(|| refuse_secret("api_key", "must be visible ASCII: sk_… or rk_…"))?;
    let version =
        plain_header(version).ok_or_else(|| refuse("api_version", "must be like 2026-07-29.dahlia"))?;
    let mut headers = HeaderMap::from_iter([
        (http::header::AUTHORIZATION, authorization),
        (HeaderName::from_static("stripe-version"), version),
    ]);
    if let Some(account) = account {
        let account = plain_header(account).ok_or_else(|| refuse("account", "must be like acct_…"))?;
        headers.insert(HeaderName::from_static("stripe-account"), account);
    }
    Ok(headers)
}

#[derive(Debug)]
struct StripeSystem {
    headers: HeaderMap,
}

#[async_trait]
impl System for StripeSystem {
    async fn read(&self, operation: &str, parameters: &Value, call: &Call<'_>) -> Result<Found, CallFailure> {
        let found = match operation {
            "checkout-session.by-payment-intent" => {
                self.session(id(parameters, "payment_intent")?, call).await?
            }
            "invoice.get" => self.invoice(id(parameters, "id")?, call).await?,
            "invoice.by-payment-intent" => {
                self.invoice_of_intent(id(parameters, "payment_intent")?, call).await?
            }
            "balance-transactions.by-payout" => {
                let query = [("payout", id(parameters, "payout")?), ("expand[0]", "data.source")];
                self.list(&["v1", "balance_transactions"], &query, None, call).await?
            }
            "refunds.by-charge" => {
                let query = [("charge", id(parameters, "charge")?)];
                self.list(&["v1", "refunds"], &query, None, call).await?
            }
            "charge.get" => self.get(&["v1", "charges", id(parameters, "id")?], &[], call).await?,
            "payment-intent.get" => {
                self.get(&["v1", "payment_intents", id(parameters, "id")?], &[], call).await?
            }
            "customer.get" => self.get(&["v1", "customers", id(parameters, "id")?], &[], call).await?,
            "product.get" => self.get(&["v1", "products", id(parameters, "id")?], &[], call).await?,
            _ => self.get(&["v1", "balance_transactions", id(parameters, "id")?], &[], call).await?,
        };
        Ok(found.map_or(Found::No, Found::Yes))
    }

    async fn write(&self, _: &str, _: &Value, _: &Call<'_>) -> Result<Value, CallFailure> {
        Err(CallFailure::permanent("unknown-operation", "this connector only reads"))
    }

    /// Asks for a charge that does not exist: being told so takes a key with the right to read charges.
    async fn probe(&self, call: &Call<'_>) -> Result<(), CallFailure> {
        self.get(&["v1", "charges", "ch_portolan_probe"], &[], call).await.map(|_| ())
    }
}

impl StripeSystem {
    /// One object, or `None` when Stripe says that it does not exist.
    async fn get(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        call: &Call<'_>,
    ) -> Result<Option<Value>, CallFailure> {
        self.fetch(path, query, call).await.map(|found| found.map(|(object, _)| object))
    }

    async fn fetch(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        call: &Call<'_>,
    ) -> Result<Option<(Value, usize)>, CallFailure> {
        let url = call.pool().url(path, query).ok_or_else(|| invalid("", "holds an empty id"))?;
        let request = Request::new(Method::GET, url).headers(&self.headers);
        let answer = call.send(Doing::Asking, request).await?;
        if answer.status == http::StatusCode::OK {
            let object = serde_json::from_slice::<Value>(&answer.body).ok().filter(Value::is_object);
            let object =
                object.ok_or_else(|| Doing::Asking.unreadable(&answer, "the body is no JSON object"))?;
            return Ok(Some((object, answer.body.len())));
        }
        refused(&answer, call)
    }

    /// All pages of a list as one list of Stripe's shape. `first` is a page that is there already.
    async fn list(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        first: Option<Value>,
        call: &Call<'_>,
    ) -> Result<Option<Value>, CallFailure> {
        let mut joined: Option<Value> = None;
        let (mut next, mut bytes) = (first, 0_usize);
        for _ in 0..PAGES_MAX {
            let page = match next.take() {
                Some(page) => page,
                None => {
                    let last = joined.as_ref().and_then(last_id).map(str::to_owned);
                    let mut query = query.to_vec();
                    query.push(("limit", PAGE_ROWS));
                    query.extend(last.as_deref().map(|last| ("starting_after", last)));
                    let Some((page, page_bytes)) = self.fetch(path, &query, call).await? else {
                        return Ok(None);
                    };
                    bytes = bytes.saturating_add(page_bytes);
                    page
                }
            };
            let has_more = page.get("has_more").and_then(Value::as_bool).unwrap_or(false);
            let joined = join(&mut joined, page)?;
            if !has_more {
                return Ok(Some(joined.take()));
            }
            if bytes > LIST_BYTES_MAX {
                break;
            }
        }
        Err(CallFailure::permanent("too-many-rows", "the list is longer than can be joined"))
    }

    async fn session(&self, intent: &str, call: &Call<'_>) -> Result<Option<Value>, CallFailure> {
        let query = [("payment_intent", intent), ("limit", "1")];
        let page = self.get(&["v1", "checkout", "sessions"], &query, call).await?;
        // Newest first.
        let Some(mut session) = page.as_ref().and_then(|page| page.pointer("/data/0")).cloned() else {
            return Ok(None);
        };
        let session_id = own_id(&session)?;
        let path = ["v1", "checkout", "sessions", &session_id, "line_items"];
        let lines = self.list(&path, &[], None, call).await?;
        if let (Some(fields), Some(lines)) = (session.as_object_mut(), lines) {
            fields.insert("line_items".to_owned(), lines);
        }
        Ok(Some(session))
    }

    async fn invoice(&self, invoice_id: &str, call: &Call<'_>) -> Result<Option<Value>, CallFailure> {
        let Some(mut invoice) = self.get(&["v1", "invoices", invoice_id], &[], call).await? else {
            return Ok(None);
        };
        let first = invoice.get_mut("lines").map(Value::take).filter(|lines| last_id(lines).is_some());
        let lines = self.list(&["v1", "invoices", invoice_id, "lines"], &[], first, call).await?;
        if let (Some(fields), Some(lines)) = (invoice.as_object_mut(), lines) {
            fields.insert("lines".to_owned(), lines);
        }
        Ok(Some(invoice))
    }

    async fn invoice_of_intent(&self, intent: &str, call: &Call<'_>) -> Result<Option<Value>, CallFailure> {
        let query = [("payment[type]", "payment_intent"), ("payment[payment_intent]", intent)];
        let payments = self.list(&["v1", "invoice_payments"], &query, None, call).await?.unwrap_or_default();
        let rows = payments.get("data").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let live = rows.iter().filter(|row| row.get("status").and_then(Value::as_str) != Some("canceled"));
        let mut invoices: Vec<&str> =
            live.filter_map(|row| row.get("invoice")).filter_map(id_or_object).collect();
        invoices.sort_unstable();
        invoices.dedup();
        match invoices.as_slice() {
            [] => Ok(None),
            [invoice] => self.invoice(invoice, call).await,
            _ => Err(CallFailure::Permanent {
                problem: CallProblem::new("several-documents", "the payment pays several invoices")
                    .with_detail(json!({"invoices": invoices})),
            }),
        }
    }
}

/// Appends a page's rows to the list so far.
fn join(joined: &mut Option<Value>, page: Value) -> Result<&mut Value, CallFailure> {
    let unreadable = |why| Doing::Asking.unclear(CallProblem::new("unreadable-answer", why));
    let Value::Object(mut page) = page else { return Err(unreadable("a page is no object")) };
    let Some(Value::Array(rows)) = page.get_mut("data").map(Value::take) else {
        return Err(unreadable("a page has no rows"));
    };
    let has_more = page.insert("has_more".to_owned(), Value::Bool(false)) == Some(Value::Bool(true));
    let before = joined.as_ref().and_then(last_id).map(str::to_owned);
    let list = joined.get_or_insert_with(|| {
        page.insert("data".to_owned(), json!([]));
        Value::Object(page)
    });
    if let Some(data) = list.get_mut("data").and_then(Value::as_array_mut) {
        data.extend(rows);
    }
    // A page that says there is more and does not move on would be asked for again and again.
    if has_more && (last_id(list).is_none() || last_id(list) == before.as_deref()) {
        return Err(unreadable("a page says there is more, and names nothing to go on from"));
    }
    Ok(list)
}

fn last_id(list: &Value) -> Option<&str> {
    list.get("data")?.as_array()?.last()?.get("id")?.as_str()
}

fn id_or_object(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("id")?.as_str())
}

/// An id that Stripe itself gave, fit for a path.
fn own_id(object: &Value) -> Result<String, CallFailure> {
    let id = object.get("id").and_then(Value::as_str).filter(|id| is_id(id)).map(str::to_owned);
    id.ok_or_else(|| Doing::Asking.unclear(CallProblem::new("unreadable-answer", "an object has no id")))
}

fn is_id(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    !text.is_empty() && text.len() <= ID_BYTES_MAX && text.bytes().all(fits)
}

/// The only parameter, an id: it goes into paths, so nothing else may be in it.
fn id<'a>(parameters: &'a Value, name: &str) -> Result<&'a str, CallFailure> {
    let id = text(object_of(parameters, &[name])?, name)?;
    if is_id(id) { Ok(id) } else { Err(invalid(&format!("/{name}"), "is not an id of Stripe")) }
}

/// What an answer other than 200 means. An object that does not exist is an answer.
fn refused<T>(answer: &Answer, call: &Call<'_>) -> Result<Option<T>, CallFailure> {
    let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let error = body.as_ref().and_then(|body| body.get("error")).and_then(Value::as_object);
    let field = |name: &str| error.and_then(|error| error.get(name)).and_then(Value::as_str);
    let status = answer.status.as_u16();
    if matches!(status, 400 | 404) && field("code") == Some("resource_missing") {
        return Ok(None);
    }
    let problem = problem(answer, error);
    let after_ms = retry_after_ms(answer, call.context().now_seconds);
    // Stripe's own advice goes before the status, except that no advice makes a refused key worth repeating.
    Err(match (answer.header("stripe-should-retry"), status) {
        (_, 401 | 403) => CallFailure::Unauthorized { problem },
        (Some("true"), _) | (None, 409 | 429 | 500..) => CallFailure::Retryable { problem, after_ms },
        (Some("false"), _) => CallFailure::Permanent { problem },
        _ => call.refusal(Doing::Asking, answer, problem),
    })
}

fn problem(answer: &Answer, error: Option<&Map<String, Value>>) -> CallProblem {
    let status = answer.status;
    let Some(error) = error else {
        return CallProblem::new(status_code(status), format!("Stripe answered {status}"))
            .with_detail(quote(answer));
    };
    let mut detail = Map::from_iter([("status".to_owned(), json!(status.as_u16()))]);
    for name in ["type", "code", "decline_code", "param", "message"] {
        detail.extend(error.get(name).map(|value| (name.to_owned(), value.clone())));
    }
    if let Some(request_id) = answer.header("request-id") {
        detail.insert("request_id".to_owned(), json!(request_id));
    }
    let message = error.get("message").and_then(Value::as_str).unwrap_or("Stripe gave no reason");
    let code = match error.get("code").and_then(Value::as_str) {
        Some(code) => code.replace('_', "-"),
        None => status_code(status).to_owned(),
    };
    CallProblem::new(&code, message).with_detail(Value::Object(detail))
}
