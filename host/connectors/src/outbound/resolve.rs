//! Names become addresses here, and only addresses that the policy allows leave. Called by the HTTP client
//! whenever it opens a socket to a named host.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::{AddressClass, OutboundPolicy, Unanswered};

/// Addresses of one name that are looked at.
const ADDRESSES_MAX: usize = 64;

/// Finds the addresses of a name.
#[async_trait]
pub trait Lookup: Send + Sync + fmt::Debug {
    /// All addresses of the name, in order of preference.
    ///
    /// # Errors
    /// When there are none.
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// Asks the operating system.
#[derive(Debug, Clone, Copy)]
pub struct SystemLookup;

#[async_trait]
impl Lookup for SystemLookup {
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let found = tokio::net::lookup_host((name, 0)).await?;
        Ok(found.map(|address| address.ip()).take(ADDRESSES_MAX).collect())
    }
}

/// A name leads where the operator does not allow connections.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RefusedAddress {
    /// Not at all.
    #[error("{name} resolves to {address}, a {class} address, which the operator's settings do not allow")]
    Class {
        /// The name.
        name: String,
        /// One of its addresses.
        address: IpAddr,
        /// Why not.
        class: AddressClass,
    },
    /// Not without TLS.
    #[error(
        "{name} resolves to {address}, which the operator's settings do not allow over plain http; use https"
    )]
    PlainHttp {
        /// The name.
        name: String,
        /// One of its addresses.
        address: IpAddr,
    },
}

/// Looks names up and checks every address. One that is not allowed condemns the name: an honest host does
/// not mix public and forbidden addresses, a rebinding attack does.
pub(super) struct CheckedResolver {
    policy: Arc<OutboundPolicy>,
    lookup: Arc<dyn Lookup>,
    plain: bool,
}

impl CheckedResolver {
    /// `plain`: the addresses will be spoken to without TLS.
    pub(super) fn new(policy: Arc<OutboundPolicy>, lookup: Arc<dyn Lookup>, plain: bool) -> Self {
        Self { policy, lookup, plain }
    }
}

impl fmt::Debug for CheckedResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckedResolver").field("plain", &self.plain).finish_non_exhaustive()
    }
}

impl CheckedResolver {
    /// Looks a name up that somebody else will connect to, and checks every address as if it were for itself.
    pub(super) async fn check(&self, name: &str) -> Result<(), Unanswered> {
        let addresses = self.lookup.addresses(name).await;
        let addresses = addresses.map_err(|error| Unanswered::NotConnected {
            message: format!("{name} cannot be looked up, so it cannot be checked: {error}"),
        })?;
        for address in addresses {
            let refused = |refused: RefusedAddress| Unanswered::Refused { message: refused.to_string() };
            check(&self.policy, name, address, self.plain).map_err(refused)?;
        }
        Ok(())
    }
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (policy, lookup, plain) = (Arc::clone(&self.policy), Arc::clone(&self.lookup), self.plain);
        Box::pin(async move {
            let name = name.as_str();
            let addresses = lookup.addresses(name).await?;
            for address in &addresses {
                check(&policy, name, *address, plain)?;
            }
            let addresses = addresses.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(addresses) as Addrs)
        })
    }
}

fn check(policy: &OutboundPolicy, name: &str, address: IpAddr, plain: bool) -> Result<(), RefusedAddress> {
    if let Err(class) = policy.check(address, Some(name)) {
        return Err(RefusedAddress::Class { name: name.to_owned(), address, class });
    }
    if plain && !policy.plain_http_is_allowed(address, Some(name)) {
        return Err(RefusedAddress::PlainHttp { name: name.to_owned(), address });
    }
    Ok(())
}
