//! The one place that opens outbound sockets.
//!
//! The cast: [`OutboundPolicy`] is what the operator allows; [`Outbound`] holds it, the TLS settings and the
//! way names are looked up; a `Pool` is one connection's sockets to one base URL. Connectors build
//! `Request`s and get back an `Answer`, whole and within its size limit, or `Unanswered`.
//!
//! What holds here, so that no connector has to think of it:
//!
//! 1. A socket is opened only to an address that was checked: names are resolved by `CheckedResolver`,
//!    which hands over exactly the addresses it checked, and addresses written in URLs are checked before
//!    the pool exists. A name that changes its answer later is checked again with the next socket.
//!    Behind a proxy that a connection names, both the proxy and the target are checked.
//! 2. No redirect is followed, no proxy of the environment is used, nothing is decompressed.
//! 3. No request is ever sent twice: every repetition is the deliverer's decision.
//! 4. Never more than `response_bytes_max` of an answer is held.
//! 5. A request ends by its deadline.
//! 6. HTTP/1.1 only: a cut connection puts the one call in doubt that used it, not all that shared it.

mod address;
mod resolve;
mod tls;
mod transport;

use std::{
    net::IpAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use portolan_proof::Point;
use serde::Deserialize;
use tokio::time::Instant;
use url::{Host, Url};

pub use address::{AddressClass, AllowedTarget, InvalidTarget};
use resolve::{CheckedResolver, RefusedAddress};
pub use resolve::{Lookup, SystemLookup};
pub(crate) use transport::Transport;

use crate::ConfigError;

/// How much of an answer is held unless the operator says otherwise.
const RESPONSE_BYTES_MAX_DEFAULT: usize = 8 * 1024 * 1024;
/// Connecting takes no longer than this, nor than half of a call.
const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(10);
/// Idle sockets are closed before servers do (the shortest usual keep-alive is 5 s): a request written to a
/// socket that is just being closed would be an unknown outcome.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
/// Idle sockets kept per connection.
const IDLE_SOCKETS_MAX: usize = 8;

/// What the operator allows. The default lets connections reach public HTTPS addresses only.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OutboundPolicy {
    /// Whether this machine may be connected to, over plain HTTP too.
    pub allow_loopback: bool,
    /// Whether RFC 1918 and unique local addresses may be connected to, over plain HTTP too.
    pub allow_private: bool,
    /// Whether public addresses may be spoken to without TLS.
    pub allow_plain_http: bool,
    /// Exceptions: networks and host names, over plain HTTP too.
    pub allow: Vec<AllowedTarget>,
    /// Certificates (PEM) that are trusted besides those of the operating system.
    pub root_certificates_pem: Vec<String>,
    /// The most that is held of an answer, in bytes.
    pub response_bytes_max: usize,
}

impl Default for OutboundPolicy {
    fn default() -> Self {
        Self {
            allow_loopback: false,
            allow_private: false,
            allow_plain_http: false,
            allow: Vec::new(),
            root_certificates_pem: Vec::new(),
            response_bytes_max: RESPONSE_BYTES_MAX_DEFAULT,
        }
    }
}

impl OutboundPolicy {
    /// Whether a socket may be opened to this address. `host` is the name it was found under, if it was.
    ///
    /// # Errors
    /// The class of address that is not allowed.
    pub fn check(&self, address: IpAddr, host: Option<&str>) -> Result<(), AddressClass> {
        let class = AddressClass::of(address);
        let host_is_allowed = || host.is_some_and(|host| self.allow.iter().any(|t| t.covers_host(host)));
        let permitted = match class {
            AddressClass::Public => true,
            AddressClass::Loopback => self.allow_loopback || host_is_allowed(),
            AddressClass::Private => self.allow_private || host_is_allowed(),
            AddressClass::CarrierNat => host_is_allowed(),
            AddressClass::LinkLocal
            | AddressClass::Unspecified
            | AddressClass::Multicast
            | AddressClass::Documentation
            | AddressClass::Translated
            | AddressClass::Reserved => false,
        };
        if permitted || self.network_is_allowed(address) { Ok(()) } else { Err(class) }
    }

