//! Stages for what chance alone seldom brings about: an event that kills every host that touches it, a host that sleeps
//! beyond its leases, calls that nothing but their leases keeps apart, and a day that passes between two attempts.

use std::{collections::BTreeMap, time::Duration};

use portolan::stage::System;
use rustix::process::Signal;
use serde_json::json;

use crate::{
    deeds::{Deed, deeds},
    judge::Judge,
    load::Load,
    random::{now, rest},
    records::Records,
    report::{Count, Findings},
    world::{LEASE_MS, Make, PATIENCE, Pace, Places, World, signal},
};

/// Deaths after which the dullest host has to suspect the event.
const DEATHS_MAX: u64 = 25;
/// How long a host may live before it counts as not killed.
const DEATH_WITHIN: Duration = Duration::from_millis(3_000);
/// No time is left between a doubt and the next question, so that a lease that ends too early is not made up for.
const HASTY: Pace = Pace { timeout_ms: 3_000, settle_ms: 0 };
/// How long Stripe's stand-in remembers keys on the last stage.
const MEMORY_MS: u64 = 1_000;
/// How far the host's clock is ahead there, in seconds: Stripe forgets keys after a day.
const LATER_S: &str = "90000";

/// Plays all stages; the name of the first that goes wrong, and what.
pub(crate) async fn play(
    places: &Places,
    make: &Make<'_>,
    count: &mut Count,
) -> anyhow::Result<Option<(&'static str, Findings)>> {
    for name in ["poison", "asleep", "slow", "a-day-later"] {
        let stripe = json!({ "idempotency_ms": MEMORY_MS });
        let pace = if name == "slow" { HASTY } else { Pace::SCRIPTED };
        let make = Make { erps: vec![System::SagePro], pace, stripe: Some(stripe), ..make.clone() };
        let mut world = World::set_up(places, name, &make).await?;
        let findings = match name {
            "poison" => poison(&mut world).await?,
            "asleep" => asleep(&world, count).await?,
            "slow" => slow(&world, count).await?,
            _ => a_day_later(&mut world, count).await?,
        };
        count.add(&format!("stage {name}"));
        if !findings.is_empty() {
            return Ok(Some((name, findings)));
        }
    }
    Ok(None)
}

async fn charges(world: &World, label: &str, number: usize) -> anyhow::Result<Vec<Deed>> {
    let (deeds, objects) = deeds(System::SagePro, label, 1, |_| false);
    world.stripe.seed(&objects).await?;
    Ok(deeds.into_iter().take(number).collect())
}

/// An event at which every host dies must be set aside at some time (I5).
async fn poison(world: &mut World) -> anyhow::Result<Findings> {
    let mut findings = Findings::default();
    let mut load = Load::default();
    for deed in charges(world, "poison", 1).await? {
        world.host.set("PORTOLAN_PROOF_STRIKE", Some(&format!("abort:{}", deed.object)));
        load.send(&world.tenants[0], 0, deed, 0);
    }
    for death in 0..=DEATHS_MAX {
        // It may be killed before it can say that it is ready: a death as any other.
        let started = world.host_again(None).await;
        let deadline = now() + DEATH_WITHIN;
        while started.is_ok() && !world.host.has_ended()? && now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if started.is_ok() && !world.host.has_ended()? {
            // Set aside, and not by chance: it was executed before.
            if death == 0 {
                findings.restless("the event did not kill the first host: nothing was tried".to_owned());
            }
            return Ok(findings);
        }
        if death == DEATHS_MAX {
            findings.restless(format!("an event has killed {DEATHS_MAX} hosts and is executed again"));
        }
    }
    Ok(findings)
}

