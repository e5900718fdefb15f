//! Who is told of what: alerts and successes, as signed webhooks and as e-mail. The receivers are others' programs: they
//! check signatures with code of their own, and take mail as a server does.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac};
use portolan::stage::System;
use portolan_tests::{World, until};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

/// A request as a receiver of webhooks saw it.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Heard {
    pub(crate) fn header(&self, name: &str) -> String {
        let pairs = self.head.lines().filter_map(|line| line.split_once(": "));
        let found = pairs.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// As <https://www.standardwebhooks.com> has receivers do it.
    fn assert_signed(&self, secret: &str) {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let (id, timestamp) = (self.header("webhook-id"), self.header("webhook-timestamp"));
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&key).unwrap();
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(&self.body);
        let due = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        assert_eq!(self.header("webhook-signature"), due);
        assert!(timestamp.parse::<u64>().unwrap() > 1_700_000_000, "{timestamp}");
    }
}

/// Takes requests and answers them with these heads, the last one again and again.
pub(crate) async fn receiver(answers: &'static [&'static str]) -> (String, mpsc::UnboundedReceiver<Heard>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (told, heard) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut answered = 0;
        while let Ok((mut stream, _)) = listener.accept().await {
            let Some(request) = read(&mut stream).await else { continue };
            let answer = answers[answered.min(answers.len() - 1)];
            answered += 1;
            // Whoever asked may be gone.
            let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            drop(stream.write_all(answer.as_bytes()).await);
            if told.send(request).is_err() {
                return;
            }
        }
    });
    (url, heard)
}

async fn read(stream: &mut TcpStream) -> Option<Heard> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let heard = Heard { head, body: bytes[end + 4..].to_vec() };
            let length = heard.header("content-length").parse().unwrap_or(0);
            if heard.body.len() >= length {
                return Some(heard);
            }
        }
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => bytes.extend_from_slice(&piece[..read]),
        }
    }
}

const QUICK: &[(&str, &str)] = &[("PORTOLAN_ALERTS__NOTICE_RETRY_BASE_MS", "10")];

/// A request that proves nothing: an alert.
async fn forge(world: &World) {
    let headers = [("stripe-signature", "t=1,v1=00".to_owned())];
    let body = Some(("application/json", b"{}".to_vec()));
    let answer =
        world.tenant.client.exchange(Method::POST, &world.tenant.hook, body, &headers).await.unwrap();
    assert!(answer.0.is_client_error(), "{answer:?}");
}

#[tokio::test]
async fn an_alert_and_a_success_are_told_signed_until_they_are_taken() {
    let world = World::with(System::SagePro, None, QUICK).await;
    let (url, mut heard) = receiver(&["503 Down\r\nretry-after: 1", "500 Oh", "204 Thanks"]).await;
    let rule = json!({ "name": "desk", "to": { "webhook": { "url": format!("{url}/told") } },
        "alerts": { "severity_least": "info", "states": ["open", "acknowledged"] },
        "deliveries": { "operations": ["invoice.*"] } });
    let made = world.tenant.post("/notification-rules", &rule).await.unwrap();
    let secret = made["secret"].as_str().expect("shown once").to_owned();

    forge(&world).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let request = heard.recv().await.unwrap();
        request.assert_signed(&secret);
        assert!(request.head.starts_with("POST /told "), "{}", request.head);
        let told = request.json();
        assert_eq!((&told["type"], &told["data"]["state"]), (&json!("alert.open"), &json!("open")));
        assert_eq!(told["data"]["rule"], made["id"]);
        ids.push(request.header("webhook-id"));
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "the same one, sent again");

    let alert = world.tenant.get("/alerts?state=open").await.unwrap()["items"][0]["id"].clone();
    let path = format!("/alerts/{}/acknowledge", alert.as_str().unwrap());
    world.tenant.post(&path, &json!({ "why": "I am on it" })).await.unwrap();
    let told = heard.recv().await.unwrap().json();
    assert_eq!((&told["type"], &told["data"]["alert"]), (&json!("alert.acknowledged"), &alert));
    assert_eq!(told["data"]["decision"]["why"], json!("I am on it"));
    let found = world.tenant.get("/alerts?state=acknowledged&severity=info&code=signature-*").await.unwrap();
    assert_eq!(found["items"].as_array().unwrap().len(), 0, "only a dot and a star is a family");
    let found = world.tenant.get("/alerts?state=acknowledged").await.unwrap();
    assert_eq!(found["items"][0]["acknowledged"]["why"], json!("I am on it"));

    let told = world.story("told").await.remove(0);
    let event = world.accept(&told).await;
    assert_eq!(world.end_of(&event).await["standing"], "delivered");
    let request = heard.recv().await.unwrap();
    request.assert_signed(&secret);
    let success = request.json();
    assert_eq!((&success["type"], &success["data"]["event"]), (&json!("delivery.delivered"), &json!(event)));
    let invoice = &world.erp.ledger("invoice").await.unwrap()[0];
    let references = success["data"]["references"].as_array().unwrap();
    assert!(references.iter().any(|reference| reference["id"] == json!(invoice.number)), "{success}");

    let list = until("three notices to be sent", async || {
        let list = world.tenant.get("/notices?state=sent").await.ok()?;
        (list["items"].as_array()?.len() == 3).then_some(list)
    })
    .await;
    assert_eq!(list["items"][2]["attempts"], json!(3));
    let rules = world.tenant.get("/notification-rules").await.unwrap().to_string();
    assert!(!rules.contains(&secret) && !rules.contains("secret"), "{rules}");
}

