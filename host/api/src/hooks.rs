//! Where senders deliver events.

use std::time::Duration;

use aide::axum::{ApiRouter, routing::post_with};
use axum::{
    extract::{Request, State},
    http::StatusCode,
};
use portolan_domain::EventId;
use portolan_pipeline::{
    intake::{Answer, Taken},
    quotas::Slowed,
};
use portolan_proof::{Point, pass};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{Api, body, openapi::op, params, problem::Problem};

pub(crate) fn routes() -> ApiRouter<Api> {
    ApiRouter::new()
        .api_route(
            "/hooks/{source}",
            post_with(receive, |operation| {
                op("receive", "Takes an event from its sender: 200 when it is on disk")(operation)
                    .input::<body::Raw>()
            }),
        )
        .with_path_items(|path| path.tag("hooks"))
}

/// What was taken: one event, or those of a request that holds several.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Accepted {
    /// One.
    One(One),
    /// Several, in the order of the request.
    Several {
        /// Each.
        events: Vec<One>,
    },
}

/// A stored event.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AcceptedEvent")]
pub(crate) struct One {
    event: EventId,
    /// Whether it was stored before.
    repeat: bool,
}

/// A 200 means that the event is on disk; its body names the event's id. A repeat is
/// answered 200 with the first one's id. A request that holds several events is answered with a list.
///
/// Whoever is not believed learns nothing of the source, not even whether there is one: see
/// [`portolan_pipeline::senders::told`].
pub(crate) async fn receive(
    State(api): State<Api>,
    params::Source(source): params::Source<String>,
    request: Request,
) -> Result<axum::Json<Accepted>, Problem> {
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
            pass(Point::Answered);
            Ok(axum::Json(told(taken)))
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
        Answer::Later(slowed) => Err(slowed_down(slowed)),
        Answer::Unavailable(error) => Err(Problem::unavailable(&*error)),
    }
}

/// The sender tries again: a quota is 429, a tenant that is not served 503.
pub(crate) fn slowed_down(slowed: Slowed) -> Problem {
    let status = match slowed {
        Slowed::Quota { .. } => StatusCode::TOO_MANY_REQUESTS,
        Slowed::NotServed => StatusCode::SERVICE_UNAVAILABLE,
    };
    Problem::new(status, slowed.code(), slowed.to_string()).after(slowed.after_s())
}

fn told(taken: Vec<Taken>) -> Accepted {
    let mut events: Vec<One> =
        taken.into_iter().map(|taken| One { event: taken.event, repeat: taken.repeat }).collect();
    match events.pop() {
        Some(single) if events.is_empty() => Accepted::One(single),
        last => {
            events.extend(last);
            Accepted::Several { events }
        }
    }
}
