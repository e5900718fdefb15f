//! Lookup tables: rows, the other direction, CSV, versions.

mod sheet;

use std::time::Duration;

use aide::axum::{
    ApiRouter,
    routing::{get_with, post_with},
};
use axum::{
    extract::{Request, State},
    response::NoContent,
};
use portolan_store::lookup::LookupRow;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    Api,
    answer::{Csv, List, Text, Time},
    auth::{Developer, InScope, Viewer},
    body::{self, Json},
    openapi::op,
    page::{self, Paged},
    params::{RowKey, Table, Version},
    problem::Problem,
    query::{Query, bad},
};

/// Rows written or listed at once.
pub(crate) const ROWS_MAX: usize = 10_000;
const LISTED_MAX: u32 = 500;
/// Rows that are read at once for a CSV, and the most that one holds.
const PART: u32 = 5_000;
const EXPORTED_MAX: usize = 100_000;
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
        .api_route(
            "/lookup-tables/{table}/keys",
            get_with(
                find_keys,
                op("find_lookup_keys", "The other direction: the first 500 keys whose value is this"),
            ),
        )
        .api_route(
            "/lookup-tables/{table}/csv",
            get_with(
                export_csv,
                op("export_lookup", "The table as CSV: key,value or key,FIELD… or key,json"),
            )
            .put_with(import_csv, |operation| {
                op("import_lookup", "Takes in a table as CSV")(operation).input::<body::Raw>()
            }),
        )
        .api_route(
            "/lookup-tables/{table}/versions",
            get_with(list_versions, op("list_lookup_versions", "The changes of a table")),
        )
        .api_route(
            "/lookup-tables/{table}/versions/{version}",
            get_with(get_version, op("get_lookup_version", "What a version changed")),
        )
        .api_route(
            "/lookup-tables/{table}/restore",
            post_with(restore_table, op("restore_lookup", "Has the table hold what it held in a version")),
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
    /// The latest.
    version: u64,
}

/// A change of a table.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LookupVersion")]
pub(crate) struct VersionAnswer {
    /// From 1.
    version: u64,
    at: Time,
    /// A key's id, or `host`.
    by: String,
    /// How many rows it changed.
    changes: u64,
}

/// What became of a row.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LookupChange")]
pub(crate) struct ChangeAnswer {
    key: String,
    /// Whether the row was there, and what it held.
    was_there: bool,
    before: Value,
    /// Whether the row is there since, and what it holds.
    is_there: bool,
    after: Value,
}

/// How many rows were changed.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ChangedRows {
    changed: u64,
}

/// Which version to put back.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Restoration {
    /// 0: the table before its first.
    version: u64,
}

/// What a row must hold.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct ByValue {
    /// A text; with `json=true` any JSON.
    value: String,
    /// Whether `value` is JSON.
    #[serde(default)]
    json: bool,
}

/// What becomes of rows that are not in the CSV.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Import {
    /// `merge` (they stay, the default) or `replace` (they go).
    mode: Option<Mode>,
}

/// What becomes of rows that are not in the CSV.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
    /// They stay.
    Merge,
    /// They go.
    Replace,
}

/// Writes these rows; others stay.
pub(crate) async fn put_rows(
    State(api): State<Api>,
    caller: InScope<Developer>,
    Table(table): Table<String>,
    Json(Rows { rows }): Json<Rows>,
) -> Result<NoContent, Problem> {
    let rows: Vec<LookupRow> = rows.into_iter().map(|(key, value)| LookupRow { key, value }).collect();
    check(&table, &rows)?;
    api.shared.store.lookup_put(&caller.scope, &table, rows).await?;
    Ok(NoContent)
}

/// Whether a table may be called so and take these rows at once.
fn check(table: &str, rows: &[LookupRow]) -> Result<(), Problem> {
    if rows.len() > ROWS_MAX {
        return Err(Problem::unprocessable("invalid-rows", "At most 10,000 rows at once."));
    }
    check_texts(table, rows.iter().map(|row| row.key.as_str()))
}

/// Whether a table may be called so, and have rows with these keys.
pub(crate) fn check_texts<'a>(table: &str, mut keys: impl Iterator<Item = &'a str>) -> Result<(), Problem> {
    let fits = |text: &str| {
        !text.is_empty() && text.chars().count() <= TEXT_CHARS_MAX && !text.chars().any(char::is_control)
    };
    if fits(table) && keys.all(fits) {
        return Ok(());
    }
    let text = "Tables and keys have 1 to 200 characters, no control characters.";
    Err(Problem::unprocessable("invalid-rows", text))
}

