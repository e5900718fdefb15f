//! Answers as people read them: lists as tables, everything else as indented text. `--output json` has them as they are.

use comfy_table::{Table, presets::NOTHING};
use serde_json::{Map, Value};

use crate::print::{printable, printable_lines};

/// The columns that say most, in this order; a table has at most [`COLUMNS_MAX`].
const COLUMNS: &[&str] = &[
    "from",
    "tenant",
    "environment",
    "id",
    "digest",
    "number",
    "key",
    "name",
    "severity",
    "code",
    "state",
    "standing",
    "role",
    "kind",
    "system",
    "connector",
    "source",
    "operation",
    "module",
    "version",
    "enabled",
    "breaker",
    "paused",
    "in_doubt",
    "reason",
    "event",
    "title",
    "action",
    "subject",
    "by",
    "object_id",
    "attempts",
    "count",
    "rows",
    "value",
    "events",
    "environments",
    "runs",
    "deliveries",
    "alerts",
    "fuel",
    "bytes",
    "open",
    "received_at",
    "last_at",
    "updated_at",
    "at",
    "expires_at",
    "created_at",
];
const COLUMNS_MAX: usize = 8;
/// Longer cells are cut.
const CELL_CHARS_MAX: usize = 100;

/// A list as a table; what is not told there is in `show` and in `--output json`.
pub(super) fn table(items: &[Value]) -> String {
    let has = |name: &str| {
        items
            .iter()
            .any(|item| item.get(name).is_some_and(|value| !value.is_null() && brief(value).is_some()))
    };
    let mut columns: Vec<String> =
        COLUMNS.iter().filter(|name| has(name)).take(COLUMNS_MAX).map(|name| (*name).to_owned()).collect();
    if columns.is_empty() {
        columns = items
            .first()
            .and_then(Value::as_object)
            .map(|item| item.keys().cloned().collect())
            .unwrap_or_default();
    }
    if items.is_empty() {
        return "none\n".to_owned();
    }
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(columns.iter().map(|name| name.to_uppercase()));
    for item in items {
        table.add_row(columns.iter().map(|name| cell(item.get(name).unwrap_or(&Value::Null))));
    }
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

fn cell(value: &Value) -> String {
    let text = printable(&brief(value).unwrap_or_else(|| scalar(value)));
    match text.char_indices().nth(CELL_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => other.to_string(),
    }
}

/// What a cell can say of a value: of a reason its code and message, of a pause why, of counts each; nothing of what is
/// larger.
fn brief(value: &Value) -> Option<String> {
    let fields = match value {
        Value::Object(fields) => fields,
        Value::Array(items) => return parts(items),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return Some(scalar(value)),
    };
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    match (text("code"), text("message"), text("why")) {
        (Some(code), message, _) => Some(format!("{code}: {}", message.unwrap_or_default())),
        (None, _, Some(why)) => Some(why.to_owned()),
        (None, _, None) if !fields.is_empty() && fields.values().all(Value::is_number) => {
            Some(fields.iter().map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", "))
        }
        (None, _, None) => None,
    }
}

/// What is told of each environment: `sandbox 2 dead 1 critical`.
fn parts(items: &[Value]) -> Option<String> {
    let told = items.iter().map(|item| {
        let environment = item.get("environment").and_then(Value::as_str)?;
        let counts = item.as_object()?.values().filter(|value| value.is_object()).filter_map(brief);
        Some(counts.fold(environment.to_owned(), |told, counts| format!("{told} {counts}")))
    });
    told.collect::<Option<Vec<_>>>().filter(|told| !told.is_empty()).map(|told| told.join("; "))
}

fn is_nested(value: &Value) -> bool {
    matches!(value, Value::Array(_) | Value::Object(_))
}

/// Anything, indented.
pub(super) fn text(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(fields) => object(&mut out, fields, 0),
        Value::Null => {}
        other @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
            write(&mut out, other, 0);
        }
    }
    out
}

