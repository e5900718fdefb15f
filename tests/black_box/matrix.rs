//! Every route × everybody who may ask × every kind of id: exactly the status that the table says. What belongs to
//! another tenant, or to another environment, is 404, and never 403, which would tell that it is there. The table is
//! compared with the OpenAPI document, which is made of the router, so that no route is forgotten.

use std::collections::{BTreeMap, BTreeSet};

use portolan::stage::{Client, System, Tenant, TenantSetup};
use portolan_tests::{World, component, components};
use reqwest::Method;
use serde_json::{Value, json};

/// The least that a caller must be.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Least {
    Anyone,
    Holder,
    Viewer,
    Developer,
    Admin,
    /// An operator or a tenant's admin.
    Auditor,
    Operator,
}
use Least::{Admin, Anyone, Auditor, Developer, Holder, Operator, Viewer};

/// Method, path, who may, the noun that `{id}` is one of (or empty), the body, and the statuses that those who may get
/// for their own and for foreign ids.
type Row = (&'static str, &'static str, Least, &'static str, fn() -> Value, u16, u16);

fn none() -> Value {
    Value::Null
}
fn why() -> Value {
    json!({ "why": "the matrix" })
}
fn empty() -> Value {
    json!({})
}
fn wrong() -> Value {
    json!({ "wrong": true })
}
fn connection() -> Value {
    json!({ "settings": { "base_url": "ftp://nowhere" }, "secrets": {} })
}
fn source() -> Value {
    json!({ "settings": { "auth": "nothing" }, "secrets": [] })
}
fn registration() -> Value {
    json!({ "connection": "con_01ARZ3NDEKTSV4RRFFQ69G5FAV", "url": "https://example.com/hooks/src_1" })
}
fn rows() -> Value {
    json!({ "rows": { "key": "value" } })
}
fn mapping() -> Value {
    json!({ "module": "0".repeat(64) })
}
fn canary() -> Value {
    json!({ "module": "0".repeat(64), "per_mille": 1 })
}
fn adoption() -> Value {
    json!({ "why": "the matrix", "response": {} })
}
fn rotation() -> Value {
    json!({ "secret": "whsec_of_the_matrix", "overlap_s": 60 })
}
fn correction() -> Value {
    json!({ "why": "the matrix", "body": {} })
}
fn assignment() -> Value {
    json!({ "why": "the matrix", "to": null })
}
fn settings() -> Value {
    json!({ "why": "the matrix", "four_eyes": false })
}
fn restoration() -> Value {
    json!({ "version": 1 })
}
fn notification_rule() -> Value {
    json!({ "enabled": true, "alerts": { "severity_least": "critical" }, "to": { "webhook": { "url": "http://127.0.0.1:9/x" } } })
}
fn new_key() -> Value {
    json!({ "name": "matrix", "role": "tenant-viewer" })
}

/// Not for keys that are bound to an environment.
const WHOLE_TENANT: [&str; 7] = [
    "/api/v1/retention",
    "/api/v1/export",
    "/api/v1/tenant/pause",
    "/api/v1/tenant/resume",
    "/api/v1/modules/{digest}/pause",
    "/api/v1/modules/{digest}/resume",
    "/api/v1/signing-policy",
];

const E: &str = "/api/v1/environments/{environment}";

#[rustfmt::skip]
const ROUTES: &[Row] = &[
    // Who proves nothing learns nothing: not even whether there is such a source.
    ("POST", "/hooks/{source}", Anyone, "hook", none, 401, 401),
    ("GET", "/healthz", Anyone, "", none, 200, 0),
    ("GET", "/readyz", Anyone, "", none, 200, 0),
    ("GET", "/metrics", Anyone, "", none, 200, 0),
    ("GET", "/openapi.json", Anyone, "", none, 200, 0),
    ("GET", "/errors/{code}", Anyone, "code", none, 200, 200),
    ("GET", "/api/v1/tenants", Operator, "", none, 200, 0),
    ("POST", "/api/v1/tenants", Operator, "", wrong, 400, 0),
    ("GET", "/api/v1/overview", Holder, "", none, 200, 0),
    ("GET", "/api/v1/alerts", Operator, "", none, 200, 0),
    ("GET", "/api/v1/tenant", Viewer, "", none, 200, 0),
    ("PUT", "/api/v1/retention", Admin, "", empty, 200, 0),
    ("GET", "/api/v1/export", Admin, "", none, 200, 0),
    ("GET", "/api/v1/usage", Holder, "", none, 200, 0),
    ("GET", "/api/v1/usage/csv", Holder, "", none, 200, 0),
    ("GET", "/api/v1/usage/stored", Holder, "", none, 200, 0),
    ("GET", "/api/v1/tenants/{tenant}", Operator, "tenant", none, 200, 200),
    ("PUT", "/api/v1/tenants/{tenant}/quotas", Operator, "tenant", empty, 200, 200),
    ("PUT", "/api/v1/tenants/{tenant}/retention", Operator, "tenant", empty, 200, 200),
    ("POST", "/api/v1/tenants/{tenant}/suspend", Operator, "tenant", wrong, 400, 400),
    ("POST", "/api/v1/tenants/{tenant}/resume", Operator, "tenant", why, 409, 409),
    ("POST", "/api/v1/tenants/{tenant}/delete", Operator, "tenant", wrong, 400, 400),
    ("POST", "/api/v1/tenants/{tenant}/delete/confirm", Operator, "tenant", wrong, 400, 400),
    ("GET", "/api/v1/tenants/{tenant}/export", Operator, "tenant", none, 200, 200),
    ("GET", "/api/v1/tenants/{tenant}/keys", Operator, "tenant", none, 200, 200),
    ("POST", "/api/v1/tenants/{tenant}/keys", Operator, "tenant", new_key, 201, 201),
    ("DELETE", "/api/v1/tenants/{tenant}/keys/{id}", Operator, "key", none, 404, 404),
    ("GET", "/api/v1/keys", Admin, "", none, 200, 0),
    ("POST", "/api/v1/keys", Admin, "", wrong, 400, 0),
    ("DELETE", "/api/v1/keys/{id}", Admin, "key", none, 404, 404),
    ("POST", "/api/v1/key/rotate", Holder, "", wrong, 400, 0),
    ("GET", "/api/v1/audit", Auditor, "", none, 200, 0),
    ("GET", "/api/v1/audit/verify", Auditor, "", none, 200, 0),
    ("POST", "/api/v1/backup", Operator, "", none, 200, 0),
    ("GET", "/api/v1/reconciliations", Operator, "", none, 200, 0),
    ("POST", "/api/v1/vault/rotate", Operator, "", none, 200, 0),
    ("GET", "/api/v1/connectors", Viewer, "", none, 200, 0),
    ("GET", "/api/v1/modules", Viewer, "", none, 200, 0),
    ("POST", "/api/v1/modules", Developer, "", wrong, 422, 0),
    ("GET", "/api/v1/modules/{digest}", Viewer, "module", none, 200, 404),
    ("GET", "/api/v1/modules/{digest}/sheet", Viewer, "module", none, 200, 404),
    ("POST", "/api/v1/modules/{digest}/pause", Admin, "module", why, 204, 404),
    ("POST", "/api/v1/modules/{digest}/resume", Admin, "module", why, 204, 404),
    ("GET", "/api/v1/signing-policy", Viewer, "", none, 200, 0),
    ("PUT", "/api/v1/signing-policy", Admin, "", wrong, 400, 0),
    ("POST", "/api/v1/tenant/pause", Admin, "", why, 204, 0),
    ("POST", "/api/v1/tenant/resume", Admin, "", why, 204, 0),
    ("POST", "E/runs/remap", Admin, "", why, 200, 0),
    ("POST", "E/runs/{id}/remap", Admin, "run", why, 409, 404),
    ("GET", "E/connections", Viewer, "", none, 200, 0),
    ("POST", "E/connections", Admin, "", wrong, 400, 0),
    ("GET", "E/connections/{id}", Viewer, "connection", none, 200, 404),
    ("PUT", "E/connections/{id}", Admin, "connection", connection, 422, 404),
    ("POST", "E/connections/{id}/test", Admin, "connection", none, 200, 404),
    ("POST", "E/connections/{id}/pause", Admin, "connection", why, 204, 404),
    ("POST", "E/connections/{id}/resume", Admin, "connection", why, 204, 404),
    ("POST", "E/connections/{id}/reset", Admin, "connection", none, 204, 404),
    ("GET", "E/sources", Viewer, "", none, 200, 0),
    ("POST", "E/sources", Admin, "", wrong, 400, 0),
    ("GET", "E/sources/{id}", Viewer, "source", none, 200, 404),
    ("PUT", "E/sources/{id}", Admin, "source", source, 422, 404),
    ("POST", "E/sources/{id}/register", Admin, "source", registration, 422, 404),
    ("POST", "E/sources/{id}/rotate", Admin, "source", rotation, 200, 404),
    ("GET", "E/lookup-tables", Viewer, "", none, 200, 0),
    // Tables are names, not ids: another tenant's name is simply one that is empty here.
    ("GET", "E/lookup-tables/{table}/rows", Viewer, "table", none, 200, 200),
    ("PUT", "E/lookup-tables/{table}/rows", Developer, "table", rows, 204, 204),
    ("GET", "E/lookup-tables/{table}/rows/{key}", Viewer, "row", none, 200, 404),
    ("DELETE", "E/lookup-tables/{table}/rows/{key}", Developer, "row", none, 204, 204),
    ("GET", "E/lookup-tables/{table}/keys?value=value", Viewer, "table", none, 200, 200),
    ("GET", "E/lookup-tables/{table}/csv", Viewer, "table", none, 200, 200),
    ("PUT", "E/lookup-tables/{table}/csv", Developer, "table", wrong, 422, 422),
    ("GET", "E/lookup-tables/{table}/versions", Viewer, "table", none, 200, 200),
    ("GET", "E/lookup-tables/{table}/versions/{version}", Viewer, "table", none, 200, 404),
    ("POST", "E/lookup-tables/{table}/restore", Developer, "table", restoration, 200, 404),
    ("GET", "E/mappings", Viewer, "", none, 200, 0),
    ("POST", "E/mappings", Developer, "", wrong, 400, 0),
    ("GET", "E/mappings/{id}", Viewer, "mapping", none, 200, 404),
    ("PATCH", "E/mappings/{id}", Developer, "mapping", mapping, 422, 404),
    ("POST", "E/mappings/{id}/pin", Developer, "mapping", mapping, 422, 404),
    ("GET", "E/mappings/{id}/pins", Viewer, "mapping", none, 200, 404),
    ("POST", "E/mappings/{id}/rollback", Developer, "mapping", why, 409, 404),
    ("PUT", "E/mappings/{id}/shadow", Developer, "mapping", mapping, 422, 404),
    ("DELETE", "E/mappings/{id}/shadow", Developer, "mapping", none, 200, 404),
    ("PUT", "E/mappings/{id}/canary", Developer, "mapping", canary, 422, 404),
    ("DELETE", "E/mappings/{id}/canary", Developer, "mapping", none, 200, 404),
    ("POST", "E/mappings/{id}/pause", Admin, "mapping", why, 204, 404),
    ("POST", "E/mappings/{id}/resume", Admin, "mapping", why, 204, 404),
    ("GET", "E/replays", Viewer, "", none, 200, 0),
    ("POST", "E/replays", Developer, "", wrong, 400, 0),
    ("GET", "E/replays/{id}", Viewer, "replay", none, 200, 404),
    ("GET", "E/replays/{id}/items", Viewer, "replay", none, 200, 404),
    ("POST", "E/replays/{id}/cancel", Developer, "replay", none, 409, 404),
    ("GET", "E/files", Viewer, "", none, 200, 0),
    ("POST", "E/files", Admin, "", wrong, 400, 0),
    ("GET", "E/events", Viewer, "", none, 200, 0),
    ("GET", "E/events/{id}", Viewer, "event", none, 200, 404),
    ("GET", "E/events/{id}/payload", Viewer, "event", none, 200, 404),
    ("GET", "E/runs?state=dead", Viewer, "", none, 200, 0),
    ("GET", "E/runs/{id}", Viewer, "run", none, 200, 404),
    ("POST", "E/runs/{id}/redrive", Developer, "run", why, 409, 404),
    ("GET", "E/holds", Viewer, "", none, 200, 0),
    ("POST", "E/holds/{id}/approve", Admin, "run", why, 409, 404),
    ("POST", "E/holds/{id}/refuse", Admin, "run", why, 409, 404),
    ("GET", "E/deliveries", Viewer, "", none, 200, 0),
    ("GET", "E/deliveries/{id}", Viewer, "delivery", none, 200, 404),
    ("POST", "E/deliveries/{id}/redrive", Admin, "delivery", why, 409, 404),
    ("POST", "E/deliveries/{id}/adopt", Admin, "delivery", adoption, 409, 404),
    ("POST", "E/deliveries/{id}/cancel", Admin, "delivery", why, 409, 404),
    ("POST", "E/deliveries/redrive", Admin, "", why, 200, 0),
    ("POST", "E/deliveries/{id}/correct", Admin, "delivery", correction, 409, 404),
    ("POST", "E/deliveries/{id}/assign", Admin, "delivery", assignment, 409, 404),
    ("POST", "E/deliveries/{id}/resolve", Admin, "delivery", why, 409, 404),
    ("GET", "E/settings", Viewer, "", none, 200, 0),
    ("PUT", "E/settings", Admin, "", settings, 204, 0),
    ("GET", "E/proposals", Viewer, "", none, 200, 0),
    ("GET", "E/references?system=sage-pro&id=1", Viewer, "", none, 200, 0),
    ("GET", "E/reconciliation", Viewer, "", none, 404, 0),
    ("POST", "E/reconciliation/end", Admin, "", why, 409, 0),
    ("GET", "E/alerts", Viewer, "", none, 200, 0),
    ("GET", "E/alerts/{id}", Viewer, "alert", none, 200, 404),
    ("POST", "E/alerts/{id}/acknowledge", Admin, "alert", why, 204, 404),
    ("POST", "E/alerts/{id}/resolve", Admin, "resolved", why, 204, 404),
    ("GET", "E/notification-rules", Viewer, "", none, 200, 0),
    ("POST", "E/notification-rules", Admin, "", wrong, 400, 0),
    ("GET", "E/notification-rules/{id}", Viewer, "rule", none, 200, 404),
    ("PUT", "E/notification-rules/{id}", Admin, "rule", notification_rule, 200, 404),
    ("POST", "E/notification-rules/{id}/test", Admin, "rule", none, 200, 404),
    ("DELETE", "E/notification-rules/{id}", Admin, "gone", none, 404, 404),
    ("GET", "E/notices", Viewer, "", none, 200, 0),
    ("GET", "E/story?document=nobody-knows-it", Viewer, "", none, 404, 0),
];

/// What the router has, as the OpenAPI document tells it.
fn of_the_router() -> BTreeSet<(String, String)> {
    let document: Value = serde_json::from_str(include_str!("../../docs/openapi.json")).unwrap();
    let paths = document["paths"].as_object().unwrap();
    paths
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().unwrap().keys().map(move |method| (method.to_uppercase(), path.clone()))
        })
        .collect()
}

