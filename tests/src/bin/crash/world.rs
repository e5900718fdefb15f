//! The stage of the crash proof: one host, Stripe, the three ERPs and a tenant for each, every one a process that can be
//! killed, stopped and started again.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use portolan::stage::{Host, StandIn, System, Tenant, TenantSetup};
use portolan_simulators::story::demo_catalogue;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::receiver::Receiver;

/// How long a claim may be kept: longer than any run or call on a busy machine, shorter than a sleep of the host.
pub(crate) const LEASE_MS: u64 = 8_000;
/// Anything that this program waits for; nothing waits so long but a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// The ERPs, in the order in which the world has them.
pub(crate) const ERPS: [System; 3] = [System::SapEcc, System::Epicor, System::SagePro];

/// Everything on the stage.
pub(crate) struct World {
    pub(crate) host: Host,
    pub(crate) stripe: StandIn,
    pub(crate) erps: Vec<StandIn>,
    pub(crate) tenants: Vec<Tenant>,
    pub(crate) receiver: Receiver,
    folder: PathBuf,
    /// Removed with everything in it when the world ends well.
    _own: Option<tempfile::TempDir>,
}

/// Where things are.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// The host's program.
    pub(crate) program: PathBuf,
    /// The compiled modules.
    pub(crate) components: PathBuf,
    /// Where worlds are kept that someone wants to look at.
    pub(crate) keep: Option<PathBuf>,
}

impl Places {
    /// Machine code is sealed with the host's master key: both are kept beside the program, so that worlds after the
    /// first need not compile. Whatever does not fit is compiled again by the host itself.
    fn warm(&self, data: &Path) -> anyhow::Result<()> {
        let warm = self.program.with_file_name("crash-warm");
        std::fs::create_dir_all(warm.join("compiled"))?;
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        let own = warm.join(format!("key.{}", std::process::id()));
        std::fs::write(&own, key.iter().map(|byte| format!("{byte:02x}")).collect::<String>())?;
        // Whoever comes first; the others take that one.
        std::fs::hard_link(&own, warm.join("master.key")).ok();
        std::fs::remove_file(&own)?;
        copy(&warm, data)
    }

    fn keep_warm(&self, data: &Path) -> anyhow::Result<()> {
        copy(data, &self.program.with_file_name("crash-warm"))
    }
}

/// The master key, and what was compiled under it.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let key = from.join("master.key");
    if !key.exists()
        || to.join("master.key").exists() && std::fs::read(&key)? != std::fs::read(to.join("master.key"))?
    {
        return Ok(());
    }
    std::fs::create_dir_all(to.join("compiled"))?;
    for entry in std::fs::read_dir(from.join("compiled"))? {
        let (name, path) = entry.map(|entry| (entry.file_name(), entry.path()))?;
        let target = to.join("compiled").join(&name);
        if path.is_file() && !target.exists() {
            // Whole or not at all: two proofs may run at the same time.
            let aside = to.join("compiled").join(format!("{}.{}", name.display(), std::process::id()));
            std::fs::copy(&path, &aside)?;
            std::fs::rename(&aside, &target)?;
        }
    }
    if !to.join("master.key").exists() {
        std::fs::copy(&key, to.join("master.key"))?;
    }
    Ok(())
}

/// How patient connections are, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    /// The longest that a call may take.
    pub(crate) timeout_ms: u64,
    /// How long a system may still be working on what the host gave up.
    pub(crate) settle_ms: u64,
}

impl Pace {
    /// Several things go wrong at once, on a busy machine.
    pub(crate) const RANDOM: Self = Self { timeout_ms: 600, settle_ms: 1_500 };
    /// One thing goes wrong at a time.
    pub(crate) const SCRIPTED: Self = Self { timeout_ms: 400, settle_ms: 600 };
}

impl Default for Pace {
    fn default() -> Self {
        Self::RANDOM
    }
}

/// What differs from one world to another.
#[derive(Debug, Clone, Default)]
pub(crate) struct Make<'a> {
    /// How patient connections are.
    pub(crate) pace: Pace,
    /// What differs from the standard world of Stripe's stand-in.
    pub(crate) stripe: Option<Value>,
    /// The planted bug.
    pub(crate) bug: Option<&'a str>,
    /// Which ERPs there are; all when empty.
    pub(crate) erps: Vec<System>,
    /// Variables of the host besides.
    pub(crate) settings: Vec<(&'a str, &'a str)>,
}

