//! Sources. Secrets go in and never come out.

use std::time::Duration;

use aide::axum::{
    ApiRouter,
    routing::{get_with, post_with},
};
use axum::extract::State;
use portolan_connectors::{Effect, Operation};
use portolan_domain::{Environment, Secret, SourceId, Timestamp};
use portolan_pipeline::{
    routes::{ActiveSecret, PollSettings, SourceSettings, from_sealed, sealed_for, to_sealed},
    senders::{Auth, Sender},
};
use portolan_store::{
    poll::PollState,
    source::{PolledSettings, Source, SourceChange},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    Api,
    answer::{Created, List, Tagged, Time},
    auth::{Admin, InScope, Viewer},
    body::Json,
    bounds,
    etag::{self, IfMatch, Seen},
    openapi::op,
    page::{self, Paged},
    params::Id,
    problem::Problem,
    tenants::check_name,
};

/// Shorter secrets can be guessed.
const SECRET_BYTES_MIN: usize = 16;

/// Secrets of one source: two are active while one is rolled, a few more do no harm.
const SECRETS_MAX: usize = 8;

pub(crate) fn routes() -> ApiRouter<Api> {
    ApiRouter::new()
        .api_route(
            "/sources",
            get_with(list_sources, op("list_sources", "The sources of the environment"))
                .post_with(create_source, op("create_source", "Makes a source")),
        )
        .api_route(
            "/sources/{id}",
            get_with(get_source, op("get_source", "A source, without its secrets"))
                .put_with(update_source, op("update_source", "Changes settings and secrets, as a whole")),
        )
        .api_route(
            "/sources/{id}/rotate",
            post_with(
                rotate_secret,
                op("rotate_source_secret", "A new secret; those before it end after the overlap"),
            ),
        )
        .with_path_items(|path| path.tag("sources"))
}

/// A source to be made.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSource {
    /// 1 to 100 characters; unique in the environment.
    #[schemars(length(min = 1, max = 100))]
    name: String,
    /// `stripe`, `sap-ecc`, `epicor`, `sage-pro` or `http`.
    system: String,
    /// How senders prove themselves, what an event is, whether the system is polled.
    #[serde(default)]
    settings: serde_json::Map<String, Value>,
    /// What senders prove themselves with: Stripe's `whsec_…`; `user:password` for Basic; a token; a key for HMAC.
    #[serde(default)]
    secrets: Vec<Secret>,
}

/// A source as it shall be.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangedSource {
    /// All of them.
    settings: serde_json::Map<String, Value>,
    /// All active ones: the old and the new while a secret is rolled.
    secrets: Vec<Secret>,
}

pub(crate) async fn create_source(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Json(new): Json<NewSource>,
) -> Result<Created<Answer>, Problem> {
    check_name(&new.name)?;
    let now = api.shared.clock.now();
    let source = Source {
        id: SourceId::generate(now),
        scope: caller.scope,
        name: new.name,
        system: new.system,
        settings: Value::Object(new.settings),
        sealed_secrets: Vec::new(),
        created_at: now,
    };
    Ok(Created(answer(&put(&api, (source, true), Some(new.secrets)).await?)))
}

pub(crate) async fn update_source(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Id(id): Id<SourceId>,
    seen: IfMatch,
    Json(changed): Json<ChangedSource>,
) -> Result<Tagged<Answer>, Problem> {
    let _alone = etag::alone(&api, &caller.scope.tenant).await;
    let mut source = api.shared.store.source_get(&caller.scope, &id).await?;
    seen.check(&answer(&source))?;
    source.settings = Value::Object(changed.settings);
    Ok(Tagged(answer(&put(&api, (source, false), Some(changed.secrets)).await?)))
}

/// How long the old secret stays good unless the caller says otherwise, in seconds: as long as Stripe's default.
const OVERLAP_S_DEFAULT: u64 = 86_400;
/// The longest that two secrets are good beside each other, in seconds.
const OVERLAP_S_MAX: u64 = 30 * 86_400;

/// A secret that takes the place of others.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rotation {
    /// The new one.
    secret: Secret,
    /// How long the old ones stay good, in seconds; 0: they end now.
    #[serde(default = "default_overlap")]
    overlap_s: u64,
}

const fn default_overlap() -> u64 {
    OVERLAP_S_DEFAULT
}

