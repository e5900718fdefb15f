//! Reading tables by RFC_READ_TABLE: conditions that cannot be broken out of, lines of at most 72 characters,
//! and rows of fixed width taken apart by the offsets that the system gives.

use portolan_domain::verdict::{CallFailure, CallProblem};
use serde_json::{Map, Value, json};

use super::{
    Ecc,
    soap::{Function, Reply},
};
use crate::{
    call::{Call, Doing},
    parameters::{invalid, object_of, text, whole_number},
};

/// The longest line of OPTIONS: its field has 72 characters, and the last is lost on some releases.
const LINE_CHARS_MAX: usize = 71;
/// Rows of one answer.
const ROWS_MAX: u64 = 10_000;
/// Rows when the module names no number.
const ROWS_DEFAULT: u64 = 100;
/// Fields, and conditions, of one question.
const FIELDS_MAX: usize = 64;
/// Comparisons: the module's word and ABAP's.
const OPERATORS: &[(&str, &str)] =
    &[("EQ", "="), ("NE", "<>"), ("GT", ">"), ("GE", ">="), ("LT", "<"), ("LE", "<=")];

/// One condition; all of a question hold together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    field: String,
    operator: &'static str,
    value: String,
}

impl Condition {
    /// Field equals value.
    pub(super) fn equal(field: &str, value: &str) -> Result<Self, CallFailure> {
        Self::new(field, "EQ", value, "")
    }

    /// Field equals a text that people wrote: a name, an address. Within quotes nothing but a quote has a meaning;
    /// still only what names and addresses are made of is let through.
    pub(super) fn text(field: &str, value: &str, pointer: &str) -> Result<Self, CallFailure> {
        let fits = |c: char| c.is_alphanumeric() || " _.-@+&,/:=".contains(c);
        let chars = value.chars().count();
        if chars == 0 || chars > LINE_CHARS_MAX - 2 || value != value.trim() || !value.chars().all(fits) {
            let message = "may hold letters, digits, blanks within and _ . - @ + & , / : = only, and at most 69 of them";
            return Err(invalid(pointer, message));
        }
        Ok(Self { field: field.to_owned(), operator: "=", value: value.to_owned() })
    }

    fn new(field: &str, operator: &str, value: &str, pointer: &str) -> Result<Self, CallFailure> {
        let name = table_name(field, &format!("{pointer}/FIELD"))?;
        let operator = OPERATORS.iter().find(|(word, _)| *word == operator).map(|(_, sign)| *sign);
        let operator = operator
            .ok_or_else(|| invalid(&format!("{pointer}/OPERATOR"), "must be EQ, NE, GT, GE, LT or LE"))?;
        // What goes into ABAP between quotes is kept to an alphabet in which nothing has a meaning.
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        if value.len() > LINE_CHARS_MAX - 2 || !value.bytes().all(fits) {
            let message = "may hold letters, digits, _, . and - only, and at most 69 of them";
            return Err(invalid(&format!("{pointer}/VALUE"), message));
        }
        Ok(Self { field: name.to_owned(), operator, value: value.to_owned() })
    }
}

/// What to read.
#[derive(Debug)]
pub(super) struct TableQuestion<'a> {
    pub(super) table: &'a str,
    pub(super) fields: &'a [&'a str],
    pub(super) conditions: Vec<Condition>,
    pub(super) rows_max: u64,
}

/// The conditions as lines of ABAP, broken between tokens.
fn option_lines(conditions: &[Condition]) -> Vec<String> {
    let mut lines = Vec::new();
    for (index, condition) in conditions.iter().enumerate() {
        let and = if index == 0 { "" } else { "AND " };
        // ABAP has no empty text: initial is a blank.
        let value = if condition.value.is_empty() { " " } else { &condition.value };
        let (left, right) =
            (format!("{and}{} {}", condition.field, condition.operator), format!("'{value}'"));
        if left.chars().count() + 1 + right.chars().count() <= LINE_CHARS_MAX {
            lines.push(format!("{left} {right}"));
        } else {
            lines.extend([left, right]);
        }
    }
    lines
}

fn table_name<'a>(name: &'a str, pointer: &str) -> Result<&'a str, CallFailure> {
    let fits = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"_/".contains(&byte);
    if name.is_empty() || name.len() > 30 || !name.bytes().all(fits) {
        return Err(invalid(pointer, "must be a name: upper case letters, digits, _ and /, at most 30"));
    }
    Ok(name)
}

