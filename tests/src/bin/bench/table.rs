//! What is shown: what was promised beside what was measured, and how; what was not measured is said to be so.

use serde::Serialize;

use crate::{machine::Machine, mapping, pipeline, samples::Spread};

/// All of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    /// Where.
    pub(crate) machine: Machine,
    /// One mapping.
    pub(crate) mapping: Option<mapping::Measured>,
    /// The whole host.
    pub(crate) pipeline: Option<pipeline::Measured>,
}

/// A row: what is promised, what was measured, how.
struct Row {
    target: &'static str,
    measured: String,
    how: &'static str,
}

/// As text.
pub(crate) fn text(figures: &Figures) -> String {
    let mut text = String::new();
    machine(&mut text, &figures.machine);
    let mut rows = mapping_rows(figures.mapping.as_ref());
    rows.extend(pipeline_rows(figures.pipeline.as_ref()));
    rows.extend(rows_not_measured());
    table(&mut text, &rows);
    if let Some(mapping) = &figures.mapping {
        mapping_detail(&mut text, mapping);
    }
    if let Some(pipeline) = &figures.pipeline {
        pipeline_detail(&mut text, pipeline);
    }
    text
}

/// One more line.
macro_rules! line {
    ($text:expr) => { $text.push('\n') };
    ($text:expr, $($format:tt)*) => { { $text.push_str(&format!($($format)*)); $text.push('\n') } };
}

fn machine(text: &mut String, machine: &Machine) {
    let Machine { processors, processor, memory_mib, kernel, rustc, commit, .. } = machine;
    let changes = if machine.uncommitted { ", with changes that are not committed" } else { "" };
    line!(text, "machine   {processors} × {processor}, {memory_mib} MiB, {kernel}");
    line!(text, "load      {} before, {} after (1, 5, 15 minutes)", machine.load_before, machine.load_after);
    line!(text, "disk      4 KiB written and synced in {}", spread(&machine.sync));
    line!(text, "built     {}, {rustc}, commit {commit}{changes}", machine.build);
    line!(text);
}

fn table(text: &mut String, rows: &[Row]) {
    let width =
        |of: fn(&Row) -> &str| rows.iter().map(|row| of(row).chars().count()).max().unwrap_or_default();
    let (targets, measured) = (width(|row| row.target), width(|row| &row.measured));
    line!(text, "{:<targets$} | {:<measured$} | how", "target", "measured");
    line!(text, "{:-<targets$}-|-{:-<measured$}-|----", "", "");
    for row in rows {
        line!(text, "{:<targets$} | {:<measured$} | {}", row.target, row.measured, row.how);
    }
}

const ABSENT: &str = "not measured in this run";

fn mapping_rows(measured: Option<&mapping::Measured>) -> Vec<Row> {
    let hosts = measured.and_then(|measured| Some((measured, measured.sandboxed.first()?)));
    let shown = |show: fn(&mapping::Measured, &mapping::Sandboxed) -> String| {
        hosts.map_or_else(|| ABSENT.to_owned(), |(measured, sandboxed)| show(measured, sandboxed))
    };
    vec![
        Row {
            target: "a charge of 3–4 KB mapped in a fresh sandbox, per core: ≥ 20,000/s",
            measured: shown(|_, sandboxed| format!("{:.0}/s", sandboxed.calls_per_core_second)),
            how: "calls in one second of a thread's processor time, fuel and epoch on",
        },
        Row {
            target: "isolation: ≤ 10 µs p50",
            measured: shown(|_, sandboxed| format!("{:.1} µs p50", sandboxed.isolation.p50_us)),
            how: "instantiate and drop of each call",
        },
        Row {
            target: "whole call: ≤ 2 × the same Rust code run natively",
            measured: shown(|measured, sandboxed| {
                let times =
                    |native: &mapping::Native| native.calls_per_core_second / sandboxed.calls_per_core_second;
                format!("{:.2} × ({:.2} ×)", times(&measured.native_converted), times(&measured.native))
            }),
            how: "processor time, both from the host's types to the host's types (native without that conversion)",
        },
    ]
}

fn pipeline_rows(measured: Option<&pipeline::Measured>) -> Vec<Row> {
    let shown = |show: fn(&pipeline::Measured) -> String| measured.map_or_else(|| ABSENT.to_owned(), show);
    vec![
        Row {
            target: "accepted, mapped and delivered, fsync on: ≥ 3,000/s",
            measured: shown(|measured| format!("{:.0}/s", measured.sandboxed.events_per_second)),
            how: "documents that the ERP received while as much was sent as went; median of the turns",
        },
        Row {
            target: "event → ERP at 200/s: ≤ 10 ms p99",
            measured: shown(|measured| format!("{:.1} ms p99", measured.calm.arrived.p99_us / 1_000.0)),
            how: "from sending the webhook to the ERP having read the document",
        },
        Row {
            target: "≥ 60 % of the same pipeline with native code for the module",
            measured: shown(|measured| {
                let (sandboxed, native) = (&measured.sandboxed, &measured.native);
                let ratio = |a: f64, b: f64| 100.0 * a / b.max(f64::MIN_POSITIVE);
                let rates = ratio(sandboxed.events_per_second, native.events_per_second);
                let processor = ratio(native.processor_us_per_event, sandboxed.processor_us_per_event);
                format!("{rates:.0} % ({processor:.0} %)")
            }),
            how: "of the events per second (by processor time of the host's process per event)",
        },
        Row {
            target: "memory of the host under that load: ≤ 150 MB",
            measured: shown(|measured| format!("{:.0} MiB", measured.sandboxed.resident_mib_max)),
            how: "most resident memory of the host's process during the turns",
        },
        Row {
            target: "acknowledgement at half that load: ≤ 10 ms p99",
            measured: shown(|measured| format!("{:.1} ms p99", measured.half.acknowledged.p99_us / 1_000.0)),
            how: "from sending the webhook to its answer, at a steady rate",
        },
    ]
}

