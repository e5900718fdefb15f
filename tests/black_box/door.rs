//! What strangers can do to the host's door with bare sockets: hold it open, lie about lengths, flood it. Judged by what
//! is answered and what is closed, never by how fast: the limits are set short, and waiting ends when they have come.

use std::time::Duration;

use portolan::stage::{Host, SIGNING_SECRET, System, signed_headers};
use portolan_tests::{World, portolan, until};
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// A host that waits for nobody for long.
const IMPATIENT: [(&str, &str); 4] = [
    ("PORTOLAN_SERVER__HEADER_MS_MAX", "600"),
    ("PORTOLAN_SERVER__BODY_MS_MAX", "600"),
    ("PORTOLAN_SERVER__WRITE_MS_MAX", "600"),
    ("PORTOLAN_SERVER__IDLE_MS_MAX", "600"),
];

/// How long the host may take for what it must do by itself.
const PATIENCE: Duration = Duration::from_secs(60);

async fn host(settings: &[(&str, &str)]) -> (Host, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::start(portolan(), &folder.path().join("host"), "127.0.0.1:0", settings).await.unwrap();
    (host, folder)
}

fn address(host: &Host) -> String {
    host.operator.base().trim_start_matches("http://").to_owned()
}

async fn knock(host: &Host, bytes: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(address(host)).await.unwrap();
    socket.write_all(bytes).await.unwrap();
    socket
}

/// Everything until the host closes the connection. That it does is the point.
async fn all_until_closed(socket: &mut TcpStream) -> String {
    let mut all = Vec::new();
    // A reset is a way of closing, too.
    let read = timeout(PATIENCE, socket.read_to_end(&mut all)).await;
    assert!(read.is_ok(), "the connection was not closed: {}", String::from_utf8_lossy(&all));
    String::from_utf8_lossy(&all).into_owned()
}

/// Writes one byte at a time until the host closes or answers; gives what it said.
async fn drip(host: &Host, head: &[u8], drop: &[u8]) -> String {
    let mut socket = knock(host, head).await;
    let (mut said, mut buffer) = (Vec::new(), [0u8; 4096]);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        assert!(tokio::time::Instant::now() < deadline, "it may drip for ever");
        let written = socket.write_all(drop).await;
        match timeout(Duration::from_millis(50), socket.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => return String::from_utf8_lossy(&said).into_owned(),
            Ok(Ok(read)) => said.extend_from_slice(&buffer[..read]),
            Err(_) if written.is_err() => return String::from_utf8_lossy(&said).into_owned(),
            Err(_) => {}
        }
    }
}

