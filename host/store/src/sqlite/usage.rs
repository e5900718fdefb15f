//! Usage: counted while a write is made, stored once for each commit.
//!
//! All writes are made on one thread, so what they count is kept there, beside their connection: a counter of its own for
//! every write would be handed through all the functions that a write is made of, and an UPSERT for each would cost as
//! much as what it counts. [`settle`] adds what a write counted when it is kept, and forgets it when it is taken back;
//! [`store`] puts the sums of all writes of a commit into its transaction, one row for each scope and hour.

use std::{cell::RefCell, collections::BTreeMap};

use async_trait::async_trait;
use portolan_domain::{
    Environment, Scope, TenantId, Timestamp,
    usage::{Period, Usage},
};
use rusqlite::{Connection, params, params_from_iter, types::Value};

use super::{
    SqliteStore,
    row::{Columns, all, change, integer, millis},
};
use crate::{
    StoreError,
    usage::{StoredBytes, UsageQuery, UsageRow, Usages},
};

pub(super) const HOUR_MS: u64 = 3_600_000;

/// No answer holds more rows.
const ROWS_MAX: u32 = 10_000;

const ADD: &str = "
    INSERT INTO usage (tenant, environment, hour, events, repeats, bytes_in, runs, executions, fuel, guest_us, calls,
        deliveries, attempts, modules, module_bytes)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
    ON CONFLICT (tenant, environment, hour) DO UPDATE SET events = events + excluded.events,
        repeats = repeats + excluded.repeats, bytes_in = bytes_in + excluded.bytes_in, runs = runs + excluded.runs,
        executions = executions + excluded.executions, fuel = fuel + excluded.fuel,
        guest_us = guest_us + excluded.guest_us, calls = calls + excluded.calls,
        deliveries = deliveries + excluded.deliveries, attempts = attempts + excluded.attempts,
        modules = modules + excluded.modules, module_bytes = module_bytes + excluded.module_bytes";

const ADD_STORED: &str = "
    INSERT INTO stored_bytes (tenant, environment, bytes) VALUES (?1, ?2, ?3)
    ON CONFLICT (tenant, environment) DO UPDATE SET bytes = bytes + excluded.bytes";

