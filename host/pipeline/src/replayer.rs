//! Executes modules again: replays on stored events, shadows on new ones. Nothing is delivered, remembered or raised; what
//! comes of an event is compared with what was recorded and stored with the replay.
//!
//! A replay is claimed under a lease like everything else and goes on in parts: a part's events are executed, and what
//! came of them is stored together with how far the replay has come. After a crash the next start goes on there; a
//! replay during which hosts die again and again is failed. Its calls are made behind all live ones, so no event waits
//! for a replay or a shadow.
//!
//! A module is told exactly what it was told then: the event, the attempt, the settings and the facts that were recorded
//! with the run. So the version that ran then gives the same, in every field, always.

use std::{sync::Arc, time::Duration};

use portolan_domain::{
    Timestamp,
    replay::{Allowed, Tally, compare},
};
use portolan_store::{
    Finish, StoreError,
    mapping::{Mapping, MappingChange, PinChange},
    replay::{Progress, Promotion, Replay, ReplayClaim, ReplayEnd, ReplayInput, ReplayItem, ReplayKind},
};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    Nudge, Shared,
    engine::Engine,
    work::{self, Work},
};

mod execute;
mod item;

use execute::{Executor, Failed};

/// Events of one replay at most.
pub const EVENTS_MAX: u64 = 10_000;
/// Replays of one tenant that run at once; shadows do not count.
pub const RUNNING_PER_TENANT_MAX: u64 = 2;

/// Events of one part.
const PART_MAX: usize = 32;
/// After how many deaths of a host a replay is failed.
const DEATHS_MAX: u32 = 3;
/// How long it rests when something of ours was not available.
const REST: Duration = Duration::from_secs(2);
/// A shadow without anything to do is looked at again after this, though it is woken by what comes.
const IDLE: Duration = Duration::from_secs(3_600);
/// How often in a row it may rest without getting on.
const RESTS_MAX: u32 = 30;

/// The loop.
#[derive(Debug)]
pub struct Replayer {
    shared: Shared,
    engine: Arc<dyn Engine>,
    stopped: watch::Receiver<bool>,
}

/// Why a replay does not go on now.
enum Halt {
    /// It was cancelled, or another host has it.
    Lost,
    /// It is to end, or to rest, so.
    End(ReplayEnd),
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        match error {
            // The mapping or the module is gone.
            StoreError::NotFound => Self::failed("gone", "the mapping or the module no longer exists"),
            error @ StoreError::Corrupt { .. } => Self::failed("unreadable", &error.to_string()),
            error @ (StoreError::Conflict(_) | StoreError::Unavailable(_)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a replay cannot go on now");
                Self::Lost
            }
        }
    }
}

impl Halt {
    fn failed(code: &str, text: &str) -> Self {
        Self::End(ReplayEnd::Failed { reason: json!({ "code": code, "message": text }) })
    }
}

impl Replayer {
    /// One that has not begun.
    #[must_use]
    pub fn new(shared: Shared, engine: Arc<dyn Engine>, stopped: watch::Receiver<bool>) -> Self {
        Self { shared, engine, stopped }
    }

    /// Works until `stopped` turns true; what is under way is given back after its part.
    pub async fn work(self, stopped: watch::Receiver<bool>) {
        work::work(self, stopped).await;
    }

    fn now(&self) -> Timestamp {
        self.shared.steady()
    }

    /// Goes on until there is a reason not to.
    async fn go_on(&self, claim: &ReplayClaim) -> Halt {
        if claim.process_deaths >= DEATHS_MAX {
            let text = format!("the host died {} times while this was executed", claim.process_deaths);
            return Halt::failed("host-died", &text);
        }
        let mut tally = claim.replay.tally.clone();
        let mut rests = 0;
        loop {
            match self.part(claim, &mut tally).await {
                Ok(()) if *self.stopped.borrow() => {
                    return Halt::End(ReplayEnd::Rests { until: self.now() });
                }
                Ok(()) => rests = 0,
                Err(Failed::Halt(halt)) => return halt,
                Err(Failed::Later(why)) => {
                    rests += 1;
                    if rests > RESTS_MAX {
                        return Halt::failed("unavailable", &why);
                    }
                    if *self.stopped.borrow() {
                        return Halt::End(ReplayEnd::Rests { until: self.now() });
                    }
                    tokio::time::sleep(REST).await;
                }
            }
        }
    }

