//! Which mappings an event goes to: each source with its opened secrets and its mappings, kept in memory so
//! that intake reads nothing before it writes: who reads may have to stand behind whatever else is read. A change through
//! this host's API empties what is kept. All the same it is read again every [`KEPT_FOR`], while requests go on with what
//! there is.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use portolan_domain::{Clock, ConnectionId, Secret, SourceId, contract::kind_covers};
use portolan_store::{Store, StoreError, mapping::Mapping, source::Source};
use serde::Deserialize;

use crate::{
    senders::{Auth, Sender},
    vault::{Sealed, Secrets, Vault},
};

/// How long a route is used before it is read again. Twice as old, it is not used any more.
pub const KEPT_FOR: Duration = Duration::from_secs(5);

/// Routes kept at most; beyond, all are forgotten and read again as they are needed.
const KEPT_MAX: usize = 20_000;

/// A source's settings. Which of them a source may have depends on its system: see [`SourceSettings::check`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SourceSettings {
    /// Stripe. `match` (default): in `production` only live-mode events are used, elsewhere only test-mode ones.
    /// `any`: both.
    pub livemode: LiveMode,
    /// Stripe. When set, events of another connected account are not used.
    pub account: Option<String>,
    /// How senders prove themselves: `signature` (Stripe; default of Epicor and Sage Pro), `bearer`, `basic` (default of
    /// SAP ECC), `client-certificate`.
    pub auth: Option<Auth>,
    /// SHA-256 fingerprints of client certificates, in hex; for `client-certificate`.
    pub certificates: Vec<String>,
    /// What is asked for regularly, besides what is sent.
    pub poll: Option<PollSettings>,
}

/// What a source asks for regularly.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PollSettings {
    /// Through which connection.
    pub connection: ConnectionId,
    /// A read that answers `{"items","cursor","more"}`: `events.changed`, `customers.changed`.
    pub operation: String,
    /// Seconds between two looks, from 10 to 86,400.
    pub every_s: u64,
    /// What else to ask, as the operation documents it; an object.
    #[serde(default)]
    pub parameters: serde_json::Map<String, serde_json::Value>,
}

impl SourceSettings {
    /// Reads and checks the settings of a source of this system.
    ///
    /// # Errors
    /// The setting that is wrong, and what would be right.
    pub fn check(self, sender: Sender, certificate_header: bool) -> Result<Self, String> {
        let system = sender.system();
        if sender != Sender::Stripe && (self.livemode != LiveMode::Match || self.account.is_some()) {
            return Err(format!("livemode and account are for Stripe; {system} has neither"));
        }
        let auth = self.auth_of(sender);
        if !sender.auths().contains(&auth) {
            return Err(format!("auth: a source of {system} can check {:?}", sender.auths()));
        }
        if (auth == Auth::ClientCertificate) == self.certificates.is_empty() {
            return Err(
                "certificates: name fingerprints when auth is client-certificate, and only then".to_owned()
            );
        }
        let hex = |text: &String| {
            text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase())
        };
        if !self.certificates.iter().all(hex) {
            return Err(
                "certificates: SHA-256 fingerprints, 64 lower-case hex digits without colons".to_owned()
            );
        }
        if auth == Auth::ClientCertificate && !certificate_header {
            let remedy = "the operator must name the header in which the proxy before this host puts the fingerprint of a \
                          checked client certificate: the setting server.client_certificate_header";
            return Err(format!("auth: {remedy}"));
        }
        if self.poll.as_ref().is_some_and(|poll| !(10..=86_400).contains(&poll.every_s)) {
            return Err("poll/every_s: from 10 to 86400 seconds".to_owned());
        }
        Ok(self)
    }

    /// How senders of this system prove themselves.
    #[must_use]
    pub fn auth_of(&self, sender: Sender) -> Auth {
        let default = sender.auths().first().copied().unwrap_or(Auth::Signature);
        self.auth.unwrap_or(default)
    }
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
    /// The kind of system that sends here.
    pub sender: Sender,
    /// Its settings, read.
    pub settings: SourceSettings,
    /// Its secrets; those that are rolled end.
    pub secrets: Vec<ActiveSecret>,
    /// Its enabled mappings.
    pub mappings: Vec<Mapping>,
    read_at: Duration,
    is_read_again: AtomicBool,
}

/// A secret of a source.
#[derive(Debug, Clone)]
pub struct ActiveSecret {
    /// What senders prove themselves with.
    pub secret: Secret,
    /// Until when it is good, in Unix seconds, once another has taken its place. None: until it is rolled.
    pub until_s: Option<u64>,
}

impl ActiveSecret {
    /// Whether it is good now.
    #[must_use]
    pub fn is_active(&self, now_s: u64) -> bool {
        self.until_s.is_none_or(|until| now_s < until)
    }
}

/// Between a secret's place and the end of its time, in the name under which it is sealed: `secret.1@1795169700`.
const UNTIL: char = '@';

