//! How everything that goes wrong is told: RFC 9457 problem details with a stable code, a public sentence that
//! holds the remedy, and the id of the request, which is also in the log.

use std::panic::AssertUnwindSafe;

use aide::{
    OperationOutput,
    generate::GenContext,
    openapi::{Operation, Response as Documented},
};
use axum::{
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::FutureExt;
use portolan_store::StoreError;
use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use crate::{
    answer::{self, Plain, Text},
    params::Code,
};

/// Nobody makes room within a second.
const STORAGE_LOW_RETRY_S: u16 = 30;

/// A problem on its way to the caller. `docs/errors.md` has an entry for every code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    more: Map<String, Value>,
    /// Of a 503 or 429: when it is worth another try.
    retry_after_s: u16,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), more: Map::new(), retry_after_s: 1 }
    }

    /// Adds a member of its own.
    pub(crate) fn with(mut self, name: &str, value: Value) -> Self {
        self.more.insert(name.to_owned(), value);
        self
    }

    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "There is no such thing here, or it is not yours.")
    }

    pub(crate) fn unprocessable(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
    }

    /// The disk has no room for what is new. Whoever sends is not told how much there is.
    pub(crate) fn storage_low() -> Self {
        let text = "The host has too little room to store anything new. Nothing was stored; try again later.";
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "storage-low", text);
        Self { retry_after_s: STORAGE_LOW_RETRY_S, ..problem }
    }

    /// When it is worth another try, in seconds; of a 503 or 429.
    pub(crate) fn after(self, seconds: u16) -> Self {
        Self { retry_after_s: seconds, ..self }
    }

    /// Its stable code.
    pub(crate) const fn code(&self) -> &'static str {
        self.code
    }

    /// What went wrong, for people.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// With other words.
    pub(crate) fn saying(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// A part of the host panicked.
    pub(crate) fn fault() -> Self {
        let text = "The host has a fault. It is in its log under this request's id.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "fault", text)
    }

    pub(crate) fn unavailable(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error, "a request failed because something of ours is unavailable");
        let text = "The host cannot answer now. Nothing was changed; try again later.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", text)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound => Self::not_found(),
            StoreError::Conflict(what) => Self::new(StatusCode::CONFLICT, "conflict", what),
            error @ (StoreError::Unavailable(_) | StoreError::Corrupt { .. }) => Self::unavailable(&error),
        }
    }
}

/// What everything that goes wrong looks like (RFC 9457). Some have members of their own besides.
#[derive(JsonSchema)]
#[schemars(rename = "Problem")]
#[expect(dead_code, reason = "the shape of what `into_response` writes")]
struct Told {
    /// `/errors/{code}`: a page that tells what it means and what to do.
    r#type: String,
    /// Stable and machine-readable.
    code: String,
    /// The status in words.
    title: String,
    /// The status.
    status: u16,
    /// What is wrong, and the remedy.
    detail: String,
}

/// A problem as the OpenAPI document tells it.
pub(crate) fn response(ctx: &mut GenContext, description: &str) -> Documented {
    let schema = ctx.schema.subschema_for::<Told>();
    answer::of_kind(description, "application/problem+json", Some(schema))
}

impl OperationOutput for Problem {
    type Inner = Self;

    fn inferred_responses(ctx: &mut GenContext, _: &mut Operation) -> Vec<(Option<u16>, Documented)> {
        vec![(None, response(ctx, "Everything that goes wrong: see `code`."))]
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = self.more;
        body.insert("type".to_owned(), json!(format!("/errors/{}", self.code)));
        body.insert("code".to_owned(), json!(self.code));
        body.insert("title".to_owned(), json!(self.status.canonical_reason().unwrap_or("Error")));
        body.insert("status".to_owned(), json!(self.status.as_u16()));
        body.insert("detail".to_owned(), json!(self.detail));
        let mut response = (self.status, Value::Object(body).to_string()).into_response();
        let media_type = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, media_type);
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS].contains(&self.status) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(self.retry_after_s));
        }
        response
    }
}

/// Gives every answer a request id, and every refused request a line in the log.
pub(crate) async fn with_request_id(request: Request, next: Next) -> Response {
    let id = format!("req_{}", ulid::Ulid::new());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    // Whatever this request changes, the audit log tells who made it. A handler that panics costs its own request, not
    // the others of its connection.
    let answered =
        portolan_store::audit::in_request(AssertUnwindSafe(next.run(request)).catch_unwind()).await;
    let mut response = answered.unwrap_or_else(|_| {
        tracing::error!(request.id = id, request.method = %method, request.path = path, "a handler panicked");
        Problem::fault().into_response()
    });
    if response.status().is_client_error() || response.status().is_server_error() {
        tracing::info!(request.id = id, request.method = %method, request.path = path,
            response.status = response.status().as_u16(), "request refused");
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert("x-request-id", value);
    }
    response
}

/// What every code means, as people read it.
const PAGES: &str = include_str!("../../../docs/errors.md");

/// The row of a code: what the tables of `docs/errors.md` say of it.
fn row_of(code: &str) -> Option<&'static str> {
    let named = format!("`{code}`");
    PAGES.lines().find(|line| {
        let cells = line.strip_prefix("| ").and_then(|row| row.split(" | ").next());
        cells.is_some_and(|codes| codes.split(", ").any(|known| known == named))
    })
}

/// A page about a code.
pub(crate) async fn page(Code(code): Code<String>) -> Result<Text<Plain>, Problem> {
    let row = row_of(&code).ok_or_else(Problem::not_found)?;
    let cells: Vec<&str> = row.trim_matches(['|', ' ']).split(" | ").collect();
    let (status, about) = match cells.as_slice() {
        [_, status, about @ ..] => (*status, about.join(" | ")),
        _ => return Err(Problem::not_found()),
    };
    Ok(Text::new(format!("{code} ({status})\n\n{about}\n")))
}

pub(crate) async fn no_route() -> Problem {
    Problem::not_found()
}

pub(crate) async fn no_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method-not-allowed",
        "This address does not take that method.",
    )
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::Body, routing::get};
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn a_handler_that_panics_is_answered_500_and_the_next_request_is_served() {
        let router = Router::new()
            .route("/panics", get(|| async { std::hint::black_box(None::<&str>).expect("on purpose") }))
            .route("/works", get(|| async { "works" }))
            .layer(axum::middleware::from_fn(with_request_id));
        let ask = |path: &'static str| {
            let request = Request::builder().uri(path).body(Body::empty()).unwrap();
            router.clone().oneshot(request)
        };
        let fault = ask("/panics").await.unwrap();
        assert_eq!(fault.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(fault.headers().contains_key("x-request-id"));
        assert_eq!(ask("/works").await.unwrap().status(), StatusCode::OK);
    }
}
