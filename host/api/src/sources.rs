//! Sources. Signing secrets go in and never come out.

use axum::{extract::State, http::StatusCode};
use portolan_domain::{Secret, SourceId};
use portolan_pipeline::{
    routes::{SourceSettings, sealed_for},
    vault::Secrets,
};
use portolan_store::source::Source;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    Api,
    auth::{Admin, InScope, Viewer},
    body::Json,
    page::{self, Paged},
    params::Id,
    problem::Problem,
    tenants::check_name,
};

/// Systems whose events this host can check and read.
const SYSTEMS: [&str; 1] = ["stripe"];

/// Secrets of one source: two are active while one is rolled, a few more do no harm.
const SECRETS_MAX: usize = 8;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSource {
    name: String,
    system: String,
    #[serde(default)]
    settings: serde_json::Map<String, Value>,
    signing_secrets: Vec<Secret>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangedSource {
    settings: serde_json::Map<String, Value>,
    /// All active ones: the old and the new while a secret is rolled.
    signing_secrets: Vec<Secret>,
}

/// `POST …/sources`
pub(crate) async fn create_source(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Json(new): Json<NewSource>,
) -> Result<(StatusCode, axum::Json<Value>), Problem> {
    check_name(&new.name)?;
    if !SYSTEMS.contains(&new.system.as_str()) {
        let text = format!("A source's system is one of {SYSTEMS:?}.");
        return Err(Problem::unprocessable("unknown-system", text));
    }
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
    let source = seal_and_check(&api, source, new.signing_secrets)?;
    let answer = render(&source);
    api.shared.store.source_create(source).await?;
    Ok((StatusCode::CREATED, axum::Json(answer)))
}

/// `PUT …/sources/{id}`
pub(crate) async fn update_source(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Id(id): Id<SourceId>,
    Json(changed): Json<ChangedSource>,
) -> Result<axum::Json<Value>, Problem> {
    let mut source = api.shared.store.source_get(&caller.scope, &id).await?;
    source.settings = Value::Object(changed.settings);
    let source = seal_and_check(&api, source, changed.signing_secrets)?;
    let answer = render(&source);
    api.shared.store.source_update(&caller.scope, &id, source.settings, source.sealed_secrets).await?;
    api.shared.routes.forget();
    Ok(axum::Json(answer))
}

/// `GET …/sources`
pub(crate) async fn list_sources(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Paged(page): Paged,
) -> Result<axum::Json<Value>, Problem> {
    let sources = api.shared.store.source_list(&caller.scope, page.clone()).await?;
    Ok(axum::Json(page::answer(&page, &sources, |source| source.id.to_string(), render)))
}

/// `GET …/sources/{id}`
pub(crate) async fn get_source(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Id(id): Id<SourceId>,
) -> Result<axum::Json<Value>, Problem> {
    Ok(axum::Json(render(&api.shared.store.source_get(&caller.scope, &id).await?)))
}

fn seal_and_check(api: &Api, mut source: Source, secrets: Vec<Secret>) -> Result<Source, Problem> {
    if let Err(error) = serde_json::from_value::<SourceSettings>(source.settings.clone()) {
        return Err(Problem::unprocessable("invalid-source", format!("settings: {error}")));
    }
    let long_enough = |secret: &Secret| secret.expose().len() >= 16;
    if secrets.is_empty() || secrets.len() > SECRETS_MAX || !secrets.iter().all(long_enough) {
        let text =
            "signing_secrets: give 1 to 8 secrets of at least 16 characters (Stripe's begin with whsec_).";
        return Err(Problem::unprocessable("invalid-source", text));
    }
    let named = secrets.into_iter().enumerate().map(|(n, secret)| (format!("signing_secret.{n}"), secret));
    let sealed = api.vault.seal(&sealed_for(&source), &named.collect::<Secrets>());
    source.sealed_secrets = sealed.map_err(|error| Problem::unavailable(&error))?;
    Ok(source)
}

fn render(source: &Source) -> Value {
    json!({
        "id": source.id,
        "name": source.name,
        "environment": source.scope.environment,
        "system": source.system,
        "settings": source.settings,
        "path": format!("/hooks/{}", source.id),
        "created_at": source.created_at.to_string(),
    })
}
