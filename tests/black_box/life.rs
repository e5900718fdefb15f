//! The life of a module: replayed, promoted, rolled back, shadowed, given a share, stopped.

use std::collections::BTreeSet;

use portolan::stage::{Refused, System, Tenant};
use portolan_tests::{World, component, until};
use reqwest::Method;
use serde_json::{Value, json};

/// The standard module of Sage Pro with one constant changed: what payments are called.
fn with_another_payment_method() -> Vec<u8> {
    let mut module = component("stripe-to-sage-pro");
    // In the schema of its settings the word stands in quotes.
    let places: Vec<usize> = (1..module.len() - 6)
        .filter(|at| module[*at..].starts_with(b"STRIPE") && module[at - 1] != b'"')
        .collect();
    assert_eq!(places.len(), 1, "the constant is at {places:?}");
    let place = places[0];
    module[place..place + 6].copy_from_slice(b"CREDIT");
    module
}

/// The same module in other bytes: a custom section more.
fn with_a_section(module: &[u8], name: &str) -> Vec<u8> {
    let length = u8::try_from(name.len()).unwrap();
    [module, &[0, length + 1, length], name.as_bytes()].concat()
}

async fn upload(world: &World, module: Vec<u8>) -> String {
    let told = Tenant::upload(&world.tenant.client, module).await.unwrap();
    told["digest"].as_str().unwrap().to_owned()
}

/// Accepts the story's charges and waits until each has been carried out.
async fn played(world: &World, label: &str) -> usize {
    let story = world.story(label).await;
    for told in &story {
        let event = world.accept(told).await;
        world.end_of(&event).await;
    }
    story.len()
}

async fn replayed(world: &World, asked: Value) -> Value {
    let mut asked = asked;
    asked["mapping"] = json!(world.tenant.mapping);
    let id = world.tenant.post("/replays", &asked).await.unwrap()["id"].clone();
    ended(world, id.as_str().unwrap()).await
}

async fn ended(world: &World, id: &str) -> Value {
    let path = format!("/replays/{id}");
    until(&path, async || {
        // While the host is down there is no answer.
        let told = world.tenant.get(&path).await.ok()?;
        (told["state"] != "running").then_some(told)
    })
    .await
}

async fn items(world: &World, replay: &Value, class: &str) -> Vec<Value> {
    let id = replay["id"].as_str().unwrap();
    let path = format!("/replays/{id}/items?limit=500&class={class}");
    world.tenant.get(&path).await.unwrap()["items"].as_array().unwrap().clone()
}

fn mapping_path(world: &World, rest: &str) -> String {
    format!("/api/v1/environments/sandbox/mappings/{}{rest}", world.tenant.mapping)
}

async fn mapping(world: &World) -> Value {
    world.tenant.client.get(&mapping_path(world, "")).await.unwrap()
}

fn refusal(error: anyhow::Error) -> (u16, String, Value) {
    let refused = error.downcast::<Refused>().unwrap();
    (refused.status.as_u16(), refused.body["code"].as_str().unwrap().to_owned(), refused.body)
}

#[tokio::test]
async fn the_pinned_version_replays_without_a_difference_for_every_erp() {
    for erp in [System::SapEcc, System::Epicor, System::SagePro] {
        let world = World::of(erp).await;
        let events = played(&world, "replayed").await;
        // What is in force now is not what was in force then.
        let settings = &mapping(&world).await["settings"];
        let other_zone = if settings["time_zone"] == "UTC" { "Asia/Tokyo" } else { "UTC" };
        let mut settings = settings.clone();
        settings["time_zone"] = json!(other_zone);
        world.tenant.client.patch(&mapping_path(&world, ""), &json!({ "settings": settings })).await.unwrap();
        let documents = world.documents().await;
        let told = replayed(&world, json!({})).await;
        assert_eq!(told["state"], "done", "{told:#}");
        assert_eq!(told["classes"], json!({ "unchanged": events }), "{erp:?}: {told:#}");
        assert_eq!((&told["fields"], &told["fuel_after"]), (&json!({}), &told["fuel_before"]));
        assert!(told["fuel_before"].as_u64().unwrap() > 0);
        let ledger = told["ledger"].as_array().unwrap();
        assert!(!ledger.is_empty() && ledger.iter().all(|account| account["unchanged"] == true));
        assert_eq!(world.documents().await, documents, "a replay delivers nothing");
    }
}

