//! A random history, made with a store and with the simplest model of it. The model keeps rows in a list and finds
//! what may be claimed by looking at all of them, word for word as the promises S5, S7, S9 and S10 say it. Claims are
//! made one at a time: a row that is claimed must be one that the model allows, and when none is claimed the model
//! must allow none. After every step all states must agree.
//!
//! The seed is printed when the histories part; `SEEDS` and `STEPS` bound the work.

use portolan_domain::{
    DeliveryId, RunId, Timestamp,
    state::{DeliveryState, RunState},
    verdict::CallFailure,
};
use serde_json::json;

use super::{
    Place,
    world::{LEASE_MS, START, World, at, dead, decision, delivered, held, plan, record, request, why},
};
use crate::{
    ClaimRequest, Finish, Lease,
    delivery::DeliveryEnd,
    run::{NewDelivery, RunEnd},
};

/// Steps of one history.
const STEPS: u32 = 400;

/// Histories, each from its own seed.
const SEEDS: std::ops::Range<u64> = 1..4;

/// Random numbers that are the same everywhere: xorshift64*.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % end
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        if from.is_empty() { None } else { Some(&from[self.below(from.len())]) }
    }
}

struct Run {
    id: RunId,
    world: usize,
    object: usize,
    state: RunState,
    deferred: bool,
    due_at: Timestamp,
    lease: Lease,
    lease_ends: Timestamp,
}

impl Run {
    fn blocks(&self) -> bool {
        matches!(self.state, RunState::Leased | RunState::Planned | RunState::Held | RunState::Dead)
            || (self.state == RunState::Pending && !self.deferred)
    }
}

struct Delivery {
    id: DeliveryId,
    run: usize,
    order: String,
    after: Vec<usize>,
    state: DeliveryState,
    due_at: Timestamp,
    lease: Lease,
    lease_ends: Timestamp,
}

struct Model {
    dice: Dice,
    now: Timestamp,
    worlds: Vec<World>,
    /// In the order of their events.
    runs: Vec<Run>,
    deliveries: Vec<Delivery>,
}

fn nobody() -> Lease {
    Lease { owner: String::new(), epoch: 0 }
}

impl Model {
    fn run_may_be_claimed(&self, index: usize) -> bool {
        let run = &self.runs[index];
        let earlier = self.runs[..index].iter();
        run.state == RunState::Pending
            && run.due_at <= self.now
            && !earlier.filter(|r| (r.world, r.object) == (run.world, run.object)).any(Run::blocks)
    }

    fn delivery_may_be_claimed(&self, index: usize) -> bool {
        let delivery = &self.deliveries[index];
        let world = self.runs[delivery.run].world;
        delivery.state == DeliveryState::Pending
            && delivery.due_at <= self.now
            && delivery.after.iter().all(|i| self.deliveries[*i].state == DeliveryState::Delivered)
            && !self.deliveries.iter().any(|d| {
                d.run < delivery.run
                    && self.runs[d.run].world == world
                    && d.order == delivery.order
                    && !d.state.is_final()
            })
    }

    fn some_run(&mut self, state: RunState) -> Option<usize> {
        let all: Vec<usize> = (0..self.runs.len()).filter(|i| self.runs[*i].state == state).collect();
        self.dice.pick(&all).copied()
    }

    fn some_delivery(&mut self, states: &[DeliveryState]) -> Option<usize> {
        let all: Vec<usize> =
            (0..self.deliveries.len()).filter(|i| states.contains(&self.deliveries[*i].state)).collect();
        self.dice.pick(&all).copied()
    }

    fn world_of(&self, delivery: usize) -> World {
        self.worlds[self.runs[self.deliveries[delivery].run].world].clone()
    }

