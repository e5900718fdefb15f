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
///
/// Whoever is not believed learns nothing of the source, not even whether there is one: see
/// [`portolan_pipeline::senders::told`].
pub(crate) async fn receive(
    State(api): State<Api>,
    Path(source): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    if api.shared.storage.shortage().is_some() {
        metrics::counter!("portolan_events_refused_total", "code" => "storage-low").increment(1);
        return Err(Problem::storage_low());
    }
    let headers = request.headers().clone();
    let limits = body::Limits {
        bytes_max: api.settings.hook_bytes_max,
        patience: Duration::from_millis(api.settings.body_ms_max),
        room: &api.room,
    };
    let body = body::read(request, limits).await?;
    pass(Point::BodyRead);
    match api.intake.accept(&source, &headers, &body).await {
        Answer::Accepted(taken) => {
            let mut response = (StatusCode::OK, told(&taken).to_string()).into_response();
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            pass(Point::Answered);
            Ok(response)
        }
        Answer::Refused(problem) => {
            let status = if problem.asks_for_credentials() {
                StatusCode::UNAUTHORIZED
            } else {
                StatusCode::BAD_REQUEST
            };
            Err(Problem::new(status, problem.code(), problem.to_string()))
        }
        Answer::Busy => {
            let text =
                "Too many events of this tenant arrive at once. Nothing was stored; try again in a moment.";
            Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-events", text))
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