/// A new secret; those before it end after the overlap, by themselves. Answers the source with
/// `secrets`: one entry for each that is good, with its end.
pub(crate) async fn rotate_secret(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Id(id): Id<SourceId>,
    Json(rotation): Json<Rotation>,
) -> Result<axum::Json<Rotated>, Problem> {
    let refuse = |text: &str| Problem::unprocessable("invalid-source", text);
    if rotation.overlap_s > OVERLAP_S_MAX {
        return Err(refuse("overlap_s: at most 30 days"));
    }
    let _alone = etag::alone(&api, &caller.scope.tenant).await;
    let mut source = api.shared.store.source_get(&caller.scope, &id).await?;
    let sender = Sender::of(&source.system).ok_or_else(|| refuse("the source's system is unknown"))?;
    let settings: SourceSettings = serde_json::from_value(source.settings.clone())
        .map_err(|error| refuse(&format!("settings: {error}")))?;
    let now_s = api.shared.clock.now().as_seconds();
    let end = now_s.saturating_add(rotation.overlap_s);
    let until = |active: &ActiveSecret| Some(active.until_s.map_or(end, |until| until.min(end)));
    let old =
        active_secrets(&api, &source)?.into_iter().map(|old| ActiveSecret { until_s: until(&old), ..old });
    let new = ActiveSecret { secret: rotation.secret, until_s: None };
    let all: Vec<_> = [new].into_iter().chain(old.filter(|old| old.is_active(now_s))).collect();
    let plain: Vec<Secret> = all.iter().map(|active| active.secret.clone()).collect();
    bounds::check(&source.settings, plain.iter()).map_err(|text| refuse(&text))?;
    check_secrets(sender, settings.auth_of(sender), &plain).map_err(refuse)?;
    let end = |active: &ActiveSecret| ActiveUntil {
        until: active.until_s.map(Timestamp::from_seconds).map(Time::from),
    };
    let secrets = all.iter().map(end).collect();
    keep_secrets(&api, &mut source, all).await?;
    Ok(axum::Json(Rotated { source: answer(&source), secrets }))
}

pub(crate) async fn list_sources(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Paged(page): Paged,
) -> Result<axum::Json<List<Answer>>, Problem> {
    let sources = api.shared.store.source_list(&caller.scope, page.clone()).await?;
    Ok(page::answer(&page, &sources, |source| source.id.to_string(), answer))
}

pub(crate) async fn get_source(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Id(id): Id<SourceId>,
) -> Result<Tagged<Answer>, Problem> {
    let store = &api.shared.store;
    let source = answer(&store.source_get(&caller.scope, &id).await?);
    let poll = store.poll_state(&caller.scope, &id).await?;
    Ok(Tagged(Answer { poll: poll.map(Poll::from), ..source }))
}

/// Its secrets that are good now, opened, each with its end.
pub(crate) fn active_secrets(api: &Api, source: &Source) -> Result<Vec<ActiveSecret>, Problem> {
    let opened = api.vault.open(&sealed_for(source), &source.sealed_secrets);
    let now_s = api.shared.clock.now().as_seconds();
    let mut active = from_sealed(opened.map_err(|error| Problem::unavailable(&error))?);
    active.retain(|one| one.is_active(now_s));
    Ok(active)
}

/// The same without their ends: to be compared and checked, never to be kept.
pub(crate) fn secrets_of(api: &Api, source: &Source) -> Result<Vec<Secret>, Problem> {
    Ok(active_secrets(api, source)?.into_iter().map(|one| one.secret).collect())
}

/// Has a source hold these secrets; its settings stay. Whoever read them holds [`etag::alone`] since.
pub(crate) async fn keep_secrets(
    api: &Api,
    source: &mut Source,
    secrets: Vec<ActiveSecret>,
) -> Result<(), Problem> {
    source.sealed_secrets = seal(api, source, secrets)?;
    let wanted =
        SourceChange { sealed_secrets: Some(source.sealed_secrets.clone()), ..SourceChange::default() };
    api.shared.store.source_update(&source.scope, &source.id, wanted, api.shared.clock.now()).await?;
    api.shared.routes.forget();
    Ok(())
}

fn seal(api: &Api, source: &Source, secrets: Vec<ActiveSecret>) -> Result<Vec<u8>, Problem> {
    let sealed = api.vault.seal(&sealed_for(source), &to_sealed(secrets));
    sealed.map_err(|error| Problem::unavailable(&error))
}

/// Makes a source, or changes the one that is there. Without `secrets` those that it has stay, each until its own end.
pub(crate) async fn put(
    api: &Api,
    (mut source, is_new): (Source, bool),
    secrets: Option<Vec<Secret>>,
) -> Result<Source, Problem> {
    let poll = match &secrets {
        Some(secrets) => check(api, &source, secrets).await?,
        None => check(api, &source, &secrets_of(api, &source)?).await?,
    };
    let are_given = secrets.is_some();
    if let Some(secrets) = secrets {
        let endless = secrets.into_iter().map(|secret| ActiveSecret { secret, until_s: None });
        source.sealed_secrets = seal(api, &source, endless.collect())?;
    }
    let (store, now) = (&api.shared.store, api.shared.clock.now());
    if is_new {
        store.source_create(source.clone(), poll).await?;
    } else {
        let wanted = SourceChange {
            settings: Some(PolledSettings { settings: source.settings.clone(), poll }),
            sealed_secrets: are_given.then(|| source.sealed_secrets.clone()),
        };
        store.source_update(&source.scope, &source.id, wanted, now).await?;
    }
    api.shared.routes.forget();
    Ok(source)
}

