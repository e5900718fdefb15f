//! What is not finished: counted by probing the state indexes per environment, so that finished rows are never walked
//! over.

use std::collections::BTreeMap;

use async_trait::async_trait;
use portolan_domain::Scope;
use rusqlite::params;

use super::{
    SqliteStore,
    alert::severity,
    row::{Columns, all},
};
use crate::{
    StoreError,
    backlog::{Backlog, Backlogs, Oldest, Whose},
};

/// Every environment of these tenants: `?1` is a list of ids as JSON, or null for all.
macro_rules! per_scope {
    ($rest:literal) => {
        concat!(
            "WITH scope (tenant, environment) AS (
                 SELECT t.id, e.column1 FROM tenants t, (VALUES ('sandbox'), ('qa'), ('production')) e
                 WHERE ?1 IS NULL OR t.id IN (SELECT value FROM json_each(?1))) ",
            $rest
        )
    };
}

const RUNS: &str = per_scope!(
    "SELECT r.tenant, r.environment, r.state, count(*) FROM scope s JOIN runs r INDEXED BY runs_state
     ON r.tenant = s.tenant AND r.environment = s.environment
        AND r.state IN ('pending', 'leased', 'planned', 'held', 'dead')
     GROUP BY r.tenant, r.environment, r.state"
);

const DELIVERIES: &str = per_scope!(
    "SELECT d.tenant, d.environment, d.state, count(*) FROM scope s JOIN deliveries d INDEXED BY deliveries_state
     ON d.tenant = s.tenant AND d.environment = s.environment
        AND d.state IN ('waiting', 'pending', 'leased', 'held', 'in-doubt', 'dead')
     GROUP BY d.tenant, d.environment, d.state"
);

const ALERTS: &str = per_scope!(
    "SELECT a.tenant, a.environment, a.severity, count(*) FROM scope s JOIN alerts a INDEXED BY alerts_scope
     ON a.tenant = s.tenant AND a.environment = s.environment AND a.open = 1
     GROUP BY a.tenant, a.environment, a.severity"
);

/// Pending runs of one environment that are looked at, oldest first, to find one that was not deferred.
const LOOKED_AT: i64 = 1_000;

/// The first of a state is the oldest: the state index has rows in the order of their `seq`.
const OLDEST_RUNS: &str = per_scope!(
    "SELECT r.tenant, r.environment, r.id, e.id, r.created_at FROM scope s
     JOIN runs r ON r.seq = (
         SELECT min(seq) FROM (
             SELECT seq FROM (SELECT p.seq, p.deferred FROM runs p INDEXED BY runs_state
                 WHERE p.tenant = s.tenant AND p.environment = s.environment AND p.state = 'pending'
                 ORDER BY p.seq LIMIT ?2) WHERE deferred = 0
             UNION ALL
             SELECT min(l.seq) FROM runs l INDEXED BY runs_state
             WHERE l.tenant = s.tenant AND l.environment = s.environment AND l.state = 'leased'))
     JOIN events e ON e.seq = r.event_seq"
);

const OLDEST_DELIVERIES: &str = per_scope!(
    "SELECT d.tenant, d.environment, d.id, e.id, d.created_at FROM scope s
     JOIN deliveries d ON d.seq = (
         SELECT min(seq) FROM (
             SELECT min(p.seq) AS seq FROM deliveries p INDEXED BY deliveries_state
             WHERE p.tenant = s.tenant AND p.environment = s.environment AND p.state = 'pending'
             UNION ALL
             SELECT min(l.seq) FROM deliveries l INDEXED BY deliveries_state
             WHERE l.tenant = s.tenant AND l.environment = s.environment AND l.state = 'leased'))
     JOIN events e ON e.seq = d.event_seq"
);

fn ids(whose: &Whose) -> Option<String> {
    match whose {
        Whose::All => None,
        Whose::These(tenants) => Some(serde_json::json!(tenants).to_string()),
    }
}

#[async_trait]
impl Backlogs for SqliteStore {
    async fn backlog(&self, whose: Whose) -> Result<BTreeMap<Scope, Backlog>, StoreError> {
        self.read(move |conn| {
            let whose = ids(&whose);
            let mut found: BTreeMap<Scope, Backlog> = BTreeMap::new();
            for (scope, state, count) in
                all(conn, RUNS, [&whose], |c| Ok((c.scope()?, c.parsed()?, c.count()?)))?
            {
                found.entry(scope).or_default().runs.insert(state, count);
            }
            let deliveries = all(conn, DELIVERIES, [&whose], |c| Ok((c.scope()?, c.parsed()?, c.count()?)))?;
            for (scope, state, count) in deliveries {
                found.entry(scope).or_default().deliveries.insert(state, count);
            }
            let alerts = all(conn, ALERTS, [&whose], |c| Ok((c.scope()?, severity(c.get()?), c.count()?)))?;
            for (scope, severity, count) in alerts {
                found.entry(scope).or_default().alerts.insert(severity, count);
            }
            Ok(found)
        })
        .await
    }

    async fn oldest_work(&self, whose: Whose) -> Result<Vec<Oldest>, StoreError> {
        self.read(move |conn| {
            let whose = ids(&whose);
            let read = |c: &mut Columns<'_, '_>| {
                Ok(Oldest { scope: c.scope()?, subject: c.get()?, event: c.parsed()?, since: c.time()? })
            };
            let mut found = all(conn, OLDEST_RUNS, params![whose, LOOKED_AT], read)?;
            found.extend(all(conn, OLDEST_DELIVERIES, [&whose], read)?);
            Ok(found)
        })
        .await
    }
}
