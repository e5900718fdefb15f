//! Two whole hosts, one with the sandbox and one with native code in its place, each a process with a database of
//! its own, under the same load: as much as goes, in turns; then the sandboxed one at half of that, and at 200/s.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use portolan::stage::{Host, Tenant, TenantSetup};
use portolan_simulators::story::PRODUCTS;
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::{sync::Notify, task::JoinHandle, time::interval};

use crate::{
    Effort,
    book::{Account, Book},
    charge,
    erp::Erp,
    host::{ENGINE, EngineKind},
    load::Load,
    machine,
    samples::{Spread, median},
};

/// Tenants of a host: one alone would be held to its share of the guest threads.
const TENANTS: usize = 2;
/// Calls that a tenant allows at once on its connection to the ERP.
const CONNECTION_CALLS_MAX: usize = 64;
/// The rate at which the way from event to ERP is measured.
const CALM_PER_SECOND: f64 = 200.0;
/// How often a host's memory is looked at.
const MEMORY_EVERY: Duration = Duration::from_millis(100);

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Measured {
    /// The module.
    pub(crate) module: &'static str,
    /// Bytes of an event.
    pub(crate) payload_bytes: usize,
    /// Tenants over whom the events are spread.
    pub(crate) tenants: usize,
    /// With the sandbox.
    pub(crate) sandboxed: Loaded,
    /// With native code in its place.
    pub(crate) native: Loaded,
    /// The sandboxed host at half of what it can do.
    pub(crate) half: Paced,
    /// The sandboxed host at 200/s.
    pub(crate) calm: Paced,
}

/// A host under full load.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Loaded {
    /// Events per second that the ERP saw, in each turn.
    pub(crate) turns: Vec<f64>,
    /// The median of the turns.
    pub(crate) events_per_second: f64,
    /// Processor time of the host's process for each event: unlike the rate, not a matter of who else is busy.
    pub(crate) processor_us_per_event: f64,
    /// The most memory that was resident while it was loaded, in MiB.
    pub(crate) resident_mib_max: f64,
    /// The most that ever was, the compilation of the module aside (a process of its own), in MiB.
    pub(crate) resident_mib_ever: f64,
    /// How all events of this host came out.
    pub(crate) account: Account,
}

/// A host under a steady load.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Paced {
    /// Events per second.
    pub(crate) per_second: f64,
    /// From sending to the answer.
    pub(crate) acknowledged: Spread,
    /// From sending to the moment when the ERP has read the document.
    pub(crate) arrived: Spread,
}

/// A host, its ERP and its load.
struct Side {
    host: Host,
    load: Arc<Load>,
    book: Arc<Book>,
    _erp: Erp,
    loaded: Loaded,
    events: usize,
    processor_us: u64,
}

/// Measures both hosts.
pub(crate) async fn measure(components: &Path, data: &Path, effort: Effort) -> anyhow::Result<Measured> {
    let mut sandboxed =
        Side::start(EngineKind::Sandbox, components, data).await.context("the sandboxed host")?;
    let mut native = Side::start(EngineKind::Native, components, data).await.context("the native host")?;
    for side in [&sandboxed, &native] {
        side.load.warm_up(effort.warm_up).await?;
    }
    for turn in 0..effort.load_turns {
        // Who begins changes, so that neither always follows the other.
        let order = if turn % 2 == 0 { [&mut sandboxed, &mut native] } else { [&mut native, &mut sandboxed] };
        for side in order {
            side.turn(effort.load).await?;
        }
    }
    let full = median(&sandboxed.loaded.turns);
    let half = sandboxed.paced((full / 2.0).max(1.0), effort.load).await?;
    let calm = sandboxed.paced(CALM_PER_SECOND, effort.load).await?;
    let payload_bytes = sandboxed.load.body_bytes();
    Ok(Measured {
        module: "stripe-to-sage-pro",
        payload_bytes,
        tenants: TENANTS,
        sandboxed: sandboxed.end().await?,
        native: native.end().await?,
        half,
        calm,
    })
}

