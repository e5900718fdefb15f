//! Which mappings an event goes to: each source with its opened secrets and its mappings, kept in memory so
//! that intake reads nothing before it writes. A change through this host's API empties what is kept; a change
//! through another host is seen within [`KEPT_FOR`].

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use portolan_domain::{Clock, Secret, SourceId, contract::kind_covers};
use portolan_store::{Store, StoreError, mapping::Mapping, source::Source};
use serde::Deserialize;

use crate::vault::{Sealed, Vault};

/// How long a route is used before it is read again.
pub const KEPT_FOR: Duration = Duration::from_secs(5);

/// Routes kept at most; beyond, all are forgotten and read again as they are needed.
const KEPT_MAX: usize = 20_000;

/// A source's settings.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceSettings {
    /// `match` (default): in `production` only live-mode events are used, elsewhere only test-mode ones.
    /// `any`: both.
    #[serde(default)]
    pub livemode: LiveMode,
    /// When set, events of another connected account are not used.
    #[serde(default)]
    pub account: Option<String>,
}

/// Which of Stripe's modes a source takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LiveMode {
    /// The one that fits the environment.
    #[default]
    Match,
    /// Both.
    Any,
}

/// A source, ready for intake.
#[derive(Debug)]
pub struct Route {
    /// As stored.
    pub source: Source,
    /// Its settings, read.
    pub settings: SourceSettings,
    /// Every active signing secret.
    pub secrets: Vec<Secret>,
    /// Its enabled mappings.
    pub mappings: Vec<Mapping>,
    read_at: Duration,
}

impl Route {
    /// The mappings that an event of this kind goes to.
    pub fn mappings_for<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Mapping> {
        self.mappings.iter().filter(move |mapping| mapping.kinds.iter().any(|k| kind_covers(k, kind)))
    }
}

/// Why there is no route.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// The store did not answer, or has no such source (`NotFound`).
    #[error("reading the source")]
    Store(#[from] StoreError),
    /// Its secrets do not open.
    #[error("opening the source's secrets")]
    Sealed(#[from] Sealed),
    /// Its settings do not read: it was stored by another version.
    #[error("reading the source's settings")]
    Settings(#[from] serde_json::Error),
}

/// Routes by source.
#[derive(Debug)]
pub struct Routes {
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
    clock: Arc<dyn Clock>,
    kept: RwLock<HashMap<SourceId, Arc<Route>>>,
}

impl Routes {
    /// Keeps nothing yet.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, vault: Arc<Vault>, clock: Arc<dyn Clock>) -> Self {
        Self { store, vault, clock, kept: RwLock::default() }
    }

    /// The route of a source.
    ///
    /// # Errors
    /// `Store(NotFound)` when there is no such source.
    pub async fn find(&self, id: &SourceId) -> Result<Arc<Route>, RouteError> {
        let now = self.clock.monotonic();
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned();
        if let Some(route) = kept.filter(|route| now.saturating_sub(route.read_at) < KEPT_FOR) {
            return Ok(route);
        }
        let route = Arc::new(self.read(id, now).await?);
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        kept.insert(id.clone(), route.clone());
        Ok(route)
    }

    /// Forgets what is kept: sources or mappings have changed.
    pub fn forget(&self) {
        self.kept.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    async fn read(&self, id: &SourceId, read_at: Duration) -> Result<Route, RouteError> {
        let source = self.store.source_at(id).await?;
        let secrets = self.vault.open(&sealed_for(&source), &source.sealed_secrets)?.into_values().collect();
        let settings = serde_json::from_value(source.settings.clone())?;
        let mut mappings = self.store.mapping_of_source(&source.scope, id).await?;
        mappings.retain(|mapping| mapping.enabled);
        Ok(Route { source, settings, secrets, mappings, read_at })
    }
}

/// The owner under which a source's secrets are sealed.
#[must_use]
pub fn sealed_for(source: &Source) -> String {
    format!("{}/source/{}", source.scope, source.id)
}
