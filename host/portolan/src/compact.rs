//! `portolan compact`: gives room back to the disk, and makes sure that what was removed is gone.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use portolan_store::sqlite::SqliteStore;

#[derive(Args)]
pub(crate) struct CompactArgs {
    /// The data folder of the host, which must not run.
    #[arg(long, value_name = "FOLDER")]
    data: PathBuf,
}

pub(crate) fn main(args: &CompactArgs) -> anyhow::Result<()> {
    let path = args.data.join("portolan.db");
    anyhow::ensure!(path.exists(), "{}: there is no database", path.display());
    let (before, after) = SqliteStore::compact(&path).with_context(|| path.display().to_string())?;
    println!("{}", serde_json::json!({ "bytes_before": before, "bytes_after": after }));
    Ok(())
}