fn object(out: &mut String, fields: &Map<String, Value>, depth: usize) {
    let named = COLUMNS.iter().filter_map(|name| fields.get_key_value(*name));
    let others = fields.iter().filter(|(name, _)| !COLUMNS.contains(&name.as_str()));
    for (name, value) in named.chain(others) {
        indent(out, depth);
        out.push_str(&printable(name));
        out.push(':');
        write(out, value, depth);
    }
}

/// What follows a name.
fn write(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            out.push('\n');
            object(out, fields, depth + 1);
        }
        Value::Array(items) if items.iter().any(is_nested) => {
            out.push('\n');
            for item in items {
                let mut told = String::new();
                write(&mut told, item, depth);
                indent(out, depth);
                out.push_str("- ");
                out.push_str(told.trim_start());
            }
        }
        Value::Array(items) => {
            let told: Vec<String> = items.iter().map(|item| printable(&scalar(item))).collect();
            out.push_str(&format!(" {}\n", if told.is_empty() { "-".to_owned() } else { told.join(", ") }));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            let told = printable_lines(&scalar(value));
            let (first, rest) = told.split_once('\n').unwrap_or((&told, ""));
            out.push_str(&format!(" {first}\n"));
            for line in rest.lines() {
                indent(out, depth + 1);
                out.push_str(line);
                out.push('\n');
            }
        }
    }
}

fn indent(out: &mut String, depth: usize) {
    out.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_is_a_table_of_what_says_most() {
        let items = [
            json!({ "id": "con_1", "name": "erp", "settings": {"a": 1}, "paused": null }),
            json!({ "id": "con_2", "name": "stripe", "settings": {}, "paused": null }),
        ];
        let told = table(&items);
        let lines: Vec<Vec<&str>> = told.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines, [["ID", "NAME"], ["con_1", "erp"], ["con_2", "stripe"]]);
        assert_eq!(table(&[]), "none\n");
    }

    #[test]
    fn a_cell_says_in_brief_what_is_larger() {
        let items =
            [json!({ "id": "dlv_1", "reason": { "code": "validation-failed", "message": "no such item" },
                             "in_doubt": false, "paused": { "by": "key_1", "why": "stocktaking" } })];
        let told = table(&items);
        assert!(told.contains("validation-failed: no such item") && told.contains("stocktaking"), "{told}");
        let counts = table(&[json!({ "id": "x", "runs": { "dead": 2, "held": 1 }, "events": {} })]);
        assert!(counts.contains("2 dead, 1 held"), "{counts}");
        let overview = table(&[json!({ "id": "ten_1", "environments": [
            { "environment": "qa", "runs": { "dead": 2 }, "alerts": { "critical": 1 }, "oldest": null }] })]);
        assert!(overview.contains("qa 1 critical 2 dead"), "{overview}");
    }

    #[test]
    fn everything_else_is_indented_text() {
        let told = text(&json!({
            "name": "erp", "id": "con_1", "paused": null, "settings": { "url": "http://x", "tags": ["a", "b"] },
            "runs": [{ "id": "run_1", "log": [{ "text": "two\nlines" }] }],
        }));
        let wanted = "id: con_1\nname: erp\npaused: -\nruns:\n- id: run_1\n  log:\n  - text: two\n      lines\n\
                      settings:\n  tags: a, b\n  url: http://x\n";
        assert_eq!(told, wanted);
    }

    #[test]
    fn what_a_stranger_wrote_is_shown_and_not_obeyed() {
        let item = json!({ "name": "a\u{1b}[2Jb\nc", "tags": ["\u{9b}1m"], "\u{7}": "x\r\ny" });
        let (told, row) = (text(&item), table(&[item]));
        assert!(
            !told.chars().chain(row.chars()).any(|one| one.is_control() && one != '\n'),
            "{told:?} {row:?}"
        );
        assert!(told.contains("\\u{1b}[2Jb\n  c") && row.contains("\\u{1b}[2Jb\\nc"), "{told:?} {row:?}");
    }
}
