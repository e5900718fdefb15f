//! Changes of what was seen: `ETag` out, `If-Match` in. The tag is a digest of what is told, so it changes with every
//! change that anybody could see, whoever made it.

use aide::{OperationInput, generate::GenContext, openapi::Operation};
use axum::{
    extract::FromRequestParts,
    http::{StatusCode, header, request::Parts},
};
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::sync::MutexGuard;

use crate::{Api, params, problem::Problem};

/// The tag of what is told.
pub(crate) fn of(told: &(impl Serialize + ?Sized)) -> String {
    let text = serde_json::to_vec(told).unwrap_or_default();
    let digest = hex::encode(Sha256::digest(text));
    format!("\"{}\"", digest.get(..32).unwrap_or(&digest))
}

/// What is told, and changed only as it was seen.
pub(crate) trait Seen: Serialize {
    /// Its tag; what changes by itself should have no part in it.
    fn tag(&self) -> String {
        of(self)
    }
}

/// What the caller saw, if they say so.
pub(crate) struct IfMatch(Option<String>);

impl IfMatch {
    /// Compares what the caller saw with what is there. The change is made while the guard is held: this process is
    /// the only one that changes the store.
    ///
    /// # Errors
    /// 412 when it is not the same any more.
    pub(crate) fn check(&self, now: &impl Seen) -> Result<(), Problem> {
        let Some(wanted) = &self.0 else { return Ok(()) };
        let now = now.tag();
        if wanted == "*" || wanted.split(',').any(|tag| tag.trim() == now) {
            return Ok(());
        }
        let text = "It was changed since you looked: get it again, and change that.";
        Err(Problem::new(StatusCode::PRECONDITION_FAILED, "changed-since", text))
    }
}

/// Changes are made one after the other, so that none is made to what another has just changed.
pub(crate) async fn alone(api: &Api) -> MutexGuard<'_, ()> {
    api.changes.lock().await
}

impl FromRequestParts<Api> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        let value = parts.headers.get(header::IF_MATCH).and_then(|value| value.to_str().ok());
        Ok(Self(value.map(str::to_owned)))
    }
}

impl OperationInput for IfMatch {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        let text = "The `ETag` that you saw: 412 when it is not the same any more.";
        params::header(ctx, operation, "If-Match", text);
    }
}
