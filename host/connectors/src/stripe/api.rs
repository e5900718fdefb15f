//! Requests to Stripe: paced, with the headers of the API's generation, pages joined.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use portolan_domain::verdict::{CallFailure, CallProblem};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::{form, pace::Pace, refusals::Refused};
use crate::{
    call::{Call, Doing, plain_header},
    outbound::{Answer, Request},
    parameters::{invalid, object_of, text},
};

/// Rows per page: the most Stripe gives.
const PAGE_ROWS: &str = "100";
/// Pages that are joined. A list of more rows is refused, not cut.
const PAGES_MAX: usize = 500;
/// Bytes of all pages of a list together.
const LIST_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The longest id.
const ID_BYTES_MAX: usize = 255;

/// What every write's idempotency key begins with: an event whose `request.idempotency_key` begins so is our own doing.
const KEY_PREFIX: &str = "portolan-";

/// Query parameters.
pub(super) type Query<'a> = [(&'a str, &'a str)];

/// A change about to be asked for.
pub(super) struct Change<'a> {
    pub(super) method: Method,
    pub(super) path: &'a [&'a str],
    pub(super) fields: &'a Map<String, Value>,
    /// Whether an answer that is not understood may be quoted in a problem: not where it may hold a secret.
    pub(super) quoted: bool,
    /// Whether the key is one of these very bytes: for what may be done once more with others.
    pub(super) key_of_bytes: bool,
}

/// Stripe's API with one key.
#[derive(Debug)]
pub(super) struct Api {
    /// For `/v1/`.
    pub(super) headers: HeaderMap,
    /// For `/v2/`, where the account is called the context.
    pub(super) headers_v2: HeaderMap,
    pub(super) pace: Pace,
}

impl Api {
    /// Sends a request when its turn has come.
    async fn send(&self, doing: Doing, request: Request, call: &Call<'_>) -> Result<Answer, CallFailure> {
        let wait = self.pace.take(Instant::now(), call.time_left());
        let waited = match wait {
            Some(wait) => wait.is_zero() || call.pause(wait).await,
            None => false,
        };
        if !waited {
            let text = "too many requests wait for their turn (requests_per_second of the connection)";
            return Err(CallFailure::retryable("paced", text));
        }
        let answer = call.send(doing, request).await?;
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            self.pace.drain(Instant::now());
        }
        Ok(answer)
    }

    /// One object and the bytes it came in, or `None` when Stripe says that it does not exist.
    pub(super) async fn fetch(
        &self,
        path: &[&str],
        query: &Query<'_>,
        call: &Call<'_>,
    ) -> Result<Option<(Value, usize)>, CallFailure> {
        let url = call.pool().url(path, query).ok_or_else(|| invalid("", "holds an empty id"))?;
        let headers = if path.first() == Some(&"v2") { &self.headers_v2 } else { &self.headers };
        let request = Request::new(Method::GET, url).headers(headers);
        let answer = self.send(Doing::Asking, request, call).await?;
        if answer.status == StatusCode::OK {
            let object = serde_json::from_slice::<Value>(&answer.body).ok().filter(Value::is_object);
            let object =
                object.ok_or_else(|| Doing::Asking.unreadable(&answer, "the body is no JSON object"))?;
            return Ok(Some((object, answer.body.len())));
        }
        let refused = Refused::read(&answer, true);
        if refused.is_missing(answer.status) {
            return Ok(None);
        }
        Err(refused.failure(Doing::Asking, &answer, call))
    }

    /// One object, or `None` when Stripe says that it does not exist.
    pub(super) async fn get(
        &self,
        path: &[&str],
        query: &Query<'_>,
        call: &Call<'_>,
    ) -> Result<Option<Value>, CallFailure> {
        self.fetch(path, query, call).await.map(|found| found.map(|(object, _)| object))
    }

    /// Makes a change of API v1 and gives the object that Stripe answers with; `None` when what was to be changed
    /// does not exist.
    pub(super) async fn change(
        &self,
        change: &Change<'_>,
        call: &Call<'_>,
    ) -> Result<Option<Value>, CallFailure> {
        let url =
            call.pool().url(change.path, &[]).ok_or_else(|| invalid("/id", "is not an id of Stripe"))?;
        let body = form::encode(change.fields)?;
        let mut key = format!("{KEY_PREFIX}{}", call.context().call_id);
        if change.key_of_bytes {
            key.push('-');
            key.extend(Sha256::digest(&body).iter().take(8).map(|byte| format!("{byte:02x}")));
        }
        let key = plain_header(&key).unwrap_or_else(|| HeaderValue::from_static(KEY_PREFIX));
        let request = Request::new(change.method.clone(), url)
            .headers(&self.headers)
            .header(HeaderName::from_static("idempotency-key"), key)
            .body("application/x-www-form-urlencoded", body);
        let answer = self.send(Doing::Changing, request, call).await?;
        if answer.status.is_success() {
            let object = serde_json::from_slice::<Value>(&answer.body).ok().filter(|o| id_of(o).is_some());
            return object.map(Some).ok_or_else(|| {
                let why = "the answer is no object of Stripe";
                if change.quoted {
                    return Doing::Changing.unreadable(&answer, why);
                }
                Doing::Changing.unclear(CallProblem::new("unreadable-answer", why))
            });
        }
        let refused = Refused::read(&answer, change.quoted);
        let names_itself = answer.status == StatusCode::NOT_FOUND && refused.is_missing(answer.status);
        if names_itself && change.method == Method::DELETE {
            return Ok(None);
        }
        Err(refused.failure(Doing::Changing, &answer, call))
    }

    /// All pages of a list as one list of Stripe's shape. `first` is a page that is there already.
    pub(super) async fn list(
        &self,
        path: &[&str],
        query: &Query<'_>,
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
            let has_more = has_more(&page);
            let joined = join(&mut joined, page)?;
            if !has_more {
                return Ok(Some(joined.take()));
            }
            if bytes > LIST_BYTES_MAX {
                break;
            }
        }
        Err(too_many_rows())
    }

    /// All pages of a search, which names its next page instead of the last row.
    pub(super) async fn search(
        &self,
        path: &[&str],
        query: &str,
        call: &Call<'_>,
    ) -> Result<Option<Value>, CallFailure> {
        let mut joined: Option<Value> = None;
        let (mut page_name, mut bytes) = (None::<String>, 0_usize);
        while bytes <= LIST_BYTES_MAX {
            let mut parameters = vec![("query", query), ("limit", PAGE_ROWS)];
            parameters.extend(page_name.as_deref().map(|page| ("page", page)));
            let Some((mut page, page_bytes)) = self.fetch(path, &parameters, call).await? else {
                return Ok(None);
            };
            bytes = bytes.saturating_add(page_bytes);
            let next =
                page.get_mut("next_page").map(Value::take).and_then(|next| next.as_str().map(str::to_owned));
            let has_more = has_more(&page);
            let joined = join(&mut joined, page)?;
            if !has_more {
                return Ok(Some(joined.take()));
            }
            if next.is_none() || next == page_name {
                return Err(unreadable("a page says there is more, and names no next page"));
            }
            page_name = next;
        }
        Err(too_many_rows())
    }
}