/// Asks on a connection of its own: a kept one may be closed, idle, at the very moment when it is asked.
async fn lives(host: &Host) {
    let mut socket = knock(host, b"GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
    let said = all_until_closed(&mut socket).await;
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
}

#[tokio::test]
async fn whoever_drips_is_cut_off() {
    let (host, _folder) = host(&IMPATIENT).await;
    let key = host.operator.key().unwrap().to_owned();
    let json = format!("POST /api/v1/tenants HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {key}\r\n");
    let hook = "POST /hooks/src_1 HTTP/1.1\r\nHost: h\r\n".to_owned();
    // Nothing at all, half a preface of HTTP/2, a whole one, half a head: closed, whatever is said.
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let with_settings = [preface.as_bytes(), &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat();
    let (none, half, whole, head, settings) = tokio::join!(
        drip(&host, b"", b""),
        drip(&host, b"PRI * HT", b""),
        drip(&host, preface.as_bytes(), b""),
        drip(&host, hook.as_bytes(), b"x"),
        drip(&host, &with_settings, b""),
    );
    assert_eq!((none.as_str(), half.as_str()), ("", ""));
    assert!(!whole.contains("200") && !settings.contains("200"));
    assert!(!head.contains(" 200 "), "{head}");
    // A body is counted as a whole, however steadily it comes.
    for begin in [&json, &hook] {
        for (framing, drop) in [
            ("Content-Length: 100000\r\n\r\n", &b"x"[..]),
            ("Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        ] {
            let said = drip(&host, format!("{begin}{framing}").as_bytes(), drop).await;
            assert!(
                said.starts_with("HTTP/1.1 408") && said.contains("body-too-slow"),
                "{framing:?}: {said}"
            );
        }
    }
    lives(&host).await;
}

#[tokio::test]
async fn whoever_does_not_read_is_cut_off() {
    let (host, _folder) = host(&IMPATIENT).await;
    let mut socket = knock(&host, b"").await;
    let request = "GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n".repeat(200);
    let ended = timeout(PATIENCE, async {
        // Neither side can write on; then the host gives up. What it wrote before is not waited for.
        while socket.write_all(request.as_bytes()).await.is_ok() {}
    });
    assert!(ended.await.is_ok(), "the host writes for ever");
    lives(&host).await;
}

#[tokio::test]
async fn what_cannot_be_a_request_is_refused_and_closed() {
    let (host, _folder) = host(&[]).await;
    let many: String = (0..500).map(|n| format!("x-{n}: y\r\n")).collect();
    let long = format!("x: {}\r\n", "y".repeat(100_000));
    let refused = [
        ("two lengths", "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd".to_owned()),
        ("a list of lengths", "Content-Length: 3, 4\r\n\r\nabcd".to_owned()),
        ("a signed length", "Content-Length: +3\r\n\r\nabc".to_owned()),
        ("a length below zero", "Content-Length: -1\r\n\r\n".to_owned()),
        ("a length that overflows", "Content-Length: 99999999999999999999999\r\n\r\n".to_owned()),
        ("an unknown coding", "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n".to_owned()),
        ("chunks that are not last", "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n".to_owned()),
        ("room before a colon", "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n".to_owned()),
        ("a folded header", "x: a\r\n b\r\nContent-Length : 0\r\n\r\n".to_owned()),
        ("too many headers", format!("{many}\r\n")),
        ("a giant header", format!("{long}\r\n")),
        ("NUL in a header", "x: a\0b\r\n\r\n".to_owned()),
    ];
    for (what, rest) in refused {
        let request = format!("POST /hooks/src_1 HTTP/1.1\r\nHost: h\r\n{rest}");
        let mut socket = TcpStream::connect(address(&host)).await.unwrap();
        // The host may close before it has everything.
        let _cut = socket.write_all(request.as_bytes()).await;
        let said = all_until_closed(&mut socket).await;
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{what}: {said}");
        assert_eq!(said.matches("HTTP/1.1").count(), usize::from(!said.is_empty()), "{what}: {said}");
    }
    lives(&host).await;
}

/// Two ways to read where a request ends are one too many: what would be the second request in one of them is never
/// looked at.
#[tokio::test]
async fn no_request_is_smuggled_in_another() {
    let (host, _folder) = host(&IMPATIENT).await;
    let inner = "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n";
    for head in [
        format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", 5 + inner.len()),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {}\r\n", 5 + inner.len()),
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n".to_owned(),
    ] {
        let request = format!("POST /hooks/src_1 HTTP/1.1\r\nHost: h\r\n{head}\r\n0\r\n\r\n{inner}");
        let mut socket = knock(&host, request.as_bytes()).await;
        let said = all_until_closed(&mut socket).await;
        assert!(said.starts_with("HTTP/1.1 4"), "{head}: {said}");
        assert!(!said.contains("ok\n"), "{head}: the inner request was answered: {said}");
    }
    // A body that is shorter than its length says is cut; one that is longer is no second event.
    let mut short =
        knock(&host, b"POST /hooks/src_1 HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc").await;
    short.shutdown().await.unwrap();
    let said = all_until_closed(&mut short).await;
    assert!(!said.starts_with("HTTP/1.1 2"), "{said}");
    let mut long =
        knock(&host, b"POST /hooks/src_1 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabcdefgh\r\n\r\n")
            .await;
    let said = all_until_closed(&mut long).await;
    assert!(!said.contains("HTTP/1.1 2"), "{said}");
    lives(&host).await;
}

#[tokio::test]
async fn an_endless_body_ends_at_the_limit() {
    let (host, _folder) = host(&[]).await;
    let key = host.operator.key().unwrap().to_owned();
    for begin in ["POST /hooks/src_1", "POST /api/v1/tenants", "POST /api/v1/modules"] {
        let head = format!(
            "{begin} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {key}\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        let mut socket = knock(&host, head.as_bytes()).await;
        let chunk = [b"10000\r\n".as_slice(), &vec![b'['; 0x10000], b"\r\n"].concat();
        let mut sent = 0usize;
        while socket.write_all(&chunk).await.is_ok() {
            sent += chunk.len();
            assert!(sent < 200 << 20, "{begin}: it takes everything");
        }
        lives(&host).await;
    }
}

/// Closed at once, the connection would be reset while the client sends, and the answer lost with it.
#[tokio::test]
async fn whoever_sends_too_much_sees_why_it_is_refused() {
    let (host, _folder) = host(&[]).await;
    let body = vec![b' '; 8 << 20];
    for (begin, status, code) in [
        ("POST /hooks/src_1", 413, "body-too-large"),
        ("POST /api/v1/tenants", 401, "unauthorized"),
        ("POST /api/v1/modules", 401, "unauthorized"),
        ("POST /api/v1/nothing", 404, "not-found"),
    ] {
        for chunked in [false, true] {
            let (length, whole) = if chunked {
                let size = format!("{:x}\r\n", body.len());
                ("Transfer-Encoding: chunked".to_owned(), [size.as_bytes(), &body, b"\r\n0\r\n\r\n"].concat())
            } else {
                (format!("Content-Length: {}", body.len()), body.clone())
            };
            let head = format!("{begin} HTTP/1.1\r\nHost: h\r\n{length}\r\n\r\n");
            let mut socket = knock(&host, head.as_bytes()).await;
            // Sends all of it before it reads, as simple clients do.
            socket.write_all(&whole).await.unwrap();
            let mut said = Vec::new();
            let read = timeout(PATIENCE, socket.read_to_end(&mut said)).await.unwrap();
            let said = String::from_utf8_lossy(&said);
            assert!(read.is_ok(), "{begin}: reset after {said}");
            assert!(
                said.starts_with(&format!("HTTP/1.1 {status}")) && said.contains(code),
                "{begin}: {said}"
            );
            assert!(said.to_lowercase().contains("\r\nconnection: close\r\n"), "{begin}: {said}");
        }
    }
}

/// A client that keeps its connections sends the next request on the same one.
#[tokio::test]
async fn a_small_body_that_nobody_reads_ends_no_connection() {
    let (host, _folder) = host(&[]).await;
    let mut socket = knock(&host, b"").await;
    let head = "POST /api/v1/tenants HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n";
    for _ in 0..20 {
        socket.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
        // The body comes later than the head.
        tokio::time::sleep(Duration::from_millis(5)).await;
        socket.write_all(b"{}").await.unwrap();
        let said = one_answer(&mut socket).await;
        assert!(said.starts_with("HTTP/1.1 401"), "{said}");
    }
    // Who asks whether it may send its body is told, and sends none.
    socket.write_all(format!("{head}Expect: 100-continue\r\n\r\n").as_bytes()).await.unwrap();
    let said = all_until_closed(&mut socket).await;
    assert!(said.starts_with("HTTP/1.1 401"), "{said}");
}

/// Up to the end of one answer that says its length.
async fn one_answer(socket: &mut TcpStream) -> String {
    let (mut said, mut buffer) = (String::new(), [0u8; 4096]);
    loop {
        let read = timeout(PATIENCE, socket.read(&mut buffer)).await.unwrap().unwrap();
        assert!(read > 0, "the connection was closed after {said}");
        said.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        let Some((head, body)) = said.split_once("\r\n\r\n") else { continue };
        let length: usize = head
            .lines()
            .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok())
            .unwrap();
        if body.len() >= length {
            return said;
        }
    }
}

/// HPACK: `GET http /`, from the static table.
const GET: [u8; 3] = [0x82, 0x86, 0x84];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn http2() -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &frame(4, 0, 0, &[])].concat()
}