    async fn step(&mut self) {
        // More comes in than goes out, so that orders are long and plans come late.
        match self.dice.below(16) {
            0..=2 => self.accept().await,
            3..=5 => self.claim_run().await,
            6..=8 => self.finish_run().await,
            9 | 10 => self.claim_delivery().await,
            11 | 12 => self.finish_delivery().await,
            13 => self.decide_run().await,
            14 => self.decide_delivery().await,
            _ => {
                let seconds = [1, 5, LEASE_MS / 1_000][self.dice.below(3)];
                self.now = self.now.plus(std::time::Duration::from_secs(seconds));
            }
        }
    }

    async fn accept(&mut self) {
        let (world, object) = (self.dice.below(self.worlds.len()), self.dice.below(3));
        let (_, id) = self.worlds[world].accept(&format!("ch_{object}")).await;
        let (lease, due_at) = (nobody(), START);
        let state = RunState::Pending;
        self.runs.push(Run { id, world, object, state, deferred: false, due_at, lease, lease_ends: START });
    }

    fn one(&self) -> ClaimRequest {
        ClaimRequest { rows_max: 1, ..request("one", self.now) }
    }

    async fn claim_run(&mut self) {
        for run in self.runs.iter_mut().filter(|r| r.state == RunState::Leased && r.lease_ends <= self.now) {
            run.state = RunState::Pending;
            run.due_at = self.now;
        }
        let claims = self.worlds[0].store.run_claim(self.one()).await.unwrap();
        let Some(claim) = claims.into_iter().next() else {
            assert!(!(0..self.runs.len()).any(|i| self.run_may_be_claimed(i)), "a due run was not claimed");
            return;
        };
        let index = self.runs.iter().position(|run| run.id == claim.id).unwrap();
        assert!(self.run_may_be_claimed(index), "run {index} was claimed out of order");
        let ends = self.now.plus(std::time::Duration::from_millis(LEASE_MS));
        let run = &mut self.runs[index];
        assert!(claim.lease.epoch > run.lease.epoch);
        (run.state, run.deferred, run.lease, run.lease_ends) = (RunState::Leased, false, claim.lease, ends);
    }

    async fn finish_run(&mut self) {
        let Some(index) = self.some_run(RunState::Leased) else { return };
        let world = self.worlds[self.runs[index].world].clone();
        let due_at = self.now.plus(std::time::Duration::from_secs(self.dice.below(8) as u64));
        let mut planned = Vec::new();
        let (end, state) = match self.dice.below(10) {
            0 => (RunEnd::Deferred { due_at, reason: why("d") }, RunState::Pending),
            1 => (RunEnd::Retried { due_at, reason: why("r") }, RunState::Pending),
            2 => (RunEnd::Skipped { reason: why("s") }, RunState::Skipped),
            3 => (RunEnd::Dead { reason: why("x"), alerts: vec![] }, RunState::Dead),
            choice => {
                let order = format!("order {}", self.dice.below(2));
                planned = self.a_plan(&world, index, &order, choice == 4);
                let new = planned.iter().map(|(_, new)| new.clone()).collect();
                match choice {
                    4 => (held(&order, new, vec![]), RunState::Held),
                    _ if planned.is_empty() => (plan(&order, new), RunState::Delivered),
                    _ => (plan(&order, new), RunState::Planned),
                }
            }
        };
        let run = &mut self.runs[index];
        run.deferred = matches!(end, RunEnd::Deferred { .. });
        (run.state, run.due_at) = (state, due_at);
        let finish = world.store.run_finish(&run.id, &run.lease, record(), end, self.now).await.unwrap();
        assert_eq!(finish, Finish::Done);
        self.deliveries.extend(planned.into_iter().map(|(delivery, _)| delivery));
    }

