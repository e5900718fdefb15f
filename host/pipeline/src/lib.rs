//! The life of an event, from the first byte to the last document.
//!
//! The cast:
//!
//! * [`intake`]: checks a request's signature on its raw bytes and stores the event, with one run for every
//!   mapping that matches, in one transaction. Only then is the sender answered.
//! * [`mapper`]: claims runs, executes modules on them through an [`engine::Engine`], fetches the facts they
//!   ask for, and stores what they decided together with every delivery that follows (the outbox).
//! * [`deliverer`]: claims deliveries, asks whether the document exists where that is due, makes the call
//!   through a connector, and stores how it ended.
//! * [`rota`]: whose turn it is on the processor.
//! * [`gates`]: how many deliveries may be claimed for a connection now: breaker, rate, retry budget.
//! * [`quotas`]: what each tenant may use, and whether it is served.
//! * [`retention`]: removes what was kept long enough, and tenants that are to be removed.
//! * [`poller`]: asks sources that do not tell, or forget to, for what changed.
//! * [`reconcile`]: after a restore, asks sources for what was forgotten.
//! * [`remap`]: maps an event again with what was put right.
//! * [`replayer`]: executes modules again on stored events, and shadows on new ones, and delivers nothing.
//! * [`signatures`]: whose signatures modules bear.
//! * [`storage`]: whether the disk has room for what is new.
//! * [`backlog`]: whether anything waits too long.
//! * [`notifier`]: tells people what they asked to be told.
//! * [`traces`]: one trace per event, through all of these.
//! * [`Pipeline`]: what these share, and their start and end.
//!
//! Start, retry, approval, redrive and the morning after a crash all take this same path: the loops look
//! into the store for due work. A nudge carries no data; it only makes the look sooner, and losing one costs
//! time and nothing else. No transaction is open while a guest runs or a socket is used.
//!
//! At a crash: an event that was answered is stored, and its runs are claimed again by the next start, which knows from
//! the [`witness`] whose module was being executed: a run that kills the host is quarantined, the others lose nothing;
//! a run's deliveries are stored with its outcome or not at all; an attempt whose intent is stored but whose
//! result is not is *in doubt*, and [`attempt`] never repeats it blindly.
//!
//! This crate must not know HTTP routes, SQL or wasmtime.

pub mod attempt;
pub mod backlog;
pub mod connections;
pub mod deliverer;
pub mod engine;
pub mod facts;
pub mod gates;
pub mod intake;
pub mod mapper;
pub mod notifier;
mod nudge;
pub mod plans;
pub mod poller;
pub mod quotas;
pub mod reconcile;
pub mod refused;
pub mod remap;
pub mod replayer;
pub mod retention;
pub mod rooms;
pub mod rota;
pub mod rotation;
pub mod routes;
pub mod senders;
pub mod signatures;
pub mod storage;
pub mod tokens;
pub mod traces;
mod turns;
pub mod vault;
pub mod witness;
mod work;

use std::{sync::Arc, time::Duration};

use portolan_connectors::{Registry, outbound::Outbound};
use portolan_domain::{
    Clock, Timestamp, plan::PlanLimits, quota::Quotas, retention::Retention, retry::RetryPolicy,
};
use portolan_proof::{Bug, has};
use portolan_store::Store;
use tokio::{sync::watch, task::JoinSet};

pub use nudge::Nudge;
pub use witness::Witness;

