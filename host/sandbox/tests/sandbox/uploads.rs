//! What is admitted, and in which words the rest is refused.

use std::{path::PathBuf, time::Duration};

use portolan_domain::ModuleDigest;
use portolan_sandbox::{AdmitError, CompileLimits, ModuleLimits};

use crate::{
    guests::{CONTRACT, Guest, laughs},
    setup::{Setup, skipped},
};

#[tokio::test]
async fn a_component_is_admitted_with_its_description_and_runs() {
    let setup = Setup::new();
    let upload = Guest::default().component();
    let admitted = setup.admit(upload.clone()).await;
    assert_eq!(admitted.digest, ModuleDigest::of(&upload));
    assert_eq!(admitted.component, upload);
    assert_eq!(admitted.description.name, "probe");
    assert_eq!(admitted.description.serves[0].kind, "charge.succeeded");
    assert_eq!(admitted.warnings, Vec::<String>::new());
    assert!(admitted.stats.artifact_bytes > 0 && admitted.stats.describe_fuel > 0);
    let module = setup.module(upload).await;
    assert_eq!(skipped(&setup.run(&module).await), "nothing");
}

#[tokio::test]
async fn a_core_module_that_carries_its_type_is_made_a_component() {
    let setup = Setup::new();
    let upload = Guest::default().core_module();
    let admitted = setup.admit(upload.clone()).await;
    assert_eq!(admitted.digest, ModuleDigest::of(&upload), "its identity is what was uploaded");
    assert_ne!(admitted.component, upload);
    assert_eq!(admitted.warnings.len(), 1);
    let module = setup.module(admitted.component).await;
    assert_eq!(skipped(&setup.run(&module).await), "nothing");
}

#[tokio::test]
async fn a_compile_bomb_is_refused_before_a_worker_is_started() {
    // A program that cannot be started: whoever tries gets another error than a refusal.
    let setup = Setup::with(|settings| settings.compiler.program = PathBuf::from("/nonexistent"));
    for levels in [10, 24, 60] {
        let refusal = setup.refusal(laughs(levels)).await;
        assert_eq!(refusal.code, "module-too-complex");
        assert!(refusal.message.contains("core instances when it is expanded"), "{refusal}");
    }
}

#[tokio::test]
async fn a_compile_bomb_without_core_modules_is_refused_too() {
    let setup = Setup::with(|settings| settings.compiler.program = PathBuf::from("/nonexistent"));
    let mut text = String::from("(component (component $c0)\n");
    for level in 1..=30 {
        let inner = level - 1;
        text.push_str(&format!(
            "(component $c{level} (instance (instantiate $c{inner})) (instance (instantiate $c{inner})))\n"
        ));
    }
    text.push_str("(instance (instantiate $c30)))");
    let refusal = setup.refusal(wat::parse_str(text).unwrap()).await;
    assert!(refusal.message.contains("definitions when it is expanded"), "{refusal}");
}

#[tokio::test]
async fn too_many_functions_are_refused_by_count() {
    let setup = Setup::new();
    let functions = "(func)".repeat(40_001);
    let refusal =
        setup.refusal(wat::parse_str(format!("(component (core module {functions}))")).unwrap()).await;
    assert_eq!(refusal.code, "module-too-complex");
    assert!(refusal.message.contains("40001 functions"), "{refusal}");
}

#[tokio::test]
async fn blocks_locals_and_bodies_have_limits() {
    let setup = Setup::new();
    let with = |items: String| Guest { items, ..Guest::default() }.component();
    let nested = format!("(func {} {})", "(loop ".repeat(1_001), ")".repeat(1_001));
    let locals = format!("(func (local {}))", "i32 ".repeat(10_001));
    let body = format!("(func {})", "(drop (i64.const 1234567890123))".repeat(70_000));
    for (items, word) in [(nested, "blocks"), (locals, "local variables"), (body, "bytes in one function")] {
        let refusal = setup.refusal(with(items)).await;
        assert_eq!(refusal.code, "module-too-complex");
        assert!(refusal.message.contains(word), "{refusal}");
    }
}

#[tokio::test]
async fn memories_and_tables_over_the_limits_are_refused() {
    let setup = Setup::new();
    for (text, word) in [
        ("(memory 1025)", "bytes of memory at the start"),
        ("(memory i64 1)", "64-bit memory"),
        ("(memory 1 1 shared)", "shared"),
        ("(memory 1) (memory 1)", "several memories"),
        ("(table 1000000 funcref)", "elements in a table"),
    ] {
        let refusal =
            setup.refusal(wat::parse_str(format!("(component (core module {text}))")).unwrap()).await;
        assert!(refusal.message.contains(word), "{text}: {refusal}");
    }
}

