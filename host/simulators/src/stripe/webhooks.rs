//! Webhook endpoints: where the account's events are sent. Their secret is said once, when they are created.

use serde_json::{Map, Value, json};

use super::changes::Change;
use super::errors::Error;
use crate::stand_in::Moment;

/// Event types of one webhook endpoint.
const TYPES_MAX: usize = 500;

/// Somewhere to send events to.
#[derive(Clone, Debug)]
pub(crate) struct Receiver {
    pub(crate) url: String,
    pub(crate) secret: String,
    /// Shapes of the objects; by default those in which the event was made.
    pub(crate) api_version: Option<String>,
    /// Whether it gets thin events.
    pub(crate) thin: bool,
    /// Event types; `*` is all.
    pub(crate) types: Vec<String>,
}

impl Receiver {
    /// Whether it wants events of a type.
    pub(crate) fn wants(&self, kind: &str) -> bool {
        self.types.iter().any(|name| name == "*" || name == kind)
    }

    /// The receiver that a webhook endpoint is, when it is enabled.
    pub(crate) fn of(webhook: &Value) -> Option<Self> {
        let text = |pointer: &str| webhook.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let types = webhook.get("enabled_events")?.as_array()?;
        (text("/status").as_deref() == Some("enabled")).then_some(Self {
            url: text("/url")?,
            secret: text("/_simulator/secret")?,
            api_version: text("/api_version"),
            thin: false,
            types: types.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        })
    }
}

fn texts(parameters: &Value, name: &str) -> Option<Vec<String>> {
    let rows = parameters.get(name)?.as_object()?;
    Some(rows.values().filter_map(Value::as_str).map(str::to_owned).collect())
}

/// Applies parameters that can be changed later, too.
fn apply(fields: &mut Map<String, Value>, parameters: &Value) -> Result<(), Error> {
    for (name, value) in parameters.as_object().into_iter().flatten() {
        match (name.as_str(), value) {
            ("expand" | "api_version" | "connect", _) => {}
            ("url", Value::String(url)) if url.starts_with("http://") || url.starts_with("https://") => {
                fields.insert("url".to_owned(), json!(url));
            }
            ("url", _) => return Err(Error::invalid("url", "Not a valid URL")),
            ("enabled_events", _) => {
                let types =
                    texts(parameters, "enabled_events").filter(|t| !t.is_empty() && t.len() <= TYPES_MAX);
                let types = types.ok_or_else(|| Error::invalid("enabled_events", "Invalid array"))?;
                fields.insert("enabled_events".to_owned(), json!(types));
            }
            ("description", Value::String(text)) => {
                fields.insert(name.clone(), if text.is_empty() { Value::Null } else { json!(text) });
            }
            ("disabled", Value::String(text)) => {
                let status = if text == "true" { "disabled" } else { "enabled" };
                fields.insert("status".to_owned(), json!(status));
            }
            ("metadata", Value::Object(metadata)) => {
                let kept = fields.entry("metadata").or_insert_with(|| json!({}));
                for (key, value) in metadata {
                    super::put(kept, key, value.clone());
                }
            }
            _ => return Err(Error::unknown_parameter(name)),
        }
    }
    Ok(())
}

/// A new one.
pub(crate) fn create(id: &str, secret: &str, parameters: &Value, moment: Moment) -> Result<Change, Error> {
    for required in ["url", "enabled_events"] {
        if parameters.get(required).is_none() {
            return Err(Error::invalid(required, format!("Missing required param: {required}.")));
        }
    }
    let version = parameters.get("api_version").filter(|version| version.is_string());
    let mut fields = Map::new();
    for (name, value) in [
        ("id", json!(id)),
        ("object", json!("webhook_endpoint")),
        ("api_version", version.cloned().unwrap_or_default()),
        ("application", Value::Null),
        ("created", json!(moment.now_ms / 1_000)),
        ("description", Value::Null),
        ("enabled_events", json!([])),
        ("livemode", json!(false)),
        ("metadata", json!({})),
        ("status", json!("enabled")),
        ("url", Value::Null),
    ] {
        fields.insert(name.to_owned(), value);
    }
    apply(&mut fields, parameters)?;
    let mut answer = fields.clone();
    answer.insert("secret".to_owned(), json!(secret));
    fields.insert("_simulator".to_owned(), json!({"secret": secret}));
    let mut change = Change::new("webhook-endpoint", Value::Object(fields));
    change.answer = Some(Value::Object(answer));
    Ok(change)
}

/// An existing one, changed.
pub(crate) fn update(webhook: Value, parameters: &Value) -> Result<Change, Error> {
    let Value::Object(mut fields) = webhook else {
        return Err(Error::invalid("id", "No such webhook endpoint"));
    };
    if parameters.get("api_version").is_some() {
        return Err(Error::unknown_parameter("api_version"));
    }
    apply(&mut fields, parameters)?;
    Ok(Change::new("webhook-endpoint-update", Value::Object(fields)))
}
