//! Registers a source at Stripe: a webhook endpoint there that sends exactly what the source's mappings serve. Done
//! again after mappings have changed, it changes that one.

use std::collections::BTreeSet;

use aide::axum::{ApiRouter, routing::post_with};
use axum::extract::State;
use portolan_connectors::{CallContext, Connection, Found};
use portolan_domain::{ConnectionId, RunId, Scope, Secret, SourceId, verdict::CallFailure};
use portolan_pipeline::{
    connections::Opened,
    routes::{ActiveSecret, Route},
    senders::Sender,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    Api,
    auth::{Admin, InScope},
    body::Json,
    etag,
    openapi::op,
    params::Id,
    problem::Problem,
    sources,
};

/// The longest address and API version that Stripe is told, in bytes.
const URL_BYTES_MAX: usize = 2_048;
const VERSION_BYTES_MAX: usize = 100;

/// Where Stripe keeps which source it sends to.
const METADATA: &str = "portolan_source";

pub(crate) fn routes() -> ApiRouter<Api> {
    ApiRouter::new()
        .api_route(
            "/sources/{id}/register",
            post_with(
                register_source,
                op(
                    "register_source",
                    "Has Stripe send to a source exactly the events that its mappings serve",
                ),
            ),
        )
        .with_path_items(|path| path.tag("sources"))
}

/// Where and through what a source is registered.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Registration {
    /// The connection to Stripe whose key may write webhook endpoints.
    connection: ConnectionId,
    /// The source's address as Stripe reaches it: `https://hooks.example.com/hooks/src_…`.
    url: String,
    /// The API version in which Stripe writes events. Stripe's default: the account's.
    api_version: Option<String>,
}

/// What was done.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Registered {
    /// `we_…`
    webhook_endpoint: Option<String>,
    enabled_events: BTreeSet<String>,
    /// False: it was there, and was changed.
    created: bool,
    /// `stored`: the host has its signing secret; `not-told`: it was there before, give its secret to the source.
    secret: &'static str,
}

pub(crate) async fn register_source(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Id(id): Id<SourceId>,
    Json(wanted): Json<Registration>,
) -> Result<axum::Json<Registered>, Problem> {
    api.shared.store.source_get(&caller.scope, &id).await?;
    let route = api.shared.routes.find(&id).await.map_err(|error| Problem::unavailable(&error))?;
    let kinds = kinds(&route)?;
    let version = wanted.api_version.as_deref().unwrap_or_default();
    if wanted.url.len() > URL_BYTES_MAX || version.len() > VERSION_BYTES_MAX {
        let text = format!("url, api_version: at most {URL_BYTES_MAX} and {VERSION_BYTES_MAX} bytes");
        return Err(refuse(text));
    }
    if !wanted.url.ends_with(&format!("/hooks/{id}")) {
        return Err(refuse(format!("url: it must end in /hooks/{id}, the source's own address")));
    }
    let opened = api.shared.connections.open(&caller.scope, &wanted.connection).await;
    let opened = opened.map_err(|error| refuse(format!("connection: {error}")))?;
    if opened.connector != Sender::Stripe.system() {
        return Err(refuse("connection: a connection to stripe is needed".to_owned()));
    }
    let registrar = Registrar::new(&api, &opened);
    let answer = match registrar.find(&id, &wanted.url).await? {
        Some(existing) => {
            let changed = registrar.update(&existing, &wanted.url, &kinds).await?;
            told(&changed, &kinds, false, if route.secrets.is_empty() { "not-told" } else { "stored" })
        }
        None => {
            let made = registrar.create(&id, &wanted, &kinds).await?;
            let secret = made.get("secret").and_then(Value::as_str).map(Secret::new);
            let secret = secret.ok_or_else(|| refuse("Stripe answered without a secret".to_owned()))?;
            keep(&api, &caller.scope, &id, secret).await?;
            told(&made, &kinds, true, "stored")
        }
    };
    Ok(axum::Json(answer))
}