    fn a_plan(&mut self, world: &World, run: usize, order: &str, held: bool) -> Vec<(Delivery, NewDelivery)> {
        let first = self.deliveries.len();
        let state = if held { DeliveryState::Held } else { DeliveryState::Pending };
        let mut planned: Vec<(Delivery, NewDelivery)> = Vec::new();
        for position in 0..self.dice.below(4) {
            let after: Vec<usize> = (0..position).filter(|_| self.dice.below(2) == 0).collect();
            let keys: Vec<String> = after.iter().map(|i| format!("d{i}")).collect();
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            let new = world.a_delivery(&format!("d{position}"), &keys);
            let delivery = Delivery {
                id: new.id.clone(),
                run,
                order: order.to_owned(),
                after: after.iter().map(|i| first + i).collect(),
                state,
                due_at: START,
                lease: nobody(),
                lease_ends: START,
            };
            planned.push((delivery, new));
        }
        planned
    }

    async fn claim_delivery(&mut self) {
        let now = self.now;
        let leased = self.deliveries.iter_mut().filter(|d| d.state == DeliveryState::Leased);
        for delivery in leased.filter(|d| d.lease_ends <= now) {
            (delivery.state, delivery.due_at) = (DeliveryState::Pending, now);
        }
        let claims = self.worlds[0].store.delivery_claim(self.one()).await.unwrap();
        let Some(claim) = claims.into_iter().next() else {
            let missed = (0..self.deliveries.len()).find(|i| self.delivery_may_be_claimed(*i));
            assert_eq!(missed, None, "a due delivery was not claimed");
            return;
        };
        let index = self.deliveries.iter().position(|delivery| delivery.id == claim.id).unwrap();
        assert!(self.delivery_may_be_claimed(index), "delivery {index} was claimed out of order");
        let ends = now.plus(std::time::Duration::from_millis(LEASE_MS));
        let delivery = &mut self.deliveries[index];
        assert!(claim.lease.epoch > delivery.lease.epoch);
        (delivery.state, delivery.lease, delivery.lease_ends) = (DeliveryState::Leased, claim.lease, ends);
    }

    async fn finish_delivery(&mut self) {
        let Some(index) = self.some_delivery(&[DeliveryState::Leased]) else { return };
        let store = self.world_of(index).store;
        let due_at = self.now.plus(std::time::Duration::from_secs(self.dice.below(8) as u64));
        let failure = CallFailure::ambiguous("timeout", "no answer");
        let (end, state) = match self.dice.below(8) {
            0 => (DeliveryEnd::Retry { due_at, failure, alerts: vec![] }, DeliveryState::Pending),
            1 => (DeliveryEnd::InDoubt { failure, alerts: vec![] }, DeliveryState::InDoubt),
            2 => (dead(), DeliveryState::Dead),
            _ => (delivered(json!({})), DeliveryState::Delivered),
        };
        let delivery = &mut self.deliveries[index];
        (delivery.state, delivery.due_at) = (state, due_at);
        let finish = store.delivery_finish(&delivery.id, &delivery.lease, None, end, self.now).await.unwrap();
        assert_eq!(finish, Finish::Done);
        self.end_run(self.deliveries[index].run);
    }

    async fn decide_run(&mut self) {
        let decision = decision(self.now);
        if let Some(index) = self.some_run(RunState::Dead) {
            let run = &mut self.runs[index];
            let world = &self.worlds[run.world];
            world.store.run_redrive(&world.scope, &run.id, decision.clone()).await.unwrap();
            (run.state, run.due_at) = (RunState::Pending, self.now);
        }
        let Some(index) = self.some_run(RunState::Held) else { return };
        let (id, world) = (self.runs[index].id.clone(), self.worlds[self.runs[index].world].clone());
        let approve = self.dice.below(2) == 0;
        let (of_run, of_delivery) = if approve {
            world.store.run_approve(&world.scope, &id, decision).await.unwrap();
            (RunState::Planned, DeliveryState::Pending)
        } else {
            world.store.run_refuse(&world.scope, &id, decision).await.unwrap();
            (RunState::Refused, DeliveryState::Cancelled)
        };
        self.runs[index].state = of_run;
        let of_plan = self.deliveries.iter_mut().filter(|d| d.run == index);
        for delivery in of_plan.filter(|d| d.state == DeliveryState::Held) {
            delivery.state = of_delivery;
        }
        self.end_run(index);
    }