fn rows_not_measured() -> Vec<Row> {
    let absent = |target| Row { target, measured: "not measured here".to_owned(), how: "" };
    vec![
        absent("10,000 distinct modules on one host: ≤ 2 GiB; cold module to first result ≤ 1 ms p99"),
        absent("a tenant with loops, memory bombs, maximal outputs: others' p99 ≤ 1.1 ×"),
        absent("cost per event with 10 million stored events: ≤ 1.1 × the cost with none"),
        absent("recovery after kill -9 with a backlog of 100,000: ≤ 3 s to full rate"),
    ]
}

fn mapping_detail(text: &mut String, measured: &mapping::Measured) {
    let mapping::Measured { module, payload_bytes, facts, fuel, .. } = measured;
    line!(text);
    line!(
        text,
        "{module}: the call that returns the plan; event of {payload_bytes} bytes, {facts} facts, {fuel} fuel."
    );
    line!(
        text,
        "Microseconds, p50 / p99, wall-clock time of one thread. The module is compiled for size, native code for speed."
    );
    line!(text);
    let header = ["per core s", "whole", "instantiate", "call", "convert", "drop"];
    let row = |name: &str, rate: &str, cells: [String; 5]| {
        let [whole, instantiate, call, convert, drop] = cells;
        format!("{name:<26}{rate:>11}  {whole:>16}{instantiate:>16}{call:>16}{convert:>14}{drop:>14}")
    };
    let [rate, rest @ ..] = header;
    line!(text, "{}", row("", rate, rest.map(str::to_owned)));
    for one in &measured.sandboxed {
        let parts = [&one.whole, &one.instantiate, &one.call, &one.convert, &one.drop];
        let name = format!("sandbox, {}", one.metering);
        line!(text, "{}", row(&name, &format!("{:.0}", one.calls_per_core_second), parts.map(pair)));
    }
    for (name, native) in
        [("native, converted", &measured.native_converted), ("native, bare", &measured.native)]
    {
        let none = String::new;
        let parts = [pair(&native.whole), none(), none(), none(), none()];
        line!(text, "{}", row(name, &format!("{:.0}", native.calls_per_core_second), parts));
    }
}

fn pipeline_detail(text: &mut String, measured: &pipeline::Measured) {
    let pipeline::Measured { module, payload_bytes, tenants, .. } = measured;
    line!(text);
    line!(
        text,
        "{module}, {tenants} tenants: signed webhooks of {payload_bytes} bytes; two executions of the module for each"
    );
    line!(
        text,
        "event, facts from the host's own tables, one invoice to a gateway that only answers. Host, load generator and"
    );
    line!(
        text,
        "gateway share the processors; the host is a process of its own. At most {} events are under way.",
        crate::book::UNDER_WAY_MAX
    );
    line!(text);
    for (name, loaded) in [("sandbox", &measured.sandboxed), ("native", &measured.native)] {
        let turns: Vec<String> = loaded.turns.iter().map(|rate| format!("{rate:.0}")).collect();
        let pipeline::Loaded { account, processor_us_per_event, resident_mib_max, resident_mib_ever, .. } =
            loaded;
        line!(
            text,
            "{name:<9} turns {}/s; {processor_us_per_event:.0} µs of processor time per event; {resident_mib_max:.0} MiB \
             resident ({resident_mib_ever:.0} at most ever)",
            turns.join(", ")
        );
        line!(
            text,
            "{:<9} {} accepted, {} refused, {} missing at the ERP, {} doubled",
            "",
            account.accepted,
            account.refused,
            account.missing,
            account.doubled
        );
    }
    for (name, paced) in [("half", &measured.half), ("calm", &measured.calm)] {
        line!(
            text,
            "{name:<9} at {:.0}/s: acknowledged in {}",
            paced.per_second,
            spread(&paced.acknowledged)
        );
        line!(text, "{:<9} event → ERP in {}", "", spread(&paced.arrived));
    }
}

fn pair(spread: &Spread) -> String {
    format!("{:.1} / {:.1}", spread.p50_us, spread.p99_us)
}

fn spread(spread: &Spread) -> String {
    let ms = |micros: f64| micros / 1_000.0;
    format!(
        "{:.2} ms p50, {:.2} ms p99, {:.2} ms at most (of {})",
        ms(spread.p50_us),
        ms(spread.p99_us),
        ms(spread.max_us),
        spread.count
    )
}
