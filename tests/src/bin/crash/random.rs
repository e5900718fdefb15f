//! Cycles at random: something happens at Stripe, the other systems misbehave, a process dies or sleeps, and goes on.
//!
//! A round is a number of cycles, after which the faults end, everything comes to rest, and the judge looks. Rounds have
//! seeds of their own, counted up from the first, so that each can be played again alone: `--seed S --cycles 25`. What
//! is thrown (events, faults, deaths) is the same; how the machine's threads meet them is the machine's.

use std::time::{Duration, Instant};

use anyhow::Context;
use portolan::stage::System;
use portolan_proof::Point;
use portolan_tests::dice::Dice;
use rustix::process::Signal;
use serde_json::json;

use crate::{
    deeds::{Deed, deeds},
    judge::Judge,
    load::Load,
    receiver::Slip,
    report::{Count, Findings},
    world::{LEASE_MS, Make, PATIENCE, Places, World, signal},
};

/// Cycles of a round.
pub(crate) const ROUND: u64 = 25;
/// Rounds of a world: its databases grow.
const ROUNDS_OF_A_WORLD: u64 = 8;
/// How long a cycle waits for what is to happen before it kills all the same.
const CYCLE: Duration = Duration::from_millis(350);
/// How long a fault lasts that has a length: shorter than a system is left alone after a doubt.
const FAULT_MS: u64 = 400;

/// Faults of ERPs in which nobody is asked in the end.
const FAULTS: &[&str] = &[
    "cut-before-commit",
    "commit-then-cut",
    "hang",
    "hang-after-commit",
    "late-commit",
    "error-500-before-commit",
    "error-500-after-commit",
    "gateway-502-after-commit",
    "gateway-503-after-commit",
    "gateway-504-after-commit",
    "garbage-after-commit",
    "unavailable",
    "rate-limited",
    "rate-limited-until",
    "locked",
    "slow",
    "drip",
    "check-stale",
];
/// A request that is delivered twice can be told apart only by systems that know keys.
const FAULTS_OF_KEYS: &[&str] = &["twice"];

/// How a cycle ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The host ends itself at a point.
    AtPoint,
    /// The host is killed after some time.
    InTime,
    /// The host is killed when it has acknowledged something.
    AtAnswer,
    /// The host is killed when a call has arrived somewhere.
    AtArrival,
    /// The host sleeps for longer than its leases last, and goes on.
    Asleep,
    /// An ERP or Stripe is killed.
    StandInKilled,
    /// An ERP or Stripe stands still for a while.
    StandInAsleep,
    /// An ERP refuses connections for a while.
    Refused,
}

const ENDS: &[(End, &str, u64)] = &[
    (End::AtPoint, "host dies at a point", 42),
    (End::InTime, "host killed in time", 20),
    (End::AtAnswer, "host killed at its answer", 12),
    (End::AtArrival, "host killed when a call arrives", 12),
    (End::Asleep, "host asleep beyond its leases", 1),
    (End::StandInKilled, "stand-in killed", 7),
    (End::StandInAsleep, "stand-in asleep", 3),
    (End::Refused, "stand-in refuses connections", 2),
];

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) cycles: u64,
    pub(crate) findings: Findings,
    pub(crate) count: Count,
    /// The seed of the first round that went wrong.
    pub(crate) seed: Option<u64>,
    pub(crate) took: Duration,
}

/// Plays `cycles` cycles from `seed` on, until the first round that goes wrong.
pub(crate) async fn play(
    places: &Places,
    (seed, cycles): (u64, u64),
    make: &Make<'_>,
    say: impl Fn(&str),
) -> anyhow::Result<Outcome> {
    let began = now();
    let mut outcome = Outcome::default();
    let (mut world, mut judge, mut rounds) = (None, None, 0);
    while outcome.cycles < cycles && outcome.findings.is_empty() {
        let own = seed + rounds;
        if rounds % ROUNDS_OF_A_WORLD == 0 {
            drop(world.take());
            let fresh = World::set_up(places, &format!("seed-{own}"), make).await?;
            judge = Some(Judge::of(&fresh));
            world = Some(fresh);
        }
        let (Some(world), Some(judge)) = (&mut world, &mut judge) else { break };
        let length = ROUND.min(cycles - outcome.cycles);
        let mut round = Round { dice: Dice::new(own), load: Load::default(), waiting: Vec::new() };
        round.events(world, own).await?;
        for _ in 0..length {
            round.cycle(world, judge, &mut outcome.count).await?;
        }
        let findings = round.settle(world, judge, &mut outcome.count).await?;
        outcome.cycles += length;
        rounds += 1;
        if !findings.is_empty() {
            outcome.seed = Some(own);
        }
        outcome.findings.join(findings);
        say(&format!("seed {own}: {} cycles, {} so far", length, outcome.cycles));
        passes(world, &mut outcome.count);
    }
    outcome.took = began.elapsed();
    Ok(outcome)
}

