//! Bodies of requests: read up to a limit and within a deadline, before anything else is done with them.

use std::time::Duration;

use axum::{
    body::{Body, HttpBody},
    extract::{FromRequest, Request},
    http::{StatusCode, header},
};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use crate::{Api, problem::Problem};

/// Reads a whole body of at most `bytes_max` bytes.
pub(crate) async fn read(request: Request, bytes_max: usize, patience: Duration) -> Result<Bytes, Problem> {
    if request.headers().contains_key(header::CONTENT_ENCODING) {
        let text = "Compressed bodies are not accepted; send it without Content-Encoding.";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-encoding", text));
    }
    let too_large = || {
        let text = format!("The body is larger than {bytes_max} bytes.");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", text)
    };
    let body = request.into_body();
    if body.size_hint().lower() > u64::try_from(bytes_max).unwrap_or(u64::MAX) {
        return Err(too_large());
    }
    match tokio::time::timeout(patience, collect(body, bytes_max)).await {
        Ok(Ok(Some(bytes))) => Ok(bytes),
        Ok(Ok(None)) => Err(too_large()),
        Ok(Err(_)) => Err(Problem::new(StatusCode::BAD_REQUEST, "body-cut", "The body ended too early.")),
        Err(_) => {
            let text = "The body took too long to arrive.";
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "body-too-slow", text))
        }
    }
}

/// `None` when the body is larger than allowed.
async fn collect(body: Body, bytes_max: usize) -> Result<Option<Bytes>, axum::Error> {
    match Limited::new(body, bytes_max).collect().await {
        Ok(collected) => Ok(Some(collected.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => Ok(None),
        Err(error) => Err(axum::Error::new(error)),
    }
}

/// What is wrong with a body, without what was sent: a secret in the wrong place is a secret all the same. serde quotes
/// texts in double quotes; what it names in backticks are the names of fields.
fn without_values(error: &str) -> String {
    match (error.split_once('"'), error.rsplit_once('"')) {
        (Some((before, _)), Some((_, after))) => format!("{before}\"…\"{after}"),
        _ => error.to_owned(),
    }
}

/// A JSON body of the admin API.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Api> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        let patience = Duration::from_millis(api.settings.body_ms_max);
        let bytes = read(request, api.settings.json_bytes_max, patience).await?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                "invalid-body",
                format!("The body is not as documented: {}", without_values(&error.to_string())),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::without_values;

    #[test]
    fn an_error_does_not_quote_what_was_sent() {
        for secret in ["sk_live_1", "with \" a quote", ""] {
            let text = serde_json::json!({ "secrets": secret }).to_string();
            let error = serde_json::from_str::<std::collections::BTreeMap<String, Vec<u8>>>(&text);
            let told = without_values(&error.unwrap_err().to_string());
            assert_eq!(
                told.split(" at line").next(),
                Some("invalid type: string \"…\", expected a sequence")
            );
        }
        assert_eq!(without_values("missing field `name`"), "missing field `name`");
    }
}
