//! From columns to the store's types and back: the one place where a text becomes an id or JSON.

use std::{borrow::Cow, str::FromStr};

use portolan_domain::{Scope, Timestamp, card::mask_json_text};
use rusqlite::{Connection, Params, Row, types::FromSql};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{Page, StoreError};

/// No page is longer, whatever was asked for.
const PAGE_ROWS_MAX: u32 = 500;

/// Reads the columns of a row from left to right.
pub(super) struct Columns<'a, 's> {
    row: &'a Row<'s>,
    next: usize,
}

impl<'a, 's> Columns<'a, 's> {
    pub(super) const fn of(row: &'a Row<'s>) -> Self {
        Self { row, next: 0 }
    }

    fn corrupt(
        &self,
        column: usize,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> StoreError {
        let name = self.row.as_ref().column_name(column).unwrap_or("?");
        StoreError::Corrupt { what: format!("column {column} ({name})"), source: source.into() }
    }

    /// A column of a type that SQLite knows.
    pub(super) fn get<T: FromSql>(&mut self) -> Result<T, StoreError> {
        let column = self.next;
        self.next += 1;
        self.row.get(column).map_err(|error| self.corrupt(column, error))
    }

    /// A text that means something: an id, a state.
    pub(super) fn parsed<T>(&mut self) -> Result<T, StoreError>
    where
        T: FromStr,
        T::Err: std::error::Error + Send + Sync + 'static,
    {
        let column = self.next;
        self.next += 1;
        let text = self.row.get_ref(column).map_err(|error| self.corrupt(column, error))?;
        let text = text.as_str().map_err(|error| self.corrupt(column, error))?;
        text.parse().map_err(|error: T::Err| self.corrupt(column, error))
    }

    /// The same, where there may be none.
    pub(super) fn parsed_option<T>(&mut self) -> Result<Option<T>, StoreError>
    where
        T: FromStr,
        T::Err: std::error::Error + Send + Sync + 'static,
    {
        let column = self.next;
        let text: Option<String> = self.get()?;
        text.map(|text| text.parse().map_err(|error: T::Err| self.corrupt(column, error))).transpose()
    }

    /// Two columns: tenant and environment.
    pub(super) fn scope(&mut self) -> Result<Scope, StoreError> {
        Ok(Scope { tenant: self.parsed()?, environment: self.parsed()? })
    }

    /// JSON; null where the column is.
    pub(super) fn json(&mut self) -> Result<Value, StoreError> {
        Ok(self.json_option()?.unwrap_or(Value::Null))
    }

    /// JSON of a type with an empty value, which the column's null stands for.
    pub(super) fn json_or_default<T: DeserializeOwned + Default>(&mut self) -> Result<T, StoreError> {
        Ok(self.json_option()?.unwrap_or_default())
    }

    /// JSON, where there may be none.
    pub(super) fn json_option<T: DeserializeOwned>(&mut self) -> Result<Option<T>, StoreError> {
        let column = self.next;
        self.next += 1;
        let text = self.row.get_ref(column).map_err(|error| self.corrupt(column, error))?;
        let text = text.as_str_or_null().map_err(|error| self.corrupt(column, error))?;
        text.map(|text| serde_json::from_str(text).map_err(|error| self.corrupt(column, error))).transpose()
    }

    pub(super) fn time(&mut self) -> Result<Timestamp, StoreError> {
        Ok(Timestamp::from_millis(self.count()?))
    }

    pub(super) fn time_option(&mut self) -> Result<Option<Timestamp>, StoreError> {
        let column = self.next;
        let millis: Option<i64> = self.get()?;
        millis
            .map(|m| u64::try_from(m).map(Timestamp::from_millis).map_err(|e| self.corrupt(column, e)))
            .transpose()
    }

    /// A number that is not negative.
    pub(super) fn count<T: TryFrom<i64>>(&mut self) -> Result<T, StoreError>
    where
        T::Error: std::error::Error + Send + Sync + 'static,
    {
        let column = self.next;
        let number: i64 = self.get()?;
        T::try_from(number).map_err(|error| self.corrupt(column, error))
    }
}

/// The first row, if there is one.
pub(super) fn first<T>(
    conn: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnOnce(&mut Columns<'_, '_>) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    rows.next()?.map(|row| read(&mut Columns::of(row))).transpose()
}

/// Every row. The statement bounds how many there can be.
pub(super) fn all<T>(
    conn: &Connection,
    sql: &str,
    params: impl Params,
    read: impl Fn(&mut Columns<'_, '_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(&mut Columns::of(row))?);
    }
    Ok(found)
}

/// Makes a change; answers how many rows it changed.
pub(super) fn change(conn: &Connection, sql: &str, params: impl Params) -> Result<usize, StoreError> {
    Ok(conn.prepare_cached(sql)?.execute(params)?)
}

/// As SQLite stores it. Later than the end of its integers is never.
pub(super) fn millis(time: Timestamp) -> i64 {
    integer(time.as_millis())
}

/// As SQLite stores it.
pub(super) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// JSON as it is stored: compact, numbers with their digits, null as SQL's, card numbers masked. Whoever wrote it, a module,
/// another system or a person: this is the last place before the disk.
pub(super) fn json(value: &Value) -> Option<String> {
    (!value.is_null()).then(|| without_cards(value.to_string()))
}

fn without_cards(text: String) -> String {
    match mask_json_text(&text) {
        Cow::Owned(masked) => masked,
        Cow::Borrowed(_) => text,
    }
}

/// JSON of a list; none when it is empty.
pub(super) fn json_list<T: Serialize>(list: &[T]) -> Result<Option<String>, StoreError> {
    if list.is_empty() { Ok(None) } else { json_of(list).map(Some) }
}

/// JSON of a value, as [`json`].
pub(super) fn json_of<T: Serialize + ?Sized>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map(without_cards).map_err(|error| StoreError::Corrupt {
        what: "a value that has no JSON".to_owned(),
        source: Box::new(error),
    })
}

/// A page as SQLite wants it: rows with a lower `seq` than `before_seq`, at most `rows`.
pub(super) struct Slice {
    pub(super) before_seq: i64,
    pub(super) rows: u32,
}

/// Where a page begins: `find` is a statement that gives the `seq` of the row before it.
pub(super) fn slice(
    conn: &Connection,
    page: &Page,
    find: &str,
    params: impl Params,
) -> Result<Slice, StoreError> {
    let before_seq = match page.before {
        None => i64::MAX,
        Some(_) => first(conn, find, params, |c| c.get())?.ok_or(StoreError::NotFound)?,
    };
    Ok(Slice { before_seq, rows: page.rows_max.clamp(1, PAGE_ROWS_MAX) })
}
