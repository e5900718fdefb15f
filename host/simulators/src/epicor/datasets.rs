//! The ceremony of methods: datasets in `ds`, rows with `RowMod`, answers with `returnObj` and `parameters`.

use serde_json::{Map, Value, json};

use crate::epicor::errors::Error;
use crate::epicor::rows::{self, CREATED, guid, text};
use crate::epicor::{Epicor, Request, Row, checks};
use crate::stand_in::{Draft, Outcome, Reply};

/// A dataset: arrays of rows by table.
pub(crate) type Dataset = Map<String, Value>;

/// The dataset of a call; an absent one is empty.
pub(crate) fn dataset(request: &Request<'_>) -> Result<Dataset, Error> {
    match request.body.get("ds") {
        Some(Value::Object(dataset)) => Ok(dataset.clone()),
        None | Some(Value::Null) => Ok(Dataset::new()),
        Some(_) => Err(Error::odata("ds is not a dataset.")),
    }
}

/// The rows of a table that are to be added, updated or deleted, checked; and how.
pub(crate) fn changed(dataset: &Dataset, table: &str) -> Result<Vec<(char, Row)>, Error> {
    let mut changed = Vec::new();
    for row in dataset.get(table).and_then(Value::as_array).into_iter().flatten() {
        let row = row
            .as_object()
            .ok_or_else(|| Error::odata(&format!("{table} holds something that is no row.")))?;
        match text(row, "RowMod") {
            "" => {}
            mode @ ("A" | "U" | "D") => {
                let mode = mode.chars().next().unwrap_or('U');
                changed.push((mode, checks::columns(table, row)?));
            }
            other => return Err(Error::business(&format!("RowMod {other} is not known."))),
        }
    }
    Ok(changed)
}

/// Adds a row to a table of a dataset.
pub(crate) fn add(dataset: &mut Dataset, table: &str, row: Row) {
    let slot = dataset.entry(table.to_owned()).or_insert_with(|| json!([]));
    if let Some(rows) = slot.as_array_mut() {
        rows.push(Value::Object(row));
    }
}

/// The row of a dataset that is being worked on: the last one with a `RowMod`.
pub(crate) fn current<'a>(dataset: &'a mut Dataset, table: &str) -> Result<&'a mut Row, Error> {
    let rows = dataset.get_mut(table).and_then(Value::as_array_mut);
    let row = rows.and_then(|rows| {
        rows.iter_mut().filter_map(Value::as_object_mut).rfind(|row| !text(row, "RowMod").is_empty())
    });
    row.ok_or_else(|| Error::business(&format!("{table} has no changed record.")))
}

/// `{"returnObj":…,"parameters":{…}}`, nothing committed.
pub(crate) fn answer(result: Value, parameters: Value) -> Outcome {
    committed(result, parameters, Vec::new())
}

/// The same, with what is committed.
pub(crate) fn committed(result: Value, parameters: Value, commits: Vec<Draft>) -> Outcome {
    let mut answer = Map::new();
    if !result.is_null() {
        answer.insert("returnObj".to_owned(), result);
    }
    answer.insert("parameters".to_owned(), parameters);
    Outcome { reply: Reply::json(200, &Value::Object(answer)), commits }
}

/// A blank row that a `GetNew…` method hands out.
pub(crate) fn new_row(table: &str, company: &str) -> Row {
    let mut row = rows::blank(table, company);
    row.insert("RowMod".to_owned(), json!("A"));
    row
}

impl Epicor {
    /// Makes a row ready to be written: its revision, its guid, since when it is seen.
    pub(crate) fn stamp(&self, table: &str, row: &mut Row, request: &Request<'_>, nth: u64) {
        row.insert("SysRevID".to_owned(), json!(self.tables.next_revision() + nth));
        row.insert("RowMod".to_owned(), json!(""));
        if text(row, "SysRowID").is_empty() {
            let place = rows::Tables::place(table, row);
            row.insert("SysRowID".to_owned(), json!(guid(&format!("{table}/{place}"))));
        }
        row.entry(CREATED.to_owned()).or_insert(json!(request.moment.now_ms));
    }

    /// A stored row by the key of a URL, with changes laid over it.
    pub(crate) fn patched(
        &self,
        request: &Request<'_>,
        table: &str,
        key: &[String],
        changes: &Row,
    ) -> Result<(Row, Row), Error> {
        let place =
            rows::Tables::place_of_key(table, key).ok_or_else(|| Error::odata("The key is not complete."))?;
        let stored =
            self.tables.get(table, &place, request.moment.now_ms).ok_or_else(Error::no_record)?.clone();
        let changes = checks::columns(table, changes)?;
        checks::revision(&changes, &stored)?;
        self.unchanged_key(table, &changes, &stored)?;
        let mut row = stored.clone();
        row.extend(changes);
        Ok((stored, row))
    }

    /// The stored row that a dataset's `U` row means, with that row laid over it.
    pub(crate) fn updated(
        &self,
        request: &Request<'_>,
        table: &str,
        sent: &Row,
    ) -> Result<(Row, Row), Error> {
        let place = rows::Tables::place(table, sent);
        let stored =
            self.tables.get(table, &place, request.moment.now_ms).ok_or_else(Error::no_record)?.clone();
        checks::whole_row(table, sent, &stored)?;
        let mut row = stored.clone();
        row.extend(sent.clone());
        Ok((stored, row))
    }

    fn unchanged_key(&self, table: &str, changes: &Row, stored: &Row) -> Result<(), Error> {
        let keys = crate::epicor::schema::keys(table).iter().chain(&["Company"]);
        for name in keys {
            if changes.get(*name).is_some_and(|value| Some(value) != stored.get(*name)) {
                return Err(Error::business(&format!("{name} cannot be changed.")));
            }
        }
        Ok(())
    }
}

/// A ledger line that writes rows.
pub(crate) fn draft(
    request: &Request<'_>,
    kind: &'static str,
    number: String,
    key: &str,
    rows: Vec<Value>,
) -> Draft {
    Draft::new(kind, number, key, request.call).document(json!({"rows": rows}))
}

/// The row of a table that drafts write.
pub(crate) fn changed_row(drafts: &[Draft], table: &str) -> Option<Row> {
    let writes = drafts.iter().filter_map(|draft| draft.document.get("rows")?.as_array()).flatten();
    let mut rows = writes.filter(|write| write.get("table").and_then(Value::as_str) == Some(table));
    rows.next()?.get("row")?.as_object().cloned()
}