#[tokio::test]
async fn what_differs_is_told_and_nothing_else() {
    let world = World::of(System::SagePro).await;
    let events = played(&world, "changed").await;
    a_changed_module_differs_in_its_change_and_in_nothing_else(&world, events).await;
    other_settings_are_told_to_the_cent_by_account(&world).await;
    what_a_run_was_not_told_is_told_as_that_unless_it_may_be_asked(&world).await;
}

async fn a_changed_module_differs_in_its_change_and_in_nothing_else(world: &World, events: usize) {
    let changed = upload(world, with_another_payment_method()).await;
    let told = replayed(world, json!({ "module": changed })).await;
    let differ = items(world, &told, "changed").await;
    let place = "/plan/deliveries/invoice/body/Payment/Method";
    assert!(!differ.is_empty(), "{told:#}");
    for item in &differ {
        let expected = json!([{ "pointer": place, "before": "STRIPE", "after": "CREDIT" }]);
        assert_eq!(item["differences"], expected, "{item:#}");
    }
    assert_eq!(told["fields"], json!({ place: differ.len() }));
    assert_eq!(told["classes"]["changed"], differ.len());
    let unchanged = told["classes"]["unchanged"].as_u64().unwrap_or_default();
    assert_eq!(unchanged + differ.len() as u64, events as u64);
    assert!(told["ledger"].as_array().unwrap().iter().all(|account| account["unchanged"] == true));
}

async fn other_settings_are_told_to_the_cent_by_account(world: &World) {
    let mut settings = mapping(world).await["settings"].clone();
    settings["accounts"]["clearing"] = json!("1191-000");
    let told = replayed(world, json!({ "settings": settings })).await;
    let of = |account: &str, name: &str| -> BTreeSet<(String, String)> {
        let ledger = told["ledger"].as_array().unwrap().iter();
        let of = ledger.filter(|line| line["account"] == account);
        of.map(|line| (line["currency"].to_string(), line[name].as_str().unwrap().to_owned())).collect()
    };
    let (lost, won) = (of("1190-000", "debit_before"), of("1191-000", "debit_after"));
    assert!(!lost.is_empty(), "{told:#}");
    assert_eq!(lost, won, "what one account loses the other gets, per currency");
    let sales = told["ledger"].as_array().unwrap().iter().filter(|line| line["account"] == "4000-000");
    assert!(sales.clone().count() > 0 && sales.into_iter().all(|line| line["unchanged"] == true));
}

async fn what_a_run_was_not_told_is_told_as_that_unless_it_may_be_asked(world: &World) {
    let mut settings = mapping(world).await["settings"].clone();
    // Guests become customers then, which are looked for first.
    settings.as_object_mut().unwrap().remove("guest_customer");
    let nobody = replayed(world, json!({ "settings": settings })).await;
    let store = replayed(world, json!({ "settings": settings, "new_needs": "store" })).await;
    let new_needs = |told: &Value| told["classes"]["new-need"].as_u64().unwrap_or_default();
    assert!(new_needs(&nobody) > 0, "guests become customers, which are looked for first: {nobody:#}");
    assert!(new_needs(&store) <= new_needs(&nobody));
    let told = items(world, &nobody, "new-need").await;
    assert!(told.iter().all(|item| item["after"]["message"].as_str().unwrap().contains("reference")
        || item["after"]["message"].as_str().unwrap().contains("query")));
}