/// Whether a source may be so and have these secrets; how often it is polled.
async fn check(api: &Api, source: &Source, secrets: &[Secret]) -> Result<Option<Duration>, Problem> {
    let refuse = |text: String| Problem::unprocessable("invalid-source", text);
    bounds::check(&source.settings, secrets.iter()).map_err(refuse)?;
    let sender = Sender::of(&source.system).ok_or_else(|| {
        let systems = Sender::ALL.map(Sender::system);
        Problem::unprocessable("unknown-system", format!("A source's system is one of {systems:?}."))
    })?;
    let settings: SourceSettings = serde_json::from_value(source.settings.clone())
        .map_err(|error| refuse(format!("settings: {error}")))?;
    let certificate_header = api.shared.settings.client_certificate_header.is_some();
    let settings = settings.check(sender, certificate_header);
    let settings = settings.map_err(|text| refuse(format!("settings: {text}")))?;
    let auth = settings.auth_of(sender);
    check_secrets(sender, auth, secrets).map_err(|text| refuse(text.to_owned()))?;
    if let Some(poll) = &settings.poll {
        check_poll(api, source, sender, poll).await?;
    }
    Ok(settings.poll.map(|poll| Duration::from_secs(poll.every_s)))
}

fn check_secrets(sender: Sender, auth: Auth, secrets: &[Secret]) -> Result<(), &'static str> {
    let long_enough = |secret: &Secret| secret.expose().len() >= SECRET_BYTES_MIN;
    match auth {
        Auth::ClientCertificate if secrets.is_empty() => Ok(()),
        Auth::ClientCertificate => Err("secrets: a source that asks for client certificates has none"),
        Auth::Basic if !secrets.iter().all(|secret| secret.expose().contains(':')) => {
            Err("secrets: give each as user:password")
        }
        // Stripe makes the secret when the source is registered there. Until then nobody is believed.
        Auth::Signature if sender == Sender::Stripe && secrets.is_empty() => Ok(()),
        Auth::Signature | Auth::Bearer | Auth::Basic
            if secrets.is_empty() || secrets.len() > SECRETS_MAX || !secrets.iter().all(long_enough) =>
        {
            Err("secrets: give 1 to 8 secrets of at least 16 characters (Stripe's begin with whsec_)")
        }
        Auth::Signature | Auth::Bearer | Auth::Basic => Ok(()),
    }
}

/// A source is polled through a connection to its own system, by a read of it.
async fn check_poll(api: &Api, source: &Source, sender: Sender, poll: &PollSettings) -> Result<(), Problem> {
    let refuse = |text: String| Problem::unprocessable("invalid-source", format!("settings: poll/{text}"));
    let row = api.shared.store.connection_get(&source.scope, &poll.connection).await;
    let row =
        row.map_err(|_| refuse("connection: there is no such connection in this environment".to_owned()))?;
    if row.connector != sender.system() {
        return Err(refuse(format!("connection: a connection to {} is needed", sender.system())));
    }
    let known = api.shared.registry.get(&row.connector).map(|connector| connector.operations());
    let read = |operation: &&Operation| operation.name == poll.operation && operation.effect == Effect::Read;
    if !poll.operation.ends_with(".changed") || known.unwrap_or_default().iter().find(read).is_none() {
        let text =
            "operation: it must be a read that tells what changed, as events.changed or customers.changed";
        return Err(refuse(text.to_owned()));
    }
    Ok(())
}

/// A source, without its secrets.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Source")]
pub(crate) struct Answer {
    id: SourceId,
    name: String,
    environment: Environment,
    system: String,
    settings: Value,
    /// Where senders send: `/hooks/src_…`
    path: String,
    created_at: Time,
    /// How its poll stands, when one source is asked for and it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    poll: Option<Poll>,
    /// Changes with its secrets; only for its tag.
    #[serde(skip)]
    secrets_sha256: [u8; 32],
}

/// How a poll stands.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Poll {
    due_at: Time,
    asked_at: Option<Time>,
    /// In a row.
    failures: u32,
    /// Why it failed; null when it did not.
    reason: Value,
}

impl From<PollState> for Poll {
    fn from(state: PollState) -> Self {
        Self {
            due_at: state.due_at.into(),
            asked_at: state.asked_at.map(Time::from),
            failures: state.failures,
            reason: state.reason,
        }
    }
}

/// A source whose secret was rotated.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Rotated {
    #[serde(flatten)]
    source: Answer,
    /// One for each secret that is good.
    secrets: Vec<ActiveUntil>,
}

/// How long a secret is good.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ActiveUntil {
    /// Null: without end.
    until: Option<Time>,
}

impl Seen for Answer {
    /// Polls come and go by themselves.
    fn tag(&self) -> String {
        etag::of(&(&self.id, &self.name, &self.settings, &self.secrets_sha256))
    }
}

fn answer(source: &Source) -> Answer {
    Answer {
        id: source.id.clone(),
        name: source.name.clone(),
        environment: source.scope.environment,
        system: source.system.clone(),
        settings: source.settings.clone(),
        path: format!("/hooks/{}", source.id),
        created_at: source.created_at.into(),
        poll: None,
        secrets_sha256: Sha256::digest(&source.sealed_secrets).into(),
    }
}

#[cfg(test)]
mod tests;
