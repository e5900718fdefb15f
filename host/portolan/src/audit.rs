//! `portolan audit`: whether the audit log is as it was written. And the checkpoints that a host keeps of it.

use std::{
    io::Write,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use portolan_domain::{Clock, Timestamp};
use portolan_store::{
    Store,
    audit::{Checkpoint, Fault, Head, verify_against, verify_all},
    sqlite::read_audit,
};
use serde_json::json;
use tokio::sync::watch;

use crate::{
    access::{TenantAccess, wait_for},
    backup::existing_keys,
    secrets,
};

#[derive(Subcommand)]
pub(crate) enum AuditCommand {
    /// Says whether the audit log is as it was written, or which entry is wrong first, and how. The status tells, too.
    ///
    /// An operator's key looks at every chain, with --tenant at that tenant's; a tenant admin's at the tenant's. With --offline, the database of a data
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
    #[command(flatten)]
    access: TenantAccess,
}

pub(crate) fn main(command: AuditCommand) -> anyhow::Result<()> {
    let AuditCommand::Verify(args) = command;
    let answer = match (&args.data, args.offline) {
        (Some(data), true) => offline(data, &args)?,
        _ => wait_for(args.access.client()?.get("/api/v1/audit/verify"))?,
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
    let mut checkpoints: Vec<Checkpoint> = Vec::new();
    if let Some(file) = &args.checkpoints {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        checkpoints = read_checkpoints(&text).with_context(|| file.display().to_string())?;
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

/// The checkpoints of a file, one per line. What a loss of power left of a line is none: nobody was promised it.
fn read_checkpoints(text: &str) -> anyhow::Result<Vec<Checkpoint>> {
    let mut checkpoints = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        // A file may have grown before what it was to hold was written.
        match serde_json::from_str(line.trim_matches('\0')) {
            Ok(checkpoint) => checkpoints.push(checkpoint),
            Err(error) if error.is_eof() => {}
            Err(error) => return Err(error).context(format!("line {number} is no checkpoint")),
        }
    }
    Ok(checkpoints)
}

/// Appends whole lines; they are durable on return. The torn end that a loss of power or a full disk may have left is
/// ended first, so that it spoils no other line.
fn append_lines(path: &Path, lines: &str) -> std::io::Result<()> {
    let new = !path.exists();
    let mut file = std::fs::OpenOptions::new().create(true).append(true).read(true).open(path)?;
    let length = file.metadata()?.len();
    let mut last = *b"\n";
    if length > 0 {
        file.read_exact_at(&mut last, length - 1)?;
    }
    let end = if last == *b"\n" { "" } else { "\n" };
    file.write_all(format!("{end}{lines}").as_bytes())?;
    file.sync_all()?;
    if new {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        std::fs::File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()?;
    }
    Ok(())
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
            append_lines(&self.file, &lines).with_context(|| self.file.display().to_string())?;
        }
        *known = heads;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use portolan_store::audit::AuditKey;

    use super::*;

    fn line(count: u64) -> String {
        let (key, at) = (AuditKey::new([1; 32]), Timestamp::from_millis(1));
        let (chain, seal) = ("host".to_owned(), [3; 32]);
        let head = Head { chain, count, mac: [2; 32], removed: 0, removed_mac: [0; 32], seal };
        serde_json::to_string(&Checkpoint::of(&head, at, &key)).unwrap() + "\n"
    }

    #[test]
    fn a_torn_checkpoint_spoils_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoints");
        let torn = line(2);
        for left in 0..torn.len() {
            for zeros in [0, 9] {
                let text = line(1) + &torn[..left] + &"\0".repeat(zeros);
                std::fs::write(&path, text).unwrap();
                append_lines(&path, &line(3)).unwrap();
                let read = read_checkpoints(&std::fs::read_to_string(&path).unwrap()).unwrap();
                let counts: Vec<u64> = read.iter().map(|read| read.count).collect();
                // Whole but for the end of the line, it is one.
                let whole = left + 1 == torn.len();
                assert_eq!(counts, if whole { vec![1, 2, 3] } else { vec![1, 3] }, "{left} {zeros}");
            }
        }
        std::fs::write(&path, line(1) + "something else\n").unwrap();
        assert!(read_checkpoints(&std::fs::read_to_string(&path).unwrap()).is_err());
    }
}
