//! Which host a command speaks with, with which key, and for whom.

use anyhow::Context;
use clap::Args;
use portolan::stage::Client;

/// A running host, and who asks.
#[derive(Args)]
pub(crate) struct Access {
    /// The host's address.
    #[arg(long, env = "PORTOLAN_URL", default_value = "http://127.0.0.1:8080")]
    host: String,
    /// A key of the API: an operator's, or one of a tenant where only the tenant is concerned.
    #[arg(long, env = "PORTOLAN_KEY", hide_env_values = true)]
    key: Option<String>,
}

impl Access {
    /// A client of that host.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        let key = self.key.as_deref().context("a key of the API is needed: --key or PORTOLAN_KEY")?;
        Client::new(&self.host, Some(key))
    }
}

/// The same, where a tenant is concerned.
#[derive(Args)]
pub(crate) struct TenantAccess {
    #[command(flatten)]
    access: Access,
    /// With an operator's key: the tenant for whom it acts.
    #[arg(long, env = "PORTOLAN_TENANT")]
    tenant: Option<String>,
}

impl TenantAccess {
    /// A client of that host that acts for the tenant.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        let client = self.access.client()?;
        Ok(match &self.tenant {
            Some(tenant) => client.for_tenant(tenant),
            None => client,
        })
    }
}

/// Waits for a command's work on a runtime of its own.
pub(crate) fn wait_for<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// A text as one part of an address.
pub(crate) fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_with_a_slash_is_one_part_of_the_address() {
        assert_eq!(encoded("2026/04&x=1 é"), "2026%2F04%26x%3D1%20%C3%A9");
    }
}
