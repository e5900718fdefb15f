//! What the rows of RETURN mean for the call. Rows of type E and A are failures; their message class and
//! number, and failing that their text (English logon assumed), tell whom they concern.

use portolan_domain::verdict::{CallFailure, CallProblem};
use serde_json::{Map, Value, json};

/// Rows of RETURN that are handed on with a problem.
const ROWS_MAX: usize = 50;

/// Locked objects: pass by themselves.
const LOCKS: &[(&str, &str)] = &[
    ("F2", "042"), // customer's account
    ("M3", "023"), // material
    ("M3", "024"), // material's valuation
    ("M3", "897"), // plant data of the material
    ("MC", "601"), // object requested
    ("V1", "042"), // sales document
];

/// Rows that only announce that others follow.
const ANNOUNCEMENTS: &[(&str, &str)] = &[("RW", "609"), ("V4", "219")];

/// Whom a row concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Concern {
    /// Nobody: it will pass.
    Lock,
    /// Whoever gives rights.
    Authorization,
    /// Whoever keeps the data: master data, periods, balance and everything else.
    Data,
}

/// The rows of RETURN, a table or a structure.
pub(super) fn rows(returned: Option<&Value>) -> Vec<Value> {
    match returned {
        Some(Value::Array(rows)) => rows.clone(),
        Some(row @ Value::Object(_)) => vec![row.clone()],
        // An empty table reads like an empty text.
        _ => Vec::new(),
    }
}

fn field<'a>(row: &'a Value, name: &str) -> &'a str {
    row.get(name).and_then(Value::as_str).unwrap_or_default().trim()
}

fn is_failure(row: &Value) -> bool {
    matches!(field(row, "TYPE"), "E" | "A")
}

fn class(row: &Value) -> (&str, &str) {
    (field(row, "ID"), field(row, "NUMBER"))
}

fn concern(row: &Value) -> Concern {
    let text = field(row, "MESSAGE").to_lowercase();
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| text.contains(phrase));
    if LOCKS.contains(&class(row)) || says(&["locked by", "being processed by", "blocked by user"]) {
        Concern::Lock
    } else if says(&["authoriz", "authoris"]) {
        Concern::Authorization
    } else {
        Concern::Data
    }
}

/// The failure that these rows stand for, if any of them is of type E or A.
pub(super) fn failure(rows: &[Value]) -> Option<CallFailure> {
    let failures: Vec<&Value> = rows.iter().filter(|row| is_failure(row)).collect();
    let is_cause = |row: &&&Value| !ANNOUNCEMENTS.contains(&class(row));
    let first = failures.iter().find(is_cause).or(failures.first())?;
    let causes: Vec<Concern> = failures.iter().filter(is_cause).map(|row| concern(row)).collect();

    let (id, number) = class(first);
    let message = format!("{id} {number}: {}", field(first, "MESSAGE"));
    let detail = json!({"RETURN": rows.iter().take(ROWS_MAX).collect::<Vec<_>>()});
    let problem = |code: &str| CallProblem::new(code, message).with_detail(detail);
    Some(if causes.contains(&Concern::Authorization) {
        CallFailure::Unauthorized { problem: problem("not-authorized") }
    } else if !causes.is_empty() && causes.iter().all(|concern| *concern == Concern::Lock) {
        CallFailure::Retryable { problem: problem("record-locked"), after_ms: None }
    } else {
        CallFailure::Permanent { problem: problem("data-refused") }
    })
}

/// Whether a function that reads found its object, by what it answers under this name. Failures about anything else
/// are that.
pub(super) fn found(values: &Map<String, Value>, name: &str) -> Result<bool, CallFailure> {
    let rows = rows(values.get(name));
    match failure(&rows) {
        Some(CallFailure::Permanent { .. }) if says_absent(&rows) => Ok(false),
        Some(failure) => Err(failure),
        None => Ok(true),
    }
}

/// Whether a row is more than an initial structure.
pub(super) fn says_something(row: &Value) -> bool {
    !field(row, "TYPE").is_empty() || !field(row, "MESSAGE").is_empty()
}

/// Whether the failures say that the object asked for does not exist.
fn says_absent(rows: &[Value]) -> bool {
    let absent = ["does not exist", "not exist", "not found", "is not defined", "not been created"];
    let says = |row: &Value| {
        let text = field(row, "MESSAGE").to_lowercase();
        absent.iter().any(|phrase| text.contains(phrase))
    };
    rows.iter().any(|row| is_failure(row) && says(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kind: &str, id: &str, number: &str, message: &str) -> Value {
        json!({"TYPE": kind, "ID": id, "NUMBER": number, "MESSAGE": message})
    }

    #[test]
    fn successes_and_warnings_are_no_failure() {
        let rows = [row("S", "V1", "311", "Standard Order 16023 has been saved"), row("W", "V1", "555", "x")];
        assert_eq!(failure(&rows), None);
        assert_eq!(failure(&[json!({"TYPE": "", "ID": "", "NUMBER": "000"})]), None);
        assert_eq!(failure(&[]), None);
    }

    #[test]
    fn locks_pass_by_themselves() {
        let locked = row("E", "V1", "042", "Sales document 1 is currently being processed by X");
        let announced = [row("E", "V4", "219", "Sales document was not changed"), locked.clone()];
        for rows in [vec![locked], announced.to_vec(), vec![row("A", "MC", "601", "?")]] {
            assert!(matches!(failure(&rows), Some(CallFailure::Retryable { .. })), "{rows:?}");
        }
    }

    #[test]
    fn a_lock_beside_wrong_data_waits_for_a_person() {
        let rows = [row("E", "MC", "601", "locked by X"), row("E", "F5", "102", "Customer 1 is not defined")];
        assert!(matches!(failure(&rows), Some(CallFailure::Permanent { .. })));
    }

    #[test]
    fn the_cause_is_named_and_not_its_announcement() {
        let rows = [
            row("E", "RW", "609", "Error in document: BKPFF $ ECDCLNT100"),
            row("E", "F5", "102", "Customer 100042 is not defined in company code 1000"),
        ];
        let failure = failure(&rows).unwrap();
        assert!(matches!(failure, CallFailure::Permanent { .. }));
        assert!(failure.problem().message.starts_with("F5 102:"), "{failure:?}");
        assert_eq!(failure.problem().detail["RETURN"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn an_announcement_alone_is_a_failure_too() {
        let rows = [row("E", "RW", "609", "Error in document: BKPFF $ ECDCLNT100")];
        assert!(matches!(failure(&rows), Some(CallFailure::Permanent { .. })));
    }

    #[test]
    fn missing_rights_alert() {
        let rows = [row("E", "F5", "083", "You have no authorization for posting in company code 1000")];
        assert!(matches!(failure(&rows), Some(CallFailure::Unauthorized { .. })));
    }
}
