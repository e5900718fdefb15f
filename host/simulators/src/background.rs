//! What a system does without being called: work that was stored for later, and sending. Only some do any.
//!
//! The loop keeps the exchange's rule: the system decides under its lock, sockets are used without it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::clock::now_ms;
use crate::exchange::Simulator;
use crate::stand_in::{Call, Outgoing};

/// How often is looked for something to do.
const PAUSE: Duration = Duration::from_millis(20);
/// How long a receiver may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// How much of an answer is read: its first line says all that counts.
const ANSWER_BYTES_MAX: u64 = 4_096;

/// Runs until the simulator is gone.
pub(crate) async fn run(simulator: Weak<Simulator>) {
    loop {
        tokio::time::sleep(PAUSE).await;
        let Some(simulator) = simulator.upgrade() else { return };
        turn(&simulator).await;
    }
}

/// One look.
async fn turn(simulator: &Arc<Simulator>) {
    let due = simulator.stand_in().due(now_ms());
    simulator.commit_unasked(&own_call(), due, "background").await;
    let outgoing = simulator.stand_in().outgoing(now_ms());
    for post in outgoing {
        let sending = tokio::time::timeout(ANSWER_MAX, send(&post)).await;
        let status = sending.ok().flatten();
        let told = simulator.stand_in().sent(&post, status, now_ms());
        simulator.commit_unasked(&own_call(), told, "background").await;
    }
}

/// The call that nobody made: what background work is committed under.
pub(crate) fn own_call() -> Call {
    Call {
        method: Method::POST,
        path: "/_simulator/background".to_owned(),
        query: Vec::new(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
        in_flight: 0,
    }
}

/// Posts over plain HTTP; the status of the answer, if there was one.
async fn send(post: &Outgoing) -> Option<u16> {
    let url = url::Url::parse(&post.url).ok().filter(|url| url.scheme() == "http")?;
    let address = (url.host_str()?, url.port_or_known_default()?);
    let mut socket = TcpStream::connect(address).await.ok()?;
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut request = format!(
        "POST {}{query} HTTP/1.1\r\nhost: {}:{}\r\nconnection: close\r\ncontent-length: {}\r\n",
        url.path(),
        address.0,
        address.1,
        post.body.len()
    );
    for (name, value) in &post.headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    socket.write_all(request.as_bytes()).await.ok()?;
    socket.write_all(post.body.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    socket.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await.ok()?;
    let line = String::from_utf8_lossy(answer.get(..64.min(answer.len()))?).into_owned();
    line.split(' ').nth(1)?.parse().ok()
}