fn path_of(row: &Row) -> String {
    row.1.replacen("E/", &format!("{E}/"), 1)
}

#[test]
fn the_table_has_every_route_of_the_router_and_no_other() {
    let known: BTreeSet<_> = ROUTES
        .iter()
        .map(|row| (row.0.to_owned(), path_of(row).split('?').next().unwrap().to_owned()))
        .collect();
    let router = of_the_router();
    assert!(router.len() > 50, "the router is not read as it is written: {router:?}");
    let missing: Vec<_> = router.difference(&known).collect();
    assert!(missing.is_empty(), "add these routes to the matrix: {missing:?}");
    let gone: Vec<_> = known.difference(&router).collect();
    assert!(gone.is_empty(), "these are no routes any more: {gone:?}");
}

/// What each noun's own id is, of one tenant.
async fn ids_of(world: &World, tenant: &Tenant, label: &str) -> BTreeMap<&'static str, String> {
    let told = portolan_simulators::story::demo_story(label, 11).remove(0);
    world.stripe.seed(&told.objects).await.unwrap();
    let event = portolan_tests::accept(tenant, told.event.as_bytes()).await;
    let story = portolan_tests::end_of(tenant, &event).await;
    let (status, _) = tenant
        .client
        .exchange(
            Method::POST,
            &tenant.hook,
            Some(("application/json", b"{}".to_vec())),
            &[("stripe-signature", "t=1,v1=00".to_owned())],
        )
        .await
        .unwrap();
    assert_eq!(status, 400);
    // Another alert: one is acknowledged, one resolved.
    let empty = Some(("application/json", b"{}".to_vec()));
    let other = [("stripe-signature", "nothing that reads".to_owned())];
    tenant.client.exchange(Method::POST, &tenant.hook, empty, &other).await.unwrap();
    let alerts = tenant.get("/alerts").await.unwrap();
    let path = "/api/v1/environments/sandbox/lookup-tables/of-TENANT/rows".replace("TENANT", label);
    tenant.client.put(&path, &json!({ "rows": { "key": "value" } })).await.unwrap();
    let mut new_rule = notification_rule();
    new_rule["name"] = json!("matrix");
    let rule = tenant.post("/notification-rules", &new_rule).await.unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let replay = tenant.post("/replays", &json!({ "mapping": tenant.mapping, "events": 1 })).await.unwrap();
    let replay = text(&replay["id"]);
    portolan_tests::until("the replay", async || {
        let told = tenant.get(&format!("/replays/{replay}")).await.unwrap();
        (told["state"] == "done").then_some(())
    })
    .await;
    BTreeMap::from([
        ("replay", replay),
        ("hook", tenant.hook.replace("/hooks/", "")),
        ("source", tenant.hook.replace("/hooks/", "")),
        ("tenant", tenant.id.clone()),
        ("key", "key_01ARZ3NDEKTSV4RRFFQ69G5FAV".to_owned()),
        ("module", tenant.module.clone()),
        ("connection", text(&tenant.connections["erp"])),
        ("mapping", tenant.mapping.clone()),
        ("event", event),
        ("run", text(&story["runs"][0]["id"])),
        ("delivery", text(&story["runs"][0]["deliveries"][0]["id"])),
        ("alert", text(&alerts["items"][0]["id"])),
        ("resolved", text(&alerts["items"][1]["id"])),
        ("rule", text(&rule["id"])),
        ("gone", "ntf_01ARZ3NDEKTSV4RRFFQ69G5FAV".to_owned()),
        ("code", "not-found".to_owned()),
        ("table", format!("of-{label}")),
        ("row", format!("of-{label}")),
    ])
}

