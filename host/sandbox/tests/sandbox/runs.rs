//! One call after the other: isolation, determinism, fairness.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use portolan_domain::contract::{Answer, Fact, Lookup, Need};
use portolan_sandbox::{GuestFailure, QueueLimits, RunLimits, Sandbox};
use serde_json::json;

use crate::{
    guests::{Guest, skip_with},
    setup::{Setup, charge, failure, settings, skipped, tenant},
};

/// Counts its calls in memory, and says "nothing" with the count as its first letter.
const COUNTING: &str = "(i32.store8 (i32.const 224) (i32.add (i32.load8_u (i32.const 224)) (i32.const 1)))
                        (i32.const 200)";

#[tokio::test]
async fn nothing_is_left_of_an_earlier_call() {
    let setup = Setup::new();
    let module = setup.guest(&Guest::transforming(COUNTING)).await;
    for _ in 0..50 {
        assert_eq!(skipped(&setup.run(&module).await), "oothing");
    }
}

#[tokio::test]
async fn one_module_cannot_see_the_memory_of_another() {
    let setup = Setup::new();
    // Fills its memory beyond the first page with ones; the other says how many bytes it finds there.
    let writer = "(memory.fill (i32.const 65536) (i32.const 255) (i32.const 983040)) (i32.const 200)";
    let reader = "(local.set $i (i32.const 65536))
        (block $found (loop $next
            (br_if $found (i32.load (local.get $i)))
            (local.set $i (i32.add (local.get $i) (i32.const 4)))
            (br_if $next (i32.lt_u (local.get $i) (i32.const 1048576)))
            (return (i32.const 200))))
        unreachable";
    let (writer, reader) =
        (setup.guest(&Guest::transforming(writer)).await, setup.guest(&Guest::transforming(reader)).await);
    for _ in 0..100 {
        assert_eq!(skipped(&setup.run(&writer).await), "nothing");
        assert_eq!(skipped(&setup.run(&reader).await), "nothing");
    }
}

#[tokio::test]
async fn the_same_input_gives_the_same_bytes_and_the_same_fuel() {
    let setup = Setup::new();
    let module = setup.guest(&Guest::default()).await;
    let (first, second) = (setup.run(&module).await, setup.run(&module).await);
    assert_eq!(first.verdict, second.verdict);
    assert_eq!(first.log, second.log);
    assert!(first.cost.fuel > 0);
    assert_eq!(first.cost.fuel, second.cost.fuel);
    assert_eq!(first.cost.memory_bytes_max, 16 * 65_536);
    // On the calling thread too.
    let here = setup.sandbox.transform_here(&module, &charge(), &RunLimits::default());
    assert_eq!((here.verdict, here.cost.fuel), (first.verdict, first.cost.fuel));
}

#[tokio::test]
async fn a_nan_has_one_bit_pattern() {
    let setup = Setup::new();
    // 0/0 has its sign bit set on x86-64 unless it is made canonical.
    let bits = "(f64.store (i32.const 224) (f64.div (f64.const 0) (f64.const 0)))
        (if (i64.eq (i64.load (i32.const 224)) (i64.const 0x7ff8000000000000)) (then (return (i32.const 200))))
        unreachable";
    let report = setup.transform(bits).await;
    // The reason now holds the bytes of the NaN, which are no UTF-8: reaching that is the proof.
    assert_eq!(failure(&report), "nonsense");
}

#[tokio::test]
async fn facts_settings_and_payload_reach_the_module_as_text() {
    let setup = Setup::new();
    // The input record lies at $input: settings is at offset 88, behind the event, the environment and the attempt.
    let settings = "(i32.store (i32.const 208) (i32.load offset=88 (local.get $input)))
                    (i32.store (i32.const 212) (i32.load offset=92 (local.get $input)))
                    (i32.const 200)";
    let module = setup.guest(&Guest::transforming(settings)).await;
    let mut input = charge();
    input.settings = json!({"account": "1000", "rate": 1.10});
    input.facts = vec![Fact {
        need: Need::Lookup(Lookup { table: "t".into(), key: "k".into() }),
        answer: Answer::Found(json!({"a": 1})),
    }];
    let report = setup.sandbox.transform(&setup.tenant, &module, input.clone(), &RunLimits::default()).await;
    assert_eq!(skipped(&report), input.settings.to_string());
    assert_eq!(report.cost.output_bytes as usize, input.settings.to_string().len());
    assert!(report.cost.input_bytes as usize > input.event.payload.len());
}

#[tokio::test]
async fn an_input_over_the_limit_is_not_handed_over() {
    let setup = Setup::new();
    let module = setup.guest(&Guest::default()).await;
    let limits = RunLimits { input_bytes_max: 100, ..RunLimits::default() };
    let report = setup.run_with(&module, &limits).await;
    assert_eq!(failure(&report), "input-too-large");
    assert_eq!(report.cost.fuel, 0);
}

