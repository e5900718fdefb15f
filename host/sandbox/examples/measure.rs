//! Measures one module by hand: `cargo run --release --example measure -- <module.wasm> [calls]`. Admits it, calls
//! `transform` with an empty charge, and prints what a call costs. The figures that count come from
//! `cargo xtask bench`; this is for looking at one module or one setting.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::{error::Error, sync::Arc};

use portolan_domain::{
    Environment, Secret, TenantId, Timestamp,
    contract::{EventFacts, Input},
};
use portolan_sandbox::{CompilerCommand, Cost, ModuleLimits, RunLimits, Sandbox, SandboxSettings};
use serde_json::json;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|argument| argument == "compile") {
        return if portolan_sandbox::compiler_main() == std::process::ExitCode::SUCCESS {
            Ok(())
        } else {
            Err("the compile worker failed".into())
        };
    }
    let path = arguments.get(1).ok_or("which module?")?;
    let calls = arguments.get(2).map_or(Ok(1_000), |calls| calls.parse())?;
    let folder = std::env::temp_dir().join(format!("portolan-measure-{}", std::process::id()));
    let compiler = CompilerCommand { program: std::env::current_exe()?, args: vec!["compile".into()] };
    let key = Secret::new("measuring needs no secret, but 32 bytes");
    let sandbox = Sandbox::new(SandboxSettings::new(folder.clone(), key, compiler))?;
    let tenant = TenantId::generate(Timestamp::from_millis(0));
    let admitted = sandbox.admit(&tenant, std::fs::read(path)?, &ModuleLimits::default()).await?;
    println!("{} {} {:?}", admitted.description.name, admitted.description.version, admitted.stats);
    admitted.warnings.iter().for_each(|warning| println!("note: {warning}"));
    let gone = || async { Err::<Vec<u8>, _>(std::io::Error::other("not in the cache")) };
    let module = sandbox.load(&admitted.digest, gone).await?;
    let input = Arc::new(input());
    let limits = RunLimits::default();
    let reports: Vec<_> = (0..calls).map(|_| sandbox.transform_here(&module, &input, &limits)).collect();
    if let Some(last) = reports.last() {
        println!("verdict {:?}\nlog {:?}\n{:?}", last.verdict, last.log, last.cost);
    }
    type Part = fn(&Cost) -> u64;
    let parts: [(&str, Part); 5] = [
        ("instantiate", |cost| cost.instantiate_ns),
        ("call", |cost| cost.call_ns),
        ("convert", |cost| cost.convert_ns),
        ("drop", |cost| cost.drop_ns),
        ("whole (µs)", |cost| cost.wall_us),
    ];
    for (name, part) in parts {
        let mut values: Vec<u64> = reports.iter().map(|report| part(&report.cost)).collect();
        values.sort_unstable();
        let at = |percent: usize| values.get(values.len() * percent / 100).copied().unwrap_or_default();
        println!("{name:12} p50 {:>9} p99 {:>9}", at(50), at(99));
    }
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

fn input() -> Input {
    let payload = json!({"id": "evt_1", "type": "charge.succeeded", "data": {"object": {
        "id": "ch_1", "object": "charge", "amount": 1_000, "amount_captured": 1_000, "captured": true,
        "currency": "usd", "customer": "cus_1", "created": 1_763_600_000, "metadata": {}}}});
    Input {
        event: EventFacts {
            id: "evt_01JD5T3Z9Y6W8V7U5S4R3Q2P1N".into(),
            source: "measure".into(),
            system: "stripe".into(),
            kind: "charge.succeeded".into(),
            object_id: Some("ch_1".into()),
            occurred_at: Timestamp::from_seconds(1_763_600_000),
            received_at: Timestamp::from_seconds(1_763_600_001),
            media_type: "application/json".into(),
            payload: payload.to_string(),
        },
        environment: Environment::Sandbox,
        attempt: 1,
        settings: json!({}),
        facts: vec![],
    }
}
