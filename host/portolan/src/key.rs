//! `portolan key rotate`: a new key in the place of the caller's.

use clap::Subcommand;
use serde_json::json;

use crate::access::{Access, wait_for};

#[derive(Subcommand)]
pub(crate) enum KeyCommand {
    /// Gives the caller a new API key in the place of the one that it uses. The new one is printed, and never again.
    #[command(alias = "renew")]
    Rotate {
        /// For how many seconds the old key still opens what it opened.
        #[arg(long, default_value_t = 3_600)]
        overlap_s: u64,
        #[command(flatten)]
        access: Access,
    },
}

pub(crate) fn main(command: KeyCommand) -> anyhow::Result<()> {
    let KeyCommand::Rotate { overlap_s, access } = command;
    let client = access.client()?;
    println!("{}", wait_for(client.post("/api/v1/key/rotate", &json!({ "overlap_s": overlap_s })))?);
    Ok(())
}
