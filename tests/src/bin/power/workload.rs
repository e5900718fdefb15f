//! What the store is made to do while its disk is watched: several callers at once, each with a tenant of its own, take
//! events through their whole lives in every way there is. Each tells the disk what it was told is durable.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use portolan_domain::{
    AlertId, ConnectionId, EventId, MappingId, Scope, SourceId, Timestamp,
    contract::{Reference, ReferenceKey, Severity},
    state::{DeliveryState, RunState},
    verdict::CallFailure,
};
use portolan_store::{
    ClaimRequest, Finish, Page, Store, StoreError,
    alert::NewAlert,
    conformance::world::{START, World, request},
    delivery::{DeliveryClaim, DeliveryEnd, DeliveryFilter, Sent},
    event::Accepted,
    lookup::LookupRow,
    poll::{PollEnd, Sight},
    run::{Decision, NewDelivery, RunClaim, RunEnd, RunRecord},
};
use portolan_tests::dice::Dice;
use serde_json::{Value, json};

use crate::{disk::Disk, facts::Fact};

/// Objects that a caller's events are about: few, so that they wait for each other.
const OBJECTS: usize = 4;

/// What all callers share.
pub(crate) struct Workload {
    store: Arc<dyn Store>,
    disk: Arc<Disk>,
    worlds: Vec<World>,
    pings: AtomicU64,
    steps: AtomicU64,
}

/// What callers know while their store is closed.
#[derive(Clone)]
pub(crate) struct Callers {
    seats: Vec<(Scope, SourceId, ConnectionId, MappingId)>,
    pings: u64,
    steps: u64,
}

type Stepped = Result<(), StoreError>;

impl Workload {
    /// With so many tenants, each made now.
    pub(crate) async fn set_up(store: Arc<dyn Store>, disk: Arc<Disk>, callers: usize) -> Self {
        let mut worlds = Vec::new();
        for _ in 0..callers {
            let world = World::new(store.clone()).await;
            disk.acknowledge(Fact::mapping(world.mapping.as_str()));
            worlds.push(world);
        }
        Self { store, disk, worlds, pings: AtomicU64::new(0), steps: AtomicU64::new(0) }
    }

    /// Lets go of the store; the callers can go on with it when it is open again.
    pub(crate) fn leave(self) -> Callers {
        let seats =
            self.worlds.into_iter().map(|world| (world.scope, world.source, world.connection, world.mapping));
        Callers { seats: seats.collect(), pings: self.pings.into_inner(), steps: self.steps.into_inner() }
    }

    /// Goes on with the same callers.
    pub(crate) fn enter(callers: Callers, store: Arc<dyn Store>, disk: Arc<Disk>) -> Self {
        let worlds = callers.seats.into_iter().map(|(scope, source, connection, mapping)| World {
            store: store.clone(),
            scope,
            source,
            connection,
            mapping,
        });
        let worlds = worlds.collect();
        Self { store, disk, worlds, pings: callers.pings.into(), steps: callers.steps.into() }
    }

    /// Every caller makes so many steps, all at once, and ends with the first that fails.
    pub(crate) async fn run(self: &Arc<Self>, steps: usize, seed: u64) -> Stepped {
        self.run_all(steps, seed).await.into_iter().try_for_each(|(_, stepped)| stepped)
    }

    /// Every caller makes so many steps, all at once, whatever comes of each: with the number of the caller.
    pub(crate) async fn run_all(self: &Arc<Self>, steps: usize, seed: u64) -> Vec<(usize, Stepped)> {
        let callers = (0..self.worlds.len()).map(|caller| {
            let workload = self.clone();
            tokio::spawn(async move {
                let mut dice = Dice::new(Dice::seed_of(seed, caller as u64));
                let mut all = Vec::new();
                for _ in 0..steps {
                    all.push((caller, workload.step(caller, &mut dice).await));
                }
                all
            })
        });
        let mut all = Vec::new();
        for (caller, steps) in callers.collect::<Vec<_>>().into_iter().enumerate() {
            let steps = steps.await;
            all.extend(steps.unwrap_or_else(|error| {
                vec![(
                    caller,
                    Err(StoreError::Corrupt { what: "a panic".to_owned(), source: Box::new(error) }),
                )]
            }));
        }
        all
    }

