//! WASI stand-ins: a module that asks for the time, for random bytes, for its environment or for a file gets
//! an answer that is the same every time and says nothing about the host.

use portolan_domain::contract::LogLevel;
use portolan_sandbox::RunLimits;

use crate::{
    guests::{CONTRACT, Guest},
    setup::{Setup, charge, failure, skipped},
};

const CLOCKS: &str = "package wasi:clocks@0.2.3;
    interface wall-clock { record datetime { seconds: u64, nanoseconds: u32 } now: func() -> datetime; }
    interface monotonic-clock { now: func() -> u64; }";
const RANDOM: &str = "package wasi:random@0.2.3;
    interface random { get-random-bytes: func(len: u64) -> list<u8>; get-random-u64: func() -> u64; }";
const IO: &str = "package wasi:io@0.2.3;
    interface error { resource error; }
    interface streams {
        use error.{error};
        variant stream-error { last-operation-failed(error), closed }
        resource output-stream {
            blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>;
        }
    }";
const CLI: &str = "package wasi:cli@0.2.3;
    interface stdout { use wasi:io/streams@0.2.3.{output-stream}; get-stdout: func() -> output-stream; }
    interface environment { get-environment: func() -> list<tuple<string, string>>; }
    interface exit { exit: func(status: result); }";
const FILES: &str = "package wasi:filesystem@0.2.3;
    interface types { resource descriptor { sync: func() -> result; } }
    interface preopens { use types.{descriptor}; get-directories: func() -> list<tuple<descriptor, string>>; }";

/// A guest that imports all of it, in a version of its own.
fn guest(transform: &str) -> Guest {
    let interfaces = [
        "wasi:clocks/wall-clock@0.2.3",
        "wasi:clocks/monotonic-clock@0.2.3",
        "wasi:random/random@0.2.3",
        "wasi:io/streams@0.2.3",
        "wasi:cli/stdout@0.2.3",
        "wasi:cli/environment@0.2.3",
        "wasi:cli/exit@0.2.3",
        "wasi:filesystem/types@0.2.3",
        "wasi:filesystem/preopens@0.2.3",
    ];
    let imports: String = interfaces.iter().map(|name| format!("import {name};\n")).collect();
    let log = Guest::default().imports;
    Guest {
        contract: CONTRACT.replace("    import log;", &format!("    import log;\n{imports}")),
        packages: vec![CLOCKS, RANDOM, IO, CLI, FILES],
        imports: format!(
            r#"{log}
            (import "wasi:clocks/wall-clock@0.2.3" "now" (func $wall (param i32)))
            (import "wasi:clocks/monotonic-clock@0.2.3" "now" (func $monotonic (result i64)))
            (import "wasi:random/random@0.2.3" "get-random-u64" (func $random (result i64)))
            (import "wasi:random/random@0.2.3" "get-random-bytes" (func $random_bytes (param i64 i32)))
            (import "wasi:cli/stdout@0.2.3" "get-stdout" (func $stdout (result i32)))
            (import "wasi:io/streams@0.2.3" "[method]output-stream.blocking-write-and-flush"
                (func $print (param i32 i32 i32 i32)))
            (import "wasi:cli/environment@0.2.3" "get-environment" (func $environment (param i32)))
            (import "wasi:cli/exit@0.2.3" "exit" (func $exit (param i32)))
            (import "wasi:filesystem/preopens@0.2.3" "get-directories" (func $directories (param i32)))
            (import "wasi:filesystem/types@0.2.3" "[method]descriptor.sync" (func $sync (param i32) (result i32)))"#
        ),
        ..Guest::transforming(transform)
    }
}

#[tokio::test]
async fn the_time_is_the_events_and_stands_still() {
    let setup = Setup::new();
    let module = setup
        .guest(&guest(
            "(call $wall (i32.const 3000))
             (if (i64.ne (i64.load (i32.const 3000)) (i64.const 1763600001)) (then unreachable))
             (if (i32.ne (i32.load (i32.const 3008)) (i32.const 234000000)) (then unreachable))
             (if (i64.ne (call $monotonic) (call $monotonic)) (then unreachable))
             (i32.const 200)",
        ))
        .await;
    assert_eq!(skipped(&setup.run(&module).await), "nothing");
}

#[tokio::test]
async fn random_bytes_follow_from_the_event() {
    let setup = Setup::new();
    // Its log line is made of random letters.
    let module = setup
        .guest(&guest(
            "(i64.store (i32.const 3000) (i64.or (i64.const 0x4040404040404040)
                (i64.and (call $random) (i64.const 0x0f0f0f0f0f0f0f0f))))
             (call $log (i32.const 1) (i32.const 3000) (i32.const 8)) (i32.const 200)",
        ))
        .await;
    let drawn = async |id: &str| {
        let mut input = charge();
        input.event.id = id.into();
        let report = setup.sandbox.transform(&setup.tenant, &module, input, &RunLimits::default()).await;
        report.log[0].message.clone()
    };
    let (first, again, other) = (drawn("evt_1").await, drawn("evt_1").await, drawn("evt_2").await);
    assert_eq!(first, again);
    assert_ne!(first, other);
}

