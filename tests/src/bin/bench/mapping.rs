//! One mapping, called again and again: in a fresh sandbox with every combination of metering, and natively.
//! One thread; the variants take turns.

use std::{path::Path, time::Duration};

use anyhow::{Context, ensure};
use portolan_domain::{
    Clock, ModuleDigest, Secret, SystemClock, TenantId, Timestamp,
    contract::{Input, Outcome},
};
use portolan_sandbox::{
    CompilerCommand, Metering, Module, ModuleLimits, RunLimits, Sandbox, SandboxSettings,
};
use serde::Serialize;

use crate::{
    Effort, charge,
    native::{self, native_input},
    samples::{Samples, Spread, median},
};

/// The variants of metering, the one that hosts use first.
const METERINGS: [(&str, Metering); 4] = [
    ("fuel and epoch", Metering { fuel: true, epoch: true }),
    ("epoch only", Metering { fuel: false, epoch: true }),
    ("fuel only", Metering { fuel: true, epoch: false }),
    ("neither", Metering { fuel: false, epoch: false }),
];

/// Sandboxes with the module loaded, and the input.
pub(crate) struct Prepared {
    sandboxes: Vec<(&'static str, Sandbox, std::sync::Arc<Module>)>,
    input: Input,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Measured {
    /// The module.
    pub(crate) module: &'static str,
    /// Bytes of the event.
    pub(crate) payload_bytes: usize,
    /// Facts that the call knows.
    pub(crate) facts: usize,
    /// Fuel of one call.
    pub(crate) fuel: u64,
    /// The sandbox, a line for each kind of metering.
    pub(crate) sandboxed: Vec<Sandboxed>,
    /// The native code alone, its input ready in the SDK's types.
    pub(crate) native: Native,
    /// The native code from the host's types to the host's types, as the host would call it.
    pub(crate) native_converted: Native,
}

/// A variant of the sandbox.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Sandboxed {
    /// Which metering.
    pub(crate) metering: &'static str,
    /// Calls in a second of one core's time: the median of the turns.
    pub(crate) calls_per_core_second: f64,
    /// From the host's types to the host's types.
    pub(crate) whole: Spread,
    /// Making the sandbox.
    pub(crate) instantiate: Spread,
    /// The call, arguments and result copied.
    pub(crate) call: Spread,
    /// Reading the outcome into the host's types.
    pub(crate) convert: Spread,
    /// Taking the sandbox down.
    pub(crate) drop: Spread,
    /// Instantiate and drop of each call added up: what a fresh sandbox costs.
    pub(crate) isolation: Spread,
}

/// Native code.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Native {
    /// Calls in a second of one core's time: the median of the turns.
    pub(crate) calls_per_core_second: f64,
    /// One call.
    pub(crate) whole: Spread,
}

/// Samples of one variant while they are taken.
#[derive(Default)]
struct Taken {
    rates: Vec<f64>,
    whole: Samples,
    parts: [Samples; 5],
}

/// Compiles the module for every kind of metering.
pub(crate) async fn prepare(components: &Path, data: &Path) -> anyhow::Result<Prepared> {
    let component = charge::component(components, "stripe-to-epicor")?;
    let mut sandboxes = Vec::new();
    for (index, (name, metering)) in METERINGS.into_iter().enumerate() {
        let compiler =
            CompilerCommand { program: std::env::current_exe()?, args: vec!["compile-module".into()] };
        let folder = data.join(format!("compiled-{index}"));
        let mut settings = SandboxSettings::new(folder, Secret::new("bench ".repeat(8)), compiler);
        settings.metering = metering;
        // Calls are made on the bench's own thread; this only keeps the compilation from waiting for idle time.
        settings.nice = 0;
        let sandbox = Sandbox::new(settings)?;
        let tenant = TenantId::generate(Timestamp::from_seconds(1));
        sandbox.admit(&tenant, component.clone(), &ModuleLimits::default()).await?;
        let bytes = component.clone();
        let fetch = || async move { Ok::<_, std::convert::Infallible>(bytes) };
        let module = sandbox.load(&ModuleDigest::of(&component), fetch).await?;
        sandboxes.push((name, sandbox, module));
    }
    Ok(Prepared { sandboxes, input: charge::order_input()? })
}