/// Numbers that bound the pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineSettings {
    /// Events of one tenant that are stored at once; its others wait. More lets one tenant store faster, and makes its
    /// neighbours wait longer for theirs.
    pub events_per_tenant_max: usize,
    /// Requests of one tenant whose events are stored or wait for that; others are asked to come again.
    pub hooks_per_tenant_max: usize,
    /// Runs under way at once.
    pub runs_max: usize,
    /// Runs of one tenant under way at once.
    pub runs_per_tenant_max: usize,
    /// Deliveries under way at once.
    pub deliveries_max: usize,
    /// Deliveries of one tenant under way at once.
    pub deliveries_per_tenant_max: usize,
    /// How long a claim may be kept, in milliseconds; longer than any run or call.
    pub lease_ms: u64,
    /// The longest pause between two looks for due work, in milliseconds.
    pub poll_ms: u64,
    /// How often a run may ask for facts.
    pub rounds_max: u32,
    /// Queries of one round, each a call to another system.
    pub queries_max: usize,
    /// Lookups and references of one round, which the store answers.
    pub lookups_max: usize,
    /// When a run is executed again that failed for a passing reason.
    pub run_retry: RetryPolicy,
    /// How long a run may be deferred, in milliseconds since its event arrived.
    pub deferral_ms_max: u64,
    /// After how many process deaths a run is quarantined. A death counts only for runs whose module was being
    /// executed, and after the first each is executed alone.
    pub process_deaths_max: u32,
    /// After how many deaths that were surely a module's no event is handed to it any more, until a person redrives one.
    pub module_deaths_max: u32,
    /// When a failed delivery is attempted again.
    pub delivery_retry: RetryPolicy,
    /// Bounds of a plan.
    pub plan: PlanLimits,
    /// How long a sender's clock may differ from ours, in seconds.
    pub signature_tolerance_s: u64,
    /// In which header the proxy before this host puts the SHA-256 fingerprint of a client certificate that it has checked.
    /// None: sources cannot ask for client certificates. Whoever can reach the host past the proxy can set it.
    pub client_certificate_header: Option<http::HeaderName>,
    /// When a notice that could not be sent is sent again.
    pub notice_retry: RetryPolicy,
    /// From which age of the oldest waiting work on there is an alert, in seconds; 0: never.
    pub backlog_warning_s: u64,
    /// From which age on it is critical, in seconds; 0: never.
    pub backlog_critical_s: u64,
    /// What a tenant may use for which nothing else was set.
    pub quotas: Quotas,
    /// How long what is finished is kept, where nothing else was set.
    pub retention: Retention,
    /// The pause between two sweeps of retention, in seconds.
    pub sweep_every_s: u64,
    /// Replays and shadows under way at once, over all tenants.
    pub replays_max: usize,
    /// Below how much room on the store's disk nothing new is taken in, in MiB; 0: nobody looks at it. See [`storage`].
    pub storage_free_mib_min: u64,
}

impl Default for PipelineSettings {
    fn default() -> Self {
        Self {
            events_per_tenant_max: 1,
            hooks_per_tenant_max: 512,
            runs_max: 64,
            runs_per_tenant_max: 16,
            deliveries_max: 256,
            deliveries_per_tenant_max: 128,
            lease_ms: 180_000,
            poll_ms: 500,
            rounds_max: 8,
            queries_max: 64,
            lookups_max: 4096,
            run_retry: RetryPolicy { base_ms: 500, cap_ms: 300_000, attempts_max: 30 },
            deferral_ms_max: 72 * 3_600_000,
            process_deaths_max: 3,
            module_deaths_max: 6,
            delivery_retry: RetryPolicy::default(),
            plan: PlanLimits::default(),
            signature_tolerance_s: 300,
            client_certificate_header: None,
            notice_retry: RetryPolicy { base_ms: 1_000, cap_ms: 3_600_000, attempts_max: 14 },
            backlog_warning_s: 900,
            backlog_critical_s: 3_600,
            quotas: Quotas::default(),
            retention: Retention::default(),
            sweep_every_s: 3_600,
            replays_max: 4,
            storage_free_mib_min: 256,
        }
    }
}

/// What intake, mapper and deliverer share.
#[derive(Debug, Clone)]
pub struct Shared {
    /// Where everything is remembered.
    pub store: Arc<dyn Store>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Connectors by name.
    pub registry: Arc<Registry>,
    /// Opens connections of tenants, and keeps them.
    pub connections: Arc<connections::Connections>,
    /// What is held back, by connection.
    pub gates: Arc<gates::Gates>,
    /// Sources with their mappings, kept.
    pub routes: Arc<routes::Routes>,
    /// Numbers.
    pub settings: Arc<PipelineSettings>,
    /// Who claims: new at every start.
    pub owner: Arc<str>,
    /// Whether the disk has room for what is new.
    pub storage: Arc<storage::Storage>,
    /// What notices leave by.
    pub mailroom: Arc<notifier::Mailroom>,
    /// Who is told of the way that events take.
    pub traces: Arc<traces::Traces>,
    /// Whose turn it is on the processor.
    pub rota: Arc<rota::Rota>,
    /// What each tenant may use.
    pub tenants: Arc<quotas::Tenants>,
    /// Rung when there may be runs to claim.
    pub runs_due: Arc<Nudge>,
    /// Rung when there may be deliveries to claim.
    pub deliveries_due: Arc<Nudge>,
    /// Rung when there may be replays to go on with.
    pub replays_due: Arc<Nudge>,
}

