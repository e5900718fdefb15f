//! What a module can try, instruction by instruction. Each ends as a value with a name, and the sandbox goes on.

use portolan_domain::contract::LogLevel;
use portolan_sandbox::{GuestFailure, RunLimits};

use crate::{
    guests::{Guest, skip_with},
    setup::{Setup, failure, skipped},
};

#[tokio::test]
async fn a_loop_ends_when_its_fuel_does_wherever_it_is() {
    let setup = Setup::new();
    let endless = "(loop (br 0))";
    let in_transform = Guest::transforming("(loop (br 0)) unreachable");
    let in_post_return = Guest {
        items: format!(
            r#"(func (export "cabi_post_portolan:mapping/mapper@1.0.0#transform") (param i32) {endless})"#
        ),
        ..Guest::default()
    };
    // describe() takes nothing, so that only transform calls realloc.
    let in_realloc = Guest { realloc: endless.into(), ..Guest::default() };
    for guest in [in_transform, in_post_return, in_realloc] {
        let module = setup.guest(&guest).await;
        let report = setup.run(&module).await;
        assert_eq!(failure(&report), "out-of-fuel");
        assert!(!report.verdict.unwrap_err().is_retryable());
        assert!(report.cost.fuel >= RunLimits::default().fuel_base);
    }
}

#[tokio::test]
async fn a_loop_in_the_start_function_is_refused_at_upload() {
    let setup = Setup::new();
    let items = "(func $start (loop (br 0))) (start $start)".into();
    let refusal = setup.refusal(Guest { items, ..Guest::default() }.component()).await;
    assert_eq!(refusal.code, "module-describe-failed");
    assert!(refusal.message.contains("fuel"), "{refusal}");
}

#[tokio::test]
async fn a_loop_with_fuel_to_spare_ends_with_its_time() {
    let setup = Setup::new();
    let module = setup.guest(&Guest::transforming("(loop (br 0)) unreachable")).await;
    let limits = RunLimits { cpu_ns_per_fuel: 0, ..RunLimits::default() };
    let report = setup.run_with(&module, &limits).await;
    assert_eq!(failure(&report), "overtime");
    assert!(report.verdict.unwrap_err().is_retryable());
    assert!(report.cost.fuel < limits.fuel_base);
}

#[tokio::test]
async fn filling_memory_is_charged_by_the_byte() {
    let setup = Setup::new();
    let filling = "(drop (memory.grow (i32.const 1000)))
        (loop (memory.fill (i32.const 65536) (i32.const 7) (i32.const 66000000)) (br 0)) unreachable";
    assert_eq!(failure(&setup.transform(filling).await), "out-of-fuel");
}

#[tokio::test]
async fn memory_over_the_limit_is_not_given() {
    let setup = Setup::new();
    // 16 pages are there; 1,008 more make 64 MiB, one more is too much.
    let grow = |pages: u32| {
        format!(
            "(if (i32.eq (memory.grow (i32.const {pages})) (i32.const -1)) (then unreachable)) (i32.const 200)"
        )
    };
    let report = setup.transform(&grow(1_008)).await;
    assert_eq!(skipped(&report), "nothing");
    assert_eq!(report.cost.memory_bytes_max, 64 << 20);
    let report = setup.transform(&grow(1_009)).await;
    assert_eq!(failure(&report), "out-of-memory");
}

#[tokio::test]
async fn a_module_that_starts_above_its_limit_is_out_of_memory() {
    let setup = Setup::new();
    let module = setup.guest(&Guest::default()).await;
    let limits = RunLimits { memory_bytes_max: 15 * 65_536, ..RunLimits::default() };
    assert_eq!(failure(&setup.run_with(&module, &limits).await), "out-of-memory");
}

#[tokio::test]
async fn table_growth_is_bounded() {
    let setup = Setup::new();
    let guest = Guest {
        items: "(table $t 1 funcref)".into(),
        ..Guest::transforming(
            "(if (i32.eq (table.grow $t (ref.null func) (i32.const 10000000)) (i32.const -1)) (then unreachable))
             (i32.const 200)",
        )
    };
    let module = setup.guest(&guest).await;
    assert_eq!(failure(&setup.run(&module).await), "out-of-memory");
}

#[tokio::test]
async fn endless_recursion_is_a_trap_with_a_stack() {
    let setup = Setup::new();
    let guest = Guest {
        items: "(func $deeper (param i32) (result i32) (i32.add (i32.const 1) (call $deeper (local.get 0))))"
            .into(),
        ..Guest::transforming("(call $deeper (i32.const 0))")
    };
    let module = setup.guest(&guest).await;
    let report = setup.run(&module).await;
    let Err(GuestFailure::Trapped { message }) = &report.verdict else { panic!() };
    assert!(message.contains("call stack exhausted"), "{message}");
    assert_eq!(report.stack.len(), 20);
    assert_eq!(report.stack[0].function(), "deeper");
    assert!(
        report
            .failure_text()
            .unwrap()
            .ends_with("in deeper, called by deeper, called by deeper, called by deeper")
    );
}

#[tokio::test]
async fn what_used_up_its_fuel_is_named() {
    let setup = Setup::new();
    let guest = Guest {
        items: "(func $spins (result i32) (loop $l (br $l)) (unreachable))".into(),
        ..Guest::transforming("(call $spins)")
    };
    let module = setup.guest(&guest).await;
    let report = setup.run(&module).await;
    assert_eq!(failure(&report), "out-of-fuel");
    assert_eq!(report.stack[0].function(), "spins");
}

