//! How the connector is let in: Basic, a token of its own or one that Epicor gives out, and, where the tenant chose
//! so, one session that all calls share instead of a licence for each.
//!
//! Tokens and sessions are kept for the life of the connection. An answer that says that either has ended (401 from
//! the web server, 410 from the application) comes before anything was carried out, so the call is made once more
//! with a new one; see [`Rest`](super::rest::Rest). The session is logged out when the connection is dropped.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use portolan_domain::{
    Secret,
    verdict::{CallFailure, CallProblem},
};
use serde_json::{Value, json};
use tokio::{sync::Mutex, time::Instant};

use super::rest::Address;
use crate::{
    call::{Call, Doing, plain_header, secret_header, status_code},
    outbound::{Answer, Pool, Request},
    parameters::invalid,
};

/// How long a token lives when Epicor does not say.
const TOKEN_SECONDS_DEFAULT: u64 = 3_600;
/// A token is renewed so long before its end, so that no call meets it.
const TOKEN_MARGIN: Duration = Duration::from_secs(30);
/// How long a log-out may take.
const LOGOUT_TIMEOUT: Duration = Duration::from_secs(5);

const SESSION_SERVICE: &str = "Ice.LIB.SessionModSvc";
const SESSION_INFO: HeaderName = HeaderName::from_static("sessioninfo");

/// What a connection shows at the door.
#[derive(Debug)]
pub(super) enum Login {
    /// Basic, or a token that the tenant entered.
    Fixed(HeaderValue),
    /// `TokenResource.svc`, for a user and a password in headers.
    TokenResource { user: HeaderValue, password: HeaderValue },
    /// `Ice.LIB.TokenServiceSvc/GetAccessToken`.
    TokenService { client_id: Secret, client_secret: Secret, scope: String },
}

/// What is known of tokens and sessions.
#[derive(Debug)]
pub(super) struct Access {
    login: Login,
    /// Headers of every call: API key, company, licence.
    fixed: HeaderMap,
    sessions: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    token: Option<Token>,
    session: Option<Session>,
}

#[derive(Debug)]
struct Token {
    header: HeaderValue,
    until: Instant,
}

#[derive(Debug)]
struct Session {
    info: HeaderValue,
    /// What its log-out needs: where to, and as whom.
    pool: Pool,
    logout: Option<(url::Url, HeaderMap)>,
}

impl Access {
    pub(super) fn new(login: Login, fixed: HeaderMap, sessions: bool) -> Self {
        Self { login, fixed, sessions, state: Mutex::default() }
    }

    /// The headers of the next call. Fetches a token and logs in where that is due.
    pub(super) async fn enter(&self, address: &Address, call: &Call<'_>) -> Result<HeaderMap, CallFailure> {
        let mut headers = self.fixed.clone();
        if let (Login::Fixed(authorization), false) = (&self.login, self.sessions) {
            headers.insert(header::AUTHORIZATION, authorization.clone());
            return Ok(headers);
        }
        // Held while a token is fetched: the others wait for it instead of fetching their own.
        let mut state = self.state.lock().await;
        let authorization = match (&self.login, state.token.take()) {
            (Login::Fixed(authorization), _) => authorization.clone(),
            (_, Some(token)) if token.until > Instant::now() => state.token.insert(token).header.clone(),
            (_, _) => {
                let token = self.fetch(address, call).await?;
                state.token.insert(token).header.clone()
            }
        };
        headers.insert(header::AUTHORIZATION, authorization);
        if self.sessions {
            let info = match &state.session {
                Some(session) => session.info.clone(),
                None => state.session.insert(log_in(address, &headers, call).await?).info.clone(),
            };
            headers.insert(SESSION_INFO, info);
        }
        Ok(headers)
    }

    /// Whether the answer says that the token or the session has ended; that is then forgotten, unless another call
    /// has seen to it meanwhile. Nothing was carried out.
    pub(super) async fn has_ended(&self, answer: &Answer, used: &HeaderMap) -> bool {
        let gives_tokens = !matches!(self.login, Login::Fixed(_));
        match answer.status {
            StatusCode::UNAUTHORIZED if gives_tokens => {
                let mut state = self.state.lock().await;
                let used = used.get(header::AUTHORIZATION);
                if state.token.as_ref().map(|token| &token.header) == used {
                    state.token = None;
                }
                true
            }
            StatusCode::GONE if self.sessions => {
                let mut state = self.state.lock().await;
                let used = used.get(SESSION_INFO);
                if state.session.as_ref().map(|session| &session.info) == used
                    && let Some(session) = state.session.take()
                {
                    session.forget();
                }
                true
            }
            _ => false,
        }
    }

