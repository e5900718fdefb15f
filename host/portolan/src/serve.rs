//! Puts the host together and runs it.

use std::{
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use clap::Args;
use portolan_api::{Api, ApiSettings, server::ServerSettings};
use portolan_connectors::{Outbound, OutboundPolicy};
use portolan_domain::{Clock, Secret, SystemClock, retry::RetryPolicy};
use portolan_pipeline::{Pipeline, PipelineSettings, Shared, engine::SandboxEngine, vault::Vault};
use portolan_sandbox::{CompilerCommand, RunLimits, Sandbox, SandboxSettings};
use portolan_store::{Store, key::Role, sqlite::SqliteStore};
use sha2::{Digest, Sha256};
use tokio::{net::TcpListener, sync::watch};
use tracing_subscriber::EnvFilter;
use zeroize::Zeroizing;

use crate::masked::Masked;
use crate::settings::{LogFormat, Settings, SettingsArgs};

/// `portolan serve`
#[derive(Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    settings: SettingsArgs,
}

pub(crate) fn main(args: ServeArgs) -> anyhow::Result<()> {
    let settings = args.settings.read()?;
    start_log(&settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(settings))
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    std::fs::create_dir_all(&settings.data_dir).with_context(|| settings.data_dir.display().to_string())?;
    let master_key = master_key(&settings.data_dir.join("master.key"))?;
    let vault = Arc::new(Vault::new(&master_key));
    let metrics = metrics_exporter_prometheus::PrometheusBuilder::new().install_recorder()?;
    let store: Arc<dyn Store> = SqliteStore::open(&settings.data_dir.join("portolan.db"))?;
    let operator_key = first_key(&*store, &*clock).await?;
    let sandbox = Sandbox::new(sandbox_settings(&settings, &master_key)?)?;
    let limits = RunLimits { memory_bytes_max: settings.sandbox.memory_bytes_max, ..RunLimits::default() };
    let engine = Arc::new(SandboxEngine::new(store.clone(), sandbox.clone(), limits));
    let outbound = Outbound::new(outbound_policy(&settings)?);
    let shared = Shared::new(store, clock, vault.clone(), outbound, pipeline_settings(&settings)?);
    let listener = TcpListener::bind(settings.listen).await.with_context(|| settings.listen.to_string())?;
    let address = listener.local_addr()?;
    let pipeline = Pipeline::start(shared.clone(), engine).await?;
    let router = Api::new(shared, sandbox, vault, metrics, api_settings(&settings)).router();
    let (stop, stopped) = watch::channel(false);
    let server =
        tokio::spawn(portolan_api::server::serve(listener, router, server_settings(&settings), stopped));
    announce(&address.to_string(), operator_key.as_ref())?;
    asked_to_stop().await?;
    tracing::info!("stopping: nothing new is taken in, what is under way may end");
    stop.send_replace(true);
    server.await?;
    pipeline.shut_down(Duration::from_millis(settings.server.shutdown_ms_max)).await;
    Ok(())
}

/// One line on stdout says that the host is ready, where, and (once) the operator's key.
fn announce(address: &str, operator_key: Option<&Secret>) -> anyhow::Result<()> {
    let mut line = serde_json::json!({ "listening": format!("http://{address}") });
    if let (Some(key), Some(line)) = (operator_key, line.as_object_mut()) {
        line.insert("operator_key".to_owned(), key.expose().into());
    }
    tracing::info!(address, "portolan is ready");
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()?;
    Ok(())
}

async fn asked_to_stop() -> anyhow::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// At the very first start there is nobody who could make keys; the first one is made here.
async fn first_key(store: &dyn Store, clock: &dyn Clock) -> anyhow::Result<Option<Secret>> {
    if store.key_operator_exists().await? {
        return Ok(None);
    }
    let (key, secret) = portolan_api::new_key(Role::Operator, None, None, "first operator key", clock.now())?;
    store.key_create(key).await?;
    Ok(Some(Secret::new(secret.expose())))
}