impl World {
    pub(crate) async fn set_up(places: &Places, name: &str, make: &Make<'_>) -> anyhow::Result<Self> {
        let own = if places.keep.is_none() { Some(tempfile::tempdir()?) } else { None };
        let folder = match (&places.keep, &own) {
            (Some(keep), _) => keep.join(name),
            (None, own) => own.as_ref().context("a folder")?.path().to_owned(),
        };
        std::fs::create_dir_all(&folder)?;
        let program = &places.program;
        let stripe = stand_in(program, &folder, System::Stripe, make.stripe.as_ref()).await?;
        let systems = if make.erps.is_empty() { ERPS.to_vec() } else { make.erps.clone() };
        let mut erps = Vec::new();
        for system in systems {
            erps.push(stand_in(program, &folder, system, None).await?);
        }
        let mut settings = settings();
        let passes = folder.join("passes").display().to_string();
        settings.push(("PORTOLAN_PROOF_PASSES", &passes));
        settings.extend(make.bug.map(|bug| ("PORTOLAN_PROOF_BUG", bug)));
        settings.extend_from_slice(&make.settings);
        let data = folder.join("host");
        places.warm(&data)?;
        let host = Host::start(program, &data, "127.0.0.1:0", &settings).await?;
        stripe.seed(&demo_catalogue()).await?;
        let receiver = Receiver::start().await?;
        let mut tenants = Vec::new();
        for erp in &erps {
            let setup = setup(erp, &stripe, &places.components, &receiver, make.pace)?;
            tenants.push(Tenant::set_up(&host.operator, &setup).await?);
        }
        places.keep_warm(&data)?;
        Ok(Self { host, stripe, erps, tenants, receiver, folder, _own: own })
    }

    /// Where everything of this world lies.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The ledger's file of a stand-in.
    pub(crate) fn ledger(&self, system: System) -> PathBuf {
        self.folder.join(format!("{}.ledger", system.name()))
    }

    /// The file with every call that a stand-in received.
    pub(crate) fn calls(&self, system: System) -> PathBuf {
        self.folder.join(format!("{}.calls", system.name()))
    }

    /// The points that any host of this world has passed.
    pub(crate) fn passes(&self) -> PathBuf {
        self.folder.join("passes")
    }

    /// `kill -9` of the host, or what is left of it, and a new start.
    pub(crate) async fn host_again(&mut self, die: Option<&str>) -> anyhow::Result<()> {
        if self.host.id().is_some() {
            // Dead by its own hand is dead as well.
            drop(self.host.kill().await);
        }
        self.host.set("PORTOLAN_PROOF_DIE", die);
        // A death can come before the host is up: then it is started without one.
        if let Err(error) = self.host.start_again().await {
            anyhow::ensure!(die.is_some(), error);
            self.host.set("PORTOLAN_PROOF_DIE", None);
            self.host.start_again().await?;
        }
        Ok(())
    }

    /// All stand-ins.
    pub(crate) fn stand_ins(&self) -> impl Iterator<Item = &StandIn> {
        std::iter::once(&self.stripe).chain(&self.erps)
    }

    /// Ends all faults.
    pub(crate) async fn behave(&self) -> anyhow::Result<()> {
        for stand_in in self.stand_ins() {
            stand_in.behave().await?;
        }
        self.receiver.behave();
        Ok(())
    }

    /// What an operator does in the morning: has connections used again that were paused, and dead letters made again.
    /// What is in doubt is left to stand: the judge counts it.
    pub(crate) async fn tidy_up(&self) -> usize {
        let mut redriven = 0;
        for tenant in &self.tenants {
            for connection in tenant.connections.as_object().into_iter().flatten() {
                let id = connection.1.as_str().unwrap_or_default();
                let why = json!({ "why": "the faults are over" });
                drop(tenant.post(&format!("/connections/{id}/resume"), &why).await);
            }
            for (path, what) in [("/deliveries", "deliveries"), ("/runs", "runs")] {
                let Ok(dead) = tenant.get(&format!("{path}?state=dead&limit=500")).await else { continue };
                for row in dead["items"].as_array().into_iter().flatten() {
                    let id = row["id"].as_str().unwrap_or_default();
                    let why = json!({ "why": "the faults are over" });
                    redriven +=
                        usize::from(tenant.post(&format!("/{what}/{id}/redrive"), &why).await.is_ok());
                }
            }
        }
        redriven + self.decide().await
    }

    /// What is in doubt of the blind class is decided by whoever was told, or not: this is the person who can be asked.
    async fn decide(&self) -> usize {
        let (told, mut decided) = (self.receiver.calls(), 0);
        for (tenant, erp) in self.tenants.iter().zip(&self.erps) {
            let Ok(doubts) = tenant.get("/deliveries?state=in-doubt&limit=500").await else { continue };
            for row in doubts["items"].as_array().into_iter().flatten() {
                if row["operation"] != "request.post" {
                    continue;
                }
                let (id, body) = (row["id"].as_str().unwrap_or_default(), &row["body"]["body"]);
                let text = |name: &str| body[name].as_str().unwrap_or_default();
                let what = (erp.system.name().to_owned(), format!("{} {}", text("kind"), text("id")));
                let (path, body) = if told.contains_key(&what) {
                    ("adopt", json!({ "why": "it was told", "response": { "status": 200, "body": {} } }))
                } else {
                    ("cancel", json!({ "why": "it was not told, and nobody minds" }))
                };
                decided += usize::from(tenant.post(&format!("/deliveries/{id}/{path}"), &body).await.is_ok());
            }
        }
        decided
    }

