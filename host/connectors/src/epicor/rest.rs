//! Epicor REST on the wire, v2 and v1: addresses, OData filters, methods, and what its errors mean.
//! Used by the operations beside it; knows no operation itself.

use http::Method;
use portolan_domain::verdict::{CallFailure, CallProblem};
use serde_json::{Map, Value, json};
use url::Url;

use super::access::Access;
use crate::{
    call::{Call, Doing, quote, retry_after_ms, status_code},
    outbound::{Answer, Request},
    parameters::invalid,
};

/// Rows of a page, as Epicor hands them out when nothing is said.
const PAGE_ROWS: usize = 100;

/// Which of Epicor's two REST interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Api {
    /// The company is in the path, an API key is wanted besides a login.
    V2,
    /// The company is in the header `CallSettings`.
    V1,
}

/// Where things are.
#[derive(Debug)]
pub(super) struct Address {
    pub(super) company: String,
    pub(super) api: Api,
}

/// How Epicor is spoken to.
#[derive(Debug)]
pub(super) struct Rest {
    pub(super) address: Address,
    pub(super) access: Access,
}

/// A question to an entity set.
pub(super) struct Question<'a> {
    pub(super) service: &'a str,
    pub(super) set: &'a str,
    pub(super) filter: &'a str,
    /// Always given: heavy services answer 500 without it.
    pub(super) select: &'a str,
    pub(super) expand: Option<&'a str>,
}

/// One request, as often as it must be made.
struct Wire<'a> {
    doing: Doing,
    method: Method,
    url: Url,
    body: Option<&'a Value>,
}

impl Address {
    /// The address of an entity set or method of a service: its path, in order.
    pub(super) fn url(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        call: &Call<'_>,
    ) -> Result<Url, CallFailure> {
        let mut segments = match self.api {
            Api::V2 => vec!["api", "v2", "odata", self.company.as_str()],
            Api::V1 => vec!["api", "v1"],
        };
        segments.extend(path);
        call.pool().url(&segments, query).ok_or_else(|| invalid("", "holds an empty key"))
    }
}

/// A text as an OData literal: in single quotes, which are doubled inside.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

impl Rest {
    /// The first rows that answer the question; two are enough to know that there are several.
    pub(super) async fn rows(
        &self,
        question: &Question<'_>,
        call: &Call<'_>,
    ) -> Result<Vec<Value>, CallFailure> {
        let mut query = vec![("$filter", question.filter), ("$select", question.select), ("$top", "2")];
        query.extend(question.expand.map(|expand| ("$expand", expand)));
        self.page(&[question.service, question.set], &query, call).await
    }

    /// A page of rows.
    pub(super) async fn page(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        call: &Call<'_>,
    ) -> Result<Vec<Value>, CallFailure> {
        let url = self.address.url(path, query, call)?;
        let wire = Wire { doing: Doing::Asking, method: Method::GET, url, body: None };
        let answer = self.exchange(wire, call).await?;
        if answer.status != http::StatusCode::OK {
            return Err(refusal(Doing::Asking, &answer, call));
        }
        let mut body = json_body(Doing::Asking, &answer)?;
        match body.get_mut("value").map(Value::take) {
            Some(Value::Array(rows)) => Ok(rows),
            _ => Err(Doing::Asking.unreadable(&answer, "the answer has no rows")),
        }
    }

    /// All rows that answer the question, page by page, at most `rows_max`; and whether there are more.
    pub(super) async fn pages(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        rows_max: usize,
        call: &Call<'_>,
    ) -> Result<(Vec<Value>, bool), CallFailure> {
        let mut rows: Vec<Value> = Vec::new();
        loop {
            // One more than may be had, which tells whether there are more.
            let top = PAGE_ROWS.min(rows_max + 1 - rows.len());
            let (top_text, skip) = (top.to_string(), rows.len().to_string());
            let mut query = query.to_vec();
            query.extend([("$top", top_text.as_str()), ("$skip", skip.as_str())]);
            let page = self.page(path, &query, call).await?;
            let last = page.len() < top;
            rows.extend(page);
            if rows.len() > rows_max {
                rows.truncate(rows_max);
                return Ok((rows, true));
            }
            if last {
                return Ok((rows, false));
            }
        }
    }