#[tokio::test]
async fn a_host_call_at_the_end_of_the_stack_is_safe() {
    let setup = Setup::new();
    let guest = Guest {
        items: "(func $deeper (param i32) (result i32)
                  (call $log (i32.const 0) (i32.const 224) (i32.const 7))
                  (i32.add (i32.const 1) (call $deeper (local.get 0))))"
            .into(),
        ..Guest::transforming("(call $deeper (i32.const 0))")
    };
    let module = setup.guest(&guest).await;
    let limits = RunLimits { host_calls_max: u32::MAX, ..RunLimits::default() };
    assert_eq!(failure(&setup.run_with(&module, &limits).await), "trapped");
}

#[tokio::test]
async fn host_calls_have_a_budget() {
    let setup = Setup::new();
    let flood = "(loop (call $log (i32.const 1) (i32.const 224) (i32.const 7)) (br 0)) unreachable";
    let report = setup.transform(flood).await;
    assert_eq!(failure(&report), "too-many-host-calls");
    assert_eq!(report.log.len(), 200);
    assert_eq!(report.log_dropped, 10_000 - 200);
    assert_eq!((report.log[0].level, report.log[0].message.as_str()), (LogLevel::Info, "nothing"));
}

#[tokio::test]
async fn an_endless_log_line_is_cut_and_one_that_is_too_long_to_look_at_ends_the_run() {
    let setup = Setup::new();
    let line = |bytes: u32| {
        format!(
            "(memory.fill (i32.const 4096) (i32.const 120) (i32.const 1000000))
             (call $log (i32.const 1) (i32.const 4096) (i32.const {bytes})) (i32.const 200)"
        )
    };
    let report = setup.transform(&line(900_000)).await;
    assert_eq!(skipped(&report), "nothing");
    assert!(report.log[0].message.ends_with("xxx… (cut)") && report.log[0].message.len() < 1_100);
    let module = setup.guest(&Guest::transforming(&line(900_000))).await;
    let limits = RunLimits { output_bytes_max: 100_000, ..RunLimits::default() };
    assert_eq!(failure(&setup.run_with(&module, &limits).await), "output-too-large");
}

#[tokio::test]
async fn pointers_outside_of_memory_are_nonsense() {
    let setup = Setup::new();
    for (address, length) in [(0, u32::MAX), (u32::MAX, 1), (u32::MAX - 1, u32::MAX), (1_048_576, 1)] {
        let report = setup.transform(&skip_with(address, length)).await;
        assert_eq!(failure(&report), "nonsense", "{address} {length}");
    }
    for outcome in ["(i32.const -8)", "(i32.const 201)", "(i32.const 1048576)"] {
        assert_eq!(failure(&setup.transform(outcome).await), "nonsense", "{outcome}");
    }
}

#[tokio::test]
async fn text_that_is_no_utf_8_and_variants_that_do_not_exist_are_nonsense() {
    let setup = Setup::new();
    let report = setup.transform("(i32.store8 (i32.const 224) (i32.const 255)) (i32.const 200)").await;
    assert_eq!(failure(&report), "nonsense");
    let report = setup.transform("(i32.store8 (i32.const 200) (i32.const 77)) (i32.const 200)").await;
    assert_eq!(failure(&report), "nonsense");
}

#[tokio::test]
async fn lists_that_share_their_memory_cannot_amplify() {
    let setup = Setup::new();
    // `need` with 40,000 entries that all lie in the same zeroed megabyte: little for the guest, much for the host.
    let needs = "(i32.store8 (i32.const 200) (i32.const 1))
        (i32.store (i32.const 208) (i32.const 65536)) (i32.store (i32.const 212) (i32.const 30000))
        (i32.const 200)";
    assert_eq!(failure(&setup.transform(needs).await), "output-too-large");
}

#[tokio::test]
async fn an_empty_need_is_nonsense() {
    let setup = Setup::new();
    let nothing = "(i32.store8 (i32.const 200) (i32.const 1)) (i32.store (i32.const 212) (i32.const 0)) (i32.const 200)";
    assert_eq!(failure(&setup.transform(nothing).await), "nonsense");
}

#[tokio::test]
async fn a_realloc_that_lies_hurts_nobody_else() {
    let setup = Setup::new();
    for address in ["-1", "1048576", "4097"] {
        let realloc = format!("(return (i32.const {address}))");
        let module = setup.guest(&Guest { realloc, ..Guest::default() }).await;
        assert_eq!(failure(&setup.run(&module).await), "nonsense", "{address}");
    }
}

#[tokio::test]
async fn calling_the_host_from_realloc_or_post_return_is_a_trap() {
    let setup = Setup::new();
    let call = "(call $log (i32.const 1) (i32.const 224) (i32.const 7))";
    let in_realloc = Guest { realloc: call.into(), ..Guest::default() };
    let in_post_return = Guest {
        items: format!(
            r#"(func (export "cabi_post_portolan:mapping/mapper@1.0.0#transform") (param i32) {call})"#
        ),
        ..Guest::default()
    };
    for guest in [in_realloc, in_post_return] {
        let module = setup.guest(&guest).await;
        assert_eq!(failure(&setup.run(&module).await), "trapped");
    }
}
