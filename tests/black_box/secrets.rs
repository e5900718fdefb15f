//! Secrets that are looked for everywhere afterwards: in the database and its log, in what the host wrote at its most
//! talkative, in every answer that it gives, in a backup, and in what a debugger gets out of the living process.

use std::{path::Path, process::Command, time::Duration};

use portolan::stage::{Client, Host, System};
use portolan_tests::{World, portolan, restore::back_up, until};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{io::AsyncReadExt, io::AsyncWriteExt, net::TcpListener};

const CANARIES: [&str; 7] = [
    "canary-bearer-5b1e77aa",
    "canary-password-90c3d2",
    "canary-user-1f44ab0177",
    "canary-api-key-77ac1290",
    "canary-stripe-key-aa81f0",
    "canary-signing-secret-31",
    "canary-second-secret-8d2",
];

/// Where any of these texts is, whole or in the forms in which they travel.
fn found_in(bytes: &[u8], secrets: &[String]) -> Vec<String> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let forms = secrets.iter().flat_map(|secret| {
        [secret.clone(), STANDARD.encode(secret), secret.bytes().map(|b| format!("{b:02x}")).collect()]
    });
    forms.filter(|form| bytes.windows(form.len()).any(|window| window == form.as_bytes())).collect()
}

/// A server that answers everything with what it was sent, head and all. Status 400: a refusal that quotes.
async fn echo(status: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = vec![0; 64 * 1024];
                let read = socket.read(&mut buffer).await.unwrap_or(0);
                let said =
                    json!({ "id": "x", "error": String::from_utf8_lossy(&buffer[..read]) }).to_string();
                let head = format!(
                    "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    said.len()
                );
                drop(socket.write_all(format!("{head}{said}").as_bytes()).await);
            });
        }
    });
    format!("http://{address}")
}

/// Connections of every connector, with canaries wherever a secret can be put, to servers that quote everything.
async fn plant(world: &World) -> Vec<String> {
    let mut made = Vec::new();
    for status in ["400 Bad Request", "200 OK", "401 Unauthorized", "500 Internal Server Error"] {
        let url = echo(status).await;
        let basic = json!({ "user": CANARIES[2], "password": CANARIES[1] });
        let connections = [
            json!({ "connector": "http", "settings": { "base_url": url, "auth": "bearer" }, "secrets": { "token": CANARIES[0] } }),
            json!({ "connector": "sap-ecc", "settings": { "base_url": url, "client": "100" }, "secrets": basic }),
            json!({ "connector": "epicor", "settings": { "base_url": format!("{url}/ERP"), "company": "EPIC06" },
                    "secrets": { "user": CANARIES[2], "password": CANARIES[1], "api_key": CANARIES[3] } }),
            json!({ "connector": "sage-pro", "settings": { "base_url": url, "company": "01" }, "secrets": { "api_key": CANARIES[3] } }),
            json!({ "connector": "stripe", "settings": { "base_url": url }, "secrets": { "api_key": CANARIES[4] } }),
        ];
        for mut connection in connections {
            connection["name"] = json!(format!("{status} {}", connection["connector"]));
            let answer = world.tenant.post("/connections", &connection).await.unwrap();
            made.push(answer.to_string());
            let path = format!("/connections/{}/test", answer["id"].as_str().unwrap());
            made.push(world.tenant.post(&path, &json!({})).await.unwrap().to_string());
        }
    }
    let source = json!({ "name": "canaries", "system": "stripe", "secrets": [CANARIES[5], CANARIES[6]] });
    made.push(world.tenant.post("/sources", &source).await.unwrap().to_string());
    // What is refused is quoted in the refusal, but not its secrets.
    let wrong = json!({ "name": "x", "connector": "stripe", "settings": { "base_url": "ftp://x" },
                        "secrets": { "api_key": CANARIES[4], "more": CANARIES[0] } });
    made.push(world.tenant.post("/connections", &wrong).await.unwrap_err().to_string());
    let wrong = json!({ "name": "x", "system": "stripe", "secrets": CANARIES[5] });
    made.push(world.tenant.post("/sources", &wrong).await.unwrap_err().to_string());
    made
}

/// Every list, and every thing in it.
async fn crawl(client: &Client) -> String {
    const E: &str = "/api/v1/environments/sandbox";
    let mut said = String::new();
    for noun in
        ["connections", "sources", "mappings", "events", "deliveries", "alerts", "holds", "lookup-tables"]
    {
        let list = client.get(&format!("{E}/{noun}")).await.unwrap();
        for item in list["items"].as_array().into_iter().flatten() {
            if let Some(id) = item["id"].as_str().filter(|_| !["alerts", "holds"].contains(&noun)) {
                said.push_str(&client.get(&format!("{E}/{noun}/{id}")).await.unwrap().to_string());
            }
        }
        said.push_str(&list.to_string());
    }
    for path in ["/api/v1/audit?limit=500", "/api/v1/modules", "/api/v1/connectors", "/metrics", "/readyz"] {
        let (_, answer) = client.exchange(Method::GET, path, None, &[]).await.unwrap();
        said.push_str(&answer.to_string());
    }
    said
}

/// The process's memory as a debugger dumps it; none when there is no debugger on this machine.
fn dump(folder: &Path, id: u32) -> Option<Vec<u8>> {
    let prefix = folder.join("core");
    let done = Command::new("gcore").arg("-o").arg(&prefix).arg(id.to_string()).output().ok()?;
    Some(std::fs::read(folder.join(format!("core.{id}"))).unwrap_or_else(|_| {
        // Refused altogether: nothing came out.
        assert!(!done.status.success());
        Vec::new()
    }))
}

