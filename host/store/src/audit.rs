//! The audit log: who changed what, when, in chains that show every later change made to them.
//!
//! One chain per tenant and one of the host's own. An entry is stored in the transaction of the change that it tells,
//! by the store itself: **a method that changes what people configure or decide is written with
//! `SqliteStore::audited(Change, …)` instead of `SqliteStore::write(…)`**, and nothing else is to be done for it. Who
//! did it is not an argument: the API opens a request with [`in_request`] and names the caller with [`acts`] when it has
//! recognised the key; what happens outside a request was done by the host itself.
//!
//! Each entry carries a MAC (HMAC-SHA256) of its own fields and of the MAC before it, under a key that is in the
//! database only sealed. Whoever can write the file but has no master key cannot change, remove, put in or move an
//! entry, nor shorten a chain, without [`verify`] saying so. What the file alone cannot show is that all of
//! it is an older copy: that shows against [`Checkpoint`]s which were kept elsewhere.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use async_trait::async_trait;
use hmac::{Hmac, Mac};
use portolan_domain::{Environment, Scope, TenantId, Timestamp};
use serde_json::Value;
use sha2::Sha256;

use crate::{Page, StoreError};

/// The chain of what concerns no single tenant, and the name of the host as an actor.
pub const HOST: &str = "host";

/// Under which name the key of the chains is among the host's own.
pub const KEY_NAME: &str = "audit";

/// A keyed digest.
pub type Digest = [u8; 32];

/// The key of the digests. It does not print.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct AuditKey([u8; 32]);

impl AuditKey {
    /// From 32 random bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    fn mac(&self, purpose: &str, parts: &[&[u8]]) -> Digest {
        // HMAC takes keys of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return [0; 32] };
        for part in [purpose.as_bytes()].iter().chain(parts) {
            mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

impl std::fmt::Debug for AuditKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AuditKey(***)")
    }
}

/// Who does something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// A key's id, or `host`.
    pub by: String,
    /// The key's role; `host` for the host.
    pub role: String,
}

impl Actor {
    /// The host itself.
    #[must_use]
    pub fn host() -> Self {
        Self { by: HOST.to_owned(), role: HOST.to_owned() }
    }
}

tokio::task_local! {
    static CALLER: Arc<OnceLock<Actor>>;
}

/// Does the work of one request: whoever is named by [`acts`] within it has done what it changes.
pub async fn in_request<F: Future>(work: F) -> F::Output {
    CALLER.scope(Arc::default(), work).await
}

/// Names who makes the request that is under way. The first name stays; outside a request it says nothing.
pub fn acts(actor: Actor) {
    drop(CALLER.try_with(|caller| caller.set(actor)));
}

/// Who acts now.
#[must_use]
pub fn actor() -> Actor {
    CALLER.try_with(|caller| caller.get().cloned()).ok().flatten().unwrap_or_else(Actor::host)
}

/// What is told of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Whose chain: a tenant's, or the host's own.
    pub tenant: Option<TenantId>,
    /// In which of the tenant's environments, if in one.
    pub environment: Option<Environment>,
    /// What was done, noun first: `connection.update`.
    pub action: &'static str,
    /// To what: an id.
    pub subject: String,
    /// More about it. Never a secret; an object or null.
    pub detail: Value,
}

impl Change {
    /// A change in one of a tenant's environments.
    #[must_use]
    pub fn of(scope: &Scope, action: &'static str, subject: impl Into<String>) -> Self {
        Self { environment: Some(scope.environment), ..Self::of_tenant(&scope.tenant, action, subject) }
    }

    /// A change that concerns a tenant as a whole.
    #[must_use]
    pub fn of_tenant(tenant: &TenantId, action: &'static str, subject: impl Into<String>) -> Self {
        Self { tenant: Some(tenant.clone()), ..Self::of_host(action, subject) }
    }

    /// A change that concerns no single tenant.
    #[must_use]
    pub fn of_host(action: &'static str, subject: impl Into<String>) -> Self {
        Self { tenant: None, environment: None, action, subject: subject.into(), detail: Value::Null }
    }

    /// With more about it.
    #[must_use]
    pub fn with(self, detail: Value) -> Self {
        Self { detail, ..self }
    }