/// Writes until the host has had enough, while reading what it says; the answer ends with the connection.
async fn flood(host: &Host, frames: &[u8]) -> Vec<u8> {
    let (mut reader, mut writer) = TcpStream::connect(address(host)).await.unwrap().into_split();
    let reading = tokio::spawn(async move {
        let mut said = Vec::new();
        let _cut = reader.read_to_end(&mut said).await;
        said
    });
    let _cut = writer.write_all(&http2()).await;
    let _cut = writer.write_all(frames).await;
    let said = timeout(PATIENCE, reading).await.expect("the connection was not closed").unwrap();
    drop(writer);
    said
}

#[tokio::test]
async fn streams_that_are_opened_and_reset_end_the_connection() {
    let (host, _folder) = host(&IMPATIENT).await;
    let reset =
        |n: u32| [frame(1, 0x5, 2 * n + 1, &GET), frame(3, 0, 2 * n + 1, &8u32.to_be_bytes())].concat();
    let frames: Vec<u8> = (0..20_000).flat_map(reset).collect();
    let said = flood(&host, &frames).await;
    // GOAWAY, ENHANCE_YOUR_CALM: it did not serve them all.
    let calm =
        said.windows(17).any(|w| w[..5] == [0, 0, 8, 7, 0] || (w[3] == 7 && w[13..17] == [0, 0, 0, 11]));
    assert!(calm || said.len() < 20_000 * 9, "{} bytes", said.len());
    lives(&host).await;
    // A head without end, in frames that continue it; settings and pings without end.
    let part = frame(9, 0, 1, &[0x40, 1, b'x', 1, b'y'].repeat(3_000));
    let endless: Vec<u8> = frame(1, 0x1, 1, &GET).into_iter().chain(part.repeat(200)).collect();
    flood(&host, &endless).await;
    lives(&host).await;
    flood(&host, &frame(4, 0, 0, &[0, 3, 0, 0, 0, 1]).repeat(50_000)).await;
    lives(&host).await;
    flood(&host, &frame(6, 0, 0, &[0; 8]).repeat(50_000)).await;
    lives(&host).await;
}