#[tokio::test]
async fn an_import_that_a_mapping_may_not_have_is_named_with_the_remedy() {
    let setup = Setup::new();
    for (import, remedy) in [
        ("wasi:sockets/network@0.2.0", "no network"),
        ("wasi:http/outgoing-handler@0.2.3", "no network"),
        ("portolan:mapping/secrets@1.0.0", "portolan:mapping@1.0.0"),
        ("evil:corp/backdoor", "nothing else"),
    ] {
        let text = format!(r#"(component (import "{import}" (instance)))"#);
        let refusal = setup.refusal(wat::parse_str(text).unwrap()).await;
        assert_eq!(refusal.code, "module-import-refused");
        assert!(refusal.message.contains(import) && refusal.remedy.contains(remedy), "{refusal}");
    }
    let core = r#"(module (import "env" "abort" (func)))"#;
    let refusal = setup.refusal(wat::parse_str(core).unwrap()).await;
    assert!(refusal.message.contains("`env`"), "{refusal}");
}

#[tokio::test]
async fn an_allowed_import_with_another_type_is_refused() {
    let setup = Setup::new();
    let contract =
        CONTRACT.replace("write: func(level: level, message: string);", "write: func(message: string);");
    let imports = r#"(import "portolan:mapping/log@1.0.0" "write" (func $log (param i32 i32)))"#.to_owned();
    let refusal = setup.refusal(Guest { contract, imports, ..Guest::default() }.component()).await;
    assert_eq!(refusal.code, "module-import-mismatch");
    assert!(refusal.message.contains("log.write"), "{refusal}");
}

#[tokio::test]
async fn a_missing_export_is_named() {
    let setup = Setup::new();
    let refusal = setup.refusal(wat::parse_str("(component)").unwrap()).await;
    assert_eq!(refusal.code, "module-export-missing");
    assert!(refusal.message.contains("portolan:mapping/mapper@1.0.0"), "{refusal}");
    let core = r#"(module (func (export "run")))"#;
    let refusal = setup.refusal(wat::parse_str(core).unwrap()).await;
    assert!(refusal.message.contains("`run`"), "{refusal}");
}

#[tokio::test]
async fn an_export_with_another_type_is_refused_naming_the_field() {
    let setup = Setup::new();
    let contract = CONTRACT.replace("settings-schema: json,", "settings-schema: list<u8>,");
    let guest = Guest { contract, ..Guest::default() };
    for upload in [guest.component(), guest.core_module()] {
        let refusal = setup.refusal(upload).await;
        assert_eq!(refusal.code, "module-export-mismatch");
        assert!(refusal.message.contains("mapper.describe"), "{refusal}");
        assert!(refusal.message.contains("settings-schema"), "{refusal}");
        assert!(refusal.message.contains("expected string, found list<u8>"), "{refusal}");
    }
}

#[tokio::test]
async fn a_core_module_without_its_type_is_refused() {
    let setup = Setup::new();
    let core = r#"(module (func (export "portolan:mapping/mapper@1.0.0#transform") (param i32) (result i32) unreachable))"#;
    let refusal = setup.refusal(wat::parse_str(core).unwrap()).await;
    assert_eq!(refusal.code, "module-not-a-component");
}

#[tokio::test]
async fn what_is_no_webassembly_is_refused_by_what_it_is() {
    let setup = Setup::new();
    let mut truncated = Guest::default().component();
    truncated.truncate(truncated.len() / 2);
    let mut endless = b"\0asm\x0d\0\x01\0\x00".to_vec();
    endless.extend(b"\xff\xff\xff\xff\x0f");
    let elf = {
        let engine = wasmtime::Engine::default();
        engine.precompile_component(&Guest::default().component()).unwrap()
    };
    for (upload, code) in [
        (vec![], "module-not-wasm"),
        (b"#!/bin/sh\n".to_vec(), "module-not-wasm"),
        (b"(component)".to_vec(), "module-not-wasm"),
        (b"\0asm".to_vec(), "module-invalid"),
        (truncated, "module-invalid"),
        (endless, "module-invalid"),
        (elf, "module-precompiled"),
    ] {
        assert_eq!(setup.refusal(upload).await.code, code);
    }
}

#[tokio::test]
async fn every_damaged_byte_is_refused_or_harmless() {
    let setup = Setup::with(|settings| settings.compiler.program = PathBuf::from("/nonexistent"));
    let sound = Guest::default().component();
    for position in 0..sound.len() {
        let mut damaged = sound.clone();
        damaged[position] ^= 0x55;
        // Whatever the structural check says, it must say it without a panic; what passes goes to the worker.
        match setup.sandbox.admit(&setup.tenant, damaged, &ModuleLimits::default()).await {
            Err(AdmitError::Refused(_) | AdmitError::Unavailable(_)) => {}
            other => panic!("byte {position}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn an_upload_over_the_size_limit_is_not_even_read() {
    let setup = Setup::new();
    let limits = ModuleLimits { upload_bytes_max: 100, ..ModuleLimits::default() };
    let refused = setup.sandbox.admit(&setup.tenant, vec![0; 101], &limits).await;
    assert!(matches!(refused, Err(AdmitError::Refused(refusal)) if refusal.code == "module-too-large"));
}

#[tokio::test]
async fn a_worker_that_hits_its_limits_is_a_refusal_and_the_host_stays_flat() {
    // 2 s of processor time are not enough for 30,000 loops in each other's way.
    let blocks = "(block (br_if 0 (local.get 0)))".repeat(60_000);
    let items = format!("(func (param i32) {blocks})").repeat(8);
    let upload = Guest { items, ..Guest::default() }.component();
    let limits = ModuleLimits { body_bytes_max: usize::MAX, ..ModuleLimits::default() };
    let compile =
        CompileLimits { memory_bytes_max: 96 << 20, cpu_seconds_max: 2, ..CompileLimits::default() };
    let setup = Setup::with(|settings| settings.compile = compile);
    let before = resident_bytes();
    for _ in 0..2 {
        let refused = setup.sandbox.admit(&setup.tenant, upload.clone(), &limits).await;
        let Err(AdmitError::Refused(refusal)) = refused else { panic!("{refused:?}") };
        assert_eq!(refusal.code, "module-too-costly");
    }
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "the host grew by {grown} bytes");
}

#[tokio::test]
async fn a_worker_that_does_not_answer_is_killed() {
    let compile = CompileLimits { wall: Duration::from_millis(200), ..CompileLimits::default() };
    let setup = Setup::with(|settings| {
        settings.compile = compile;
        settings.compiler.program = PathBuf::from("/bin/sleep");
        settings.compiler.args = vec!["1000".into()];
    });
    let refusal = setup.refusal(Guest::default().component()).await;
    assert_eq!(refusal.code, "module-too-costly");
}

#[tokio::test]
async fn a_worker_that_answers_garbage_is_the_hosts_problem_not_the_modules() {
    let setup = Setup::with(|settings| {
        settings.compiler.program = PathBuf::from("/bin/echo");
        settings.compiler.args = vec!["hello".into()];
    });
    let upload = Guest::default().component();
    let refused = setup.sandbox.admit(&setup.tenant, upload, &ModuleLimits::default()).await;
    assert!(matches!(refused, Err(AdmitError::Unavailable(_))), "{refused:?}");
}

#[tokio::test]
async fn a_description_that_cannot_be_is_refused() {
    let setup = Setup::new();
    // The name becomes "probe" with a capital letter.
    let describe = "(i32.store8 (i32.const 128) (i32.const 0x50)) (i32.const 16)".into();
    let refusal = setup.refusal(Guest { describe, ..Guest::default() }.component()).await;
    assert_eq!(refusal.code, "module-description-invalid");
    // The settings schema is no JSON.
    let describe = "(i32.store8 (i32.const 168) (i32.const 0x50)) (i32.const 16)".into();
    let refusal = setup.refusal(Guest { describe, ..Guest::default() }.component()).await;
    assert_eq!(refusal.code, "module-describe-failed");
    assert!(refusal.message.contains("settings-schema"), "{refusal}");
}

#[tokio::test]
async fn a_describe_that_traps_or_loops_is_refused() {
    let setup = Setup::new();
    for describe in ["unreachable", "(loop (br 0)) unreachable"] {
        let refusal =
            setup.refusal(Guest { describe: describe.into(), ..Guest::default() }.component()).await;
        assert_eq!(refusal.code, "module-describe-failed");
    }
    let left = std::fs::read_dir(setup.folder.path().join("compiled")).unwrap().count();
    assert_eq!(left, 0, "nothing of a refused module stays in the compiled cache");
}

/// Resident memory of this process.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    status.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4_096
}
