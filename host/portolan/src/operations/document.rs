//! What the API can do, read from its OpenAPI document: each operation with its noun, its verb, and what it takes.

use portolan::stage::Client;
use serde_json::Value;

/// An operation of the API as a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Operation {
    /// `connection`
    pub(crate) noun: String,
    /// `list`
    pub(crate) verb: String,
    /// One line.
    pub(crate) summary: String,
    /// `GET`
    pub(crate) method: String,
    /// `/api/v1/environments/{environment}/connections/{id}`
    pub(crate) path: String,
    /// Who may: a role.
    pub(crate) role: Option<String>,
    /// What stands in the path, behind the `?` and in the head.
    pub(crate) parameters: Vec<Parameter>,
    /// What is sent.
    pub(crate) body: Body,
    /// What comes back.
    pub(crate) answer: Answer,
}

/// What an operation answers when it succeeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Nothing.
    None,
    /// JSON.
    Json,
    /// A page of a list, as JSON; the parameter of this name asks for the next one.
    Page(Cursor),
    /// Anything else: a file, a table, whatever it is.
    Bytes,
}

/// By which parameter a list is followed: which way it is sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cursor {
    Before,
    After,
}

impl Cursor {
    /// The parameter's name, and its flag's.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
        }
    }
}

/// Where a parameter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the path.
    Path,
    /// Behind the `?`.
    Query,
    /// In the head.
    Head,
}

/// A parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parameter {
    pub(crate) place: Place,
    pub(crate) field: Field,
}

/// What an operation is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body {
    /// Nothing.
    None,
    /// A JSON object with these fields.
    Json(Vec<Field>),
    /// A file.
    Bytes,
}

/// One thing that an operation takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) about: String,
    pub(crate) required: bool,
    pub(crate) kind: Kind,
}

/// What a field holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Number,
    Flag,
    /// One of these.
    Choice(Vec<String>),
    /// Several texts.
    List,
    /// Any JSON.
    Structure,
}

/// Every operation that is a command: all but what senders and monitors call.
pub(crate) fn operations() -> Vec<Operation> {
    let Ok(document) = serde_json::from_str::<Value>(portolan_api::document()) else { return Vec::new() };
    let paths = document.get("paths").and_then(Value::as_object);
    let mut found = Vec::new();
    for (path, item) in paths.into_iter().flatten() {
        if !path.starts_with(Client::API) {
            continue;
        }
        for (method, operation) in item.as_object().into_iter().flatten() {
            found.extend(read(&document, path, method, operation));
        }
    }
    found
}

fn read(document: &Value, path: &str, method: &str, operation: &Value) -> Option<Operation> {
    let (noun, verb) = name(text(operation, "/tags/0")?, text(operation, "/operationId")?);
    let parameters = operation.get("parameters").and_then(Value::as_array);
    let content = operation.pointer("/requestBody/content").and_then(Value::as_object);
    let body = match content.and_then(|content| content.iter().next()) {
        None => Body::None,
        Some((media_type, content)) if media_type == "application/json" => {
            Body::Json(fields(document, content.get("schema")?))
        }
        Some(_) => Body::Bytes,
    };
    let parameters: Vec<Parameter> = parameters
        .into_iter()
        .flatten()
        .filter_map(|parameter| read_parameter(document, parameter))
        .collect();
    let answer = answer(document, operation, &parameters);
    Some(Operation {
        noun,
        verb,
        summary: text(operation, "/summary").unwrap_or_default().to_owned(),
        method: method.to_uppercase(),
        path: path.to_owned(),
        role: text(operation, "/x-portolan-role").map(str::to_owned),
        parameters,
        body,
        answer,
    })
}

fn answer(document: &Value, operation: &Value, parameters: &[Parameter]) -> Answer {
    let responses = operation.get("responses").and_then(Value::as_object);
    let good = responses.into_iter().flatten().filter(|(status, _)| status.starts_with('2'));
    let contents: Vec<(&String, &Value)> =
        good.filter_map(|(_, response)| response.get("content")?.as_object()).flatten().collect();
    if contents.is_empty() {
        return Answer::None;
    }
    let Some((_, json)) = contents.iter().find(|(media_type, _)| *media_type == "application/json") else {
        return Answer::Bytes;
    };
    let named = |cursor: &Cursor| {
        let is_it = |one: &Parameter| matches!(one.place, Place::Query) && one.field.name == cursor.name();
        parameters.iter().any(is_it)
    };
    let schema = json.get("schema").map(|schema| resolved(document, schema));
    let is_list = schema.is_some_and(|schema| {
        ["/properties/items", "/properties/next"].iter().all(|field| schema.pointer(field).is_some())
    });
    let cursor = [Cursor::Before, Cursor::After].into_iter().find(named).filter(|_| is_list);
    cursor.map_or(Answer::Json, Answer::Page)
}

/// `connections`, `list_connections` → `connection list`: the verb is what is left of the name without the noun.
fn name(tag: &str, id: &str) -> (String, String) {
    let noun = match tag {
        "lookup-tables" => "lookup",
        "runs" if id.contains("hold") => "hold",
        "deliveries" => "delivery",
        tag => tag.strip_suffix('s').unwrap_or(tag),
    };
    let is_noun = |word: &&str| {
        let singular = word
            .strip_suffix("ies")
            .map_or_else(|| word.strip_suffix('s').unwrap_or(word).to_owned(), |stem| format!("{stem}y"));
        singular == noun
    };
    let verb: Vec<&str> = id.split('_').filter(|word| !is_noun(word)).collect();
    let verb = match (verb.join("-").as_str(), id) {
        // Many at once.
        ("redrive", "redrive_deliveries") => "redrive-matching".to_owned(),
        ("upload", _) => "push".to_owned(),
        (verb, _) => match verb.strip_prefix("get") {
            Some(rest) => format!("show{rest}"),
            None => verb.to_owned(),
        },
    };
    (noun.to_owned(), verb)
}

