//! The compile worker's whole life: limit itself, read one upload, make it a component, check it, compile it,
//! answer, end. It trusts nothing but the order's header, which the host wrote. It has no threads, opens no
//! files, and dies with its input.

use std::{
    io::{self, Read, Write},
    process::ExitCode,
};

use rustix::process::{Resource, Rlimit, nice, setrlimit};
use wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER;
use wasmtime::Engine;
use wit_component::ComponentEncoder;

use super::{
    protocol::{Answer, Order},
    world,
};
use crate::{
    engine::{self, EngineId},
    interfaces::WASI_PREVIEW1,
    refusal::{self, Refusal},
    structure::{self, Depth, Form},
};

/// The life of a compile worker. The binary calls it for the hidden subcommand that
/// [`CompilerCommand`](crate::CompilerCommand) names, before it starts threads or opens files, and returns what it
/// returns. Standard input and output are the host's; nothing else may use them.
#[must_use]
pub fn compiler_main() -> ExitCode {
    match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The host reads the first bytes of it into its own log.
            drop(writeln!(io::stderr(), "{error}"));
            ExitCode::FAILURE
        }
    }
}

fn work() -> io::Result<()> {
    let mut input = io::stdin().lock();
    let (order, upload_bytes) = Order::read(&mut input)?;
    limit_self(&order)?;
    let mut upload = Vec::new();
    input.by_ref().take(upload_bytes).read_to_end(&mut upload)?;
    if upload.len() as u64 != upload_bytes {
        return Err(io::Error::other("the upload ended early"));
    }
    let answer = answer(&order, upload);
    let mut output = io::stdout().lock();
    output.write_all(&answer.write()?)?;
    output.flush()
}

/// From here on the system ends this process when it takes too much.
fn limit_self(order: &Order) -> io::Result<()> {
    let limit = |resource, max: u64| setrlimit(resource, Rlimit { current: Some(max), maximum: Some(max) });
    limit(Resource::Core, 0)?;
    limit(Resource::Fsize, 0)?;
    limit(Resource::As, order.memory_bytes_max)?;
    limit(Resource::Cpu, order.cpu_seconds_max)?;
    nice(order.nice)?;
    Ok(())
}

fn answer(order: &Order, upload: Vec<u8>) -> Answer {
    let engine = match engine::for_compiling(order.metering) {
        Ok(engine) if EngineId::of(&engine).hex() == order.engine_id => engine,
        _ => return Answer::Mismatch,
    };
    match compile(&engine, order, upload) {
        Ok((component, artifact)) => Answer::Compiled { component, artifact },
        Err(refusal) => Answer::Refused(refusal),
    }
}

fn compile(engine: &Engine, order: &Order, upload: Vec<u8>) -> Result<(Option<Vec<u8>>, Vec<u8>), Refusal> {
    let form = structure::check(&upload, &order.limits, Depth::Instructions)?.form;
    let component = match form {
        Form::Component => upload,
        Form::CoreModule => {
            let component = componentise(&upload)?;
            structure::check(&component, &order.limits, Depth::Headers)?;
            component
        }
    };
    world::check(&component)?;
    let artifact = engine.precompile_component(&component).map_err(|error| {
        Refusal::new(
            refusal::INVALID,
            format!("the module does not compile: {error:#}"),
            "build it with one of the documented toolchains; threads, memory64, exceptions, GC and tail calls \
             are switched off here",
        )
    })?;
    Ok((Some(component).filter(|_| form == Form::CoreModule), artifact))
}

/// Makes a component of a core module that carries its component type, as `wit-bindgen` leaves it there.
fn componentise(module: &[u8]) -> Result<Vec<u8>, Refusal> {
    let refuse = |error: &dyn std::fmt::Display| {
        Refusal::new(
            refusal::NOT_A_COMPONENT,
            format!("the core module cannot be made a component: {error:#}"),
            "build it with wit-bindgen for wasm32-unknown-unknown, so that it carries the type of the world \
             `mapping`, or upload a component",
        )
    };
    let mut encoder = ComponentEncoder::default();
    encoder.validate(true);
    // Linked in only when the module imports it, as plain `wasm32-wasip1` builds do.
    let bridge = WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER;
    encoder.adapter(WASI_PREVIEW1, bridge).map_err(|error| refuse(&error))?;
    encoder.module(module).map_err(|error| refuse(&error))?;
    encoder.encode().map_err(|error| refuse(&error))
}