#[tokio::test]
async fn a_looping_guest_is_stopped_and_the_others_do_not_notice() {
    let setup = Setup::new();
    let looping = setup.guest(&Guest::transforming("(loop (br 0)) unreachable")).await;
    let sound = setup.guest(&Guest::default()).await;
    let (sandbox, others) = (setup.sandbox.clone(), tenant(2));
    let flood: Vec<_> = (0..4)
        .map(|_| {
            let (sandbox, tenant, looping) = (sandbox.clone(), setup.tenant.clone(), looping.clone());
            tokio::spawn(async move {
                sandbox.transform(&tenant, &looping, charge(), &RunLimits::default()).await
            })
        })
        .collect();
    for _ in 0..20 {
        let report = sandbox.transform(&others, &sound, charge(), &RunLimits::default()).await;
        assert_eq!(skipped(&report), "nothing");
    }
    assert!(!flood.iter().all(tokio::task::JoinHandle::is_finished), "the loops outlived the sound calls");
    for report in flood {
        assert_eq!(failure(&report.await.unwrap()), "out-of-fuel");
    }
}

#[tokio::test]
async fn a_tenants_flood_is_served_in_turn_with_another_tenants_call() {
    let setup = Setup::with(|settings| {
        settings.queue = QueueLimits { running_per_tenant_max: Some(1), ..QueueLimits::default() };
    });
    // Slow enough that the queue is never empty, and bounded.
    let slow = "(local.set $i (i32.const 2000000))
        (loop $on (br_if $on (local.tee $i (i32.sub (local.get $i) (i32.const 1))))) (i32.const 200)";
    let module = setup.guest(&Guest::transforming(slow)).await;
    let ended = Arc::new(Mutex::new(Vec::new()));
    let call = |tenant: &portolan_domain::TenantId, name: &'static str| {
        let (sandbox, tenant, module, ended) =
            (setup.sandbox.clone(), tenant.clone(), module.clone(), ended.clone());
        async move {
            let report = sandbox.transform(&tenant, &module, charge(), &RunLimits::default()).await;
            assert_eq!(skipped(&report), "nothing");
            ended.lock().unwrap().push(name);
        }
    };
    let (flood, victim) = (tenant(3), tenant(4));
    let mut calls: Vec<_> = (0..100).map(|_| tokio::spawn(call(&flood, "flood"))).collect();
    // All of the flood is in the queue before the victim asks.
    tokio::task::yield_now().await;
    calls.push(tokio::spawn(call(&victim, "victim")));
    for call in calls {
        call.await.unwrap();
    }
    let ended = ended.lock().unwrap();
    let before = ended.iter().position(|name| *name == "victim").unwrap();
    assert!(before < 20, "{before} calls of the flood came first");
}

#[tokio::test]
async fn calls_over_the_queues_limit_are_turned_away_as_busy() {
    let setup = Setup::with(|settings| {
        settings.queue = QueueLimits { per_tenant_max: 1, ..QueueLimits::default() };
    });
    let module = setup.guest(&Guest::transforming("(loop (br 0)) unreachable")).await;
    let calls: Vec<_> = (0..10)
        .map(|_| {
            let (sandbox, tenant, module) = (setup.sandbox.clone(), setup.tenant.clone(), module.clone());
            tokio::spawn(
                async move { sandbox.transform(&tenant, &module, charge(), &RunLimits::default()).await },
            )
        })
        .collect();
    let mut busy = 0;
    for call in calls {
        let report = call.await.unwrap();
        let failure = report.verdict.unwrap_err();
        if failure == GuestFailure::Busy {
            busy += 1;
        } else {
            assert_eq!(failure.code(), "out-of-fuel");
        }
    }
    assert!(busy >= 8, "one runs, one waits, {busy} were turned away");
}

#[tokio::test]
async fn a_sandbox_refuses_settings_that_cannot_work() {
    let folder = tempfile::tempdir().unwrap();
    let mut short_key = settings(&folder);
    short_key.cache_key = portolan_domain::Secret::new("short");
    let mut one_thread = settings(&folder);
    one_thread.guest_threads = 1;
    let mut file_as_folder = settings(&folder);
    file_as_folder.compiled_dir = PathBuf::from("/dev/null/compiled");
    for settings in [short_key, one_thread, file_as_folder] {
        assert!(Sandbox::new(settings).is_err());
    }
}

#[tokio::test]
async fn ten_thousand_calls_leave_no_instance_behind() {
    let setup = Setup::new();
    let sound = setup.guest(&Guest::default()).await;
    let trapping = setup.guest(&Guest::transforming("unreachable")).await;
    // More than any pool slot: leaked ones would end in `busy`.
    for call in 0..5_000 {
        let here = |module| setup.sandbox.transform_here(module, &charge(), &RunLimits::default());
        assert_eq!(skipped(&here(&sound)), "nothing", "call {call}");
        assert_eq!(failure(&here(&trapping)), "trapped", "call {call}");
    }
}

#[tokio::test]
async fn an_outcome_longer_than_the_limit_is_refused_before_it_is_copied() {
    let setup = Setup::new();
    let just = setup.transform(&skip_with(65_536, 983_040)).await;
    // All of it was read, and what people are shown of it is cut and printable.
    assert!(skipped(&just).ends_with(r"\u{0}… (cut)") && skipped(&just).len() < 4_200);
    assert_eq!(just.cost.output_bytes, 983_040);
    let module = setup.guest(&Guest::transforming(&skip_with(0, 1_048_576))).await;
    let limits = RunLimits { output_bytes_max: 1_000_000, ..RunLimits::default() };
    assert_eq!(failure(&setup.run_with(&module, &limits).await), "output-too-large");
}
