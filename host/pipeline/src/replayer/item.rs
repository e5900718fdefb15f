//! From what was recorded to what is compared, and from there to what is kept.

use portolan_domain::{
    contract::Outcome,
    diff::Difference,
    replay::{Comparison, Ending},
    state::RunState,
};
use portolan_store::replay::{Recorded, ReplayInput, ReplayItem, Side};
use serde::Deserialize;
use serde_json::{Value, json};

/// Differences of one event that are kept.
const DIFFERENCES_MAX: usize = 200;
/// Bytes of a value that is kept with a difference.
const VALUE_BYTES_MAX: usize = 16 << 10;
/// Bytes of all values that are kept with the differences of one event.
const VALUES_BYTES_MAX: usize = 256 << 10;

/// Failures that are the module's own doing: the same again on every machine.
const OWN_FAILURES: [&str; 9] = [
    "guest-trapped",
    "guest-out-of-fuel",
    "guest-out-of-memory",
    "guest-too-many-host-calls",
    "guest-input-too-large",
    "guest-output-too-large",
    "guest-nonsense",
    "too-many-rounds",
    "payload-not-utf-8",
];

/// How a run ended, as far as it was its module's doing; none when it has not ended, or ended otherwise.
pub(super) fn ending(recorded: &Recorded) -> Option<Ending> {
    let code = recorded.reason.get("code").and_then(Value::as_str).unwrap_or_default();
    let failed = || Ending::Failed {
        code: code.to_owned(),
        message: recorded.reason.get("message").and_then(Value::as_str).unwrap_or_default().to_owned(),
    };
    let is_dead = recorded.state == RunState::Dead;
    if is_dead && (code == "plan-refused" || (recorded.outcome.is_null() && OWN_FAILURES.contains(&code))) {
        return Some(failed());
    }
    if recorded.outcome.is_null() || (is_dead && ["not-granted", "connection-unbound"].contains(&code)) {
        return None;
    }
    Outcome::deserialize(&recorded.outcome).ok().map(Ending::Decided)
}

/// What is kept of an event.
pub(super) fn item(
    input: &ReplayInput,
    (before, fuel_before): (Option<&Ending>, u64),
    (after, fuel): (&Ending, u64),
    comparison: Comparison,
) -> ReplayItem {
    let differences_total = u64::try_from(comparison.differences.len()).unwrap_or(u64::MAX);
    let mut left = VALUES_BYTES_MAX;
    let kept = comparison.differences.into_iter().take(DIFFERENCES_MAX);
    ReplayItem {
        event: input.event.id.clone(),
        kind: input.event.kind.clone(),
        object_id: input.event.object_id.clone(),
        run: input.recorded.as_ref().map(|recorded| recorded.run.clone()),
        class: comparison.class,
        before: before.map(|before| side(before, fuel_before)),
        after: side(after, fuel),
        differences: kept.map(|one| cut(one, &mut left)).collect(),
        differences_total,
    }
}

fn side(ending: &Ending, fuel: u64) -> Side {
    let (code, message) = match ending {
        Ending::Failed { code, message } => (Some(code.clone()), Some(message.clone())),
        Ending::Unanswered(needs) => {
            let mut text = json!(needs).to_string();
            text.truncate(text.floor_char_boundary(VALUE_BYTES_MAX));
            (Some("new-need".to_owned()), Some(text))
        }
        Ending::Decided(_) => (None, None),
    };
    Side { outcome: ending.name().to_owned(), code, message, fuel }
}

/// A difference whose values are not too large to be kept.
fn cut(difference: Difference, left: &mut usize) -> Difference {
    let mut fit = |value: Option<Value>| {
        let value = value?;
        let bytes = value.to_string().len();
        if bytes <= VALUE_BYTES_MAX.min(*left) {
            *left -= bytes;
            return Some(value);
        }
        Some(json!({ "too-large-to-be-kept": true, "bytes": bytes }))
    };
    Difference { before: fit(difference.before), after: fit(difference.after), pointer: difference.pointer }
}

#[cfg(test)]
mod tests {
    use portolan_domain::{RunId, Timestamp};

    use super::*;

    fn recorded(state: RunState, code: Option<&str>, outcome: Value) -> Recorded {
        Recorded {
            run: RunId::generate(Timestamp::from_millis(1)),
            state,
            reason: code.map_or(Value::Null, |code| json!({ "code": code, "message": "m" })),
            outcome,
            module: None,
            attempt: 1,
            settings: None,
            facts: vec![],
            fuel: 0,
        }
    }

    #[test]
    fn only_what_was_the_modules_doing_is_compared() {
        let name = |recorded: &Recorded| ending(recorded).map(|ending| ending.name());
        let skip = json!({ "skip": "x" });
        assert_eq!(name(&recorded(RunState::Skipped, Some("skipped"), skip.clone())), Some("skip"));
        assert_eq!(name(&recorded(RunState::Pending, None, Value::Null)), None);
        assert_eq!(name(&recorded(RunState::Dead, Some("guest-trapped"), Value::Null)), Some("failed"));
        assert_eq!(name(&recorded(RunState::Dead, Some("plan-refused"), skip.clone())), Some("failed"));
        for not_its_doing in ["guest-overtime", "host-panic", "quarantined", "store-unavailable"] {
            assert_eq!(name(&recorded(RunState::Dead, Some(not_its_doing), Value::Null)), None);
        }
        assert_eq!(name(&recorded(RunState::Dead, Some("not-granted"), skip)), None);
    }

    #[test]
    fn what_is_too_large_is_told_by_its_size() {
        let large = json!("x".repeat(VALUE_BYTES_MAX));
        let one = Difference { pointer: "/a".into(), before: Some(large), after: Some(json!(1)) };
        let kept = cut(one, &mut VALUES_BYTES_MAX.clone());
        assert_eq!(kept.before.unwrap()["bytes"], VALUE_BYTES_MAX + 2);
        assert_eq!(kept.after, Some(json!(1)));
    }
}
