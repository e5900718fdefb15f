//! A world for black-box tests: a host, Stripe's stand-in, one ERP's stand-in and a tenant between them, as
//! separate processes on loopback. Tests look at what users see: answers, the API, and above all what the
//! stand-ins' own ledgers hold.

#![allow(clippy::missing_panics_doc, reason = "in a test every surprise is a panic")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "in a test every surprise is a panic"
)]

pub mod dice;
pub mod forgeries;
pub mod fuzz;
pub mod hostile;
pub mod restore;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::Duration,
};

use portolan::stage::{Host, StandIn, System, Tenant, TenantSetup};
use portolan_simulators::story::{StoryCharge, demo_catalogue, demo_story};
use serde_json::Value;
use tokio::time::{Instant, sleep};

/// How long anything may take that a test waits for. Long, because test machines are slow; nothing waits for it
/// but a failure.
const PATIENCE: Duration = Duration::from_secs(120);

/// A host, Stripe, an ERP and a tenant between them.
#[derive(Debug)]
pub struct World {
    /// The host.
    pub host: Host,
    /// Stripe's stand-in, with the story's products and customers.
    pub stripe: StandIn,
    /// The ERP's stand-in.
    pub erp: StandIn,
    /// The tenant, with the ERP's standard mapping.
    pub tenant: Tenant,
    /// Where they keep their data.
    pub folder: tempfile::TempDir,
}

/// The binary under test, built when it is not up to date.
#[must_use]
pub fn portolan() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        // Beside the test's own binary: target/<profile>/deps/black_box-….
        let own = std::env::current_exe().expect("the test's own path");
        let folder = own.parent().and_then(Path::parent).expect("target/<profile>").to_owned();
        let mut cargo = Command::new(env!("CARGO"));
        // The whole workspace's features, so that nothing is compiled a second time for another set of them.
        cargo.args(["build", "--quiet", "--workspace", "--bin", "portolan"]);
        cargo.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        cargo.env("CARGO_TARGET_DIR", folder.parent().expect("target"));
        assert!(cargo.status().expect("cargo").success(), "the binary does not build");
        folder.join("portolan")
    })
}

/// The folder with the compiled guests.
#[must_use]
pub fn components() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest-mappings/target/components");
    assert!(folder.exists(), "the guests are not compiled: run `cargo xtask guests`");
    folder
}

/// A compiled guest.
#[must_use]
pub fn component(name: &str) -> Vec<u8> {
    portolan::stage::component(&components(), name).expect("a compiled guest")
}

impl World {
    /// In the ERP's standard world.
    pub async fn of(erp: System) -> Self {
        Self::with(erp, None, &[]).await
    }

    /// With what differs from the ERP's standard world, and the host's settings as `PORTOLAN_*`.
    pub async fn with(erp: System, world: Option<&Value>, settings: &[(&str, &str)]) -> Self {
        Self::in_folder(tempfile::tempdir().expect("a folder"), erp, world, settings).await
    }

    /// With its data in this folder; the host's are in `host` below it.
    pub async fn in_folder(
        folder: tempfile::TempDir,
        erp: System,
        world: Option<&Value>,
        settings: &[(&str, &str)],
    ) -> Self {
        let stripe = StandIn::start(portolan(), folder.path(), System::Stripe, None).await.expect("Stripe");
        let erp = StandIn::start(portolan(), folder.path(), erp, world).await.expect("the ERP");
        // Quick retries: a test that waits tests nothing.
        let mut all = vec![
            ("PORTOLAN_PIPELINE__DELIVERY_RETRY_BASE_MS", "20"),
            ("PORTOLAN_PIPELINE__DELIVERY_RETRY_CAP_MS", "200"),
        ];
        all.extend_from_slice(settings);
        let data = folder.path().join("host");
        let host = Host::start(portolan(), &data, "127.0.0.1:0", &all).await.expect("the host");
        stripe.seed(&demo_catalogue()).await.expect("the catalogue");
        let setup = TenantSetup::standard(&erp, &stripe, &components()).expect("a set-up");
        let tenant = Tenant::set_up(&host.operator, &setup).await.expect("the tenant");
        Self { host, stripe, erp, tenant, folder }
    }

