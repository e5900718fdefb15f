//! Deterministic stand-ins for WASI 0.2, for modules whose toolchain imports it without need: time is the
//! event's received time and stands still, random bytes follow from the event's id, what is printed goes to the
//! log. There are no files, arguments, variables or terminals, and `exit` is a trap.
//!
//! No stand-in keeps state in a table: a resource is one of a few constants, so a guest cannot make the host
//! remember anything by opening and never closing.

use wasmtime::{
    StoreContextMut,
    component::{ComponentType, Lift, LinkerInstance, Lower, Resource, ResourceType, WasmList},
};

use crate::{
    log::Stream,
    state::{RunState, Stop},
};

type Cx<'a> = StoreContextMut<'a, RunState>;
type Instance<'a> = LinkerInstance<'a, RunState>;
type Done<T> = wasmtime::Result<(T,)>;

/// Marks of the host's resource types; never constructed.
enum OutputStream {}
enum InputStream {}
enum IoError {}
enum Pollable {}
enum Descriptor {}
enum DirectoryStream {}
enum TerminalInput {}
enum TerminalOutput {}
enum Unknown {}

/// The representations of the two output streams.
const STDOUT: u32 = 0;
const STDERR: u32 = 1;
/// What `check-write` allows at a time.
const WRITE_BYTES_MAX: u64 = 64 << 10;
/// Random bytes handed out in one call, and how many of them count as a host call.
const RANDOM_BYTES_MAX: u64 = 16 << 10;
const RANDOM_BYTES_PER_CALL: u64 = 64;
/// The monotonic clock stands still at one second: some runtimes take zero for a defect.
const MONOTONIC_NS: u64 = 1_000_000_000;

/// `wasi:io/streams.stream-error`.
#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
enum StreamError {
    #[component(name = "last-operation-failed")]
    LastOperationFailed(Resource<IoError>),
    #[component(name = "closed")]
    Closed,
}

/// `wasi:clocks/wall-clock.datetime`.
#[derive(ComponentType, Lower)]
#[component(record)]
struct Datetime {
    seconds: u64,
    nanoseconds: u32,
}

/// Defines the functions and resources of an interface, and says which.
pub(super) fn define(to: &mut Instance<'_>, interface: &str) -> wasmtime::Result<&'static [&'static str]> {
    match interface {
        "wasi:cli/environment" => environment(to),
        "wasi:cli/exit" => exit(to),
        "wasi:cli/stdin" => {
            to.func_wrap("get-stdin", |cx: Cx<'_>, (): ()| own::<InputStream>(cx, 0))?;
            Ok(&["get-stdin"])
        }
        "wasi:cli/stdout" => {
            to.func_wrap("get-stdout", |cx: Cx<'_>, (): ()| own::<OutputStream>(cx, STDOUT))?;
            Ok(&["get-stdout"])
        }
        "wasi:cli/stderr" => {
            to.func_wrap("get-stderr", |cx: Cx<'_>, (): ()| own::<OutputStream>(cx, STDERR))?;
            Ok(&["get-stderr"])
        }
        "wasi:cli/terminal-stdin" => {
            no_terminal::<TerminalInput>(to, "get-terminal-stdin", &["get-terminal-stdin"])
        }
        "wasi:cli/terminal-stdout" => {
            no_terminal::<TerminalOutput>(to, "get-terminal-stdout", &["get-terminal-stdout"])
        }
        "wasi:cli/terminal-stderr" => {
            no_terminal::<TerminalOutput>(to, "get-terminal-stderr", &["get-terminal-stderr"])
        }
        "wasi:clocks/monotonic-clock" => monotonic_clock(to),
        "wasi:clocks/wall-clock" => wall_clock(to),
        "wasi:filesystem/preopens" => {
            to.func_wrap(
                "get-directories",
                |mut cx: Cx<'_>, (): ()| -> Done<Vec<(Resource<Descriptor>, String)>> {
                    cx.data_mut().charge(1)?;
                    Ok((Vec::new(),))
                },
            )?;
            Ok(&["get-directories"])
        }
        "wasi:io/poll" => poll(to),
        "wasi:io/streams" => streams(to),
        "wasi:random/random" => {
            random(to, "get-random-bytes", "get-random-u64", &["get-random-bytes", "get-random-u64"])
        }
        "wasi:random/insecure" => random(
            to,
            "get-insecure-random-bytes",
            "get-insecure-random-u64",
            &["get-insecure-random-bytes", "get-insecure-random-u64"],
        ),
        "wasi:random/insecure-seed" => {
            to.func_wrap("insecure-seed", |mut cx: Cx<'_>, (): ()| -> Done<(u64, u64)> {
                cx.data_mut().charge(1)?;
                Ok(((random_u64(&mut cx), random_u64(&mut cx)),))
            })?;
            Ok(&["insecure-seed"])
        }
        // wasi:io/error, wasi:filesystem/types, wasi:cli/terminal-*: only methods of things that nobody holds.
        _ => Ok(&[]),
    }
}

/// Defines a resource of which there is none.
pub(super) fn define_resource(to: &mut Instance<'_>, name: &str) -> wasmtime::Result<()> {
    let ty = match name {
        "output-stream" => ResourceType::host::<OutputStream>(),
        "input-stream" => ResourceType::host::<InputStream>(),
        "error" => ResourceType::host::<IoError>(),
        "pollable" => ResourceType::host::<Pollable>(),
        "descriptor" => ResourceType::host::<Descriptor>(),
        "directory-entry-stream" => ResourceType::host::<DirectoryStream>(),
        "terminal-input" => ResourceType::host::<TerminalInput>(),
        "terminal-output" => ResourceType::host::<TerminalOutput>(),
        _ => ResourceType::host::<Unknown>(),
    };
    to.resource(name, ty, |_, _| Ok(()))
}

fn own<T: 'static>(mut cx: Cx<'_>, rep: u32) -> Done<Resource<T>> {
    cx.data_mut().charge(1)?;
    Ok((Resource::new_own(rep),))
}

fn no_terminal<T: 'static>(
    to: &mut Instance<'_>,
    name: &str,
    defined: &'static [&'static str],
) -> wasmtime::Result<&'static [&'static str]> {
    to.func_wrap(name, |mut cx: Cx<'_>, (): ()| -> Done<Option<Resource<T>>> {
        cx.data_mut().charge(1)?;
        Ok((None,))
    })?;
    Ok(defined)
}