#[tokio::test]
async fn a_pin_is_moved_after_a_clean_replay_only_and_a_rollback_needs_nothing() {
    let world = World::of(System::SagePro).await;
    played(&world, "pinned").await;
    let first = world.tenant.module.clone();
    let same = upload(&world, with_a_section(&component("stripe-to-sage-pro"), "again")).await;
    let changed = upload(&world, with_another_payment_method()).await;
    let pin = |body: Value| {
        let (client, path) = (world.tenant.client.clone(), mapping_path(&world, "/pin"));
        async move { client.post(&path, &body).await }
    };
    let settings = "/api/v1/environments/sandbox/settings";
    let demand = json!({ "why": "no surprises", "four_eyes": false, "replay_events_min": 5 });
    world.tenant.client.put(settings, &demand).await.unwrap();

    // Where it is demanded, there is no way around it.
    let patch = world.tenant.client.patch(&mapping_path(&world, ""), &json!({ "module": same })).await;
    assert_eq!(refusal(patch.unwrap_err()).1, "replay-required");
    let without = pin(json!({ "module": same })).await;
    assert_eq!(refusal(without.unwrap_err()).1, "replay-required");

    // Clean: it moves by itself.
    let asked =
        pin(json!({ "module": same, "why": "rebuilt", "after_replay": { "events": 5 } })).await.unwrap();
    assert_eq!(asked["state"], "replaying");
    let told = ended(&world, asked["replay"].as_str().unwrap()).await;
    assert_eq!(told["promotion"]["state"], "pinned", "{told:#}");
    assert_eq!(mapping(&world).await["module"], json!(same));

    // Not clean: it does not move, and says why.
    let asked = pin(json!({ "module": changed, "after_replay": { "events": 50 } })).await.unwrap();
    let told = ended(&world, asked["replay"].as_str().unwrap()).await;
    assert_eq!(told["promotion"]["code"], "replay-differs", "{told:#}");
    assert_eq!(mapping(&world).await["module"], json!(same));

    // A replay speaks for what was executed, on the mapping's own runs, and for nothing else.
    let mut settings = mapping(&world).await["settings"].clone();
    settings["guest_customer"] = json!("CASH");
    for (asked, pin_settings) in
        [(json!({ "events": 5 }), settings), (json!({ "events": 5, "without_runs": true }), Value::Null)]
    {
        let clean = replayed(&world, asked).await;
        let wanted = json!({ "module": same, "settings": pin_settings,
                             "after_replay": { "events": 5, "replay": clean["id"] } });
        assert_eq!(refusal(pin(wanted).await.unwrap_err()).1, "replay-unfit");
    }

    // The same replay, with what differs listed; but not with something else listed.
    let listed = |place: &str| {
        json!({ "module": changed, "after_replay": {
            "events": 50, "allow_diff": "listed", "listed": [place], "replay": asked["replay"],
        }})
    };
    let (status, code, body) = refusal(pin(listed("/plan/deliveries/invoice/body/PONum")).await.unwrap_err());
    assert_eq!((status, code.as_str()), (422, "replay-differs"));
    assert_eq!(body["unclean"]["fields"], json!(["/plan/deliveries/invoice/body/Payment/Method"]));
    let moved = pin(listed("/plan/deliveries/*/body/Payment/Method")).await.unwrap();
    assert_eq!((&moved["state"], &moved["pin"]), (&json!("pinned"), &json!(3)));

    // The next event is the new version's; after a rollback, the one before's; after another, the first's.
    let story = world.story("after").await;
    let expected = [(None, &changed), (Some(1), &same), (Some(2), &first)];
    for (told, (rollback, module)) in story.iter().zip(expected) {
        if rollback.is_some() {
            world
                .tenant
                .client
                .post(&mapping_path(&world, "/rollback"), &json!({ "why": "it was wrong" }))
                .await
                .unwrap();
        }
        let event = world.accept(told).await;
        assert_eq!(world.end_of(&event).await["runs"][0]["module"], json!(module));
    }
    let none_left =
        world.tenant.client.post(&mapping_path(&world, "/rollback"), &json!({ "why": "x" })).await;
    assert_eq!(refusal(none_left.unwrap_err()).0, 409);
    let pins = world.tenant.client.get(&mapping_path(&world, "/pins")).await.unwrap();
    let modules: Vec<&Value> = pins["items"].as_array().unwrap().iter().map(|pin| &pin["module"]).collect();
    assert_eq!(modules, [&json!(first), &json!(same), &json!(changed), &json!(same), &json!(first)]);
}