    /// Whether this address, already allowed, may be spoken to without TLS.
    fn plain_http_is_allowed(&self, address: IpAddr, host: Option<&str>) -> bool {
        self.allow_plain_http
            || AddressClass::of(address) != AddressClass::Public
            || self.network_is_allowed(address)
            || host.is_some_and(|host| self.allow.iter().any(|target| target.covers_host(host)))
    }

    fn network_is_allowed(&self, address: IpAddr) -> bool {
        self.allow.iter().any(|target| target.covers_address(address))
    }
}

/// Makes pools of sockets under one policy. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Outbound {
    policy: Arc<OutboundPolicy>,
    lookup: Arc<dyn Lookup>,
    tls: Arc<OnceLock<Result<rustls::ClientConfig, String>>>,
    transport: Arc<Transport>,
}

impl Outbound {
    /// With names looked up by the operating system. Opens nothing and reads nothing yet.
    #[must_use]
    pub fn new(policy: OutboundPolicy) -> Self {
        Self::with_lookup(policy, Arc::new(SystemLookup))
    }

    /// With another way to look up names.
    #[must_use]
    pub fn with_lookup(policy: OutboundPolicy, lookup: Arc<dyn Lookup>) -> Self {
        let (tls, transport) = (Arc::default(), Arc::default());
        Self { policy: Arc::new(policy), lookup, tls, transport }
    }

    /// The same, for one connection whose tenant says more about its sockets.
    pub(crate) fn with_transport(&self, transport: Transport) -> Self {
        Self { transport: Arc::new(transport), ..self.clone() }
    }

    /// What the operator allows.
    #[must_use]
    pub fn policy(&self) -> &OutboundPolicy {
        &self.policy
    }