    async fn fetch(&self, address: &Address, call: &Call<'_>) -> Result<Token, CallFailure> {
        let request = match &self.login {
            Login::TokenResource { user, password } => {
                let url = call.pool().url(&["TokenResource.svc"], &[]).ok_or_else(no_address)?;
                Request::new(Method::POST, url)
                    .headers(&self.fixed)
                    .header(HeaderName::from_static("username"), user.clone())
                    .header(HeaderName::from_static("password"), password.clone())
                    .body("application/json", "")
            }
            Login::TokenService { client_id, client_secret, scope } => {
                let path = ["Ice.LIB.TokenServiceSvc", "GetAccessToken"];
                let url = address.url(&path, &[], call)?;
                let parameters = json!({
                    "clientId": client_id.expose(), "clientSecret": client_secret.expose(), "scope": scope,
                });
                Request::new(Method::POST, url)
                    .headers(&self.fixed)
                    .body("application/json", parameters.to_string())
            }
            Login::Fixed(_) => return Err(no_address()),
        };
        let answer = call.send(Doing::Asking, request).await?;
        let said = serde_json::from_slice::<Value>(&answer.body).ok().filter(|_| answer.status.is_success());
        let token = said.as_ref().and_then(row_with_token).and_then(token_of);
        token.ok_or_else(|| {
            // The body is not quoted: it may hold half of a token.
            let text = format!("Epicor gave no token: it answered {}", answer.status);
            if answer.status.is_success() {
                Doing::Asking.unclear(CallProblem::new("unreadable-answer", text))
            } else {
                let problem = CallProblem::new(status_code(answer.status), text);
                call.refusal(Doing::Asking, &answer, problem)
            }
        })
    }
}

fn no_address() -> CallFailure {
    invalid("", "the base URL cannot be extended")
}

/// The row of a token, wherever the answer has it.
fn row_with_token(answer: &Value) -> Option<&Value> {
    match answer {
        Value::Object(fields) if fields.contains_key("AccessToken") => Some(answer),
        Value::Object(fields) => fields.values().find_map(row_with_token),
        Value::Array(items) => items.iter().find_map(row_with_token),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

fn token_of(row: &Value) -> Option<Token> {
    let token = row.get("AccessToken")?.as_str().filter(|token| !token.is_empty())?;
    let seconds = match row.get("ExpiresIn") {
        Some(Value::String(text)) => text.parse().ok(),
        Some(value) => value.as_u64(),
        None => None,
    };
    let life = Duration::from_secs(seconds.unwrap_or(TOKEN_SECONDS_DEFAULT).min(TOKEN_SECONDS_DEFAULT * 24));
    let header = secret_header(Secret::new(format!("Bearer {token}")).expose())?;
    Some(Token { header, until: Instant::now() + life.saturating_sub(TOKEN_MARGIN.min(life / 10)) })
}

async fn log_in(address: &Address, headers: &HeaderMap, call: &Call<'_>) -> Result<Session, CallFailure> {
    let url = address.url(&[SESSION_SERVICE, "Login"], &[], call)?;
    let request = Request::new(Method::POST, url).headers(headers).body("application/json", "{}");
    let answer = call.send(Doing::Asking, request).await?;
    if !answer.status.is_success() {
        return Err(super::rest::refusal(Doing::Asking, &answer, call));
    }
    let said = serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
    let id = said.get("returnObj").and_then(Value::as_str).filter(|id| !id.is_empty());
    let info = id.and_then(|id| plain_header(&json!({"SessionID": id}).to_string()));
    let info = info.ok_or_else(|| {
        let problem = CallProblem::new("unreadable-answer", "Login answered without a session");
        Doing::Asking.unclear(problem)
    })?;
    let url = address.url(&[SESSION_SERVICE, "Logout"], &[], call)?;
    let mut headers = headers.clone();
    headers.insert(SESSION_INFO, info.clone());
    Ok(Session { info, pool: call.pool().clone(), logout: Some((url, headers)) })
}

impl Session {
    /// It has ended already.
    fn forget(mut self) {
        self.logout = None;
    }
}

impl Drop for Session {
    /// A session keeps a licence until it times out; nobody waits for its end.
    fn drop(&mut self) {
        let (Some((url, headers)), Ok(runtime)) = (self.logout.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        let pool = self.pool.clone();
        runtime.spawn(async move {
            let request = Request::new(Method::POST, url).headers(&headers).body("application/json", "{}");
            if pool.exchange(request, Instant::now() + LOGOUT_TIMEOUT).await.is_err() {
                tracing::debug!("a session could not be logged out; it ends when it times out");
            }
        });
    }
}