    async fn decide_delivery(&mut self) {
        use DeliveryState::{Cancelled, Dead, Delivered, Held, InDoubt, Pending};
        let choice = self.dice.below(3);
        let states: &[DeliveryState] =
            if choice == 2 { &[Dead, InDoubt, Held, Pending] } else { &[Dead, InDoubt] };
        let Some(index) = self.some_delivery(states) else { return };
        let world = self.world_of(index);
        let (id, decision) = (self.deliveries[index].id.clone(), decision(self.now));
        match choice {
            0 => world.store.delivery_redrive(&world.scope, &id, decision).await.unwrap(),
            1 => world.store.delivery_adopt(&world.scope, &id, json!({}), decision).await.unwrap(),
            _ => world.store.delivery_cancel(&world.scope, &id, decision).await.unwrap(),
        };
        let delivery = &mut self.deliveries[index];
        (delivery.state, delivery.due_at) = ([Pending, Delivered, Cancelled][choice], self.now);
        if choice == 2 {
            // Those that come after it go with it. A plan's deliveries come after earlier ones only.
            for later in index + 1..self.deliveries.len() {
                let lost =
                    self.deliveries[later].after.iter().any(|i| self.deliveries[*i].state == Cancelled);
                if lost && !self.deliveries[later].state.is_final() {
                    self.deliveries[later].state = Cancelled;
                }
            }
        }
        self.end_run(self.deliveries[index].run);
    }

    fn end_run(&mut self, index: usize) {
        let mut states = self.deliveries.iter().filter(|d| d.run == index).map(|d| d.state);
        if self.runs[index].state == RunState::Planned && states.clone().all(DeliveryState::is_final) {
            let cancelled = states.any(|state| state == DeliveryState::Cancelled);
            self.runs[index].state = if cancelled { RunState::Refused } else { RunState::Delivered };
        }
    }

    async fn agrees(&self) {
        for (index, run) in self.runs.iter().enumerate() {
            let world = &self.worlds[run.world];
            assert_eq!(world.run_state(&run.id).await, run.state, "run {index}");
        }
        for (index, delivery) in self.deliveries.iter().enumerate() {
            let world = self.world_of(index);
            let stored = world.store.delivery_get(&world.scope, &delivery.id).await.unwrap().state;
            // The model does not tell waiting from pending: its claims find out.
            let stored = if stored == DeliveryState::Waiting { DeliveryState::Pending } else { stored };
            assert_eq!(stored, delivery.state, "delivery {index}");
        }
    }
}

/// Prints the seed when the history does not come to its end.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the history of seed {} and the model parted: set SEEDS to it", self.0);
        }
    }
}

pub async fn a_random_history_agrees_with_the_model(place: &dyn Place) {
    let mut store = place.open().await;
    let mut now = START;
    for seed in SEEDS {
        let _printed = Seed(seed);
        let worlds = vec![World::new(store.clone()).await, World::new(store).await];
        let dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut model = Model { dice, now, worlds, runs: vec![], deliveries: vec![] };
        for step in 0..STEPS {
            model.step().await;
            if step % 25 == 0 {
                model.agrees().await;
            }
        }
        model.agrees().await;
        finish_everything(&mut model).await;
        for world in &model.worlds {
            super::keeping::adds_up(world).await;
        }
        now = model.now;
        drop(model);
        store = place.open().await;
    }
    assert!(now > at(0));
}

/// Every history can be brought to its end: nothing is stuck for ever (promise 2 of the design).
async fn finish_everything(model: &mut Model) {
    for _ in 0..10_000 {
        let open = model.runs.iter().any(|run| !run.state.is_final());
        if !open {
            return;
        }
        model.now = model.now.plus(std::time::Duration::from_secs(8));
        model.claim_run().await;
        model.claim_delivery().await;
        model.finish_run().await;
        model.finish_delivery().await;
        model.decide_run().await;
        model.decide_delivery().await;
    }
    panic!("some run never ended");
}