    /// A pool of sockets to `base_url`, whose calls take at most `timeout`.
    pub(crate) fn pool(&self, base_url: &str, timeout: Duration) -> Result<Pool, ConfigError> {
        if base_url.get(..3).is_some_and(|begin| begin.eq_ignore_ascii_case("/H/")) {
            let message = "a SAProuter string leads to NI, not to HTTP. Publish the system's HTTPS port through a \
                           SAP Web Dispatcher, or reach it through an HTTP proxy (setting proxy), and give that URL";
            return Err(base_url_error(message));
        }
        let base = self.check_base_url(base_url).map_err(|message| base_url_error(&message))?;
        let plain = base.scheme() == "http";
        if plain && self.transport.is_about_tls() {
            return Err(base_url_error("tls_ca and client_certificate need https"));
        }
        let proxy = self.proxy()?;
        // Behind a proxy the only name that sockets are opened to is the proxy's.
        let opened_plain = proxy.as_ref().map_or(plain, |(_, plain)| *plain);
        let resolver = CheckedResolver::new(Arc::clone(&self.policy), Arc::clone(&self.lookup), opened_plain);
        #[expect(clippy::disallowed_methods, reason = "this is the one place that makes HTTP clients")]
        let builder = reqwest::Client::builder()
            .user_agent(concat!("portolan/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .http1_only()
            .connect_timeout(CONNECT_TIMEOUT_MAX.min(timeout / 2))
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_SOCKETS_MAX)
            .dns_resolver(Arc::new(resolver))
            .tls_backend_preconfigured(
                self.tls(plain && opened_plain).map_err(|message| base_url_error(&message))?,
            );
        let target = proxy.as_ref().map(|_| {
            Arc::new(CheckedResolver::new(Arc::clone(&self.policy), Arc::clone(&self.lookup), plain))
        });
        let builder = match proxy {
            Some((proxy, _)) => builder.proxy(proxy),
            None => builder,
        };
        let client = builder.build().map_err(|error| base_url_error(&innermost(&error)))?;
        Ok(Pool { client, base, target, response_bytes_max: self.policy.response_bytes_max })
    }

    /// The proxy of this connection, and whether it is spoken to without TLS.
    fn proxy(&self) -> Result<Option<(reqwest::Proxy, bool)>, ConfigError> {
        let Some(proxy) = &self.transport.proxy else { return Ok(None) };
        let refused = |message: &str| ConfigError {
            pointer: "/settings/proxy".to_owned(),
            message: message.to_owned(),
        };
        let url = self.check_base_url(&proxy.url).map_err(|message| refused(&message))?;
        if url.path() != "/" && !url.path().is_empty() {
            return Err(refused("a proxy is scheme, host and port only"));
        }
        let plain = url.scheme() == "http";
        let mut built = reqwest::Proxy::all(url).map_err(|error| refused(&innermost(&error)))?;
        if let Some((user, password)) = &proxy.login {
            built = built.basic_auth(user, password.expose());
        }
        Ok(Some((built, plain)))
    }

    /// A URL is taken only when nothing in it can lead elsewhere than it says.
    fn check_base_url(&self, text: &str) -> Result<Url, String> {
        let mut url = Url::parse(text).map_err(|error| format!("not a URL: {error}"))?;
        let plain = match url.scheme() {
            "https" => false,
            "http" => true,
            other => return Err(format!("the scheme {other} is not https or http")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err("a base URL holds no credentials; they belong into the secrets".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() || url.port() == Some(0) {
            return Err("a base URL is scheme, host, port and path only".to_owned());
        }
        let address = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            Some(Host::Domain(_)) => None,
            None => return Err("the URL names no host".to_owned()),
        };
        if let Some(address) = address {
            self.policy.check(address, None).map_err(|class| {
                format!("{address} is a {class} address, which the operator's settings do not allow")
            })?;
        }
        if plain && !self.plain_http_is_possible(address, url.host_str().unwrap_or_default()) {
            return Err("plain http is not allowed by the operator's settings; use https".to_owned());
        }
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        Ok(url)
    }

    fn plain_http_is_possible(&self, address: Option<IpAddr>, host: &str) -> bool {
        match address {
            Some(address) => self.policy.plain_http_is_allowed(address, None),
            // The name may yet resolve to an allowed private address: the resolver decides.
            None => {
                let policy = &self.policy;
                policy.allow_plain_http
                    || policy.allow_loopback
                    || policy.allow_private
                    || policy.allow.iter().any(|target| target.covers_host(host))
                    || policy.allow.iter().any(|target| matches!(target, AllowedTarget::Network { .. }))
            }
        }
    }

    /// The certificates of the operating system are read once, for the first pool that needs them.
    fn tls(&self, plain: bool) -> Result<rustls::ClientConfig, String> {
        if plain {
            return tls::without_roots();
        }
        if self.transport.is_about_tls() {
            return self.transport.tls(&self.policy.root_certificates_pem);
        }
        self.tls.get_or_init(|| tls::with_roots(&self.policy.root_certificates_pem)).clone()
    }
}

fn base_url_error(message: &str) -> ConfigError {
    ConfigError { pointer: "/settings/base_url".to_owned(), message: message.to_owned() }
}

/// One connection's sockets to one base URL.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    client: reqwest::Client,
    base: Url,
    /// Behind a proxy: what checks the name of the target, which the proxy will look up for itself.
    target: Option<Arc<CheckedResolver>>,
    response_bytes_max: usize,
}

impl Pool {
    /// The base URL with path segments (escaped) and a query (escaped) appended.
    ///
    /// `None` for segments that would change the path instead of extending it (empty, `.` and `..`).
    pub(crate) fn url(&self, segments: &[&str], query: &[(&str, &str)]) -> Option<Url> {
        let mut url = self.base.clone();
        if segments.iter().any(|segment| matches!(*segment, "" | "." | "..")) {
            return None;
        }
        url.path_segments_mut().ok()?.pop_if_empty().extend(segments);
        if !query.is_empty() {
            let pairs = query.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value)));
            url.set_query(Some(&pairs.collect::<Vec<_>>().join("&")));
        }
        Some(url)
    }

    /// Sends a request once and reads the whole answer, by `deadline`.
    pub(crate) async fn exchange(&self, request: Request, deadline: Instant) -> Result<Answer, Unanswered> {
        if request.url.origin() != self.base.origin() {
            let message = "a request may not leave the origin of its base URL".to_owned();
            return Err(Unanswered::Refused { message });
        }
        let exchange = async {
            if let (Some(target), Some(Host::Domain(name))) = (&self.target, self.base.host()) {
                target.check(name).await?;
            }
            let mut builder = self.client.request(request.method, request.url).headers(request.headers);
            if let Some(body) = request.body {
                builder = builder.body(body);
            }
            let at = |point| {
                if request.changes {
                    portolan_proof::pass(point);
                }
            };
            at(Point::Connected);
            at(Point::RequestSent);
            let response = builder.send().await.map_err(|error| unanswered(&error))?;
            at(Point::ResponseBegun);
            let answer = self.read(response).await?;
            at(Point::ResponseRead);
            Ok(answer)
        };
        tokio::time::timeout_at(deadline, exchange).await.unwrap_or(Err(Unanswered::TimedOut))
    }

    async fn read(&self, mut response: reqwest::Response) -> Result<Answer, Unanswered> {
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        let too_large = || Unanswered::TooLarge { bytes_max: self.response_bytes_max };
        let declared = response.content_length().and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(0);
        if declared > self.response_bytes_max {
            return Err(too_large());
        }
        let mut body = BytesMut::with_capacity(declared);
        while let Some(chunk) = response.chunk().await.map_err(|error| unanswered(&error))? {
            if body.len().saturating_add(chunk.len()) > self.response_bytes_max {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        let encoding = headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes);
        if encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case(b"identity")) {
            return Err(Unanswered::Encoded);
        }
        Ok(Answer { status, headers, body: body.freeze() })
    }
}

