//! Stripe's error bodies.

use serde_json::{Value, json};

use crate::stand_in::{Call, Reply};

/// A refusal.
pub(crate) struct Error {
    status: u16,
    kind: &'static str,
    code: &'static str,
    message: String,
    parameter: String,
}

impl Error {
    pub(crate) fn new(
        status: u16,
        kind: &'static str,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self { status, kind, code, message: message.into(), parameter: String::new() }
    }

    pub(crate) fn unauthorized(message: &str) -> Self {
        Self::new(401, "invalid_request_error", "", message)
    }

    pub(crate) fn forbidden() -> Self {
        let text = "The provided key does not have the required permissions for this endpoint.";
        Self::new(403, "invalid_request_error", "more_permissions_required_for_application", text)
    }

    pub(crate) fn invalid(parameter: &str, message: impl Into<String>) -> Self {
        Self {
            parameter: parameter.to_owned(),
            ..Self::new(400, "invalid_request_error", "parameter_invalid", message)
        }
    }

    pub(crate) fn unknown_parameter(parameter: &str) -> Self {
        let text = format!("Received unknown parameter: {parameter}");
        Self {
            parameter: parameter.to_owned(),
            ..Self::new(400, "invalid_request_error", "parameter_unknown", text)
        }
    }

    pub(crate) fn idempotency() -> Self {
        let text = "Keys for idempotent requests can only be used with the same parameters they were first used with.";
        Self::new(400, "idempotency_error", "", text)
    }

    pub(crate) fn key_in_use() -> Self {
        let text = "There is currently another in-progress request using this Stripe account with that idempotency key.";
        Self::new(409, "invalid_request_error", "idempotency_key_in_use", text)
    }

    pub(crate) fn unknown_url(call: &Call) -> Self {
        Self::new(
            404,
            "invalid_request_error",
            "",
            format!("Unrecognized request URL ({}: {}).", call.method, call.path),
        )
    }

    pub(crate) fn reply(self) -> Reply {
        let mut error = json!({
            "type": self.kind, "message": self.message,
            "request_log_url": "https://dashboard.stripe.com/test/logs",
        });
        if let Some(fields) = error.as_object_mut() {
            if !self.code.is_empty() {
                let url = format!("https://stripe.com/docs/error-codes/{}", self.code.replace('_', "-"));
                fields.insert("code".to_owned(), json!(self.code));
                fields.insert("doc_url".to_owned(), json!(url));
            }
            if !self.parameter.is_empty() {
                fields.insert("param".to_owned(), Value::String(self.parameter));
            }
        }
        Reply::json(self.status, &json!({"error": error}))
    }
}

/// There is no such object: 404 for the object itself, 400 when a parameter names it.
pub(crate) fn missing(object: &str, id: &str, parameter: &str) -> Error {
    let status = if parameter == "id" { 404 } else { 400 };
    let name = object.rsplit('.').next().unwrap_or(object).replace('_', " ");
    let error =
        Error::new(status, "invalid_request_error", "resource_missing", format!("No such {name}: '{id}'"));
    Error { parameter: parameter.to_owned(), ..error }
}
