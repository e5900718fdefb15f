//! Maps an event again for a person who has put right what its deliveries died of: rows of lookup tables, settings, the
//! module. What the pinned version gives now takes the place of the dead deliveries' bodies, beside which the planned ones
//! stay; calls keep their identity, so whatever the other system has of them by now is found.
//!
//! It changes what is sent, never how much of it there is: a plan with other deliveries than the one that is being carried
//! out is refused, for a part of that one may be delivered.

use portolan_domain::{
    RunId, Scope,
    contract::{Outcome, Plan},
    replay::Ending,
    state::{DeliveryState, RunState, TenantState},
};
use portolan_store::{
    StoreError,
    delivery::{Delivery, Remapped},
    mapping::Mapping,
    module::Module,
    replay::{Asked, NewNeeds, Recorded, ReplayInput},
    run::{Decided, Decision, NewDelivery, Run, RunEnd},
};
use serde::Deserialize;

use crate::{
    Shared,
    engine::Engine,
    plans,
    replayer::execute::{Executor, Failed},
};

/// Why an event is not mapped again.
#[derive(Debug, thiserror::Error)]
pub enum NotRemapped {
    /// There is no such run, it stands otherwise, or the store cannot answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What comes of the event now cannot take the place of the plan. Correct the deliveries by hand.
    #[error("{0}")]
    Differs(String),
    /// The module fails, or something that it takes is not available.
    #[error("{code}: {message}")]
    Fails {
        /// `guest-trapped`, `unavailable`, …
        code: String,
        /// For people.
        message: String,
    },
}

impl From<Failed> for NotRemapped {
    fn from(failed: Failed) -> Self {
        let (code, message) = match failed {
            Failed::Later(why) => ("unavailable", why),
            Failed::Never(code, why) => (code, why),
        };
        Self::Fails { code: code.to_owned(), message }
    }
}

/// Maps the run's event again. Answers the deliveries that were given another body, and whether that takes a second key.
///
/// # Errors
/// See [`NotRemapped`]. Nothing is changed then.
pub async fn remap(
    (shared, engine): (&Shared, &dyn Engine),
    (scope, id): (&Scope, &RunId),
    decision: Decision,
) -> Result<Vec<(portolan_domain::DeliveryId, Decided)>, NotRemapped> {
    let store = &shared.store;
    let run = store.run_get(scope, id).await?;
    let there = store.delivery_of_run(scope, id).await?;
    let is_dead = there.iter().any(|delivery| delivery.state == DeliveryState::Dead);
    if run.state != RunState::Planned || !is_dead {
        return Err(StoreError::Conflict("no delivery of the run is dead").into());
    }
    let mapping = store.mapping_get(scope, &run.mapping).await?;
    let module = store.module_get(&scope.tenant, &mapping.module).await?;
    let tenant = store.tenant_get(&scope.tenant).await?;
    let is_stopped = tenant.state != TenantState::Active
        || tenant.paused
        || mapping.life.paused.is_some()
        || module.paused.is_some();
    if is_stopped {
        return Err(StoreError::Conflict("the tenant, the mapping or its module is stopped").into());
    }
    let planned = planned_now((shared, engine), (&mapping, &module), &run, &decision).await?;
    let planned = fitting(&there, planned)?;
    let wanted = there.iter().zip(planned).filter(|(old, _)| is_open(old));
    let remapped =
        wanted.map(|(_, new)| Remapped { key: new.key, body: new.body, ledger: new.ledger }).collect();
    Ok(store.delivery_remap(scope, id, remapped, decision).await?)
}

const fn is_open(delivery: &Delivery) -> bool {
    matches!(delivery.state, DeliveryState::Dead | DeliveryState::Waiting)
}

/// The deliveries that the pinned version plans for the event now, with facts as they are now.
async fn planned_now(
    (shared, engine): (&Shared, &dyn Engine),
    (mapping, module): (&Mapping, &Module),
    run: &Run,
    decision: &Decision,
) -> Result<Vec<NewDelivery>, NotRemapped> {
    let event = shared.store.event_get(&run.scope, &run.event).await?;
    let asked = Asked { new_needs: NewNeeds::Asked, ..Asked::default() };
    let executor = Executor {
        shared,
        engine,
        scope: &run.scope,
        module: &mapping.module,
        asked: &asked,
        mapping,
        description: &module.description,
        behind: false,
    };
    // As the run, but told nothing of what it was told then: neither facts nor settings.
    let recorded = Recorded {
        run: run.id.clone(),
        state: run.state,
        reason: run.reason.clone(),
        outcome: run.outcome.clone(),
        module: run.module.clone(),
        attempt: run.attempts,
        settings: None,
        facts: Vec::new(),
        fuel: 0,
    };
    let input = ReplayInput { event, recorded: Some(recorded), cursor: 0 };
    let (ending, _) = executor.execute(&input).await?;
    let plan = plan_of(ending, run)?;
    let rules = (&module.description, &shared.settings.plan);
    let end = plans::to_run_end(plan, None, &input.event, mapping, rules, decision.at);
    match end {
        Ok(RunEnd::Planned { deliveries, .. }) => Ok(deliveries),
        Ok(
            RunEnd::Deferred { .. }
            | RunEnd::Retried { .. }
            | RunEnd::Postponed { .. }
            | RunEnd::Skipped { .. }
            | RunEnd::Dead { .. },
        ) => Err(NotRemapped::Differs("the module plans nothing now".to_owned())),
        Err(bad) => Err(NotRemapped::Differs(bad.to_string())),
    }
}

/// The plan, unless it now wants an approval that the first one did not have.
fn plan_of(ending: Ending, run: &Run) -> Result<Plan, NotRemapped> {
    let was_held = matches!(Outcome::deserialize(&run.outcome), Ok(Outcome::Hold(_)));
    match ending {
        Ending::Decided(Outcome::Deliver(plan)) => Ok(plan),
        Ending::Decided(Outcome::Hold(held)) if was_held => Ok(held.plan),
        Ending::Decided(Outcome::Hold(held)) => {
            Err(NotRemapped::Differs(format!("the module now asks for an approval: {}", held.reason)))
        }
        Ending::Failed { code, message } => Err(NotRemapped::Fails { code, message }),
        other @ (Ending::Decided(
            Outcome::Need(_) | Outcome::Defer(_) | Outcome::Skip(_) | Outcome::Reject(_),
        )
        | Ending::Unanswered(_)) => {
            let text = format!("the module now ends with `{}`: {}", other.name(), other.document());
            Err(NotRemapped::Differs(text.chars().take(2_000).collect()))
        }
    }
}

/// The new deliveries in the order of those that are there; a refusal when they are not the same calls.
fn fitting(there: &[Delivery], mut planned: Vec<NewDelivery>) -> Result<Vec<NewDelivery>, NotRemapped> {
    let mut fitting = Vec::with_capacity(there.len());
    for old in there {
        let at = planned.iter().position(|new| new.key == old.key);
        let new = at.map(|at| planned.swap_remove(at));
        let new = new.filter(|new| {
            new.call_id == old.call_id
                && new.connection == old.connection
                && new.operation == old.operation
                && new.after == old.after
        });
        fitting.push(new.ok_or_else(|| {
            NotRemapped::Differs(format!("the module no longer plans the delivery {:?} as it was", old.key))
        })?);
    }
    match planned.first() {
        None => Ok(fitting),
        Some(new) => Err(NotRemapped::Differs(format!("the module now plans {:?}, too", new.key))),
    }
}
