//! The command line as its users type it: `portolan NOUN VERB`, each an operation of the API.

use std::process::Output;

use portolan::stage::System;
use portolan_tests::{World, components, portolan as program};
use serde_json::Value;
use tokio::process::Command;

/// Somebody at a command line.
struct User {
    environment: Vec<(&'static str, String)>,
}

impl User {
    async fn types(&self, line: &[&str]) -> Output {
        Command::new(program())
            .args(line)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (*name, value.as_str())))
            .output()
            .await
            .unwrap()
    }

    /// What a command that succeeds prints.
    async fn gets(&self, line: &[&str]) -> String {
        let output = self.types(line).await;
        assert!(output.status.success(), "{line:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    async fn json(&self, line: &[&str]) -> Value {
        let line = [line, &["--output", "json"]].concat();
        serde_json::from_str(&self.gets(&line).await).unwrap()
    }

    /// What a command that fails says.
    async fn is_refused(&self, line: &[&str]) -> String {
        let output = self.types(line).await;
        assert!(!output.status.success() && output.stdout.is_empty(), "{line:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

#[tokio::test]
async fn an_operator_sets_up_a_tenant_with_nothing_but_commands() {
    let world = World::of(System::SagePro).await;
    let operator = &world.host.operator;
    let mut user = User {
        environment: vec![
            ("PORTOLAN_URL", operator.base().to_owned()),
            ("PORTOLAN_KEY", operator.key().unwrap().to_owned()),
            ("ERP_TOKEN", "a-secret-of-the-command-line".to_owned()),
        ],
    };
    let tenant = user.json(&["tenant", "create", "--name", "acme"]).await;
    let id = tenant["id"].as_str().unwrap().to_owned();
    assert!(user.gets(&["tenant", "list"]).await.contains("acme"));
    user.environment.push(("PORTOLAN_TENANT", id.clone()));
    user.environment.push(("PORTOLAN_ENVIRONMENT", "sandbox".to_owned()));

    let module =
        user.json(&["module", "push", components().join("stripe-to-sage-pro.wasm").to_str().unwrap()]).await;
    assert_eq!(module["name"], "stripe-to-sage-pro");
    let line = ["connection", "create", "--name", "gateway", "--connector", "http"];
    let refused = user.is_refused(&line).await;
    assert!(refused.contains("invalid-connection") && refused.contains("/errors/"), "{refused}");
    let made = [
        &line[..],
        &[
            "--settings",
            "base_url=https://erp.example.com",
            "--settings",
            "auth=bearer",
            "--secrets",
            "token=env:ERP_TOKEN",
        ],
    ];
    let connection = user.json(&made.concat()).await;
    assert_eq!(connection["settings"]["base_url"], "https://erp.example.com");
    let con = connection["id"].as_str().unwrap();
    for line in [&["connection", "list"][..], &["connection", "show", con], &["audit", "list"]] {
        for told in [user.gets(line).await, user.json(line).await.to_string()] {
            assert!(!told.contains("a-secret-of-the-command-line"), "{line:?}: {told}");
        }
    }
    user.gets(&["connection", "pause", con, "--why", "testing"]).await;
    assert_eq!(user.json(&["connection", "show", con]).await["paused"]["why"], "testing");

    puts_rows(&user).await;
    lists_keys(&user).await;
    let wrong = user.is_refused(&["key", "create", "--name", "x", "--role", "king"]).await;
    assert!(wrong.contains("tenant-viewer"), "{wrong}");
    let missing = user.is_refused(&["key", "create"]).await;
    assert!(missing.contains("--name") && missing.contains("--role"), "{missing}");
}

async fn puts_rows(user: &User) {
    user.gets(&[
        "lookup",
        "put-rows",
        "parts",
        "--rows",
        "prod_1=P-100",
        "--rows",
        "prod_2:={\"part\":\"P-200\"}",
        "--rows",
        "prod_3=4711",
    ])
    .await;
    let row = user.json(&["lookup", "show-row", "parts", "prod_2"]).await;
    assert_eq!(row["value"]["part"], "P-200");
    assert_eq!(user.json(&["lookup", "show-row", "parts", "prod_3"]).await["value"], "4711");
    // What is no JSON stays what it is.
    let table = user.gets(&["lookup", "export", "parts", "--output", "json"]).await;
    assert!(table.starts_with("key,") && table.contains("\nprod_3,"), "{table}");
}

async fn lists_keys(user: &User) {
    for number in 0..5 {
        let name = format!("key {number}");
        user.gets(&["key", "create", "--name", &name, "--role", "tenant-viewer"]).await;
    }
    let page = user.json(&["key", "list", "--limit", "2"]).await;
    assert_eq!(page["items"].as_array().unwrap().len(), 2);
    let all = user.json(&["key", "list", "--limit", "2", "--all"]).await;
    assert_eq!(all["items"].as_array().unwrap().len(), 6);
    let second = page["next"].as_str().unwrap();
    let rest = user.json(&["key", "list", "--limit", "1", "--before", second, "--all"]).await;
    assert_eq!(rest["items"].as_array().unwrap().len(), 4);
    let output = user.types(&["key", "list", "--limit", "2"]).await;
    let (told, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(told.lines().count() == 3 && said.contains(&format!("--before {second}")), "{told}\n{said}");
}

#[tokio::test]
async fn an_operator_looks_into_a_tenant_with_the_commands_of_the_runbook() {
    let world = World::of(System::SagePro).await;
    let told = world.story("again").await.remove(0);
    let event = world.accept(&told).await;
    world.end_of(&event).await;
    let operator = &world.host.operator;
    let mut user = User {
        environment: vec![
            ("PORTOLAN_URL", operator.base().to_owned()),
            ("PORTOLAN_KEY", operator.key().unwrap().to_owned()),
            ("PORTOLAN_ENVIRONMENT", "sandbox".to_owned()),
        ],
    };
    // Whoever forgets for whom is told in words.
    for line in [&["event", "show", event.as_str()][..], &["event", "list"]] {
        let refused = user.is_refused(line).await;
        assert!(refused.contains("/errors/") && !refused.contains('{'), "{refused}");
    }
    let named = user.json(&["event", "show", &event, "--tenant", &world.tenant.id]).await;
    user.environment.push(("PORTOLAN_TENANT", world.tenant.id.clone()));
    user.environment.push(("PORTOLAN_OUTPUT", "json".to_owned()));
    let shown: Value = serde_json::from_str(&user.gets(&["event", "show", &event]).await).unwrap();
    assert_eq!(shown, named);
    assert_eq!(shown["events"][0]["id"], event.as_str());
    // A payload is what was received, byte for byte, whatever --output says.
    let path = format!("/api/v1/environments/sandbox/events/{event}/payload");
    let payload = world.tenant.client.get_text(&path).await.unwrap();
    for output in ["text", "json"] {
        assert_eq!(user.gets(&["event", "show-payload", &event, "--output", output]).await, payload);
    }
    let audit: Value = serde_json::from_str(&user.gets(&["audit", "verify"]).await).unwrap();
    assert_eq!(audit["chains"].as_array().unwrap().len(), 1, "the tenant's alone: {audit}");
    let usage = user.gets(&["usage", "list-csv"]).await;
    assert!(usage.contains("sandbox") && !usage.starts_with('"'), "{usage}");
    // None of these variables is a setting of a host.
    user.gets(&["config", "check"]).await;
    // A key in the place of the operator's own, which goes on being an operator's.
    let renewed: Value = serde_json::from_str(&user.gets(&["key", "rotate"]).await).unwrap();
    assert_eq!(renewed["role"], "operator");
}