#[tokio::test]
async fn a_replay_goes_on_after_the_host_was_killed() {
    let mut world = World::of(System::SagePro).await;
    let mut events = 0;
    for label in ["one", "two", "three", "four"] {
        events += played(&world, label).await;
    }
    let asked = json!({ "mapping": world.tenant.mapping });
    let id = world.tenant.post("/replays", &asked).await.unwrap()["id"].as_str().unwrap().to_owned();
    world.host.kill().await.unwrap();
    world.host.start_again().await.unwrap();
    let told = ended(&world, &id).await;
    assert_eq!(told["state"], "done", "{told:#}");
    assert_eq!(told["classes"], json!({ "unchanged": events }), "nothing is counted twice, nothing left out");
    assert_eq!(items(&world, &told, "unchanged").await.len(), events);
}

#[tokio::test]
async fn a_shadow_runs_on_new_events_and_delivers_nothing() {
    let world = World::of(System::SagePro).await;
    let changed = upload(&world, with_another_payment_method()).await;
    let path = mapping_path(&world, "/shadow");
    let told = world.tenant.client.put(&path, &json!({ "module": changed })).await.unwrap();
    let replay = told["shadow"]["replay"].as_str().unwrap().to_owned();
    let events = played(&world, "shadowed").await;
    let told = until("the shadow", async || {
        let told = world.tenant.get(&format!("/replays/{replay}")).await.unwrap();
        (told["events_done"] == events).then_some(told)
    })
    .await;
    assert_eq!((&told["kind"], &told["state"]), (&json!("shadow"), &json!("running")));
    let place = "/plan/deliveries/invoice/body/Payment/Method";
    assert_eq!(told["fields"], json!({ place: told["classes"]["changed"] }), "{told:#}");
    world.assert_posted_once(events).await;
    let methods = world.erp.ledger("").await.unwrap();
    assert!(
        !json!(methods.iter().map(|entry| format!("{entry:?}")).collect::<Vec<_>>())
            .to_string()
            .contains("CREDIT")
    );

    let (status, _) = world.tenant.client.exchange(Method::DELETE, &path, None, &[]).await.unwrap();
    assert_eq!(status, 200);
    assert_eq!(ended(&world, &replay).await["state"], "cancelled");
}

#[tokio::test]
async fn a_canary_gets_its_share_and_returns_when_it_fails_too_often() {
    let world = World::of(System::SagePro).await;
    let same = upload(&world, with_a_section(&component("stripe-to-sage-pro"), "canary")).await;
    let path = mapping_path(&world, "/canary");
    let all = json!({ "module": same, "per_mille": 1000 });
    world.tenant.client.put(&path, &all).await.unwrap();
    let story = world.story("canary").await;
    let event = world.accept(&story[0]).await;
    assert_eq!(world.end_of(&event).await["runs"][0]["module"], json!(same));
    assert_eq!(mapping(&world).await["canary"]["runs"], 1);

    // One that fails on everything: the settings name a zone that there is not, which the schema cannot know.
    let mut settings = mapping(&world).await["settings"].clone();
    settings["time_zone"] = json!("Nowhere/Land");
    let failing =
        json!({ "module": same, "per_mille": 1000, "settings": settings, "failures_max": 1, "runs_max": 50 });
    world.tenant.client.put(&path, &failing).await.unwrap();
    for told in &story[1..3] {
        let event = world.accept(told).await;
        assert_eq!(world.end_of(&event).await["standing"], "dead");
    }
    let canary = mapping(&world).await["canary"].clone();
    assert_eq!((&canary["per_mille"], &canary["failures"]), (&json!(0), &json!(2)));
    assert!(canary["returned_at"].is_string());
    let alerts = world.tenant.get("/alerts?limit=500").await.unwrap();
    assert!(alerts["items"].as_array().unwrap().iter().any(|alert| alert["code"] == "canary-returned"));
    let event = world.accept(&story[3]).await;
    let told = world.end_of(&event).await;
    assert_eq!(
        (&told["standing"], &told["runs"][0]["module"]),
        (&json!("delivered"), &json!(world.tenant.module))
    );
}