/// Somebody who asks.
struct Caller {
    name: &'static str,
    client: Client,
    /// What they are; none when their key is none.
    is: Option<Least>,
    /// A key that is bound to another environment.
    elsewhere: bool,
}

fn may(is: Least, least: Least) -> bool {
    match least {
        Anyone | Holder => true,
        Viewer | Developer | Admin => is != Operator && is >= least,
        Auditor => is == Admin || is == Operator,
        Operator => is == Operator,
    }
}

/// The status that a caller must get.
fn wanted(caller: &Caller, row: &Row, kind: &str) -> u16 {
    let (_, path, least, noun, _, own, foreign) = *row;
    let in_environment = path.starts_with("E/");
    match (caller.is, kind) {
        (_, "nonsense") if noun == "code" => 404,
        _ if least == Anyone => own,
        (None, _) => 401,
        (Some(is), _) if !may(is, least) => 403,
        // They concern the tenant as a whole.
        _ if caller.name.starts_with("admin of ")
            && WHOLE_TENANT.contains(&path)
            && !(row.0 == "GET" && path.ends_with("policy")) =>
        {
            403
        }
        _ if caller.elsewhere && in_environment => 404,
        (_, "nonsense") => 404,
        (_, "own") => own,
        // Of the same tenant, but in another environment: as if it were another's.
        (_, "elsewhere") if noun.is_empty() => own,
        (_, _) => foreign,
    }
}

