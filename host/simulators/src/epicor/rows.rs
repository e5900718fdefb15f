//! The rows of all tables, with indexes on the columns that connectors search by.
//!
//! A ledger line holds the rows that a commit wrote, so a restart is writing them again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::str::FromStr as _;

use rust_decimal::Decimal;
use serde_json::{Number, Value, json};
use sha2::{Digest, Sha256};

use crate::epicor::Row;
use crate::epicor::schema::{self, Column};
use crate::ledger::Entry;
use crate::money;
use crate::settings::EpicorOptions;

/// Since when reads see the row.
pub(crate) const CREATED: &str = "_created_at_ms";
/// Since when reads see it as posted.
pub(crate) const POSTED: &str = "_posted_at_ms";

/// A row's place: sortable text of its company and key.
pub(crate) type Place = String;

#[derive(Default)]
struct Table {
    rows: BTreeMap<Place, Row>,
    indexes: HashMap<&'static str, HashMap<String, BTreeSet<Place>>>,
}

/// All tables.
#[derive(Default)]
pub(crate) struct Tables {
    tables: BTreeMap<String, Table>,
    revision: u64,
}

/// A JSON number with exactly these digits.
pub(crate) fn number(amount: Decimal) -> Value {
    Number::from_str(&amount.normalize().to_string()).map_or(Value::Null, Value::Number)
}

/// The decimal of a JSON number; zero for anything else.
pub(crate) fn decimal(row: &Row, name: &str) -> Decimal {
    row.get(name)
        .filter(|value| value.is_number())
        .and_then(|value| money::parse(&value.to_string()))
        .unwrap_or_default()
}

/// The whole number of a column.
pub(crate) fn whole(row: &Row, name: &str) -> u64 {
    row.get(name).and_then(Value::as_u64).unwrap_or_default()
}

/// The text of a column.
pub(crate) fn text<'a>(row: &'a Row, name: &str) -> &'a str {
    row.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// A flag.
pub(crate) fn flag(row: &Row, name: &str) -> bool {
    row.get(name) == Some(&Value::Bool(true))
}

/// A guid that is always the same for the same seed.
pub(crate) fn guid(seed: &str) -> String {
    let hex = hex::encode(Sha256::digest(seed));
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
}

/// A row with every column at its initial value.
pub(crate) fn blank(table: &str, company: &str) -> Row {
    let initial = |kind: Column| match kind {
        Column::Text(_) => json!(""),
        Column::Whole | Column::Decimal => json!(0),
        Column::Flag => json!(false),
        Column::Date => Value::Null,
    };
    let columns = schema::columns(table).iter().chain(schema::HOUSEKEEPING);
    let mut row: Row = columns.map(|(name, kind)| ((*name).to_owned(), initial(*kind))).collect();
    row.insert("Company".to_owned(), json!(company));
    row
}

/// A row as it is answered at that time.
pub(crate) fn shown(row: &Row, seen_ms: u64) -> Row {
    let mut shown: Row =
        row.iter().filter(|(name, _)| !name.starts_with('_')).map(|(n, v)| (n.clone(), v.clone())).collect();
    if row.get(POSTED).and_then(Value::as_u64).is_some_and(|posted_at| posted_at > seen_ms) {
        for column in ["Posted", "GLPosted"] {
            shown.insert(column.to_owned(), json!(false));
        }
    }
    shown
}

fn visible(row: &Row, seen_ms: u64) -> bool {
    row.get(CREATED).and_then(Value::as_u64).is_none_or(|created| created <= seen_ms)
}

fn index_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Numbers are padded, so that places sort as their numbers do.
fn key_text(value: &Value) -> String {
    if value.is_number() { format!("{:0>12}", value.to_string()) } else { index_text(value) }
}

impl Tables {
    /// The master data of the standard world.
    pub(crate) fn new(options: &EpicorOptions) -> Self {
        let mut tables = Self { revision: 9_912_345, ..Self::default() };
        let row = |table: &str, company: &str, fields: Value| {
            let mut row = blank(table, company);
            row.extend(fields.as_object().cloned().unwrap_or_default());
            row
        };
        for company in &options.companies {
            for (id, customer) in &options.customers {
                let fields = json!({
                    "CustID": id, "CustNum": customer.cust_num, "Name": customer.name, "EMailAddress": customer.email,
                    "CurrencyCode": customer.currency, "CreditHold": customer.credit_hold, "TermsCode": "N30",
                    "Inactive": customer.inactive, "CheckDuplicatePO": customer.check_duplicate_po, "CustomerType": "CUS",
                });
                tables.put("Customer", row("Customer", company, fields));
            }
            for (number, part) in &options.parts {
                let fields = json!({
                    "PartNum": number, "PartDescription": part.description, "IUM": part.unit, "SalesUM": part.unit,
                    "InActive": part.inactive,
                });
                tables.put("Part", row("Part", company, fields));
            }
            for (invoice, (customer, currency, balance)) in &options.invoices {
                let balance = money::parse(balance).unwrap_or_default();
                let fields = json!({
                    "InvoiceNum": invoice, "CustNum": customer, "CurrencyCode": currency, "Posted": true,
                    "InvoiceType": "Shp", "OpenInvoice": !balance.is_zero(), "InvoiceBal": number(balance),
                    "DocInvoiceBal": number(balance), "InvoiceAmt": number(balance), "DocInvoiceAmt": number(balance),
                });
                tables.put("InvcHead", row("InvcHead", company, fields));
            }
            for (code, (kind, description)) in &options.reasons {
                let fields = json!({"ReasonType": kind, "ReasonCode": code, "Description": description});
                tables.put("Reason", row("Reason", company, fields));
            }
        }
        tables
    }