#[tokio::test]
async fn random_bytes_are_handed_out_in_bounds() {
    let setup = Setup::new();
    let module =
        setup.guest(&guest("(call $random_bytes (i64.const -1) (i32.const 3000)) (i32.const 200)")).await;
    assert_eq!(failure(&setup.run(&module).await), "too-many-host-calls");
    let endless = "(loop (call $random_bytes (i64.const 1024) (i32.const 3000))
        (global.set $next (i32.const 4096)) (br 0)) unreachable";
    let module = setup.guest(&guest(endless)).await;
    assert_eq!(failure(&setup.run(&module).await), "too-many-host-calls");
}

#[tokio::test]
async fn what_is_printed_goes_to_the_log() {
    let setup = Setup::new();
    let module = setup
        .guest(&guest(
            "(call $print (call $stdout) (i32.const 224) (i32.const 7) (i32.const 3000)) (i32.const 200)",
        ))
        .await;
    let report = setup.run(&module).await;
    assert_eq!(skipped(&report), "nothing");
    assert_eq!((report.log[0].level, report.log[0].message.as_str()), (LogLevel::Info, "nothing"));
}

#[tokio::test]
async fn there_are_no_variables_and_no_files() {
    let setup = Setup::new();
    let module = setup
        .guest(&guest(
            "(i64.store (i32.const 3000) (i64.const -1))
             (call $environment (i32.const 3000))
             (if (i32.load (i32.const 3004)) (then unreachable))
             (i64.store (i32.const 3000) (i64.const -1))
             (call $directories (i32.const 3000))
             (if (i32.load (i32.const 3004)) (then unreachable))
             (i32.const 200)",
        ))
        .await;
    assert_eq!(skipped(&setup.run(&module).await), "nothing");
    let module = setup.guest(&guest("(drop (call $sync (i32.const 1))) (i32.const 200)")).await;
    assert!(setup.run(&module).await.verdict.is_err(), "no handle was ever given");
}

#[tokio::test]
async fn exit_is_a_trap() {
    let setup = Setup::new();
    let module = setup.guest(&guest("(call $exit (i32.const 0)) (i32.const 200)")).await;
    let report = setup.run(&module).await;
    assert_eq!(failure(&report), "trapped");
    assert!(report.verdict.unwrap_err().to_string().contains("exit"));
}

#[tokio::test]
async fn handles_that_are_opened_and_never_closed_run_out() {
    let setup = Setup::new();
    let module = setup.guest(&guest("(loop (drop (call $stdout)) (br 0)) unreachable")).await;
    let report = setup.run(&module).await;
    assert!(report.verdict.is_err());
    assert!(report.cost.fuel < RunLimits::default().fuel_base / 100, "it was stopped early");
}

#[tokio::test]
async fn what_is_linked_to_stand_ins_is_said_at_upload() {
    let setup = Setup::new();
    let admitted = setup.admit(guest("(call $exit (i32.const 0)) (i32.const 200)").component()).await;
    assert!(admitted.imports.iter().any(|name| name == "wasi:cli/exit@0.2.3"));
    assert!(admitted.warnings[0].contains("wasi:cli/exit@0.2.3"), "{:?}", admitted.warnings);
}

#[tokio::test]
async fn a_core_module_of_wasi_0_1_is_made_a_component_and_prints_to_the_log() {
    let setup = Setup::new();
    let imports = Guest::default().imports
        + r#"(import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
             (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))"#;
    // An I/O vector of one piece, "nothing" and a line feed, to standard error; then the time, in nanoseconds.
    let transform = "(i32.store8 (i32.const 231) (i32.const 10))
        (i32.store (i32.const 3000) (i32.const 224)) (i32.store (i32.const 3004) (i32.const 8))
        (if (call $fd_write (i32.const 2) (i32.const 3000) (i32.const 1) (i32.const 3008)) (then unreachable))
        (if (call $clock (i32.const 0) (i64.const 1) (i32.const 3016)) (then unreachable))
        (if (i64.ne (i64.load (i32.const 3016)) (i64.const 1763600001234000000)) (then unreachable))
        (i32.const 200)";
    let upload = Guest { imports, ..Guest::transforming(transform) }.core_module();
    let admitted = setup.admit(upload).await;
    assert_eq!(admitted.warnings.len(), 2, "{:?}", admitted.warnings);
    let module = setup.sandbox.load(&admitted.digest, crate::setup::unreachable).await.unwrap();
    let report = setup.run(&module).await;
    assert_eq!(skipped(&report), "nothing");
    assert_eq!((report.log[0].level, report.log[0].message.as_str()), (LogLevel::Warn, "nothing"));
}