async fn set_up_other(world: &World) -> Tenant {
    let mut setup = TenantSetup::standard(&world.erp, &world.stripe, &components()).unwrap();
    setup.name = "other".to_owned();
    let mut other = Tenant::set_up(&world.host.operator, &setup).await.unwrap();
    // One that only the other has.
    let module = Tenant::upload(&other.client, component("epicor-to-stripe")).await.unwrap();
    other.module = module["digest"].as_str().unwrap().to_owned();
    other
}

async fn callers(world: &World) -> Vec<Caller> {
    let keys = format!("/api/v1/tenants/{}/keys", world.tenant.id);
    let mut callers = vec![
        Caller {
            name: "operator",
            client: world.host.operator.clone(),
            is: Some(Operator),
            elsewhere: false,
        },
        Caller { name: "nobody", client: world.host.operator.with_key("ptk_00"), is: None, elsewhere: false },
    ];
    let wanted = [
        ("admin", "tenant-admin", Admin, None),
        ("developer", "tenant-developer", Developer, None),
        ("viewer", "tenant-viewer", Viewer, None),
        ("admin of sandbox", "tenant-admin", Admin, Some("sandbox")),
        ("admin of production", "tenant-admin", Admin, Some("production")),
    ];
    for (name, role, is, environment) in wanted {
        let body = json!({ "name": name, "role": role, "environment": environment, "expires_in_s": 3_600 });
        let made = world.host.operator.post(&keys, &body).await.unwrap();
        let client = world.host.operator.with_key(made["secret"].as_str().unwrap());
        callers.push(Caller { name, client, is: Some(is), elsewhere: environment == Some("production") });
    }
    callers
}

