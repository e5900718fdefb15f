//! The host's database is lost and put back from a backup that was taken under load, again and again: what was sent
//! since must not be sent again, and what was received since must not be missing.

use std::time::Duration;

use portolan_tests::{
    dice::Dice,
    restore::{back_up, reconciliations, restore},
};
use serde_json::{Value, json};

use crate::{
    deeds::{Deed, deeds},
    judge::Judge,
    load::Load,
    random::{now, rest},
    report::{Count, Findings},
    world::{ERPS, Make, PATIENCE, Places, World},
};

/// Events of each ERP in one round: before the backup, and after it.
const EVENTS: (usize, usize) = (3, 5);

/// Plays so many restores, until the first that goes wrong.
pub(crate) async fn play(
    places: &Places,
    (seed, restores): (u64, u64),
    make: &Make<'_>,
    count: &mut Count,
) -> anyhow::Result<Findings> {
    // After a restore a source asks Stripe for everything that its account did: each ERP has an account of its own.
    for (place, erp) in ERPS.into_iter().enumerate() {
        let make = Make { erps: vec![erp], ..make.clone() };
        let mut world = World::set_up(places, &format!("restores-{seed}-{}", erp.name()), &make).await?;
        let mut judge = Judge::of_restores(&world);
        for round in (0..restores).filter(|round| round % 3 == place as u64) {
            let mut dice = Dice::new(Dice::seed_of(seed, round));
            let findings =
                once(places, (&mut world, &mut judge), (round, make.bug), &mut dice, count).await?;
            count.add(&format!("restores, {}", erp.name()));
            if !findings.is_empty() {
                return Ok(findings);
            }
        }
    }
    Ok(Findings::default())
}

async fn once(
    places: &Places,
    (world, judge): (&mut World, &mut Judge),
    (round, bug): (u64, Option<&str>),
    dice: &mut Dice,
    count: &mut Count,
) -> anyhow::Result<Findings> {
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for place in 0..world.erps.len() {
        let label = format!("restored {round} {}", world.erps[place].system.name());
        let (story, objects) = deeds(world.erps[place].system, &label, round, |_| false);
        world.stripe.seed(&objects).await?;
        let mut story = story.into_iter();
        before.extend(story.by_ref().take(EVENTS.0).map(|deed| (place, deed)));
        after.extend(story.take(EVENTS.1).map(|deed| (place, deed)));
    }
    // So slow that much is under way whenever something happens.
    for erp in &world.erps {
        erp.fault(&json!({ "operation": "*", "fault": "slow", "ms": 60, "times": 60 })).await?;
    }
    let mut load = Load::default();
    let pause = |dice: &mut Dice| tokio::time::sleep(Duration::from_millis(dice.between(5, 900)));
    send(world, judge, &mut load, before).await?;
    pause(dice).await;
    let backup = world.folder().join(format!("backup-{round}"));
    back_up(&places.program, &world.host.operator, &backup).await?;
    send(world, judge, &mut load, after).await?;
    pause(dice).await;
    let data = world.folder().join("host");
    let environment: Vec<_> = bug.map(|bug| ("PORTOLAN_PROOF_BUG", bug)).into_iter().collect();
    restore(&places.program, &mut world.host, (&data, &backup), &environment).await?;
    std::fs::remove_file(&backup)?;
    let mut findings = Findings::default();
    let done = load.all().await.unwrap_or_else(|text| {
        findings.restless(text);
        Vec::new()
    });
    if !reconciled(world).await {
        findings.restless("the reconciliation does not end".to_owned());
    }
    rest(world, &mut findings, count).await?;
    findings.join(judge.judge(world, &done, count).await?);
    Ok(findings)
}

/// They happen now: Stripe lists them and sends them.
async fn send(
    world: &World,
    judge: &mut Judge,
    load: &mut Load,
    deeds: Vec<(usize, Deed)>,
) -> anyhow::Result<()> {
    for (place, deed) in deeds {
        let mut event: Value = serde_json::from_str(&deed.body)?;
        event["created"] = json!(std::time::SystemTime::UNIX_EPOCH.elapsed()?.as_secs() - 60);
        world.stripe.seed(std::slice::from_ref(&event)).await?;
        let deed = Deed { body: event.to_string(), ..deed };
        judge.happens(place, &deed);
        load.send(&world.tenants[place], place, deed, 0);
    }
    Ok(())
}

/// Waits until no environment reconciles any more. What only a person can know is decided meanwhile.
async fn reconciled(world: &World) -> bool {
    let deadline = now() + PATIENCE;
    while now() < deadline {
        if reconciliations(&world.host.operator).await.is_ok_and(|state| state["items"] == json!([])) {
            return true;
        }
        world.tidy_up().await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    false
}