impl Ecc {
    /// The rows that meet the conditions, each an object of texts.
    pub(super) async fn rows(
        &self,
        question: &TableQuestion<'_>,
        call: &Call<'_>,
    ) -> Result<Vec<Map<String, Value>>, CallFailure> {
        let text_rows = |name: &str, texts: Vec<String>| -> Vec<Value> {
            texts.into_iter().map(|text| json!({ name: text })).collect()
        };
        let fields = question.fields.iter().map(|field| (*field).to_owned()).collect();
        let parameters = Map::from_iter([
            ("QUERY_TABLE".to_owned(), json!(question.table)),
            ("ROWCOUNT".to_owned(), json!(question.rows_max)),
            ("OPTIONS".to_owned(), json!(text_rows("TEXT", option_lines(&question.conditions)))),
            ("FIELDS".to_owned(), json!(text_rows("FIELDNAME", fields))),
        ]);
        let name = self.table_reader.as_str();
        let function = Function { name, parameters: &parameters, tables_out: &["DATA", "FIELDS", "OPTIONS"] };
        let values = match self.ask(&function, call).await? {
            Reply::Refused(fault) if fault.name == "TABLE_WITHOUT_DATA" => return Ok(Vec::new()),
            reply @ (Reply::Done(_) | Reply::Refused(_)) => reply.done()?,
        };
        let rows = take_apart(&values, question.fields);
        rows.ok_or_else(|| {
            let message = format!("the answer of {name} is not a table of the fields asked for");
            Doing::Asking.unclear(CallProblem::new("unreadable-answer", message))
        })
    }

    /// `table.read`
    pub(super) async fn read_table(&self, parameters: &Value, call: &Call<'_>) -> Result<Value, CallFailure> {
        let known = ["QUERY_TABLE", "FIELDS", "WHERE", "ROWCOUNT"];
        let parameters = object_of(parameters, &known)?;
        let fields = field_names(parameters.get("FIELDS"))?;
        let rows_max = match parameters.contains_key("ROWCOUNT") {
            true => whole_number(parameters, "ROWCOUNT")?,
            false => ROWS_DEFAULT,
        };
        if !(1..=ROWS_MAX).contains(&rows_max) {
            return Err(invalid("/ROWCOUNT", "must be from 1 to 10000"));
        }
        let question = TableQuestion {
            table: table_name(text(parameters, "QUERY_TABLE")?, "/QUERY_TABLE")?,
            fields: &fields,
            conditions: conditions(parameters.get("WHERE"))?,
            rows_max,
        };
        Ok(json!({"rows": self.rows(&question, call).await?}))
    }
}

