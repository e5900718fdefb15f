//! What an image must be: a database that the real store opens, that holds everything that was acknowledged, that is one
//! of the states that the store passed through, and with which the store goes on.

use std::{
    ops::Range,
    path::Path,
    sync::{Arc, atomic::AtomicU64},
};

use portolan_domain::{
    RunId,
    contract::{Reference, ReferenceKey},
};
use portolan_store::{
    Finish, Store, StoreError,
    conformance::world::{START, World, plan, request},
    delivery::DeliveryEnd,
    sqlite::{SqliteSettings, SqliteStore},
};
use rusqlite::Connection;
use serde_json::json;

use crate::{
    disk::FILES,
    facts::Fact,
    invariants,
    states::{self, State},
};

/// How an image failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finding {
    /// Something that was acknowledged is not there.
    Lost(String),
    /// It is between two states, or older than what was synced.
    Torn(String),
    /// SQLite or the store cannot make sense of it.
    Unsound(String),
    /// The store does not go on with it.
    Stuck(String),
}

/// What may be found.
pub(crate) struct Expected<'a> {
    pub(crate) facts: &'a [Fact],
    /// The states that it may be in; none when that is not looked at.
    pub(crate) states: Option<States<'a>>,
}

/// The states that a database passed through, and which of them it may be in.
pub(crate) struct States<'a> {
    pub(crate) all: &'a [State],
    pub(crate) allowed: Range<usize>,
}

/// How the store is opened on an image: small, and checkpoints soon.
pub(crate) fn settings() -> SqliteSettings {
    SqliteSettings { readers: 1, ..SqliteSettings::default() }
}

static NUMBER: AtomicU64 = AtomicU64::new(0);

/// Judges a folder. Whatever cannot be asked is a finding.
pub(crate) fn judge(folder: &Path, expected: &Expected<'_>) -> Result<(), Finding> {
    let file = folder.join(FILES[0]);
    let store = SqliteStore::open_with(&file, &settings())
        .map_err(|error| Finding::Unsound(format!("the store does not open it: {}", told(&error))))?;
    let conn = Connection::open(&file).map_err(unsound)?;
    sound(&conn)?;
    for fact in expected.facts {
        if !fact.holds(&conn).map_err(unsound)? {
            return Err(Finding::Lost(fact.what.clone()));
        }
    }
    if let Some(States { all, allowed }) = &expected.states {
        let (digest, _) = states::digest(&conn).map_err(unsound)?;
        let is = |number: &usize| all.get(*number).is_some_and(|state| state.digest == digest);
        if !allowed.clone().any(|number| is(&number)) {
            let found = (0..all.len()).find(is);
            let text = format!("it may be in the states {allowed:?} and is in {found:?} of {}", all.len());
            return Err(Finding::Torn(text));
        }
    }
    let broken = invariants::broken(&conn).map_err(unsound)?;
    if !broken.is_empty() {
        return Err(Finding::Torn(broken.join("; ")));
    }
    goes_on(store)?;
    sound(&conn)?;
    let broken = invariants::broken(&conn).map_err(unsound)?;
    if broken.is_empty() { Ok(()) } else { Err(Finding::Stuck(broken.join("; "))) }
}

fn unsound(error: rusqlite::Error) -> Finding {
    Finding::Unsound(error.to_string())
}

/// An error with its causes.
pub(crate) fn told(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", told(source)),
        None => error.to_string(),
    }
}

fn sound(conn: &Connection) -> Result<(), Finding> {
    let sound: String = conn.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(unsound)?;
    if sound != "ok" {
        return Err(Finding::Unsound(sound));
    }
    let astray =
        conn.prepare_cached("PRAGMA foreign_key_check").map_err(unsound)?.exists([]).map_err(unsound)?;
    if astray { Err(Finding::Unsound("a foreign key refers to nothing".to_owned())) } else { Ok(()) }
}

/// The next start: the leases of the dead end, and a new event goes all its way.
fn goes_on(store: Arc<SqliteStore>) -> Result<(), Finding> {
    let stuck = |error: &dyn std::error::Error| Finding::Stuck(told(error));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| stuck(&e))?;
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let gone_on = runtime.block_on(async {
        let store: Arc<dyn Store> = store;
        // Late enough for everything that was put off.
        let now = START.plus(std::time::Duration::from_secs(3_600));
        let owner = format!("after {number}");
        store.leases_end_foreign(&owner, &[], now).await?;
        store.ping().await?;
        let world = World::new(store.clone()).await;
        let (_, run) = world.accept("ch_after").await;
        let mut own = None;
        for claim in store.run_claim(request(&owner, now)).await? {
            // What others planned goes on without their worlds.
            if claim.id == run {
                let end = plan("after", vec![world.a_delivery("after", &[])]);
                let record = portolan_store::conformance::world::record();
                own = Some(store.run_finish(&claim.id, &claim.lease, record, end, now).await?);
            }
        }
        for claim in store.delivery_claim(request(&owner, now)).await? {
            let reference = ReferenceKey { kind: "by".to_owned(), id: claim.id.to_string() };
            let reference = Reference { key: reference, system: "sap-ecc".to_owned(), id: owner.clone() };
            let response = json!({ "number": "after" });
            let end = DeliveryEnd::Delivered { response, adopted: false, references: vec![reference] };
            if store.delivery_finish(&claim.id, &claim.lease, None, end, now).await? == Finish::LeaseLost {
                return Err(StoreError::Conflict("a lease was lost to nobody"));
            }
        }
        let state = store.run_get(&world.scope, &run).await?.state;
        Ok::<(_, _, RunId), StoreError>((own, state, run))
    });
    // Dropping the runtime and the store closes the files.
    match gone_on {
        Ok((Some(Finish::Done), portolan_domain::state::RunState::Delivered, _)) => Ok(()),
        Ok((own, state, run)) => {
            Err(Finding::Stuck(format!("the new run {run} is {state}, its end {own:?}")))
        }
        Err(error) => Err(stuck(&error)),
    }
}
