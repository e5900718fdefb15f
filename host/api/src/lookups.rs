//! Lookup tables.

use axum::{extract::State, http::StatusCode};
use portolan_store::lookup::LookupRow;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    Api,
    auth::{Developer, InScope, Viewer},
    body::Json,
    params::{RowKey, Table},
    problem::Problem,
    query::Query,
};

/// Rows written or listed at once.
const ROWS_MAX: usize = 10_000;
const LISTED_MAX: u32 = 500;
/// Characters of a table's name or a key.
const TEXT_CHARS_MAX: usize = 200;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rows {
    /// Key → value.
    rows: Map<String, Value>,
}

#[derive(Deserialize)]
pub(crate) struct After {
    after: Option<String>,
}

/// `PUT …/lookup-tables/{table}/rows`: writes these rows; others stay.
pub(crate) async fn put_rows(
    State(api): State<Api>,
    caller: InScope<Developer>,
    Table(table): Table<String>,
    Json(Rows { rows }): Json<Rows>,
) -> Result<StatusCode, Problem> {
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
    Ok(StatusCode::NO_CONTENT)
}

/// `GET …/lookup-tables/{table}/rows?after=`: by key.
pub(crate) async fn list_rows(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Table(table): Table<String>,
    Query(after): Query<After>,
) -> Result<axum::Json<Value>, Problem> {
    let after = after.after.as_deref();
    let rows = api.shared.store.lookup_rows(&caller.scope, &table, after, LISTED_MAX).await?;
    let next = rows.last().filter(|_| rows.len() >= LISTED_MAX as usize).map(|row| row.key.clone());
    let items: Vec<Value> =
        rows.into_iter().map(|row| json!({ "key": row.key, "value": row.value })).collect();
    Ok(axum::Json(json!({ "items": items, "next": next })))
}

/// `GET …/lookup-tables/{table}/rows/{key}`
pub(crate) async fn get_row(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Table(table): Table<String>,
    RowKey(key): RowKey<String>,
) -> Result<axum::Json<Value>, Problem> {
    let value = api.shared.store.lookup_get(&caller.scope, &table, &key).await?;
    let value = value.ok_or_else(Problem::not_found)?;
    Ok(axum::Json(json!({ "key": key, "value": value })))
}

/// `DELETE …/lookup-tables/{table}/rows/{key}`
pub(crate) async fn delete_row(
    State(api): State<Api>,
    caller: InScope<Developer>,
    Table(table): Table<String>,
    RowKey(key): RowKey<String>,
) -> Result<StatusCode, Problem> {
    api.shared.store.lookup_delete(&caller.scope, &table, &key).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET …/lookup-tables`
pub(crate) async fn list_tables(
    State(api): State<Api>,
    caller: InScope<Viewer>,
) -> Result<axum::Json<Value>, Problem> {
    let tables = api.shared.store.lookup_tables(&caller.scope).await?;
    let items: Vec<Value> =
        tables.into_iter().map(|(name, rows)| json!({ "name": name, "rows": rows })).collect();
    Ok(axum::Json(json!({ "items": items, "next": null })))
}
