//! What stands behind the `?` of an address. What does not read is told as every other problem.

use axum::{
    extract::FromRequestParts,
    http::{StatusCode, request::Parts},
};
use serde::de::DeserializeOwned;

use crate::{Api, problem::Problem};

/// The parameters of a query.
pub(crate) struct Query<T>(pub(crate) T);

/// A query that does not read.
pub(crate) fn bad(text: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid-query", text)
}

impl<T: DeserializeOwned> FromRequestParts<Api> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        let read = axum::extract::Query::try_from_uri(&parts.uri);
        read.map(|axum::extract::Query(value)| Self(value))
            .map_err(|error| bad(format!("The query is not as documented: {}", error.body_text())))
    }
}
