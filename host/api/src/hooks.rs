//! Where senders deliver events.

use std::time::Duration;

use axum::{
    extract::{Path, Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use portolan_pipeline::intake::{Answer, Taken};
use portolan_proof::{Point, pass};
use serde_json::{Value, json};

use crate::{Api, body, problem::Problem};

/// `POST /hooks/{source}`. A 200 means that the event is on disk; its body names the event's id. A repeat is
/// answered 200 with the first one's id. A request that holds several events is answered with a list.
pub(crate) async fn receive(
    State(api): State<Api>,
    Path(source): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let unknown = || {
        let text = "No source has this address.";
        Problem::new(StatusCode::NOT_FOUND, "unknown-source", text)
    };
    let source = source.parse().map_err(|_| unknown())?;
    let headers = request.headers().clone();
    let patience = Duration::from_millis(api.settings.body_ms_max);
    let body = body::read(request, api.settings.hook_bytes_max, patience).await?;
    pass(Point::BodyRead);
    match api.intake.accept(&source, &headers, body).await {
        Answer::Accepted(taken) => {
            let mut response = (StatusCode::OK, told(&taken).to_string()).into_response();
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            pass(Point::Answered);
            Ok(response)
        }
        Answer::UnknownSource => Err(unknown()),
        Answer::Refused(problem) => {
            let status = if problem.asks_for_credentials() {
                StatusCode::UNAUTHORIZED
            } else {
                StatusCode::BAD_REQUEST
            };
            Err(Problem::new(status, problem.code(), problem.to_string()))
        }
        Answer::Unavailable(error) => Err(Problem::unavailable(&*error)),
    }
}

/// `{"event","repeat"}`, or a list of these under `events`.
fn told(taken: &[Taken]) -> Value {
    let one = |taken: &Taken| json!({ "event": taken.event, "repeat": taken.repeat });
    match taken {
        [single] => one(single),
        several => json!({ "events": several.iter().map(one).collect::<Vec<_>>() }),
    }
}
