//! The master key, for operators.

use axum::{extract::State, http::StatusCode};
use portolan_pipeline::rotation::KeyProblem;
use serde_json::{Value, json};

use crate::{Api, auth::AsOperator, problem::Problem};

/// `POST /api/v1/vault/rotate`: a new master key takes the place of the present one, while work goes on. Interrupted,
/// it is called again and goes on.
pub(crate) async fn rotate_master_key(
    State(api): State<Api>,
    _: AsOperator,
) -> Result<axum::Json<Value>, Problem> {
    let rotation = api.rotation.as_ref().ok_or_else(Problem::not_found)?;
    let done = rotation.rotate().await.map_err(|problem| match problem {
        KeyProblem::NotOurs => Problem::new(StatusCode::CONFLICT, "master-key-not-ours", problem.to_string()),
        KeyProblem::Store(error) => error.into(),
        problem @ (KeyProblem::File { .. } | KeyProblem::Unreadable(_) | KeyProblem::Sealed(_)) => {
            Problem::unavailable(&problem)
        }
    })?;
    let name = hex::encode(done.current);
    Ok(axum::Json(json!({ "master_key": name, "new": done.new, "rewrapped": done.rewrapped })))
}
