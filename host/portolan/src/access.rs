//! Which host a command speaks with, and with which key.

use clap::Args;
use portolan::stage::Client;

/// A running host, and who asks.
#[derive(Args)]
pub(crate) struct Access {
    /// The host's address.
    #[arg(long, env = "PORTOLAN_URL", default_value = "http://127.0.0.1:8080")]
    host: String,
    /// A key of the admin API: an operator's, or a tenant admin's where only a tenant is concerned.
    #[arg(long, env = "PORTOLAN_KEY", hide_env_values = true)]
    key: String,
}

impl Access {
    /// A client of that host.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        Client::new(&self.host, Some(&self.key))
    }
}

/// Waits for a command's work on a runtime of its own.
pub(crate) fn wait_for<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
