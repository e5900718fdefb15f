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
use portolan_domain::{Clock, Secret, SystemClock, Timestamp, retry::RetryPolicy};
use portolan_pipeline::{
    Pipeline, PipelineSettings, Shared, Witness,
    engine::SandboxEngine,
    rotation::{MasterKeys, Rotation},
};
use portolan_sandbox::{CompilerCommand, RunLimits, Sandbox, SandboxSettings};
use portolan_store::{Store, key::Role, sqlite::SqliteStore};
use tokio::{net::TcpListener, sync::watch};
use tracing_subscriber::EnvFilter;

use crate::{
    audit::Checkpoints,
    harden, mail,
    masked::Masked,
    secrets,
    settings::{LogFormat, Settings, SettingsArgs},
    traces,
};

/// `portolan serve`
#[derive(Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    settings: SettingsArgs,
}

pub(crate) fn main(args: ServeArgs) -> anyhow::Result<()> {
    let settings = args.settings.read()?;
    if !settings.process.core_dumps {
        harden::keep_memory_private()?;
    }
    start_log(&settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(settings))
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    let clock: Arc<dyn Clock> = match portolan_proof::ahead() {
        Duration::ZERO => Arc::new(SystemClock::new()),
        ahead => Arc::new(Ahead { clock: SystemClock::new(), ahead }),
    };
    make_folder(&settings.data_dir).with_context(|| settings.data_dir.display().to_string())?;
    remove_copies(&settings.data_dir)?;
    let keys = secrets::master_keys(&settings)?;
    let vault = Arc::new(keys.vault());
    let metrics = metrics_exporter_prometheus::PrometheusBuilder::new().install_recorder()?;
    let store: Arc<dyn Store> = SqliteStore::open(&settings.data_dir.join("portolan.db"))?;
    secrets::unlock_audit(&*store, &vault).await?;
    let sandbox_settings = sandbox_settings(&settings, &keys)?;
    let rotation = Arc::new(Rotation::start(keys, vault.clone(), store.clone()).await?);
    let operator_key = first_key(&*store, &*clock).await?;
    let sandbox = Sandbox::new(sandbox_settings)?;
    let limits = RunLimits { memory_bytes_max: settings.sandbox.memory_bytes_max, ..RunLimits::default() };
    let witness = Witness::open(&settings.data_dir.join("executing")).context("executing")?;
    let engine = Arc::new(SandboxEngine::new(store.clone(), sandbox.clone(), limits, witness));
    let outbound = Outbound::new(outbound_policy(&settings)?);
    let tracing = traces::start(&settings)?;
    let shared = Shared::new(store, clock, vault.clone(), outbound, pipeline_settings(&settings)?)
        .telling(mail::mailer(&settings)?, tracing.traces());
    let listener = TcpListener::bind(settings.listen).await.with_context(|| settings.listen.to_string())?;
    let address = listener.local_addr()?;
    let (stop, stopped) = watch::channel(false);
    let checkpoints = checkpoints(&settings, &shared).map(|kept| tokio::spawn(kept.keep(stopped.clone())));
    let api = Api::new(shared.clone(), sandbox, vault, metrics, api_settings(&settings));
    let router = api.with_rotation(rotation).with_engine(engine.clone()).router();
    // The door is ready before the work goes on: an event that kills the host must not keep it from being told so.
    let pipeline = Pipeline::start(shared, engine).await?;
    let server =
        tokio::spawn(portolan_api::server::serve(listener, router, server_settings(&settings), stopped));
    announce(&address.to_string(), operator_key.as_ref())?;
    asked_to_stop().await?;
    tracing::info!("stopping: nothing new is taken in, what is under way may end");
    stop.send_replace(true);
    server.await?;
    pipeline.shut_down(Duration::from_millis(settings.server.shutdown_ms_max)).await;
    if let Some(checkpoints) = checkpoints {
        checkpoints.await?;
    }
    tracing.end().await;
    Ok(())
}

