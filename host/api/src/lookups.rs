//! Lookup tables.

use aide::axum::{ApiRouter, routing::get_with};
use axum::{extract::State, response::NoContent};
use portolan_store::lookup::LookupRow;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    Api,
    answer::List,
    auth::{Developer, InScope, Viewer},
    body::Json,
    openapi::op,
    params::{RowKey, Table},
    problem::Problem,
    query::Query,
};

/// Rows written or listed at once.
const ROWS_MAX: usize = 10_000;
const LISTED_MAX: u32 = 500;
/// Characters of a table's name or a key.
const TEXT_CHARS_MAX: usize = 200;

pub(crate) fn routes() -> ApiRouter<Api> {
    ApiRouter::new()
        .api_route(
            "/lookup-tables",
            get_with(list_tables, op("list_lookup_tables", "The lookup tables of the environment")),
        )
        .api_route(
            "/lookup-tables/{table}/rows",
            get_with(list_rows, op("list_lookup_rows", "The rows of a table, by key"))
                .put_with(put_rows, op("put_lookup_rows", "Writes these rows; others stay")),
        )
        .api_route(
            "/lookup-tables/{table}/rows/{key}",
            get_with(get_row, op("get_lookup_row", "A row"))
                .delete_with(delete_row, op("delete_lookup_row", "Takes a row away")),
        )
        .with_path_items(|path| path.tag("lookup-tables"))
}

/// Rows to be written.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rows {
    /// Key → value.
    rows: Map<String, Value>,
}

/// Where to go on.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct After {
    /// The `next` of the answer before.
    after: Option<String>,
}

/// A row.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LookupRow")]
pub(crate) struct RowAnswer {
    key: String,
    value: Value,
}

/// A table.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LookupTable")]
pub(crate) struct TableAnswer {
    name: String,
    /// How many.
    rows: u64,
}

/// Writes these rows; others stay.
pub(crate) async fn put_rows(
    State(api): State<Api>,
    caller: InScope<Developer>,
    Table(table): Table<String>,
    Json(Rows { rows }): Json<Rows>,
) -> Result<NoContent, Problem> {
    let fits = |text: &str| {
        !text.is_empty() && text.chars().count() <= TEXT_CHARS_MAX && !text.chars().any(char::is_control)
    };
    if rows.len() > ROWS_MAX || !fits(&table) || !rows.keys().all(|key| fits(key)) {
        let text =
            "At most 10,000 rows at once; tables and keys have 1 to 200 characters, no control characters.";
        return Err(Problem::unprocessable("invalid-rows", text));
    }
    let rows = rows.into_iter().map(|(key, value)| LookupRow { key, value }).collect();
    api.shared.store.lookup_put(&caller.scope, &table, rows).await?;
    Ok(NoContent)
}

/// By key.
pub(crate) async fn list_rows(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Table(table): Table<String>,
    Query(after): Query<After>,
) -> Result<axum::Json<List<RowAnswer>>, Problem> {
    let after = after.after.as_deref();
    let rows = api.shared.store.lookup_rows(&caller.scope, &table, after, LISTED_MAX).await?;
    let next = rows.last().filter(|_| rows.len() >= LISTED_MAX as usize).map(|row| row.key.clone());
    let items = rows.into_iter().map(|row| RowAnswer { key: row.key, value: row.value }).collect();
    Ok(axum::Json(List { items, next }))
}

pub(crate) async fn get_row(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Table(table): Table<String>,
    RowKey(key): RowKey<String>,
) -> Result<axum::Json<RowAnswer>, Problem> {
    let value = api.shared.store.lookup_get(&caller.scope, &table, &key).await?;
    let value = value.ok_or_else(Problem::not_found)?;
    Ok(axum::Json(RowAnswer { key, value }))
}

pub(crate) async fn delete_row(
    State(api): State<Api>,
    caller: InScope<Developer>,
    Table(table): Table<String>,
    RowKey(key): RowKey<String>,
) -> Result<NoContent, Problem> {
    api.shared.store.lookup_delete(&caller.scope, &table, &key).await?;
    Ok(NoContent)
}

pub(crate) async fn list_tables(
    State(api): State<Api>,
    caller: InScope<Viewer>,
) -> Result<axum::Json<List<TableAnswer>>, Problem> {
    let tables = api.shared.store.lookup_tables(&caller.scope).await?;
    Ok(List::whole(tables.into_iter().map(|(name, rows)| TableAnswer { name, rows })))
}
