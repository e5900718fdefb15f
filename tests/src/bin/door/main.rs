//! `cargo xtask door`: forged requests by the hundred thousand, and thousands of slow connections beside a webhook that
//! must not wait for them.

#![allow(clippy::print_stdout, reason = "a command's figures go to stdout")]
#![allow(clippy::float_arithmetic, clippy::cast_precision_loss, reason = "figures for people, not money")]

use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Parser;
use portolan::stage::{Host, StandIn, System, Tenant, TenantSetup};
use portolan_tests::{components, forgeries::forgeries, portolan};
use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinSet, time::Instant};

/// Holds forged requests and slow senders against the host.
#[derive(Parser)]
struct Arguments {
    /// Forged requests, each one change of a genuine one.
    #[arg(long, default_value_t = 100_000)]
    forgeries: usize,
    /// Connections that send half a head, or a body one byte a second.
    #[arg(long, default_value_t = 2_000)]
    slow: usize,
    /// Webhooks that are measured, without and with the slow ones.
    #[arg(long, default_value_t = 500)]
    webhooks: usize,
    /// Replays the same forgeries.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let tally = forgeries(arguments.forgeries, arguments.seed);
    println!(
        "forgeries   {} made, {} believed (seed {}); {} changes left a request genuine, {} of these were refused",
        tally.forged,
        tally.believed.len(),
        arguments.seed,
        tally.genuine,
        tally.genuine_refused
    );
    for believed in tally.believed.iter().take(10) {
        println!("            {believed}");
    }
    if arguments.slow > 0 {
        slow(&arguments).await?;
    }
    ensure!(tally.believed.is_empty(), "a forgery was believed");
    Ok(())
}

async fn slow(arguments: &Arguments) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let stripe = StandIn::start(portolan(), folder.path(), System::Stripe, None).await?;
    let erp = StandIn::start(portolan(), folder.path(), System::SagePro, None).await?;
    // The attack comes from one address, as the victim does here: the bound by address is not what is measured.
    let settings =
        [("PORTOLAN_SERVER__CONNECTIONS_PER_ADDRESS_MAX", "0"), ("PORTOLAN_SERVER__CONNECTIONS_MAX", "8192")];
    let host = Host::start(portolan(), &folder.path().join("host"), "127.0.0.1:0", &settings).await?;
    let tenant =
        Tenant::set_up(&host.operator, &TenantSetup::standard(&erp, &stripe, &components())?).await?;
    let before = p99(&tenant, "before", arguments.webhooks).await?;
    let address = host.operator.base().trim_start_matches("http://").to_owned();
    let mut attack = JoinSet::new();
    for n in 0..arguments.slow {
        let address = address.clone();
        attack.spawn(async move {
            loop {
                let head = if n % 2 == 0 {
                    "POST /hooks/src_1 HTTP/1.1\r\nHost: h\r\nX: "
                } else {
                    "POST /hooks/src_1 HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n"
                };
                if let Ok(mut socket) = TcpStream::connect(&address).await
                    && socket.write_all(head.as_bytes()).await.is_ok()
                {
                    while socket.write_all(b"x").await.is_ok() {
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let during = p99(&tenant, "during", arguments.webhooks).await?;
    attack.shutdown().await;
    let ratio = during.as_secs_f64() / before.as_secs_f64();
    println!(
        "slow        {} connections; webhook p99 {before:.2?} without, {during:.2?} with: {ratio:.2} times",
        arguments.slow
    );
    Ok(())
}

async fn p99(tenant: &Tenant, label: &str, count: usize) -> anyhow::Result<Duration> {
    let mut times = Vec::with_capacity(count);
    for n in 0..count {
        let body = format!(
            "{{\"id\":\"evt_{label}_{n}\",\"object\":\"event\",\"type\":\"plan.created\",\"livemode\":false}}"
        );
        let began = Instant::now();
        let (status, answer) = tenant.webhook(body.as_bytes()).await?;
        times.push(began.elapsed());
        ensure!(status == 200, "{answer}");
    }
    times.sort();
    times.get(times.len() * 99 / 100).copied().context("no webhook was measured")
}
