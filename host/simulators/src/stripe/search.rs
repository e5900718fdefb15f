//! `GET /v1/customers/search`: one clause, by metadata or mail. Source: Stripe's API reference, "Search".

use serde_json::{Value, json};

use crate::stand_in::Call;
use crate::stripe::errors::Error;
use crate::stripe::objects::{Objects, shown};

/// What is searched for.
#[derive(Debug, PartialEq, Eq)]
enum Clause {
    Metadata(String, String),
    Email(String),
}

/// A text in quotes, either kind, with backslashes before quotes inside; and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut letters = text.char_indices();
    let (_, quote) = letters.next().filter(|(_, c)| matches!(c, '"' | '\''))?;
    let mut found = String::new();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => found.push(letters.next()?.1),
            letter if letter == quote => return text.get(at + letter.len_utf8()..).map(|rest| (found, rest)),
            letter => found.push(letter),
        }
    }
    None
}

fn clause(query: &str) -> Option<Clause> {
    let query = query.trim();
    if let Some(rest) = query.strip_prefix("metadata[") {
        let (key, rest) = quoted(rest)?;
        let (value, rest) = quoted(rest.strip_prefix("]:")?)?;
        return rest.is_empty().then_some(Clause::Metadata(key, value));
    }
    let (mail, rest) = quoted(query.strip_prefix("email:")?)?;
    rest.is_empty().then_some(Clause::Email(mail))
}

/// A page of what matches. Pages are named by how much came before.
pub(crate) fn customers(objects: &Objects, call: &Call) -> Result<Value, Error> {
    let query =
        call.query("query").ok_or_else(|| Error::invalid("query", "Missing required param: query."))?;
    let clause =
        clause(query).ok_or_else(|| Error::invalid("query", "We were unable to parse your search query."))?;
    let number = |name, default: usize| match call.query(name) {
        None => Ok(default),
        Some(text) => text.parse().map_err(|_| Error::invalid(name, format!("Invalid value: {text}"))),
    };
    let (limit, skip) = (number("limit", 10)?.clamp(1, 100), number("page", 0)?);
    let fits = |customer: &&Value| match &clause {
        Clause::Metadata(key, value) => {
            customer.get("metadata").and_then(|m| m.get(key)).and_then(Value::as_str) == Some(value)
        }
        Clause::Email(mail) => customer.get("email").and_then(Value::as_str) == Some(mail),
    };
    let mut rows: Vec<Value> =
        objects.candidates("customer", None).filter(fits).skip(skip).take(limit + 1).map(shown).collect();
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = more.then(|| (skip + limit).to_string());
    Ok(
        json!({"object": "search_result", "url": "/v1/customers/search", "has_more": more, "next_page": next, "data": rows}),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clause_is_read_in_either_quotes() {
        let metadata = |key: &str, value: &str| Some(Clause::Metadata(key.to_owned(), value.to_owned()));
        assert_eq!(clause(r#"metadata["erp_id"]:"a\"b\\c""#), metadata("erp_id", "a\"b\\c"));
        assert_eq!(clause("metadata['erp_id']:'812'"), metadata("erp_id", "812"));
        assert_eq!(clause("email:'a@example.com'"), Some(Clause::Email("a@example.com".to_owned())));
        for wrong in
            ["", "name:'x'", "metadata['a']", "metadata['a']:'b' OR x", "email:'x", "metadata[a]:'b'"]
        {
            assert_eq!(clause(wrong), None, "{wrong}");
        }
    }
}