fn environment(to: &mut Instance<'_>) -> wasmtime::Result<&'static [&'static str]> {
    to.func_wrap("get-environment", |mut cx: Cx<'_>, (): ()| -> Done<Vec<(String, String)>> {
        cx.data_mut().charge(1)?;
        Ok((Vec::new(),))
    })?;
    to.func_wrap("get-arguments", |mut cx: Cx<'_>, (): ()| -> Done<Vec<String>> {
        cx.data_mut().charge(1)?;
        Ok((Vec::new(),))
    })?;
    to.func_wrap("initial-cwd", |mut cx: Cx<'_>, (): ()| -> Done<Option<String>> {
        cx.data_mut().charge(1)?;
        Ok((None,))
    })?;
    Ok(&["get-environment", "get-arguments", "initial-cwd"])
}

fn exit(to: &mut Instance<'_>) -> wasmtime::Result<&'static [&'static str]> {
    to.func_wrap("exit", |_: Cx<'_>, (_,): (Result<(), ()>,)| -> wasmtime::Result<()> {
        Err(Stop::Exit.into())
    })?;
    to.func_wrap("exit-with-code", |_: Cx<'_>, (_,): (u8,)| -> wasmtime::Result<()> {
        Err(Stop::Exit.into())
    })?;
    Ok(&["exit", "exit-with-code"])
}

fn monotonic_clock(to: &mut Instance<'_>) -> wasmtime::Result<&'static [&'static str]> {
    for (name, value) in [("now", MONOTONIC_NS), ("resolution", 1)] {
        to.func_wrap(name, move |mut cx: Cx<'_>, (): ()| -> Done<u64> {
            cx.data_mut().charge(1)?;
            Ok((value,))
        })?;
    }
    for name in ["subscribe-instant", "subscribe-duration"] {
        to.func_wrap(name, |cx: Cx<'_>, (_,): (u64,)| own::<Pollable>(cx, 0))?;
    }
    Ok(&["now", "resolution", "subscribe-instant", "subscribe-duration"])
}

fn wall_clock(to: &mut Instance<'_>) -> wasmtime::Result<&'static [&'static str]> {
    to.func_wrap("now", |mut cx: Cx<'_>, (): ()| -> Done<Datetime> {
        cx.data_mut().charge(1)?;
        let millis = cx.data().now.as_millis();
        let nanoseconds = u32::try_from(millis % 1_000 * 1_000_000).unwrap_or_default();
        Ok((Datetime { seconds: millis / 1_000, nanoseconds },))
    })?;
    to.func_wrap("resolution", |mut cx: Cx<'_>, (): ()| -> Done<Datetime> {
        cx.data_mut().charge(1)?;
        Ok((Datetime { seconds: 0, nanoseconds: 1_000_000 },))
    })?;
    Ok(&["now", "resolution"])
}

/// Everything is always ready: time stands still, and nothing is ever waited for.
fn poll(to: &mut Instance<'_>) -> wasmtime::Result<&'static [&'static str]> {
    define_resource(to, "pollable")?;
    to.func_wrap("[method]pollable.ready", |mut cx: Cx<'_>, (_,): (Resource<Pollable>,)| -> Done<bool> {
        cx.data_mut().charge(1)?;
        Ok((true,))
    })?;
    to.func_wrap(
        "[method]pollable.block",
        |mut cx: Cx<'_>, (_,): (Resource<Pollable>,)| -> wasmtime::Result<()> {
            cx.data_mut().charge(1)?;
            Ok(())
        },
    )?;
    to.func_wrap("poll", |mut cx: Cx<'_>, (of,): (Vec<Resource<Pollable>>,)| -> Done<Vec<u32>> {
        let count = u32::try_from(of.len()).unwrap_or(u32::MAX);
        cx.data_mut().charge(count)?;
        Ok(((0..count).collect(),))
    })?;
    Ok(&["pollable", "[method]pollable.ready", "[method]pollable.block", "poll"])
}