fn field_names(value: Option<&Value>) -> Result<Vec<&str>, CallFailure> {
    let names = value.and_then(Value::as_array).filter(|names| (1..=FIELDS_MAX).contains(&names.len()));
    let names = names.ok_or_else(|| invalid("/FIELDS", "must be an array of 1 to 64 names"))?;
    let name =
        |(index, name): (usize, &'_ Value)| (format!("/FIELDS/{index}"), name.as_str().map(str::to_owned));
    for (pointer, name) in names.iter().enumerate().map(name) {
        table_name(&name.unwrap_or_default(), &pointer)?;
    }
    Ok(names.iter().filter_map(Value::as_str).collect())
}

fn conditions(value: Option<&Value>) -> Result<Vec<Condition>, CallFailure> {
    let rows = match value {
        None => return Ok(Vec::new()),
        Some(Value::Array(rows)) if rows.len() <= FIELDS_MAX => rows,
        Some(_) => return Err(invalid("/WHERE", "must be an array of at most 64 conditions")),
    };
    let condition = |(index, row): (usize, &Value)| {
        let pointer = format!("/WHERE/{index}");
        let part = |name: &str| row.get(name).and_then(Value::as_str);
        match (row.as_object(), part("FIELD"), part("VALUE")) {
            (Some(_), Some(field), Some(value)) => {
                Condition::new(field, part("OPERATOR").unwrap_or("EQ"), value, &pointer)
            }
            _ => Err(invalid(&pointer, "must be an object with the texts FIELD, OPERATOR and VALUE")),
        }
    };
    rows.iter().enumerate().map(condition).collect()
}

/// Where a field stands in a row.
struct Column {
    name: String,
    offset: usize,
    length: usize,
    is_number: bool,
}

/// The rows of DATA by field, or `None` when FIELDS or DATA is not as documented.
fn take_apart(values: &Map<String, Value>, wanted: &[&str]) -> Option<Vec<Map<String, Value>>> {
    let columns: Vec<Column> = table(values.get("FIELDS")?)?.iter().map(column).collect::<Option<_>>()?;
    if !wanted.iter().all(|name| columns.iter().any(|column| column.name == *name)) {
        return None;
    }
    let row = |row: &Value| -> Option<Map<String, Value>> {
        let characters: Vec<char> = row.get("WA")?.as_str()?.chars().collect();
        Some(columns.iter().map(|column| (column.name.clone(), json!(column.cut(&characters)))).collect())
    };
    table(values.get("DATA")?)?.iter().map(row).collect()
}

/// A table's rows; an empty one reads like an empty text.
fn table(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Array(rows) => Some(rows),
        Value::String(text) => text.trim().is_empty().then_some(&[]),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}

fn column(row: &Value) -> Option<Column> {
    let text = |name| row.get(name).and_then(Value::as_str).map(str::trim);
    let number = |name| text(name)?.parse::<usize>().ok();
    let (offset, length) = (number("OFFSET")?, number("LENGTH")?);
    let is_number = matches!(text("TYPE").unwrap_or_default(), "P" | "I" | "F" | "b" | "s");
    Some(Column { name: text("FIELDNAME")?.to_owned(), offset, length, is_number })
}

impl Column {
    /// This field's text. Rows may be shorter than they should be: trailing blanks get lost on the way.
    fn cut(&self, characters: &[char]) -> String {
        let begin = self.offset.min(characters.len());
        let end = self.offset.saturating_add(self.length).min(characters.len());
        let text: String = characters.get(begin..end).unwrap_or_default().iter().collect();
        if !self.is_number {
            return text.trim_end().to_owned();
        }
        // ABAP writes the sign behind: 12.34-
        let text = text.trim();
        text.strip_suffix('-').map_or_else(|| text.to_owned(), |digits| format!("-{}", digits.trim()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn conditions_become_lines_that_fit() {
        let conditions = [
            Condition::equal("BUKRS", "1000").unwrap(),
            Condition::new("STBLG", "EQ", "", "").unwrap(),
            Condition::new("XBLNR", "NE", &"R".repeat(69), "").unwrap(),
        ];
        let lines = option_lines(&conditions);
        assert_eq!(lines[0], "BUKRS = '1000'");
        assert_eq!(lines[1], "AND STBLG = ' '");
        assert_eq!(lines[2], "AND XBLNR <>");
        assert_eq!(lines[3], format!("'{}'", "R".repeat(69)));
    }

    #[test]
    fn nothing_breaks_out_of_a_value() {
        for bad in ["x' OR '1' = '1", "a b", "ä", "a\nb", "x;", "x%", "\"", &"x".repeat(70)] {
            assert!(Condition::equal("BSTKD", bad).is_err(), "{bad:?} was accepted");
        }
        for bad in ["", "BSTKD = 'x' OR BSTKD", "bstkd", "A B", &"X".repeat(31)] {
            assert!(Condition::equal(bad, "x").is_err(), "{bad:?} was accepted");
        }
        assert!(Condition::new("A", "LIKE", "x", "").is_err());
        assert!(Condition::text("SMTP_ADDR", "jenny+x@example.com", "").is_ok());
        assert!(Condition::text("NAME1", "Rosen & Söhne", "").is_ok());
        for bad in ["O'Neill", "", " x", "a\nb", "x%", "`", &"ä".repeat(70)] {
            assert!(Condition::text("NAME1", bad, "").is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn rows_are_taken_apart_by_offset_and_length() {
        let values = json!({
            "FIELDS": [
                {"FIELDNAME": "NAME1", "OFFSET": "000000", "LENGTH": "000005", "TYPE": "C"},
                {"FIELDNAME": "DMBTR", "OFFSET": "000005", "LENGTH": "000008", "TYPE": "P"},
                {"FIELDNAME": "STBLG", "OFFSET": "000013", "LENGTH": "000010", "TYPE": "C"},
            ],
            "DATA": [{"WA": "Mülle  12.34-0100000009"}, {"WA": " B       1.00 "}],
        });
        let rows = take_apart(values.as_object().unwrap(), &["NAME1", "STBLG"]).unwrap();
        assert_eq!(json!(rows[0]), json!({"NAME1": "Mülle", "DMBTR": "-12.34", "STBLG": "0100000009"}));
        assert_eq!(json!(rows[1]), json!({"NAME1": " B", "DMBTR": "1.00", "STBLG": ""}));
        assert!(take_apart(values.as_object().unwrap(), &["WAERS"]).is_none());
    }

    #[test]
    fn an_empty_table_has_no_rows() {
        let values = json!({
            "FIELDS": [{"FIELDNAME": "VBELN", "OFFSET": "000000", "LENGTH": "000010", "TYPE": "C"}],
            "DATA": "",
        });
        assert_eq!(take_apart(values.as_object().unwrap(), &["VBELN"]), Some(Vec::new()));
    }

    proptest! {
        #[test]
        fn every_line_fits_and_quotes_stay_paired(
            pairs in prop::collection::vec(("[A-Z][A-Z0-9_]{0,29}", "[A-Za-z0-9_.-]{0,69}"), 1..8)
        ) {
            let conditions: Vec<_> = pairs.iter().map(|(f, v)| Condition::equal(f, v).unwrap()).collect();
            for line in option_lines(&conditions) {
                prop_assert!(line.chars().count() <= LINE_CHARS_MAX);
                prop_assert_eq!(line.matches('\'').count() % 2, 0);
            }
        }
    }
}