    /// Something, by chance. A conflict is what two people who decide about the same thing meet.
    pub(crate) async fn step(&self, caller: usize, dice: &mut Dice) -> Stepped {
        let Some(world) = self.worlds.get(caller) else { return Ok(()) };
        let number = self.steps.fetch_add(1, Ordering::Relaxed);
        let now = START.plus(std::time::Duration::from_millis(number * 50));
        let stepped = match dice.below(24) {
            0..=5 => self.accept(world, dice).await,
            6..=9 => self.take_runs(dice, now).await,
            10..=15 => self.take_deliveries(dice, now).await,
            16 => self.decide_run(world, dice, now).await,
            17 | 18 => self.decide_delivery(world, dice, now).await,
            19 => self.ask(world, now).await,
            20 => self.alert(world, number, now).await,
            21 => self.ping().await,
            22 => self.look_up(world, number).await,
            _ => self.leave_leases_to_end(dice, now).await,
        };
        match stepped {
            Err(StoreError::Conflict(_)) => Ok(()),
            stepped => stepped,
        }
    }

    async fn accept(&self, world: &World, dice: &mut Dice) -> Stepped {
        let object = format!("ch_{}", dice.below(OBJECTS));
        let (mut event, run) = (world.an_event(Some(&object)), world.a_run());
        // Now and then one that does not fit into a page.
        let bytes = if dice.once_in(8) { 9_000 } else { 40 + dice.below(400) };
        event.payload = format!("{:x<bytes$}", event.id).into_bytes();
        let told = self.store.event_accept(event.clone(), vec![run.clone()]).await;
        match told {
            Ok(Accepted::New) => self.disk.acknowledge(Fact::accepted(&event, &run.id)),
            Ok(Accepted::Repeat(_)) => {
                return Err(StoreError::Conflict("an event of a new key was called a repeat"));
            }
            Err(error) => {
                self.send_again(world, event.idempotency_key, event.id).await?;
                return Err(error);
            }
        }
        if dice.once_in(4) {
            self.send_again(world, event.idempotency_key, event.id).await?;
        }
        Ok(())
    }

    /// What a sender does that heard nothing good, or that knows no better: the same key, and another id of ours.
    async fn send_again(&self, world: &World, key: String, first: EventId) -> Stepped {
        let (mut event, run) = (world.an_event(Some("ch_again")), world.a_run());
        event.idempotency_key.clone_from(&key);
        match self.store.event_accept(event.clone(), vec![run.clone()]).await? {
            Accepted::New => self.disk.acknowledge(Fact::accepted(&event, &run.id)),
            Accepted::Repeat(id) if id == first => self.disk.acknowledge(Fact::first_of_key(&id, &key)),
            Accepted::Repeat(_) => return Err(corrupt("a repeat was answered with an id that nobody knows")),
        }
        Ok(())
    }

    async fn take_runs(&self, dice: &mut Dice, now: Timestamp) -> Stepped {
        let some = ClaimRequest { rows_max: 1 + dice.below(4), ..request("one", now) };
        let claims = self.store.run_claim(some).await?;
        for claim in &claims {
            self.disk.acknowledge(Fact::run_claimed(&claim.id, claim.lease.epoch));
        }
        for claim in claims {
            self.end_run(&claim, dice, now).await?;
        }
        Ok(())
    }

    async fn end_run(&self, claim: &RunClaim, dice: &mut Dice, now: Timestamp) -> Stepped {
        let Some(world) = self.world_of(claim.event.scope.tenant.as_str()) else { return Ok(()) };
        let later = now.plus(std::time::Duration::from_millis(200));
        let why = json!({ "code": "by-chance", "message": "by chance" });
        let mut planned = None;
        let mut outcome = json!({ "not": "a plan" });
        let end = match dice.below(12) {
            0 => RunEnd::Deferred { due_at: later, reason: why },
            1 => RunEnd::Retried { due_at: later, reason: why },
            2 => RunEnd::Skipped { reason: why },
            3 => RunEnd::Dead { reason: why, alerts: vec![alert("a run died", now)] },
            // Nobody finishes it: its lease ends.
            4 => return Ok(()),
            choice => {
                let deliveries = deliveries(world, dice);
                planned = Some(deliveries.len());
                let held = (choice == 5).then(|| "a large amount".to_owned());
                let reference = reference(claim.id.as_str());
                // What must be there with the run, for the judge.
                outcome =
                    json!({ "deliveries": deliveries.len(), "references": usize::from(held.is_none()) });
                let ordering_key = format!("order {}", dice.below(3));
                let references = vec![reference];
                let alerts = vec![alert("planned", now)];
                RunEnd::Planned { deliveries, ordering_key, references, alerts, held }
            }
        };
        let finish = self.store.run_finish(&claim.id, &claim.lease, record(outcome), end, now).await?;
        if finish == Finish::Done {
            self.disk.acknowledge(Fact::run_ended(&claim.id, claim.lease.epoch, planned));
        }
        Ok(())
    }