/// A tenant, and an environment or ''.
type Place = (String, &'static str);

/// What was counted.
#[derive(Debug, Default)]
struct Tally {
    used: BTreeMap<(Place, u64), Usage>,
    stored: BTreeMap<Place, i64>,
}

impl Tally {
    fn is_empty(&self) -> bool {
        self.used.is_empty() && self.stored.is_empty()
    }

    fn add(&mut self, other: Self) {
        for (key, usage) in other.used {
            self.used.entry(key).or_default().add(&usage);
        }
        for (place, bytes) in other.stored {
            let sum = self.stored.entry(place).or_default();
            *sum = sum.saturating_add(bytes);
        }
    }
}

thread_local! {
    /// Of the write under way, and of those before it in the same transaction.
    static COUNTED: RefCell<(Tally, Tally)> = RefCell::default();
}

fn place(tenant: &TenantId, environment: Option<Environment>) -> Place {
    (tenant.as_str().to_owned(), environment.map_or("", Environment::as_str))
}

fn count_at(place: Place, at: Timestamp, usage: &Usage) {
    let hour = at.as_millis() / HOUR_MS;
    COUNTED.with_borrow_mut(|(current, _)| current.used.entry((place, hour)).or_default().add(usage));
}

/// The write under way has used something.
pub(super) fn count(scope: &Scope, at: Timestamp, usage: &Usage) {
    count_at(place(&scope.tenant, Some(scope.environment)), at, usage);
}

/// The same, of what belongs to no environment.
pub(super) fn count_of_tenant(tenant: &TenantId, at: Timestamp, usage: &Usage) {
    count_at(place(tenant, None), at, usage);
}

/// The write under way stores so many bytes more, or fewer.
pub(super) fn stores(tenant: &TenantId, environment: Option<Environment>, bytes: i64) {
    if bytes != 0 {
        COUNTED.with_borrow_mut(|(current, _)| {
            let sum = current.stored.entry(place(tenant, environment)).or_default();
            *sum = sum.saturating_add(bytes);
        });
    }
}

/// What a run keeps, in bytes as [`stores`] counts them: of a row `c` of `run_records`.
macro_rules! record_bytes {
    () => {
        "coalesce(octet_length(c.outcome), 0) + coalesce(octet_length(c.facts), 0) + coalesce(octet_length(c.log), 0)"
    };
}
pub(super) use record_bytes;

/// What a delivery keeps until its bodies are removed: of a row `c` of `delivery_contents`.
macro_rules! body_bytes {
    () => {
        "coalesce(octet_length(c.body), 0) + coalesce(octet_length(c.sent), 0)"
    };
}
pub(super) use body_bytes;

/// As [`stores`], of a text or of nothing.
pub(super) fn length<T: AsRef<[u8]>>(text: Option<T>) -> i64 {
    text.map_or(0, |text| i64::try_from(text.as_ref().len()).unwrap_or(i64::MAX))
}

/// The write is over: what it counted counts, if it is kept.
pub(super) fn settle(kept: bool) {
    COUNTED.with_borrow_mut(|(current, before)| {
        if current.is_empty() {
            return;
        }
        let current = std::mem::take(current);
        if kept {
            before.add(current);
        }
    });
}

/// Stores what the writes of this transaction have counted. Counts nothing any more, whether it succeeds or not: when it
/// does not, the transaction is taken back.
pub(super) fn store(conn: &Connection) -> Result<(), StoreError> {
    let counted = COUNTED.take().1;
    for (((tenant, environment), hour), usage) in counted.used {
        let hour = integer(hour);
        let key = [Value::from(tenant), Value::from(environment.to_owned()), Value::from(hour)];
        let numbers = usage.numbers().map(|number| Value::from(integer(number)));
        change(conn, ADD, params_from_iter(key.into_iter().chain(numbers)))?;
    }
    for ((tenant, environment), bytes) in counted.stored {
        change(conn, ADD_STORED, params![tenant, environment, bytes])?;
    }
    Ok(())
}

/// What is stored is no longer counted in this transaction: nothing of it happened.
pub(super) fn forget() {
    COUNTED.take();
}

/// The sums of all numbers, in the order of [`Usage::NAMES`].
const SUMS: &str = "sum(events), sum(repeats), sum(bytes_in), sum(runs), sum(executions), sum(fuel), sum(guest_us), \
                    sum(calls), sum(deliveries), sum(attempts), sum(modules), sum(module_bytes)";

fn read_usage(c: &mut Columns<'_, '_>) -> Result<Usage, StoreError> {
    let mut numbers = [0_u64; Usage::NAMES.len()];
    for number in &mut numbers {
        *number = c.get::<Option<i64>>()?.map_or(0, |sum| u64::try_from(sum).unwrap_or_default());
    }
    Ok(Usage::of(numbers))
}

/// An id or an environment; none where the column is ''.
fn parsed_unless_empty<T>(c: &mut Columns<'_, '_>) -> Result<Option<T>, StoreError>
where
    T: std::str::FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text: String = c.get()?;
    if text.is_empty() {
        return Ok(None);
    }
    text.parse()
        .map(Some)
        .map_err(|source: T::Err| StoreError::Corrupt { what: "usage".to_owned(), source: Box::new(source) })
}

/// The first hour of the period that an hour is in.
const fn period_of(by: Period) -> &'static str {
    match by {
        Period::Hour => "hour",
        Period::Day => "hour / 24 * 24",
        Period::Month => "unixepoch(hour * 3600, 'unixepoch', 'start of month') / 3600",
    }
}

fn list(conn: &Connection, query: &UsageQuery) -> Result<Vec<UsageRow>, StoreError> {
    let period = period_of(query.by);
    let sql = format!(
        "SELECT {period} AS period, tenant, environment, {SUMS} FROM usage
         WHERE hour >= ?1 AND hour < ?2 AND (?3 IS NULL OR tenant = ?3) AND (?4 IS NULL OR environment = ?4)
         GROUP BY period, tenant, environment ORDER BY period, tenant, environment LIMIT ?5 OFFSET ?6"
    );
    let from = millis(query.from).saturating_add(integer(HOUR_MS) - 1) / integer(HOUR_MS);
    let to = millis(query.to).saturating_add(integer(HOUR_MS) - 1) / integer(HOUR_MS);
    let params = params![
        from,
        to,
        query.tenant.as_ref().map(TenantId::as_str),
        query.environment.map(Environment::as_str),
        query.rows_max.min(ROWS_MAX),
        query.skip
    ];
    all(conn, &sql, params, |c| {
        let hour: u64 = c.count()?;
        Ok(UsageRow {
            from: Timestamp::from_millis(hour.saturating_mul(HOUR_MS)),
            tenant: parsed_unless_empty(c)?,
            environment: parsed_unless_empty(c)?,
            usage: read_usage(c)?,
        })
    })
}