fn too_many_rows() -> CallFailure {
    CallFailure::permanent("too-many-rows", "the list is longer than can be joined")
}

fn unreadable(why: &str) -> CallFailure {
    Doing::Asking.unclear(CallProblem::new("unreadable-answer", why))
}

/// Whether a page says that there are more.
pub(super) fn has_more(page: &Value) -> bool {
    page.get("has_more").and_then(Value::as_bool).unwrap_or(false)
}

/// Appends a page's rows to the list so far.
fn join(joined: &mut Option<Value>, page: Value) -> Result<&mut Value, CallFailure> {
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

/// The id of a list's last row.
pub(super) fn last_id(list: &Value) -> Option<&str> {
    list.get("data")?.as_array()?.last().and_then(id_of)
}

/// An object's id.
pub(super) fn id_of(object: &Value) -> Option<&str> {
    object.get("id")?.as_str()
}

/// An id that Stripe itself gave, fit for a path.
pub(super) fn own_id(object: &Value) -> Result<String, CallFailure> {
    let id = id_of(object).filter(|id| is_id(id)).map(str::to_owned);
    id.ok_or_else(|| unreadable("an object has no id"))
}

/// Whether a text can be an id, and so a segment of a path.
pub(super) fn is_id(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    !text.is_empty() && text.len() <= ID_BYTES_MAX && text.bytes().all(fits)
}

/// The only parameter, an id: it goes into paths, so nothing else may be in it.
pub(super) fn id<'a>(parameters: &'a Value, name: &str) -> Result<&'a str, CallFailure> {
    let fields = object_of(parameters, &[name])?;
    id_in(fields, name)
}

/// The id among other fields.
pub(super) fn id_in<'a>(fields: &'a Map<String, Value>, name: &str) -> Result<&'a str, CallFailure> {
    let id = text(fields, name)?;
    if is_id(id) { Ok(id) } else { Err(invalid(&format!("/{name}"), "is not an id of Stripe")) }
}
