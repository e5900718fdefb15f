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
mod auth;
mod body;
mod connections;
mod deliveries;
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
mod register;
mod runs;
mod schema;
pub mod server;
mod sources;
mod tenants;

use std::sync::Arc;

use axum::{
    Router,
    routing::{get, post},
};
use metrics_exporter_prometheus::PrometheusHandle;
use portolan_pipeline::{Shared, intake::Intake, vault::Vault};
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
}

impl Default for ApiSettings {
    fn default() -> Self {
        Self {
            hook_bytes_max: 1 << 20,
            json_bytes_max: 4 << 20,
            module_bytes_max: 32 << 20,
            body_ms_max: 10_000,
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
    metrics: PrometheusHandle,
    settings: Arc<ApiSettings>,
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
        Self { shared, intake, sandbox, vault, metrics, settings: Arc::new(settings) }
    }

    /// All routes.
    pub fn router(self) -> Router {
        let in_environment = Router::new()
            .route("/connections", get(connections::list_connections).post(connections::create_connection))
            .route("/connections/{id}", get(connections::get_connection).put(connections::update_connection))
            .route("/connections/{id}/test", post(connections::test_connection))
            .route("/sources", get(sources::list_sources).post(sources::create_source))
            .route("/sources/{id}", get(sources::get_source).put(sources::update_source))
            .route("/sources/{id}/register", post(register::register_source))
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
            .route("/deliveries/{id}", get(deliveries::get_delivery))
            .route("/deliveries/{id}/redrive", post(deliveries::redrive_delivery))
            .route("/deliveries/{id}/adopt", post(deliveries::adopt_delivery))
            .route("/deliveries/{id}/cancel", post(deliveries::cancel_delivery))
            .route("/references", get(events::find_references))
            .route("/alerts", get(alerts::list_alerts))
            .route("/alerts/{id}/resolve", post(alerts::resolve_alert));
        let v1 = Router::new()
            .route("/tenants", get(tenants::list_tenants).post(tenants::create_tenant))
            .route("/tenants/{tenant}/keys", get(keys::list_keys).post(keys::create_key))
            .route("/tenants/{tenant}/keys/{id}", axum::routing::delete(keys::delete_key))
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