    async fn take_deliveries(&self, dice: &mut Dice, now: Timestamp) -> Stepped {
        let some = ClaimRequest { rows_max: 1 + dice.below(4), ..request("one", now) };
        let claims = self.store.delivery_claim(some).await?;
        for claim in &claims {
            self.disk.acknowledge(Fact::intent(&claim.id, claim.attempt));
        }
        for claim in claims {
            self.end_delivery(&claim, dice, now).await?;
        }
        Ok(())
    }

    async fn end_delivery(&self, claim: &DeliveryClaim, dice: &mut Dice, now: Timestamp) -> Stepped {
        let due_at = now.plus(std::time::Duration::from_millis(200));
        let ambiguous = CallFailure::ambiguous("timeout", "no answer");
        let (end, verdict) = match dice.below(12) {
            0 => (DeliveryEnd::Retry { due_at, failure: ambiguous, alerts: vec![] }, "ambiguous"),
            1 => (
                DeliveryEnd::InDoubt { failure: ambiguous, alerts: vec![alert("in doubt", now)] },
                "ambiguous",
            ),
            2 => {
                let failure = CallFailure::permanent("period-closed", "closed");
                (DeliveryEnd::Dead { failure, alerts: vec![] }, "permanent")
            }
            3 => return Ok(()),
            _ => {
                let references = vec![reference(claim.id.as_str())];
                let response = json!({ "number": claim.call_id });
                (DeliveryEnd::Delivered { response, adopted: false, references }, "delivered")
            }
        };
        let sent = Some(Sent { body: json!({ "sent": claim.key }), sha256: claim.key.clone() });
        let finish = self.store.delivery_finish(&claim.id, &claim.lease, sent, end, now).await?;
        if finish == Finish::Done {
            self.disk.acknowledge(Fact::verdict(&claim.id, claim.attempt, verdict));
        }
        Ok(())
    }

    fn decision(&self, now: Timestamp) -> Decision {
        let why = format!("because {}", self.steps.fetch_add(1, Ordering::Relaxed));
        Decision { by: "key_of_anna".to_owned(), why, at: now }
    }

    async fn decide_run(&self, world: &World, dice: &mut Dice, now: Timestamp) -> Stepped {
        let decision = self.decision(now);
        let why = decision.why.clone();
        let page = || Page { before: None, rows_max: 10 };
        let held = self
            .store
            .run_list(&world.scope, RunState::Held, portolan_store::run::RunFilter::default(), page())
            .await?;
        let dead = self
            .store
            .run_list(&world.scope, RunState::Dead, portolan_store::run::RunFilter::default(), page())
            .await?;
        let id = match (held.first(), dead.first()) {
            (Some(run), _) if dice.once_in(3) => {
                self.store.run_refuse(&world.scope, &run.id, decision).await?;
                &run.id
            }
            (Some(run), _) => {
                self.store.run_approve(&world.scope, &run.id, decision).await?;
                &run.id
            }
            (None, Some(run)) => {
                self.store.run_redrive(&world.scope, &run.id, decision).await?;
                &run.id
            }
            (None, None) => return Ok(()),
        };
        self.disk.acknowledge(Fact::decided(id.as_str(), &why));
        Ok(())
    }

    async fn decide_delivery(&self, world: &World, dice: &mut Dice, now: Timestamp) -> Stepped {
        let states = [DeliveryState::Dead, DeliveryState::InDoubt, DeliveryState::Pending];
        let choice = dice.below(3);
        // What is only waiting for its turn can be given up, not redriven.
        let state = states.get(dice.below(if choice == 2 { 3 } else { 2 })).copied();
        let filter = DeliveryFilter { state, ..DeliveryFilter::default() };
        let found =
            self.store.delivery_list(&world.scope, filter, Page { before: None, rows_max: 5 }).await?;
        let Some(delivery) = dice.pick(&found) else { return Ok(()) };
        let (scope, id, decision) = (&world.scope, &delivery.id, self.decision(now));
        let why = decision.why.clone();
        let _decided = match choice {
            0 => self.store.delivery_redrive(scope, id, decision).await?,
            1 => self.store.delivery_adopt(scope, id, json!({ "number": "by hand" }), decision).await?,
            _ => self.store.delivery_cancel(scope, id, decision).await?,
        };
        self.disk.acknowledge(Fact::decided(id.as_str(), &why));
        Ok(())
    }