fn told(receiver: &Value, kinds: &BTreeSet<String>, created: bool, secret: &'static str) -> Registered {
    let webhook_endpoint = receiver.get("id").and_then(Value::as_str).map(str::to_owned);
    Registered { webhook_endpoint, enabled_events: kinds.clone(), created, secret }
}

fn refuse(text: String) -> Problem {
    Problem::unprocessable("cannot-register", text)
}

/// What the source's mappings serve.
fn kinds(route: &Route) -> Result<BTreeSet<String>, Problem> {
    if route.sender != Sender::Stripe {
        return Err(refuse("only a source of stripe is registered by the host".to_owned()));
    }
    let kinds: BTreeSet<String> = route.mappings.iter().flat_map(|mapping| mapping.kinds.clone()).collect();
    if kinds.is_empty() {
        return Err(refuse("the source has no enabled mapping, so it needs no events".to_owned()));
    }
    match kinds.iter().find(|kind| kind.ends_with('*')) {
        Some(kind) => {
            let text =
                format!("a mapping serves {kind:?}, and Stripe takes whole names only: name the kinds");
            Err(refuse(text))
        }
        None => Ok(kinds),
    }
}

/// One more active secret of the source. Stripe took its time: the source is read again, as it is now.
async fn keep(api: &Api, scope: &Scope, id: &SourceId, secret: Secret) -> Result<(), Problem> {
    let _alone = etag::alone(api, &scope.tenant).await;
    let mut source = api.shared.store.source_get(scope, id).await?;
    let mut secrets = sources::active_secrets(api, &source)?;
    secrets.push(ActiveSecret { secret, until_s: None });
    sources::keep_secrets(api, &mut source, secrets).await
}

/// Speaks with Stripe about webhook endpoints.
struct Registrar<'a> {
    connection: &'a dyn Connection,
    context: CallContext,
}

impl<'a> Registrar<'a> {
    fn new(api: &Api, opened: &'a Opened) -> Self {
        let now = api.shared.clock.now();
        let context = CallContext {
            // Somebody asked for it now: another time it is another call.
            call_id: RunId::generate(now).as_str().replace('_', ""),
            attempt: 1,
            timeout: opened.connection.timeout(),
            now_seconds: now.as_seconds(),
            traceparent: None,
        };
        Self { connection: &*opened.connection, context }
    }

    /// What sends to this source already.
    async fn find(&self, source: &SourceId, url: &str) -> Result<Option<Value>, Problem> {
        let found = self.connection.read("webhook-endpoint.list", &json!({}), &self.context).await;
        let Found::Yes(list) = found.map_err(|failure| refused(&failure))? else { return Ok(None) };
        let ours = |receiver: &&Value| {
            receiver.pointer(&format!("/metadata/{METADATA}")).and_then(Value::as_str)
                == Some(source.as_str())
                || receiver.get("url").and_then(Value::as_str) == Some(url)
        };
        Ok(list.get("data").and_then(Value::as_array).and_then(|all| all.iter().find(ours)).cloned())
    }

    async fn create(
        &self,
        source: &SourceId,
        wanted: &Registration,
        kinds: &BTreeSet<String>,
    ) -> Result<Value, Problem> {
        let mut body = json!({
            "url": wanted.url,
            "enabled_events": kinds,
            "description": "Portolan",
            "metadata": { METADATA: source },
        });
        if let (Some(version), Some(fields)) = (&wanted.api_version, body.as_object_mut()) {
            fields.insert("api_version".to_owned(), json!(version));
        }
        self.write("webhook-endpoint.create", &body).await
    }

    async fn update(&self, existing: &Value, url: &str, kinds: &BTreeSet<String>) -> Result<Value, Problem> {
        let body = json!({ "id": existing.get("id"), "url": url, "enabled_events": kinds });
        self.write("webhook-endpoint.update", &body).await
    }

    async fn write(&self, operation: &str, body: &Value) -> Result<Value, Problem> {
        self.connection.write(operation, body, &self.context).await.map_err(|failure| refused(&failure))
    }
}

fn refused(failure: &CallFailure) -> Problem {
    let problem = failure.problem();
    refuse(format!("Stripe: {}: {}", problem.code, problem.message))
}
