//! One call of a module, from the first byte to the last: a fresh store and instance, the call, the outcome.
//! Runs on the calling thread and blocks it for as long as the limits allow; the guest threads call it, never
//! the runtime that answers webhooks.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use portolan_domain::{
    Clock, Timestamp,
    contract::{Description, Input, LogLine},
};
use wasmtime::{
    Engine, PoolConcurrencyLimitError, Store, Trap, UpdateDeadline, WasmBacktrace,
    component::{ComponentNamedList, Instance, Lift, Lower},
};

use crate::{
    bindings::types,
    convert::{Prepared, Reader},
    limits::RunLimits,
    log::printable,
    module::Module,
    report::{Cost, Frame, GuestFailure, RunReport},
    settings::Metering,
    state::{RunState, Stop, TimeBudget},
    ticker::Ticker,
};

/// Live handles of resources that a guest may hold. It has a use for a handful.
const HANDLES_MAX: usize = 256;
/// Bytes of a trap's message, and of each function name in its stack.
const MESSAGE_BYTES_MAX: usize = 1_024;
const FRAME_BYTES_MAX: usize = 200;

/// What a run needs of the host.
#[derive(Debug)]
pub(crate) struct Runner {
    pub(crate) engine: Engine,
    pub(crate) metering: Metering,
    pub(crate) ticker: Ticker,
    pub(crate) clock: Arc<dyn Clock>,
}

/// What a call left: its verdict, its log and its cost.
struct Called<R> {
    verdict: Result<R, GuestFailure>,
    log: Vec<LogLine>,
    log_dropped: u32,
    cost: Cost,
    stack: Vec<Frame>,
}

impl Runner {
    /// Calls `transform`. A panic in here ends this run only.
    pub(crate) fn transform(&self, module: &Module, input: &Input, limits: &RunLimits) -> RunReport {
        catch_unwind(AssertUnwindSafe(|| self.transform_unguarded(module, input, limits))).unwrap_or_else(
            |_| {
                tracing::error!(module.digest = %module.digest(), "a run panicked in the host");
                RunReport::not_run(GuestFailure::HostPanic)
            },
        )
    }

    fn transform_unguarded(&self, module: &Module, input: &Input, limits: &RunLimits) -> RunReport {
        let prepared = Prepared::new(input);
        let bytes = prepared.bytes();
        if bytes > limits.input_bytes_max {
            let (bytes, max) = (bytes as u64, limits.input_bytes_max as u64);
            return RunReport::not_run(GuestFailure::InputTooLarge { bytes, max });
        }
        let event = &input.event;
        let time = TimeBudget::starting(self.clock.clone(), limits, bytes);
        let state = RunState::new(limits, time, event.received_at, &event.id);
        let facts = prepared.facts();
        let view = prepared.view(&facts);
        let call = |store: &mut Store<RunState>, instance: &Instance| {
            self.call::<(&types::Input<'_>,), (types::Outcome,)>(store, instance, &module.transform, (&view,))
        };
        let mut called = self.in_fresh_instance(module, state, limits, bytes, call);
        let started = self.clock.monotonic();
        let mut reader = Reader::default();
        let verdict = std::mem::replace(&mut called.verdict, Err(GuestFailure::HostPanic));
        let verdict = verdict.and_then(|(outcome,)| reader.outcome(outcome));
        called.cost.output_bytes = reader.bytes() as u64;
        called.cost.convert_ns = nanos(self.clock.monotonic().saturating_sub(started));
        let Called { log, log_dropped, cost, stack, .. } = called;
        RunReport { verdict, log, log_dropped, cost, stack }
    }

    /// Calls `describe`. There is no event: time stands at 1970, and random bytes are always the same.
    pub(crate) fn describe(
        &self,
        module: &Module,
        limits: &RunLimits,
    ) -> (Result<Description, GuestFailure>, Vec<LogLine>, Cost) {
        let run = || {
            let time = TimeBudget::starting(self.clock.clone(), limits, 0);
            let state = RunState::new(limits, time, Timestamp::from_millis(0), "describe");
            let call = |store: &mut Store<RunState>, instance: &Instance| {
                self.call::<(), (types::Description,)>(store, instance, &module.describe, ())
            };
            let called = self.in_fresh_instance(module, state, limits, 0, call);
            let description =
                called.verdict.and_then(|(description,)| Reader::default().description(description));
            (description, called.log, called.cost)
        };
        catch_unwind(AssertUnwindSafe(run))
            .unwrap_or_else(|_| (Err(GuestFailure::HostPanic), Vec::new(), Cost::default()))
    }

    fn call<P, R>(
        &self,
        store: &mut Store<RunState>,
        instance: &Instance,
        function: &wasmtime::component::ComponentExportIndex,
        parameters: P,
    ) -> wasmtime::Result<R>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        instance.get_typed_func::<P, R>(&mut *store, function)?.call(store, parameters)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "a call is these: module, state, limits, deadline, what to do with it"
    )]
    fn in_fresh_instance<R>(
        &self,
        module: &Module,
        state: RunState,
        limits: &RunLimits,
        input_bytes: usize,
        call: impl FnOnce(&mut Store<RunState>, &Instance) -> wasmtime::Result<R>,
    ) -> Called<R> {
        let time = state.time.clone();
        let mut cost = Cost { input_bytes: input_bytes as u64, ..Cost::default() };
        let fuel = limits.fuel(input_bytes);
        let _ticking = self.metering.epoch.then(|| self.ticker.ticking());
        let mut store = Store::new(&self.engine, state);
        let called = self.limit(&mut store, limits, fuel).and_then(|()| module.pre.instantiate(&mut store));
        let instantiated = time.elapsed();
        let result = called.and_then(|instance| call(&mut store, &instance));
        let ended = time.elapsed();
        if self.metering.fuel {
            cost.fuel = fuel.saturating_sub(store.get_fuel().unwrap_or_default());
        }
        let stack = result.as_ref().err().map(stack).unwrap_or_default();
        let verdict = result.map_err(|error| failure(&error, store.data(), limits, fuel));
        let state = store.into_data();
        cost.memory_bytes_max = state.memory.peak_bytes() as u64;
        let (log, log_dropped) = state.log.finish();
        let dropped = time.elapsed();
        cost.instantiate_ns = nanos(instantiated);
        cost.call_ns = nanos(ended.saturating_sub(instantiated));
        cost.drop_ns = nanos(dropped.saturating_sub(ended));
        cost.wall_us = time.wall_us();
        cost.cpu_us = time.cpu_us();
        Called { verdict, log, log_dropped, cost, stack }
    }

    /// Everything that bounds the store, set before the guest's first instruction.
    fn limit(&self, store: &mut Store<RunState>, limits: &RunLimits, fuel: u64) -> wasmtime::Result<()> {
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(limits.output_bytes_max);
        store.set_max_component_handles(HANDLES_MAX);
        if self.metering.fuel {
            store.set_fuel(fuel)?;
        }
        if self.metering.epoch {
            let tick = self.ticker.period();
            let first = store.data().time.left().map_or(1, |left| ticks(left, tick));
            store.epoch_deadline_callback(move |context| match context.data().time.left() {
                Some(left) => Ok(UpdateDeadline::Continue(ticks(left, tick))),
                None => Err(Stop::Overtime.into()),
            });
            store.set_epoch_deadline(first);
        }
        Ok(())
    }
}

