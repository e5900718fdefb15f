//! Sends the story's webhooks and watches each event to its end.

use std::time::Duration;

use anyhow::{Context, bail};
use jiff::Timestamp;
use portolan::stage::{SIGNING_SECRET, Tenant, sign};
use portolan_simulators::story::{StoryCharge, demo_story};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{Cast, print::Printer};

/// How long an event may take to reach an end.
const END_WITHIN: Duration = Duration::from_secs(60);

/// How one request ended.
#[derive(Debug, Clone)]
pub(crate) struct End {
    /// Which ERP: index into the tenants.
    pub(crate) tenant: usize,
    /// What it is in the story.
    pub(crate) note: String,
    /// The event, when it was taken in.
    pub(crate) event: Option<String>,
    /// `delivered`, `skipped`, `held` …; `repeat`; `refused`.
    pub(crate) outcome: String,
    /// What had to come out.
    pub(crate) expected: &'static str,
    /// What was charged.
    pub(crate) charge: Charge,
    /// The documents that the ERP made for it, with their numbers.
    pub(crate) documents: Vec<(String, String)>,
    /// From receipt to the last document.
    pub(crate) ms: Option<i64>,
}

/// What was charged.
#[derive(Debug, Clone)]
pub(crate) struct Charge {
    pub(crate) id: String,
    pub(crate) amount: u64,
    pub(crate) currency: &'static str,
}

/// Plays the story for every tenant at once, then the duplicate and the forgery.
pub(crate) async fn play(
    cast: &Cast,
    tenants: &[Tenant],
    seed: u64,
    printer: &mut Printer,
) -> anyhow::Result<Vec<End>> {
    let labels = ["sap", "epicor", "sage"];
    let (ended, mut ends_told) = mpsc::channel(64);
    let mut players = JoinSet::new();
    let mut encores = Vec::new();
    for (index, (tenant, label)) in tenants.iter().zip(labels).enumerate() {
        let story = demo_story(label, seed);
        let objects: Vec<Value> = story.iter().flat_map(|told| told.objects.clone()).collect();
        cast.stripe.seed(&objects).await?;
        encores.push((index, tenant.clone(), story.first().context("an empty story")?.clone()));
        for told in story {
            let (tenant, ended) = (tenant.clone(), ended.clone());
            players.spawn(async move {
                let end = tell(index, &tenant, &told).await;
                // Nobody listens any more when another player has failed.
                drop(ended.send(end).await);
            });
        }
    }
    drop(ended);
    let mut ends = Vec::new();
    printer.open(tenants);
    while let Some(end) = ends_told.recv().await {
        let end = end?;
        printer.row(tenants, &end);
        ends.push(end);
    }
    for (index, tenant, told) in encores {
        for end in [again(index, &tenant, &told).await?, forged(index, &tenant, &told).await?] {
            printer.row(tenants, &end);
            ends.push(end);
        }
    }
    Ok(ends)
}

async fn tell(index: usize, tenant: &Tenant, told: &StoryCharge) -> anyhow::Result<End> {
    let (status, answer) = send(tenant, told).await?;
    if status != StatusCode::OK {
        bail!("the webhook was answered {status}: {answer}");
    }
    let event = answer["event"].as_str().context("no event id")?.to_owned();
    let story = watch(tenant, &event).await?;
    Ok(End {
        tenant: index,
        note: told.note.to_owned(),
        outcome: story["standing"].as_str().unwrap_or_default().to_owned(),
        expected: "delivered",
        charge: charge(told),
        documents: documents(&story),
        ms: milliseconds(&story),
        event: Some(event),
    })
}

/// Sends the webhook, as Stripe does: again, until somebody answers.
async fn send(tenant: &Tenant, told: &StoryCharge) -> anyhow::Result<(StatusCode, Value)> {
    let deadline = Instant::now() + END_WITHIN;
    loop {
        match tenant.webhook(told.event.as_bytes()).await {
            Err(_) if Instant::now() < deadline => sleep(Duration::from_millis(100)).await,
            answered => return answered,
        }
    }
}

