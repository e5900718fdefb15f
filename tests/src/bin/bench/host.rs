//! A host as a process of its own, put together from the same crates and with the same settings as `portolan serve`
//! does it, but with a choice of what executes modules. The bench starts it the way the stage starts any host.

use std::{
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use clap::ValueEnum;
use portolan_api::{Api, ApiSettings, server::ServerSettings};
use portolan_connectors::{Outbound, OutboundPolicy};
use portolan_domain::{Clock, Secret, SystemClock};
use portolan_pipeline::{
    Pipeline, PipelineSettings, Shared, Witness,
    engine::{Engine, SandboxEngine},
    vault::Vault,
};
use portolan_sandbox::{CompilerCommand, RunLimits, Sandbox, SandboxSettings};
use portolan_store::{Store, key::Role, sqlite::SqliteStore};
use tokio::{net::TcpListener, sync::watch};

use crate::native::NativeEngine;

/// How long a host may take to end what is under way.
const SHUT_DOWN_WITHIN: Duration = Duration::from_secs(10);

/// What the stage tells a host that it starts.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The stage gives every host an empty settings file.
    #[arg(long)]
    config: PathBuf,
    #[arg(long, env = "PORTOLAN_DATA_DIR")]
    data_dir: PathBuf,
    #[arg(long, env = "PORTOLAN_LISTEN")]
    listen: SocketAddr,
    #[arg(long, env = ENGINE)]
    engine: EngineKind,
}

/// Where the bench says which engine.
pub(crate) const ENGINE: &str = "PORTOLAN_BENCH_ENGINE";

/// What executes modules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EngineKind {
    /// The sandbox.
    Sandbox,
    /// The mapping `stripe-to-sage-pro`, as native code.
    Native,
}

/// The life of the process.
pub(crate) fn main(arguments: &Arguments) -> anyhow::Result<()> {
    // As the host logs by default; the stage sends it to a file.
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter("info")
        .json()
        .flatten_event(true)
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(arguments)).with_context(|| arguments.config.display().to_string())
}

async fn serve(arguments: &Arguments) -> anyhow::Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let mut master_key = [0u8; 32];
    getrandom::fill(&mut master_key)?;
    let vault = Arc::new(Vault::new(&master_key));
    let metrics = metrics_exporter_prometheus::PrometheusBuilder::new().install_recorder()?;
    let store: Arc<dyn Store> = SqliteStore::open(&arguments.data_dir.join("portolan.db"))?;
    let (key, secret) = portolan_api::new_key(Role::Operator, None, None, "bench", clock.now())?;
    store.key_create(key).await?;
    let sandbox = Sandbox::new(sandbox_settings(&arguments.data_dir)?)?;
    let sandboxed =
        SandboxEngine::new(store.clone(), sandbox.clone(), RunLimits::default(), Witness::blind());
    let engine: Arc<dyn Engine> = match arguments.engine {
        EngineKind::Sandbox => Arc::new(sandboxed),
        EngineKind::Native => Arc::new(NativeEngine::new(stripe_to_sage_pro::transform, sandboxed)),
    };
    let policy = OutboundPolicy { allow_loopback: true, ..OutboundPolicy::default() };
    let outbound = Outbound::new(policy);
    let shared = Shared::new(store, clock, vault.clone(), outbound, PipelineSettings::default());
    let listener = TcpListener::bind(arguments.listen).await?;
    let address = listener.local_addr()?;
    let pipeline = Pipeline::start(shared.clone(), engine).await?;
    let router = Api::new(shared, sandbox, vault, metrics, ApiSettings::default()).router();
    let (stop, stopped) = watch::channel(false);
    let server =
        tokio::spawn(portolan_api::server::serve(listener, router, ServerSettings::default(), stopped));
    let ready =
        serde_json::json!({"listening": format!("http://{address}"), "operator_key": secret.expose()});
    writeln!(std::io::stdout().lock(), "{ready}")?;
    tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?.recv().await;
    stop.send_replace(true);
    server.await?;
    pipeline.shut_down(SHUT_DOWN_WITHIN).await;
    Ok(())
}

fn sandbox_settings(data_dir: &Path) -> anyhow::Result<SandboxSettings> {
    let program = std::env::current_exe()?;
    let compiler = CompilerCommand { program, args: vec!["compile-module".into()] };
    let mut cache_key = [0u8; 32];
    getrandom::fill(&mut cache_key)?;
    let cache_key = Secret::new(cache_key.map(|byte| format!("{byte:02x}")).concat());
    Ok(SandboxSettings::new(data_dir.join("compiled"), cache_key, compiler))
}