#[tokio::test]
async fn no_secret_is_found_anywhere_afterwards() {
    let trace = [("PORTOLAN_LOG__FILTER", "trace")];
    let world = World::with(System::SagePro, None, &trace).await;
    let fault = json!({ "operation": "POST /Invoice", "fault": "unauthorized", "times": 1 });
    world.erp.fault(&fault).await.unwrap();
    let mut said = plant(&world).await;
    for told in world.story("canary").await.iter().take(3) {
        world.accept(told).await;
    }
    // What refuses our credentials is paused until somebody acts.
    let connection = format!("/connections/{}", world.tenant.connections["erp"].as_str().unwrap());
    until("the pause", async || {
        let told = world.tenant.get(&connection).await.ok()?;
        (!told["paused"].is_null()).then_some(())
    })
    .await;
    let resume = format!("/api/v1/environments/sandbox{connection}/resume");
    world.tenant.client.post(&resume, &json!({ "why": "the key is good again" })).await.unwrap();
    until("the story", async || {
        let open = world.tenant.get("/deliveries?state=pending").await.ok()?;
        (open["items"] == json!([]) && !world.erp.ledger("invoice").await.ok()?.is_empty()).then_some(())
    })
    .await;
    said.push(crawl(&world.tenant.client).await);
    said.push(crawl_operator(&world.host.operator).await);
    let backup = world.folder.path().join("backup");
    back_up(portolan(), &world.host.operator, &backup).await.unwrap();
    let data = world.folder.path().join("host");
    let mut secrets: Vec<String> = CANARIES.iter().map(|canary| (*canary).to_owned()).collect();
    secrets.push("sage-key".to_owned() + "\u{0}");
    secrets.push(world.host.operator.key().unwrap().to_owned());
    secrets.push(world.tenant.client.key().unwrap().to_owned());
    secrets.push(std::fs::read_to_string(data.join("master.key")).unwrap().trim().to_owned());
    let core = dump(world.folder.path(), world.host.id().unwrap());
    let read = |name: &str| std::fs::read(data.join(name)).unwrap_or_default();
    let places = [
        ("the database", read("portolan.db")),
        ("its log", read("portolan.db-wal")),
        ("its index", read("portolan.db-shm")),
        ("the host's log", read("host.log")),
        ("the backup", std::fs::read(&backup).unwrap()),
        ("the answers", said.concat().into_bytes()),
        ("a core dump", core.unwrap_or_default()),
    ];
    for (place, bytes) in &places {
        assert_eq!(found_in(bytes, &secrets), Vec::<String>::new(), "{place}");
    }
    assert!(places[3].1.len() > 10_000 && places[4].1.len() > 10_000, "there is something to look at");
}

async fn crawl_operator(client: &Client) -> String {
    let mut said = String::new();
    let tenants = client.get("/api/v1/tenants").await.unwrap();
    for tenant in tenants["items"].as_array().unwrap() {
        let path = format!("/api/v1/tenants/{}/keys", tenant["id"].as_str().unwrap());
        said.push_str(&client.get(&path).await.unwrap().to_string());
    }
    for path in ["/api/v1/audit", "/api/v1/audit/verify", "/api/v1/reconciliations"] {
        said.push_str(&client.get(path).await.unwrap().to_string());
    }
    said
}

#[tokio::test]
async fn a_host_that_aborts_leaves_no_core_and_reads_as_locked() {
    let folder = tempfile::tempdir().unwrap();
    let mut host = Host::start(portolan(), folder.path(), "127.0.0.1:0", &[]).await.unwrap();
    let id = host.id().unwrap();
    let limits = std::fs::read_to_string(format!("/proc/{id}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().filter(|word| *word == "0").count(), 2, "{core}");
    let filter = std::fs::read_to_string(format!("/proc/{id}/coredump_filter")).unwrap();
    assert_eq!(filter.trim().trim_start_matches('0'), "");
    assert!(Command::new("kill").arg("-ABRT").arg(id.to_string()).status().unwrap().success());
    let ended = async {
        while !host.has_ended().unwrap() {
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), ended).await.unwrap();
    // Where the system would have put it: the folder in which the host was started.
    for name in ["core".to_owned(), format!("core.{id}")] {
        assert!(!Path::new(&name).exists(), "{name}");
    }
}

#[tokio::test]
async fn a_new_master_key_takes_over_under_load_and_the_old_one_goes() {
    let mut world = World::of(System::SagePro).await;
    let file = world.folder.path().join("host").join("master.key");
    let old = std::fs::read_to_string(&file).unwrap();
    let story = world.story("rotated").await;
    let mut events = Vec::new();
    for (index, told) in story.iter().enumerate() {
        events.push(world.accept(told).await);
        if index % 4 == 1 {
            let said = world.host.operator.post("/api/v1/vault/rotate", &json!({})).await.unwrap();
            assert!(said["rewrapped"].as_u64() >= Some(4) && said["new"] == json!(true), "{said}");
        }
    }
    for event in &events {
        assert_eq!(world.end_of(event).await["standing"], "delivered");
    }
    world.host.stop().await.unwrap();
    world.host.start_again().await.unwrap();
    let now = std::fs::read_to_string(&file).unwrap();
    assert_eq!((now.lines().count(), now.contains(old.trim())), (1, false), "one key, another one");
    let told = world.story("afterwards").await.remove(0);
    let event = world.accept(&told).await;
    assert_eq!(world.end_of(&event).await["standing"], "delivered");
    let verdict: Value = world.host.operator.get("/api/v1/audit/verify").await.unwrap();
    assert_eq!(verdict["ok"], json!(true), "{verdict}");
}
