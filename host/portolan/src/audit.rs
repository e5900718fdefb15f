//! `portolan audit`: whether the audit log is as it was written. And the checkpoints that a host keeps of it.

use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use portolan::stage::Client;
use portolan_domain::{Clock, Timestamp};
use portolan_store::{
    Store,
    audit::{Checkpoint, Fault, Head, verify_against, verify_all},
    sqlite::read_audit,
};
use serde_json::json;
use tokio::sync::watch;

use crate::{access::wait_for, backup::existing_keys, secrets};

#[derive(Subcommand)]
pub(crate) enum AuditCommand {
    /// Says whether the audit log is as it was written, or which entry is wrong first, and how. The status tells, too.
    ///
    /// An operator's key looks at every chain, a tenant admin's at the tenant's. With --offline, the database of a data
    /// folder is read directly, which changes nothing and may be a copy.
    Verify(VerifyArgs),
}

#[derive(Args)]
pub(crate) struct VerifyArgs {
    /// Reads the database in --data, with the master key there, instead of asking a host.
    #[arg(long, requires = "data")]
    offline: bool,
    /// The data folder.
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// The master key, where it is not in the data folder or in PORTOLAN_MASTER_KEY.
    #[arg(long, value_name = "FILE")]
    master_key: Option<PathBuf>,
    /// The file of `audit.checkpoint_file`: shows that the whole database is an older copy. Only with --offline.
    #[arg(long, value_name = "FILE", requires = "offline")]
    checkpoints: Option<PathBuf>,
    /// The host's address.
    #[arg(long, env = "PORTOLAN_URL", default_value = "http://127.0.0.1:8080")]
    host: String,
    /// An operator's or a tenant admin's key; not needed with --offline.
    #[arg(long, env = "PORTOLAN_KEY", hide_env_values = true, required_unless_present = "offline")]
    key: Option<String>,
}

pub(crate) fn main(command: AuditCommand) -> anyhow::Result<()> {
    let AuditCommand::Verify(args) = command;
    let answer = match (&args.data, args.offline) {
        (Some(data), true) => offline(data, &args)?,
        _ => {
            let client = Client::new(&args.host, args.key.as_deref())?;
            wait_for(client.get("/api/v1/audit/verify"))?
        }
    };
    println!("{answer:#}");
    if answer.get("ok") == Some(&json!(true)) {
        return Ok(());
    }
    bail!("the audit log is not as it was written")
}

fn offline(data: &Path, args: &VerifyArgs) -> anyhow::Result<serde_json::Value> {
    let copy = read_audit(&data.join("portolan.db"))?;
    let vault = existing_keys(data, args.master_key.as_deref())?.vault();
    let sealed = copy.sealed_key.context("the database has no key of an audit log")?;
    let key =
        secrets::open_audit_key(&vault, &sealed).context("the master key does not open the audit log's")?;
    let mut checkpoints = Vec::new();
    if let Some(file) = &args.checkpoints {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        for (number, line) in (1..).zip(text.lines()) {
            let read = serde_json::from_str::<Checkpoint>(line);
            checkpoints.push(read.with_context(|| format!("{}:{number}", file.display()))?);
        }
    }
    let fault: Option<Fault> =
        verify_all(&copy.chains, &key).and_then(|()| verify_against(&copy.chains, &checkpoints, &key)).err();
    let entries: usize = copy.chains.values().map(|chain| chain.entries.len()).sum();
    Ok(json!({
        "ok": fault.is_none(),
        "fault": fault,
        "chains": copy.chains.len(),
        "entries": entries,
        "checkpoints": checkpoints.len(),
    }))
}

/// Appends the ends of the chains to a file outside the database, whenever they have changed.
pub(crate) struct Checkpoints {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) file: PathBuf,
    pub(crate) every: Duration,
}

impl Checkpoints {
    /// Until the host stops, and once more then.
    pub(crate) async fn keep(self, mut stopped: watch::Receiver<bool>) {
        let mut known: Vec<Head> = Vec::new();
        loop {
            let last = *stopped.borrow();
            if let Err(error) = self.append(&mut known).await {
                tracing::error!(error = format!("{error:#}"), "a checkpoint of the audit log cannot be kept");
            }
            if last {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(self.every) => {}
                _ = stopped.changed() => {}
            }
        }
    }

    async fn append(&self, known: &mut Vec<Head>) -> anyhow::Result<()> {
        let heads = self.store.audit_heads().await?;
        let (key, now): (_, Timestamp) = (self.store.audit_key(), self.clock.now());
        let mut lines = String::new();
        for head in heads.iter().filter(|head| !known.contains(head)) {
            lines.push_str(&serde_json::to_string(&Checkpoint::of(head, now, &key))?);
            lines.push('\n');
        }
        if !lines.is_empty() {
            let file = std::fs::OpenOptions::new().create(true).append(true).open(&self.file);
            let mut file = file.with_context(|| self.file.display().to_string())?;
            file.write_all(lines.as_bytes())?;
            file.sync_all()?;
        }
        *known = heads;
        Ok(())
    }
}
