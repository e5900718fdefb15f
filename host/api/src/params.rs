//! Parameters of a path, each by its name. One that does not read names nothing: 404.

use std::str::FromStr;

use axum::{
    extract::{FromRequestParts, RawPathParams},
    http::request::Parts,
};

use crate::{Api, problem::Problem};

macro_rules! params {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {$(
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
    )*};
}

params! {
    /// `{id}`
    Id = "id";
    /// `{digest}`
    Digest = "digest";
    /// `{tenant}`
    Tenant = "tenant";
    /// `{table}`
    Table = "table";
    /// `{key}`
    RowKey = "key";
}