    /// The chain that it goes into.
    #[must_use]
    pub fn chain(&self) -> &str {
        self.tenant.as_ref().map_or(HOST, TenantId::as_str)
    }
}

/// A stored entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// A tenant's id, or `host`.
    pub chain: String,
    /// Its place, from 1.
    pub number: u64,
    /// When, by the clock of the database's machine.
    pub at: Timestamp,
    /// In which environment, if in one.
    pub environment: Option<String>,
    /// A key's id, or `host`.
    pub by: String,
    /// The key's role then, or `host`.
    pub role: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub subject: String,
    /// More about it, as JSON text.
    pub detail: Option<String>,
    /// The MAC of the entry before.
    pub previous: Digest,
    /// The MAC of this one.
    pub mac: Digest,
}

impl Entry {
    /// The MAC that it must have.
    #[must_use]
    pub fn mac_under(&self, key: &AuditKey) -> Digest {
        let optional =
            |text: &Option<String>| text.as_ref().map(|text| format!("={text}")).unwrap_or_default();
        let (environment, detail) = (optional(&self.environment), optional(&self.detail));
        key.mac(
            "portolan audit entry 1",
            &[
                self.chain.as_bytes(),
                &self.number.to_be_bytes(),
                &self.at.as_millis().to_be_bytes(),
                environment.as_bytes(),
                self.by.as_bytes(),
                self.role.as_bytes(),
                self.action.as_bytes(),
                self.subject.as_bytes(),
                detail.as_bytes(),
                &self.previous,
            ],
        )
    }
}

/// The end of a chain, as the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Whose.
    pub chain: String,
    /// How many entries there are.
    pub count: u64,
    /// The last one's MAC.
    pub mac: Digest,
    /// How many of the oldest were removed, because they had been kept long enough.
    pub removed: u64,
    /// The MAC of the last one removed.
    pub removed_mac: Digest,
    /// The MAC of what is above.
    pub seal: Digest,
}

impl Head {
    /// The seal that it must have.
    #[must_use]
    pub fn seal_under(&self, key: &AuditKey) -> Digest {
        let (count, removed) = (self.count.to_be_bytes(), self.removed.to_be_bytes());
        if self.removed == 0 {
            return key.mac("portolan audit head 1", &[self.chain.as_bytes(), &count, &self.mac]);
        }
        let parts: [&[u8]; 5] = [self.chain.as_bytes(), &count, &self.mac, &removed, &self.removed_mac];
        key.mac("portolan audit head 2", &parts)
    }
}

/// The end of a chain as it was at some time, kept outside the database: one line of JSON in the checkpoint file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// When it was written, in milliseconds since 1970.
    pub at_ms: u64,
    /// Whose.
    pub chain: String,
    /// How many entries there were.
    pub count: u64,
    /// The last one's MAC, in hex.
    pub mac: String,
    /// The MAC of the four above, in hex.
    pub seal: String,
}

impl Checkpoint {
    /// Of a head, now.
    #[must_use]
    pub fn of(head: &Head, at: Timestamp, key: &AuditKey) -> Self {
        let mut checkpoint = Self {
            at_ms: at.as_millis(),
            chain: head.chain.clone(),
            count: head.count,
            mac: hex(&head.mac),
            seal: String::new(),
        };
        checkpoint.seal = checkpoint.seal_under(key);
        checkpoint
    }

    /// The seal that it must have.
    #[must_use]
    pub fn seal_under(&self, key: &AuditKey) -> String {
        let parts: [&[u8]; 4] = [
            self.chain.as_bytes(),
            &self.count.to_be_bytes(),
            self.mac.as_bytes(),
            &self.at_ms.to_be_bytes(),
        ];
        hex(&key.mac("portolan audit checkpoint 1", &parts))
    }
}

/// A digest in hex.
#[must_use]
pub fn hex(digest: &Digest) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How a chain was tampered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Tampering {
    /// An entry says something else than when it was written.
    Modified,
    /// An entry is missing between others.
    Deleted,
    /// An entry stands where none was written.
    Inserted,
    /// An entry was written for another place in the chain.
    Reordered,
    /// An entry was written for another chain.
    OtherChains,
    /// From here on the chain was written anew without the key.
    Restamped,
    /// Entries at the end are missing, or the whole chain is.
    Truncated,
    /// The row that says how long the chain is was changed.
    HeadForged,
    /// All of it is older than a checkpoint, or went another way since.
    RolledBack,
}

