//! The shapes of answers, and how the OpenAPI document tells of each. A handler's return type is its documentation:
//! a status that no type here names does not leave a handler.

use std::{borrow::Cow, marker::PhantomData};

use aide::{
    OperationOutput,
    generate::GenContext,
    openapi::{Header, MediaType, Operation, ParameterSchemaOrContent, ReferenceOr, Response, SchemaObject},
};
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{self, IntoResponse},
};
use portolan_domain::Timestamp;
use portolan_store::run::Decided;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use crate::etag::Seen;

/// A point in time as it is told: RFC 3339 in UTC with milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Time(Timestamp);

impl From<Timestamp> for Time {
    fn from(time: Timestamp) -> Self {
        Self(time)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl JsonSchema for Time {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

/// A part of a list.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "{T}List")]
pub(crate) struct List<T> {
    /// Newest first, unless the operation says otherwise.
    pub(crate) items: Vec<T>,
    /// What to send to get the part that follows (as `before`, or `after` where the operation takes that); null at the
    /// end.
    pub(crate) next: Option<String>,
}

impl<T> List<T> {
    /// A list that is told whole.
    pub(crate) fn whole(items: impl IntoIterator<Item = T>) -> axum::Json<Self> {
        axum::Json(Self { items: items.into_iter().collect(), next: None })
    }
}

/// 201 with what was made.
pub(crate) struct Created<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> response::Response {
        (StatusCode::CREATED, axum::Json(self.0)).into_response()
    }
}

impl<T: JsonSchema> OperationOutput for Created<T> {
    type Inner = T;

    fn inferred_responses(ctx: &mut GenContext, _: &mut Operation) -> Vec<(Option<u16>, Response)> {
        vec![(Some(201), json::<T>(ctx, "Made."))]
    }
}

/// What was uploaded: 201 when it is new, 200 when it was there already.
pub(crate) struct Uploaded<T> {
    pub(crate) new: bool,
    pub(crate) told: T,
}

impl<T: Serialize> IntoResponse for Uploaded<T> {
    fn into_response(self) -> response::Response {
        let status = if self.new { StatusCode::CREATED } else { StatusCode::OK };
        (status, axum::Json(self.told)).into_response()
    }
}

impl<T: JsonSchema> OperationOutput for Uploaded<T> {
    type Inner = T;

    fn inferred_responses(ctx: &mut GenContext, _: &mut Operation) -> Vec<(Option<u16>, Response)> {
        vec![
            (Some(201), json::<T>(ctx, "It is new.")),
            (Some(200), json::<T>(ctx, "It was there already; nothing was changed.")),
        ]
    }
}

/// A person's decision: 204 when it took effect; 202 when it waits for a second key.
pub(crate) struct Settled(pub(crate) Decided);

/// A decision that waits.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Proposed {
    /// `proposed`
    state: &'static str,
    /// What to do.
    detail: &'static str,
}

impl IntoResponse for Settled {
    fn into_response(self) -> response::Response {
        let detail = "Four eyes: another key must make the same request to confirm it. See …/proposals.";
        match self.0 {
            Decided::Done => StatusCode::NO_CONTENT.into_response(),
            Decided::Proposed => {
                (StatusCode::ACCEPTED, axum::Json(Proposed { state: "proposed", detail })).into_response()
            }
        }
    }
}

impl OperationOutput for Settled {
    type Inner = Proposed;

    fn inferred_responses(ctx: &mut GenContext, _: &mut Operation) -> Vec<(Option<u16>, Response)> {
        vec![
            (Some(204), empty("It took effect.")),
            (Some(202), json::<Proposed>(ctx, "Four eyes: it waits for a second key.")),
        ]
    }
}

/// Something that may be changed, with its tag: send that as `If-Match` to change only what you saw.
pub(crate) struct Tagged<T>(pub(crate) T);

impl<T: Seen> IntoResponse for Tagged<T> {
    fn into_response(self) -> response::Response {
        let tag = self.0.tag();
        let mut response = axum::Json(self.0).into_response();
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        response
    }
}

impl<T: JsonSchema> OperationOutput for Tagged<T> {
    type Inner = T;

