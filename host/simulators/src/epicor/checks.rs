//! From JSON to rows: unknown columns, wrong types and texts that are too long are refused as OData refuses them.

use serde_json::{Value, json};

use crate::clock::is_date;
use crate::epicor::errors::Error;
use crate::epicor::schema::{self, Column};
use crate::epicor::{Row, rows};
use crate::money;

/// The columns of a JSON object that is a row of the table. Child sets are left out; they are read by their owners.
pub(crate) fn columns(table: &str, object: &Row) -> Result<Row, Error> {
    let mut row = Row::new();
    for (name, value) in object {
        if schema::child(table, name).is_some() || name.starts_with("@odata") {
            continue;
        }
        let Some(kind) = schema::column(table, name) else {
            let text = format!("The property '{name}' does not exist on type 'Erp.Tablesets.{table}Row'.");
            return Err(Error::odata(&text));
        };
        row.insert(name.clone(), converted(name, value, kind)?);
    }
    Ok(row)
}

fn converted(name: &str, value: &Value, kind: Column) -> Result<Value, Error> {
    let wrong = |expected: &str| {
        Err(Error::odata(&format!(
            "Cannot convert the literal '{value}' of '{name}' to the expected type '{expected}'."
        )))
    };
    match (kind, value) {
        (Column::Date, Value::Null) => Ok(Value::Null),
        (_, Value::Null) => wrong("not null"),
        (Column::Text(_), Value::Number(_) | Value::Bool(_)) if name.ends_with("_c") => Ok(value.clone()),
        (Column::Text(length), Value::String(text)) => {
            if text.chars().count() > length {
                Err(Error::business(&format!("{name}: the value is longer than {length} characters.")))
            } else {
                Ok(value.clone())
            }
        }
        (Column::Text(_), _) => wrong("Edm.String"),
        (Column::Whole, Value::Number(number)) if number.is_u64() || number.is_i64() => Ok(value.clone()),
        (Column::Whole, _) => wrong("Edm.Int32"),
        (Column::Decimal, Value::Number(number)) => match money::parse(&number.to_string()) {
            Some(amount) => Ok(rows::number(amount)),
            None => wrong("Edm.Decimal"),
        },
        (Column::Decimal, _) => wrong("Edm.Decimal"),
        (Column::Flag, Value::Bool(_)) => Ok(value.clone()),
        (Column::Flag, _) => wrong("Edm.Boolean"),
        (Column::Date, Value::String(text)) => match date(text) {
            Some(date) => Ok(json!(date)),
            None => wrong("Edm.DateTimeOffset"),
        },
        (Column::Date, _) => wrong("Edm.DateTimeOffset"),
    }
}

/// `2026-11-20`, `2026-11-20T00:00:00`, with or without `Z`; kept without time.
pub(crate) fn date(text: &str) -> Option<String> {
    let day = text.get(..10)?;
    let rest = text.get(10..)?;
    let known = rest.is_empty() || rest.starts_with('T');
    (known && is_date(&day.replace('-', ""))).then(|| format!("{day}T00:00:00"))
}

/// Every column of the stored row must have been sent: an update sends the whole row.
pub(crate) fn whole_row(table: &str, sent: &Row, stored: &Row) -> Result<(), Error> {
    let missing = schema::columns(table)
        .iter()
        .find(|(name, _)| stored.contains_key(*name) && !sent.contains_key(*name));
    match missing {
        Some((name, _)) => {
            Err(Error::business(&format!("{table}: {name} is missing; an update sends the whole row.")))
        }
        None => revision(sent, stored),
    }
}

/// The row must not have been written since it was read.
pub(crate) fn revision(sent: &Row, stored: &Row) -> Result<(), Error> {
    match sent.get("SysRevID") {
        Some(sent) if Some(sent) != stored.get("SysRevID") => Err(Error::modified()),
        _ => Ok(()),
    }
}
