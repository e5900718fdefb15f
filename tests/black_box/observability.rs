//! What an operator sees: traces, the canonical lines of the log, metrics, and the whole story of a document.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    trace::v1::{Span, status::StatusCode},
};
use portolan::stage::{SIGNING_SECRET, System, signed_headers};
use portolan_tests::{World, portolan, until};
use prost::Message;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc};

use crate::notifications::{Heard, receiver};

const GIVEN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// The spans that a collector has got.
struct Collected {
    heard: Mutex<(mpsc::UnboundedReceiver<Heard>, Vec<Span>)>,
}

impl Collected {
    /// Those of a trace that are there by now.
    async fn of(&self, trace: &str) -> Vec<Span> {
        let mut heard = self.heard.lock().await;
        while let Ok(request) = heard.0.try_recv() {
            assert!(request.head.starts_with("POST /v1/traces "), "{}", request.head);
            let told = ExportTraceServiceRequest::decode(request.body.as_slice()).unwrap();
            let scopes = told.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
            heard.1.extend(scopes.flat_map(|scope| scope.spans));
        }
        heard.1.iter().filter(|span| hex(&span.trace_id) == trace).cloned().collect()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attribute(span: &Span, key: &str) -> Option<String> {
    use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
    let found = span.attributes.iter().find(|pair| pair.key == key)?;
    let value = found.value.as_ref()?.value.as_ref()?;
    if let Any::StringValue(text) = value {
        return Some(text.clone());
    }
    if let Any::IntValue(number) = value {
        return Some(number.to_string());
    }
    let Any::BoolValue(flag) = value else {
        return Some(format!("{value:?} is none of the kinds that are sent"));
    };
    Some(flag.to_string())
}

/// Sends an event that belongs to somebody's trace.
async fn accept_traced(world: &World, body: &[u8]) -> String {
    let mut headers = signed_headers(SIGNING_SECRET, body);
    headers.push(("traceparent", GIVEN.to_owned()));
    let sent = Some(("application/json", body.to_vec()));
    let (status, answer) =
        world.tenant.client.exchange(Method::POST, &world.tenant.hook, sent, &headers).await.unwrap();
    assert_eq!(status, 200, "{answer}");
    answer["event"].as_str().unwrap().to_owned()
}

/// The lines of the host's log that tell of this, by what they tell.
fn lines(world: &World, event: &str, what: &str) -> Vec<Value> {
    let log = std::fs::read_to_string(world.host.log().unwrap()).unwrap();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["event.id"] == event && line["message"] == what).collect()
}

#[tokio::test]
async fn one_event_is_one_trace_from_the_webhook_to_the_erp_over_a_restart() {
    let (url, heard) = receiver(&["200 OK"]).await;
    let settings = [("PORTOLAN_TRACES__OTLP_URL", url.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "50")];
    let mut world = World::with(System::SagePro, None, &settings).await;
    let collected = Collected { heard: Mutex::new((heard, Vec::new())) };
    let told = world.story("told").await.remove(0);
    world.erp.kill().await.unwrap();
    let event = accept_traced(&world, told.event.as_bytes()).await;
    until("an attempt in vain", async || {
        let spans = collected.of(TRACE).await;
        spans.iter().any(|span| span.name == "attempt").then_some(())
    })
    .await;
    world.host.kill().await.unwrap();
    world.erp.start_again().await.unwrap();
    world.host.start_again().await.unwrap();
    let story = world.end_of(&event).await;
    assert_eq!(story["standing"], "delivered");
    let deliveries = story["runs"][0]["deliveries"].as_array().unwrap().len();
    let spans = until("the attempts that delivered", async || {
        let spans = collected.of(TRACE).await;
        let made = |span: &&Span| attribute(span, "portolan.attempt.verdict").as_deref() == Some("delivered");
        (spans.iter().filter(made).count() == deliveries).then_some(spans)
    })
    .await;

    let named = |name: &str| -> Vec<&Span> { spans.iter().filter(|span| span.name == name).collect() };
    let (intake, runs, attempts) = (named("intake"), named("run"), named("attempt"));
    assert_eq!((intake.len(), runs.len()), (1, 1), "{:?}", spans.iter().map(|s| &s.name).collect::<Vec<_>>());
    assert!(attempts.len() >= 2);
    assert_eq!(hex(&intake[0].parent_span_id), "b7ad6b7169203331");
    for span in runs.iter().chain(&attempts) {
        assert_eq!(span.parent_span_id, intake[0].span_id, "{}", span.name);
        assert_eq!(attribute(span, "portolan.event.id").as_deref(), Some(event.as_str()));
    }
    let failed = attempts.iter().find(|span| attribute(span, "error.type").is_some()).unwrap();
    assert_eq!(failed.status.as_ref().unwrap().code(), StatusCode::Error);
    assert_eq!(attribute(runs[0], "portolan.module.digest").unwrap(), world.tenant.module);

    // The ERP and Stripe (which is asked for facts and told of the document) saw it, too, each below the span that asked.
    let ids = |spans: &[&Span]| -> BTreeSet<String> { spans.iter().map(|span| hex(&span.span_id)).collect() };
    for (stand_in, callers) in
        [(&world.erp, ids(&attempts)), (&world.stripe, ids(&[&runs[..], &attempts[..]].concat()))]
    {
        let seen = stand_in.traces().await.unwrap();
        let ours: Vec<_> = seen.iter().filter(|seen| &seen[3..35] == TRACE).collect();
        assert!(!ours.is_empty(), "{seen:?}");
        assert_eq!(ours.len(), seen.len(), "{seen:?}");
        assert!(ours.iter().all(|seen| callers.contains(&seen[36..52])), "{ours:?} of {callers:?}");
    }

    // No text of the payload, and nothing of the tenant's choice that has no bound.
    let charge = told.charge_id.as_str();
    for span in &spans {
        for pair in &span.attributes {
            let value = attribute(span, &pair.key).unwrap();
            assert!(!value.contains(charge) && value.len() <= 64, "{} = {value}", pair.key);
        }
    }
    the_log_tells_of_each_step(&world, &event);
}

fn the_log_tells_of_each_step(world: &World, event: &str) {
    let everywhere = ["event.id", "tenant.id", "environment", "trace.id"];
    for (what, fields) in [
        ("event", &["event.kind", "event.state", "event.bytes", "event.runs", "source.id", "object.id"][..]),
        (
            "run",
            &[
                "run.id",
                "attempt.number",
                "run.end",
                "run.deliveries",
                "mapping.id",
                "module.digest",
                "fuel",
                "facts",
                "cost",
                "duration_us",
            ],
        ),
        (
            "attempt",
            &[
                "run.id",
                "delivery.id",
                "delivery.key",
                "attempt.number",
                "attempt.verdict",
                "attempt.in_doubt",
                "operation",
                "connector",
                "connection.id",
                "duration_us",
            ],
        ),
    ] {
        let lines = lines(world, event, what);
        assert!(!lines.is_empty(), "no line {what:?}");
        for line in &lines {
            for field in everywhere.iter().chain(fields) {
                assert!(!line[*field].is_null(), "{what}: no {field} in {line}");
            }
            assert_eq!(line["trace.id"], TRACE);
        }
    }
    let vain = lines(world, event, "attempt").into_iter().find(|line| line["attempt.verdict"] != "delivered");
    assert!(vain.unwrap()["problem.code"].is_string());
    // The page has every field that the lines have.
    let page = include_str!("../../docs/observability.md");
    for what in ["event", "run", "attempt"] {
        for line in lines(world, event, what) {
            for field in line.as_object().unwrap().keys() {
                assert!(
                    page.contains(&format!("`{field}`")),
                    "docs/observability.md does not know {what}'s {field}"
                );
            }
        }
    }
}

#[tokio::test]
async fn from_an_erps_number_to_the_whole_story_and_back() {
    let world = World::of(System::SagePro).await;
    let told = world.story("told").await.remove(0);
    let event = world.accept(&told).await;
    assert_eq!(world.end_of(&event).await["standing"], "delivered");
    let number = world.erp.ledger("invoice").await.unwrap()[0].number.clone();
    let of = async |query: &str| world.tenant.get(&format!("/story?{query}")).await;

    let page = of(&format!("document={number}&system=sage-pro")).await.unwrap();
    assert_eq!(page["trails"][0]["by"], json!("reference"), "{page}");
    let story = &page["events"][0];
    assert_eq!((&story["id"], &story["standing"]), (&json!(event), &json!("delivered")));
    assert_eq!(story["payload"], json!(told.event));
    let run = &story["runs"][0];
    assert_eq!(
        (&run["module"], &run["module_name"]),
        (&json!(world.tenant.module), &json!("stripe-to-sage-pro"))
    );
    assert!(run["facts"].as_array().is_some_and(|facts| !facts.is_empty()), "what it was told");
    assert_eq!(run["deliveries"][0]["attempts"][0]["verdict"], json!("delivered"));
    assert!(run["deliveries"][0]["response"].to_string().contains(&number));
    assert_eq!((&story["alerts"], &run["decisions"]), (&json!([]), &json!([])));

    let same = of(&format!("event={event}")).await.unwrap();
    assert_eq!(same["events"], page["events"], "and back");
    assert_eq!(
        of(&format!("document={number}")).await.unwrap()["events"],
        page["events"],
        "in whatever system"
    );
    assert_eq!(of(&format!("document={}", told.charge_id)).await.unwrap()["events"][0]["id"], json!(event));
    for (query, status) in [
        ("document=nobody-knows-it", "404"),
        (&*format!("document={number}&system=epicor"), "404"),
        (&*format!("document={number}&event={event}"), "400"),
        ("", "400"),
    ] {
        let refused = of(query).await.unwrap_err().to_string();
        assert!(refused.contains(status), "{query}: {refused}");
    }

    // As a person reads it.
    let show = |args: &[&str]| {
        let output = std::process::Command::new(portolan())
            .args(["event", "show"])
            .args(args)
            .args(["--environment", "sandbox", "--host", world.tenant.client.base()])
            .args(["--key", world.tenant.client.key().unwrap()])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let text = show(&[&number]);
    for part in [&*event, &number, "delivered", "stripe-to-sage-pro", &world.tenant.module, "attempt 1"] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    let printed: Value = serde_json::from_str(&show(&[&event, "--output", "json"])).unwrap();
    assert_eq!(printed["events"][0]["id"], json!(event));
}

/// The rows of the page: a metric's name and its labels.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let page = include_str!("../../docs/metrics.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `portolan_"));
    let texts =
        |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    rows.map(|row| {
        let row = format!("`portolan_{row}");
        let cells: Vec<&str> = row.split(" | ").collect();
        (texts(cells[0])[0].clone(), texts(cells[2]).into_iter().collect())
    })
    .collect()
}

/// Every metric that the source names.
fn of_the_source() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../host")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                for kind in ["counter!(", "gauge!(", "histogram!("] {
                    for (at, _) in text.match_indices(kind) {
                        let name = text[at + kind.len()..].trim_start().strip_prefix('"');
                        let name = name.and_then(|name| name.split('"').next()).unwrap_or_default();
                        if name.starts_with("portolan_") {
                            found.insert(name.to_owned());
                        }
                    }
                }
            }
        }
    }
    found
}