/// The first thing that is wrong with a chain.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct Fault {
    /// Whose.
    pub chain: String,
    /// At which entry.
    pub number: u64,
    /// What.
    pub tampering: Tampering,
}

/// A chain as it was read: entries by number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chain {
    /// Its entries, by number.
    pub entries: Vec<Entry>,
    /// Its end; none when the row is missing.
    pub head: Option<Head>,
}

/// Looks at one chain. `chains` are the names of all there are: an entry that was written for another is told as such.
///
/// # Errors
/// The first entry that is wrong, and how.
pub fn verify(name: &str, chain: &Chain, key: &AuditKey, chains: &[&str]) -> Result<(), Fault> {
    let fault = |number, tampering| Err(Fault { chain: name.to_owned(), number, tampering });
    // Where it begins is believed only when the head is genuine: see below, where a head that is not is told.
    let begun = chain.head.as_ref().filter(|head| head.chain == name && head.seal == head.seal_under(key));
    let (removed, mut previous) = begun.map_or((0, [0; 32]), |head| (head.removed, head.removed_mac));
    let mut expected = removed.saturating_add(1);
    for (index, entry) in chain.entries.iter().enumerate() {
        let intact = entry.mac == entry.mac_under(key);
        if entry.chain != name || !intact || entry.previous != previous || entry.number != expected {
            let what = if intact && entry.number > expected {
                Tampering::Deleted
            } else {
                blame(chain, index, key, chains)
            };
            return fault(entry.number.min(expected), what);
        }
        previous = entry.mac;
        expected = expected.saturating_add(1);
    }
    let Some(head) = &chain.head else { return fault(expected, Tampering::Truncated) };
    if head.chain != name || head.seal != head.seal_under(key) {
        return fault(expected.saturating_sub(1), Tampering::HeadForged);
    }
    match head.count.cmp(&expected.saturating_sub(1)) {
        std::cmp::Ordering::Greater => fault(expected, Tampering::Truncated),
        std::cmp::Ordering::Less => fault(head.count.saturating_add(1), Tampering::Inserted),
        std::cmp::Ordering::Equal if head.mac != previous => fault(head.count, Tampering::HeadForged),
        std::cmp::Ordering::Equal => Ok(()),
    }
}

/// What happened to an entry that does not fit, as far as it can be told.
fn blame(chain: &Chain, index: usize, key: &AuditKey, chains: &[&str]) -> Tampering {
    let Some(entry) = chain.entries.get(index) else { return Tampering::Truncated };
    if entry.mac == entry.mac_under(key) {
        return Tampering::Inserted;
    }
    let fits = |changed: Entry| changed.mac == changed.mac_under(key);
    if chains.iter().any(|other| fits(Entry { chain: (*other).to_owned(), ..entry.clone() })) {
        return Tampering::OtherChains;
    }
    let places = chain.entries.len() as u64 + 2;
    if (1..=places).any(|number| fits(Entry { number, ..entry.clone() })) {
        // It was written for another place: the one that stood here is gone, or stands elsewhere.
        let here = |other: &Entry| {
            other.number != entry.number && fits(Entry { number: entry.number, ..other.clone() })
        };
        let moved = chain.entries.iter().any(here);
        return if moved { Tampering::Reordered } else { Tampering::Deleted };
    }
    let last = index + 1 == chain.entries.len();
    match chain.entries.get(index + 1) {
        // The next one was linked to it anew, and is as false.
        Some(next) if next.previous == entry.mac && next.mac != next.mac_under(key) => Tampering::Restamped,
        // The next one, which is genuine, follows the one before: this one was put between.
        Some(next) if next.previous == entry.previous || renumbered(next, entry, key) => Tampering::Inserted,
        _ if last && chain.head.as_ref().is_some_and(|head| head.count < entry.number) => Tampering::Inserted,
        _ => Tampering::Modified,
    }
}