    /// The place of a row by its own columns.
    pub(crate) fn place(table: &str, row: &Row) -> Place {
        let keys = schema::keys(table).iter().map(|name| row.get(*name).map(key_text).unwrap_or_default());
        let company = text(row, "Company").to_owned();
        std::iter::once(company).chain(keys).collect::<Vec<_>>().join("\u{1}")
    }

    /// The place that a URL's key means.
    pub(crate) fn place_of_key(table: &str, key: &[String]) -> Option<Place> {
        let keys = schema::keys(table);
        if key.len() != keys.len() + 1 {
            return None;
        }
        let (company, rest) = key.split_first()?;
        let parts = keys.iter().zip(rest).map(|(name, value)| match schema::column(table, name) {
            Some(Column::Whole) => format!("{value:0>12}"),
            _ => value.clone(),
        });
        Some(std::iter::once(company.clone()).chain(parts).collect::<Vec<_>>().join("\u{1}"))
    }

    /// The revision that the next written row gets.
    pub(crate) fn next_revision(&self) -> u64 {
        self.revision + 1
    }

    fn put(&mut self, table: &str, mut row: Row) {
        let place = Self::place(table, &row);
        if whole(&row, "SysRevID") == 0 {
            self.revision += 1;
            row.insert("SysRevID".to_owned(), json!(self.revision));
        }
        self.revision = self.revision.max(whole(&row, "SysRevID"));
        if text(&row, "SysRowID").is_empty() {
            row.insert("SysRowID".to_owned(), json!(guid(&format!("{table}/{place}"))));
        }
        self.remove(table, &place);
        let stored = self.tables.entry(table.to_owned()).or_default();
        for column in schema::indexed(table) {
            let value = row.get(*column).map(index_text).unwrap_or_default();
            stored.indexes.entry(column).or_default().entry(value).or_default().insert(place.clone());
        }
        stored.rows.insert(place, row);
    }

    fn remove(&mut self, table: &str, place: &str) {
        let Some(stored) = self.tables.get_mut(table) else { return };
        let Some(row) = stored.rows.remove(place) else { return };
        for column in schema::indexed(table) {
            let value = row.get(*column).map(index_text).unwrap_or_default();
            if let Some(places) = stored.indexes.get_mut(column).and_then(|index| index.get_mut(&value)) {
                places.remove(place);
            }
        }
    }

    pub(crate) fn apply(&mut self, entry: &Entry) {
        for write in entry.document.get("rows").and_then(Value::as_array).into_iter().flatten() {
            let Some(table) = write.get("table").and_then(Value::as_str) else { continue };
            let Some(row) = write.get("row").and_then(Value::as_object) else { continue };
            if write.get("deleted") == Some(&Value::Bool(true)) {
                self.remove(table, &Self::place(table, row));
            } else {
                self.put(table, row.clone());
            }
        }
    }

    /// A row by its place.
    pub(crate) fn get(&self, table: &str, place: &str, seen_ms: u64) -> Option<&Row> {
        self.tables.get(table)?.rows.get(place).filter(|row| visible(row, seen_ms))
    }

    /// Rows in the order of their keys; only those with that value where the column has an index.
    pub(crate) fn find<'a>(
        &'a self,
        table: &str,
        by: Option<(&str, &Value)>,
        seen_ms: u64,
    ) -> Box<dyn Iterator<Item = &'a Row> + 'a> {
        let Some(stored) = self.tables.get(table) else { return Box::new(std::iter::empty()) };
        let places = by.and_then(|(column, value)| {
            let index = stored.indexes.get(column)?;
            Some(index.get(&index_text(value)))
        });
        let seen = move |row: &&Row| visible(row, seen_ms);
        match places {
            None => Box::new(stored.rows.values().filter(seen)),
            Some(None) => Box::new(std::iter::empty()),
            Some(Some(places)) => {
                Box::new(places.iter().filter_map(|place| stored.rows.get(place)).filter(seen))
            }
        }
    }

    /// The first row of a company with that value.
    pub(crate) fn one(&self, table: &str, company: &str, by: (&str, &Value), seen_ms: u64) -> Option<&Row> {
        self.find(table, Some(by), seen_ms).find(|row| text(row, "Company") == company)
    }
}

/// A row to be written, as a ledger line holds it.
pub(crate) fn written(table: &str, row: &Row) -> Value {
    json!({"table": table, "row": row})
}

/// A row to be removed.
pub(crate) fn removed(table: &str, row: &Row) -> Value {
    json!({"table": table, "row": row, "deleted": true})
}
