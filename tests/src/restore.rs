//! Backups and restores as an operator makes them, for tests and proofs: with the binary's own commands, against a
//! running host.

use std::path::Path;

use anyhow::{Context, ensure};
use portolan::stage::{Client, Host};
use reqwest::Method;
use serde_json::Value;

/// Takes a backup of a running host, whatever it is doing.
///
/// # Errors
/// Whatever the command says.
pub async fn back_up(program: &Path, operator: &Client, to: &Path) -> anyhow::Result<()> {
    let mut command = tokio::process::Command::new(program);
    command.args(["backup", "--host", operator.base(), "--key"]).arg(operator.key().unwrap_or_default());
    let done = command.arg("--to").arg(to).output().await?;
    ensure!(done.status.success(), "backup: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

/// Kills the host, throws its database away, puts the backup (`from`) in its place (`data`) and starts the host again.
/// Answers what the command said, which gets this environment besides its own.
///
/// # Errors
/// Whatever goes wrong.
pub async fn restore(
    program: &Path,
    host: &mut Host,
    (data, from): (&Path, &Path),
    environment: &[(&str, &str)],
) -> anyhow::Result<Value> {
    host.kill().await?;
    for suffix in ["", "-wal", "-shm"] {
        let file = data.join(format!("portolan.db{suffix}"));
        if file.exists() {
            std::fs::remove_file(&file)?;
        }
    }
    let mut command = tokio::process::Command::new(program);
    command.envs(environment.iter().copied());
    let done = command.arg("restore").arg("--from").arg(from).arg("--data").arg(data).output().await?;
    ensure!(done.status.success(), "restore: {}", String::from_utf8_lossy(&done.stderr));
    host.start_again().await?;
    serde_json::from_slice(&done.stdout).context("what restore says")
}

/// What is under way after a restore, as the operator sees it.
///
/// # Errors
/// When the host does not answer.
pub async fn reconciliations(operator: &Client) -> anyhow::Result<Value> {
    operator.send(Method::GET, "/api/v1/reconciliations", None).await
}
