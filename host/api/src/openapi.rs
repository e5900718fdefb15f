//! The OpenAPI document: made of the handlers' argument and return types, so that it cannot say what they do not do.
//! It is served at `/openapi.json` and checked in as `docs/openapi.json`; a test compares the two.

use std::sync::LazyLock;

use aide::{
    generate::in_context,
    openapi::{Info, OpenApi, ReferenceOr, SecurityScheme, Tag},
    transform::TransformOperation,
};
use serde_json::Value;

use crate::{
    answer::{Text, Written},
    auth::SCHEME,
    idempotency, params, routes,
};

/// What each group of operations is about; every operation is in one.
const TAGS: &[(&str, &str)] = &[
    ("overview", "Where something is to be done."),
    ("tenants", "The operator's customers."),
    ("keys", "Keys of this API."),
    ("usage", "What tenants used."),
    ("sources", "Configured places where events arrive."),
    ("connections", "Configured connectors, with their secrets, which go in and never come out."),
    ("lookup-tables", "What mappings look up."),
    ("modules", "Uploaded components."),
    ("mappings", "Source and event kinds → module version and settings → connections."),
    (
        "replays",
        "Versions executed again on stored events, and what would differ; shadows do so on new ones.",
    ),
    ("events", "Received, stored, unchanging requests, each with its whole story."),
    ("runs", "Executions of a module on an event; those that are held wait for a person's approval."),
    ("deliveries", "Duties to make one outbound call; the dead letters are those in state `dead`."),
    ("environment", "What an environment asks of those who decide."),
    ("alerts", "What people should hear of."),
    ("notifications", "Rules that tell alerts and successes to people, and what they told."),
    ("audit", "Who changed what."),
    ("host", "The host itself: backups, the master key, health."),
    ("hooks", "Where senders send."),
];

const ABOUT: &str = "\
The public API of a Portolan host: all that the command line and the console can do.

Send a key as `Authorization: Bearer ptk_…`. The key says whose data it is: an address names an environment, never a \
tenant. An operator's key acts for a tenant, as its admin, when the header `Portolan-Tenant` names it. What belongs to \
another tenant, or to another environment than the key's, is 404.

Everything that goes wrong is a problem (RFC 9457) with a stable `code`; `/errors/{code}` says what to do. Every answer \
has an `x-request-id`, which is in the host's log.

Lists are told in pages: send the answer's `next` to get the one that follows. A POST under `/api/v1` may carry an \
`Idempotency-Key` (1 to 255 characters): within 24 hours the same request with the same key is carried out once, and \
gets the first one's answer. What has an `ETag` is changed only as it was seen when that is sent as `If-Match`.";

/// Names an operation and says what it does.
pub(crate) fn op(
    id: &'static str,
    summary: &'static str,
) -> impl FnOnce(TransformOperation<'_>) -> TransformOperation<'_> {
    move |operation| operation.id(id).summary(summary)
}

/// The document about all routes.
fn described() -> OpenApi {
    let mut document = OpenApi {
        info: Info {
            title: "Portolan".to_owned(),
            summary: Some("A multi-tenant, WebAssembly-sandboxed mapping runtime.".to_owned()),
            description: Some(ABOUT.to_owned()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..Default::default()
        },
        tags: TAGS
            .iter()
            .map(|(name, about)| Tag {
                name: (*name).to_owned(),
                description: Some((*about).to_owned()),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    let key = SecurityScheme::Http {
        scheme: "bearer".to_owned(),
        bearer_format: Some("ptk_ and 64 hex digits".to_owned()),
        description: Some("A key of this API.".to_owned()),
        extensions: Default::default(),
    };
    let _served = routes().finish_api_with(&mut document, |document| document.security_scheme(SCHEME, key));
    let paths = document.paths.iter_mut().flat_map(|paths| paths.paths.iter_mut());
    for (_, item) in paths.filter(|(path, _)| idempotency::is_kept(path)) {
        let ReferenceOr::Item(item) = item else { continue };
        if let Some(operation) = &mut item.post {
            let text = "Makes the same request within 24 hours only once.";
            in_context(|ctx| params::header(ctx, operation, "Idempotency-Key", text));
        }
    }
    document
}

/// The document, as text.
static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    let mut value = serde_json::to_value(described()).unwrap_or_default();
    tidied(&mut value);
    format!("{value:#}\n")
});

/// The document as it is served and checked in.
#[must_use]
pub fn document() -> &'static str {
    &DOCUMENT
}

/// Takes away what says nothing: the first line of a description that only repeats, and a 200 that a handler does not
/// have.
fn tidied(document: &mut Value) {
    match document {
        Value::Object(fields) => {
            fields.retain(|name, value| !(name == "description" && value.as_str() == Some("")));
            fields.values_mut().for_each(tidied);
        }
        Value::Array(items) => items.iter_mut().for_each(tidied),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// `GET /openapi.json`
pub(crate) async fn openapi() -> Text<Written> {
    Text::new(document())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_that_is_checked_in_is_that_of_the_code() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            kept == document(),
            "docs/openapi.json is not what the code says any more: `cargo run -p portolan -- openapi > docs/openapi.json`"
        );
    }

    #[test]
    fn every_operation_has_a_name_a_summary_a_group_and_says_who_may() {
        let document: Value = serde_json::from_str(document()).unwrap();
        let mut ids = std::collections::BTreeSet::new();
        let mut count = 0;
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let told = format!("{method} {path}");
                let id = operation["operationId"].as_str().unwrap_or_else(|| panic!("{told}: no name"));
                assert!(ids.insert(id.to_owned()), "{told}: {id} is another's name");
                assert!(operation["summary"].is_string(), "{told}: no summary");
                let tag = operation["tags"][0].as_str().unwrap_or_else(|| panic!("{told}: no group"));
                assert!(TAGS.iter().any(|(known, _)| *known == tag), "{told}: unknown group {tag}");
                if path.starts_with("/api/v1") {
                    assert!(operation["x-portolan-role"].is_string(), "{told}: does not say who may");
                }
                count += 1;
            }
        }
        assert!(count > 60, "{count} operations");
    }
}