/// Counts the hosts that passed each point since the last count.
fn passes(world: &World, count: &mut Count) {
    let passed = std::fs::read_to_string(world.passes()).unwrap_or_default();
    // Hosts append to it: what was counted is cut off while none of them writes much.
    std::fs::write(world.passes(), "").ok();
    for point in passed.lines() {
        count.add(&format!("hosts that passed {point}"));
    }
}

#[expect(clippy::disallowed_methods, reason = "how long a proof took, for people")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

struct Round {
    dice: Dice,
    load: Load,
    /// What is still to happen, the last first.
    waiting: Vec<(usize, Deed)>,
}

impl Round {
    /// Throws what happens at Stripe in this round, and in which order it is told.
    async fn events(&mut self, world: &World, seed: u64) -> anyhow::Result<()> {
        for (place, erp) in world.erps.iter().enumerate() {
            let (mut some, share) = (self.dice.clone(), 30);
            self.dice.next();
            let refunded: Vec<bool> = (0..32).map(|_| some.chance(share)).collect();
            let (deeds, objects) =
                deeds(erp.system, &format!("{}-{seed}", erp.system.name()), seed, |index| {
                    refunded[index % 32]
                });
            world.stripe.seed(&objects).await?;
            self.waiting.extend(deeds.into_iter().map(|deed| (place, deed)));
        }
        // Out of order, refunds before their charges now and then.
        for place in (1..self.waiting.len()).rev() {
            self.waiting.swap(place, self.dice.below(place + 1));
        }
        Ok(())
    }

    async fn cycle(&mut self, world: &mut World, judge: &mut Judge, count: &mut Count) -> anyhow::Result<()> {
        let total: u64 = ENDS.iter().map(|(_, _, weight)| weight).sum();
        let mut thrown = self.dice.next() % total;
        let (end, name, _) = *ENDS
            .iter()
            .find(|(_, _, weight)| {
                let is_it = thrown < *weight;
                thrown = thrown.saturating_sub(*weight);
                is_it
            })
            .context("weights sum up")?;
        let point = self.dice.pick(Point::ALL).context("points")?;
        if end == End::AtPoint {
            let die = format!("{}:{}", point.number(), self.dice.between(1, 4));
            world.host_again(Some(&die)).await?;
        }
        self.misfortunes(world).await;
        for _ in 0..self.dice.between(1, 4) {
            let Some((place, deed)) = self.waiting.pop() else { break };
            judge.happens(place, &deed);
            let repeats = u64::from(self.dice.chance(20));
            self.load.send(&world.tenants[place], place, deed, repeats);
        }
        self.end(world, end).await?;
        count.add(name);
        if end == End::AtPoint && world.host.has_ended()? {
            count.add(&format!("died at {}", point.number()));
        }
        if matches!(end, End::AtPoint | End::InTime | End::AtAnswer | End::AtArrival)
            || world.host.has_ended()?
        {
            world.host_again(None).await?;
        }
        Ok(())
    }

