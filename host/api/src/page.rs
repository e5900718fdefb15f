//! Pages of long lists: `?limit=` and `?before=`, answered as `{"items": […], "next": "…"}`.

use aide::{OperationInput, generate::GenContext, openapi::Operation};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use portolan_store::Page;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    Api,
    answer::List,
    problem::Problem,
    query::{Query, bad},
};

const ROWS_DEFAULT: u32 = 100;
const ROWS_MAX: u32 = 500;

#[derive(Deserialize)]
struct Raw {
    limit: Option<String>,
    before: Option<String>,
}

/// As it is told in the OpenAPI document.
#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "the shape of what `Raw` reads")]
struct Told {
    /// At most so many items; 100 without it.
    #[schemars(range(min = 1, max = 500))]
    limit: Option<u32>,
    /// The `next` of the page before.
    before: Option<String>,
}

/// Which part of a list is asked for.
pub(crate) struct Paged(pub(crate) Page);

impl FromRequestParts<Api> for Paged {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let Query(raw) = Query::<Raw>::from_request_parts(parts, api).await?;
        let rows_max = match raw.limit {
            None => ROWS_DEFAULT,
            Some(text) => match text.parse() {
                Ok(limit @ 1..=ROWS_MAX) => limit,
                _ => return Err(bad("`limit` is a number from 1 to 500")),
            },
        };
        Ok(Self(Page { before: raw.before, rows_max }))
    }
}

impl OperationInput for Paged {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        Query::<Told>::operation_input(ctx, operation);
    }
}

/// A page as it is answered. `next` is what to send as `before`; null at the end.
pub(crate) fn answer<T, A>(
    page: &Page,
    rows: &[T],
    id: impl Fn(&T) -> String,
    item: impl Fn(&T) -> A,
) -> axum::Json<List<A>> {
    let full = rows.len() >= usize::try_from(page.rows_max).unwrap_or(usize::MAX);
    let next = rows.last().filter(|_| full).map(id);
    axum::Json(List { items: rows.iter().map(item).collect(), next })
}