/// The machine's clock, as it will be: for the crash proof, which cannot wait for a day to pass.
#[derive(Debug)]
struct Ahead {
    clock: SystemClock,
    ahead: Duration,
}

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        self.clock.now().plus(self.ahead)
    }

    fn steady(&self) -> Timestamp {
        self.clock.steady().plus(self.ahead)
    }

    fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }
}

/// Makes the data folder; its name is durable, too.
fn make_folder(folder: &Path) -> std::io::Result<()> {
    let missing = folder.ancestors().take_while(|one| !one.exists());
    let above: Vec<&Path> = missing.filter_map(Path::parent).collect();
    std::fs::create_dir_all(folder)?;
    for folder in above {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        std::fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Removes copies that backups were being made of when the host died.
fn remove_copies(data: &Path) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(data)? {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
        let name = name.to_string_lossy();
        if name.starts_with("backup-") && name.contains(".tmp") {
            std::fs::remove_file(path)?;
        }
    }
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

/// What keeps the ends of the audit log outside the database, if the operator wants it.
fn checkpoints(settings: &Settings, shared: &Shared) -> Option<Checkpoints> {
    let file = &settings.audit.checkpoint_file;
    (!file.as_os_str().is_empty()).then(|| Checkpoints {
        store: shared.store.clone(),
        clock: shared.clock.clone(),
        file: file.clone(),
        every: Duration::from_secs(settings.audit.checkpoint_s.max(1)),
    })
}

fn sandbox_settings(settings: &Settings, keys: &MasterKeys) -> anyhow::Result<SandboxSettings> {
    let program = std::env::current_exe().context("finding this program, which also compiles modules")?;
    let compiler = CompilerCommand { program, args: vec!["compile-module".into()] };
    // A key of its own for each purpose, all from one secret that the operator keeps. When that one is changed, modules
    // are compiled again at the next start.
    let master_key = keys.keys().first().context("there is no master key")?;
    let cache_key = master_key.derive("portolan compiled modules");
    let compiled_dir: PathBuf = settings.data_dir.join("compiled");
    let mut sandbox = SandboxSettings::new(compiled_dir, cache_key, compiler);
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
        events_per_tenant_max: pipeline.events_per_tenant_max,
        hooks_per_tenant_max: pipeline.hooks_per_tenant_max,
        runs_per_tenant_max: pipeline.runs_per_tenant_max,
        deliveries_max: pipeline.deliveries_max,
        deliveries_per_tenant_max: pipeline.deliveries_per_tenant_max,
        lease_ms: pipeline.lease_ms,
        delivery_retry: RetryPolicy {
            base_ms: pipeline.delivery_retry_base_ms,
            cap_ms: pipeline.delivery_retry_cap_ms,
            attempts_max: pipeline.delivery_attempts_max,
        },
        run_retry: RetryPolicy { cap_ms: pipeline.run_retry_cap_ms, ..PipelineSettings::default().run_retry },
        signature_tolerance_s: pipeline.signature_tolerance_s,
        client_certificate_header: header.context("server.client_certificate_header")?,
        quotas: settings.quotas,
        retention: settings.retention,
        sweep_every_s: settings.storage.sweep_every_s,
        storage_free_mib_min: settings.storage.free_mib_min,
        backlog_warning_s: settings.alerts.backlog_warning_s,
        backlog_critical_s: settings.alerts.backlog_critical_s,
        notice_retry: RetryPolicy {
            base_ms: settings.alerts.notice_retry_base_ms,
            attempts_max: settings.alerts.notice_attempts_max.max(1),
            ..PipelineSettings::default().notice_retry
        },
        ..PipelineSettings::default()
    })
}

fn api_settings(settings: &Settings) -> ApiSettings {
    ApiSettings {
        hook_bytes_max: settings.server.hook_bytes_max,
        body_ms_max: settings.server.body_ms_max,
        backup_dir: settings.data_dir.clone(),
        bodies_bytes_max: settings.server.bodies_bytes_max,
        requests_per_second: settings.server.api_requests_per_second,
        requests_burst: settings.server.api_requests_burst,
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
