//! Who is let in: keys, Basic, tokens, sessions, licences.

use std::collections::BTreeMap;

use http::Method;
use serde_json::{Value, json};

use crate::epicor::datasets::answer;
use crate::epicor::errors::Error;
use crate::epicor::{Epicor, Request};
use crate::stand_in::{Call, Moment, Outcome, Reply};

/// Gives tokens to clients.
pub(crate) const TOKEN_SERVICE: &str = "Ice.LIB.TokenServiceSvc";
/// Sessions at the same time.
const SESSIONS_MAX: usize = 1_000;
/// Tokens that were given out.
const TOKENS_MAX: usize = 1_000;

/// Tokens and sessions that were given out.
#[derive(Debug, Default)]
pub(crate) struct Access {
    sessions: BTreeMap<String, u64>,
    /// Whose each is, and until when it is good.
    tokens: BTreeMap<String, (String, u64)>,
}

fn refused() -> Reply {
    Reply::html(401, "401 - Unauthorized", "Access is denied.")
        .with("www-authenticate", "Basic realm=\"Epicor\"")
}

impl Epicor {
    /// Who calls. 401 has no JSON: it comes from the web server, not from the application.
    pub(crate) fn logon(&self, call: &Call, service: &str, moment: Moment) -> Result<String, Reply> {
        let user = match (call.basic(), call.bearer()) {
            (Some((user, password)), _) => {
                let known = self.options.users.iter().find(|(name, _)| name.eq_ignore_ascii_case(&user));
                known.filter(|(_, known)| **known == password).map(|(name, _)| name.clone())
            }
            (None, Some(token)) => {
                let issued = self.access.tokens.get(token).filter(|(_, until)| *until > moment.now_ms);
                let always = self.options.tokens.contains(token).then(|| "portolan".to_owned());
                issued.map(|(user, _)| user.clone()).or(always)
            }
            (None, None) => None,
        };
        let user = user.ok_or_else(refused)?;
        self.key(call, service)?;
        Ok(user)
    }

    /// v2 wants a key besides, within whose scope the call is.
    pub(crate) fn key(&self, call: &Call, service: &str) -> Result<(), Reply> {
        if !call.path.contains("/api/v2/") {
            return Ok(());
        }
        let key = call.header("x-api-key").or_else(|| call.query("api-key"));
        let scope = key.and_then(|key| self.options.api_keys.get(key)).ok_or_else(refused)?;
        if scope.is_empty() || scope.iter().any(|allowed| allowed == service) {
            Ok(())
        } else {
            Err(Error::forbidden().reply())
        }
    }

    /// A licence, and the session when the call names one.
    pub(crate) fn licence(&mut self, call: &Call, moment: Moment) -> Result<(), Reply> {
        if let Some(id) = session_id(call) {
            let idle_ms = self.options.session_ms;
            match self.access.sessions.get_mut(&id) {
                Some(used) if *used + idle_ms > moment.now_ms => *used = moment.now_ms,
                _ => return Err(Error::session().reply()),
            }
        } else if self.options.licences > 0 && call.in_flight > self.options.licences {
            return Err(Error::licences().reply());
        }
        Ok(())
    }

    fn give_token(&mut self, user: &str, now_ms: u64) -> Value {
        self.access.tokens.retain(|_, (_, until)| *until > now_ms);
        let token = self.guid("token", now_ms);
        let life_ms = self.options.token_ms;
        if self.access.tokens.len() < TOKENS_MAX {
            self.access.tokens.insert(token.clone(), (user.to_owned(), now_ms + life_ms));
        }
        json!({"AccessToken": token, "ExpiresIn": life_ms / 1_000, "TokenType": "Bearer"})
    }

    /// `TokenResource.svc`: user and password in headers.
    pub(crate) fn token(&mut self, call: &Call, moment: Moment) -> Reply {
        let known = call.header("username").zip(call.header("password"));
        let known = known
            .filter(|(user, password)| self.options.users.get(*user).is_some_and(|known| known == password));
        match known {
            Some((user, _)) if call.method == Method::POST => {
                Reply::json(200, &self.give_token(user, moment.now_ms))
            }
            _ => refused(),
        }
    }

    /// `GetAccessToken`: a client and its secret.
    pub(crate) fn token_method(&mut self, request: &Request<'_>) -> Result<Outcome, Error> {
        if request.name != "GetAccessToken" {
            return Err(Error::not_found("There is no such method."));
        }
        let client = request.text("clientId");
        if self.options.clients.get(&client) != Some(&request.text("clientSecret")) {
            return Ok(refused().into());
        }
        let mut row = self.give_token("portolan", request.moment.now_ms);
        if let Some(fields) = row.as_object_mut() {
            fields.insert("RefreshToken".to_owned(), json!(""));
        }
        Ok(answer(json!({"Token": [row]}), json!({})))
    }

    pub(crate) fn session(&mut self, request: &Request<'_>) -> Result<Outcome, Error> {
        let now_ms = request.moment.now_ms;
        match request.name.as_str() {
            "Login" => {
                let idle_ms = self.options.session_ms;
                self.access.sessions.retain(|_, used| *used + idle_ms > now_ms);
                if self.access.sessions.len() >= SESSIONS_MAX {
                    return Err(Error::business("Maximum number of sessions exceeded."));
                }
                let id = self.guid("session", now_ms);
                self.access.sessions.insert(id.clone(), now_ms);
                Ok(Reply::json(200, &json!({"returnObj": id})).into())
            }
            "Logout" => {
                if let Some(id) = session_id(request.call) {
                    self.access.sessions.remove(&id);
                }
                Ok(Reply::json(200, &json!({})).into())
            }
            _ => Err(Error::not_found("There is no such method.")),
        }
    }

    /// All sessions and tokens end, as after a restart of the application pool.
    pub(crate) fn end_access(&mut self) {
        self.access = Access::default();
    }
}

/// The session that a call names; an unreadable one is none that is known.
fn session_id(call: &Call) -> Option<String> {
    let info = serde_json::from_str::<Value>(call.header("sessioninfo")?).ok();
    let id = info.as_ref().and_then(|info| info.get("SessionID")?.as_str());
    Some(id.unwrap_or_default().to_owned())
}