#[tokio::test]
async fn a_test_really_sends_and_a_receiver_that_is_gone_is_told_of() {
    let world = World::with(System::SagePro, None, QUICK).await;
    let (url, mut heard) = receiver(&["204 Thanks", "410 Gone"]).await;
    let key = format!("whsec_{}", STANDARD.encode(b"a key of thirty-two bytes, or so"));
    let rule = json!({ "name": "gone", "to": { "webhook": { "url": url } }, "alerts": {}, "secret": key });
    let made = world.tenant.post("/notification-rules", &rule).await.unwrap();
    assert_eq!(made["secret"], Value::Null, "whoever brings one knows it");
    let path = format!("/notification-rules/{}", made["id"].as_str().unwrap());
    let tested = world.tenant.post(&format!("{path}/test"), &Value::Null).await.unwrap();
    assert_eq!(tested, json!({ "ok": true, "problem": null }));
    let request = heard.recv().await.unwrap();
    request.assert_signed(&key);
    assert_eq!(request.json()["type"], json!("test"));
    let tested = world.tenant.post(&format!("{path}/test"), &Value::Null).await.unwrap();
    assert_eq!((&tested["ok"], &tested["problem"]["code"]), (&json!(false), &json!("refused")));

    // What cannot be told is visible, once, and does not go round in circles.
    forge(&world).await;
    let failed = until("a failed notice", async || {
        let list = world.tenant.get("/notices?state=failed").await.ok()?;
        list["items"].as_array()?.first().cloned()
    })
    .await;
    assert_eq!((&failed["kind"], &failed["attempts"]), (&json!("alert.open"), &json!(1)), "{failed}");
    let alerts = world.tenant.get("/alerts?code=notification-failed").await.unwrap();
    assert_eq!(alerts["items"][0]["count"], json!(1), "{alerts}");
    assert_eq!(world.tenant.get("/notices").await.unwrap()["items"].as_array().unwrap().len(), 1);

    for (wrong, name) in [
        (
            json!({ "name": "x", "alerts": {}, "to": { "webhook": { "url": "http://169.254.169.254/latest" } } }),
            "to/webhook",
        ),
        (
            json!({ "name": "x", "to": { "webhook": { "url": "https://example.com" } } }),
            "alerts or deliveries",
        ),
        (json!({ "name": "x", "alerts": {}, "to": { "email": { "to": ["ops@example.com"] } } }), "to/email"),
        (
            json!({ "name": "x", "alerts": {}, "secret": "short", "to": { "webhook": { "url": url } } }),
            "to/webhook",
        ),
    ] {
        let refused = world.tenant.post("/notification-rules", &wrong).await.unwrap_err().to_string();
        assert!(refused.contains("invalid-notification-rule") && refused.contains(name), "{refused}");
    }
    world.tenant.client.delete(&format!("/api/v1/environments/sandbox{path}")).await.unwrap();
    assert!(world.tenant.get(&path).await.is_err());
}

/// A mail server that writes down what it is told. It is busy once, and knows nobody called `nobody`.
async fn mail_server() -> (u16, mpsc::UnboundedReceiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (told, heard) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut busy = true;
        while let Ok((stream, _)) = listener.accept().await {
            // A host that ends in the middle of a conversation is no concern of this test.
            drop(converse(stream, &mut busy, &told).await);
        }
    });
    (port, heard)
}