#[tokio::test]
async fn idle_sockets_keep_no_webhook_waiting() {
    let world = World::with(System::SagePro, None, &[("PORTOLAN_SERVER__HEADER_MS_MAX", "60000")]).await;
    let mut idle = Vec::new();
    for n in 0..600 {
        let half: &[u8] = if n % 2 == 0 { b"" } else { b"POST /hooks/src_1 HTTP/1.1\r\nHost: h\r\nX: " };
        idle.push(knock(&world.host, half).await);
    }
    for n in 0..20 {
        let body = format!(
            "{{\"id\":\"evt_{n}\",\"object\":\"event\",\"type\":\"plan.created\",\"livemode\":false}}"
        );
        portolan_tests::accept(&world.tenant, body.as_bytes()).await;
    }
    drop(idle);
}

#[tokio::test]
async fn one_address_does_not_take_every_place() {
    let (host, _folder) = host(&[("PORTOLAN_SERVER__CONNECTIONS_PER_ADDRESS_MAX", "20")]).await;
    let mut held = Vec::new();
    for _ in 0..60 {
        held.push(TcpStream::connect(address(&host)).await.unwrap());
    }
    let (mut closed, mut buffer) = (0, [0u8; 1]);
    for socket in &mut held {
        if let Ok(Ok(0) | Err(_)) = timeout(Duration::from_millis(100), socket.read(&mut buffer)).await {
            closed += 1;
        }
    }
    assert!(closed >= 40, "{closed} of 60 were closed");
    drop(held);
    until("a place", async || host.operator.exchange(Method::GET, "/healthz", None, &[]).await.ok()).await;
}

#[tokio::test]
async fn bodies_together_hold_no_more_memory_than_they_may() {
    let world = World::with(System::SagePro, None, &[("PORTOLAN_SERVER__BODIES_BYTES_MAX", "131072")]).await;
    let head = "POST /hooks/src_1 HTTP/1.1\r\nHost: h\r\nContent-Length: 40000\r\n\r\n";
    let begun = [head.as_bytes(), &[b' '; 39_000]].concat();
    let held = std::sync::Mutex::new(Vec::new());
    let refused = until("a body that has no room", async || {
        let mut socket = knock(&world.host, &begun).await;
        let mut buffer = [0u8; 2048];
        match timeout(Duration::from_millis(300), socket.read(&mut buffer)).await {
            Ok(Ok(read)) => Some(String::from_utf8_lossy(&buffer[..read]).into_owned()),
            Ok(Err(_)) => None,
            Err(_) => {
                // It has room, and keeps it.
                held.lock().unwrap().push(socket);
                None
            }
        }
    })
    .await;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("bodies-busy"), "{refused}");
    assert!(refused.to_lowercase().contains("retry-after"), "{refused}");
    // Those who hold are cut off by their deadline, and there is room again.
    let body = br#"{"id":"evt_room","object":"event","type":"plan.created","livemode":false}"#;
    until("room", async || {
        let headers = signed_headers(SIGNING_SECRET, body);
        let sent = Some(("application/json", body.to_vec()));
        let (status, answer) =
            world.tenant.client.exchange(Method::POST, &world.tenant.hook, sent, &headers).await.ok()?;
        assert!(status == StatusCode::OK || answer["code"] == json!("bodies-busy"), "{answer}");
        (status == StatusCode::OK).then_some(())
    })
    .await;
    drop(held);
}