pub(crate) async fn find_keys(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Table(table): Table<String>,
    Query(ByValue { value, json }): Query<ByValue>,
) -> Result<axum::Json<List<String>>, Problem> {
    let value = match json {
        true => serde_json::from_str(&value).map_err(|error| bad(format!("value: no JSON: {error}")))?,
        false => Value::String(value),
    };
    Ok(List::whole(api.shared.store.lookup_keys(&caller.scope, &table, &value, LISTED_MAX).await?))
}

pub(crate) async fn export_csv(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Table(table): Table<String>,
) -> Result<Text<Csv>, Problem> {
    let mut rows: Vec<LookupRow> = Vec::new();
    loop {
        let after = rows.last().map(|row| row.key.clone());
        let more = api.shared.store.lookup_rows(&caller.scope, &table, after.as_deref(), PART).await?;
        let is_last = more.len() < PART as usize;
        rows.extend(more);
        if rows.len() > EXPORTED_MAX {
            let text = "The table has more than 100,000 rows: read them in pages.";
            return Err(Problem::unprocessable("invalid-rows", text));
        }
        if is_last {
            break;
        }
    }
    let text = sheet::write(&rows).map_err(|error| Problem::unavailable(&error))?;
    Ok(Text::new(text))
}

pub(crate) async fn import_csv(
    State(api): State<Api>,
    caller: InScope<Developer>,
    Table(table): Table<String>,
    Query(Import { mode }): Query<Import>,
    request: Request,
) -> Result<axum::Json<ChangedRows>, Problem> {
    let limits = body::Limits {
        bytes_max: api.settings.json_bytes_max,
        patience: Duration::from_millis(api.settings.body_ms_max),
        room: &api.room,
    };
    let bytes = body::read(request, limits).await?;
    let rows = sheet::read(&bytes).map_err(|text| Problem::unprocessable("invalid-csv", text))?;
    check(&table, &rows)?;
    let store = &api.shared.store;
    let changed = match mode {
        Some(Mode::Replace) => store.lookup_replace(&caller.scope, &table, rows).await?,
        Some(Mode::Merge) | None => store.lookup_put(&caller.scope, &table, rows).await?,
    };
    Ok(axum::Json(ChangedRows { changed }))
}

pub(crate) async fn list_versions(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Table(table): Table<String>,
    Paged(page): Paged,
) -> Result<axum::Json<List<VersionAnswer>>, Problem> {
    let before = page.before.as_deref().map(str::parse).transpose();
    let before = before.map_err(|_| bad("`before` is a version"))?;
    let versions = api.shared.store.lookup_versions(&caller.scope, &table, before, page.rows_max).await?;
    Ok(page::answer(
        &page,
        &versions,
        |one| one.version.to_string(),
        |one| VersionAnswer {
            version: one.version,
            at: one.at.into(),
            by: one.by.clone(),
            changes: one.changes,
        },
    ))
}

pub(crate) async fn get_version(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Table(table): Table<String>,
    Version(version): Version<u64>,
) -> Result<axum::Json<List<ChangeAnswer>>, Problem> {
    let changes = api.shared.store.lookup_changes(&caller.scope, &table, version).await?;
    if changes.is_empty() {
        return Err(Problem::not_found());
    }
    Ok(List::whole(changes.into_iter().map(|change| ChangeAnswer {
        key: change.key,
        was_there: change.before.is_some(),
        before: change.before.unwrap_or_default(),
        is_there: change.after.is_some(),
        after: change.after.unwrap_or_default(),
    })))
}

pub(crate) async fn restore_table(
    State(api): State<Api>,
    caller: InScope<Developer>,
    Table(table): Table<String>,
    Json(Restoration { version }): Json<Restoration>,
) -> Result<axum::Json<ChangedRows>, Problem> {
    let changed = api.shared.store.lookup_restore(&caller.scope, &table, version).await?;
    Ok(axum::Json(ChangedRows { changed }))
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
    Ok(List::whole(tables.into_iter().map(|table| TableAnswer {
        name: table.name,
        rows: table.rows,
        version: table.version,
    })))
}