/// A source's secrets as they are sealed.
pub fn to_sealed(secrets: impl IntoIterator<Item = ActiveSecret>) -> Secrets {
    let named = |(place, active): (usize, ActiveSecret)| {
        let name = match active.until_s {
            None => format!("secret.{place}"),
            Some(until) => format!("secret.{place}{UNTIL}{until}"),
        };
        (name, active.secret)
    };
    secrets.into_iter().enumerate().map(named).collect()
}

/// A source's secrets as they were sealed.
#[must_use]
pub fn from_sealed(secrets: Secrets) -> Vec<ActiveSecret> {
    let read = |(name, secret): (String, Secret)| {
        // An end that cannot be read has come.
        let until_s = name.split_once(UNTIL).map(|(_, until)| until.parse().unwrap_or(0));
        ActiveSecret { secret, until_s }
    };
    secrets.into_iter().map(read).collect()
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
    /// Its system is none that this version knows.
    #[error("the source's system {0:?} is unknown")]
    System(String),
}

/// Routes by source.
#[derive(Debug)]
pub struct Routes {
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
    clock: Arc<dyn Clock>,
    kept: RwLock<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    routes: HashMap<SourceId, Arc<Route>>,
    /// How often everything was forgotten: what was read before that is not kept.
    forgotten: u64,
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
    pub async fn find(self: &Arc<Self>, id: &SourceId) -> Result<Arc<Route>, RouteError> {
        let now = self.clock.monotonic();
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner).routes.get(id).cloned();
        let age = |route: &Route| now.saturating_sub(route.read_at);
        match kept.filter(|route| age(route) < KEPT_FOR * 2) {
            None => self.read_and_keep(id).await,
            Some(route) => {
                // By one of those who use it.
                if age(&route) >= KEPT_FOR && !route.is_read_again.swap(true, Ordering::Relaxed) {
                    let (routes, id) = (Arc::clone(self), id.clone());
                    tokio::spawn(async move {
                        // Whoever needs it when it is too old is told.
                        if let Err(error) = routes.read_and_keep(&id).await {
                            tracing::debug!(
                                error = &error as &dyn std::error::Error,
                                "a route cannot be read again"
                            );
                        }
                    });
                }
                Ok(route)
            }
        }
    }

    async fn read_and_keep(&self, id: &SourceId) -> Result<Arc<Route>, RouteError> {
        let now = self.clock.monotonic();
        let forgotten = self.kept.read().unwrap_or_else(PoisonError::into_inner).forgotten;
        let route = Arc::new(self.read(id, now).await?);
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        if kept.forgotten == forgotten {
            if kept.routes.len() >= KEPT_MAX {
                kept.routes.clear();
            }
            kept.routes.insert(id.clone(), route.clone());
        }
        Ok(route)
    }

    /// Forgets what is kept: sources or mappings have changed.
    pub fn forget(&self) {
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        kept.routes.clear();
        kept.forgotten += 1;
    }

    async fn read(&self, id: &SourceId, read_at: Duration) -> Result<Route, RouteError> {
        let source = self.store.source_at(id).await?;
        let secrets = from_sealed(self.vault.open(&sealed_for(&source), &source.sealed_secrets)?);
        let settings = serde_json::from_value(source.settings.clone())?;
        let sender = Sender::of(&source.system).ok_or_else(|| RouteError::System(source.system.clone()))?;
        let mut mappings = self.store.mapping_of_source(&source.scope, id).await?;
        mappings.retain(|mapping| mapping.enabled);
        for mapping in &mut mappings {
            // A canary that is paused gets no objects.
            if let Some(canary) = &mapping.life.canary
                && self.store.module_get(&source.scope.tenant, &canary.module).await?.paused.is_some()
            {
                mapping.life.canary = None;
            }
        }
        let is_read_again = AtomicBool::new(false);
        Ok(Route { source, sender, settings, secrets, mappings, read_at, is_read_again })
    }
}

/// The owner under which a source's secrets are sealed.
#[must_use]
pub fn sealed_for(source: &Source) -> String {
    portolan_store::sealed::owner_of_source(&source.scope, &source.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rolled_secret_is_good_until_its_end_and_no_longer() {
        let active = |text: &str, until_s| ActiveSecret { secret: Secret::new(text), until_s };
        let read = from_sealed(to_sealed([active("new", None), active("old", Some(1_000))]));
        let good = |now_s| {
            read.iter()
                .filter(|secret| secret.is_active(now_s))
                .map(|s| s.secret.expose())
                .collect::<Vec<_>>()
        };
        assert_eq!(good(999), ["new", "old"]);
        assert_eq!(good(1_000), ["new"]);
        let unreadable = Secrets::from([("secret.0@soon".to_owned(), Secret::new("x"))]);
        assert!(!from_sealed(unreadable)[0].is_active(0));
    }
}