    /// Executes the next events and stores what came of them.
    async fn part(&self, claim: &ReplayClaim, tally: &mut Tally) -> Result<(), Failed> {
        let replay = &claim.replay;
        let store = &self.shared.store;
        let part = store.replay_part(&replay.id, PART_MAX).await?;
        if part.is_last && part.inputs.is_empty() {
            return Err(Failed::Halt(self.over(claim, tally).await?));
        }
        let mapping = store.mapping_get(&replay.scope, &replay.mapping).await?;
        let module = store.module_get(&replay.scope.tenant, &replay.module).await?;
        if module.paused.is_some() {
            return Err(Failed::Later("the module is paused".to_owned()));
        }
        let executor = Executor {
            shared: &self.shared,
            engine: &*self.engine,
            replay,
            mapping: &mapping,
            description: &module.description,
        };
        let mut items = Vec::with_capacity(part.inputs.len());
        // Of this part; the replay's own only when all of it is stored.
        let mut counted = tally.clone();
        for input in &part.inputs {
            items.push(one(&executor, &mapping, input, &mut counted).await?);
        }
        let progress = Progress {
            items,
            tally: counted.clone(),
            cursor: part.cursor,
            leased_until: self.now().plus(Duration::from_millis(self.shared.settings.lease_ms)),
        };
        metrics::counter!("portolan_replayed_events_total").increment(progress.items.len() as u64);
        match store.replay_progress(&replay.id, &claim.lease, progress, self.now()).await? {
            Finish::Done => *tally = counted,
            Finish::LeaseLost => return Err(Failed::Halt(Halt::Lost)),
        }
        if part.is_last && replay.kind == ReplayKind::Replay {
            return Err(Failed::Halt(self.over(claim, tally).await?));
        }
        Ok(())
    }

    /// There are no more events for now.
    async fn over(&self, claim: &ReplayClaim, tally: &Tally) -> Result<Halt, StoreError> {
        let replay = &claim.replay;
        let end = match (replay.kind, &replay.asked.promotion) {
            (ReplayKind::Shadow, _) => ReplayEnd::Rests { until: self.now().plus(IDLE) },
            (ReplayKind::Replay, None) => ReplayEnd::Done { promotion: Value::Null },
            (ReplayKind::Replay, Some(promotion)) => {
                ReplayEnd::Done { promotion: self.promote(replay, promotion, tally).await? }
            }
        };
        Ok(Halt::End(end))
    }

    /// Moves the pin, if what the replay shows is allowed.
    async fn promote(
        &self,
        replay: &Replay,
        promotion: &Promotion,
        tally: &Tally,
    ) -> Result<Value, StoreError> {
        let allowed = promotion.allowed.as_deref().map_or(Allowed::None, Allowed::Listed);
        if let Err(unclean) = tally.check(&allowed) {
            return Ok(json!({ "state": "refused", "code": "replay-differs", "unclean": unclean }));
        }
        let change = MappingChange {
            pin: Some(PinChange { replay: Some(replay.id.clone()), ..promotion.pin.clone() }),
            instead_of: Some(promotion.instead_of),
            ..MappingChange::default()
        };
        let store = &self.shared.store;
        let moved =
            store.mapping_update(&replay.scope, &replay.mapping, change, self.shared.clock.now()).await;
        self.shared.routes.forget();
        match moved {
            Ok(mapping) => Ok(json!({ "state": "pinned", "pin": mapping.life.pin })),
            Err(StoreError::Conflict(why)) => {
                // Moved by this replay, before a crash kept it from saying so?
                let pins = store.mapping_pins(&replay.scope, &replay.mapping).await?;
                match pins.iter().find(|pin| pin.replay.as_ref() == Some(&replay.id)) {
                    Some(pin) => Ok(json!({ "state": "pinned", "pin": pin.number })),
                    None => Ok(json!({ "state": "refused", "code": "pinned-meanwhile", "message": why })),
                }
            }
            Err(error) => Err(error),
        }
    }
}

/// Executes one event and compares.
async fn one(
    executor: &Executor<'_>,
    mapping: &Mapping,
    input: &ReplayInput,
    tally: &mut Tally,
) -> Result<ReplayItem, Failed> {
    let before = input.recorded.as_ref().and_then(item::ending);
    let (after, fuel) = executor.execute(mapping, input).await?;
    let comparison = compare(before.as_ref(), &after);
    let fuel_before = input.recorded.as_ref().map_or(0, |recorded| recorded.fuel);
    tally.add(&comparison, before.as_ref().map(|before| (before, fuel_before)), (&after, fuel));
    Ok(item::item(input, (before.as_ref(), fuel_before), (&after, fuel), comparison))
}

impl Work for Replayer {
    type Claim = ReplayClaim;
    const NAME: &'static str = "the replayer";

    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn nudge(&self) -> &Nudge {
        &self.shared.replays_due
    }

    fn slots_max(&self) -> usize {
        self.shared.settings.replays_max
    }

    async fn claim(&self, slots: usize) -> Result<Vec<ReplayClaim>, StoreError> {
        let lease_ms = self.shared.settings.lease_ms;
        self.shared.store.replay_claim(&self.shared.owner, self.now(), lease_ms, slots).await
    }

    async fn next_due(&self, _: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }

    async fn carry_out(&self, claim: ReplayClaim) {
        let Halt::End(end) = self.go_on(&claim).await else { return };
        let (id, now) = (&claim.replay.id, self.now());
        tracing::info!(replay.id = %id, replay.end = ?std::mem::discriminant(&end), "replay");
        let stored =
            work::store_end(|| self.shared.store.replay_end(id, &claim.lease, end.clone(), now)).await;
        if let Err(error) = stored {
            tracing::error!(replay.id = %id, error = &error as &dyn std::error::Error, "a replay's end could not be stored");
        }
    }
}
