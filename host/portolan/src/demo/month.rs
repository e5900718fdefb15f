//! The month: four weeks of a shop's business at Stripe, for each ERP. Webhooks come out of order, some twice, some
//! never (the sweep finds those). When all is quiet, two parties that know nothing of each other say what should be
//! in the books: Stripe's stand-in from its objects, the ERP's from its ledger. Every difference is a finding.

mod erp;
mod reconcile;

use std::{path::Path, time::Duration};

use anyhow::Context;
use portolan::stage::{Client, Host, SIGNING_SECRET, StandIn, System, Tenant, TenantSetup};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use self::reconcile::{Reconciliation, reconcile};
use super::{DemoArgs, Output, print};

/// How long nothing may happen until the month counts as over, when something still waits.
const QUIET_FOR: Duration = Duration::from_secs(45);
/// How long a month may take.
const END_WITHIN: Duration = Duration::from_secs(3_600);

/// One ERP with its own Stripe account and tenant.
pub(super) struct Shop {
    pub(super) stripe: StandIn,
    pub(super) erp: StandIn,
    pub(super) tenant: Tenant,
    seed: u64,
}

/// Plays the month for every ERP at once. True when nothing was found.
pub(super) async fn month(args: &DemoArgs, folder: &Path) -> anyhow::Result<bool> {
    print::progress("Starting a host, and for each ERP its stand-in and a Stripe account of its own …");
    let program = std::env::current_exe()?;
    // A month passes in minutes, so what has to wait for its charges must not wait for minutes.
    let settings = [("PORTOLAN_LOG__FILTER", "warn"), ("PORTOLAN_PIPELINE__RUN_RETRY_CAP_MS", "2000")];
    let host = Host::start(&program, &folder.join("host"), &args.listen, &settings).await?;
    let mut shops = Vec::new();
    for (nth, system) in (0..).zip([System::SapEcc, System::Epicor, System::SagePro]) {
        let place = folder.join(system.name());
        shops.push(open(&host, (&program, &place), system, args, nth).await?);
    }
    print::progress("The month begins: webhooks out of order, some twice, some never …");
    let began = Instant::now();
    for shop in &shops {
        send(&host, shop, args).await?;
    }
    wait(&host, &shops).await?;
    let took = began.elapsed();
    let mut all = Vec::new();
    for shop in &shops {
        all.push(reconcile(shop).await?);
    }
    show(args.output, &all, took);
    if !args.exit {
        invite(&host, &shops);
        tokio::signal::ctrl_c().await?;
    }
    host.end().await.context("ending the host")?;
    Ok(all.iter().all(Reconciliation::is_good))
}

async fn open(
    host: &Host,
    (program, place): (&Path, &Path),
    system: System,
    args: &DemoArgs,
    nth: u64,
) -> anyhow::Result<Shop> {
    std::fs::create_dir_all(place)?;
    let stripe = StandIn::start(program, place, System::Stripe, None).await?;
    let erp = StandIn::start(program, place, system, None).await?;
    let seed = args.seed.wrapping_add(nth);
    Client::new(stripe.url(), None)?
        .post("/_simulator/month", &json!({ "seed": seed, "charges": args.charges }))
        .await?;
    let mut setup = TenantSetup::standard(&erp, &stripe, &args.components)?;
    // A month is played in minutes, and the pauses are short: a charge that only the sweep finds may be a hundred of
    // them late.
    setup.settings["flow"]["payout"] = json!({ "patience": 10_000 });
    let tenant = Tenant::set_up(&host.operator, &setup).await?;
    // Besides webhooks, the source asks for what never came.
    let poll =
        json!({ "connection": tenant.connections["stripe"], "operation": "events.changed", "every_s": 30 });
    let source = tenant.hook.replace("/hooks/", "/api/v1/environments/sandbox/sources/");
    tenant.client.put(&source, &json!({ "settings": { "poll": poll }, "secrets": [SIGNING_SECRET] })).await?;
    Ok(Shop { stripe, erp, tenant, seed })
}