/// Escapes everything but RFC 3986's unreserved characters, and `$`, which OData's names begin with.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~$".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// What is sent.
#[derive(Debug)]
pub(crate) struct Request {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Option<Bytes>,
    changes: bool,
}

impl Request {
    /// A request without body, which asks for an answer that is not compressed.
    pub(crate) fn new(method: Method, url: Url) -> Self {
        let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"))]);
        Self { method, url, headers, body: None, changes: false }
    }

    /// Whether it asks for a change: the points of an attempt (see [`portolan_proof`]) are those of changes.
    pub(crate) const fn changing(mut self, changes: bool) -> Self {
        self.changes = changes;
        self
    }

    /// Sets a header.
    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Sets several headers.
    pub(crate) fn headers(mut self, headers: &HeaderMap) -> Self {
        self.headers.extend(headers.clone());
        self
    }

    /// Sets a body whose media type the headers say.
    pub(crate) fn bytes(mut self, body: Bytes) -> Self {
        self.body = Some(body);
        self
    }

    /// Sets the body.
    pub(crate) fn body(mut self, media_type: &'static str, body: impl Into<Bytes>) -> Self {
        self.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        self.body = Some(body.into());
        self
    }
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Its status.
    pub(crate) status: StatusCode,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// Its body, complete.
    pub(crate) body: Bytes,
}

impl Answer {
    /// A header's text, when it is visible ASCII.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// Nothing was sent, and nothing will be while the settings are as they are.
    Refused {
        /// Why.
        message: String,
    },
    /// Nothing was carried out: the proxy, or the server's TLS, wants other credentials.
    Unwelcome {
        /// Who says so, and what.
        message: String,
    },
    /// Nothing was sent: no connection could be made.
    NotConnected {
        /// Why.
        message: String,
    },
    /// The deadline passed. The request may have been sent.
    TimedOut,
    /// The connection broke after the request may have been sent.
    Lost {
        /// How.
        message: String,
    },
    /// The answer is larger than may be held.
    TooLarge {
        /// The most that is held.
        bytes_max: usize,
    },
    /// The answer is compressed although nothing compressed was asked for.
    Encoded,
}

fn unanswered(error: &reqwest::Error) -> Unanswered {
    if let Some(refused) = find_source::<RefusedAddress>(error) {
        return Unanswered::Refused { message: refused.to_string() };
    }
    let message = innermost(error);
    if let Some(alert) = find_source::<std::io::Error>(error).and_then(tls::refused_certificate) {
        return Unanswered::Unwelcome {
            message: format!("the server refuses the client certificate: {alert:?}"),
        };
    }
    if error.is_connect() && message.contains("proxy authorization required") {
        return Unanswered::Unwelcome {
            message: "the proxy refuses proxy_user and proxy_password".to_owned(),
        };
    }
    if error.is_connect() {
        Unanswered::NotConnected { message }
    } else if error.is_builder() {
        Unanswered::Refused { message }
    } else {
        Unanswered::Lost { message }
    }
}

fn find_source<'a, E: std::error::Error + 'static>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a E> {
    std::iter::successors(Some(error), |error| error.source()).find_map(|error| error.downcast_ref::<E>())
}

/// The text of the first cause: reqwest's own texts repeat the URL and say little.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.last().map_or_else(String::new, ToString::to_string)
}