fn read_parameter(document: &Value, parameter: &Value) -> Option<Parameter> {
    let place = match text(parameter, "/in")? {
        "path" => Place::Path,
        "query" => Place::Query,
        _ => Place::Head,
    };
    let required = parameter.get("required").and_then(Value::as_bool).unwrap_or_default();
    let field = Field {
        name: text(parameter, "/name")?.to_owned(),
        about: text(parameter, "/description").unwrap_or_default().to_owned(),
        required,
        kind: kind(document, parameter.get("schema")?),
    };
    Some(Parameter { place, field })
}

fn fields(document: &Value, schema: &Value) -> Vec<Field> {
    let schema = resolved(document, schema);
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let properties = schema.get("properties").and_then(Value::as_object);
    properties
        .into_iter()
        .flatten()
        .map(|(name, property)| Field {
            name: name.clone(),
            about: text(property, "/description")
                .or_else(|| text(resolved(document, property), "/description"))
                .unwrap_or_default()
                .to_owned(),
            required: required.contains(&name.as_str()),
            kind: kind(document, property),
        })
        .collect()
}

fn kind(document: &Value, schema: &Value) -> Kind {
    let schema = resolved(document, schema);
    if let Some(choices) = choices(schema) {
        return Kind::Choice(choices);
    }
    let types: Vec<&str> = match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    match types.iter().find(|name| **name != "null") {
        Some(&"string") => Kind::Text,
        Some(&"integer" | &"number") => Kind::Number,
        Some(&"boolean") => Kind::Flag,
        Some(&"array") if kind_of_items(document, schema) == Kind::Text => Kind::List,
        _ => Kind::Structure,
    }
}

fn kind_of_items(document: &Value, schema: &Value) -> Kind {
    schema.get("items").map_or(Kind::Structure, |items| kind(document, items))
}

/// The texts of an enumeration, plain or with a description each.
fn choices(schema: &Value) -> Option<Vec<String>> {
    let plain = schema.get("enum").and_then(Value::as_array);
    if let Some(plain) = plain {
        return Some(plain.iter().filter_map(Value::as_str).map(str::to_owned).collect());
    }
    let described = schema.get("oneOf").and_then(Value::as_array)?;
    described.iter().map(|one| text(one, "/const").map(str::to_owned)).collect()
}

/// What a reference names; of what may be null, the other.
fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let found = reference.strip_prefix('#').and_then(|pointer| document.pointer(pointer));
        return found.unwrap_or(schema);
    }
    let cases = schema.get("anyOf").or_else(|| schema.get("allOf")).and_then(Value::as_array);
    let case = cases.and_then(|cases| cases.iter().find(|case| text(case, "/type") != Some("null")));
    case.map_or(schema, |case| resolved(document, case))
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_a_command_of_its_own() {
        let all = operations();
        assert!(all.len() > 50, "{}", all.len());
        let mut names = std::collections::BTreeSet::new();
        for operation in &all {
            let name = (operation.noun.clone(), operation.verb.clone());
            assert!(names.insert(name.clone()), "two operations are called {name:?}");
            assert!(!operation.verb.is_empty(), "{operation:?}");
        }
        for (noun, verb) in [
            ("tenant", "create"),
            ("key", "list"),
            ("connection", "test"),
            ("source", "rotate-secret"),
            ("lookup", "put-rows"),
            ("module", "push"),
            ("mapping", "update"),
            ("event", "show"),
            ("delivery", "redrive"),
            ("delivery", "redrive-matching"),
            ("hold", "approve"),
            ("alert", "resolve"),
            ("environment", "show-settings"),
        ] {
            assert!(names.contains(&(noun.to_owned(), verb.to_owned())), "{noun} {verb} in {names:?}");
        }
    }

    #[test]
    fn what_an_operation_takes_is_read_from_its_schema() {
        let all = operations();
        let create = all.iter().find(|one| one.noun == "key" && one.verb == "create").unwrap();
        let Body::Json(fields) = &create.body else { panic!("{create:?}") };
        let kind = |name: &str| fields.iter().find(|field| field.name == name).unwrap();
        assert_eq!(kind("name").kind, Kind::Text);
        assert_eq!(kind("expires_in_s").kind, Kind::Number);
        assert!(
            matches!(&kind("role").kind, Kind::Choice(roles) if roles.contains(&"tenant-viewer".to_owned()))
        );
        assert!(matches!(&kind("environment").kind, Kind::Choice(all) if all.len() == 3));
        assert!(kind("name").required && !kind("environment").required);
        let upload = all.iter().find(|one| one.noun == "module" && one.verb == "push").unwrap();
        assert_eq!(upload.body, Body::Bytes);
    }

    #[test]
    fn what_an_operation_answers_is_read_from_its_media_type_and_its_schema() {
        let all = operations();
        for (noun, verb, answer) in [
            ("key", "list", Answer::Page(Cursor::Before)),
            ("lookup", "list-rows", Answer::Page(Cursor::After)),
            ("connection", "list-connectors", Answer::Json),
            ("usage", "list-csv", Answer::Bytes),
            ("lookup", "export", Answer::Bytes),
            ("tenant", "export", Answer::Bytes),
            ("event", "show-payload", Answer::Bytes),
            ("connection", "pause", Answer::None),
        ] {
            let operation = all.iter().find(|one| one.noun == noun && one.verb == verb).unwrap();
            assert_eq!(operation.answer, answer, "{noun} {verb}");
        }
        // They are asked for without a body.
        assert!(all.iter().all(|one| one.answer != Answer::Bytes || one.body == Body::None));
    }
}