#[tokio::test]
async fn what_is_stopped_waits_and_is_lost_by_nobody() {
    let world = World::of(System::SagePro).await;
    let story = world.story("stopped").await;
    let switches = [
        (&world.tenant.client, mapping_path(&world, "")),
        (&world.tenant.client, format!("/api/v1/modules/{}", world.tenant.module)),
        (&world.tenant.client, "/api/v1/tenant".to_owned()),
    ];
    let why = json!({ "why": "something is wrong" });
    for ((client, switch), told) in switches.iter().zip(&story) {
        client.post(&format!("{switch}/pause"), &why).await.unwrap();
        let event = world.accept(told).await;
        // A neighbour's event takes the whole way meanwhile.
        let path = format!("/events/{event}");
        let waits = world.tenant.get(&path).await.unwrap();
        assert_eq!(
            (&waits["standing"], &waits["runs"][0]["attempts"]),
            (&json!("under-way"), &json!(0)),
            "{switch}"
        );
        client.post(&format!("{switch}/resume"), &why).await.unwrap();
        assert_eq!(world.end_of(&event).await["standing"], "delivered", "{switch}");
    }
    let audit = world.tenant.client.get("/api/v1/audit?limit=500").await.unwrap();
    let actions: BTreeSet<&str> =
        audit["items"].as_array().unwrap().iter().filter_map(|entry| entry["action"].as_str()).collect();
    for action in
        ["mapping.pause", "mapping.resume", "module.pause", "module.resume", "tenant.go-on", "tenant.pause"]
    {
        assert!(actions.contains(action), "{action} in {actions:?}");
    }
}

#[tokio::test]
async fn a_version_that_asks_for_more_needs_a_grant_and_what_is_not_granted_is_refused() {
    let world = World::of(System::SagePro).await;
    let story = world.story("granted").await;
    let mut grants = mapping(&world).await["grants"].clone();
    let erp = grants["connections"]["erp"].as_array_mut().unwrap();
    erp.retain(|operation| operation != "invoice.create");
    world.tenant.client.patch(&mapping_path(&world, ""), &json!({ "grants": grants })).await.unwrap();
    let event = world.accept(&story[0]).await;
    let told = world.end_of(&event).await;
    assert_eq!(told["runs"][0]["reason"]["code"], "not-granted", "{told:#}");
    assert!(
        told["runs"][0]["reason"]["message"].as_str().unwrap().contains("connections/erp/invoice.create")
    );
    assert_eq!(world.documents().await.len(), 0);

    let next = upload(&world, with_a_section(&component("stripe-to-sage-pro"), "more")).await;
    let pin = |grant: Value| {
        let (client, path) = (world.tenant.client.clone(), mapping_path(&world, "/pin"));
        let body = json!({ "module": next, "grant": grant });
        async move { client.post(&path, &body).await }
    };
    let (status, code, body) = refusal(pin(json!([])).await.unwrap_err());
    assert_eq!((status, code.as_str()), (422, "needs-grant"));
    assert_eq!(body["new"], json!(["connections/erp/invoice.create"]));
    assert_eq!(pin(body["new"].clone()).await.unwrap()["state"], "pinned");
    let event = world.accept(&story[1]).await;
    assert_eq!(world.end_of(&event).await["standing"], "delivered");
}

#[tokio::test]
async fn where_it_is_demanded_only_signed_modules_are_taken_and_pinned() {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use ring::signature::{Ed25519KeyPair, KeyPair};
    let world = World::of(System::SagePro).await;
    let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let policy = |required: bool| json!({ "required": required, "keys": [{ "name": "ci", "public_key": STANDARD.encode(key.public_key()) }] });
    world.tenant.client.put("/api/v1/signing-policy", &policy(true)).await.unwrap();
    let module = with_a_section(&component("stripe-to-sage-pro"), "signed");
    let send = |signature: Option<String>| {
        let (client, module) = (world.tenant.client.clone(), module.clone());
        let headers: Vec<(&str, String)> =
            signature.map(|text| ("portolan-signature", text)).into_iter().collect();
        async move {
            let body = Some(("application/wasm", module));
            client.exchange(Method::POST, "/api/v1/modules", body, &headers).await.unwrap()
        }
    };
    let (status, answer) = send(None).await;
    assert_eq!((status.as_u16(), &answer["code"]), (422, &json!("signature-required")));
    let digest = portolan_domain::ModuleDigest::of(&module);
    let other = key.sign(b"portolan-module:sha256:something else");
    let (status, answer) = send(Some(STANDARD.encode(other))).await;
    assert_eq!((status.as_u16(), &answer["code"]), (422, &json!("signature-invalid")));
    let signature = STANDARD.encode(key.sign(format!("portolan-module:sha256:{digest}").as_bytes()));
    let (status, answer) = send(Some(signature)).await;
    assert_eq!((status.as_u16(), &answer["signed_by"]), (201, &json!("ci")), "{answer:#}");
    // The one that is there already was never signed.
    let pin = mapping_path(&world, "/pin");
    let unsigned = world.tenant.client.post(&pin, &json!({ "module": world.tenant.module })).await;
    assert_eq!(refusal(unsigned.unwrap_err()).1, "signature-required");
    assert_eq!(
        world.tenant.client.post(&pin, &json!({ "module": answer["digest"] })).await.unwrap()["state"],
        "pinned"
    );
}

