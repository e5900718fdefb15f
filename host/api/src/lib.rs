//! The faces of the host that speak HTTP: hooks for senders, `/api/v1` for people and programs, and what
//! keeps an operator informed (`/healthz`, `/readyz`, `/metrics`).
//!
//! The cast: [`Api`] is what every handler shares; `auth` turns a Bearer key into a permission, and the
//! permission is a handler's argument type, so that a route without one does not compile into anything
//! useful; `problem` is how everything that goes wrong is told (RFC 9457); one file per noun holds its
//! handlers. The tenant comes from the key, never from the path; what belongs to another tenant is 404.
//!
//! This crate must not know SQL, wasmtime or how events are carried out: it asks store, sandbox and pipeline.

mod alerts;
mod answer;
mod audit;
mod auth;
mod backups;
mod body;
mod bounds;
mod connections;
mod deliveries;
mod desk;
mod etag;
mod events;
mod exports;
mod files;
mod health;
mod hooks;
mod idempotency;
mod keys;
mod lookups;
mod mappings;
mod modules;
mod notifications;
mod openapi;
mod overview;
mod page;
mod params;
mod pauses;
mod problem;
mod promotion;
mod query;
mod rates;
mod register;
mod remap;
mod replays;
mod runs;
pub mod schema;
pub mod server;
mod sheet;
mod signing;
mod sources;
mod standings;
mod story;
mod tenants;
#[cfg(test)]
mod trial;
mod usage;
mod vault;
mod versions;

use std::{path::PathBuf, sync::Arc};

use aide::axum::ApiRouter;
use axum::Router;
use metrics_exporter_prometheus::PrometheusHandle;
use portolan_pipeline::{Shared, engine::Engine, intake::Intake, rotation::Rotation, vault::Vault};
use portolan_sandbox::Sandbox;

pub use auth::{KeySecret, new_key};
pub use openapi::document;

/// Numbers that bound requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiSettings {
    /// Largest body of a hook, in bytes.
    pub hook_bytes_max: usize,
    /// Largest JSON body of the admin API, in bytes.
    pub json_bytes_max: usize,
    /// Largest module, in bytes.
    pub module_bytes_max: usize,
    /// How long a body may take to arrive, in milliseconds.
    pub body_ms_max: u64,
    /// Where a backup is kept while it is sent.
    pub backup_dir: PathBuf,
    /// What all bodies of hooks and JSON may hold in memory together, in bytes.
    pub bodies_bytes_max: usize,
    /// Modules that are uploaded at once.
    pub uploads_max: usize,
    /// Modules that one tenant uploads at once.
    pub uploads_per_tenant_max: usize,
    /// Requests that one key may make in a second, over time.
    pub requests_per_second: u32,
    /// Requests that one key may make at once after a quiet time.
    pub requests_burst: u32,
}

impl Default for ApiSettings {
    fn default() -> Self {
        Self {
            hook_bytes_max: 1 << 20,
            json_bytes_max: 4 << 20,
            module_bytes_max: 32 << 20,
            body_ms_max: 10_000,
            backup_dir: PathBuf::from("."),
            bodies_bytes_max: 256 << 20,
            uploads_max: 8,
            uploads_per_tenant_max: 2,
            requests_per_second: 200,
            requests_burst: 2_000,
        }
    }
}

/// What every handler shares.
#[derive(Clone)]
pub struct Api {
    shared: Shared,
    intake: Arc<Intake>,
    sandbox: Sandbox,
    vault: Arc<Vault>,
    rotation: Option<Arc<Rotation>>,
    engine: Option<Arc<dyn Engine>>,
    metrics: PrometheusHandle,
    settings: Arc<ApiSettings>,
    room: body::Room,
    uploads: modules::Uploads,
    rates: Arc<rates::Rates>,
    copies: backups::Copies,
    /// Held while something is changed as it was seen.
    changes: Arc<etag::Changes>,
    /// Requests with a key that this process carries out.
    under_way: idempotency::UnderWay,
    /// Held while responses are searched.
    searches: story::Searches,
}

impl Api {
    /// Puts together what handlers share.
    #[must_use]
    pub fn new(
        shared: Shared,
        sandbox: Sandbox,
        vault: Arc<Vault>,
        metrics: PrometheusHandle,
        settings: ApiSettings,
    ) -> Self {
        let intake = Arc::new(Intake::new(shared.clone()));
        let room = body::Room::new(settings.bodies_bytes_max);
        let uploads = modules::Uploads::new(&settings);
        let rates = Arc::new(rates::Rates::new(settings.requests_per_second, settings.requests_burst));
        Self {
            shared,
            intake,
            sandbox,
            vault,
            rotation: None,
            engine: None,
            metrics,
            settings: Arc::new(settings),
            room,
            uploads,
            rates,
            copies: backups::Copies::default(),
            changes: Arc::default(),
            under_way: idempotency::UnderWay::default(),
            searches: story::Searches::default(),
        }
    }

    /// With what executes modules, for events that are mapped again.
    #[must_use]
    pub fn with_engine(mut self, engine: Arc<dyn Engine>) -> Self {
        self.engine = Some(engine);
        self
    }

    /// With master keys that can be changed.
    #[must_use]
    pub fn with_rotation(mut self, rotation: Arc<Rotation>) -> Self {
        self.rotation = Some(rotation);
        self
    }

    /// All routes, served.
    pub fn router(self) -> Router {
        // Without the document, which is made when it is first asked for: it costs more than all else at the start.
        Router::from(routes())
            .fallback(problem::no_route)
            .method_not_allowed_fallback(problem::no_method)
            .layer(axum::middleware::from_fn_with_state(self.clone(), idempotency::once))
            .layer(axum::middleware::from_fn(problem::with_request_id))
            .with_state(self)
    }
}

/// All routes, and what the OpenAPI document says of them: every noun has its own.
fn routes() -> ApiRouter<Api> {
    let in_environment = ApiRouter::new()
        .merge(connections::routes())
        .merge(sources::routes())
        .merge(register::routes())
        .merge(lookups::routes())
        .merge(mappings::routes())
        .merge(versions::routes())
        .merge(promotion::routes())
        .merge(replays::routes())
        .merge(files::routes())
        .merge(events::routes())
        .merge(runs::routes())
        .merge(remap::routes())
        .merge(deliveries::routes())
        .merge(desk::routes())
        .merge(alerts::routes())
        .merge(notifications::routes())
        .merge(story::routes())
        .merge(backups::routes_of_environment());
    let v1 = ApiRouter::new()
        .merge(tenants::routes())
        .merge(overview::routes())
        .merge(alerts::routes_of_host())
        .merge(standings::routes())
        .merge(exports::routes())
        .merge(usage::routes())
        .merge(keys::routes())
        .merge(modules::routes())
        .merge(signing::routes())
        .merge(pauses::routes())
        .merge(sheet::routes())
        .merge(connections::routes_of_host())
        .merge(audit::routes())
        .merge(backups::routes())
        .merge(vault::routes())
        .nest("/environments/{environment}", in_environment);
    ApiRouter::new().merge(hooks::routes()).merge(health::routes()).nest("/api/v1", v1)
}
