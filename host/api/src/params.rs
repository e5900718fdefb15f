//! Parameters of a path, each by its name. One that does not read names nothing: 404.

use std::str::FromStr;

use aide::{
    OperationInput,
    generate::GenContext,
    openapi::{
        HeaderStyle, Operation, Parameter, ParameterData, ParameterSchemaOrContent, PathStyle, Response,
        SchemaObject,
    },
    operation::add_parameters,
};
use axum::{
    extract::{FromRequestParts, RawPathParams},
    http::request::Parts,
};
use schemars::{JsonSchema, Schema, json_schema};

use crate::{
    Api,
    problem::{self, Problem},
};

macro_rules! params {
    ($($(#[$doc:meta])* $name:ident = $text:literal: $about:literal;)*) => {$(
        $(#[$doc])*
        pub(crate) struct $name<T>(pub(crate) T);

        impl<T: FromStr> FromRequestParts<Api> for $name<T> {
            type Rejection = Problem;

            async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
                let params = RawPathParams::from_request_parts(parts, api).await;
                let params = params.map_err(|_| Problem::not_found())?;
                let value = params.iter().find(|(name, _)| *name == $text).map(|(_, value)| value);
                value.and_then(|value| value.parse().ok()).map(Self).ok_or_else(Problem::not_found)
            }
        }

        impl<T: JsonSchema> OperationInput for $name<T> {
            fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
                path::<T>(ctx, operation, $text, $about);
            }

            fn inferred_early_responses(
                ctx: &mut GenContext,
                _: &mut Operation,
            ) -> Vec<(Option<u16>, Response)> {
                vec![(Some(404), problem::response(ctx, "There is no such thing here, or it is not yours."))]
            }
        }
    )*};
}

params! {
    /// `{id}`
    Id = "id": "Which.";
    /// `{digest}`
    Digest = "digest": "SHA-256 of the module's bytes, in hex.";
    /// `{tenant}`
    Tenant = "tenant": "Whose.";
    /// `{source}`
    Source = "source": "The source.";
    /// `{table}`
    Table = "table": "The lookup table's name.";
    /// `{key}`
    RowKey = "key": "The row's key.";
    /// `{version}`
    Version = "version": "Which version.";
    /// `{code}`
    Code = "code": "The problem's code.";
}

/// Tells of a parameter of the path.
pub(crate) fn path<T: JsonSchema>(ctx: &mut GenContext, operation: &mut Operation, name: &str, about: &str) {
    let schema = ctx.schema.subschema_for::<T>();
    let parameter_data = data(name, about, true, schema);
    add_parameters(ctx, operation, [Parameter::Path { parameter_data, style: PathStyle::Simple }]);
}

/// Tells of a header that may be sent.
pub(crate) fn header(ctx: &mut GenContext, operation: &mut Operation, name: &str, about: &str) {
    let parameter_data = data(name, about, false, json_schema!({ "type": "string" }));
    add_parameters(ctx, operation, [Parameter::Header { parameter_data, style: HeaderStyle::Simple }]);
}

fn data(name: &str, about: &str, required: bool, json_schema: Schema) -> ParameterData {
    let schema = SchemaObject { json_schema, external_docs: None, example: None };
    ParameterData {
        name: name.to_owned(),
        description: Some(about.to_owned()),
        required,
        deprecated: None,
        format: ParameterSchemaOrContent::Schema(schema),
        example: None,
        examples: Default::default(),
        explode: None,
        extensions: Default::default(),
    }
}