impl Side {
    async fn start(engine: EngineKind, components: &Path, data: &Path) -> anyhow::Result<Self> {
        let name = match engine {
            EngineKind::Sandbox => "sandbox",
            EngineKind::Native => "native",
        };
        let book = Arc::new(Book::new());
        let erp = Erp::start(book.clone()).await?;
        let program = std::env::current_exe()?;
        let folder = data.join(name);
        let host = Host::start(&program, &folder, "127.0.0.1:0", &[(ENGINE, name)]).await?;
        let mut hooks = Vec::new();
        for index in 0..TENANTS {
            let setup = tenant(index, erp.address, components)?;
            hooks.push(Tenant::set_up(&host.operator, &setup).await?.hook);
        }
        let address = host.operator.base().trim_start_matches("http://").parse()?;
        let load = Load::new(address, hooks, book.clone())?;
        let loaded = Loaded::default();
        Ok(Self { host, load, book, _erp: erp, loaded, events: 0, processor_us: 0 })
    }

    /// As much as goes, for a time.
    async fn turn(&mut self, lasting: Duration) -> anyhow::Result<()> {
        let process = self.host.id().context("the host has ended")?;
        let (events, processor_us) = (self.book.arrivals(), machine::processor_us(process));
        let ended = Arc::new(Notify::new());
        let memory_max = watch_memory(process, &ended);
        let rate = self.load.full(lasting).await;
        ended.notify_one();
        self.loaded.resident_mib_max = self.loaded.resident_mib_max.max(memory_max.await?);
        self.loaded.turns.push(rate?);
        // Until the last event has ended, so that both are of the same events.
        self.events += self.book.arrivals().saturating_sub(events);
        self.processor_us += machine::processor_us(process).saturating_sub(processor_us);
        Ok(())
    }

    /// A steady load, for a time.
    async fn paced(&self, per_second: f64, lasting: Duration) -> anyhow::Result<Paced> {
        let first = self.load.paced(per_second, lasting).await?;
        Ok(Paced {
            per_second,
            acknowledged: self.book.acknowledgements(first).spread(),
            arrived: self.book.ways(first).spread(),
        })
    }

    async fn end(mut self) -> anyhow::Result<Loaded> {
        let process = self.host.id().context("the host has ended")?;
        self.loaded.events_per_second = median(&self.loaded.turns);
        self.loaded.processor_us_per_event = self.processor_us as f64 / self.events.max(1) as f64;
        self.loaded.resident_mib_ever = machine::resident_mib(process).1;
        self.loaded.account = self.book.account();
        self.host.end().await?;
        Ok(self.loaded)
    }
}

/// Looks at a process's memory again and again until it is told to end; ends with the most that was resident.
fn watch_memory(process: u32, ended: &Arc<Notify>) -> JoinHandle<f64> {
    let ended = ended.clone();
    tokio::spawn(async move {
        let mut often = interval(MEMORY_EVERY);
        let mut max = 0.0_f64;
        loop {
            tokio::select! {
                _ = often.tick() => max = max.max(machine::resident_mib(process).0),
                () = ended.notified() => return max,
            }
        }
    })
}

fn tenant(index: usize, erp: SocketAddr, components: &Path) -> anyhow::Result<TenantSetup> {
    let items: Map<String, Value> =
        PRODUCTS.iter().map(|product| (product.id.to_owned(), json!(product.sage_item))).collect();
    Ok(TenantSetup {
        name: format!("Bench {index}"),
        module: charge::component(components, "stripe-to-sage-pro")?,
        connections: vec![
            (
                "stripe".to_owned(),
                json!({
                    "connector": "stripe",
                    "settings": { "base_url": format!("http://{erp}") },
                    "secrets": { "api_key": "sk_test_portolan" },
                }),
            ),
            (
                "erp".to_owned(),
                json!({
                    "connector": "sage-pro",
                    "settings": {
                        "base_url": format!("http://{erp}"),
                        "company": "01",
                        "concurrency_max": CONNECTION_CALLS_MAX,
                    },
                    "secrets": { "api_key": "sage-key" },
                }),
            ),
        ],
        tables: vec![("items".to_owned(), Value::Object(items))],
        settings: json!({
            "accounts": { "clearing": "1190-000", "sales": "4000-000" },
            "default_item": "STRIPE-OTHER",
            "guest_customer": "STRIPE",
            "time_zone": "UTC",
            // Nothing is asked of Stripe: what is measured is the host, its database and one call of the ERP.
            "line_sources": ["metadata"],
            "flow": { "write_back": false },
        }),
    })
}