#[tokio::test]
async fn an_environment_goes_from_file_to_file_and_a_second_time_changes_nothing() {
    let world = World::of(System::SagePro).await;
    let client = &world.tenant.client;
    let files = |environment: &str| format!("/api/v1/environments/{environment}/files");
    let document = client.get(&files("sandbox")).await.unwrap();
    let text = document.to_string();
    assert!(!text.contains("sage-key") && !text.contains("sk_test") && !text.contains("whsec_"), "{text}");
    for id in [&world.tenant.mapping, world.tenant.connections["erp"].as_str().unwrap()] {
        assert!(!text.contains(id), "names, not ids");
    }

    let plan = client.post(&files("qa"), &json!({ "document": document })).await.unwrap();
    assert_eq!(plan["applied"], false);
    let problems: Vec<&Value> =
        plan["changes"].as_array().unwrap().iter().filter(|change| !change["problem"].is_null()).collect();
    assert_eq!(problems.len(), 2, "the secrets of two connections are missing: {problems:#?}");
    let empty = client.get(&files("qa")).await.unwrap();
    assert_eq!(empty["connections"], json!({}), "a plan changes nothing");

    let secrets = json!({ "connections": {
        "erp": { "api_key": "sage-key" }, "stripe": { "api_key": "sk_test_portolan" },
    }, "sources": { "stripe": ["whsec_of_another_environment"] } });
    let apply = json!({ "document": document, "secrets": secrets, "apply": true });
    let done = client.post(&files("qa"), &apply).await.unwrap();
    let nouns: Vec<&str> =
        done["changes"].as_array().unwrap().iter().map(|change| change["noun"].as_str().unwrap()).collect();
    assert_eq!(
        nouns,
        ["connection", "connection", "source", "lookup-table", "lookup-table", "mapping"],
        "{done:#}"
    );
    assert_eq!(client.get(&files("qa")).await.unwrap(), document);
    assert_eq!(client.post(&files("qa"), &apply).await.unwrap()["changes"], json!([]));

    // One changed setting is one difference, there and back.
    let mut changed = document.clone();
    changed["mappings"]["charges"]["settings"]["time_zone"] = json!("Asia/Tokyo");
    changed["lookup_tables"]["items"].as_object_mut().unwrap().clear();
    changed["lookup_tables"]["items"]["prod_x"] = json!("X");
    let told = client.post(&files("qa"), &json!({ "document": changed, "apply": true })).await.unwrap();
    let mapping = &told["changes"][1];
    assert_eq!(mapping["differences"][0]["pointer"], "/settings/time_zone", "{told:#}");
    assert_eq!(mapping["differences"].as_array().unwrap().len(), 1);
    assert_eq!(client.get(&files("qa")).await.unwrap(), changed);
    client.post(&files("qa"), &json!({ "document": document, "apply": true })).await.unwrap();
    assert_eq!(client.get(&files("qa")).await.unwrap(), document);

    let mut wrong = document.clone();
    wrong["mappings"]["charges"]["module"]["digest"] = json!("0".repeat(64));
    let refused = client.post(&files("qa"), &json!({ "document": wrong, "apply": true })).await.unwrap_err();
    let (status, code, body) = refusal(refused);
    assert_eq!((status, code.as_str(), &body["at"]), (422, "invalid-files", &json!("mapping/charges")));
}