#[tokio::test]
async fn the_page_of_metrics_says_what_a_host_shows() {
    let documented = documented();
    let names: BTreeSet<String> = documented.keys().cloned().collect();
    assert_eq!(names, of_the_source(), "docs/metrics.md on the left, the code on the right");

    let world = World::of(System::SagePro).await;
    for told in world.story("told").await.iter().take(3) {
        let event = world.accept(told).await;
        world.end_of(&event).await;
        world.accept(told).await;
    }
    world.tenant.webhook(b"no JSON").await.unwrap();
    let shown = world.host.operator.get("/metrics").await.unwrap();
    let mut seen = BTreeMap::<String, BTreeSet<String>>::new();
    let mut series = BTreeMap::<String, usize>::new();
    for line in shown.as_str().unwrap().lines().filter(|line| line.starts_with("portolan_")) {
        let (head, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = head.split_once('{').unwrap_or((head, ""));
        let parts = ["_bucket", "_sum", "_count"];
        let whole =
            parts.iter().find_map(|part| name.strip_suffix(part)).filter(|name| names.contains(*name));
        let name = whole.unwrap_or(name).to_owned();
        *series.entry(name.clone()).or_default() += 1;
        let labels = labels.trim_end_matches('}').split(',').filter_map(|pair| pair.split_once('='));
        let labels =
            labels.map(|(label, _)| label.to_owned()).filter(|label| label != "quantile" && label != "le");
        seen.entry(name).or_default().extend(labels);
    }
    assert!(seen.len() > 15, "{seen:?}");
    for (name, labels) in &seen {
        assert_eq!(Some(labels), documented.get(name), "the labels of {name}");
    }
    // No tenant, no id, no text of other people's: each is a few lines long, however much happens.
    let tenant = &world.tenant.id;
    assert!(
        !shown.as_str().unwrap().contains(tenant.as_str()) && !shown.as_str().unwrap().contains("charge.")
    );
    assert!(series.values().all(|count| *count <= 60), "{series:?}");
}