    /// Whether nothing moves any more but what waits for a person.
    ///
    /// Work goes from pending runs over leased ones to planned ones, whose deliveries are open. The lists are read in that
    /// order, and twice, so that nothing slips from a list not yet read into one that was.
    pub(crate) async fn is_at_rest(&self) -> anyhow::Result<bool> {
        for tenant in &self.tenants {
            for state in ["pending", "leased", "planned", "pending", "leased", "planned"] {
                let runs = tenant.get(&format!("/runs?state={state}&limit=500")).await?;
                for run in runs["items"].as_array().into_iter().flatten() {
                    if !stands(tenant, run).await? {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }
}

/// Whether a run that has not ended waits for a person's decision, on itself or on an earlier one.
async fn stands(tenant: &Tenant, run: &Value) -> anyhow::Result<bool> {
    let event = run["event"].as_str().unwrap_or_default();
    let story = tenant.get(&format!("/events/{event}")).await?;
    let runs = story["runs"].as_array().into_iter().flatten();
    let mut own = runs.flat_map(|run| run["deliveries"].as_array().into_iter().flatten());
    if own.any(|delivery| delivery["state"] == "leased") {
        return Ok(false);
    }
    Ok(run["state"] != "leased" && waits_for_a_person(tenant, run).await?)
}

/// The object in whose order a run or delivery stands: the charge.
async fn order_of(tenant: &Tenant, row: &Value) -> anyhow::Result<String> {
    if let Some(key) = row["ordering_key"].as_str() {
        return Ok(key.to_owned());
    }
    let event = row["event"].as_str().unwrap_or_default();
    let payload = tenant.get(&format!("/events/{event}/payload")).await?;
    let object = &payload["data"]["object"];
    Ok(object["charge"].as_str().or(object["id"].as_str()).unwrap_or_default().to_owned())
}

/// Whether what is pending comes after something that a person must decide.
async fn waits_for_a_person(tenant: &Tenant, row: &Value) -> anyhow::Result<bool> {
    let own = order_of(tenant, row).await?;
    for path in [
        "/deliveries?state=in-doubt&limit=500",
        "/deliveries?state=dead&limit=500",
        "/runs?state=dead&limit=500",
    ] {
        let stuck = tenant.get(path).await?;
        for stuck in stuck["items"].as_array().into_iter().flatten() {
            if order_of(tenant, stuck).await? == own {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Whether an event that is under way comes after something that a person must decide.
pub(crate) async fn is_stuck(tenant: &Tenant, story: &Value) -> anyhow::Result<bool> {
    match story["runs"].as_array().and_then(|runs| runs.first()) {
        Some(run) => waits_for_a_person(tenant, run).await,
        None => Ok(false),
    }
}

/// Quick retries and short leases: settings that an operator has, too. Nothing in the host knows that it is tested.
fn settings() -> Vec<(&'static str, &'static str)> {
    const _: () = assert!(LEASE_MS == 8_000, "the text below says the same");
    vec![
        ("PORTOLAN_PIPELINE__DELIVERY_RETRY_BASE_MS", "20"),
        ("PORTOLAN_PIPELINE__DELIVERY_RETRY_CAP_MS", "300"),
        ("PORTOLAN_PIPELINE__DELIVERY_ATTEMPTS_MAX", "200"),
        ("PORTOLAN_PIPELINE__RUN_RETRY_CAP_MS", "200"),
        ("PORTOLAN_PIPELINE__LEASE_MS", "8000"),
        ("PORTOLAN_LOG__FILTER", "info"),
    ]
}

async fn stand_in(
    program: &Path,
    folder: &Path,
    system: System,
    options: Option<&Value>,
) -> anyhow::Result<StandIn> {
    let calls = folder.join(format!("{}.calls", system.name()));
    // Some milliseconds per call, so that there is something to be in the middle of.
    let mut world = json!({ "calls_path": calls, "latency_ms": 3 });
    if let Some(options) = options {
        world[system.name()] = options.clone();
    }
    StandIn::start(program, folder, system, Some(&world)).await
}

fn setup(
    erp: &StandIn,
    stripe: &StandIn,
    components: &Path,
    receiver: &Receiver,
    pace: Pace,
) -> anyhow::Result<TenantSetup> {
    let mut setup = TenantSetup::standard(erp, stripe, components)?;
    for (_, connection) in &mut setup.connections {
        connection["settings"]["timeout_ms"] = json!(pace.timeout_ms);
        connection["settings"]["settle_ms"] = json!(pace.settle_ms);
    }
    // Who is told by a call that nobody can take back, ask about or recognise: the blind class.
    let told = json!({
        "connector": "http",
        "settings": { "base_url": receiver.url(erp.system), "timeout_ms": pace.timeout_ms, "settle_ms": pace.settle_ms },
    });
    setup.connections.push(("notify".to_owned(), told));
    setup.settings["flow"]["notify"] = json!({ "path": "/told", "kinds": [] });
    Ok(setup)
}

/// Stops a process where it stands, or lets it go on.
pub(crate) fn signal(id: Option<u32>, signal: Signal) {
    let pid = id.and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // It may be dead already: that is as good.
        kill_process(pid, signal).ok();
    }
}
