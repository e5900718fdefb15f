//! Bodies of requests: read up to a limit and within a deadline, before anything else is done with them.
//!
//! What all bodies together may hold in memory is bounded as well: `bodies_bytes_max` of hooks and JSON, and so many
//! modules at once. Whoever comes when that is used up is asked to come again.

use std::{ops::Deref, sync::Arc, time::Duration};

use aide::{
    OperationInput,
    generate::GenContext,
    openapi::{MediaType, Operation, RequestBody, Response, SchemaObject},
    operation::set_body,
};
use axum::{
    body::{Body, HttpBody},
    extract::{FromRequest, Request},
    http::{StatusCode, header},
};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    Api,
    problem::{self, Problem},
};

/// How finely memory is counted.
const GRAIN_BYTES: usize = 1 << 10;

/// Memory for bodies.
#[derive(Debug, Clone)]
pub(crate) struct Room(Arc<Semaphore>);

impl Room {
    /// For this many bytes.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self(Arc::new(Semaphore::new((bytes_max / GRAIN_BYTES).min(Semaphore::MAX_PERMITS))))
    }

    /// Room for as many bytes more, held with what is held already.
    fn hold(&self, bytes: usize, held: &mut Option<OwnedSemaphorePermit>) -> Result<(), Refused> {
        let grains = u32::try_from(bytes.div_ceil(GRAIN_BYTES)).unwrap_or(u32::MAX);
        let more = self.0.clone().try_acquire_many_owned(grains).map_err(|_| Refused::NoRoom)?;
        match held {
            Some(held) => held.merge(more),
            None => *held = Some(more),
        }
        Ok(())
    }
}

/// A whole body; its memory counts until it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

impl Deref for Held {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.bytes
    }
}

/// Limits of one body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits<'a> {
    /// The most bytes.
    pub(crate) bytes_max: usize,
    /// How long it may take to arrive as a whole.
    pub(crate) patience: Duration,
    /// What all bodies of its kind share.
    pub(crate) room: &'a Room,
}

enum Refused {
    TooLarge,
    NoRoom,
    Cut,
}

/// Reads a whole body.
pub(crate) async fn read(request: Request, limits: Limits<'_>) -> Result<Held, Problem> {
    if request.headers().contains_key(header::CONTENT_ENCODING) {
        let text = "Compressed bodies are not accepted; send it without Content-Encoding.";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-encoding", text));
    }
    match tokio::time::timeout(limits.patience, collect(request.into_body(), limits)).await {
        Ok(Ok(held)) => Ok(held),
        Ok(Err(refused)) => Err(told(&refused, limits.bytes_max)),
        Err(_) => {
            let text = "The body took too long to arrive.";
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "body-too-slow", text))
        }
    }
}

fn told(refused: &Refused, bytes_max: usize) -> Problem {
    match refused {
        Refused::TooLarge => {
            let text = format!("The body is larger than {bytes_max} bytes.");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", text)
        }
        Refused::NoRoom => {
            let text = "Too many bodies are arriving at once. Nothing was changed; try again in a moment.";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "bodies-busy", text)
        }
        Refused::Cut => Problem::new(StatusCode::BAD_REQUEST, "body-cut", "The body ended too early."),
    }
}

async fn collect(mut body: Body, limits: Limits<'_>) -> Result<Held, Refused> {
    let declared = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if declared > limits.bytes_max {
        return Err(Refused::TooLarge);
    }
    let mut held = None;
    let (mut bytes, mut counted) = (BytesMut::new(), 0);
    while let Some(frame) = body.frame().await {
        // Trailers say nothing that is looked at.
        let Ok(data) = frame.map_err(|_| Refused::Cut)?.into_data() else { continue };
        let length = bytes.len().saturating_add(data.len());
        if length > limits.bytes_max {
            return Err(Refused::TooLarge);
        }
        if length > counted {
            // Twice as much each time, as the buffer grows; never for what was only declared.
            let wanted = length.max((counted * 2).min(limits.bytes_max));
            limits.room.hold(wanted - counted, &mut held)?;
            counted = wanted;
            bytes.reserve(wanted - bytes.len());
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Held { bytes: bytes.freeze(), _room: held })
}

/// What is wrong with a body, without what was sent: a secret in the wrong place is a secret all the same. serde quotes
/// texts in double quotes, and numbers and names of variants in backticks, in which it names fields, too.
fn without_values(error: &str) -> String {
    const SENT: [&str; 3] = ["invalid type: ", "invalid value: ", "unknown variant "];
    if SENT.iter().any(|kind| error.starts_with(kind))
        && let Some((before, rest)) = error.split_once('`')
        && !before.contains(['"', ','])
        && let Some((_, after)) = rest.rsplit_once("`, expected ")
    {
        return format!("{before}`…`, expected {after}");
    }
    match (error.split_once('"'), error.rsplit_once('"')) {
        (Some((before, _)), Some((_, after))) => format!("{before}\"…\"{after}"),
        _ => error.to_owned(),
    }
}

/// A body of any bytes, as the OpenAPI document tells it; handlers read it themselves.
pub(crate) struct Raw;

/// A JSON body of the admin API.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Api> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        let limits = Limits {
            bytes_max: api.settings.json_bytes_max,
            patience: Duration::from_millis(api.settings.body_ms_max),
            room: &api.room,
        };
        let bytes = read(request, limits).await?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                "invalid-body",
                format!("The body is not as documented: {}", without_values(&error.to_string())),
            )
        })
    }
}

impl OperationInput for Raw {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        let content = [("application/octet-stream".to_owned(), MediaType::default())].into_iter().collect();
        set_body(ctx, operation, RequestBody { content, required: true, ..Default::default() });
    }
}

impl<T: JsonSchema> OperationInput for Json<T> {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        let json_schema = ctx.schema.subschema_for::<T>();
        let schema = Some(SchemaObject { json_schema, external_docs: None, example: None });
        let content = MediaType { schema, ..Default::default() };
        let content = [("application/json".to_owned(), content)].into_iter().collect();
        set_body(ctx, operation, RequestBody { content, required: true, ..Default::default() });
    }

    fn inferred_early_responses(ctx: &mut GenContext, _: &mut Operation) -> Vec<(Option<u16>, Response)> {
        vec![
            (Some(400), problem::response(ctx, "The request is not as documented.")),
            (Some(413), problem::response(ctx, "The body is too large.")),
            (Some(422), problem::response(ctx, "What is asked for cannot be: see `code`.")),
        ]
    }
}

#[cfg(test)]
mod tests {
    use portolan_domain::{Environment, Secret};

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
        for secret in ["123456", "-1", "1.5", "true", "[\"a\"]"] {
            let text = format!("{{\"secrets\":{secret}}}");
            let error = serde_json::from_str::<std::collections::BTreeMap<String, Secret>>(&text);
            let told = without_values(&error.unwrap_err().to_string());
            assert!(told.contains("expected a string") && !told.contains(secret), "{told}");
        }
        let error = serde_json::from_str::<Environment>("\"x`, expected sk_live\"").unwrap_err();
        assert!(!without_values(&error.to_string()).contains("sk_live"), "{error}");
        assert_eq!(without_values("missing field `name`"), "missing field `name`");
    }
}