/// How many ticks from now a time is over; at least one.
fn ticks(left: Duration, tick: Duration) -> u64 {
    let ticks = left.as_micros() / tick.as_micros().max(1);
    u64::try_from(ticks).unwrap_or(u64::MAX).saturating_add(1)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Gives a failed call its name.
fn failure(error: &wasmtime::Error, state: &RunState, limits: &RunLimits, fuel: u64) -> GuestFailure {
    if let Some(stop) = error.downcast_ref::<Stop>() {
        return match stop {
            Stop::HostCalls => GuestFailure::TooManyHostCalls { limit: limits.host_calls_max },
            Stop::Overtime => {
                GuestFailure::Overtime { cpu_us: state.time.cpu_us(), wall_us: state.time.wall_us() }
            }
            Stop::Exit | Stop::NoSuchResource => trapped(&stop.to_string()),
        };
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return GuestFailure::Busy;
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => GuestFailure::OutOfFuel { limit: fuel },
        // An allocator that is refused memory aborts, in every language. That is the cause worth naming.
        _ if state.memory.was_refused() => {
            GuestFailure::OutOfMemory { limit_bytes: limits.memory_bytes_max as u64 }
        }
        Some(trap) => trapped(&trap.to_string()),
        None => not_an_outcome(error, limits),
    }
}

fn trapped(message: &str) -> GuestFailure {
    GuestFailure::Trapped { message: printable(message, MESSAGE_BYTES_MAX) }
}

/// Where the guest was when it was ended, innermost first.
fn stack(error: &wasmtime::Error) -> Vec<Frame> {
    let Some(trace) = error.downcast_ref::<WasmBacktrace>() else { return Vec::new() };
    let frame = |frame: &wasmtime::FrameInfo| Frame {
        name: frame.func_name().map(|name| printable(name, FRAME_BYTES_MAX)),
        index: frame.func_index(),
        offset: frame.module_offset().map(|offset| offset as u64),
    };
    trace.frames().iter().map(frame).collect()
}

/// The call ended, but what came back (or the memory that the guest offered for its input) is not what the
/// contract says. wasmtime has no public type for the case that it is too large.
fn not_an_outcome(error: &wasmtime::Error, limits: &RunLimits) -> GuestFailure {
    let problem = format!("{:#}", error.root_cause());
    if problem.contains("fuel allocated for hostcalls has been exhausted") {
        return GuestFailure::OutputTooLarge { max: limits.output_bytes_max as u64 };
    }
    GuestFailure::Nonsense { at: "the boundary".into(), problem: printable(&problem, MESSAGE_BYTES_MAX) }
}
