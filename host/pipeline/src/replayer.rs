//! Executes modules again: replays on stored events, shadows on new ones. Nothing is delivered, remembered or raised; what
//! comes of an event is compared with what was recorded and stored with the replay.
//!
//! A replay is claimed under a lease like everything else, for one part: its events are executed, and what came of them is
//! stored together with how far the replay has come, and how it goes on. Then it is the turn of whoever waited longest.
//! After a crash the next start goes on there; a replay during which hosts die again and again is failed. Its calls are
//! made behind all live ones, so no event waits for a replay or a shadow.
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
    mapping::{MappingChange, PinChange},
    module::Module,
    replay::{Progress, Promotion, Replay, ReplayClaim, ReplayEnd, ReplayInput, ReplayItem, ReplayKind},
};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    Nudge, Shared,
    engine::Engine,
    signatures,
    work::{self, Work},
};

pub(crate) mod execute;
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
/// How often in a row a replay may rest without getting on; a shadow as often as it must.
const RESTS_MAX: u32 = 30;
/// After this time a part ends with the event that it is at: what was asked of others is not asked again, and a replay
/// that waits has its turn.
const PART_TIME: Duration = Duration::from_secs(10);

/// The loop.
#[derive(Debug)]
pub struct Replayer {
    shared: Shared,
    engine: Arc<dyn Engine>,
}

impl Replayer {
    /// One that has not begun.
    #[must_use]
    pub fn new(shared: Shared, engine: Arc<dyn Engine>) -> Self {
        Self { shared, engine }
    }

    /// Works until `stopped` turns true; what is under way is given back after its part.
    pub async fn work(self, stopped: watch::Receiver<bool>) {
        work::work(self, stopped).await;
    }

    fn now(&self) -> Timestamp {
        self.shared.steady()
    }

    /// Executes the next events: what came of them, and how the replay goes on.
    async fn part(&self, claim: &ReplayClaim) -> Result<(Option<Progress>, ReplayEnd), Failed> {
        let replay = &claim.replay;
        if claim.process_deaths >= DEATHS_MAX {
            let text = format!("the host died {} times while this was executed", claim.process_deaths);
            return Err(Failed::Never("host-died", text));
        }
        let store = &self.shared.store;
        let part = store.replay_part(&replay.id, PART_MAX).await?;
        let mapping = store.mapping_get(&replay.scope, &replay.mapping).await?;
        let module = store.module_get(&replay.scope.tenant, &replay.module).await?;
        let executor = Executor {
            shared: &self.shared,
            engine: &*self.engine,
            scope: &replay.scope,
            module: &replay.module,
            asked: &replay.asked,
            mapping: &mapping,
            description: &module.description,
            behind: true,
        };
        let begun = self.shared.clock.monotonic();
        let mut progress = Progress { items: Vec::new(), tally: replay.tally.clone(), cursor: part.cursor };
        let mut is_last = part.is_last;
        for (number, input) in part.inputs.iter().enumerate() {
            progress.items.push(one(&executor, input, &mut progress.tally).await?);
            let took = self.shared.clock.monotonic().saturating_sub(begun);
            if took > PART_TIME && number + 1 < part.inputs.len() {
                (progress.cursor, is_last) = (input.cursor, false);
                break;
            }
        }
        metrics::counter!("portolan_replayed_events_total").increment(progress.items.len() as u64);
        let end = match replay.kind {
            ReplayKind::Replay if is_last => self.over(&module, replay, &progress.tally).await?,
            // Behind those of others that wait.
            ReplayKind::Replay => ReplayEnd::Rests { until: self.now() },
            // It goes on at once when something waits.
            ReplayKind::Shadow => ReplayEnd::Rests { until: self.now().plus(IDLE) },
        };
        Ok((Some(progress), end))
    }

    /// How a replay goes on that could not now.
    fn later(&self, claim: &ReplayClaim, why: &str) -> ReplayEnd {
        if claim.replay.kind == ReplayKind::Replay && claim.rests >= RESTS_MAX {
            let reason = json!({ "code": "unavailable", "message": why });
            return ReplayEnd::Failed { reason };
        }
        tracing::warn!(replay.id = %claim.replay.id, "a replay cannot go on now: {why}");
        ReplayEnd::Rests { until: self.now().plus(REST) }
    }

    /// Does the work of a lease, which ends later and later meanwhile; nothing when it was lost.
    async fn leased<T>(&self, claim: &ReplayClaim, work: impl Future<Output = T>) -> Option<T> {
        let lease = Duration::from_millis(self.shared.settings.lease_ms);
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Some(done),
                () = tokio::time::sleep(lease / 3) => {}
            }
            let until = self.now().plus(lease);
            match self.shared.store.replay_renew(&claim.replay.id, &claim.lease, until).await {
                Ok(Finish::Done) => {}
                Ok(Finish::LeaseLost) => return None,
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "a replay's lease is not longer"
                    );
                }
            }
        }
    }

    /// There are no more events.
    async fn over(&self, module: &Module, replay: &Replay, tally: &Tally) -> Result<ReplayEnd, StoreError> {
        let promotion = match &replay.asked.promotion {
            None => Value::Null,
            Some(promotion) => self.promote((replay, module), promotion, tally).await?,
        };
        Ok(ReplayEnd::Done { promotion })
    }

    /// Moves the pin, if what the replay shows is allowed.
    async fn promote(
        &self,
        (replay, module): (&Replay, &Module),
        promotion: &Promotion,
        tally: &Tally,
    ) -> Result<Value, StoreError> {
        let store = &self.shared.store;
        if !signatures::may_be_pinned(&**store, module).await? {
            return Ok(json!({ "state": "refused", "code": "signature-required" }));
        }
        if !tally.is_enough(replay.events_max, replay.events_max) {
            let compared = tally.compared();
            return Ok(json!({ "state": "refused", "code": "replay-unfit", "compared": compared }));
        }
        let allowed = promotion.allowed.as_deref().map_or(Allowed::None, Allowed::Listed);
        if let Err(unclean) = tally.check(&allowed) {
            return Ok(json!({ "state": "refused", "code": "replay-differs", "unclean": unclean }));
        }
        let change = MappingChange {
            pin: Some(PinChange { replay: Some(replay.id.clone()), ..promotion.pin.clone() }),
            instead_of: Some(promotion.instead_of),
            ..MappingChange::default()
        };
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
async fn one(executor: &Executor<'_>, input: &ReplayInput, tally: &mut Tally) -> Result<ReplayItem, Failed> {
    let before = input.recorded.as_ref().and_then(item::ending);
    let (after, fuel) = executor.execute(input).await?;
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

    fn lane(claim: &ReplayClaim) -> &str {
        claim.replay.scope.tenant.as_str()
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
        let Some(part) = self.leased(&claim, self.part(&claim)).await else { return };
        let end = match part {
            Ok(made) => made,
            Err(Failed::Later(why)) => (None, self.later(&claim, &why)),
            Err(Failed::Never(code, why)) => {
                (None, ReplayEnd::Failed { reason: json!({ "code": code, "message": why }) })
            }
        };
        let (id, now) = (&claim.replay.id, self.now());
        tracing::debug!(replay.id = %id, replay.end = ?std::mem::discriminant(&end.1), "a part of a replay");
        let stored =
            work::store_end(|| self.shared.store.replay_end(id, &claim.lease, end.clone(), now)).await;
        if let Err(error) = stored {
            tracing::error!(replay.id = %id, error = &error as &dyn std::error::Error, "a replay's end could not be stored");
        }
    }
}
