//! Opens the connections of tenants and keeps them, each with its pool of sockets, until its settings change.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use portolan_connectors::{ConfigError, Connection, ConnectionConfig, Effect, Registry, outbound::Outbound};
use portolan_domain::{ConnectionId, Scope};
use portolan_store::{
    Store, StoreError,
    connection::{ConnectionRow, PAUSED_BY_HOST},
};

use crate::vault::{Sealed, Vault};

/// Connections kept at most; beyond, all are closed and opened again as they are needed.
const KEPT_MAX: usize = 5_000;

/// Why a connection cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The store did not answer, or has no such connection (`NotFound`).
    #[error("reading the connection")]
    Store(#[from] StoreError),
    /// Its secrets do not open.
    #[error("opening the connection's secrets")]
    Sealed(#[from] Sealed),
    /// Its settings are wrong.
    #[error("the connection's settings are wrong: {0}")]
    Config(#[from] ConfigError),
    /// There is no such connector in this host.
    #[error("there is no connector {0:?}")]
    UnknownConnector(String),
}

/// An opened connection.
#[derive(Debug, Clone)]
pub struct Opened {
    /// Makes the calls.
    pub connection: Arc<dyn Connection>,
    /// The connector's name.
    pub connector: &'static str,
    /// Our credentials were refused: nothing may be asked of it until somebody acts. A pause that a person made only
    /// keeps back what would be sent.
    pub is_refused: bool,
    operations: &'static [portolan_connectors::Operation],
    /// Rises with every change of its settings or secrets.
    pub revision: u64,
}

impl Opened {
    /// What the connector says of an operation, if it has it.
    #[must_use]
    pub fn effect(&self, operation: &str) -> Option<Effect> {
        self.operations.iter().find(|known| known.name == operation).map(|known| known.effect)
    }
}

/// Connections by id.
#[derive(Debug)]
pub struct Connections {
    store: Arc<dyn Store>,
    registry: Arc<Registry>,
    vault: Arc<Vault>,
    outbound: Outbound,
    kept: RwLock<HashMap<ConnectionId, Opened>>,
}

impl Connections {
    /// Keeps none yet.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        registry: Arc<Registry>,
        vault: Arc<Vault>,
        outbound: Outbound,
    ) -> Self {
        Self { store, registry, vault, outbound, kept: RwLock::default() }
    }

    /// The connection of a scope. Its row is read every time, so that another tenant's id opens nothing and a
    /// change of its settings is seen at once.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub async fn open(&self, scope: &Scope, id: &ConnectionId) -> Result<Opened, Unusable> {
        let row = self.store.connection_get(scope, id).await?;
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned();
        if let Some(opened) = kept.filter(|opened| opened.revision == row.revision) {
            return Ok(Opened { is_refused: is_refused(&row), ..opened });
        }
        let opened = self.connect(&row)?;
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        kept.insert(id.clone(), opened.clone());
        Ok(opened)
    }

    /// Makes a connection from a row, without keeping it: also how the API checks new settings.
    ///
    /// # Errors
    /// What is wrong with its settings or secrets.
    pub fn connect(&self, row: &ConnectionRow) -> Result<Opened, Unusable> {
        let connector = self.registry.get(&row.connector);
        let connector = connector.ok_or_else(|| Unusable::UnknownConnector(row.connector.clone()))?;
        let secrets = self.vault.open(&sealed_for(row), &row.sealed_secrets)?;
        let config = ConnectionConfig { settings: row.settings.clone(), secrets };
        let connection = connector.connect(&config, &self.outbound)?;
        Ok(Opened {
            connection,
            connector: connector.name(),
            is_refused: is_refused(row),
            operations: connector.operations(),
            revision: row.revision,
        })
    }

    /// How many calls a kept connection may be given at once.
    #[must_use]
    pub fn concurrency_max(&self, id: &str) -> Option<usize> {
        let id = id.parse().ok()?;
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        kept.get(&id).map(|opened| opened.connection.concurrency_max())
    }
}

fn is_refused(row: &ConnectionRow) -> bool {
    row.paused.as_ref().is_some_and(|pause| pause.by == PAUSED_BY_HOST)
}

/// The owner under which a connection's secrets are sealed.
#[must_use]
pub fn sealed_for(row: &ConnectionRow) -> String {
    portolan_store::sealed::owner_of_connection(&row.scope, &row.id)
}
