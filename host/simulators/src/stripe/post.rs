//! Posts webhooks: one connection that is kept, a new time and signature for every attempt.
//! Source of the scheme: Stripe's documentation, "Verify webhook signatures".

use std::time::Duration;

use bytes::Bytes;
use hmac::{Hmac, Mac as _};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use sha2::Sha256;
use tokio::net::TcpStream;

use crate::clock::now_ms;

/// What a receiver may take for one webhook.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Where webhooks go, understood.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    host: String,
    authority: String,
    port: u16,
    path: String,
}

impl Address {
    /// A plain `http://` URL.
    pub(crate) fn parse(url: &str) -> Option<Self> {
        let url = url::Url::parse(url).ok().filter(|url| url.scheme() == "http")?;
        let (host, port) = (url.host_str()?.to_owned(), url.port_or_known_default()?);
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        Some(Self {
            authority: format!("{host}:{port}"),
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            path: format!("{}{query}", url.path()),
        })
    }
}

/// `t=…,v1=…` over a body, now.
pub(crate) fn signature(secret: &str, body: &str) -> Option<String> {
    let seconds = now_ms() / 1_000;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
    mac.update(format!("{seconds}.{body}").as_bytes());
    Some(format!("t={seconds},v1={}", hex::encode(mac.finalize().into_bytes())))
}

/// One sender's connection.
#[derive(Default)]
pub(crate) struct Post {
    sender: Option<(String, SendRequest<Full<Bytes>>)>,
}

impl Post {
    /// Makes one attempt. `None` when there was no answer.
    pub(crate) async fn attempt(&mut self, to: &Address, secret: &str, body: &str) -> Option<StatusCode> {
        let attempt = tokio::time::timeout(TIMEOUT, self.exchange(to, secret, body)).await;
        let status = attempt.ok().flatten();
        if status.is_none() {
            self.sender = None;
        }
        status
    }

    async fn exchange(&mut self, to: &Address, secret: &str, body: &str) -> Option<StatusCode> {
        let kept = self
            .sender
            .take()
            .filter(|(authority, sender)| *authority == to.authority && !sender.is_closed());
        let mut sender = match kept {
            Some((_, sender)) => sender,
            None => connect(to).await?,
        };
        sender.ready().await.ok()?;
        let request = Request::post(&to.path)
            .header("host", &to.authority)
            .header("content-type", "application/json; charset=utf-8")
            .header("user-agent", "Stripe/1.0 (+https://stripe.com/docs/webhooks)")
            .header("stripe-signature", signature(secret, body)?)
            .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
            .ok()?;
        let response = sender.send_request(request).await.ok()?;
        let status = response.status();
        // The body is read so that the connection can be used again, and ignored.
        response.into_body().collect().await.ok()?;
        self.sender = Some((to.authority.clone(), sender));
        Some(status)
    }
}

async fn connect(to: &Address) -> Option<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect((to.host.as_str(), to.port)).await.ok()?;
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let (sender, connection) = handshake(TokioIo::new(stream)).await.ok()?;
    // It ends with its sender.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a webhook's connection ended");
        }
    });
    Some(sender)
}