#[tokio::test]
async fn everybody_gets_exactly_the_status_that_is_due() {
    let world = World::of(System::SagePro).await;
    let other = set_up_other(&world).await;
    let own = ids_of(&world, &world.tenant, "mine").await;
    let theirs = ids_of(&world, &other, "theirs").await;
    let nonsense: BTreeMap<&str, String> = own.keys().map(|noun| (*noun, "nonsense".to_owned())).collect();
    let (mut cells, mut wrong) = (0, Vec::new());
    for caller in callers(&world).await {
        for row in ROUTES {
            let kinds = [
                ("own", &own, "sandbox"),
                ("foreign", &theirs, "sandbox"),
                ("elsewhere", &own, "production"),
                ("nonsense", &nonsense, "sandbox"),
            ];
            for (kind, ids, environment) in kinds {
                let (method, _, _, noun, body, ..) = *row;
                let named = !noun.is_empty();
                let names = matches!(noun, "table" | "row");
                // Without an id there is nothing foreign about it; names are nobody's; and outside of environments
                // there is no elsewhere.
                if (kind != "own" && !named)
                    || (names && kind != "own" && kind != "foreign")
                    || (kind == "elsewhere" && !row.1.starts_with("E/"))
                    || (kind == "nonsense" && noun == "tenant")
                    // It would make a table of that name.
                    || (names && kind == "foreign" && method == "PUT")
                {
                    continue;
                }
                let id = ids.get(noun).cloned().unwrap_or_default();
                let mut path = path_of(row).replace("{environment}", environment);
                path = path.replace("{tenant}", if noun == "tenant" { &id } else { &world.tenant.id });
                path = path
                    .replace("{table}", &id)
                    .replace("{key}", "key")
                    .replace("{code}", &id)
                    .replace("{version}", "1");
                path = path.replace("{id}", &id).replace("{digest}", &id).replace("{source}", &id);
                let body = body();
                let sent = (!body.is_null()).then(|| ("application/json", body.to_string().into_bytes()));
                let method: Method = method.parse().unwrap();
                let (status, answer) =
                    caller.client.exchange(method.clone(), &path, sent, &[]).await.unwrap();
                cells += 1;
                let due = wanted(&caller, row, kind);
                // What was deleted by one caller is gone for the next: rows are put back.
                if noun == "row" && method == Method::DELETE && status == 204 {
                    for (tenant, ids) in [(&world.tenant, &own), (&other, &theirs)] {
                        let path =
                            format!("/api/v1/environments/sandbox/lookup-tables/{}/rows", ids["table"]);
                        tenant.client.put(&path, &rows()).await.unwrap();
                    }
                }
                if status.as_u16() != due {
                    wrong.push(format!(
                        "{} {method} {path} ({kind}): {status}, not {due}: {answer}",
                        caller.name
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {cells} cells are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(cells > 800, "{cells} cells");
}
