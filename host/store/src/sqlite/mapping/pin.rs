//! What a mapping is pinned to, and was (S20): every change is a new row with the next number, in the transaction that
//! changes the mapping.

use portolan_domain::{MappingId, Timestamp};
use rusqlite::{Connection, params};

use crate::{
    StoreError,
    mapping::{Mapping, Pin, PinChange},
    run::Decision,
    sqlite::row::{Columns, all, change, first, integer, json, json_of, millis},
};

macro_rules! columns {
    () => {
        "number, module, settings, connections, grants, before, replay, by, why, at"
    };
}

/// The whole answer to a list.
const ROWS_MAX: u32 = 500;

fn read(c: &mut Columns<'_, '_>) -> Result<Pin, StoreError> {
    Ok(Pin {
        number: c.count()?,
        module: c.parsed()?,
        settings: c.json()?,
        connections: c.json_or_default()?,
        grants: c.json_option()?,
        before: c.get::<Option<i64>>()?.and_then(|number| u64::try_from(number).ok()),
        replay: c.parsed_option()?,
        by: c.get()?,
        why: c.get()?,
        at: c.time()?,
    })
}

fn insert(conn: &Connection, mapping: &MappingId, pin: &Pin) -> Result<(), StoreError> {
    let sql = concat!(
        "INSERT INTO pins (mapping, ",
        columns!(),
        ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
    );
    let params = params![
        mapping.as_str(),
        integer(pin.number),
        pin.module.as_str(),
        json(&pin.settings),
        json_of(&pin.connections)?,
        pin.grants.as_ref().map(json_of).transpose()?,
        pin.before.map(integer),
        pin.replay.as_ref().map(|id| id.as_str()),
        pin.by,
        pin.why,
        millis(pin.at)
    ];
    change(conn, sql, params)?;
    Ok(())
}

/// The first pin of a new mapping.
pub(super) fn begin(conn: &Connection, mapping: &Mapping, by: &str) -> Result<(), StoreError> {
    let first = Pin {
        number: 1,
        module: mapping.module.clone(),
        settings: mapping.settings.clone(),
        connections: mapping.connections.clone(),
        grants: mapping.life.grants.clone(),
        before: None,
        replay: None,
        by: by.to_owned(),
        why: None,
        at: mapping.created_at,
    };
    insert(conn, &mapping.id, &first)
}

/// Moves the pin. What is not changed is as it was.
pub(super) fn move_to(
    conn: &Connection,
    mapping: &Mapping,
    wanted: PinChange,
    now: Timestamp,
) -> Result<(), StoreError> {
    let next = Pin {
        number: mapping.life.pin.saturating_add(1),
        module: wanted.module.unwrap_or_else(|| mapping.module.clone()),
        settings: wanted.settings.unwrap_or_else(|| mapping.settings.clone()),
        connections: wanted.connections.unwrap_or_else(|| mapping.connections.clone()),
        grants: wanted.grants.or_else(|| mapping.life.grants.clone()),
        before: Some(mapping.life.pin),
        replay: wanted.replay,
        by: wanted.by.unwrap_or_default(),
        why: wanted.why,
        at: now,
    };
    put(conn, &mapping.id, &next)
}

/// Makes the pin before the one in force the next. Rolling back again goes further back.
pub(super) fn roll_back(conn: &Connection, mapping: &Mapping, decision: &Decision) -> Result<(), StoreError> {
    let none = || StoreError::Conflict("there is no pin before this one");
    let in_force = get(conn, &mapping.id, mapping.life.pin)?;
    let target = get(conn, &mapping.id, in_force.before.ok_or_else(none)?)?;
    let next = Pin {
        number: in_force.number.saturating_add(1),
        by: decision.by.clone(),
        why: Some(decision.why.clone()),
        at: decision.at,
        ..target
    };
    put(conn, &mapping.id, &next)
}

fn get(conn: &Connection, mapping: &MappingId, number: u64) -> Result<Pin, StoreError> {
    let sql = concat!("SELECT ", columns!(), " FROM pins WHERE mapping = ?1 AND number = ?2");
    first(conn, sql, params![mapping.as_str(), integer(number)], read)?.ok_or(StoreError::NotFound)
}

fn put(conn: &Connection, mapping: &MappingId, pin: &Pin) -> Result<(), StoreError> {
    insert(conn, mapping, pin)?;
    change(
        conn,
        "UPDATE mappings SET pin = ?2, module = ?3, settings = ?4, connections = ?5, grants = ?6 WHERE id = ?1",
        params![
            mapping.as_str(),
            integer(pin.number),
            pin.module.as_str(),
            json(&pin.settings),
            json_of(&pin.connections)?,
            pin.grants.as_ref().map(json_of).transpose()?
        ],
    )?;
    Ok(())
}

/// Newest first.
pub(super) fn list(conn: &Connection, mapping: &MappingId) -> Result<Vec<Pin>, StoreError> {
    let sql = concat!("SELECT ", columns!(), " FROM pins WHERE mapping = ?1 ORDER BY number DESC LIMIT ?2");
    all(conn, sql, params![mapping.as_str(), ROWS_MAX], read)
}