/// Measures all variants in turns; the first turn of each warms up and is not counted.
pub(crate) fn measure(prepared: &Prepared, effort: Effort) -> anyhow::Result<Measured> {
    let Prepared { sandboxes, input } = prepared;
    let calls = effort.mapping_calls;
    let mut taken: Vec<Taken> = sandboxes.iter().map(|_| Taken::default()).collect();
    let (mut bare, mut converted) = (Taken::default(), Taken::default());
    let mut fuel = 0;
    for turn in 0..=effort.mapping_turns {
        let is_warm = turn > 0;
        for ((_, sandbox, module), taken) in sandboxes.iter().zip(&mut taken) {
            fuel = fuel.max(sandboxed(sandbox, module, input, calls, taken)?);
            if !is_warm {
                *taken = Taken::default();
            }
        }
        let ready = native_input(input);
        turn_of(calls, &mut bare, |_| {
            let outcome = std::hint::black_box(stripe_to_epicor::transform(std::hint::black_box(&ready)));
            ensure!(matches!(outcome, portolan_sdk::contract::Outcome::Deliver(_)), "no plan");
            Ok(())
        })?;
        turn_of(calls, &mut converted, |_| {
            let outcome = stripe_to_epicor::transform(&native_input(std::hint::black_box(input)));
            ensure!(matches!(native::outcome(outcome)?, Outcome::Deliver(_)), "no plan");
            Ok(())
        })?;
        if !is_warm {
            (bare, converted) = (Taken::default(), Taken::default());
        }
    }
    let sandboxed = METERINGS.iter().zip(&taken).map(|((name, _), taken)| shown(name, taken)).collect();
    Ok(Measured {
        module: "stripe-to-epicor",
        payload_bytes: input.event.payload.len(),
        facts: input.facts.len(),
        fuel,
        sandboxed,
        native: Native { calls_per_core_second: median(&bare.rates), whole: bare.whole.spread() },
        native_converted: Native {
            calls_per_core_second: median(&converted.rates),
            whole: converted.whole.spread(),
        },
    })
}

/// One turn of a sandbox; says how much fuel a call took.
fn sandboxed(
    sandbox: &Sandbox,
    module: &Module,
    input: &Input,
    calls: usize,
    taken: &mut Taken,
) -> anyhow::Result<u64> {
    let limits = RunLimits::default();
    let mut fuel = 0;
    turn_of(calls, taken, |parts| {
        let report = sandbox.transform_here(module, std::hint::black_box(input), &limits);
        let cost = report.cost;
        let outcome = report.verdict.context("the module failed")?;
        ensure!(matches!(outcome, Outcome::Deliver(_)), "the sandboxed module returned no plan");
        let isolation = cost.instantiate_ns.saturating_add(cost.drop_ns);
        let all = [cost.instantiate_ns, cost.call_ns, cost.convert_ns, cost.drop_ns, isolation];
        for (part, nanos) in parts.iter_mut().zip(all) {
            part.add_ns(nanos);
        }
        fuel = cost.fuel;
        Ok(())
    })?;
    Ok(fuel)
}

/// So many calls, each timed; and the processor time of all of them, which a busy machine does not lengthen.
fn turn_of(
    calls: usize,
    taken: &mut Taken,
    mut call: impl FnMut(&mut [Samples; 5]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let clock = SystemClock::new();
    let processor = thread_time();
    for _ in 0..calls {
        let started = clock.monotonic();
        call(&mut taken.parts)?;
        taken.whole.add(clock.monotonic().saturating_sub(started));
    }
    let spent = thread_time().saturating_sub(processor).as_secs_f64();
    taken.rates.push(calls as f64 / spent.max(f64::MIN_POSITIVE));
    Ok(())
}

fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

fn shown(metering: &'static str, taken: &Taken) -> Sandboxed {
    let [instantiate, call, convert, drop, isolation] = taken.parts.each_ref().map(Samples::spread);
    Sandboxed {
        metering,
        calls_per_core_second: median(&taken.rates),
        whole: taken.whole.spread(),
        instantiate,
        call,
        convert,
        drop,
        isolation,
    }
}
