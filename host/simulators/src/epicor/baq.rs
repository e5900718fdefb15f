//! Business activity queries, and functions of libraries.

use serde_json::{Map, Value, json};

use crate::epicor::datasets::draft;
use crate::epicor::errors::Error;
use crate::epicor::filter::Filter;
use crate::epicor::rows::{shown, text};
use crate::epicor::{Epicor, Request, Row};
use crate::stand_in::{Outcome, Reply};

/// The service of queries.
pub(crate) const QUERIES: &str = "BaqSvc";
/// What stands for the service in the path of a function: no service has such a name.
pub(crate) const LIBRARIES: &str = "(efx)";
/// Rows of a page when `$top` does not say.
const PAGE_ROWS: usize = 100;

impl Epicor {
    /// v2 `BaqSvc/{id}/Data`, v1 `BaqSvc/{id}`.
    pub(crate) fn baq(&self, request: &Request<'_>) -> Result<Outcome, Error> {
        let id = request.name.strip_suffix("/Data").unwrap_or(&request.name);
        let query = self.options.baqs.get(id);
        let query = query.ok_or_else(|| Error::not_found(&format!("Query {id} was not found.")))?;
        for name in query.parameters.keys() {
            if request.call.query(name).is_none() {
                return Err(Error::business(&format!("Query {id}: parameter {name} is required.")));
            }
        }
        let matches = |row: &Row| {
            query.parameters.iter().all(|(name, column)| {
                let wanted = request.call.query(name).unwrap_or_default();
                let value = row.get(column).cloned().unwrap_or_default();
                value.as_str().map_or_else(|| value.to_string(), str::to_owned) == wanted
            })
        };
        // The filter names the answer's columns, which show the table's.
        let filter = request.call.query("$filter").map(|filter| {
            query.columns.iter().fold(filter.to_owned(), |text, (name, column)| text.replace(name, column))
        });
        let filter = filter.map(|filter| Filter::parse(&query.table, &filter)).transpose()?;
        let rows = self.tables.find(&query.table, None, request.moment.seen_ms);
        let rows = rows
            .filter(|row| text(row, "Company") == request.company && matches(row))
            .filter(|row| filter.as_ref().is_none_or(|filter| filter.holds(row)))
            .map(|row| shown(row, request.moment.seen_ms));
        let select = request.call.query("$select").unwrap_or_default();
        let wanted: Vec<&str> = select.split(',').filter(|name| !name.is_empty()).collect();
        if let Some(unknown) = wanted.iter().find(|name| !query.columns.contains_key(**name)) {
            return Err(Error::odata(&format!(
                "Could not find a property named '{unknown}' on type '{id}'."
            )));
        }
        let answered = |row: Row| {
            let columns =
                query.columns.iter().filter(|(name, _)| wanted.is_empty() || wanted.contains(&name.as_str()));
            let fields =
                columns.map(|(name, column)| (name.clone(), row.get(column).cloned().unwrap_or_default()));
            Value::Object(fields.collect())
        };
        let number =
            |name: &str, default| request.call.query(name).and_then(|n| n.parse().ok()).unwrap_or(default);
        let page = rows.skip(number("$skip", 0)).take(number("$top", PAGE_ROWS)).map(answered);
        let body = json!({"@odata.context": "", "value": page.collect::<Vec<_>>()});
        Ok(Reply::json(200, &body).into())
    }

    /// A function answers what the settings say, and its input; its call is a line of the ledger.
    pub(crate) fn library(&self, request: &Request<'_>) -> Result<Outcome, Error> {
        let found = self.options.functions.get(&request.name);
        let answer = found.ok_or_else(|| Error::not_found(&format!("{} was not found.", request.name)))?;
        if request.call.method != http::Method::POST {
            return Err(Error::method_not_allowed());
        }
        let mut body = answer.as_object().cloned().unwrap_or_else(Map::new);
        body.insert("input".to_owned(), request.body.clone());
        let key = request.text("reference");
        let draft = draft(request, "function-call", request.name.clone(), &key, Vec::new());
        Ok(Outcome { reply: Reply::json(200, &Value::Object(body)), commits: vec![draft] })
    }
}
