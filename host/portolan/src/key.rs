//! `portolan key`: new keys in the place of old ones.

use clap::Subcommand;
use serde_json::json;

use crate::access::{Access, wait_for};

#[derive(Subcommand)]
pub(crate) enum KeyCommand {
    /// Has a new master key seal the host's secrets. For operators.
    ///
    /// Only the data keys of secrets are wrapped anew, while work goes on; interrupted, it is called again. The old key
    /// stays in the file until the next start. Backups that were taken before need the old key: keep it with them.
    Rotate {
        #[command(flatten)]
        access: Access,
    },
    /// Gives the caller a new API key in the place of the one that it uses. The new one is printed, and never again.
    Renew {
        /// For how many seconds the old key still opens what it opened.
        #[arg(long, default_value_t = 3_600)]
        overlap_s: u64,
        #[command(flatten)]
        access: Access,
    },
}

pub(crate) fn main(command: KeyCommand) -> anyhow::Result<()> {
    let (access, path, body) = match command {
        KeyCommand::Rotate { access } => (access, "/api/v1/vault/rotate", json!({})),
        KeyCommand::Renew { overlap_s, access } => {
            (access, "/api/v1/key/rotate", json!({ "overlap_s": overlap_s }))
        }
    };
    let client = access.client()?;
    println!("{}", wait_for(client.post(path, &body))?);
    Ok(())
}
