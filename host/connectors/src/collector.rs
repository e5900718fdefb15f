//! Where the operator's traces go: requests to one URL that the operator set. It may be anywhere, on this machine most of
//! all; what tenants may reach does not concern it.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use tokio::time::Instant;

use crate::{
    ConfigError,
    outbound::{Outbound, OutboundPolicy, Pool, Request},
};

/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Takes what is posted to it.
#[derive(Debug, Clone)]
pub struct Collector {
    pool: Pool,
}

/// Nothing came back, or too much.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the collector does not answer: {0}")]
pub struct NoAnswer(String);

impl Collector {
    /// One at this URL, trusting these certificates (PEM) besides those of the operating system.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn new(url: &str, root_certificates_pem: Vec<String>) -> Result<Self, ConfigError> {
        let policy = OutboundPolicy {
            allow_loopback: true,
            allow_private: true,
            allow_plain_http: true,
            root_certificates_pem,
            ..OutboundPolicy::default()
        };
        Ok(Self { pool: Outbound::new(policy).pool(url, TIMEOUT)? })
    }

    /// Posts once.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn post(&self, headers: HeaderMap, body: Bytes) -> Result<http::Response<Bytes>, NoAnswer> {
        let url = self.pool.url(&[], &[]).ok_or_else(|| NoAnswer("its URL cannot be used".to_owned()))?;
        let request = Request::new(Method::POST, url).headers(&headers).bytes(body);
        let answer = self.pool.exchange(request, Instant::now() + TIMEOUT).await;
        let answer = answer.map_err(|error| NoAnswer(format!("{error:?}")))?;
        let mut response = http::Response::new(answer.body);
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        Ok(response)
    }
}
