//! What a mapping's author does on their own machine: `portolan module check | test | run | new`. What it says must be
//! what production says.

use std::{fs, path::Path, process::Output};

use portolan::stage::{Refused, System, Tenant};
use portolan_tests::{World, components, portolan};
use serde_json::{Value, json};

/// Runs a command in a folder of its own; whether it succeeded, its stdout as JSON (else as text) and its stderr. It
/// waits: a test that talks to a host too needs other threads, which see meanwhile that the host closes idle connections.
fn module(folder: &Path, arguments: &[&str]) -> (bool, Value, String) {
    let mut command = std::process::Command::new(portolan());
    command.arg("module").args(arguments).current_dir(folder).env("XDG_CACHE_HOME", folder.join("cache"));
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = || String::from_utf8_lossy(&stdout).into_owned();
    let said = serde_json::from_slice(&stdout).unwrap_or_else(|_| text().into());
    (status.success(), said, String::from_utf8_lossy(&stderr).into_owned())
}

fn file_of(component: &str) -> String {
    components().join(format!("{component}.wasm")).display().to_string()
}

/// A case for `hostile-lies`, whose settings say what it does.
fn case(folder: &Path, name: &str, more: Value) {
    let event = json!({"system": "stripe", "payload": {
        "id": "evt_1", "object": "event", "type": "charge.succeeded", "data": {"object": {"id": "ch_1"}},
    }});
    let mut case = json!({ "event": event });
    case.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    fs::create_dir_all(folder.join("cases")).unwrap();
    fs::write(folder.join(format!("cases/{name}.json")), case.to_string()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn check_gives_the_verdict_of_an_upload_in_the_same_words() {
    let world = World::of(System::SagePro).await;
    let folder = tempfile::tempdir().unwrap();
    let wasi = r#"(component (import "wasi:sockets/tcp@0.2.0" (instance)))"#;
    let uploads = [
        ("text.wasm", b"not wasm at all".to_vec()),
        ("empty.wasm", wat::parse_str("(component)").unwrap()),
        ("sockets.wasm", wat::parse_str(wasi).unwrap()),
    ];
    for (name, upload) in uploads {
        fs::write(folder.path().join(name), &upload).unwrap();
        let (good, said, told) = module(folder.path(), &["check", name, "--output", "json"]);
        assert!(!good, "{name}: {said}");
        let error = Tenant::upload(&world.tenant.client, upload).await.unwrap_err();
        let refused = &error.downcast_ref::<Refused>().unwrap().body;
        for field in ["code", "message", "remedy"] {
            assert_eq!(said["refusal"][field], refused[field], "{name}: {field}");
        }
        assert!(told.contains(refused["remedy"].as_str().unwrap()), "{told}");
    }
    let (good, said, _) =
        module(folder.path(), &["check", &file_of("stripe-to-sage-pro"), "--output", "json"]);
    assert!(good, "{said}");
    let stored = world.tenant.client.get(&format!("/api/v1/modules/{}", world.tenant.module)).await.unwrap();
    assert_eq!(said["digest"], stored["digest"]);
    assert_eq!(said["description"], stored["description"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_event_runs_here_as_it_ran_there_and_becomes_a_case() {
    let world = World::of(System::SagePro).await;
    let folder = tempfile::tempdir().unwrap();
    let told = world.story("again").await.remove(0);
    let event = world.accept(&told).await;
    let story = world.end_of(&event).await;
    let run = &story["runs"][0];
    // With an operator's key, which says for whom.
    let operator = &world.host.operator;
    let file = file_of("stripe-to-sage-pro");
    let arguments = [
        "run",
        "--event",
        &event,
        "--environment",
        "sandbox",
        "--host",
        operator.base(),
        "--key",
        operator.key().unwrap(),
        "--tenant",
        &world.tenant.id,
        "--module",
        &file,
        "--save",
        "cases/real.json",
        "--output",
        "json",
    ];
    fs::create_dir(folder.path().join("cases")).unwrap();
    let (good, said, told) = module(folder.path(), &arguments);
    assert!(good, "{told}");
    assert_eq!(said["facts"], run["facts"]);
    assert_eq!(
        said["cost"]["fuel"], run["cost"]["fuel"],
        "the same input, the same module, the same instructions"
    );
    assert_eq!(said["cost"]["rounds"], run["cost"]["rounds"]);
    let keys = |outcome: &Value| -> Vec<Value> {
        outcome["deliver"]["deliveries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| json!([one["key"], one["body"]]))
            .collect()
    };
    assert_eq!(keys(&said["outcome"]), keys(&run["outcome"]));
    let (good, said, told) = module(folder.path(), &["test", "--module", &file, "--output", "json"]);
    assert!(good, "{said}\n{told}");
    assert_eq!(said["cases"][0]["cost"]["fuel"], run["cost"]["fuel"]);
    let case: Value =
        serde_json::from_str(&fs::read_to_string(folder.path().join("cases/real.json")).unwrap()).unwrap();
    assert_eq!(case["event"]["source"], "stripe", "modules know sources by their names");
}

#[test]
fn a_case_that_ends_otherwise_says_where_it_differs_and_update_writes_what_came() {
    let folder = tempfile::tempdir().unwrap();
    let (folder, file) = (folder.path(), file_of("hostile-asks-forever"));
    case(folder, "lost", json!({"expect": {"skip": "nothing"}}));
    let test = ["test", "--module", &file, "--output", "json"];
    let (good, said, _) = module(folder, &test);
    assert!(!good);
    let missing = &said["cases"][0]["missing_facts"];
    assert!(missing[0]["need"].is_object() && missing[0]["answer"] == "absent", "ready to paste: {said:#}");

    let file = file_of("hostile-hoards");
    let test = ["test", "--module", &file, "--output", "json"];
    case(
        folder,
        "lost",
        json!({"expect": {"skip": "nothing of the kind"}, "fuel": {"expect": 1, "percent": 10}}),
    );
    let (good, said, _) = module(folder, &test);
    assert!(!good);
    let difference = &said["cases"][0]["differences"][0];
    assert_eq!(
        (&difference["pointer"], &difference["expected"]),
        (&json!("/skip"), &json!("nothing of the kind"))
    );
    assert!(
        said["cases"][0]["problems"][0].as_str().unwrap().contains("pinned are 1, within 10 %"),
        "{said:#}"
    );

    let (good, said, told) = module(folder, &["test", "--module", &file, "--update"]);
    assert!(good, "{said}\n{told}");
    let (good, said, _) = module(folder, &test);
    assert!(good, "{said:#}");
    let written: Value =
        serde_json::from_str(&fs::read_to_string(folder.join("cases/lost.json")).unwrap()).unwrap();
    assert_eq!(written["expect"]["skip"], difference["got"]);
    assert_eq!(written["fuel"]["expect"], said["cases"][0]["cost"]["fuel"]);
}

#[test]
fn what_the_host_would_refuse_fails_a_case_by_the_hosts_name_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let (folder, file) = (folder.path(), file_of("hostile-lies"));
    let lies = [
        ("undeclared-operation", "plan-refused"),
        ("undeclared-table", "guest-nonsense"),
        ("unbalanced", "plan-refused"),
        ("bad-amount", "guest-nonsense"),
        ("too-many-deliveries", "guest-output-too-large"),
    ];
    for (lie, _) in lies {
        case(folder, lie, json!({"settings": {"lie": lie}, "expect": {"skip": "no"}}));
    }
    let (good, said, _) = module(folder, &["test", "--module", &file, "--output", "json"]);
    assert!(!good);
    for (lie, code) in lies {
        let tried = said["cases"].as_array().unwrap().iter().find(|tried| tried["case"] == lie).unwrap();
        assert_eq!(tried["outcome"], "failed", "{lie}");
        assert!(tried["problems"].to_string().contains(code), "{lie}: {tried:#}");
    }
}

#[test]
fn a_profile_says_where_the_fuel_went_the_same_every_time() {
    let folder = tempfile::tempdir().unwrap();
    let (folder, file) = (folder.path(), file_of("hostile-hoards"));
    case(folder, "one", json!({}));
    let run = ["run", "--event", "cases/one.json", "--module", &file, "--profile", "--output", "json"];
    let (good, said, told) = module(folder, &run);
    assert!(good, "{told}");
    let profile = &said["profile"];
    assert_eq!(profile["fuel"], said["cost"]["fuel"]);
    let functions = profile["functions"].as_array().unwrap();
    let own: u64 = functions.iter().map(|share| share["fuel_self"].as_u64().unwrap()).sum();
    let fuel = profile["fuel"].as_u64().unwrap();
    assert!(own <= fuel && own >= fuel - fuel / 100, "{own} of {fuel}");
    assert_eq!(module(folder, &run).1["profile"], *profile);
}

#[test]
fn a_new_project_is_there_whole_and_never_over_another() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for (lang, toolchain) in
        [("rust", "Cargo.toml"), ("js", "package.json"), ("ts", "package.json"), ("python", "pyproject.toml")]
    {
        let name = format!("charges-{lang}");
        let (good, said, told) = module(folder, &["new", &name, "--lang", lang, "--to", "epicor"]);
        assert!(good, "{told}");
        assert_eq!(said, format!("cd {name}\nportolan module build\nportolan module test\n"));
        for file in [toolchain, "README.md", "cases/yen.json", "src/settings.schema.json", "wit/mapping.wit"]
        {
            assert!(folder.join(&name).join(file).exists(), "{lang}: {file}");
        }
        let (good, _, told) = module(folder, &["new", &name, "--lang", lang, "--to", "epicor"]);
        assert!(!good && told.contains("is there already"), "{told}");
    }
    let (good, _, told) = module(folder, &["new", "../outside", "--lang", "js", "--to", "epicor"]);
    assert!(!good && told.contains("no name for a module"), "{told}");
    let (good, _, told) = module(&folder.join("charges-js"), &["test"]);
    assert!(!good && told.contains("run `portolan module build` first"), "{told}");
}

#[test]
fn a_toolchain_does_not_learn_the_key_of_the_api() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (good, _, told) = module(folder, &["new", "charges", "--lang", "rust", "--to", "epicor"]);
    assert!(good, "{told}");
    // A compiler that cannot do anything but tell what it was told.
    let compiler = folder.join("rustc");
    fs::write(&compiler, "#!/bin/sh\nexport -p >> \"$0.told\"\nexit 1\n").unwrap();
    fs::set_permissions(&compiler, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = std::process::Command::new(portolan());
    command.args(["module", "build", "charges"]).current_dir(folder).env_clear().env("RUSTC", &compiler);
    let output = command.env("PORTOLAN_KEY", "ptk_secret").env("OTHER", "kept").output().unwrap();
    assert!(!output.status.success());
    let told = fs::read_to_string(folder.join("rustc.told")).unwrap();
    assert!(told.contains("OTHER") && !told.contains("PORTOLAN_KEY"), "{told}");
}
