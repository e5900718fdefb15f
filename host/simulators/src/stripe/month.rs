//! The month's own routes: `POST /_simulator/month` plays and sends one, `GET` says how far it has got,
//! `GET /_simulator/month/books` what an ERP must end with.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::{HeaderMap, Method};
use serde::Deserialize;
use serde_json::{Value, json};

use super::post::Address;
use super::sending::{Manner, Plan, WINDOW_MAX, send_month};
use super::webhooks::Receiver;
use crate::clock::now_ms;
use crate::exchange::Simulator;
use crate::server::respond;
use crate::stand_in::{Call, Reply};
use crate::story::month::{CHARGES_MAX, DAYS, Month, MonthSettings};

/// The routes.
pub(crate) fn routes() -> Router<Arc<Simulator>> {
    Router::new()
        .route("/_simulator/month", get(report).post(play))
        .route("/_simulator/month/books", get(books))
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Asked {
    seed: u64,
    charges: usize,
    /// Unix seconds; without it, the month ends with today's first second.
    start: Option<u64>,
    send: bool,
    url: Option<String>,
    secret: Option<String>,
    api_version: Option<String>,
    thin: bool,
    enabled_events: Option<Vec<String>>,
    drop_per_mille: u64,
    duplicate_per_mille: u64,
    window: u64,
    concurrency: usize,
    per_second: u64,
    attempts_max: u32,
    order: Option<u64>,
}

impl Default for Asked {
    fn default() -> Self {
        let (month, manner) = (MonthSettings::default(), Manner::default());
        Self {
            seed: month.seed,
            charges: month.charges,
            start: None,
            send: false,
            url: None,
            secret: None,
            api_version: None,
            thin: false,
            enabled_events: None,
            drop_per_mille: manner.drop_per_mille,
            duplicate_per_mille: manner.duplicate_per_mille,
            window: manner.window,
            concurrency: manner.concurrency,
            per_second: manner.per_second,
            attempts_max: manner.attempts_max,
            order: None,
        }
    }
}

impl Asked {
    fn month(&self) -> Result<MonthSettings, String> {
        if self.charges > CHARGES_MAX {
            return Err(format!("charges: at most {CHARGES_MAX}"));
        }
        let today = now_ms() / 86_400_000 * 86_400;
        let start = self.start.unwrap_or_else(|| today.saturating_sub(DAYS * 86_400));
        Ok(MonthSettings { seed: self.seed, charges: self.charges, start: start - start % 86_400 })
    }

    fn manner(&self) -> Result<Manner, String> {
        if self.window > WINDOW_MAX || self.drop_per_mille > 1_000 || self.duplicate_per_mille > 1_000 {
            return Err(format!("window is at most {WINDOW_MAX}, the others are parts of a thousand"));
        }
        Ok(Manner {
            drop_per_mille: self.drop_per_mille,
            duplicate_per_mille: self.duplicate_per_mille,
            window: self.window,
            concurrency: self.concurrency,
            per_second: self.per_second,
            attempts_max: self.attempts_max,
            order: self.order.unwrap_or(self.seed),
        })
    }

    fn receiver(&self) -> Result<Option<Receiver>, String> {
        let Some(url) = &self.url else { return Ok(None) };
        if Address::parse(url).is_none() {
            return Err(format!("{url} is no http:// URL"));
        }
        Ok(Some(Receiver {
            url: url.clone(),
            secret: self.secret.clone().ok_or("a url wants a secret")?,
            api_version: self.api_version.clone(),
            thin: self.thin,
            types: self.enabled_events.clone().unwrap_or_else(|| vec!["*".to_owned()]),
        }))
    }
}

async fn play(State(simulator): State<Arc<Simulator>>, body: Bytes) -> Response {
    let asked: Asked = match serde_json::from_slice(&body) {
        Ok(asked) => asked,
        Err(error) => return refuse(400, &error.to_string()),
    };
    match played(&simulator, &asked).await {
        Ok(()) => report(State(simulator)).await,
        Err((status, reason)) => refuse(status, &reason),
    }
}

async fn played(simulator: &Arc<Simulator>, asked: &Asked) -> Result<(), (u16, String)> {
    let wrong = |reason: String| (400, reason);
    let (month, manner) = (asked.month().map_err(wrong)?, asked.manner().map_err(wrong)?);
    let receiver = asked.receiver().map_err(wrong)?;
    let known =
        with_stripe(simulator, |stripe| stripe.month).ok_or((404, "only Stripe has a month".to_owned()))?;
    if known != Some(month) {
        let call = Call {
            method: Method::POST,
            path: "/_simulator/month".to_owned(),
            query: Vec::new(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            in_flight: 0,
        };
        simulator.seed(&call, vec![json!({"_simulator.month": month})]).await.map_err(wrong)?;
    }
    let sending = with_stripe(simulator, |stripe| Arc::clone(&stripe.sending));
    let Some(sending) = sending else { return Ok(()) };
    if let Some(receiver) = receiver {
        sending.set_receiver(receiver);
    }
    if !asked.send {
        return Ok(());
    }
    let (receivers, events) =
        with_stripe(simulator, |stripe| (stripe.receivers(), stripe.wanted_events())).unwrap_or_default();
    if receivers.is_empty() {
        return Err((
            400,
            "nobody wants the events: give url and secret, or register a webhook endpoint".to_owned(),
        ));
    }
    if !sending.claim() {
        return Err((409, "a month is being sent".to_owned()));
    }
    send_month(simulator, &sending, Plan::of(events, &manner), manner);
    Ok(())
}

fn with_stripe<T>(simulator: &Simulator, ask: impl FnOnce(&mut super::Stripe) -> T) -> Option<T> {
    simulator.stand_in().as_stripe().map(ask)
}

async fn report(State(simulator): State<Arc<Simulator>>) -> Response {
    let known =
        with_stripe(&simulator, |stripe| (stripe.month, stripe.events.count(), Arc::clone(&stripe.sending)));
    let Some((month, events, sending)) = known else { return refuse(404, "only Stripe has a month") };
    let mut report = sending.report();
    super::put(&mut report, "month", json!(month));
    super::put(&mut report, "events", json!(events));
    respond(Reply::json(200, &report))
}

async fn books(State(simulator): State<Arc<Simulator>>) -> Response {
    match with_stripe(&simulator, |stripe| stripe.month).flatten() {
        // Of the month as it was played: calls since then are not part of it.
        Some(month) => match serde_json::to_value(Month::play(month).books()) {
            Ok(books) => respond(Reply::json(200, &books)),
            Err(error) => refuse(500, &error.to_string()),
        },
        None => refuse(404, "no month has been played"),
    }
}

fn refuse(status: u16, reason: &str) -> Response {
    let body: Value = json!({"error": reason});
    respond(Reply::json(status, &body))
}
