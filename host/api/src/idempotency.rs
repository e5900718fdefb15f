//! `Idempotency-Key`: a POST that is made again within a day is carried out once, and gets the first one's answer.
//!
//! Answers may hold secrets that are shown once (a new key's). So an answer is sealed under the API key that asked for it,
//! which the host does not keep: only who asks with that key again can open it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use http_body_util::BodyExt;
use portolan_store::idempotency::{Begun, KeyedRequest};
use sha2::{Digest, Sha256};

use crate::{
    Api, auth,
    body::{self, Held},
    problem::Problem,
};

const HEADER: &str = "idempotency-key";
const LASTS: Duration = Duration::from_secs(86_400);
const NONCE_BYTES: usize = 24;
/// Larger answers are told once and not kept.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Carries out a request that has a key, or tells what became of it.
pub(crate) async fn once(State(api): State<Api>, request: Request, next: Next) -> Response {
    let keyed = request.method() == Method::POST && request.headers().contains_key(HEADER);
    if keyed && is_kept(request.uri().path()) {
        return carried_out(api, request, next).await.unwrap_or_else(IntoResponse::into_response);
    }
    next.run(request).await
}

/// A module is what it is, however often it is uploaded, and a backup changes nothing: neither is held in memory.
pub(crate) fn is_kept(path: &str) -> bool {
    path.starts_with("/api/v1/") && !["/api/v1/modules", "/api/v1/backup"].contains(&path)
}

async fn carried_out(api: Api, request: Request, next: Next) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let caller = auth::key(&parts, &api).await?;
    let seal = Seal::of(&parts, &caller.secret_sha256)?;
    let patience = Duration::from_millis(api.settings.body_ms_max);
    let limits = body::Limits { bytes_max: api.settings.json_bytes_max, patience, room: &api.room };
    let held = body::read(Request::from_parts(parts.clone(), body), limits).await?;
    // Whoever asked may go away; what is begun from here on is carried out, and its answer kept.
    let work = async move { begun(&api, &seal, (parts, held), next).await };
    let done = tokio::spawn(portolan_store::audit::in_request(work)).await;
    done.map_err(|_| Problem::fault())?
}

async fn begun(
    api: &Api,
    seal: &Seal,
    (parts, held): (Parts, Held),
    next: Next,
) -> Result<Response, Problem> {
    let (id, request) = (seal.id, asked(&parts, &held));
    let _mine = api.under_way.enter(id, request).map_err(refuse)?;
    let now = api.shared.clock.now();
    let keyed = KeyedRequest {
        id,
        request,
        owner: api.shared.owner.to_string(),
        now,
        since: portolan_domain::Timestamp::from_millis(
            now.as_millis().saturating_sub(u64::try_from(LASTS.as_millis()).unwrap_or(u64::MAX)),
        ),
    };
    match api.shared.store.idempotency_begin(keyed).await? {
        Begun::New => {}
        Begun::Ended { status, answer } => return Ok(seal.again(status, &answer)),
        // Nobody is at it here, or it would have been found above: whoever was came to a bad end.
        Begun::UnderWay | Begun::Unknown => return Err(refuse(Refusal::Unknown)),
        Begun::Different => return Err(refuse(Refusal::Different)),
    }
    let request = Request::from_parts(parts, Body::from(held.clone()));
    Ok(kept(api, seal, next.run(request).await).await)
}

/// The requests with a key that this process carries out, each with the digest of what it asks.
#[derive(Debug, Clone, Default)]
pub(crate) struct UnderWay(Arc<Mutex<HashMap<[u8; 32], [u8; 32]>>>);

/// One that is carried out; until it is dropped, however that comes about.
struct Mine {
    all: UnderWay,
    id: [u8; 32],
}

impl UnderWay {
    fn enter(&self, id: [u8; 32], request: [u8; 32]) -> Result<Mine, Refusal> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match all.get(&id) {
            Some(other) if *other == request => Err(Refusal::UnderWay),
            Some(_) => Err(Refusal::Different),
            None => {
                all.insert(id, request);
                Ok(Mine { all: self.clone(), id })
            }
        }
    }
}

