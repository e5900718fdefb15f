//! Lists: `limit`, `starting_after`, `ending_before`, filters, `expand[]`.

use serde_json::{Value, json};

use crate::stand_in::Call;
use crate::stripe::errors::{Error, missing};
use crate::stripe::objects::{Objects, indexed, shown};

/// Objects of one page.
const LIMIT_MAX: usize = 100;
/// Objects of one page when nothing is said.
const LIMIT_DEFAULT: usize = 10;
/// Expansions of one request.
const EXPANSIONS_MAX: usize = 20;

/// Which page.
pub(crate) struct Page {
    limit: usize,
    starting_after: Option<String>,
    ending_before: Option<String>,
}

impl Page {
    pub(crate) fn first() -> Self {
        Self { limit: LIMIT_DEFAULT, starting_after: None, ending_before: None }
    }

    pub(crate) fn read(call: &Call) -> Result<Self, Error> {
        let limit = match call.query("limit") {
            None => LIMIT_DEFAULT,
            Some(text) => match text.parse::<usize>() {
                Ok(limit) if (1..=LIMIT_MAX).contains(&limit) => limit,
                _ => return Err(Error::invalid("limit", format!("Invalid integer: {text}"))),
            },
        };
        let cursor = |name| call.query(name).map(str::to_owned);
        let (starting_after, ending_before) = (cursor("starting_after"), cursor("ending_before"));
        if starting_after.is_some() && ending_before.is_some() {
            return Err(Error::invalid(
                "ending_before",
                "You may not use both `starting_after` and `ending_before`.",
            ));
        }
        Ok(Self { limit, starting_after, ending_before })
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    pub(crate) fn starting_after(&self) -> Option<&str> {
        self.starting_after.as_deref()
    }

    pub(crate) fn ending_before(&self) -> Option<&str> {
        self.ending_before.as_deref()
    }

    /// The page of what matches, in list order.
    fn cut(&self, all: &[Value], object: &str, url: &str) -> Result<Value, Error> {
        let position = |id: &str, parameter| {
            let at = all.iter().position(|item| item.get("id").and_then(Value::as_str) == Some(id));
            at.ok_or_else(|| missing(object, id, parameter))
        };
        let (page, more) = match (&self.starting_after, &self.ending_before) {
            (_, Some(id)) => {
                let end = position(id, "ending_before")?;
                let start = end.saturating_sub(self.limit);
                (all.get(start..end), start > 0)
            }
            (after, None) => {
                let start =
                    after.as_ref().map_or(Ok(0), |id| position(id, "starting_after").map(|at| at + 1))?;
                let end = all.len().min(start + self.limit);
                (all.get(start..end), end < all.len())
            }
        };
        Ok(json!({"object": "list", "url": url, "has_more": more, "data": page.unwrap_or_default()}))
    }
}

/// Paths to expand, checked for number only.
pub(crate) fn expansions(call: &Call) -> Result<Vec<String>, Error> {
    let named = |name: &str| name == "expand" || (name.starts_with("expand[") && name.ends_with(']'));
    let paths: Vec<String> =
        call.query.iter().filter(|(name, _)| named(name)).map(|(_, path)| path.clone()).collect();
    if paths.len() > EXPANSIONS_MAX {
        return Err(Error::invalid("expand", "You may expand at most 20 properties."));
    }
    Ok(paths)
}

/// A list of a kind.
pub(crate) fn list(
    objects: &Objects,
    call: &Call,
    kind: &str,
    page: &Page,
    expand: &[String],
) -> Result<Value, Error> {
    let mut filters: Vec<(&'static str, &'static str, &str)> = Vec::new();
    let mut ranges: Vec<(&str, u64)> = Vec::new();
    for (name, value) in &call.query {
        match name.as_str() {
            "limit" | "starting_after" | "ending_before" => {}
            name if name.starts_with("expand") => {}
            name if name.starts_with("created") => {
                let at =
                    value.parse().map_err(|_| Error::invalid(name, format!("Invalid timestamp: {value}")))?;
                ranges.push((name, at));
            }
            "type" if kind == "balance_transaction" => filters.push(("type", "/type", value)),
            "status" if kind == "subscription" && value == "all" => {}
            "status" => filters.push(("status", "/status", value)),
            "payment[type]" if kind == "invoice_payment" => {
                filters.push(("payment[type]", "/payment/type", value))
            }
            name => match indexed(kind, name) {
                Some((name, path)) => filters.push((name, path, value)),
                None => return Err(Error::unknown_parameter(name)),
            },
        }
    }
    if let Some((.., payout)) =
        filters.iter().find(|(name, ..)| kind == "balance_transaction" && *name == "payout")
    {
        let is_manual = |payout: &Value| payout.get("automatic") == Some(&Value::Bool(false));
        if objects.get("payout", payout, u64::MAX).as_ref().is_some_and(is_manual) {
            let text = "Balance transaction history can only be filtered on automatic transfers, not manual.";
            return Err(Error::invalid("payout", text));
        }
    }
    // Ended subscriptions are listed only when they are asked for.
    let lists_canceled = kind != "subscription" || call.query("status").is_some();
    let by = filters
        .iter()
        .find(|(name, ..)| indexed(kind, name).is_some())
        .map(|(name, _, value)| (*name, *value));
    let fits = |object: &&Value| {
        let equal = |(_, path, value): &(&str, &str, &str)| {
            object.pointer(path).and_then(Value::as_str) == Some(*value)
        };
        let created = object.get("created").and_then(Value::as_u64).unwrap_or_default();
        filters.iter().all(equal)
            && ranges.iter().all(|(name, at)| in_range(name, created, *at))
            && (lists_canceled || object.get("status").and_then(Value::as_str) != Some("canceled"))
    };
    let matching: Vec<Value> = objects.candidates(kind, by).filter(fits).map(shown).collect();
    let mut list = page.cut(&matching, kind, &call.path)?;
    for path in expand {
        objects.expand(&mut list, path);
    }
    if expand.iter().any(|path| path == "data.line_items") {
        for session in list.get_mut("data").and_then(Value::as_array_mut).into_iter().flatten() {
            let id = session.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
            let lines = lines_of(
                objects,
                &id,
                "line_items",
                &Page::first(),
                &format!("/v1/checkout/sessions/{id}/line_items"),
            )?;
            if let Some(fields) = session.as_object_mut() {
                fields.insert("line_items".to_owned(), lines);
            }
        }
    }
    Ok(list)
}

pub(crate) fn in_range(name: &str, created: u64, at: u64) -> bool {
    match name {
        "created[gt]" => created > at,
        "created[gte]" => created >= at,
        "created[lt]" => created < at,
        "created[lte]" => created <= at,
        _ => created == at,
    }
}

/// A page of the lines of a session or an invoice.
pub(crate) fn lines_of(
    objects: &Objects,
    id: &str,
    part: &str,
    page: &Page,
    url: &str,
) -> Result<Value, Error> {
    let kind = if part == "lines" { "line_item" } else { "item" };
    page.cut(objects.lines(id), kind, url)
}
