//! Whoever the tenants tell of their documents, by calls of the blind class: there is no key, and nobody can be asked.
//! It lives in this program, is never killed, and counts.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use portolan::stage::System;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Longer than anyone waits for an answer here.
const HANG: Duration = Duration::from_millis(1_200);

/// What it does instead of answering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slip {
    /// Notes the call and closes the connection.
    NoteThenCut,
    /// Notes the call and says nothing for longer than anyone waits.
    NoteThenHang,
    /// Notes the call and answers 500.
    NoteThen500,
    /// Notes the call and answers 502 as a gateway would.
    NoteThen502,
    /// Closes the connection at once and notes the call later.
    NoteLate,
    /// Notes the call twice, as behind a proxy that repeats.
    Twice,
}

#[derive(Debug, Default)]
struct Told {
    slips: VecDeque<Slip>,
    /// How often each thing was told: by path (tenant), kind and object.
    calls: BTreeMap<(String, String), u64>,
}

/// The receiver.
#[derive(Debug, Clone)]
pub(crate) struct Receiver {
    base: String,
    told: Arc<Mutex<Told>>,
}

impl Receiver {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let receiver = Self { base: format!("http://{}", listener.local_addr()?), told: Arc::default() };
        let own = receiver.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(own.clone().serve(stream));
            }
        });
        Ok(receiver)
    }

    /// Where a tenant's connection leads.
    pub(crate) fn url(&self, system: System) -> String {
        format!("{}/{}", self.base, system.name())
    }

    /// What happens to the calls that come next.
    pub(crate) fn slip(&self, slip: Slip) {
        self.lock().slips.push_back(slip);
    }

    pub(crate) fn behave(&self) {
        self.lock().slips.clear();
    }

    /// How often each object was told: `sap-ecc ch_…`.
    pub(crate) fn calls(&self) -> BTreeMap<(String, String), u64> {
        self.lock().calls.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut buffer = Vec::new();
        loop {
            let mut piece = [0; 4096];
            let Ok(read @ 1..) = stream.read(&mut piece).await else { return };
            buffer.extend_from_slice(&piece[..read]);
            let Some((path, body, size)) = request(&buffer) else { continue };
            buffer.drain(..size);
            let slip = self.lock().slips.pop_front();
            let answer = match slip {
                None => "200 OK",
                Some(Slip::NoteThenCut | Slip::NoteThenHang | Slip::Twice) => "200 OK",
                Some(Slip::NoteThen500) => "500 Internal Server Error",
                Some(Slip::NoteThen502) => "502 Bad Gateway",
                Some(Slip::NoteLate) => {
                    drop(stream);
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    self.note(&path, &body, 1);
                    return;
                }
            };
            self.note(&path, &body, if slip == Some(Slip::Twice) { 2 } else { 1 });
            match slip {
                Some(Slip::NoteThenCut) => return,
                Some(Slip::NoteThenHang) => {
                    return tokio::time::sleep(HANG).await;
                }
                _ => {}
            }
            let answer = format!(
                "HTTP/1.1 {answer}\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"
            );
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    fn note(&self, path: &str, body: &Value, times: u64) {
        let tenant = path.trim_start_matches('/').split('/').next().unwrap_or_default().to_owned();
        let what = format!(
            "{} {}",
            body["kind"].as_str().unwrap_or_default(),
            body["id"].as_str().unwrap_or_default()
        );
        *self.lock().calls.entry((tenant, what)).or_default() += times;
    }
}

/// Path, body and size of the request at the beginning, once it is whole.
fn request(bytes: &[u8]) -> Option<(String, Value, usize)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length: "))?.trim().parse::<usize>().ok()?;
    let body = bytes.get(end..end + length)?;
    let path = head.split(' ').nth(1)?.to_owned();
    Some((path, serde_json::from_slice(body).unwrap_or_default(), end + length))
}
