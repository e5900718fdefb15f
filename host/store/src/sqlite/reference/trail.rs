//! From a number that some system uses to the events that led to it.

use portolan_domain::{Scope, contract::ReferenceKey};
use rusqlite::{Connection, params};
use serde_json::Value;

use crate::{
    StoreError,
    reference::{KnownBy, Trail},
    sqlite::row::{all, first},
};

/// The whole answer.
const TRAILS_MAX: u32 = 100;
/// Systems that are looked through.
const SYSTEMS_MAX: usize = 50;
/// Responses that are looked through, the latest first: no index has what is in them.
const RESPONSES_MAX: u32 = 20_000;

const NEXT_SYSTEM: &str = "
    SELECT system FROM object_references INDEXED BY object_references_reverse
    WHERE tenant = ?1 AND environment = ?2 AND system > ?3 ORDER BY system LIMIT 1";

const REMEMBERED: &str = "
    SELECT r.event, r.kind, r.object_id FROM object_references r
    WHERE r.tenant = ?1 AND r.environment = ?2 AND r.system = ?3 AND r.counterpart = ?4
    ORDER BY r.event DESC LIMIT ?5";

const ABOUT: &str = "
    SELECT id, system FROM events INDEXED BY events_object
    WHERE tenant = ?1 AND environment = ?2 AND object_id = ?3 ORDER BY seq DESC LIMIT ?4";

const ANSWERED: &str = "
    SELECT e.id, n.connector, c.response FROM (
        SELECT seq, event_seq, connection FROM deliveries INDEXED BY deliveries_state
        WHERE tenant = ?1 AND environment = ?2 AND state = 'delivered' ORDER BY seq DESC LIMIT ?4) d
    CROSS JOIN delivery_contents c ON c.delivery_seq = d.seq
    CROSS JOIN connections n ON n.id = d.connection
    CROSS JOIN events e ON e.seq = d.event_seq
    WHERE instr(c.response, ?3) > 0 LIMIT ?5";

/// What references and events say.
pub(super) fn known(
    conn: &Connection,
    scope: &Scope,
    system: Option<&str>,
    document: &str,
) -> Result<Vec<Trail>, StoreError> {
    let mut found = remembered(conn, scope, system, document)?;
    found.extend(about(conn, scope, system, document)?);
    found.truncate(TRAILS_MAX as usize);
    Ok(found)
}

fn remembered(
    conn: &Connection,
    scope: &Scope,
    system: Option<&str>,
    document: &str,
) -> Result<Vec<Trail>, StoreError> {
    let (tenant, environment) = (scope.tenant.as_str(), scope.environment.as_str());
    let (mut systems, mut last) = (Vec::new(), String::new());
    while systems.len() < SYSTEMS_MAX
        && let Some(next) = first(conn, NEXT_SYSTEM, [tenant, environment, &last], |c| c.get::<String>())?
    {
        last.clone_from(&next);
        systems.push(next);
    }
    systems.retain(|known| system.is_none_or(|system| is_of(known, system)));
    let mut found = Vec::new();
    for system in systems {
        found.extend(all(
            conn,
            REMEMBERED,
            params![tenant, environment, system, document, TRAILS_MAX],
            |c| {
                let event = c.parsed()?;
                let key = Some(ReferenceKey { kind: c.get()?, id: c.get()? });
                Ok(Trail { event, system: system.clone(), by: KnownBy::Reference, key })
            },
        )?);
    }
    Ok(found)
}

/// Whether a reference's system (`sage-pro.invoice`) is this one, or a part of it (`sage-pro`).
fn is_of(known: &str, system: &str) -> bool {
    known.strip_prefix(system).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn about(
    conn: &Connection,
    scope: &Scope,
    system: Option<&str>,
    document: &str,
) -> Result<Vec<Trail>, StoreError> {
    let (tenant, environment) = (scope.tenant.as_str(), scope.environment.as_str());
    let mut found = all(conn, ABOUT, params![tenant, environment, document, TRAILS_MAX], |c| {
        Ok(Trail { event: c.parsed()?, system: c.get()?, by: KnownBy::Object, key: None })
    })?;
    found.retain(|trail| system.is_none_or(|system| system == trail.system));
    Ok(found)
}

/// What the latest responses hold.
pub(super) fn answered(
    conn: &Connection,
    scope: &Scope,
    system: Option<&str>,
    document: &str,
) -> Result<Vec<Trail>, StoreError> {
    let (tenant, environment) = (scope.tenant.as_str(), scope.environment.as_str());
    // As it stands in JSON, so that a quote in it finds itself.
    let written = Value::from(document).to_string();
    let written = written.trim_matches('"');
    let params = params![tenant, environment, written, RESPONSES_MAX, TRAILS_MAX];
    let found = all(conn, ANSWERED, params, |c| {
        Ok((Trail { event: c.parsed()?, system: c.get()?, by: KnownBy::Response, key: None }, c.json()?))
    })?;
    let is = |(trail, response): &(Trail, Value)| {
        system.is_none_or(|system| system == trail.system) && holds(response, document)
    };
    Ok(found.into_iter().filter(is).map(|(trail, _)| trail).collect())
}

/// Whether a text or number anywhere in it is this one.
fn holds(value: &Value, document: &str) -> bool {
    match value {
        Value::String(text) => text == document,
        Value::Number(number) => number.to_string() == document,
        Value::Array(items) => items.iter().any(|item| holds(item, document)),
        Value::Object(fields) => fields.values().any(|field| holds(field, document)),
        Value::Null | Value::Bool(_) => false,
    }
}
