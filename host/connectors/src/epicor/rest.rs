//! Epicor REST v2 on the wire: addresses, headers, OData filters, methods, and what its errors mean.
//! Used by the operations beside it; knows no operation itself.

use http::{HeaderMap, Method};
use portolan_domain::verdict::{CallFailure, CallProblem};
use serde_json::{Map, Value, json};

use crate::{
    call::{Call, Doing, quote, retry_after_ms, status_code},
    outbound::{Answer, Request},
    parameters::invalid,
};

/// How Epicor is spoken to.
#[derive(Debug)]
pub(super) struct Rest {
    pub(super) company: String,
    pub(super) headers: HeaderMap,
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
        let request = self.request(Method::GET, &[question.service, question.set], &query, call)?;
        let answer = call.send(Doing::Asking, request).await?;
        if answer.status != http::StatusCode::OK {
            return Err(self.refusal(Doing::Asking, &answer, call));
        }
        let mut body = json_body(Doing::Asking, &answer)?;
        match body.get_mut("value").map(Value::take) {
            Some(Value::Array(rows)) => Ok(rows),
            _ => Err(Doing::Asking.unreadable(&answer, "the answer has no rows")),
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
        let request = self.request(Method::POST, &[service, set], &[], call)?;
        let answer = call.send(Doing::Changing, request.body("application/json", row.to_string())).await?;
        match answer.status.as_u16() {
            200 | 201 => json_body(Doing::Changing, &answer),
            _ => Err(self.refusal(Doing::Changing, &answer, call)),
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
        let set = format!("{set}({},{key})", literal(&self.company));
        let request = self.request(Method::PATCH, &[service, &set], &[], call)?;
        let answer = call.send(Doing::Changing, request.body("application/json", fields.to_string())).await?;
        match answer.status.as_u16() {
            200 | 204 => Ok(()),
            _ => Err(self.refusal(Doing::Changing, &answer, call)),
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
        let request = self.request(Method::POST, &[service, method], &[], call)?;
        let answer = call.send(doing, request.body("application/json", parameters.to_string())).await?;
        match answer.status.as_u16() {
            200 | 201 => json_body(doing, &answer),
            204 => Ok(Value::Null),
            _ => Err(self.refusal(doing, &answer, call)),
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
        let request = self.request(Method::GET, &[service, method], query, call)?;
        let answer = call.send(Doing::Asking, request).await?;
        match answer.status.as_u16() {
            200 => json_body(Doing::Asking, &answer),
            _ => Err(self.refusal(Doing::Asking, &answer, call)),
        }
    }

    fn request(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        call: &Call<'_>,
    ) -> Result<Request, CallFailure> {
        let mut segments = vec!["api", "v2", "odata", self.company.as_str()];
        segments.extend(path);
        let url = call.pool().url(&segments, query).ok_or_else(|| invalid("", "holds an empty key"))?;
        Ok(Request::new(method, url).headers(&self.headers))
    }

    /// What an answer that is not success means.
    fn refusal(&self, doing: Doing, answer: &Answer, call: &Call<'_>) -> CallFailure {
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
        assert!(speaks_of_a_lock("Row has been modified by another user and couldn't be updated."));
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