    /// The story's charges, known to Stripe.
    pub async fn story(&self, label: &str) -> Vec<StoryCharge> {
        let story = demo_story(label, 11);
        let objects: Vec<Value> = story.iter().flat_map(|told| told.objects.clone()).collect();
        self.stripe.seed(&objects).await.expect("the story's objects");
        story
    }

    /// Sends a charge's webhook; it must be accepted. Returns the event's id.
    pub async fn accept(&self, told: &StoryCharge) -> String {
        accept(&self.tenant, told.event.as_bytes()).await
    }

    /// The event's whole story, once it stands still.
    pub async fn end_of(&self, event: &str) -> Value {
        end_of(&self.tenant, event).await
    }

    /// Every document of the ERP by kind and business key: how often it was committed.
    pub async fn documents(&self) -> BTreeMap<(String, String), usize> {
        let mut documents = BTreeMap::new();
        for entry in self.erp.ledger("").await.expect("the ledger") {
            *documents.entry((entry.kind, entry.business_key)).or_default() += 1;
        }
        documents
    }

    /// Asserts that every one of these charges has each of the ERP's documents exactly once, and that nothing
    /// else was posted.
    pub async fn assert_posted_once(&self, charges: usize) {
        let kinds: &[&str] = match self.erp.system {
            System::SapEcc => &["sales-order", "accounting-document"],
            System::Epicor => &["sales-order", "cash-receipt", "cash-receipt-posting"],
            System::SagePro => &["invoice"],
            System::Stripe => &[],
        };
        let documents = self.documents().await;
        for kind in kinds {
            let of_kind: Vec<_> = documents.iter().filter(|((k, _), _)| k == kind).collect();
            let twice: Vec<_> = of_kind.iter().filter(|(_, count)| **count > 1).collect();
            assert!(twice.is_empty(), "posted more than once: {twice:?}");
            assert_eq!(of_kind.len(), charges, "documents of kind {kind}: {of_kind:?}");
        }
    }
}

/// Sends a signed webhook that must be accepted. Returns the event's id.
pub async fn accept(tenant: &Tenant, body: &[u8]) -> String {
    let (status, answer) = tenant.webhook(body).await.expect("an answer");
    assert_eq!(status, 200, "{answer}");
    answer["event"].as_str().expect("an event id").to_owned()
}

/// The event's whole story, once it stands still.
pub async fn end_of(tenant: &Tenant, event: &str) -> Value {
    let path = format!("/events/{event}");
    until(&path, async || {
        // While the host is down there is no answer.
        let story = tenant.get(&path).await.ok()?;
        (story["standing"] != "under-way").then_some(story)
    })
    .await
}

/// What a failed test prints of an event: why its runs and deliveries stand where they stand.
#[must_use]
pub fn told_of(story: &Value) -> String {
    let mut told = format!("{} is {}: {}\n", story["id"], story["standing"], story["reason"]);
    for run in story["runs"].as_array().into_iter().flatten() {
        told.push_str(&format!("run {} {}\n", run["state"], run["reason"]));
        for delivery in run["deliveries"].as_array().into_iter().flatten() {
            told.push_str(&format!("  {} {} {}\n", delivery["key"], delivery["state"], delivery["reason"]));
            for attempt in delivery["attempts"].as_array().into_iter().flatten() {
                told.push_str(&format!(
                    "    {} {} {}\n",
                    attempt["number"], attempt["verdict"], attempt["detail"]
                ));
            }
        }
    }
    told
}

/// Waits for something to be true.
pub async fn until<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        sleep(Duration::from_millis(25)).await;
    }
}
