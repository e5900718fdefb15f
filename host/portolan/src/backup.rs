//! `portolan backup`, `portolan restore` and `portolan reconciliation`.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use portolan_domain::{Clock, SystemClock};
use portolan_pipeline::rotation::MasterKeys;
use portolan_store::sqlite::Restore;
use serde_json::json;

use crate::{
    access::{Access, TenantAccess, wait_for},
    print::say,
    secrets,
};

/// `portolan backup`
#[derive(Args)]
pub(crate) struct BackupArgs {
    /// The file to write. It must not be there.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    #[command(flatten)]
    access: Access,
}

pub(crate) fn backup(args: BackupArgs) -> anyhow::Result<()> {
    let client = args.access.client()?;
    let bytes = wait_for(client.download("/api/v1/backup", &args.to))?;
    println!("{}", json!({ "file": args.to, "bytes": bytes, "holds_master_key": false }));
    say(
        "note: secrets in it are sealed: keep a copy of the master key apart from it, or every secret must be entered again",
    );
    Ok(())
}

/// `portolan restore`
#[derive(Args)]
pub(crate) struct RestoreArgs {
    /// What `portolan backup` wrote.
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// The data folder of the host that will serve it. There must be no database in it; the master key must.
    #[arg(long, value_name = "FOLDER")]
    data: PathBuf,
    /// The master key, where it is not FOLDER/master.key or in PORTOLAN_MASTER_KEY.
    #[arg(long, value_name = "FILE")]
    master_key: Option<PathBuf>,
}

pub(crate) fn restore(args: RestoreArgs) -> anyhow::Result<()> {
    let keys = existing_keys(&args.data, args.master_key.as_deref())?;
    let restore = Restore::begin(&args.from, &args.data.join("portolan.db"))?;
    let Some(sealed) = restore.sealed_key()? else {
        bail!("the backup has no key of the audit log: it was taken before the host's first start");
    };
    let key = secrets::open_audit_key(&keys.vault(), &sealed)
        .context("the backup was taken under another master key: put that one in place of this one")?;
    let restored = restore.finish(&key, SystemClock::new().now())?;
    println!("{}", serde_json::to_string(&restored)?);
    say(
        "note: start the host on this folder; every environment reconciles: what is in doubt is asked about before it is sent",
    );
    say("note: make sure that the host from which the backup was taken does not run any more");
    Ok(())
}

/// The master keys of a data folder, as the host would read them.
pub(crate) fn existing_keys(data: &Path, file: Option<&Path>) -> anyhow::Result<MasterKeys> {
    let file = match file {
        Some(file) => file.to_owned(),
        None => match crate::settings::master_key_text() {
            Some(text) => return Ok(MasterKeys::from_text(&text)?),
            None => data.join("master.key"),
        },
    };
    MasterKeys::from_existing(&file).context("the master key is needed; it is never in a backup")
}

/// `portolan reconciliation`
#[derive(Subcommand)]
pub(crate) enum ReconciliationCommand {
    /// Prints every environment that reconciles after a restore, and what it waits for. For operators.
    Show {
        #[command(flatten)]
        access: Access,
    },
    /// Says that nothing is missing in an environment: new deliveries are no longer asked about first.
    End {
        /// The environment: sandbox, qa or production.
        #[arg(long, env = "PORTOLAN_ENVIRONMENT")]
        environment: String,
        /// Why, in your words; it is kept.
        #[arg(long)]
        why: String,
        #[command(flatten)]
        access: TenantAccess,
    },
}

pub(crate) fn reconciliation(command: ReconciliationCommand) -> anyhow::Result<()> {
    let answer = match command {
        ReconciliationCommand::Show { access } => {
            let client = access.client()?;
            wait_for(client.get("/api/v1/reconciliations"))?
        }
        ReconciliationCommand::End { environment, why, access } => {
            let client = access.client()?;
            let path = format!("/api/v1/environments/{environment}/reconciliation/end");
            let body = json!({ "why": why });
            wait_for(client.post(&path, &body))?
        }
    };
    println!("{answer:#}");
    Ok(())
}