async fn send(host: &Host, shop: &Shop, args: &DemoArgs) -> anyhow::Result<()> {
    let month = json!({
        "seed": shop.seed, "charges": args.charges, "send": true,
        "url": format!("{}{}", host.operator.base(), shop.tenant.hook), "secret": SIGNING_SECRET,
        "drop_per_mille": 10, "duplicate_per_mille": 20, "window": 150, "concurrency": 4,
    });
    Client::new(shop.stripe.url(), None)?.post("/_simulator/month", &month).await?;
    Ok(())
}

/// Waits until everything has come to an end, or nothing moves any more.
async fn wait(host: &Host, shops: &[Shop]) -> anyhow::Result<()> {
    let deadline = Instant::now() + END_WITHIN;
    let (mut last, mut since) = (0, Instant::now());
    loop {
        let mut sent = true;
        for shop in shops {
            let report = Client::new(shop.stripe.url(), None)?.get("/_simulator/month").await?;
            sent &= report["done"] == true;
        }
        let metrics = Metrics::read(host).await?;
        if metrics.moved != last {
            (last, since) = (metrics.moved, Instant::now());
        }
        // A sweep has had its turn after the last webhook.
        let quiet = since.elapsed();
        if sent && (quiet > QUIET_FOR || (metrics.under_way == 0 && quiet > Duration::from_secs(35))) {
            return Ok(());
        }
        anyhow::ensure!(Instant::now() < deadline, "the month has not come to an end");
        sleep(Duration::from_secs(1)).await;
    }
}

struct Metrics {
    /// How much has happened.
    moved: u64,
    /// Runs and deliveries that somebody works on, or soon will.
    under_way: u64,
}

impl Metrics {
    async fn read(host: &Host) -> anyhow::Result<Self> {
        let url = format!("{}/metrics", host.operator.base());
        let text = reqwest::get(url).await?.text().await?;
        let sum = |wanted: &dyn Fn(&str) -> bool| {
            let lines = text.lines().filter(|line| wanted(line));
            let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts of rows")]
            let sum = values.sum::<f64>() as u64;
            sum
        };
        let counts =
            ["portolan_events_accepted_total", "portolan_runs_finished_total", "portolan_attempts_total"];
        let open = ["pending", "leased", "planned", "waiting"].map(|state| format!("state=\"{state}\""));
        Ok(Self {
            moved: sum(&|line| counts.iter().any(|name| line.starts_with(name))),
            under_way: sum(&|line| {
                (line.starts_with("portolan_runs{") || line.starts_with("portolan_deliveries{"))
                    && open.iter().any(|state| line.contains(state))
            }),
        })
    }
}

fn show(output: Output, all: &[Reconciliation], took: Duration) {
    match output {
        Output::Json => {
            let good = all.iter().all(Reconciliation::is_good);
            let shops: Vec<Value> = all.iter().map(Reconciliation::to_json).collect();
            println!("{}", json!({ "seconds": took.as_secs(), "shops": shops, "ok": good }));
        }
        Output::Text => {
            for reconciliation in all {
                println!("{reconciliation}");
            }
            let good = all.iter().filter(|shop| shop.is_good()).count();
            println!("{good} of {} books agree to the unit, after {} seconds.", all.len(), took.as_secs());
        }
    }
}

fn invite(host: &Host, shops: &[Shop]) {
    print::progress(&format!("\nThe host is at {}.", host.operator.base()));
    for shop in shops {
        let key = shop.tenant.client.key().unwrap_or_default();
        print::progress(&format!(
            "  {}: key {key}, books {}/_simulator/month/books, ledger {}/_simulator/ledger",
            shop.tenant.name,
            shop.stripe.url(),
            shop.erp.url()
        ));
    }
    print::progress("Ctrl-C ends it.");
}