    /// The one row that answers the question, or none.
    pub(super) async fn row(
        &self,
        question: &Question<'_>,
        call: &Call<'_>,
    ) -> Result<Option<Value>, CallFailure> {
        let mut rows = self.rows(question, call).await?;
        match (rows.pop(), rows.is_empty()) {
            (row, true) => Ok(row),
            (_, false) => Err(CallFailure::Permanent {
                problem: CallProblem::new(
                    "several-documents",
                    format!("several rows of {} answer to {}", question.set, question.filter),
                ),
            }),
        }
    }

    /// Creates a row and gives it back as stored.
    pub(super) async fn create(
        &self,
        service: &str,
        set: &str,
        row: &Value,
        call: &Call<'_>,
    ) -> Result<Value, CallFailure> {
        let url = self.address.url(&[service, set], &[], call)?;
        let wire = Wire { doing: Doing::Changing, method: Method::POST, url, body: Some(row) };
        let answer = self.exchange(wire, call).await?;
        match answer.status.as_u16() {
            200 | 201 => json_body(Doing::Changing, &answer),
            _ => Err(refusal(Doing::Changing, &answer, call)),
        }
    }

    /// Changes fields of the row with this key.
    pub(super) async fn change(
        &self,
        service: &str,
        set: &str,
        key: &str,
        (fields, call): (&Value, &Call<'_>),
    ) -> Result<(), CallFailure> {
        let set = format!("{set}({},{key})", literal(&self.address.company));
        let url = self.address.url(&[service, &set], &[], call)?;
        let wire = Wire { doing: Doing::Changing, method: Method::PATCH, url, body: Some(fields) };
        let answer = self.exchange(wire, call).await?;
        match answer.status.as_u16() {
            200 | 204 => Ok(()),
            _ => Err(refusal(Doing::Changing, &answer, call)),
        }
    }

    /// Calls a method. `doing` says whether it stores anything: most only fill in a dataset.
    pub(super) async fn method(
        &self,
        (doing, call): (Doing, &Call<'_>),
        service: &str,
        method: &str,
        parameters: &Value,
    ) -> Result<Value, CallFailure> {
        let url = self.address.url(&[service, method], &[], call)?;
        self.post((doing, call), url, parameters).await
    }

    /// Posts to an address beside the services'.
    pub(super) async fn post(
        &self,
        (doing, call): (Doing, &Call<'_>),
        url: Url,
        parameters: &Value,
    ) -> Result<Value, CallFailure> {
        let wire = Wire { doing, method: Method::POST, url, body: Some(parameters) };
        let answer = self.exchange(wire, call).await?;
        match answer.status.as_u16() {
            200 | 201 => json_body(doing, &answer),
            204 => Ok(Value::Null),
            _ => Err(refusal(doing, &answer, call)),
        }
    }

    /// Calls a method that only reads: v2 serves these by GET.
    pub(super) async fn method_by_get(
        &self,
        service: &str,
        method: &str,
        query: &[(&str, &str)],
        call: &Call<'_>,
    ) -> Result<Value, CallFailure> {
        let url = self.address.url(&[service, method], query, call)?;
        let wire = Wire { doing: Doing::Asking, method: Method::GET, url, body: None };
        let answer = self.exchange(wire, call).await?;
        match answer.status.as_u16() {
            200 => json_body(Doing::Asking, &answer),
            _ => Err(refusal(Doing::Asking, &answer, call)),
        }
    }

    /// Makes the request; once more where the answer says that nothing was done because a token or a session had
    /// ended.
    async fn exchange(&self, wire: Wire<'_>, call: &Call<'_>) -> Result<Answer, CallFailure> {
        let body = wire.body.map(Value::to_string);
        let request = |headers: &http::HeaderMap| {
            let request = Request::new(wire.method.clone(), wire.url.clone()).headers(headers);
            match &body {
                Some(body) => request.body("application/json", body.clone()),
                None => request,
            }
        };
        let headers = self.access.enter(&self.address, call).await?;
        let answer = call.send(wire.doing, request(&headers)).await?;
        if !self.access.has_ended(&answer, &headers).await {
            return Ok(answer);
        }
        let headers = self.access.enter(&self.address, call).await?;
        call.send(wire.doing, request(&headers)).await
    }
}

/// What an answer that is not success means.
pub(super) fn refusal(doing: Doing, answer: &Answer, call: &Call<'_>) -> CallFailure {
    let error = serde_json::from_slice::<Value>(&answer.body).ok().filter(is_error);
    let Some(error) = error else {
        let message = format!("Epicor answered {}", answer.status);
        let problem = CallProblem::new(status_code(answer.status), message).with_detail(quote(answer));
        return call.refusal(doing, answer, problem);
    };
    let kind = error_kind(&error);
    let text = error_text(&error);
    let after_ms = retry_after_ms(answer, call.context().now_seconds);
    let problem = |code: &str| {
        let detail = json!({"status": answer.status.as_u16(), "error": error});
        CallProblem::new(code, text.clone()).with_detail(detail)
    };
    match answer.status.as_u16() {
        400 | 409 if speaks_of_a_change(&text) => {
            CallFailure::Retryable { problem: problem("record-modified"), after_ms }
        }
        400 | 409 if speaks_of_a_lock(&text) => {
            CallFailure::Retryable { problem: problem("record-locked"), after_ms }
        }
        400 | 409 if speaks_of_licences(&text) => {
            CallFailure::Retryable { problem: problem("licences-exhausted"), after_ms }
        }
        400 | 409 if kind == "DuplicateRecordException" || speaks_of_a_duplicate(&text) => {
            CallFailure::Permanent { problem: problem("duplicate-record") }
        }
        400 => CallFailure::Permanent { problem: problem("data-refused") },
        410 => CallFailure::Retryable { problem: problem("session-ended"), after_ms },
        // Epicor's own error object: the application answered, it did not lose a call half-way.
        503 => CallFailure::Retryable { problem: problem("unavailable"), after_ms },
        _ => call.refusal(doing, answer, problem(status_code(answer.status))),
    }
}

fn is_error(body: &Value) -> bool {
    body.get("ErrorMessage").is_some() || body.get("ErrorType").is_some()
}

/// The last part of the error's type: `BusinessObjectException`.
fn error_kind(error: &Value) -> &str {
    let kind = error.get("ErrorType").and_then(Value::as_str).unwrap_or_default();
    kind.rsplit('.').next().unwrap_or(kind)
}

fn error_text(error: &Value) -> String {
    let places = [error.get("ErrorMessage"), error.pointer("/ErrorDetails/0/Message")];
    let texts = places.into_iter().flatten().filter_map(Value::as_str).map(str::trim);
    let text = texts.into_iter().find(|text| !text.is_empty());
    text.unwrap_or("Epicor gave no reason").to_owned()
}

fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase)
}

/// Somebody else has written the row since it was read.
fn speaks_of_a_change(text: &str) -> bool {
    text.to_lowercase().contains("has been modified by another user")
}

/// By whole words: `blocked` and `stock` are not about locks.
fn speaks_of_a_lock(text: &str) -> bool {
    let lower = text.to_lowercase();
    words(text).any(|word| matches!(word.as_str(), "lock" | "locked" | "deadlock" | "deadlocked"))
        || ["in use by", "another user"].iter().any(|phrase| lower.contains(phrase))
}

fn speaks_of_licences(text: &str) -> bool {
    let has = |wanted: &[&str]| words(text).any(|word| wanted.contains(&word.as_str()));
    has(&["license", "licenses", "licence", "licences"])
        || (has(&["maximum", "max"]) && has(&["users", "sessions", "user", "session"]))
}

fn speaks_of_a_duplicate(text: &str) -> bool {
    let lower = text.to_lowercase();
    ["duplicate", "already exists"].iter().any(|phrase| lower.contains(phrase))
}

fn json_body(doing: Doing, answer: &Answer) -> Result<Value, CallFailure> {
    let body = serde_json::from_slice::<Value>(&answer.body).ok().filter(Value::is_object);
    body.ok_or_else(|| doing.unreadable(answer, "the body is no JSON object"))
}

/// These fields of a row.
pub(super) fn pick(row: &Value, names: &[&str]) -> Value {
    let field = |name: &&str| row.get(*name).map(|value| ((*name).to_owned(), value.clone()));
    Value::Object(names.iter().filter_map(field).collect())
}

/// The dataset in a method's answer: as a parameter handed back, or as its result.
pub(super) fn dataset(doing: Doing, answer: &Value) -> Result<Value, CallFailure> {
    let found = [answer.pointer("/parameters/ds"), answer.get("returnObj")];
    let dataset = found.into_iter().flatten().find(|found| found.is_object()).cloned();
    let problem = || CallProblem::new("unreadable-answer", "the answer of the method has no dataset");
    dataset.ok_or_else(|| doing.unclear(problem().with_detail(answer.clone())))
}

/// The row of a dataset's table that is to be added: marked so, or else the last.
pub(super) fn new_row<'a>(
    dataset: &'a mut Value,
    table: &str,
) -> Result<&'a mut Map<String, Value>, CallFailure> {
    let rows = dataset.get_mut(table).and_then(Value::as_array_mut);
    let row = rows.and_then(|rows| {
        let marked = rows.iter().rposition(|row| row.get("RowMod").and_then(Value::as_str) == Some("A"));
        let index = marked.or(rows.len().checked_sub(1))?;
        rows.get_mut(index)?.as_object_mut()
    });
    let problem = || CallProblem::new("unreadable-answer", format!("the dataset has no row of {table}"));
    row.ok_or_else(|| Doing::Asking.unclear(problem()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_doubled_in_literals() {
        assert_eq!(literal("O'Neil"), "'O''Neil'");
        assert_eq!(literal("x' or 1 eq 1 or 'a' eq 'a"), "'x'' or 1 eq 1 or ''a'' eq ''a'");
    }

    #[test]
    fn locks_and_licences_are_told_by_whole_words() {
        assert!(speaks_of_a_lock("Record is locked by MANAGER"));
        assert!(speaks_of_a_lock("Cash Group is in use by another session"));
        assert!(speaks_of_a_change("Row has been modified by another user and couldn't be updated."));
        assert!(!speaks_of_a_change("Record is in use by another user."));
        assert!(!speaks_of_a_lock("Customer is blocked. Out of stock. LockPrice is required"));
        assert!(speaks_of_licences("Maximum number of users exceeded"));
        assert!(speaks_of_licences("No license available"));
        assert!(!speaks_of_licences("Maximum quantity exceeded"));
    }

    #[test]
    fn the_row_to_add_is_the_marked_one() {
        let mut dataset =
            json!({"OrderDtl": [{"OrderLine": 1, "RowMod": ""}, {"OrderLine": 0, "RowMod": "A"}]});
        assert_eq!(new_row(&mut dataset, "OrderDtl").unwrap()["OrderLine"], json!(0));
        assert!(new_row(&mut dataset, "OrderHed").is_err());
        assert!(new_row(&mut json!({"OrderHed": []}), "OrderHed").is_err());
    }
}