fn streams(to: &mut Instance<'_>) -> wasmtime::Result<&'static [&'static str]> {
    for name in ["output-stream", "input-stream"] {
        define_resource(to, name)?;
    }
    output_stream(to)?;
    input_stream(to)?;
    Ok(&[
        "output-stream",
        "input-stream",
        "[method]output-stream.check-write",
        "[method]output-stream.write",
        "[method]output-stream.blocking-write-and-flush",
        "[method]output-stream.flush",
        "[method]output-stream.blocking-flush",
        "[method]output-stream.subscribe",
        "[method]input-stream.read",
        "[method]input-stream.blocking-read",
        "[method]input-stream.skip",
        "[method]input-stream.blocking-skip",
        "[method]input-stream.subscribe",
    ])
}

fn output_stream(to: &mut Instance<'_>) -> wasmtime::Result<()> {
    to.func_wrap(
        "[method]output-stream.check-write",
        |mut cx: Cx<'_>, (_,): (Resource<OutputStream>,)| -> Done<Result<u64, StreamError>> {
            cx.data_mut().charge(1)?;
            Ok((Ok(WRITE_BYTES_MAX),))
        },
    )?;
    for name in ["[method]output-stream.write", "[method]output-stream.blocking-write-and-flush"] {
        to.func_wrap(name, print)?;
    }
    for name in ["[method]output-stream.flush", "[method]output-stream.blocking-flush"] {
        to.func_wrap(
            name,
            |mut cx: Cx<'_>, (_,): (Resource<OutputStream>,)| -> Done<Result<(), StreamError>> {
                cx.data_mut().charge(1)?;
                Ok((Ok(()),))
            },
        )?;
    }
    to.func_wrap("[method]output-stream.subscribe", |cx: Cx<'_>, (_,): (Resource<OutputStream>,)| {
        own::<Pollable>(cx, 0)
    })
}

/// Writes to the log. Bytes beyond what one write may have are dropped, as `check-write` said.
fn print(
    mut cx: Cx<'_>,
    (stream, bytes): (Resource<OutputStream>, WasmList<u8>),
) -> Done<Result<(), StreamError>> {
    cx.data_mut().charge(1)?;
    if cx.data().log.is_full() {
        cx.data_mut().log.drop_line();
        return Ok((Ok(()),));
    }
    let end = bytes.len().min(usize::try_from(WRITE_BYTES_MAX).unwrap_or(usize::MAX));
    let bytes = bytes.as_le_slice(&cx).get(..end).unwrap_or_default().to_vec();
    let to = if stream.rep() == STDERR { Stream::Error } else { Stream::Out };
    cx.data_mut().log.stream(to, &bytes);
    Ok((Ok(()),))
}

/// Standard input is at its end.
fn input_stream(to: &mut Instance<'_>) -> wasmtime::Result<()> {
    for name in ["[method]input-stream.read", "[method]input-stream.blocking-read"] {
        to.func_wrap(
            name,
            |mut cx: Cx<'_>, _: (Resource<InputStream>, u64)| -> Done<Result<Vec<u8>, StreamError>> {
                cx.data_mut().charge(1)?;
                Ok((Err(StreamError::Closed),))
            },
        )?;
    }
    for name in ["[method]input-stream.skip", "[method]input-stream.blocking-skip"] {
        to.func_wrap(
            name,
            |mut cx: Cx<'_>, _: (Resource<InputStream>, u64)| -> Done<Result<u64, StreamError>> {
                cx.data_mut().charge(1)?;
                Ok((Err(StreamError::Closed),))
            },
        )?;
    }
    to.func_wrap("[method]input-stream.subscribe", |cx: Cx<'_>, (_,): (Resource<InputStream>,)| {
        own::<Pollable>(cx, 0)
    })
}

fn random(
    to: &mut Instance<'_>,
    bytes: &str,
    number: &str,
    defined: &'static [&'static str],
) -> wasmtime::Result<&'static [&'static str]> {
    to.func_wrap(bytes, |mut cx: Cx<'_>, (count,): (u64,)| -> Done<Vec<u8>> {
        if count > RANDOM_BYTES_MAX {
            return Err(Stop::HostCalls.into());
        }
        cx.data_mut().charge(u32::try_from(count / RANDOM_BYTES_PER_CALL).unwrap_or(u32::MAX))?;
        let mut bytes = vec![0; usize::try_from(count).unwrap_or_default()];
        cx.data_mut().random(&mut bytes);
        Ok((bytes,))
    })?;
    to.func_wrap(number, |mut cx: Cx<'_>, (): ()| -> Done<u64> {
        cx.data_mut().charge(1)?;
        Ok((random_u64(&mut cx),))
    })?;
    Ok(defined)
}

fn random_u64(cx: &mut Cx<'_>) -> u64 {
    let mut bytes = [0; 8];
    cx.data_mut().random(&mut bytes);
    u64::from_le_bytes(bytes)
}
