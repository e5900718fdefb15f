//! `cargo xtask isolation`: what a neighbour notices of a tenant that does its worst.
//!
//! A victim sends events at a steady rate, whose mapping makes one call each. Phases without and with an attack
//! alternate in one run, so that whatever else the machine does falls on both. Compared are the time until an event is
//! acknowledged, and the time from then until its call was made. Attackers send from a process of their own, at a low
//! priority: what they need of the processor is not the host's.
//!
//! Status 0 only if everything of the victim was served, and no attack makes the 99th percentile of acknowledgements more
//! than 1.3 times, and that of whole events more than 3 times, what it is without. That is asked of an optimised host, and
//! on a quiet disk.

#![allow(clippy::print_stdout, reason = "printing is what a command does")]
#![allow(clippy::print_stderr, reason = "progress is for people")]
#![allow(clippy::indexing_slicing, reason = "a JSON value answers null for what it does not have")]
#![allow(clippy::float_arithmetic, reason = "times and ratios for people; nothing here is money")]

use std::{process::ExitCode, time::Duration};

use anyhow::Context;
use clap::Parser;
use portolan::stage::Tenant;
use portolan_tests::hostile::{
    arena::Arena,
    neighbours::{Attack, Kind, attacks, calling},
};
use serde_json::{Value, json};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep, sleep_until},
};

/// Percentiles of acknowledgements may grow so much.
const ACCEPT_RATIO_MAX: f64 = 1.3;
/// Percentiles of whole events may grow so much.
const WHOLE_RATIO_MAX: f64 = 3.0;

/// Attacks a host in every way that a tenant can, and measures what its neighbour notices.
#[derive(Parser)]
#[command(name = "isolation")]
struct Options {
    /// Seconds of each phase.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Times that every attack is made.
    #[arg(long, default_value_t = 2)]
    rounds: usize,
    /// Events of the victim in a second.
    #[arg(long, default_value_t = 20)]
    rate: u64,
    /// Events of the flood.
    #[arg(long, default_value_t = 50_000)]
    flood: u64,
    /// Only these attacks: `spin,flood`.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Judge by what is served and not by when: for a host whose times say nothing.
    #[arg(long)]
    untimed: bool,
    /// The attacker's own process: what it does, as JSON.
    #[arg(long, hide = true)]
    attacker: Option<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let ended = match &options.attacker {
        Some(orders) => attack(orders).await.map(|()| true),
        None => play(&options).await,
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Times in microseconds.
#[derive(Debug, Default)]
struct Times {
    accept: Vec<u64>,
    whole: Vec<u64>,
    refused: usize,
}

async fn play(options: &Options) -> anyhow::Result<bool> {
    let program = std::env::current_exe()?.with_file_name("portolan");
    let arena = Arena::start(&program, 1, &[]).await?;
    let victim = arena.tenant("victim", calling()).await?;
    let wanted =
        |attack: &Attack| options.only.is_empty() || options.only.iter().any(|name| name == attack.name);
    let mut attackers = Vec::new();
    for attack in attacks().into_iter().filter(wanted) {
        let tenant = arena.tenant(attack.name, (attack.module)()).await?;
        attackers.push((attack, tenant, Times::default()));
    }
    let mut quiet = Times::default();
    let mut numbers = 0;
    // Warm.
    phase(&victim, options, &mut numbers, &mut Times::default()).await?;
    for round in 1..=options.rounds {
        for (attack, tenant, times) in &mut attackers {
            eprint!("\rround {round} of {}: {:40}", options.rounds, attack.name);
            phase(&victim, options, &mut numbers, &mut quiet).await?;
            let mut attacker = send_attacker(options, attack, tenant)?;
            sleep(Duration::from_millis(500)).await;
            phase(&victim, options, &mut numbers, times).await?;
            // It may have ended by itself.
            drop(attacker.kill().await);
            drained(tenant).await?;
        }
    }
    eprintln!("\r{:60}", "");
    let was_noticed = print(&mut quiet, &mut attackers);
    let refused = quiet.refused + attackers.iter().map(|(_, _, times)| times.refused).sum::<usize>();
    Ok(refused == 0 && !quiet.accept.is_empty() && (options.untimed || !was_noticed))
}

/// Sends the victim's events at their rate, and adds how long each took.
async fn phase(
    victim: &Tenant,
    options: &Options,
    numbers: &mut u64,
    times: &mut Times,
) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut senders = tokio::task::JoinSet::new();
    for index in 0..options.seconds * options.rate {
        sleep_until(began + Duration::from_micros(index * 1_000_000 / options.rate.max(1))).await;
        let (victim, body) = (victim.clone(), charge(&format!("victim{numbers}")));
        *numbers += 1;
        senders.spawn(async move {
            let sent = Instant::now();
            let answer = victim.webhook(&body).await;
            (sent.elapsed(), answer)
        });
    }
    let mut events = Vec::new();
    while let Some(sender) = senders.join_next().await {
        let (took, answer) = sender?;
        match answer {
            Ok((status, answer)) if status == 200 => {
                times.accept.push(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
                events.push(answer["event"].as_str().context("an event id")?.to_owned());
            }
            _ => times.refused += 1,
        }
    }
    for event in events {
        times.whole.push(whole(victim, &event).await?);
    }
    Ok(())
}

/// From the acknowledgement until the call was made, in microseconds, by the host's own clock.
async fn whole(victim: &Tenant, event: &str) -> anyhow::Result<u64> {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let story = victim.get(&format!("/events/{event}")).await?;
        if story["standing"] == "delivered" {
            let attempt = &story["runs"][0]["deliveries"][0]["attempts"][0];
            return between(&story["received_at"], &attempt["finished_at"]);
        }
        anyhow::ensure!(Instant::now() < deadline, "the victim's event is stuck: {story:#}");
        sleep(Duration::from_millis(50)).await;
    }
}

fn between(from: &Value, to: &Value) -> anyhow::Result<u64> {
    let at = |value: &Value| -> anyhow::Result<i64> {
        let text = value.as_str().with_context(|| format!("no time: {value}"))?;
        Ok(text.parse::<jiff::Timestamp>()?.as_microsecond())
    };
    Ok(u64::try_from(at(to)? - at(from)?).unwrap_or_default())
}

fn charge(id: &str) -> Vec<u8> {
    json!({ "id": format!("evt_{id}"), "object": "event", "type": "charge.succeeded", "livemode": false,
            "data": { "object": { "id": format!("ch_{id}") } } })
    .to_string()
    .into_bytes()
}

fn send_attacker(options: &Options, attack: &Attack, tenant: &Tenant) -> anyhow::Result<Child> {
    let orders = json!({
        "base": tenant.client.base(), "key": tenant.client.key(), "hook": tenant.hook, "kind": attack.kind.name(),
        "label": format!("{}{}", attack.name, std::process::id()), "seconds": options.seconds,
        "events": if attack.kind == Kind::Flood { options.flood } else { options.seconds * 4 },
    });
    let mut child = Command::new(std::env::current_exe()?);
    child.args(["--attacker", &orders.to_string()]).kill_on_drop(true);
    Ok(child.spawn()?)
}

/// The attacker's process.
async fn attack(orders: &str) -> anyhow::Result<()> {
    rustix::process::nice(15)?;
    let orders: Value = serde_json::from_str(orders)?;
    let text = |name: &str| orders[name].as_str().unwrap_or_default().to_owned();
    let client = portolan::stage::Client::new(&text("base"), Some(&text("key")))?;
    let tenant = Tenant {
        id: String::new(),
        name: String::new(),
        client,
        hook: text("hook"),
        mapping: String::new(),
        module: String::new(),
        connections: Value::Null,
    };
    let now = std::time::UNIX_EPOCH.elapsed()?.as_nanos();
    let events = orders["events"].as_u64().unwrap_or_default();
    if text("kind") == Kind::Uploads.name() {
        // Ended by whoever started it.
        for number in 0..u32::MAX {
            drop(Tenant::upload(&tenant.client, portolan_tests::hostile::neighbours::bomb(number)).await);
        }
    }
    let mut senders = tokio::task::JoinSet::new();
    for sender in 0..16 {
        let (tenant, label) = (tenant.clone(), format!("{}{now}", text("label")));
        senders.spawn(async move {
            for number in (sender..events).step_by(16) {
                // What is turned away is turned away.
                drop(tenant.webhook(&charge(&format!("{label}x{number}"))).await);
            }
        });
    }
    while senders.join_next().await.is_some() {}
    // The events do their work until the phase is over.
    sleep(Duration::from_secs(orders["seconds"].as_u64().unwrap_or_default())).await;
    Ok(())
}

/// Waits until nothing of the attack is left, so that the next phase is quiet.
async fn drained(tenant: &Tenant) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(600);
    while Instant::now() < deadline {
        let mut left = 0;
        for state in ["pending", "leased", "planned"] {
            let runs = tenant.get(&format!("/runs?state={state}&limit=1")).await?;
            left += runs["items"].as_array().map_or(0, Vec::len);
        }
        if left == 0 {
            return Ok(());
        }
        sleep(Duration::from_millis(200)).await;
    }
    anyhow::bail!("the attack does not end")
}

