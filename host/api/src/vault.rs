//! The master key, for operators.

use aide::axum::{ApiRouter, routing::post_with};
use axum::{extract::State, http::StatusCode};
use portolan_pipeline::rotation::KeyProblem;
use schemars::JsonSchema;
use serde::Serialize;

use crate::{Api, auth::AsOperator, openapi::op, problem::Problem};

pub(crate) fn routes() -> ApiRouter<Api> {
    let told =
        op("rotate_master_key", "A new master key takes the place of the present one, while work goes on");
    ApiRouter::new()
        .api_route("/vault/rotate", post_with(rotate_master_key, told))
        .with_path_items(|path| path.tag("host"))
}

/// What became of the master key.
#[derive(Serialize, JsonSchema)]
pub(crate) struct RotatedMasterKey {
    /// Its name: not the key.
    master_key: String,
    /// False: a rotation that was interrupted went on.
    new: bool,
    /// How many data keys were wrapped anew.
    rewrapped: usize,
}

/// A new master key takes the place of the present one, while work goes on. Interrupted,
/// it is called again and goes on.
pub(crate) async fn rotate_master_key(
    State(api): State<Api>,
    _: AsOperator,
) -> Result<axum::Json<RotatedMasterKey>, Problem> {
    let rotation = api.rotation.as_ref().ok_or_else(Problem::not_found)?;
    let done = rotation.rotate().await.map_err(|problem| match problem {
        KeyProblem::NotOurs => Problem::new(StatusCode::CONFLICT, "master-key-not-ours", problem.to_string()),
        KeyProblem::Store(error) => error.into(),
        problem @ (KeyProblem::File { .. } | KeyProblem::Unreadable(_) | KeyProblem::Sealed(_)) => {
            Problem::unavailable(&problem)
        }
    })?;
    let master_key = hex::encode(done.current);
    Ok(axum::Json(RotatedMasterKey { master_key, new: done.new, rewrapped: done.rewrapped }))
}