impl Drop for Mine {
    fn drop(&mut self) {
        self.all.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

/// Why a request is not carried out.
#[derive(Debug, Clone, Copy)]
enum Refusal {
    UnderWay,
    Unknown,
    NotKept,
    Different,
}

fn refuse(why: Refusal) -> Problem {
    let (status, code, text) = match why {
        Refusal::UnderWay => (
            StatusCode::CONFLICT,
            "idempotency-under-way",
            "The first request with this Idempotency-Key is still being carried out.",
        ),
        Refusal::Unknown => (
            StatusCode::CONFLICT,
            "idempotency-unknown",
            "The host ended or failed while it carried out the first request with this Idempotency-Key: look whether it was.",
        ),
        Refusal::NotKept => (
            StatusCode::CONFLICT,
            "idempotency-not-kept",
            "The first request with this Idempotency-Key was carried out; its answer was too large to be kept.",
        ),
        Refusal::Different => (
            StatusCode::UNPROCESSABLE_ENTITY,
            "idempotency-mismatch",
            "The same Idempotency-Key came with another request; use a new one.",
        ),
    };
    Problem::new(status, code, text)
}

/// Digest of what is asked.
fn asked(parts: &Parts, body: &[u8]) -> [u8; 32] {
    let mut digest = Sha256::new();
    let tenant = parts.headers.get(auth::TENANT_HEADER).map_or(&b""[..], HeaderValue::as_bytes);
    let seen = parts.headers.get(header::IF_MATCH).map_or(&b""[..], HeaderValue::as_bytes);
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    for part in [parts.method.as_str().as_bytes(), target.as_bytes(), tenant, seen, body] {
        digest.update(part.len().to_be_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}

/// Keeps an answer that says that something was done. One that says that nothing was is forgotten: the request may be
/// made again.
async fn kept(api: &Api, seal: &Seal, response: Response) -> Response {
    let store = &api.shared.store;
    if !response.status().is_success() {
        if let Err(error) = store.idempotency_forget(seal.id).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "an idempotency key cannot be forgotten"
            );
        }
        return response;
    }
    let (parts, body) = response.into_parts();
    let Ok(body) = body.collect().await else { return refuse(Refusal::Unknown).into_response() };
    let body = body.to_bytes();
    // What cannot be told again is kept as an answer without a byte, not even a nonce's.
    let sealed = if body.len() > ANSWER_BYTES_MAX { None } else { seal.close(&body) };
    let stored = store.idempotency_end(seal.id, parts.status.as_u16(), sealed.unwrap_or_default()).await;
    // It was carried out: that its answer cannot be told again is no reason not to tell it now.
    if let Err(error) = stored {
        tracing::warn!(error = &error as &dyn std::error::Error, "an answer cannot be kept");
    }
    Response::from_parts(parts, Body::from(body))
}

/// What opens and closes the answers to one request.
struct Seal {
    id: [u8; 32],
    cipher: XChaCha20Poly1305,
}

impl Seal {
    fn of(parts: &Parts, secret_sha256: &[u8; 32]) -> Result<Self, Problem> {
        let bad = || {
            let text = "An Idempotency-Key has 1 to 255 visible ASCII characters.";
            Problem::new(StatusCode::BAD_REQUEST, "invalid-idempotency-key", text)
        };
        let key = parts.headers.get(HEADER).and_then(|value| value.to_str().ok()).ok_or_else(bad)?;
        if key.is_empty() || key.len() > 255 || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(bad());
        }
        // The whole credential, which the database has no more than a digest of.
        let secret = parts.headers.get(header::AUTHORIZATION).map_or(&b""[..], HeaderValue::as_bytes);
        let sealing =
            Sha256::new().chain_update("portolan idempotent answer").chain_update(secret).finalize();
        let id = Sha256::new().chain_update(secret_sha256).chain_update(key).finalize();
        Ok(Self { id: id.into(), cipher: XChaCha20Poly1305::new(&sealing) })
    }

    fn close(&self, answer: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).ok()?;
        let payload = Payload { msg: answer, aad: &self.id };
        let sealed = self.cipher.encrypt(XNonce::from_slice(&nonce), payload).ok()?;
        Some([nonce.as_slice(), &sealed].concat())
    }

    fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_BYTES)?;
        let payload = Payload { msg: sealed, aad: &self.id };
        self.cipher.decrypt(XNonce::from_slice(nonce), payload).ok()
    }

    /// The first one's answer.
    fn again(&self, status: u16, sealed: &[u8]) -> Response {
        if sealed.is_empty() {
            return refuse(Refusal::NotKept).into_response();
        }
        let (Some(answer), Ok(status)) = (self.open(sealed), StatusCode::from_u16(status)) else {
            return refuse(Refusal::Unknown).into_response();
        };
        let has_body = !answer.is_empty();
        let mut response = (status, Body::from(answer)).into_response();
        let headers = response.headers_mut();
        headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
        if has_body {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use axum::{Router, routing::post};
    use serde_json::{Value, json};
    use tokio::sync::Semaphore;

    use super::*;
    use crate::trial::{Answered, Trial, answered};

    const PATH: &str = "/api/v1/trial";

    /// A route that does what `handler` does, behind what is tested.
    fn router(trial: &Trial, handler: axum::routing::MethodRouter) -> Router {
        let once = axum::middleware::from_fn_with_state(trial.api.clone(), once);
        Router::new().route(PATH, handler).layer(once)
    }

    fn request(trial: &Trial, body: &Value) -> Request {
        let mut request = trial.request("POST", PATH, body);
        request.headers_mut().insert(HEADER, HeaderValue::from_static("k1"));
        request
    }

    async fn ask(trial: &Trial, router: &Router) -> Answered {
        answered(router, request(trial, &json!({}))).await
    }

    #[tokio::test]
    async fn who_asks_again_after_a_fault_is_told_that_nobody_knows() {
        let trial = Trial::new().await;
        let panics = post(|| async { std::hint::black_box(None::<&str>).expect("on purpose") });
        let router = router(&trial, panics);
        assert_eq!(ask(&trial, &router).await.code(), "fault");
        assert_eq!(ask(&trial, &router).await.code(), "idempotency-unknown", "nobody is at it any more");
        let other = answered(&router, request(&trial, &json!({ "other": 1 }))).await;
        assert_eq!(other.code(), "idempotency-mismatch");
    }

    #[tokio::test]
    async fn what_is_begun_is_carried_out_though_nobody_waits_for_it() {
        let trial = Trial::new().await;
        let (gate, times) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicU32::new(0)));
        let (waits, counts) = (gate.clone(), times.clone());
        let slow = post(async move || {
            let turn = waits.acquire().await;
            counts.fetch_add(1, Ordering::Relaxed);
            drop(turn);
            axum::Json(json!({ "done": true }))
        });
        let router = router(&trial, slow);
        // Gone as soon as it is begun: while the key is written.
        let asked = tokio::spawn(tower::ServiceExt::oneshot(router.clone(), request(&trial, &json!({}))));
        while trial.api.under_way.0.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        asked.abort();
        assert_eq!(ask(&trial, &router).await.code(), "idempotency-under-way");
        let other = answered(&router, request(&trial, &json!({ "other": 1 }))).await;
        assert_eq!(other.code(), "idempotency-mismatch");
        gate.add_permits(1);
        let first = loop {
            let told = ask(&trial, &router).await;
            if told.code() != "idempotency-under-way" {
                break told;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        assert_eq!((first.status, first.json()), (StatusCode::OK, json!({ "done": true })));
        assert_eq!(first.headers.get("idempotency-replayed").unwrap(), "true");
        assert_eq!(times.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn an_answer_that_is_too_large_is_told_once() {
        let trial = Trial::new().await;
        let router = router(&trial, post(|| async { axum::Json("x".repeat(ANSWER_BYTES_MAX)) }));
        let first = ask(&trial, &router).await;
        assert_eq!((first.status, first.bytes.len()), (StatusCode::OK, ANSWER_BYTES_MAX + 2));
        let again = ask(&trial, &router).await;
        assert_eq!((again.status, again.code().as_str()), (StatusCode::CONFLICT, "idempotency-not-kept"));
    }
}
