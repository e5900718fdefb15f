//! Floods the log, then returns an enormous outcome. The host must drop and count lines, and refuse the outcome
//! before it copies it. Settings: `{"lines": 100000, "line_bytes": 200, "outcome_bytes": 33554432}`.

use portolan_sdk::prelude::*;
use serde::Deserialize;

/// A mapping that floods.
#[derive(Debug)]
pub struct Floods;

#[derive(Debug, Deserialize)]
#[serde(default)]
struct Settings {
    lines: u32,
    line_bytes: usize,
    outcome_bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { lines: 100_000, line_bytes: 200, outcome_bytes: 32 << 20 }
    }
}

impl Mapping for Floods {
    fn describe() -> Description {
        Description::new("hostile-floods", env!("CARGO_PKG_VERSION"), "Floods the log and the outcome.")
            .serves("stripe", "charge.succeeded")
            .settings_schema(
                r#"{"type":"object","properties":{
                    "lines":{"type":"integer"},"line_bytes":{"type":"integer"},"outcome_bytes":{"type":"integer"}}}"#,
            )
    }

    fn map(cx: &Cx<'_>) -> Result<Plan, Stop> {
        let settings: Settings = cx.settings()?;
        // A control character in each line: a host that writes it unescaped is caught as well.
        let line = format!("\u{1b}[31m{}", "x".repeat(settings.line_bytes));
        for _ in 0..settings.lines {
            portolan_sdk::warn!("{line}");
        }
        Err(Stop::skip("y".repeat(settings.outcome_bytes)))
    }
}

portolan_sdk::mapping!(Floods);

#[cfg(test)]
mod tests {
    use portolan_sdk::testing::{Trial, charge};

    use super::*;

    #[test]
    fn it_floods_as_its_settings_say() {
        let settings = json!({"lines": 3, "line_bytes": 5, "outcome_bytes": 7});
        let trial = Trial::<Floods>::of_charge(&charge("ch_1", 1, "eur")).settings(settings).run();
        assert_eq!(trial.lines.len(), 3);
        assert_eq!(trial.skipped(), "yyyyyyy");
    }
}
