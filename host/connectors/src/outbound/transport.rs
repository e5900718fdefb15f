//! How one connection's sockets are opened, where that is the tenant's to say: a certificate authority of their own, a
//! client certificate, an HTTP proxy. Every connector has these settings and none reads them: they are taken out of
//! a connection's settings before its connector sees them.
//!
//! | setting or secret | is |
//! |---|---|
//! | `tls_ca` | certificates (PEM) that this connection trusts besides those of the operating system |
//! | secret `client_certificate` | the certificate with its chain, and its key (PEM, all in one text) |
//! | `proxy` | `http://proxy.corp.example:3128`: HTTPS goes through it by CONNECT |
//! | `proxy_user`, secret `proxy_password` | Basic authentication at the proxy |
//!
//! The operator's policy holds for the proxy as for any address, and for the target behind it too: its name is looked up
//! here before every call, and what may not be connected to may not be asked of a proxy either. The proxy looks
//! the name up again for itself; that it finds the same is between the operator and whoever runs it.

use std::fmt;

use portolan_domain::Secret;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::Value;

use super::tls;
use crate::{
    ConfigError, ConnectionConfig,
    settings::{has_control, refuse, refuse_secret},
};

/// The longest text of certificates, in bytes.
const PEM_BYTES_MAX: usize = 64 * 1024;
/// Certificates of one text.
const CERTIFICATES_MAX: usize = 32;
/// The longest user or password of a proxy, in bytes.
const LOGIN_BYTES_MAX: usize = 1024;

/// What a tenant says about a connection's sockets.
#[derive(Default)]
pub(crate) struct Transport {
    authorities: Vec<CertificateDer<'static>>,
    client: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    pub(super) proxy: Option<Proxy>,
}

/// An HTTP proxy.
pub(super) struct Proxy {
    pub(super) url: String,
    pub(super) login: Option<(String, Secret)>,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let proxy = self.proxy.as_ref().map(|proxy| &proxy.url);
        f.debug_struct("Transport")
            .field("authorities", &self.authorities.len())
            .field("client_certificate", &self.client.is_some())
            .field("proxy", &proxy)
            .finish()
    }
}

impl Transport {
    /// Takes these settings and secrets out of a connection's. `None` when there are none of them.
    pub(crate) fn take(config: &mut ConnectionConfig) -> Result<Option<Self>, ConfigError> {
        let Some(settings) = config.settings.as_object_mut() else { return Ok(None) };
        let mut setting = |name: &str| settings.remove(name).filter(|value| !value.is_null());
        let (ca, proxy, user) = (setting("tls_ca"), setting("proxy"), setting("proxy_user"));
        let certificate = config.secrets.remove("client_certificate");
        let password = config.secrets.remove("proxy_password");
        if ca.is_none() && proxy.is_none() && user.is_none() && certificate.is_none() && password.is_none() {
            return Ok(None);
        }
        let mut transport = Self::default();
        if let Some(ca) = ca {
            let pem = ca.as_str().filter(|pem| pem.len() <= PEM_BYTES_MAX);
            let refused = || refuse("tls_ca", "must be certificates in PEM, at most 32 of them and 64 KiB");
            transport.authorities = pem.and_then(|pem| certificates(pem.as_bytes())).ok_or_else(refused)?;
        }
        if let Some(secret) = certificate {
            transport.client = Some(client_certificate(&secret)?);
        }
        transport.proxy = self::proxy(proxy, user, password)?;
        Ok(Some(transport))
    }

    /// Whether any of it is about TLS.
    pub(super) fn is_about_tls(&self) -> bool {
        !self.authorities.is_empty() || self.client.is_some()
    }

    /// TLS with these certificates besides the operator's.
    pub(super) fn tls(&self, operators: &[String]) -> Result<rustls::ClientConfig, String> {
        let verifier = tls::verifier(operators, self.authorities.clone())?;
        let builder = tls::builder()?.dangerous().with_custom_certificate_verifier(verifier);
        match &self.client {
            None => Ok(builder.with_no_client_auth()),
            Some((chain, key)) => builder
                .with_client_auth_cert(chain.clone(), key.clone_key())
                .map_err(|error| format!("the client certificate cannot be used: {error}")),
        }
    }
}

/// The certificates of a PEM text; `None` when there is none, or something else.
fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    found.ok().filter(|found| (1..=CERTIFICATES_MAX).contains(&found.len()))
}

fn client_certificate(
    secret: &Secret,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), ConfigError> {
    let refused = |message: &str| refuse_secret("client_certificate", message);
    let pem = secret.expose().as_bytes();
    if pem.len() > PEM_BYTES_MAX {
        return Err(refused("must be at most 64 KiB"));
    }
    let chain = certificates(pem)
        .ok_or_else(|| refused("must hold the certificate and its chain in PEM, at most 32 certificates"))?;
    let key = PrivateKeyDer::from_pem_slice(pem)
        .map_err(|_| refused("must hold the certificate's key in PEM besides, not encrypted"))?;
    // That key and certificate belong together shows here, not with the first call.
    rustls::sign::CertifiedKey::from_der(
        chain.clone(),
        key.clone_key(),
        &rustls::crypto::ring::default_provider(),
    )
    .map_err(|error| refused(&format!("holds a certificate and a key that cannot be used: {error}")))?;
    Ok((chain, key))
}

fn proxy(
    url: Option<Value>,
    user: Option<Value>,
    password: Option<Secret>,
) -> Result<Option<Proxy>, ConfigError> {
    let Some(url) = url else {
        return match (user, password) {
            (None, None) => Ok(None),
            (Some(_), _) => Err(refuse("proxy_user", "is of no use without proxy")),
            (None, Some(_)) => Err(refuse_secret("proxy_password", "is of no use without proxy")),
        };
    };
    let url =
        url.as_str().ok_or_else(|| refuse("proxy", "must be a URL like http://proxy.corp.example:3128"))?;
    let login = match (user, password) {
        (None, None) => None,
        (Some(user), Some(password)) => {
            let fits = |text: &str| !text.is_empty() && text.len() <= LOGIN_BYTES_MAX && !has_control(text);
            let user = user.as_str().filter(|user| fits(user) && !user.contains(':'));
            let user = user.ok_or_else(|| refuse("proxy_user", "must be a text without colons"))?;
            if !fits(password.expose()) {
                return Err(refuse_secret("proxy_password", "must be a text without control characters"));
            }
            Some((user.to_owned(), password))
        }
        (Some(_), None) => return Err(refuse_secret("proxy_password", "is required with proxy_user")),
        (None, Some(_)) => return Err(refuse("proxy_user", "is required with the secret proxy_password")),
    };
    Ok(Some(Proxy { url: url.to_owned(), login }))
}