    async fn ask(&self, world: &World, now: Timestamp) -> Stepped {
        let source = &world.source;
        let every = Some(std::time::Duration::from_millis(1));
        if self.store.poll_state(&world.scope, source).await?.is_none() {
            self.store.poll_schedule(&world.scope, source, every, START).await?;
        }
        for claim in self.store.poll_claim("one", now, 1, 2).await? {
            let Some(of) = self.worlds.iter().find(|of| of.source == claim.source) else { continue };
            let cursor = claim.cursor.as_u64().unwrap_or(0) + 1;
            let end = PollEnd { cursor: json!(cursor), due_at: Some(now), failure: None, alerts: vec![] };
            if self.store.poll_finish(&claim, &of.scope, end, now).await? == Finish::Done {
                self.disk.acknowledge(Fact::asked(claim.source.as_str(), cursor));
            }
        }
        let number = self.store.poll_sight(source, "customer").await?.map_or(1, |sight| sight.number + 1);
        let sight = Sight { version: format!("v{number}"), number };
        self.store.poll_saw(source, "customer", sight).await?;
        self.disk.acknowledge(Fact::seen(source.as_str(), "customer", number));
        Ok(())
    }

    async fn alert(&self, world: &World, number: u64, now: Timestamp) -> Stepped {
        // Two titles, so that some are counted and some are new.
        let title = format!("alert {} of {}", number % 2, world.scope.tenant);
        self.store.alert_raise(&world.scope, alert(&title, now)).await?;
        self.disk.acknowledge(Fact::alerted(&title, 1));
        Ok(())
    }

    /// The smallest write.
    pub(crate) async fn ping(&self) -> Stepped {
        self.store.ping().await?;
        let number = self.pings.fetch_add(1, Ordering::SeqCst) + 1;
        self.disk.acknowledge(Fact::pinged(number));
        Ok(())
    }

    async fn look_up(&self, world: &World, number: u64) -> Stepped {
        let key = format!("key {number}");
        let row = LookupRow { key: key.clone(), value: Value::from(number) };
        self.store.lookup_put(&world.scope, "items", vec![row]).await?;
        self.disk.acknowledge(Fact::looked_up(world.scope.tenant.as_str(), &key));
        Ok(())
    }

    /// Claims, and never finishes.
    async fn leave_leases_to_end(&self, dice: &mut Dice, now: Timestamp) -> Stepped {
        let one = ClaimRequest { rows_max: 1, lease_ms: 300, ..request("one", now) };
        if dice.once_in(2) {
            for claim in self.store.run_claim(one).await? {
                self.disk.acknowledge(Fact::run_claimed(&claim.id, claim.lease.epoch));
            }
        } else {
            for claim in self.store.delivery_claim(one).await? {
                self.disk.acknowledge(Fact::intent(&claim.id, claim.attempt));
            }
        }
        Ok(())
    }

    fn world_of(&self, tenant: &str) -> Option<&World> {
        self.worlds.iter().find(|world| world.scope.tenant.as_str() == tenant)
    }
}

fn deliveries(world: &World, dice: &mut Dice) -> Vec<NewDelivery> {
    let mut deliveries: Vec<NewDelivery> = Vec::new();
    for position in 0..dice.below(4) {
        let after: Vec<String> = (0..position).filter(|_| dice.once_in(2)).map(|i| format!("d{i}")).collect();
        let after: Vec<&str> = after.iter().map(String::as_str).collect();
        let mut delivery = world.a_delivery(&format!("d{position}"), &after);
        delivery.once = dice.once_in(4).then(|| format!("fact {}", dice.below(3)));
        deliveries.push(delivery);
    }
    deliveries
}

fn record(outcome: Value) -> RunRecord {
    RunRecord { outcome, ..portolan_store::conformance::world::record() }
}

fn reference(id: &str) -> Reference {
    let key = ReferenceKey { kind: "by".to_owned(), id: id.to_owned() };
    Reference { key, system: "sap-ecc".to_owned(), id: format!("document of {id}") }
}

fn alert(title: &str, now: Timestamp) -> NewAlert {
    NewAlert {
        id: AlertId::generate(now),
        severity: Severity::Warning,
        code: "by-chance".to_owned(),
        title: title.to_owned(),
        detail: Value::Null,
        at: now,
    }
}

fn corrupt(what: &str) -> StoreError {
    StoreError::Corrupt { what: what.to_owned(), source: "the answer of a method".into() }
}
