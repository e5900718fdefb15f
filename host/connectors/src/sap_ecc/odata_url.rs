//! Addresses of OData version 2: entity sets, keys, literals, query options. Everything that a module says is either
//! a name of letters and digits or a literal of its type, so that nothing reads as more than it is.

use portolan_domain::verdict::CallFailure;
use serde_json::{Map, Value};

use crate::parameters::{invalid, text};

/// The longest name, in bytes.
const NAME_BYTES_MAX: usize = 128;
/// The longest literal, in characters.
const LITERAL_CHARS_MAX: usize = 512;
/// Conditions, or names of a list.
const LIST_MAX: usize = 64;
/// Comparisons of a filter.
const OPERATORS: &[&str] = &["eq", "ne", "gt", "ge", "lt", "le"];

type Row = Map<String, Value>;

/// The service's name, with its version where it has one: `ZSTRIPE_SRV`, `ZSTRIPE_SRV;v=2`.
pub(super) fn service(fields: &Row) -> Result<&str, CallFailure> {
    let service = text(fields, "service")?;
    let (own, version) = service.split_once(";v=").unwrap_or((service, "1"));
    let is_version = !version.is_empty() && version.len() <= 4 && version.bytes().all(|b| b.is_ascii_digit());
    if !is_version || name(own, "/service").is_err() {
        return Err(invalid("/service", "must be a service's name, like ZSTRIPE_SRV or ZSTRIPE_SRV;v=2"));
    }
    Ok(service)
}

/// A name of the service's model.
pub(super) fn name<'a>(name: &'a str, pointer: &str) -> Result<&'a str, CallFailure> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !begins || name.len() > NAME_BYTES_MAX || !name.bytes().all(fits) {
        return Err(invalid(pointer, "must be a name of letters, digits and _"));
    }
    Ok(name)
}

/// `OrderSet`, `OrderSet('16023')`, `ItemSet(Order='16023',Item='10')`.
pub(super) fn segment(fields: &Row, pointer: &str) -> Result<String, CallFailure> {
    let set = name(text(fields, "entity_set")?, &format!("{pointer}/entity_set"))?;
    let pointer = format!("{pointer}/key");
    let key = match fields.get("key") {
        None => return Ok(set.to_owned()),
        Some(Value::Object(parts)) if !is_typed(parts) => {
            let part = |(own, value): (&String, &Value)| {
                Ok(format!("{}={}", name(own, &pointer)?, literal(value, &pointer)?))
            };
            let parts: Vec<String> = parts.iter().map(part).collect::<Result<_, CallFailure>>()?;
            if parts.is_empty() {
                return Err(invalid(&pointer, "must name at least one property"));
            }
            parts.join(",")
        }
        Some(value) => literal(value, &pointer)?,
    };
    Ok(format!("{set}({key})"))
}

/// `{"datetime": "…"}` and the like: one literal, not a key of several properties.
fn is_typed(fields: &Row) -> bool {
    fields.len() == 1
        && fields
            .keys()
            .any(|name| ["datetime", "datetimeoffset", "decimal", "guid", "long"].contains(&name.as_str()))
}

/// A literal: texts in quotes, numbers and truth values as they are, the rest by its type's name.
fn literal(value: &Value, pointer: &str) -> Result<String, CallFailure> {
    let quoted = |text: &str| -> Result<String, CallFailure> {
        if text.chars().count() > LITERAL_CHARS_MAX || text.chars().any(char::is_control) {
            return Err(invalid(pointer, "must be at most 512 characters, none of them control characters"));
        }
        Ok(format!("'{}'", text.replace('\'', "''")))
    };
    let plain = |text: &str, more: &[u8]| {
        !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_digit() || more.contains(&b))
    };
    match value {
        Value::String(text) => quoted(text),
        Value::Number(number) if number.is_i64() => Ok(number.to_string()),
        Value::Bool(flag) => Ok(flag.to_string()),
        Value::Object(fields) if is_typed(fields) => {
            let (kind, text) = fields
                .iter()
                .next()
                .map_or(("", ""), |(kind, value)| (kind.as_str(), value.as_str().unwrap_or_default()));
            match kind {
                "decimal" if plain(text, b".-") => Ok(format!("{text}M")),
                "long" if plain(text, b"-") => Ok(format!("{text}L")),
                "datetime" | "datetimeoffset" if plain(text, b"-:.TZ+") => Ok(format!("{kind}'{text}'")),
                "guid" if plain(text, b"-abcdefABCDEF") => Ok(format!("guid'{text}'")),
                _ => Err(invalid(pointer, "is not a literal of its type")),
            }
        }
        Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => Err(invalid(
            pointer,
            "must be a text, a whole number, a truth value or {\"datetime\": \"…\"} and the like",
        )),
    }
}

/// Query options of a question.
pub(super) fn options(fields: &Row) -> Result<Vec<(&'static str, String)>, CallFailure> {
    let mut options = vec![("$format", "json".to_owned())];
    for (own, option) in [("select", "$select"), ("expand", "$expand")] {
        if let Some(list) = fields.get(own) {
            options.push((option, names(list, &format!("/{own}"))?));
        }
    }
    if let Some(filter) = fields.get("filter") {
        options.push(("$filter", self::filter(filter)?));
    }
    if fields.contains_key("orderby") {
        options.push(("$orderby", name(text(fields, "orderby")?, "/orderby")?.to_owned()));
    }
    if let Some(top) = fields.get("top") {
        let top = top.as_u64().filter(|top| (1..=10_000).contains(top));
        options.push(("$top", top.ok_or_else(|| invalid("/top", "must be from 1 to 10000"))?.to_string()));
    }
    Ok(options)
}

