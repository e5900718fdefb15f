//! What the sandbox tells the metrics recorder. Labels are verdict codes and other closed sets, never ids.

use metrics::{counter, gauge, histogram};

use crate::report::RunReport;

/// One run has ended.
pub(crate) fn run(report: &RunReport) {
    let verdict = report.verdict.as_ref().map_or_else(|failure| failure.code(), |_| "ok");
    counter!("portolan_sandbox_runs_total", "verdict" => verdict).increment(1);
    counter!("portolan_sandbox_fuel_total").increment(report.cost.fuel);
    counter!("portolan_sandbox_log_lines_dropped_total").increment(u64::from(report.log_dropped));
    histogram!("portolan_sandbox_run_seconds").record(seconds(report.cost.wall_us));
    histogram!("portolan_sandbox_queue_seconds").record(seconds(report.cost.queued_us));
}

/// Calls that wait for a guest thread.
pub(crate) fn waiting(count: usize) {
    gauge!("portolan_sandbox_waiting").set(float(count as u64));
}

/// Modules in memory.
pub(crate) fn loaded(modules: usize, bytes: usize) {
    gauge!("portolan_sandbox_loaded_modules").set(float(modules as u64));
    gauge!("portolan_sandbox_loaded_bytes").set(float(bytes as u64));
}

/// A module was loaded: from the compiled cache, or by compiling it.
pub(crate) fn load(from: &'static str) {
    counter!("portolan_sandbox_loads_total", "from" => from).increment(1);
}

/// An upload was judged.
pub(crate) fn admission(verdict: &'static str) {
    counter!("portolan_sandbox_admissions_total", "verdict" => verdict).increment(1);
}

/// A worker has ended.
pub(crate) fn compiled(wall_us: u64) {
    histogram!("portolan_sandbox_compile_seconds").record(seconds(wall_us));
}

#[expect(clippy::float_arithmetic, reason = "metrics are floats; nothing here is money")]
fn seconds(micros: u64) -> f64 {
    float(micros) / 1_000_000.0
}

#[expect(clippy::cast_precision_loss, reason = "metrics are floats; no count here comes near 2^53")]
const fn float(count: u64) -> f64 {
    count as f64
}