async fn converse(
    stream: TcpStream,
    busy: &mut bool,
    told: &mpsc::UnboundedSender<(String, String)>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut said, mut login) = ("220 mail.example.com ESMTP", String::new());
    loop {
        stream.write_all(format!("{said}\r\n").as_bytes()).await?;
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let line = line.trim_end();
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_uppercase();
        said = match verb.as_str() {
            "EHLO" => "250-mail.example.com\r\n250 AUTH PLAIN",
            "AUTH" => {
                login = line.rsplit(' ').next().unwrap_or_default().to_owned();
                "235 welcome"
            }
            "RCPT" if line.contains("nobody@") => "550 nobody here is called that",
            "RCPT" if std::mem::take(busy) => "451 busy, come again",
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await?;
                let mut letter = String::new();
                while !letter.ends_with("\r\n.\r\n") {
                    if stream.read_line(&mut letter).await? == 0 {
                        return Ok(());
                    }
                }
                told.send((login.clone(), letter)).expect("a test that listens");
                "250 taken"
            }
            "QUIT" => {
                stream.write_all(b"221 bye\r\n").await?;
                return Ok(());
            }
            _ => "250 fine",
        };
    }
}

#[tokio::test]
async fn an_alert_is_written_to_people_by_the_operators_server() {
    let (port, mut heard) = mail_server().await;
    let port = port.to_string();
    let settings = [
        QUICK[0],
        ("PORTOLAN_MAIL__HOST", "127.0.0.1"),
        ("PORTOLAN_MAIL__PORT", &port),
        ("PORTOLAN_MAIL__TLS", "none"),
        ("PORTOLAN_MAIL__USER", "portolan"),
        ("PORTOLAN_MAIL_PASSWORD", "a-secret-of-the-operator"),
        ("PORTOLAN_MAIL__SENDER", "Portolan <portolan@example.com>"),
    ];
    let world = World::with(System::SagePro, None, &settings).await;
    let rule = json!({ "name": "people", "to": { "email": { "to": ["ops@example.com", "cfo@example.com"] } }, "alerts": {} });
    let made = world.tenant.post("/notification-rules", &rule).await.unwrap();
    assert_eq!(made["secret"], Value::Null);
    forge(&world).await;
    let (login, letter) = heard.recv().await.unwrap();
    assert_eq!(STANDARD.decode(login).unwrap(), b"\0portolan\0a-secret-of-the-operator");
    for line in [
        "From: Portolan <portolan@example.com>",
        "To: ops@example.com, cfo@example.com",
        "Subject: [portolan] warning alert.open: requests to source",
        "Message-ID: <ntc_",
        "code         signature-",
    ] {
        assert!(letter.contains(line), "{line:?} is not in\n{letter}");
    }
    let list = until("the notice to be sent", async || {
        let list = world.tenant.get("/notices?state=sent").await.ok()?;
        list["items"].as_array()?.first().cloned()
    })
    .await;
    assert_eq!(list["attempts"], json!(2), "the server was busy once");

    let path = format!("/api/v1/environments/sandbox/notification-rules/{}", made["id"].as_str().unwrap());
    let nobody =
        json!({ "enabled": true, "to": { "email": { "to": ["nobody@example.com"] } }, "alerts": {} });
    world.tenant.client.put(&path, &nobody).await.unwrap();
    let tested = world.tenant.client.post(&format!("{path}/test"), &Value::Null).await.unwrap();
    assert_eq!((&tested["ok"], &tested["problem"]["code"]), (&json!(false), &json!("mail-refused")));
    let log = std::fs::read_to_string(world.host.log().unwrap()).unwrap();
    assert!(!log.contains("a-secret-of-the-operator"));
}

#[tokio::test]
async fn what_waits_too_long_is_told_until_it_waits_no_more() {
    let settings =
        [("PORTOLAN_ALERTS__BACKLOG_WARNING_S", "1"), ("PORTOLAN_ALERTS__BACKLOG_CRITICAL_S", "2")];
    let mut world = World::with(System::SagePro, None, &settings).await;
    let told = world.story("told").await.remove(0);
    world.erp.kill().await.unwrap();
    let event = world.accept(&told).await;
    let old = until("an alert that the backlog is old", async || {
        let alerts = world.tenant.get("/alerts?state=open&code=backlog-old&severity=critical").await.ok()?;
        alerts["items"].as_array()?.first().cloned()
    })
    .await;
    assert_eq!(old["detail"]["event"], json!(event), "{old}");
    world.erp.start_again().await.unwrap();
    assert_eq!(world.end_of(&event).await["standing"], "delivered");
    let path = format!("/alerts/{}", old["id"].as_str().unwrap());
    let over = until("the alert to be over", async || {
        let alert = world.tenant.get(&path).await.ok()?;
        (alert["state"] == "resolved").then_some(alert)
    })
    .await;
    assert_eq!(over["resolved"]["by"], json!("host"));
    let body = b"this is no JSON";
    let (status, answer) = world.tenant.webhook(body).await.unwrap();
    assert_eq!(status, 200, "{answer}");
    let dead = world.tenant.get("/alerts?code=event-dead").await.unwrap();
    assert_eq!(
        dead["items"][0]["detail"]["event"], answer["event"],
        "what is answered and cannot be used is told"
    );
}