    fn inferred_responses(ctx: &mut GenContext, _: &mut Operation) -> Vec<(Option<u16>, Response)> {
        let mut response = json::<T>(ctx, "As it is now.");
        let tag = "Changes with every change: send it as `If-Match` to change only what you saw.";
        response.headers.insert("ETag".to_owned(), ReferenceOr::Item(text_header(tag)));
        vec![(Some(200), response)]
    }
}

/// Bytes of somebody else's making, as a download.
pub(crate) struct Download(pub(crate) Vec<u8>);

impl IntoResponse for Download {
    fn into_response(self) -> response::Response {
        // Of unknown kind: it is a stranger's text, and no browser should take it for a page.
        let headers = [
            (header::CONTENT_TYPE, "application/octet-stream"),
            (header::CONTENT_DISPOSITION, "attachment"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ];
        (headers, self.0).into_response()
    }
}

impl OperationOutput for Download {
    type Inner = Self;

    fn inferred_responses(_: &mut GenContext, _: &mut Operation) -> Vec<(Option<u16>, Response)> {
        vec![(Some(200), bytes("The bytes.", "application/octet-stream"))]
    }
}

/// What a text is.
pub(crate) trait Kind {
    /// Its media type.
    const MEDIA_TYPE: &'static str;
    /// More about it, as it follows in `Content-Type`.
    const PARAMETERS: &'static str = "; charset=utf-8";
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $media_type:literal $($parameters:literal)?;)*) => {$(
        $(#[$doc])*
        pub(crate) struct $name;

        impl Kind for $name {
            const MEDIA_TYPE: &'static str = $media_type;
            $(const PARAMETERS: &'static str = $parameters;)?
        }
    )*};
}

kinds! {
    /// For people.
    Plain = "text/plain";
    /// For Prometheus.
    Exposition = "text/plain" "; version=0.0.4";
    /// For spreadsheets.
    Csv = "text/csv";
    /// JSON that is text already.
    Written = "application/json" "";
}

/// Text of a kind.
pub(crate) struct Text<K> {
    text: Cow<'static, str>,
    kind: PhantomData<K>,
}

impl<K> Text<K> {
    pub(crate) fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self { text: text.into(), kind: PhantomData }
    }
}

impl<K: Kind> IntoResponse for Text<K> {
    fn into_response(self) -> response::Response {
        let media_type = format!("{}{}", K::MEDIA_TYPE, K::PARAMETERS);
        ([(header::CONTENT_TYPE, media_type)], self.text).into_response()
    }
}

impl<K: Kind> OperationOutput for Text<K> {
    type Inner = String;

    fn inferred_responses(_: &mut GenContext, _: &mut Operation) -> Vec<(Option<u16>, Response)> {
        vec![(Some(200), bytes("The text.", K::MEDIA_TYPE))]
    }
}

/// A response with a JSON body.
pub(crate) fn json<T: JsonSchema>(ctx: &mut GenContext, description: &str) -> Response {
    of_kind(description, "application/json", Some(ctx.schema.subschema_for::<T>()))
}

/// A response with bytes.
pub(crate) fn bytes(description: &str, media_type: &str) -> Response {
    of_kind(description, media_type, None)
}

/// A response without a body.
pub(crate) fn empty(description: &str) -> Response {
    Response { description: description.to_owned(), ..Default::default() }
}

/// A response of this media type.
pub(crate) fn of_kind(description: &str, media_type: &str, schema: Option<Schema>) -> Response {
    let schema = schema.map(|json_schema| SchemaObject { json_schema, external_docs: None, example: None });
    let content = MediaType { schema, ..Default::default() };
    Response {
        description: description.to_owned(),
        content: [(media_type.to_owned(), content)].into_iter().collect(),
        ..Default::default()
    }
}

fn text_header(description: &str) -> Header {
    Header {
        description: Some(description.to_owned()),
        style: Default::default(),
        required: false,
        deprecated: None,
        format: ParameterSchemaOrContent::Schema(SchemaObject {
            json_schema: json_schema!({ "type": "string" }),
            external_docs: None,
            example: None,
        }),
        example: None,
        examples: Default::default(),
        extensions: Default::default(),
    }
}