/// The same event once more: answered with the first one's id, and nothing else happens.
async fn again(index: usize, tenant: &Tenant, told: &StoryCharge) -> anyhow::Result<End> {
    let (status, answer) = send(tenant, told).await?;
    let repeat = status == StatusCode::OK && answer["repeat"] == true;
    Ok(End {
        tenant: index,
        note: "the first one, sent again".to_owned(),
        event: answer["event"].as_str().map(str::to_owned),
        outcome: if repeat { "repeat".to_owned() } else { format!("{status}") },
        expected: "repeat",
        charge: charge(told),
        documents: Vec::new(),
        ms: None,
    })
}

/// The same event with a higher amount, signed with a secret that is not the source's.
async fn forged(index: usize, tenant: &Tenant, told: &StoryCharge) -> anyhow::Result<End> {
    let body = told.event.replace(&format!("\"amount\":{}", told.amount), "\"amount\":99999999");
    let now = Timestamp::now().as_second();
    let signature = sign(&format!("{SIGNING_SECRET}x"), u64::try_from(now)?, body.as_bytes());
    let body = Some(("application/json", body.into_bytes()));
    let headers = [("stripe-signature", signature)];
    let (status, answer) = tenant.client.exchange(Method::POST, &tenant.hook, body, &headers).await?;
    let refused = status == StatusCode::BAD_REQUEST && answer["code"] == "signature-mismatch";
    Ok(End {
        tenant: index,
        note: "a forged signature".to_owned(),
        event: None,
        outcome: if refused { "refused".to_owned() } else { format!("{status}") },
        expected: "refused",
        charge: charge(told),
        documents: Vec::new(),
        ms: None,
    })
}

fn charge(told: &StoryCharge) -> Charge {
    Charge { id: told.charge_id.clone(), amount: told.amount, currency: told.currency }
}

/// Reads the event's story until it stands still.
async fn watch(tenant: &Tenant, event: &str) -> anyhow::Result<Value> {
    let deadline = Instant::now() + END_WITHIN;
    loop {
        // No answer: somebody has killed the host, and it is coming back.
        let story = tenant.get(&format!("/events/{event}")).await;
        if let Some(story) = story.as_ref().ok().filter(|story| story["standing"] != "under-way") {
            return Ok(story.clone());
        }
        if Instant::now() > deadline {
            bail!("{event} of {} has not come to an end: {story:?}", tenant.name);
        }
        sleep(Duration::from_millis(20)).await;
    }
}

fn deliveries(story: &Value) -> impl Iterator<Item = &Value> {
    let runs = story["runs"].as_array().into_iter().flatten();
    runs.flat_map(|run| run["deliveries"].as_array().into_iter().flatten())
}

/// What each delivery brought about, by name and number.
fn documents(story: &Value) -> Vec<(String, String)> {
    const NAMED: [(&str, &str, &str); 8] = [
        ("customer.create", "customer", "/CustNum"),
        ("customer.create", "customer", "/CustNo"),
        ("sales-order.create", "order", "/SALESDOCUMENT"),
        ("sales-order.create", "order", "/OrderNum"),
        ("accounting-document.post", "FI document", "/AC_DOC_NO"),
        ("cash-group.post", "posted group", "/GroupID"),
        ("cash-receipt.create", "receipt", "/HeadNum"),
        ("invoice.create", "invoice", "/InvNo"),
    ];
    let mut documents = Vec::new();
    for delivery in deliveries(story) {
        for (operation, name, pointer) in NAMED {
            let number = delivery["response"].pointer(pointer).filter(|number| !number.is_null());
            if let Some(number) = number.filter(|_| delivery["operation"] == operation) {
                let number = number.as_str().map_or_else(|| number.to_string(), str::to_owned);
                documents.push((name.to_owned(), number));
            }
        }
    }
    documents
}

fn milliseconds(story: &Value) -> Option<i64> {
    let at = |value: &Value| value.as_str()?.parse::<Timestamp>().ok().map(Timestamp::as_millisecond);
    let received = at(&story["received_at"])?;
    let attempts =
        deliveries(story).flat_map(|delivery| delivery["attempts"].as_array().into_iter().flatten());
    attempts.filter_map(|attempt| at(&attempt["finished_at"])).max().map(|last| last - received)
}
