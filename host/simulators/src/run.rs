//! `portolan simulate <system>`: one simulator as a process of its own.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use serde_json::json;

use crate::server::serve;
use crate::settings::{SimulatorSettings, System};

/// What `portolan simulate` takes.
#[derive(Clone, Debug, clap::Args)]
pub struct SimulateArgs {
    /// The system to stand in for.
    #[arg(value_enum)]
    pub system: System,
    /// Where to listen (loopback only); port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// The append-only ledger; a simulator that is started again with it keeps its documents.
    #[arg(long)]
    pub ledger: Option<PathBuf>,
    /// A JSON file of simulator settings that differ from the standard world.
    #[arg(long)]
    pub world: Option<PathBuf>,
    /// Milliseconds that every call takes.
    #[arg(long)]
    pub latency_ms: Option<u64>,
}

/// Runs one simulator until SIGTERM or ctrl-c. Its address is the only line on standard output, as JSON:
/// `{"system":"sap-ecc","address":"127.0.0.1:8000","base_url":"http://127.0.0.1:8000"}`.
///
/// # Errors
/// The settings are unreadable, or the simulator does not start.
pub async fn run(args: SimulateArgs) -> anyhow::Result<()> {
    let mut settings = match &args.world {
        Some(path) => {
            let text = std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
            serde_json::from_slice(&text).with_context(|| format!("{} is not a world", path.display()))?
        }
        None => SimulatorSettings::default(),
    };
    settings.listen = args.listen;
    settings.ledger_path = args.ledger.or(settings.ledger_path);
    settings.latency_ms = args.latency_ms.unwrap_or(settings.latency_ms);
    let running = serve(args.system, settings).await?;
    let line = json!({
        "system": args.system.name(),
        "address": running.address().to_string(),
        "base_url": running.base_url(),
    });
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).context("the address cannot be printed")?;
    stop_signal().await?;
    running.shutdown().await;
    Ok(())
}

async fn stop_signal() -> anyhow::Result<()> {
    #[cfg(unix)]
    {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted?,
            _ = terminate.recv() => {}
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await?;
    Ok(())
}