    /// What goes wrong in the other systems from now on.
    async fn misfortunes(&mut self, world: &World) {
        for stand_in in world.stand_ins() {
            if !self.dice.chance(35) {
                continue;
            }
            let mut faults: Vec<&str> = (0..4).filter_map(|_| self.dice.pick(FAULTS).copied()).collect();
            if matches!(stand_in.system, System::SagePro | System::Stripe) {
                faults.extend_from_slice(FAULTS_OF_KEYS);
            }
            let random = json!({ "random": {
                "seed": self.dice.next() % 1_000_000, "per_mille": self.dice.between(20, 250), "faults": faults,
                "ms": FAULT_MS,
            }});
            // It may be dead just now.
            drop(stand_in.fault(&random).await);
        }
        if self.dice.chance(15) {
            let slips =
                [Slip::NoteThenCut, Slip::NoteThenHang, Slip::NoteThen500, Slip::NoteThen502, Slip::NoteLate];
            if let Some(slip) = self.dice.pick(&slips) {
                world.receiver.slip(*slip);
            }
        }
    }

    async fn end(&mut self, world: &mut World, end: End) -> anyhow::Result<()> {
        let some = Duration::from_millis(self.dice.between(2, 300));
        match end {
            End::AtPoint => {
                let deadline = now() + CYCLE;
                while now() < deadline && !world.host.has_ended()? {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
            End::InTime => tokio::time::sleep(some).await,
            End::AtAnswer => drop(self.load.next_acknowledged(CYCLE).await),
            End::AtArrival => {
                let system = world.erps[self.dice.below(world.erps.len())].system;
                arrival(world, system).await;
            }
            End::Asleep => {
                tokio::time::sleep(some / 3).await;
                signal(world.host.id(), Signal::STOP);
                tokio::time::sleep(Duration::from_millis(LEASE_MS + 300)).await;
                signal(world.host.id(), Signal::CONT);
                tokio::time::sleep(some).await;
            }
            End::StandInKilled => {
                tokio::time::sleep(some / 3).await;
                let stand_in = self.stand_in(world);
                stand_in.kill().await?;
                tokio::time::sleep(some / 2).await;
                stand_in.start_again().await?;
            }
            End::StandInAsleep => {
                let id = self.stand_in(world).id();
                signal(id, Signal::STOP);
                tokio::time::sleep(some).await;
                signal(id, Signal::CONT);
            }
            End::Refused => {
                let fault = json!({ "operation": "*", "fault": "refuse", "ms": 200 });
                self.stand_in(world).fault(&fault).await?;
                tokio::time::sleep(some).await;
            }
        }
        Ok(())
    }

    fn stand_in<'a>(&mut self, world: &'a mut World) -> &'a mut portolan::stage::StandIn {
        let place = self.dice.below(world.erps.len() + 1);
        world.erps.get_mut(place).unwrap_or(&mut world.stripe)
    }

    /// The faults end, what has not been sent is sent, and everything comes to rest. Then the judge looks.
    async fn settle(
        &mut self,
        world: &mut World,
        judge: &mut Judge,
        count: &mut Count,
    ) -> anyhow::Result<Findings> {
        world.behave().await?;
        world.host_again(None).await?;
        for (place, deed) in std::mem::take(&mut self.waiting) {
            judge.happens(place, &deed);
            self.load.send(&world.tenants[place], place, deed, 0);
        }
        let mut findings = Findings::default();
        let done = match self.load.all().await {
            Ok(done) => done,
            Err(text) => {
                findings.restless(text);
                Vec::new()
            }
        };
        rest(world, &mut findings, count).await?;
        findings.join(judge.judge(world, &done, count).await?);
        Ok(findings)
    }
}

/// Waits until a call arrives, or for a cycle's length.
async fn arrival(world: &World, system: System) {
    let size = || std::fs::metadata(world.calls(system)).map_or(0, |file| file.len());
    let (before, deadline) = (size(), now() + CYCLE);
    while size() == before && now() < deadline {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Waits until nothing moves, does what an operator does, and waits again. What does not come to rest is found.
pub(crate) async fn rest(world: &World, findings: &mut Findings, count: &mut Count) -> anyhow::Result<()> {
    for _ in 0..8 {
        let deadline = now() + PATIENCE;
        while !world.is_at_rest().await.unwrap_or(false) {
            if now() > deadline {
                findings.restless(format!(
                    "work is still under way {} s after the last fault",
                    PATIENCE.as_secs()
                ));
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
        let decided = world.tidy_up().await;
        count.many("decisions of a person", decided as u64);
        if decided == 0 {
            return Ok(());
        }
    }
    Ok(())
}
