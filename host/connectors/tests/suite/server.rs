//! A small HTTP/1.1 server that does as it is told, for each request anew, and remembers what it was sent.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// A request as it arrived.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Method and target, unescaped for reading.
    pub(crate) fn line(&self) -> String {
        let target = self.target.replace("%20", " ").replace("%27", "'").replace("%2C", ",");
        format!("{} {}", self.method, target)
    }
}

/// What to do with a request.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    Answer {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: Vec<u8>,
    },
    /// Say nothing until the client goes away.
    Hang,
    /// Close the connection after the request was read.
    Cut,
    /// Promise a longer body than is sent, then close.
    CutInBody,
}

pub(crate) fn json(status: u16, body: &Value) -> Act {
    answer(status, "application/json", body.to_string())
}

pub(crate) fn answer(status: u16, media_type: &str, body: impl Into<Vec<u8>>) -> Act {
    let headers = vec![("Content-Type", media_type.to_owned())];
    Act::Answer { status, headers, body: body.into() }
}

impl Act {
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        if let Self::Answer { headers, .. } = &mut self {
            headers.push((name, value.into()));
        }
        self
    }
}

type Part = dyn Fn(usize, &Seen) -> Act + Send + Sync;

/// Ends with the test: its sockets belong to the test's runtime.
pub(crate) struct Server {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// Does what `script` says; it is given how many requests came before, and the request.
    pub(crate) async fn start(script: impl Fn(usize, &Seen) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (script, log): (Arc<Part>, _) = (Arc::new(script), Arc::clone(&seen));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&script), Arc::clone(&log)));
            }
        });
        Self { url, seen }
    }

    /// Does these one after another; whatever is asked beyond them is answered with 599.
    pub(crate) async fn playing(acts: Vec<Act>) -> Self {
        Self::start(move |nth, _| acts.get(nth).cloned().unwrap_or_else(|| answer(599, "text/plain", "")))
            .await
    }

    /// Closes every connection before anything is read from it.
    pub(crate) async fn closing() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                drop(stream);
            }
        });
        url
    }

    /// Where nobody listens.
    pub(crate) async fn nowhere() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.seen().iter().map(Seen::line).collect()
    }
}

async fn serve(mut stream: TcpStream, script: Arc<Part>, log: Arc<Mutex<Vec<Seen>>>) {
    let mut buffer = Vec::new();
    while let Some(seen) = receive(&mut stream, &mut buffer).await {
        let act = {
            let mut log = log.lock().unwrap();
            log.push(seen.clone());
            script(log.len() - 1, &seen)
        };
        match act {
            Act::Answer { status, headers, body } => {
                let mut head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n", body.len());
                for (name, value) in headers {
                    head.push_str(&format!("{name}: {value}\r\n"));
                }
                head.push_str("\r\n");
                if stream.write_all(head.as_bytes()).await.is_err() || stream.write_all(&body).await.is_err()
                {
                    return;
                }
            }
            Act::Hang => {
                let mut byte = [0];
                let gone = stream.read(&mut byte).await;
                assert!(matches!(gone, Ok(0) | Err(_)), "the client said more");
                return;
            }
            Act::Cut => return,
            Act::CutInBody => {
                let half =
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{\"a\":";
                let _sent = stream.write_all(half.as_bytes()).await;
                return;
            }
        }
    }
}

async fn receive(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Seen> {
    loop {
        if let Some((seen, length)) = understand(buffer) {
            buffer.drain(..length);
            return Some(seen);
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

fn understand(buffer: &[u8]) -> Option<(Seen, usize)> {
    let end = buffer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&buffer[..end]).unwrap();
    let mut lines = head.split("\r\n").filter(|line| !line.is_empty());
    let mut first = lines.next().unwrap().split(' ');
    let (method, target) = (first.next().unwrap().to_owned(), first.next().unwrap().to_owned());
    let headers: BTreeMap<_, _> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect();
    let length = end + headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let body = String::from_utf8(buffer.get(end..length)?.to_vec()).unwrap();
    Some((Seen { method, target, headers, body }, length))
}
