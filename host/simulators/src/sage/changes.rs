//! Customers that changed since a cursor; and what people change in Sage Pro itself.

use serde_json::{Map, Value, json};

use crate::sage::checks::Body;
use crate::sage::documents::is_deleted;
use crate::sage::{Problem, SagePro, customers};
use crate::stand_in::{Call, Draft, Moment, Reply};

/// Customers of one page, when the caller does not say.
const PAGE_DEFAULT: usize = 100;
/// Customers of one page at most.
const PAGE_MAX: usize = 500;

impl SagePro {
    /// The page after a cursor. Rows carry their hash, by which a caller knows what it has seen.
    pub(crate) fn changes_reply(&self, call: &Call, moment: Moment) -> Result<Reply, Problem> {
        let place = match call.query("cursor").filter(|cursor| !cursor.is_empty()) {
            None => None,
            Some(cursor) => {
                let read = cursor
                    .split_once('.')
                    .and_then(|(seq, number)| Some((seq.parse().ok()?, number.to_owned())));
                Some(read.ok_or_else(|| Problem::invalid("cursor", "The cursor is not one of ours."))?)
            }
        };
        let limit = match call.query("limit") {
            None => PAGE_DEFAULT,
            Some(limit) => {
                let limit = limit.parse::<usize>().ok().filter(|limit| (1..=PAGE_MAX).contains(limit));
                limit.ok_or_else(|| Problem::invalid("limit", format!("1 to {PAGE_MAX} is expected.")))?
            }
        };
        let unmoved = call.query("cursor").unwrap_or_default().to_owned();
        let mut changed = self.documents.changed_after(place, moment.seen_ms);
        let mut cursor = unmoved;
        let mut page = Vec::new();
        for ((seq, number), record) in changed.by_ref().take(limit) {
            cursor = format!("{seq}.{number}");
            let Some(fields) = record.as_object() else { continue };
            let row = match (is_deleted(record), customers::shown(fields)) {
                (false, Value::Object(row)) => row,
                _ => Map::from_iter([
                    ("CustNo".to_owned(), json!(number)),
                    ("Deleted".to_owned(), json!(true)),
                ]),
            };
            let noticed = fields.get("ModifiedAtMs").cloned().unwrap_or_default();
            let found =
                [("Hash".to_owned(), json!(customers::hash(fields))), ("NoticedAtMs".to_owned(), noticed)];
            page.push(Value::Object(row.into_iter().chain(found).collect()));
        }
        let more = changed.next().is_some();
        Ok(Reply::json(200, &json!({"Customers": page, "Cursor": cursor, "More": more})))
    }

    /// Customers created, changed or deleted by people, who know no references and no keys.
    pub(crate) fn changed_by_people(&self, rows: Vec<Value>, now_ms: u64) -> Result<Vec<Draft>, String> {
        let call = Call {
            method: http::Method::POST,
            path: String::new(),
            query: Vec::new(),
            headers: http::HeaderMap::new(),
            body: bytes::Bytes::new(),
            in_flight: 0,
        };
        let draft = |row: Value| {
            let names: Vec<&str> = customers::FIELDS.iter().map(|(name, _)| *name).collect();
            let names: Vec<&str> = names.into_iter().chain(["CustNo", "CreditHold", "Deleted"]).collect();
            let said = |problem: Problem| format!("{}: {}", problem.field, problem.message);
            let fields = Body::new(&row, &names).map_err(said)?;
            let number = fields.required("CustNo", 6).map_err(said)?.to_uppercase();
            let known = self.documents.by_number("Customer", &number, now_ms);
            let mut record = known.and_then(|known| known.as_object().cloned()).unwrap_or_default();
            record.insert("CustNo".to_owned(), json!(number));
            record.entry("ExternalRef").or_insert(Value::Null);
            self.customer_fields(&fields, &mut record).map_err(said)?;
            for (name, own) in [("CreditHold", "OwnHold"), ("Deleted", "Deleted")] {
                if let Some(flag) = row.get(name).and_then(Value::as_bool) {
                    record.insert(own.to_owned(), json!(flag));
                }
            }
            record.insert("ModifiedAtMs".to_owned(), json!(now_ms));
            let document = json!({"record": record, "visible_at_ms": now_ms});
            Ok(Draft::new("customer-local-update", number.clone(), number, &call).document(document))
        };
        rows.into_iter().map(draft).collect()
    }
}