#[cfg(feature = "conformance")]
const RECOUNT: &str = "
    SELECT (SELECT count(*) FROM events WHERE tenant = ?1),
        (SELECT coalesce(sum(length(payload)), 0) FROM events WHERE tenant = ?1),
        (SELECT count(*) FROM runs WHERE tenant = ?1),
        (SELECT count(*) FROM deliveries WHERE tenant = ?1),
        (SELECT count(*) FROM attempts a JOIN deliveries d ON d.seq = a.delivery_seq WHERE d.tenant = ?1),
        (SELECT count(*) FROM modules WHERE tenant = ?1),
        (SELECT coalesce(sum(component_bytes), 0) FROM modules WHERE tenant = ?1)";

/// What the migrations that filled `stored_bytes` say, of one tenant.
#[cfg(feature = "conformance")]
const RECOUNT_STORED: &str = concat!(
    "SELECT ?1, environment, sum(bytes) FROM (
        SELECT environment, length(payload) AS bytes FROM events WHERE tenant = ?1
        UNION ALL
        SELECT r.environment, ",
    record_bytes!(),
    " FROM runs r JOIN run_records c ON c.run_seq = r.seq WHERE r.tenant = ?1
        UNION ALL
        SELECT d.environment, ",
    body_bytes!(),
    " + coalesce(octet_length(c.response), 0)
        FROM deliveries d JOIN delivery_contents c ON c.delivery_seq = d.seq WHERE d.tenant = ?1
        UNION ALL
        SELECT environment, coalesce(octet_length(before), 0) + coalesce(octet_length(after), 0)
        FROM lookup_changes WHERE tenant = ?1
        UNION ALL
        SELECT '', component_bytes FROM modules WHERE tenant = ?1)
    GROUP BY environment ORDER BY environment"
);

fn read_stored(c: &mut Columns<'_, '_>) -> Result<StoredBytes, StoreError> {
    let (tenant, environment) = (c.parsed()?, parsed_unless_empty(c)?);
    // Never below zero, as long as what is removed was counted; if it is, nothing is stored.
    let bytes = u64::try_from(c.get::<i64>()?).unwrap_or_default();
    Ok(StoredBytes { tenant, environment, bytes })
}

#[cfg(feature = "conformance")]
fn recount(conn: &Connection, tenant: &str) -> Result<(Usage, Vec<StoredBytes>), StoreError> {
    let usage = super::row::first(conn, RECOUNT, [tenant], |c| {
        Ok(Usage {
            events: c.count()?,
            bytes_in: c.count()?,
            runs: c.count()?,
            deliveries: c.count()?,
            attempts: c.count()?,
            modules: c.count()?,
            module_bytes: c.count()?,
            ..Usage::default()
        })
    })?;
    Ok((usage.unwrap_or_default(), all(conn, RECOUNT_STORED, [tenant], read_stored)?))
}

#[async_trait]
impl Usages for SqliteStore {
    async fn usage_list(&self, query: UsageQuery) -> Result<Vec<UsageRow>, StoreError> {
        self.read(move |conn| list(conn, &query)).await
    }

    #[cfg(feature = "conformance")]
    async fn usage_total(&self, tenant: Option<&TenantId>) -> Result<Usage, StoreError> {
        let tenant = tenant.cloned();
        self.read(move |conn| {
            let sql = format!("SELECT {SUMS} FROM usage WHERE (?1 IS NULL OR tenant = ?1)");
            let params = params![tenant.as_ref().map(TenantId::as_str)];
            Ok(super::row::first(conn, &sql, params, read_usage)?.unwrap_or_default())
        })
        .await
    }

    async fn stored_bytes(&self, tenant: Option<&TenantId>) -> Result<Vec<StoredBytes>, StoreError> {
        let tenant = tenant.cloned();
        self.read(move |conn| match tenant {
            Some(tenant) => all(
                conn,
                "SELECT tenant, environment, bytes FROM stored_bytes WHERE tenant = ?1 ORDER BY environment",
                [tenant.as_str()],
                read_stored,
            ),
            None => all(
                conn,
                "SELECT tenant, environment, bytes FROM stored_bytes ORDER BY tenant, environment",
                [],
                read_stored,
            ),
        })
        .await
    }

    #[cfg(feature = "conformance")]
    async fn usage_recount(&self, tenant: &TenantId) -> Result<(Usage, Vec<StoredBytes>), StoreError> {
        let tenant = tenant.clone();
        self.read(move |conn| recount(&*conn.unchecked_transaction()?, tenant.as_str())).await
    }
}
