//! Asks for another fact in every round. The host must bound the rounds and say so.
//! Settings: `{"per_round": 1}`, how many facts it asks for at once.

use portolan_sdk::{ask, prelude::*};
use serde::Deserialize;

/// A mapping that is never satisfied.
#[derive(Debug)]
pub struct AsksForever;

/// Natively nothing stops it but this.
const ROUNDS_MAX: usize = 10_000;

#[derive(Debug, Deserialize)]
struct Settings {
    #[serde(default = "one")]
    per_round: usize,
}

const fn one() -> usize {
    1
}

impl Mapping for AsksForever {
    fn describe() -> Description {
        Description::new(
            "hostile-asks-forever",
            env!("CARGO_PKG_VERSION"),
            "Asks for another fact in every round.",
        )
        .serves("stripe", "charge.succeeded")
        .table("anything", "Whatever")
        .settings_schema(r#"{"type":"object","properties":{"per_round":{"type":"integer","minimum":1}}}"#)
    }

    fn map(cx: &Cx<'_>) -> Result<Plan, Stop> {
        let settings: Settings = cx.settings()?;
        for round in 0..ROUNDS_MAX {
            let question =
                |number: usize| ask::lookup::<serde_json::Value>("anything", &format!("{round}.{number}"));
            cx.all((0..settings.per_round).map(question).collect::<Vec<_>>())?;
        }
        Err(Stop::skip("somebody answered for ever"))
    }
}

portolan_sdk::mapping!(AsksForever);

#[cfg(test)]
mod tests {
    use portolan_sdk::testing::{Trial, charge};

    use super::*;

    #[test]
    #[should_panic(expected = "still asks after")]
    fn it_fails_its_trial() {
        drop(Trial::<AsksForever>::of_charge(&charge("ch_1", 1, "eur")).settings(json!({})).run());
    }
}
