//! A BPM directive: after a customer was changed by somebody else than the integration user, it posts the row to a
//! URL, once, and does not care whether that arrives (a directive that waits or throws would block the user's save).
//!
//! The body is `{eventId, company, table, sysRowId, sysRevId, operation, row}`, signed as
//! `X-Signature: t=…,v1=hex(HMAC-SHA256(secret, t + "." + body))`, or sent with a bearer token.

use hmac::{Hmac, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::clock::now_ms;
use crate::epicor::Row;
use crate::epicor::rows::{shown, text, whole};
use crate::ledger::Entry;
use crate::settings::EpicorBpm;

/// Changes that wait to be posted; more are lost.
const WAITING_MAX: usize = 10_000;
/// What one post may take.
const POST_SECONDS_MAX: u64 = 10;

/// The directive.
pub(crate) struct Bpm {
    options: Option<EpicorBpm>,
    waiting: Option<mpsc::Sender<(EpicorBpm, String)>>,
}

impl Bpm {
    pub(crate) fn new(options: Option<EpicorBpm>) -> Self {
        Self { options, waiting: None }
    }

    /// From now on, what is committed is posted.
    pub(crate) fn open(&mut self) {
        if self.waiting.is_none() && self.options.is_some() {
            let (sender, receiver) = mpsc::channel(WAITING_MAX);
            tokio::spawn(post_all(receiver));
            self.waiting = Some(sender);
        }
    }

    /// Takes another directive in place of the one there is.
    pub(crate) fn replace(&mut self, options: Option<EpicorBpm>) {
        self.options = options;
        self.open();
    }

    /// A document was committed.
    pub(crate) fn committed(&mut self, entry: &Entry) {
        let operation = match entry.kind.as_str() {
            "customer" => "Add",
            "customer-update" => "Update",
            "customer-deletion" => "Delete",
            _ => return,
        };
        let (Some(options), Some(waiting)) = (&mut self.options, &self.waiting) else { return };
        for write in entry.document.get("rows").and_then(Value::as_array).into_iter().flatten() {
            let row = write.get("row").and_then(Value::as_object);
            let Some(row) = row.filter(|row| text(row, "ChangedBy") != options.integration_user) else {
                continue;
            };
            if options.lose > 0 {
                options.lose -= 1;
                continue;
            }
            let body = body(row, operation, entry.at_ms).to_string();
            if waiting.try_send((options.clone(), body)).is_err() {
                tracing::warn!("a BPM post is lost: too many wait");
            }
        }
    }
}

fn body(row: &Row, operation: &str, at_ms: u64) -> Value {
    let (row_id, revision) = (text(row, "SysRowID"), whole(row, "SysRevID"));
    let event = match operation {
        "Delete" => format!("{row_id}/{revision}/deleted"),
        _ => format!("{row_id}/{revision}"),
    };
    json!({
        "eventId": event, "company": text(row, "Company"), "table": "Customer", "sysRowId": row_id,
        "sysRevId": revision, "operation": operation, "row": shown(row, at_ms),
    })
}

async fn post_all(mut waiting: mpsc::Receiver<(EpicorBpm, String)>) {
    while let Some((options, body)) = waiting.recv().await {
        let time = std::time::Duration::from_secs(POST_SECONDS_MAX);
        match tokio::time::timeout(time, post(&options, &body)).await {
            Ok(Ok(status)) => tracing::debug!(status, "a BPM post was answered"),
            Ok(Err(error)) => tracing::warn!(%error, "a BPM post is lost"),
            Err(_) => tracing::warn!("a BPM post is lost: no answer in time"),
        }
    }
}

/// One HTTP/1.1 request over a socket of its own: a directive's `HttpClient` does no more.
async fn post(options: &EpicorBpm, body: &str) -> std::io::Result<String> {
    let wrong = |text: &str| std::io::Error::new(std::io::ErrorKind::InvalidInput, text.to_owned());
    let url = url::Url::parse(&options.url).map_err(|error| wrong(&error.to_string()))?;
    let host = url.host_str().filter(|_| url.scheme() == "http").ok_or_else(|| wrong("plain http only"))?;
    let port = url.port_or_known_default().unwrap_or(80);
    let mut request = format!(
        "POST {} HTTP/1.1\r\nhost: {host}:{port}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n",
        url.path(),
        body.len()
    );
    if let Some(secret) = &options.secret {
        request.push_str(&format!("x-signature: {}\r\n", signature(secret, now_ms() / 1_000, body)));
    }
    if let Some(token) = &options.token {
        request.push_str(&format!("authorization: Bearer {token}\r\n"));
    }
    let mut socket = TcpStream::connect((host, port)).await?;
    socket.write_all(format!("{request}\r\n{body}").as_bytes()).await?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await?;
    let text = String::from_utf8_lossy(&answer);
    Ok(text.split(' ').nth(1).unwrap_or_default().to_owned())
}

/// `t=…,v1=…`
pub(crate) fn signature(secret: &str, seconds: u64, body: &str) -> String {
    // A key of any length is fit for an HMAC.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return String::new() };
    mac.update(format!("{seconds}.{body}").as_bytes());
    format!("t={seconds},v1={}", hex::encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_over_time_and_body() {
        // printf '1795165201.{}' | openssl dgst -sha256 -hmac secret
        let expected = "t=1795165201,v1=";
        let signed = signature("secret", 1_795_165_201, "{}");
        assert!(signed.starts_with(expected));
        assert_eq!(signed.len(), expected.len() + 64);
        assert_ne!(signed, signature("secret", 1_795_165_202, "{}"));
        assert_ne!(signed, signature("other", 1_795_165_201, "{}"));
    }
}
