//! What tenants used: a tenant sees its own, an operator everybody's.

use std::fmt::Write as _;

use aide::axum::{ApiRouter, routing::get_with};
use axum::extract::State;
use portolan_domain::{
    Environment, TenantId, Timestamp,
    usage::{Period, Usage},
};
use portolan_store::{
    key::Key,
    usage::{UsageQuery, UsageRow},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Api,
    answer::{Csv, List, Text, Time},
    auth::AsReader,
    openapi::op,
    problem::Problem,
    query::{Query, bad},
};

/// Rows of an answer.
const ROWS_MAX: u32 = 5_000;
/// Rows of a CSV.
const CSV_ROWS_MAX: usize = 100_000;

pub(crate) fn routes() -> ApiRouter<Api> {
    ApiRouter::new()
        .api_route("/usage", get_with(list_usage, op("list_usage", "What was used, the earliest first")))
        .api_route("/usage/csv", get_with(list_usage_csv, op("list_usage_csv", "The same as CSV")))
        .api_route("/usage/stored", get_with(list_stored, op("list_stored", "How many bytes are stored now")))
        .with_path_items(|path| path.tag("usage"))
}

/// Which usage.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    /// From this time on: milliseconds since 1970. Default: 31 days ago.
    from: Option<u64>,
    /// Until this time: milliseconds since 1970. Default: now.
    to: Option<u64>,
    /// Added up by this. Default: `day`.
    by: Option<Period>,
    /// In this environment alone.
    environment: Option<Environment>,
    /// The `next` of the page before.
    after: Option<u32>,
    /// At most so many rows: 1 to 5000. Default: 1000.
    limit: Option<u32>,
}

/// What was used by one tenant in one environment within one period.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Usage")]
pub(crate) struct Answer {
    /// When the period begins.
    from: Time,
    /// Null: tenants that are removed since.
    tenant: Option<TenantId>,
    /// Null: what belongs to no environment (modules).
    environment: Option<Environment>,
    #[serde(flatten)]
    used: Usage,
}

/// What is stored for a tenant in one environment.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "StoredBytes")]
pub(crate) struct Stored {
    tenant: TenantId,
    /// Null: modules.
    environment: Option<Environment>,
    /// Payloads; outcomes, facts and logs; bodies and responses; modules.
    bytes: u64,
}

const MONTH_MS: u64 = 31 * 86_400_000;

async fn rows(api: &Api, key: &Key, which: &Which) -> Result<(Vec<UsageRow>, Option<String>), Problem> {
    let environment = match (key.environment, which.environment) {
        (Some(only), Some(asked)) if only != asked => return Err(Problem::not_found()),
        (only, asked) => only.or(asked),
    };
    let rows_max = which.limit.unwrap_or(1_000);
    if !(1..=ROWS_MAX).contains(&rows_max) {
        return Err(bad("`limit` is a number from 1 to 5000"));
    }
    let now = api.shared.clock.now().as_millis();
    let (from, to) = (which.from.unwrap_or(now.saturating_sub(MONTH_MS)), which.to.unwrap_or(now));
    let skip = which.after.unwrap_or_default();
    let query = UsageQuery {
        tenant: key.tenant.clone(),
        environment,
        from: Timestamp::from_millis(from),
        to: Timestamp::from_millis(to),
        by: which.by.unwrap_or_default(),
        skip,
        rows_max,
    };
    let rows = api.shared.store.usage_list(query).await?;
    let full = rows.len() >= usize::try_from(rows_max).unwrap_or(usize::MAX);
    Ok((rows, full.then(|| skip.saturating_add(rows_max).to_string())))
}

/// All rows, unless so many are asked for.
async fn whole(api: &Api, key: &Key, which: Which) -> Result<Vec<UsageRow>, Problem> {
    if which.limit.is_some() {
        return Ok(rows(api, key, &which).await?.0);
    }
    // The same time for every part.
    let to = which.to.or(Some(api.shared.clock.now().as_millis()));
    let from = which.from.or(to.map(|to| to.saturating_sub(MONTH_MS)));
    let mut part = Which { from, to, limit: Some(ROWS_MAX), ..which };
    let mut all = Vec::new();
    loop {
        let (more, next) = rows(api, key, &part).await?;
        all.extend(more);
        part.after = next.and_then(|next| next.parse().ok());
        if all.len() > CSV_ROWS_MAX {
            let text = "These are more than 100,000 rows: ask for a shorter time, by a longer period, or for parts with `limit` and `after`.";
            return Err(Problem::unprocessable("too-many-rows", text));
        }
        if part.after.is_none() {
            return Ok(all);
        }
    }
}

/// Every number is what counting the rows says, and the sum over tenants is the host's total. With a key that is bound to
/// an environment: of that alone.
pub(crate) async fn list_usage(
    State(api): State<Api>,
    AsReader(key): AsReader,
    Query(which): Query<Which>,
) -> Result<axum::Json<List<Answer>>, Problem> {
    let (rows, next) = rows(&api, &key, &which).await?;
    let items = rows.into_iter().map(|row| Answer {
        from: row.from.into(),
        tenant: row.tenant,
        environment: row.environment,
        used: row.usage,
    });
    Ok(axum::Json(List { items: items.collect(), next }))
}

/// `from,tenant,environment` and a column for each number; a first line names them. Without `limit`, all rows that there
/// are, up to 100,000.
pub(crate) async fn list_usage_csv(
    State(api): State<Api>,
    AsReader(key): AsReader,
    Query(which): Query<Which>,
) -> Result<Text<Csv>, Problem> {
    let rows = whole(&api, &key, which).await?;
    let mut text = format!("from,tenant,environment,{}\r\n", Usage::NAMES.join(","));
    for row in rows {
        let tenant = row.tenant.as_ref().map_or("", TenantId::as_str);
        let environment = row.environment.map_or("", Environment::as_str);
        let numbers = row.usage.numbers().map(|number| number.to_string()).join(",");
        // Writing to a text does not fail.
        let _written = write!(text, "{},{tenant},{environment},{numbers}\r\n", row.from);
    }
    Ok(Text::new(text))
}

pub(crate) async fn list_stored(
    State(api): State<Api>,
    AsReader(key): AsReader,
) -> Result<axum::Json<List<Stored>>, Problem> {
    let stored = api.shared.store.stored_bytes(key.tenant.as_ref()).await?;
    let mine = stored.into_iter().filter(|s| key.environment.is_none_or(|only| s.environment == Some(only)));
    Ok(List::whole(mine.map(|s| Stored { tenant: s.tenant, environment: s.environment, bytes: s.bytes })))
}

#[cfg(test)]
mod tests {
    use portolan_domain::Timestamp;

    use crate::trial::Trial;

    #[tokio::test]
    async fn a_csv_without_a_limit_is_whole() {
        let trial = Trial::new().await;
        let source = trial.source("hooks").await;
        let hours = 1_200;
        let stored = (1..=hours).map(|hour| {
            let at = Timestamp::from_millis(hour * 3_600_000);
            trial.event(&source, "ch_1", (at, b"{}".to_vec()))
        });
        futures::future::join_all(stored).await;
        let lines = async |query: &str| {
            let answered = trial.ask_tenant(&format!("/usage/csv?from=0&by=hour{query}")).await;
            assert_eq!(answered.status.as_u16(), 200, "{:#}", answered.json());
            String::from_utf8(answered.bytes).unwrap().lines().count() as u64
        };
        assert_eq!(lines("").await, hours + 1);
        assert_eq!(lines("&limit=7&after=3").await, 8);
        assert_eq!(lines("&after=1000").await, 201);
    }
}
