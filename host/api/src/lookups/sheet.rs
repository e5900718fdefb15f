//! Lookup tables as CSV (RFC 4180), which people keep in spreadsheets. The head of the first column is `key`; what the others
//! are says what the values are:
//!
//! | head | values |
//! |---|---|
//! | `key,value` | texts |
//! | `key,FIELD,FIELD…` | objects of texts; an empty cell is no field |
//! | `key,json` | any JSON |
//!
//! What was exported can be imported again, and gives the same table.

use std::collections::BTreeSet;

use portolan_store::lookup::LookupRow;
use serde_json::{Map, Value};

/// Writes a table in the plainest form that holds it.
///
/// # Errors
/// When a cell cannot be written.
pub(super) fn write(rows: &[LookupRow]) -> Result<String, csv::Error> {
    let mut out = csv::Writer::from_writer(Vec::new());
    if rows.iter().all(|row| row.value.is_string()) {
        out.write_record(["key", "value"])?;
        for row in rows {
            out.write_record([row.key.as_str(), row.value.as_str().unwrap_or_default()])?;
        }
    } else if let Some(names) = names(rows) {
        out.write_record(std::iter::once("key").chain(names.iter().map(String::as_str)))?;
        for row in rows {
            let cell = |name: &String| row.value.get(name).and_then(Value::as_str).unwrap_or_default();
            out.write_record(std::iter::once(row.key.as_str()).chain(names.iter().map(cell)))?;
        }
    } else {
        out.write_record(["key", "json"])?;
        for row in rows {
            out.write_record([row.key.as_str(), &row.value.to_string()])?;
        }
    }
    let bytes = out.into_inner().map_err(|error| csv::Error::from(error.into_error()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The fields of a table whose values are objects of texts, none of them empty; none when it is another.
fn names(rows: &[LookupRow]) -> Option<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for row in rows {
        let fields = row.value.as_object().filter(|fields| !fields.is_empty())?;
        for (name, value) in fields {
            value.as_str().filter(|text| !text.is_empty())?;
            names.insert(name.clone());
        }
    }
    let is_another_form =
        names.contains("key") || (names.len() == 1 && (names.contains("json") || names.contains("value")));
    (!is_another_form).then_some(names)
}

/// Reads a table.
///
/// # Errors
/// With the line that is wrong and how.
pub(super) fn read(text: &[u8]) -> Result<Vec<LookupRow>, String> {
    // Spreadsheets begin a file with a mark that it is UTF-8.
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut sheet = csv::ReaderBuilder::new().from_reader(text);
    let head = sheet.headers().map_err(|error| error.to_string())?.clone();
    let columns: Vec<&str> = head.iter().collect();
    let Some((&"key", fields)) = columns.split_first() else {
        return Err("line 1: the head of the first column must be `key`".to_owned());
    };
    if fields.is_empty() || fields.iter().collect::<BTreeSet<_>>().len() != fields.len() {
        return Err("line 1: name each column once: key,value or key,json or key,FIELD,FIELD…".to_owned());
    }
    let (mut rows, mut keys) = (Vec::new(), BTreeSet::new());
    for record in sheet.records() {
        let record = record.map_err(|error| error.to_string())?;
        let line = record.position().map_or(0, csv::Position::line);
        let mut cells = record.iter();
        let key = cells.next().unwrap_or_default().to_owned();
        if !keys.insert(key.clone()) {
            return Err(format!("line {line}: the key {key:?} stands there twice"));
        }
        let value = match fields {
            ["value"] => Value::String(cells.next().unwrap_or_default().to_owned()),
            ["json"] => serde_json::from_str(cells.next().unwrap_or_default())
                .map_err(|error| format!("line {line}: no JSON: {error}"))?,
            fields => {
                let filled = fields.iter().zip(cells).filter(|(_, cell)| !cell.is_empty());
                let fields = filled.map(|(name, cell)| ((*name).to_owned(), Value::String(cell.to_owned())));
                Value::Object(fields.collect::<Map<_, _>>())
            }
        };
        rows.push(LookupRow { key, value });
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn table(rows: &[(&str, Value)]) -> Vec<LookupRow> {
        rows.iter().map(|(key, value)| LookupRow { key: (*key).to_owned(), value: value.clone() }).collect()
    }

    #[test]
    fn what_is_written_reads_back_as_it_was() {
        for (head, rows) in [
            ("key,value", table(&[("a", json!("x,\"y\"")), ("b", json!("")), ("ü", json!("two\nlines"))])),
            (
                "key,part,site",
                table(&[("a", json!({ "part": "P" })), ("b", json!({ "site": "S", "part": "Q" }))]),
            ),
            ("key,json", table(&[("a", json!(1.50)), ("b", json!(null)), ("c", json!({ "n": [1] }))])),
            ("key,json", table(&[("a", json!({ "value": "x" }))])),
            ("key,json", table(&[("a", json!({ "part": "" }))])),
            ("key,json", table(&[("a", json!({}))])),
            ("key,value", table(&[])),
        ] {
            let text = write(&rows).unwrap();
            assert_eq!(text.lines().next(), Some(head));
            assert_eq!(read(text.as_bytes()).unwrap(), rows, "{text}");
        }
    }

    #[test]
    fn what_is_no_table_is_refused_with_its_line() {
        for (text, told) in [
            ("", "line 1"),
            ("id,value\na,b\n", "`key`"),
            ("key\na\n", "line 1"),
            ("key,a,a\nx,1,2\n", "line 1"),
            ("key,value\na,1\na,2\n", "line 3"),
            ("key,json\na,{\n", "line 2: no JSON"),
            ("key,value\na,1,2\n", "line: 2"),
        ] {
            let error = read(text.as_bytes()).unwrap_err();
            assert!(error.contains(told), "{text:?}: {error}");
        }
        assert!(read(b"key,value\n\xff,b\n").is_err());
        assert_eq!(read(b"\xef\xbb\xbfkey,value\r\na,b\r\n").unwrap(), table(&[("a", json!("b"))]));
    }
}
