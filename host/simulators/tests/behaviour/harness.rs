//! A running simulator and a client for it.

use std::time::Duration;

use base64::Engine as _;
use portolan_simulators::{Running, SimulatorSettings, System, serve};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long anything may take before a test says so.
const DEADLINE: Duration = Duration::from_secs(20);

/// One answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The text of the first element of that name; `None` when there is no such element.
    pub(crate) fn element(&self, name: &str) -> Option<String> {
        if self.body.contains(&format!("<{name}/>")) {
            return Some(String::new());
        }
        let start = self.body.find(&format!("<{name}>"))? + name.len() + 2;
        let end = self.body[start..].find(&format!("</{name}>"))?;
        Some(self.body[start..start + end].to_owned())
    }

    /// `E F5 102` for every row of RETURN.
    pub(crate) fn messages(&self) -> Vec<String> {
        let rows = self.body.split("<item>").skip(1).map(|row| {
            let field = |name: &str| {
                let start = row.find(&format!("<{name}>")).map(|at| at + name.len() + 2)?;
                Some(row[start..start + row[start..].find('<')?].to_owned())
            };
            format!(
                "{} {} {}",
                field("TYPE").unwrap_or_default(),
                field("ID").unwrap_or_default(),
                field("NUMBER").unwrap_or_default()
            )
        });
        rows.collect()
    }
}

/// A simulator that ends with the test.
pub(crate) struct World {
    pub(crate) running: Running,
    headers: Vec<(String, String)>,
}

impl World {
    pub(crate) async fn start(system: System) -> Self {
        Self::start_with(system, |_| {}).await
    }

    pub(crate) async fn start_with(system: System, change: impl FnOnce(&mut SimulatorSettings)) -> Self {
        let mut settings = SimulatorSettings::default();
        change(&mut settings);
        let running = serve(system, settings).await.unwrap();
        let headers = match system {
            System::Stripe => vec![("authorization", "Bearer sk_test_portolan".to_owned())],
            System::SapEcc => vec![
                ("authorization", basic("STRIPE_IF", "Portolan-100")),
                ("content-type", "text/xml; charset=utf-8".to_owned()),
            ],
            System::Epicor => vec![
                ("authorization", basic("portolan", "Portolan-06")),
                ("x-api-key", "epicor-key".to_owned()),
                ("content-type", "application/json".to_owned()),
            ],
            System::SagePro => vec![
                ("x-api-key", "sage-key".to_owned()),
                ("x-company", "01".to_owned()),
                ("content-type", "application/json".to_owned()),
            ],
        };
        let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { running, headers }
    }

    /// A call with the credentials of the standard world; `None` when the connection was closed without an answer.
    pub(crate) async fn try_call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Option<Answer> {
        let own = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let kept = own.filter(|(name, _)| !headers.iter().any(|(other, _)| other == name));
        let all: Vec<(&str, &str)> =
            kept.chain(headers.iter().copied()).filter(|(_, value)| !value.is_empty()).collect();
        let sent = send(&self.running, method, path, &all, body);
        tokio::time::timeout(DEADLINE, sent).await.expect("an answer in time")
    }

    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        self.try_call(method, path, headers, body).await.expect("an answer")
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[], "").await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call("POST", path, &[], &body.to_string()).await
    }

    pub(crate) async fn fault(&self, fault: &Value) {
        let answer = self.post("/_simulator/faults", fault).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    /// The ledger's lines of a kind, as they are read over HTTP.
    pub(crate) async fn ledger(&self, kind: &str) -> Vec<Value> {
        let page = self.get(&format!("/_simulator/ledger?after=0&kind={kind}")).await.json();
        assert!(page["next"].is_null());
        page["entries"].as_array().unwrap().clone()
    }

    /// Waits until the ledger has so many lines of a kind.
    pub(crate) async fn ledger_of(&self, kind: &str, count: usize) -> Vec<Value> {
        let waiting = async {
            loop {
                let lines = self.ledger(kind).await;
                if lines.len() >= count {
                    return lines;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(DEADLINE, waiting).await.expect("the ledger's lines in time")
    }

    /// Calls a function of SAP.
    pub(crate) async fn rfc(&self, function: &str, parameters: &str) -> Answer {
        self.call(
            "POST",
            "/sap/bc/soap/rfc?sap-client=100",
            &[("soapaction", "\"\"")],
            &envelope(function, parameters),
        )
        .await
    }
}

pub(crate) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}

/// A SOAP envelope around a function call.
pub(crate) fn envelope(function: &str, parameters: &str) -> String {
    format!(
        "<soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns:urn=\"urn:sap-com:document:sap:rfc:functions\"><soapenv:Header/><soapenv:Body>\
         <urn:{function}>{parameters}</urn:{function}></soapenv:Body></soapenv:Envelope>"
    )
}

async fn send(
    running: &Running,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Option<Answer> {
    let mut socket = TcpStream::connect(running.address()).await.unwrap();
    let mut request = format!(
        "{method} {path} HTTP/1.1\r\nhost: simulator\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str(&format!("\r\n{body}"));
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    // A reset is the end of a connection like any other.
    let read = socket.read_to_end(&mut bytes).await;
    if bytes.is_empty() {
        return None;
    }
    read.unwrap();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let header =
        |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    Some(Answer { status, headers: lines.filter_map(header).collect(), body: body.to_owned() })
}

impl World {
    /// [`World::post`] for callers that build path and body on the way.
    pub(crate) async fn post_owned(&self, path: String, body: Value) -> Answer {
        self.post(&path, &body).await
    }
}