fn percentile(times: &mut [u64], percent: usize) -> f64 {
    times.sort_unstable();
    let index = (times.len() * percent / 100).min(times.len().saturating_sub(1));
    times.get(index).map_or(f64::NAN, |micros| *micros as f64 / 1_000.0)
}

/// Whether an attack was noticed more than it may be.
fn print(quiet: &mut Times, attackers: &mut [(Attack, Tenant, Times)]) -> bool {
    let row = |name: &str, times: &mut Times| {
        let accept = [50, 99].map(|percent| percentile(&mut times.accept, percent));
        let whole = [50, 99].map(|percent| percentile(&mut times.whole, percent));
        (name.to_owned(), accept, whole, times.accept.len(), times.refused)
    };
    println!(
        "{:24}{:>7}{:>12}{:>12}{:>12}{:>12}{:>9}{:>9}",
        "victim's times in ms",
        "events",
        "accept p50",
        "accept p99",
        "whole p50",
        "whole p99",
        "accept",
        "whole"
    );
    let (_, quiet_accept, quiet_whole, events, _) = row("quiet", quiet);
    println!(
        "{:24}{events:>7}{:>12.2}{:>12.2}{:>12.2}{:>12.2}",
        "quiet", quiet_accept[0], quiet_accept[1], quiet_whole[0], quiet_whole[1]
    );
    let mut was_noticed = false;
    for (attack, _, times) in attackers {
        let (name, accept, whole, events, refused) = row(attack.name, times);
        let ratios = (accept[1] / quiet_accept[1], whole[1] / quiet_whole[1]);
        println!(
            "{name:24}{events:>7}{:>12.2}{:>12.2}{:>12.2}{:>12.2}{:>8.2}x{:>8.2}x{}",
            accept[0],
            accept[1],
            whole[0],
            whole[1],
            ratios.0,
            ratios.1,
            if refused > 0 { format!("  {refused} refused") } else { String::new() }
        );
        was_noticed |= ratios.0 > ACCEPT_RATIO_MAX || ratios.1 > WHOLE_RATIO_MAX;
    }
    was_noticed
}
