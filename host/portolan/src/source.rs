//! `portolan source`: sources, through the API of a running host.

use clap::Subcommand;
use serde_json::json;

use crate::access::{TenantAccess, wait_for};

#[derive(Subcommand)]
pub(crate) enum SourceCommand {
    /// Has Stripe send to a source exactly the events that its mappings serve.
    ///
    /// Creates a webhook endpoint at Stripe and gives its signing secret to the source; run again after mappings
    /// have changed, it changes that one. Prints what was done as JSON.
    Register {
        /// The source: src_…
        source: String,
        /// The connection to Stripe whose key may write webhook endpoints: con_…
        #[arg(long)]
        connection: String,
        /// The host's address as Stripe reaches it: https://hooks.example.com
        #[arg(long)]
        public_url: String,
        /// The API version in which Stripe writes events. Without it: the account's.
        #[arg(long)]
        api_version: Option<String>,
        /// The environment: sandbox, qa or production.
        #[arg(long, env = "PORTOLAN_ENVIRONMENT")]
        environment: String,
        #[command(flatten)]
        access: TenantAccess,
    },
}

pub(crate) fn main(command: SourceCommand) -> anyhow::Result<()> {
    wait_for(run(command))
}

async fn run(command: SourceCommand) -> anyhow::Result<()> {
    let SourceCommand::Register { source, connection, public_url, api_version, environment, access } =
        command;
    let client = access.client()?;
    let path = format!("/api/v1/environments/{environment}/sources/{source}/register");
    let url = format!("{}/hooks/{source}", public_url.trim_end_matches('/'));
    let body = json!({ "connection": connection, "url": url, "api_version": api_version });
    println!("{}", client.post(&path, &body).await?);
    Ok(())
}