/// Whether `next` was written for the place of `entry` and moved up.
fn renumbered(next: &Entry, entry: &Entry, key: &AuditKey) -> bool {
    next.mac == Entry { number: entry.number, ..next.clone() }.mac_under(key)
}

/// Compares chains with what was kept of them elsewhere. Checkpoints of other keys say nothing and are refused.
///
/// # Errors
/// The first chain that is shorter than it was once, or went another way.
pub fn verify_against(
    chains: &BTreeMap<String, Chain>,
    checkpoints: &[Checkpoint],
    key: &AuditKey,
) -> Result<(), Fault> {
    for checkpoint in checkpoints {
        let fault =
            |tampering| Fault { chain: checkpoint.chain.clone(), number: checkpoint.count, tampering };
        if checkpoint.seal != checkpoint.seal_under(key) {
            return Err(fault(Tampering::HeadForged));
        }
        let Some(chain) = chains.get(&checkpoint.chain) else {
            if is_deleted(chains, &checkpoint.chain) {
                continue;
            }
            return Err(fault(Tampering::RolledBack));
        };
        let removed = chain.head.as_ref().map_or(0, |head| head.removed);
        // What it tells of was removed since; that the chain begins later is sealed in its head.
        if checkpoint.count <= removed {
            continue;
        }
        let place = usize::try_from(checkpoint.count - removed - 1).unwrap_or(usize::MAX);
        let entry = chain.entries.get(place);
        if entry.is_none_or(|entry| hex(&entry.mac) != checkpoint.mac) {
            return Err(fault(Tampering::RolledBack));
        }
    }
    Ok(())
}

/// Looks at every chain, and at what the chains say of each other: whatever tenant the host's chain made has one.
///
/// # Errors
/// The first fault.
pub fn verify_all(chains: &BTreeMap<String, Chain>, key: &AuditKey) -> Result<(), Fault> {
    let names: Vec<&str> = chains.keys().map(String::as_str).collect();
    for (name, chain) in chains {
        verify(name, chain, key, &names)?;
    }
    let made = chains.get(HOST).into_iter().flat_map(|chain| &chain.entries);
    for entry in made.filter(|entry| entry.action == TENANT_CREATED) {
        if !chains.contains_key(&entry.subject) && !is_deleted(chains, &entry.subject) {
            let tampering = Tampering::Truncated;
            return Err(Fault { chain: entry.subject.clone(), number: 1, tampering });
        }
    }
    Ok(())
}

/// Whether the host's chain says that this tenant was removed, with its chain.
fn is_deleted(chains: &BTreeMap<String, Chain>, tenant: &str) -> bool {
    let mut told = chains.get(HOST).into_iter().flat_map(|chain| &chain.entries);
    told.any(|entry| entry.action == TENANT_DELETED && entry.subject == tenant)
}

/// What the host's chain says of a new tenant, by which a missing chain is missed.
pub const TENANT_CREATED: &str = "tenant.create";

/// What it says of a tenant that is gone.
pub const TENANT_DELETED: &str = "tenant.delete";

/// The audit log.
#[async_trait]
pub trait Audits: Send + Sync {
    /// From now on entries are made under this key. Until then they are made under a key that everybody knows: so it is
    /// in tests of the store, and nowhere else.
    fn audit_unlock(&self, key: AuditKey);
    /// The key that entries are made under.
    fn audit_key(&self) -> AuditKey;
    /// Stores an entry of its own, for what changes nothing in the store.
    async fn audit_note(&self, change: Change) -> Result<(), StoreError>;
    /// Entries of a tenant (`None`: of the host), newest first; only those of one environment, if it is named.
    /// `before` of the page is a number.
    async fn audit_list(
        &self,
        tenant: Option<&TenantId>,
        environment: Option<Environment>,
        page: Page,
    ) -> Result<Vec<Entry>, StoreError>;
    /// The whole chain of a tenant, to be looked at; with `None`: every chain there is.
    async fn audit_chains(&self, tenant: Option<&TenantId>) -> Result<BTreeMap<String, Chain>, StoreError>;
    /// The ends of all chains: what checkpoints are made of.
    async fn audit_heads(&self) -> Result<Vec<Head>, StoreError>;
}