impl Shared {
    /// Puts together what the parts share.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        vault: Arc<vault::Vault>,
        outbound: Outbound,
        settings: PipelineSettings,
    ) -> Self {
        let registry = Arc::new(Registry::standard());
        let mailroom = notifier::Mailroom::new(vault.clone(), registry.clone(), outbound.clone());
        let connections =
            connections::Connections::new(store.clone(), registry.clone(), vault.clone(), outbound);
        let owner = portolan_domain::RunId::generate(clock.now()).as_str().replace("run_", "host_");
        Self {
            routes: Arc::new(routes::Routes::new(store.clone(), vault, clock.clone())),
            connections: Arc::new(connections),
            mailroom: Arc::new(mailroom),
            traces: Arc::default(),
            gates: Arc::default(),
            rota: Arc::default(),
            registry,
            storage: Arc::new(storage::Storage::new(settings.storage_free_mib_min)),
            tenants: Arc::new(quotas::Tenants::new(store.clone(), clock.clone(), settings.quotas)),
            settings: Arc::new(settings),
            owner: owner.into(),
            runs_due: Arc::default(),
            deliveries_due: Arc::default(),
            replays_due: Arc::default(),
            store,
            clock,
        }
    }
}

impl Shared {
    /// With the operator's mail server, and with whoever is told of traces.
    #[must_use]
    pub fn telling(self, mailer: Option<portolan_connectors::mail::Mailer>, traces: traces::Traces) -> Self {
        // Nobody else has it yet.
        let mailroom = Arc::unwrap_or_clone(self.mailroom).with_mailer(mailer);
        Self { mailroom: Arc::new(mailroom), traces: Arc::new(traces), ..self }
    }

    /// The present by which leases end and due work is claimed: does not jump when the machine's clock is set.
    #[must_use]
    pub fn steady(&self) -> Timestamp {
        if has(Bug::LeaseByLocalClock) {
            // Nobody sets the clock of the machine that the proof runs on: it is put forward and back here.
            let now = self.clock.now();
            let ahead = now.as_millis() % 1_000 >= 500;
            return if ahead { now.plus(Duration::from_millis(self.settings.lease_ms)) } else { now };
        }
        self.clock.steady()
    }
}

/// The running loops.
#[derive(Debug)]
pub struct Pipeline {
    stop: watch::Sender<bool>,
    loops: JoinSet<()>,
    /// End with it.
    _threads: rota::Threads,
}

impl Pipeline {
    /// Ends the leases of hosts that are gone and starts the loops on the current runtime.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn start(
        shared: Shared,
        engine: Arc<dyn engine::Engine>,
    ) -> Result<Self, portolan_store::StoreError> {
        // Before anything is taken in.
        shared.storage.look(&*shared.store).await;
        shared.tenants.look().await?;
        let witness = engine.witness();
        let testimony = witness.map(Witness::testimony).unwrap_or_default();
        let ended = shared.store.leases_end_foreign(&shared.owner, testimony, shared.steady()).await?;
        if ended > 0 {
            let suspects: Vec<_> = testimony.iter().map(|call| call.run.as_str()).collect();
            tracing::info!(leases.ended = ended, ?suspects, "took over the work of a host that is gone");
        }
        if let Some(Err(error)) = witness.map(Witness::heard) {
            tracing::warn!(%error, "the witness of the host's death cannot be wiped");
        }
        let guilty = shared.store.run_module_deaths().await?;
        let (stop, stopped) = watch::channel(false);
        let threads =
            shared.rota.start().map_err(|error| portolan_store::StoreError::Unavailable(Box::new(error)))?;
        let mut loops = JoinSet::new();
        loops.spawn(replayer::Replayer::new(shared.clone(), engine.clone()).work(stopped.clone()));
        loops.spawn(mapper::Mapper::new(shared.clone(), engine, guilty).work(stopped.clone()));
        loops.spawn(poller::Poller::new(shared.clone()).work(stopped.clone()));
        loops.spawn(reconcile::reconcile(shared.clone(), stopped.clone()));
        loops.spawn(storage::watch(shared.clone(), stopped.clone()));
        loops.spawn(backlog::watch(shared.clone(), stopped.clone()));
        loops.spawn(notifier::Notifier::new(shared.clone()).work(stopped.clone()));
        loops.spawn(quotas::watch(shared.clone(), stopped.clone()));
        loops.spawn(retention::sweeps(shared.clone(), stopped.clone()));
        loops.spawn(deliverer::Deliverer::new(shared).work(stopped));
        Ok(Self { stop, loops, _threads: threads })
    }

    /// Claims nothing more and waits until what is under way has ended, at most for `patience`. What has not
    /// ended then is taken up again by the next start.
    pub async fn shut_down(mut self, patience: Duration) {
        self.stop.send_replace(true);
        let ended = tokio::time::timeout(patience, async { while self.loops.join_next().await.is_some() {} });
        if ended.await.is_err() {
            tracing::warn!("work was still under way after {patience:?}; the next start takes it up");
            self.loops.abort_all();
        }
    }
}