/// The key under which secrets are sealed. Made at the first start, readable by its owner alone. Whoever loses
/// it must enter every secret again; keep a copy apart from the database's backups.
fn master_key(path: &Path) -> anyhow::Result<Zeroizing<[u8; 32]>> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut key = Zeroizing::new([0u8; 32]);
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let text = Zeroizing::new(text);
            let wrong = || format!("{} does not hold 64 hex digits", path.display());
            hex::decode_to_slice(text.trim(), key.as_mut_slice()).with_context(wrong)?;
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            getrandom::fill(key.as_mut_slice())?;
            let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(hex::encode(key.as_slice()).as_bytes())?;
            file.sync_all()?;
        }
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
    }
    Ok(key)
}

fn sandbox_settings(settings: &Settings, master_key: &[u8; 32]) -> anyhow::Result<SandboxSettings> {
    let program = std::env::current_exe().context("finding this program, which also compiles modules")?;
    let compiler = CompilerCommand { program, args: vec!["compile-module".into()] };
    // A key of its own for each purpose, all from one secret that the operator keeps.
    let cache_key =
        Sha256::new().chain_update(b"portolan compiled modules").chain_update(master_key).finalize();
    let compiled_dir: PathBuf = settings.data_dir.join("compiled");
    let mut sandbox = SandboxSettings::new(compiled_dir, Secret::new(hex::encode(cache_key)), compiler);
    if settings.sandbox.guest_threads > 0 {
        sandbox.guest_threads = settings.sandbox.guest_threads;
    }
    Ok(sandbox)
}

fn outbound_policy(settings: &Settings) -> anyhow::Result<OutboundPolicy> {
    let outbound = &settings.outbound;
    let read = |path: &PathBuf| std::fs::read_to_string(path).with_context(|| path.display().to_string());
    let allow =
        outbound.allow.iter().map(|text| text.parse().with_context(|| format!("outbound.allow: {text}")));
    Ok(OutboundPolicy {
        allow_loopback: outbound.allow_loopback,
        allow_private: outbound.allow_private,
        allow_plain_http: outbound.allow_plain_http,
        allow: allow.collect::<anyhow::Result<_>>()?,
        root_certificates_pem: outbound.root_certificates.iter().map(read).collect::<anyhow::Result<_>>()?,
        ..OutboundPolicy::default()
    })
}

fn pipeline_settings(settings: &Settings) -> anyhow::Result<PipelineSettings> {
    let pipeline = &settings.pipeline;
    let header = &settings.server.client_certificate_header;
    let header = (!header.is_empty()).then(|| header.parse()).transpose();
    Ok(PipelineSettings {
        runs_max: pipeline.runs_max,
        runs_per_tenant_max: pipeline.runs_per_tenant_max,
        deliveries_max: pipeline.deliveries_max,
        delivery_retry: RetryPolicy {
            base_ms: pipeline.delivery_retry_base_ms,
            cap_ms: pipeline.delivery_retry_cap_ms,
            attempts_max: pipeline.delivery_attempts_max,
        },
        run_retry: RetryPolicy { cap_ms: pipeline.run_retry_cap_ms, ..PipelineSettings::default().run_retry },
        signature_tolerance_s: pipeline.signature_tolerance_s,
        client_certificate_header: header.context("server.client_certificate_header")?,
        ..PipelineSettings::default()
    })
}

fn api_settings(settings: &Settings) -> ApiSettings {
    ApiSettings {
        hook_bytes_max: settings.server.hook_bytes_max,
        body_ms_max: settings.server.body_ms_max,
        bodies_bytes_max: settings.server.bodies_bytes_max,
        ..ApiSettings::default()
    }
}

const fn server_settings(settings: &Settings) -> ServerSettings {
    let server = &settings.server;
    ServerSettings {
        connections_max: server.connections_max,
        connections_per_address_max: server.connections_per_address_max,
        head_bytes_max: server.head_bytes_max,
        header_ms_max: server.header_ms_max,
        write_ms_max: server.write_ms_max,
        idle_ms_max: server.idle_ms_max,
        shutdown_ms_max: server.shutdown_ms_max,
    }
}

fn start_log(settings: &Settings) -> anyhow::Result<()> {
    let filter = EnvFilter::builder().parse(&settings.log.filter).context("log.filter")?;
    let log = tracing_subscriber::fmt().with_writer(|| Masked(std::io::stderr())).with_env_filter(filter);
    match settings.log.format {
        // Colours are for eyes: a log that goes into a file has none.
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    Ok(())
}
