//! The audit log from the outside: what is told, and what shows when somebody who can write the file changes it.

use std::{path::Path, process::Output};

use portolan::stage::{Host, System};
use portolan_tests::{World, portolan};
use serde_json::{Value, json};

fn verify(data: &Path, more: &[&str]) -> (bool, Value) {
    let mut command = std::process::Command::new(portolan());
    command.args(["audit", "verify", "--offline", "--data"]).arg(data).args(more);
    let Output { status, stdout, stderr } = command.output().unwrap();
    let said = serde_json::from_slice(&stdout);
    (status.success(), said.unwrap_or_else(|_| json!({ "stderr": String::from_utf8_lossy(&stderr) })))
}

#[tokio::test]
async fn every_change_is_told_with_who_made_it_and_never_with_a_secret() {
    let world = World::of(System::SagePro).await;
    let log = world.tenant.client.get("/api/v1/audit?limit=500").await.unwrap();
    let told: Vec<(&str, &str)> = log["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["action"].as_str().unwrap(), entry["role"].as_str().unwrap()))
        .collect();
    for action in ["connection.create", "source.create", "lookup.put", "module.upload", "mapping.create"] {
        assert!(told.contains(&(action, "tenant-admin")), "{action}: {told:?}");
    }
    assert!(told.contains(&("tenant.create", "operator")), "{told:?}");
    assert!(!log.to_string().contains("sage-key"), "{log}");
    // The host's own chain is the operator's.
    let log = world.host.operator.get("/api/v1/audit").await.unwrap().to_string();
    assert!(log.contains("tenant.create") && !log.contains("connection.create"), "{log}");
}

#[tokio::test]
async fn a_change_in_the_file_shows_and_an_older_file_shows_against_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    let (file, data) = (folder.path().join("checkpoints"), folder.path().join("host"));
    let mut host = Host::start(portolan(), &data, "127.0.0.1:0", &[]).await.unwrap();
    let made = host.operator.post("/api/v1/tenants", &json!({ "name": "audited" })).await.unwrap();
    let tenant = host.operator.with_key(made["key"]["secret"].as_str().unwrap());
    let path = "/api/v1/environments/sandbox/lookup-tables/t/rows";
    tenant.put(path, &json!({ "rows": { "a": "a" } })).await.unwrap();
    let (good, said) = verify(&data, &[]);
    assert!(good, "{said}");
    let database = data.join("portolan.db");
    // An older copy of everything, and a chain that has gone on since.
    host.kill().await.unwrap();
    let old: Vec<_> = ["", "-wal"]
        .iter()
        .map(|suffix| data.join(format!("portolan.db{suffix}")))
        .filter(|path| path.exists())
        .map(|path| (path.clone(), std::fs::read(&path).unwrap()))
        .collect();
    host.set("PORTOLAN_AUDIT__CHECKPOINT_FILE", Some(&file.display().to_string()));
    host.start_again().await.unwrap();
    tenant.put(path, &json!({ "rows": { "a": "b" } })).await.unwrap();
    host.stop().await.unwrap();
    let checkpoints = file.display().to_string();
    let (good, said) = verify(&data, &["--checkpoints", &checkpoints]);
    assert!(good && said["checkpoints"].as_u64() > Some(0), "{said}");
    for (path, bytes) in &old {
        std::fs::write(path, bytes).unwrap();
    }
    drop(std::fs::remove_file(data.join("portolan.db-shm")));
    assert!(verify(&data, &[]).0, "by itself, an older file is as good as any");
    let (good, said) = verify(&data, &["--checkpoints", &checkpoints]);
    assert!(!good);
    assert_eq!(said["fault"]["tampering"], json!("rolled-back"), "{said}");
    // Somebody writes into the file.
    let conn = rusqlite::Connection::open(&database).unwrap();
    conn.execute_batch("DROP TRIGGER audit_entries_stay").unwrap();
    conn.execute("UPDATE audit_entries SET actor = 'key_somebody' WHERE action = 'lookup.put'", []).unwrap();
    drop(conn);
    let (good, said) = verify(&data, &[]);
    assert!(!good);
    assert_eq!(said["fault"]["tampering"], json!("modified"), "{said}");
}