fn names(list: &Value, pointer: &str) -> Result<String, CallFailure> {
    let list = list.as_array().filter(|list| (1..=LIST_MAX).contains(&list.len()));
    let list = list.ok_or_else(|| invalid(pointer, "must be an array of 1 to 64 names"))?;
    let path = |value: &Value| {
        let path = value.as_str().unwrap_or_default();
        // Of an entity inside: `Items/Material`.
        path.split('/').try_for_each(|part| name(part, pointer).map(|_| ())).map(|()| path.to_owned())
    };
    Ok(list.iter().map(path).collect::<Result<Vec<_>, _>>()?.join(","))
}

fn filter(filter: &Value) -> Result<String, CallFailure> {
    let conditions = filter.as_array().filter(|list| (1..=LIST_MAX).contains(&list.len()));
    let conditions =
        conditions.ok_or_else(|| invalid("/filter", "must be an array of 1 to 64 conditions"))?;
    let condition = |(index, condition): (usize, &Value)| {
        let pointer = format!("/filter/{index}");
        let said = |own: &str| condition.get(own).and_then(Value::as_str);
        let property = name(said("property").unwrap_or_default(), &format!("{pointer}/property"))?;
        let operator = said("operator").unwrap_or("eq");
        if !OPERATORS.contains(&operator) {
            return Err(invalid(&format!("{pointer}/operator"), "must be eq, ne, gt, ge, lt or le"));
        }
        let value = condition.get("value").unwrap_or(&Value::Null);
        Ok(format!("{property} {operator} {}", literal(value, &format!("{pointer}/value"))?))
    };
    let conditions = conditions.iter().enumerate().map(condition).collect::<Result<Vec<_>, CallFailure>>()?;
    Ok(conditions.join(" and "))
}

/// What the address of a next page adds: `$skiptoken`, or `$skip`. The rest of it is known, and nothing but the
/// question's own address is ever asked.
pub(super) fn next_page(next: &str) -> Option<(String, String)> {
    let (_, query) = next.split_once('?')?;
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    let (name, value) = pairs.find(|(name, _)| matches!(name.as_ref(), "$skiptoken" | "$skip"))?;
    Some((name.into_owned(), value.into_owned()))
}

/// A segment of a path, as a request line inside of a batch takes it.
pub(super) fn escaped(segment: &str) -> String {
    let mut escaped = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~$()=',".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(value: Value) -> Result<String, CallFailure> {
        segment(value.as_object().unwrap(), "")
    }

    #[test]
    fn keys_are_literals_of_their_types() {
        for (key, expected) in [
            (json!("O'Neill"), "Set('O''Neill')"),
            (json!(7), "Set(7)"),
            (json!({"guid": "0050568c-901d"}), "Set(guid'0050568c-901d')"),
            (
                json!({"A": "1", "B": {"datetime": "2026-11-20T00:00:00"}}),
                "Set(A='1',B=datetime'2026-11-20T00:00:00')",
            ),
            (json!({"decimal": "49.98"}), "Set(49.98M)"),
        ] {
            assert_eq!(of(json!({"entity_set": "Set", "key": key})).unwrap(), expected);
        }
        for bad in [
            json!(1.5),
            json!(null),
            json!([]),
            json!({}),
            json!({"a b": 1}),
            json!({"guid": "x')"}),
            json!("a\n"),
        ] {
            assert!(of(json!({"entity_set": "Set", "key": bad})).is_err(), "{bad}");
        }
        assert!(of(json!({"entity_set": "Set/../$metadata"})).is_err());
    }

    #[test]
    fn options_are_built_of_names_and_literals() {
        let fields = json!({"select": ["A", "Items/B"], "filter": [{"property": "A", "value": "x' or 'a' eq 'a"},
            {"property": "N", "operator": "gt", "value": 3}], "top": 1});
        let options = options(fields.as_object().unwrap()).unwrap();
        assert_eq!(options[1], ("$select", "A,Items/B".to_owned()));
        assert_eq!(options[2].1, "A eq 'x'' or ''a'' eq ''a' and N gt 3");
        for bad in [
            json!({"select": ["A,B"]}),
            json!({"filter": [{"property": "A eq 1 or B", "value": 1}]}),
            json!({"filter": [{"property": "A", "operator": "like", "value": 1}]}),
            json!({"orderby": "A desc, B"}),
            json!({"top": 0}),
        ] {
            assert!(super::options(bad.as_object().unwrap()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_next_page_is_a_token_and_no_address() {
        let next = "http://elsewhere.example/sap/opu/odata/sap/S/Set?$filter=x&$skiptoken=a%20b";
        assert_eq!(next_page(next), Some(("$skiptoken".to_owned(), "a b".to_owned())));
        assert_eq!(next_page("http://elsewhere.example/?x=1"), None);
    }
}
