//! Lists and single rows: `$filter`, `$select`, `$expand`, `$orderby`, `$skip`, `$top`, `$count`.

use std::cmp::Ordering;

use serde_json::{Map, Value, json};

use crate::epicor::errors::Error;
use crate::epicor::filter::{Filter, compare};
use crate::epicor::rows::{Tables, shown};
use crate::epicor::schema::{self, Set};
use crate::epicor::{Epicor, Request, Row};
use crate::stand_in::Reply;

/// Rows of a page when `$top` does not say.
const PAGE_ROWS: usize = 100;
/// Rows that `$top` may ask for.
const TOP_MAX: usize = 10_000;

impl Epicor {
    pub(crate) fn list(&self, request: &Request<'_>, set: &Set) -> Result<Reply, Error> {
        let option = |name: &str| request.call.query(name);
        if self.options.heavy_reads_fail && set.heavy && option("$select").is_none() {
            return Err(Error::internal(set.name));
        }
        let number = |name: &str, default: usize| match option(name) {
            None => Ok(default),
            Some(text) => text
                .parse::<usize>()
                .map_err(|_| Error::odata(&format!("Invalid value '{text}' for {name}."))),
        };
        let (skip, top) = (number("$skip", 0)?, number("$top", PAGE_ROWS)?.min(TOP_MAX));
        let filter = option("$filter").map(|text| Filter::parse(set.table, text)).transpose()?;
        let by = filter.as_ref().and_then(|filter| filter.must_equal(set.table));
        let seen_ms = request.moment.seen_ms;
        let rows = self.tables.find(set.table, by, seen_ms);
        let of_company =
            rows.filter(|row| row.get("Company").and_then(Value::as_str) == Some(&request.company));
        let mut rows: Vec<Row> = of_company.map(|row| shown(row, seen_ms)).collect();
        rows.retain(|row| filter.as_ref().is_none_or(|filter| filter.holds(row)));
        if let Some(order) = option("$orderby") {
            sort(set.table, &mut rows, order)?;
        }
        let count = rows.len();
        let page = rows.into_iter().skip(skip).take(top);
        let page: Vec<Value> =
            page.map(|row| self.projected(request, set.table, row)).collect::<Result<_, _>>()?;
        let mut answer =
            Map::from_iter([("@odata.context".to_owned(), json!(self.context(request, set.name)))]);
        if option("$count") == Some("true") || option("$inlinecount") == Some("allpages") {
            answer.insert("@odata.count".to_owned(), json!(count));
        }
        answer.insert("value".to_owned(), Value::Array(page));
        Ok(Reply::json(200, &Value::Object(answer)))
    }

    pub(crate) fn one(&self, request: &Request<'_>, set: &Set, key: &[String]) -> Result<Reply, Error> {
        let seen_ms = request.moment.seen_ms;
        let place =
            Tables::place_of_key(set.table, key).ok_or_else(|| Error::odata("The key is not complete."))?;
        let row = self.tables.get(set.table, &place, seen_ms).ok_or_else(Error::no_record)?;
        if let Some(child) = &request.child {
            let table = schema::child(set.table, child)
                .ok_or_else(|| Error::not_found("There is no such child set."))?;
            return Ok(Reply::json(
                200,
                &json!({
                    "@odata.context": self.context(request, child), "value": self.children(table, set.table, row, seen_ms),
                }),
            ));
        }
        let row = self.projected(request, set.table, shown(row, seen_ms))?;
        let mut answer =
            Map::from_iter([("@odata.context".to_owned(), json!(self.context(request, set.name)))]);
        answer.extend(row.as_object().cloned().unwrap_or_default());
        Ok(Reply::json(200, &Value::Object(answer)))
    }

    /// The columns asked for, with the children asked for.
    fn projected(&self, request: &Request<'_>, table: &str, row: Row) -> Result<Value, Error> {
        let names = |option: &str| {
            let text = request.call.query(option).unwrap_or_default().to_owned();
            text.split(',')
                .map(|name| name.trim().to_owned())
                .filter(|name| !name.is_empty())
                .collect::<Vec<_>>()
        };
        let select = names("$select");
        if let Some(unknown) =
            select.iter().find(|name| *name != "*" && schema::column(table, name).is_none())
        {
            return Err(Error::odata(&format!(
                "Could not find a property named '{unknown}' on type '{table}'."
            )));
        }
        let mut projected = row.clone();
        if !select.is_empty() && !select.iter().any(|name| name == "*") {
            projected.retain(|name, _| select.contains(name));
        }
        for name in names("$expand") {
            let name = name.split('(').next().unwrap_or_default();
            let child = schema::child(table, name)
                .ok_or_else(|| Error::odata(&format!("'{name}' cannot be expanded.")))?;
            projected.insert(name.to_owned(), self.children(child, table, &row, request.moment.seen_ms));
        }
        Ok(Value::Object(projected))
    }

    /// The rows of a child table that belong to a row.
    pub(crate) fn children(&self, child: &str, parent: &str, row: &Row, seen_ms: u64) -> Value {
        let keys = schema::keys(parent);
        let by = keys
            .iter()
            .find(|name| schema::indexed(child).contains(name))
            .and_then(|name| Some((*name, row.get(*name)?)));
        let belongs = |other: &&Row| {
            other.get("Company") == row.get("Company")
                && keys.iter().all(|name| other.get(*name) == row.get(*name))
        };
        Value::Array(
            self.tables
                .find(child, by, seen_ms)
                .filter(belongs)
                .map(|row| Value::Object(shown(row, seen_ms)))
                .collect(),
        )
    }
}

fn sort(table: &str, rows: &mut [Row], order: &str) -> Result<(), Error> {
    let mut columns = Vec::new();
    for part in order.split(',') {
        let mut words = part.split_whitespace();
        let (name, direction) = (words.next().unwrap_or_default(), words.next().unwrap_or("asc"));
        if schema::column(table, name).is_none()
            || !matches!(direction, "asc" | "desc")
            || words.next().is_some()
        {
            return Err(Error::odata(&format!("Syntax error in '$orderby={order}'.")));
        }
        columns.push((name, direction == "desc"));
    }
    rows.sort_by(|left, right| {
        let orders = columns.iter().map(|(name, descending)| {
            let order =
                compare(left.get(*name).unwrap_or(&Value::Null), right.get(*name).unwrap_or(&Value::Null));
            let order = order.unwrap_or(Ordering::Equal);
            if *descending { order.reverse() } else { order }
        });
        orders.fold(Ordering::Equal, Ordering::then)
    });
    Ok(())
}
