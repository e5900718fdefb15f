//! `Idempotency-Key`: a POST that is made again within a day is carried out once, and gets the first one's answer.
//!
//! Answers may hold secrets that are shown once (a new key's). So an answer is sealed under the API key that asked for it,
//! which the host does not keep: only who asks with that key again can open it.

use std::time::Duration;

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
use http_body_util::{BodyExt, Limited};
use portolan_store::idempotency::{Begun, KeyedRequest};
use sha2::{Digest, Sha256};

use crate::{Api, auth, body, problem::Problem};

const HEADER: &str = "idempotency-key";
const LASTS: Duration = Duration::from_secs(86_400);
const NONCE_BYTES: usize = 24;
/// Larger answers are not kept: none of these requests has one.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Carries out a request that has a key, or tells what became of it.
pub(crate) async fn once(State(api): State<Api>, request: Request, next: Next) -> Response {
    let keyed = request.method() == Method::POST && request.headers().contains_key(HEADER);
    if keyed && is_kept(request.uri().path()) {
        return carried_out(&api, request, next).await.unwrap_or_else(IntoResponse::into_response);
    }
    next.run(request).await
}

/// A module is what it is, however often it is uploaded, and a backup changes nothing: neither is held in memory.
pub(crate) fn is_kept(path: &str) -> bool {
    path.starts_with("/api/v1/") && !["/api/v1/modules", "/api/v1/backup"].contains(&path)
}

async fn carried_out(api: &Api, request: Request, next: Next) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let caller = auth::key(&parts, api).await?;
    let seal = Seal::of(&parts, &caller.secret_sha256)?;
    let patience = Duration::from_millis(api.settings.body_ms_max);
    let limits = body::Limits { bytes_max: api.settings.json_bytes_max, patience, room: &api.room };
    let held = body::read(Request::from_parts(parts.clone(), body), limits).await?;
    let now = api.shared.clock.now();
    let keyed = KeyedRequest {
        id: seal.id,
        request: asked(&parts, &held),
        owner: api.shared.owner.to_string(),
        now,
        since: portolan_domain::Timestamp::from_millis(
            now.as_millis().saturating_sub(u64::try_from(LASTS.as_millis()).unwrap_or(u64::MAX)),
        ),
    };
    match api.shared.store.idempotency_begin(keyed).await? {
        Begun::New => {}
        Begun::Ended { status, answer } => return Ok(seal.again(status, &answer)),
        Begun::UnderWay => return Err(refuse("idempotency-under-way")),
        Begun::Unknown => return Err(refuse("idempotency-unknown")),
        Begun::Different => return Err(refuse("idempotency-mismatch")),
    }
    let request = Request::from_parts(parts, Body::from(held.clone()));
    let api = api.clone();
    // Whoever asked may go away; what was begun is carried out, and its answer kept.
    let work = async move { kept(&api, &seal, next.run(request).await).await };
    let done = tokio::spawn(portolan_store::audit::in_request(work)).await;
    done.map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "fault", "The host has a fault."))
}

fn refuse(code: &'static str) -> Problem {
    let (status, text) = match code {
        "idempotency-under-way" => {
            (StatusCode::CONFLICT, "The first request with this Idempotency-Key is still being carried out.")
        }
        "idempotency-unknown" => (
            StatusCode::CONFLICT,
            "The host ended while it carried out the first request with this Idempotency-Key: look whether it was.",
        ),
        _ => (
            StatusCode::UNPROCESSABLE_ENTITY,
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
    let Ok(body) = Limited::new(body, ANSWER_BYTES_MAX).collect().await else {
        return refuse("idempotency-unknown").into_response();
    };
    let body = body.to_bytes();
    let sealed = seal.close(&body);
    let stored = match sealed {
        Some(sealed) => store.idempotency_end(seal.id, parts.status.as_u16(), sealed).await,
        None => Ok(()),
    };
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
        let (Some(answer), Ok(status)) = (self.open(sealed), StatusCode::from_u16(status)) else {
            return refuse("idempotency-unknown").into_response();
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
