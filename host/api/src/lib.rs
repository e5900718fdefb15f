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
mod audit;
mod auth;
mod backups;
mod body;
mod connections;
mod deliveries;
mod desk;
mod events;
mod health;
mod hooks;
mod keys;
mod lookups;
mod mappings;
mod modules;
mod page;
mod params;
mod problem;
mod query;
mod register;
mod runs;
mod schema;
pub mod server;
mod sources;
mod tenants;
mod vault;

use std::{path::PathBuf, sync::Arc};

use axum::{
    Router,
    routing::{get, post},
};
use metrics_exporter_prometheus::PrometheusHandle;
use portolan_pipeline::{Shared, intake::Intake, rotation::Rotation, vault::Vault};
use portolan_sandbox::Sandbox;

pub use auth::{KeySecret, new_key};

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
    metrics: PrometheusHandle,
    settings: Arc<ApiSettings>,
    room: body::Room,
    uploads: modules::Uploads,
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
        let (rotation, settings) = (None, Arc::new(settings));
        Self { shared, intake, sandbox, vault, rotation, metrics, settings, room, uploads }
    }

    /// With master keys that can be changed.
    #[must_use]
    pub fn with_rotation(mut self, rotation: Arc<Rotation>) -> Self {
        self.rotation = Some(rotation);
        self
    }

    /// All routes.
    pub fn router(self) -> Router {
        let in_environment = Router::new()
            .route("/connections", get(connections::list_connections).post(connections::create_connection))
            .route("/connections/{id}", get(connections::get_connection).put(connections::update_connection))
            .route("/connections/{id}/test", post(connections::test_connection))
            .route("/connections/{id}/pause", post(connections::pause_connection))
            .route("/connections/{id}/resume", post(connections::resume_connection))
            .route("/connections/{id}/reset", post(connections::reset_connection))
            .route("/sources", get(sources::list_sources).post(sources::create_source))
            .route("/sources/{id}", get(sources::get_source).put(sources::update_source))
            .route("/sources/{id}/register", post(register::register_source))
            .route("/sources/{id}/rotate", post(sources::rotate_secret))
            .route("/lookup-tables", get(lookups::list_tables))
            .route("/lookup-tables/{table}/rows", get(lookups::list_rows).put(lookups::put_rows))
            .route("/lookup-tables/{table}/rows/{key}", get(lookups::get_row).delete(lookups::delete_row))
            .route("/mappings", get(mappings::list_mappings).post(mappings::create_mapping))
            .route("/mappings/{id}", get(mappings::get_mapping).patch(mappings::update_mapping))
            .route("/events", get(events::list_events))
            .route("/events/{id}", get(events::get_event))
            .route("/events/{id}/payload", get(events::get_payload))
            .route("/runs", get(runs::list_runs))
            .route("/runs/{id}", get(runs::get_run))
            .route("/runs/{id}/redrive", post(runs::redrive_run))
            .route("/holds", get(runs::list_holds))
            .route("/holds/{id}/approve", post(runs::approve_hold))
            .route("/holds/{id}/refuse", post(runs::refuse_hold))
            .route("/deliveries", get(deliveries::list_deliveries))
            .route("/deliveries/redrive", post(deliveries::redrive_deliveries))
            .route("/deliveries/{id}", get(deliveries::get_delivery))
            .route("/deliveries/{id}/redrive", post(deliveries::redrive_delivery))
            .route("/deliveries/{id}/adopt", post(deliveries::adopt_delivery))
            .route("/deliveries/{id}/cancel", post(deliveries::cancel_delivery))
            .route("/deliveries/{id}/correct", post(deliveries::correct_delivery))
            .route("/deliveries/{id}/assign", post(deliveries::assign_delivery))
            .route("/deliveries/{id}/resolve", post(deliveries::resolve_delivery))
            .route("/settings", get(desk::get_settings).put(desk::put_settings))
            .route("/proposals", get(desk::list_proposals))
            .route("/references", get(events::find_references))
            .route("/reconciliation", get(backups::get_reconciliation))
            .route("/reconciliation/end", post(backups::end_reconciliation))
            .route("/alerts", get(alerts::list_alerts))
            .route("/alerts/{id}/resolve", post(alerts::resolve_alert));
        let v1 = Router::new()
            .route("/tenants", get(tenants::list_tenants).post(tenants::create_tenant))
            .route("/tenants/{tenant}/keys", get(keys::list_keys).post(keys::create_key))
            .route("/tenants/{tenant}/keys/{id}", axum::routing::delete(keys::delete_key))
            .route("/key/rotate", post(keys::rotate_key))
            .route("/audit", get(audit::list_audit))
            .route("/audit/verify", get(audit::verify_audit))
            .route("/backup", post(backups::take_backup))
            .route("/reconciliations", get(backups::list_reconciliations))
            .route("/vault/rotate", post(vault::rotate_master_key))
            .route("/connectors", get(connections::list_connectors))
            .route("/modules", get(modules::list_modules).post(modules::upload_module))
            .route("/modules/{digest}", get(modules::get_module))
            .nest("/environments/{environment}", in_environment);
        Router::new()
            .route("/hooks/{source}", post(hooks::receive))
            .nest("/api/v1", v1)
            .route("/healthz", get(health::healthz))
            .route("/readyz", get(health::readyz))
            .route("/metrics", get(health::metrics))
            .fallback(problem::no_route)
            .method_not_allowed_fallback(problem::no_method)
            .layer(axum::middleware::from_fn(problem::with_request_id))
            .with_state(self)
    }
}