/// No delivery has two calls under way, while the host lives; not even when it sleeps for longer than its leases last.
async fn asleep(world: &World, count: &mut Count) -> anyhow::Result<Findings> {
    let mut findings = Findings::default();
    let (mut judge, mut load) = (Judge::of(world), Load::default());
    let mut records = Records::new(world, System::SagePro);
    // First slow calls only, then some that are cut while the host sleeps, and are slow when it makes them again.
    let slow = json!({ "operation": "POST /Invoice", "fault": "slow", "ms": 300, "times": 40 });
    let cut = json!({ "operation": "POST /Invoice", "fault": "hang", "ms": 150, "times": 4 });
    for (label, sleeps) in [("slow", false), ("asleep-1", true), ("asleep-2", true), ("asleep-3", true)] {
        world.erps[0].behave().await?;
        world.erps[0].fault(&if sleeps { json!([cut, slow]) } else { slow.clone() }).await?;
        for round in 0..if sleeps { 1 } else { 6 } {
            for deed in charges(world, &format!("{label} {round}"), 4).await? {
                judge.happens(0, &deed);
                load.send(&world.tenants[0], 0, deed, 0);
            }
            if sleeps {
                arrivals(world, &mut records, 2).await?;
                signal(world.host.id(), Signal::STOP);
                tokio::time::sleep(Duration::from_millis(LEASE_MS + 300)).await;
                signal(world.host.id(), Signal::CONT);
            }
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
    }
    world.behave().await?;
    let done = load.all().await.unwrap_or_default();
    rest(world, &mut findings, count).await?;
    findings.join(judge.judge(world, &done, count).await?);
    records.read()?;
    at_once(&records, &mut findings);
    Ok(findings)
}

/// No delivery has two calls under way, however long they take and whatever the clock says.
async fn slow(world: &World, count: &mut Count) -> anyhow::Result<Findings> {
    let mut findings = Findings::default();
    let (mut judge, mut load) = (Judge::of(world), Load::default());
    let slow = json!({ "operation": "POST /Invoice", "fault": "slow", "ms": 900, "times": 100 });
    world.erps[0].fault(&slow).await?;
    // One after the other, so that there is room for a call too many.
    for round in 0..24 {
        for deed in charges(world, &format!("slow {round}"), 1).await? {
            judge.happens(0, &deed);
            load.send(&world.tenants[0], 0, deed, 0);
        }
        tokio::time::sleep(Duration::from_millis(350)).await;
    }
    let done = load.all().await.unwrap_or_default();
    rest(world, &mut findings, count).await?;
    findings.join(judge.judge(world, &done, count).await?);
    let mut records = Records::new(world, System::SagePro);
    records.read()?;
    at_once(&records, &mut findings);
    Ok(findings)
}

/// Waits until so many more calls have arrived.
async fn arrivals(world: &World, records: &mut Records, number: usize) -> anyhow::Result<()> {
    records.read()?;
    let (wanted, deadline) = (records.arrivals.len() + number, now() + PATIENCE);
    while records.arrivals.len() < wanted && now() < deadline && world.host.id().is_some() {
        tokio::time::sleep(Duration::from_millis(2)).await;
        records.read()?;
    }
    Ok(())
}

/// Calls with one key of which one came while another was being carried out. One that was cut is no longer waited for.
fn at_once(records: &Records, findings: &mut Findings) {
    let mut under_way: BTreeMap<&str, u64> = BTreeMap::new();
    let mut calls: Vec<_> = records.arrivals.iter().filter(|call| call.key.is_some()).collect();
    calls.sort_by_key(|call| call.came_ms);
    for call in calls {
        let key = call.key.as_deref().unwrap_or_default();
        if under_way.get(key).is_some_and(|until| call.came_ms < *until) {
            findings.unsafe_resend(format!("two calls with the key {key} were under way at once"));
        }
        if matches!(call.went, Some(Some(_))) {
            let until = under_way.entry(key).or_default();
            *until = call.went_ms.max(*until);
        }
    }
}

/// A call whose outcome is unknown is not made again when the other system has forgotten its key.
async fn a_day_later(world: &mut World, count: &mut Count) -> anyhow::Result<Findings> {
    let mut findings = Findings::default();
    let (mut judge, mut load) = (Judge::of(world), Load::default());
    let operation = "POST /v1/charges/{id}";
    let cut = json!({ "operation": operation, "fault": "commit-then-cut" });
    // Whatever is tried in the mean time does not get through.
    let hang = json!({ "operation": operation, "fault": "hang", "ms": 5_000, "times": 100 });
    world.stripe.fault(&json!([cut, hang])).await?;
    for deed in charges(world, "a day later", 1).await? {
        judge.happens(0, &deed);
        load.send(&world.tenants[0], 0, deed, 0);
    }
    let done = load.all().await.unwrap_or_default();
    let (mut records, deadline) = (Records::new(world, System::Stripe), now() + PATIENCE);
    while !records.arrivals.iter().any(|call| call.fault.as_deref() == Some("commit-then-cut"))
        && now() < deadline
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
        records.read()?;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    world.host.kill().await?;
    world.behave().await?;
    tokio::time::sleep(Duration::from_millis(2 * MEMORY_MS)).await;
    world.host.set("PORTOLAN_PROOF_AHEAD_S", Some(LATER_S));
    world.host_again(None).await?;
    rest(world, &mut findings, count).await?;
    findings.join(judge.judge(world, &done, count).await?);
    Ok(findings)
}
