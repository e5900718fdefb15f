//! The API over a store of its own in this process: for tests of what the faces do with what they are asked.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, HeaderValue, Request, StatusCode, header},
};
use http_body_util::BodyExt;
use portolan_connectors::{Outbound, OutboundPolicy};
use portolan_domain::{
    Environment, EventId, Scope, Secret, SourceId, SystemClock, Timestamp, state::EventState,
};
use portolan_pipeline::{PipelineSettings, Shared, vault::Vault};
use portolan_sandbox::{CompilerCommand, Sandbox, SandboxSettings};
use portolan_store::{Store, event::Event, key::Role, sqlite::SqliteStore, tenant::Tenant};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::{Api, ApiSettings, new_key};

/// One tenant, whose admin asks.
pub(crate) struct Trial {
    pub(crate) api: Api,
    pub(crate) scope: Scope,
    router: Router,
    key: String,
    _folder: tempfile::TempDir,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl Answered {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }

    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl Trial {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = SqliteStore::open(&folder.path().join("portolan.db")).unwrap();
        let clock = Arc::new(SystemClock::new());
        let vault = Arc::new(Vault::new(&[7; 32]));
        let outbound = Outbound::new(OutboundPolicy { allow_loopback: true, ..OutboundPolicy::default() });
        let shared = Shared::new(store, clock, vault.clone(), outbound, PipelineSettings::default());
        let compiler = CompilerCommand { program: "none".into(), args: vec![] };
        let cache_key = Secret::new("a key of at least thirty-two bytes");
        let mut sandbox = SandboxSettings::new(folder.path().join("compiled"), cache_key, compiler);
        sandbox.guest_threads = 2;
        let sandbox = Sandbox::new(sandbox).unwrap();
        let metrics = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder().handle();
        let api = Api::new(shared, sandbox, vault, metrics, ApiSettings::default());
        let now = api.shared.clock.now();
        let tenant = Tenant::new("one".to_owned(), now);
        let (key, secret) =
            new_key(Role::TenantAdmin, Some(tenant.id.clone()), None, "of the test", now).unwrap();
        let scope = Scope { tenant: tenant.id.clone(), environment: Environment::Sandbox };
        api.shared.store.tenant_create_with_key(tenant, key).await.unwrap();
        let router = api.clone().router();
        Self { api, scope, router, key: secret.expose().to_owned(), _folder: folder }
    }

    /// A request by the tenant's admin.
    pub(crate) fn request(&self, method: &str, path: &str, body: &Value) -> Request<Body> {
        Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.key))
            .body(if body.is_null() { Body::empty() } else { Body::from(body.to_string()) })
            .unwrap()
    }

    /// In the environment.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: &Value) -> Answered {
        self.ask_having_seen(None, (method, path), body).await
    }

    /// The same, with `If-Match`.
    pub(crate) async fn ask_having_seen(
        &self,
        tag: Option<HeaderValue>,
        (method, path): (&str, &str),
        body: &Value,
    ) -> Answered {
        let mut request = self.request(method, &format!("/api/v1/environments/sandbox{path}"), body);
        request.headers_mut().extend(tag.map(|tag| (header::IF_MATCH, tag)));
        answered(&self.router, request).await
    }

    /// The same, which must succeed.
    pub(crate) async fn must(&self, method: &str, path: &str, body: &Value) -> Value {
        let answered = self.ask(method, path, body).await;
        assert!(answered.status.is_success(), "{method} {path}: {:#}", answered.json());
        answered.json()
    }

    /// Of the whole tenant.
    pub(crate) async fn ask_tenant(&self, path: &str) -> Answered {
        answered(&self.router, self.request("GET", &format!("/api/v1{path}"), &Value::Null)).await
    }

    /// A source of Stripe with one secret.
    pub(crate) async fn source(&self, name: &str) -> SourceId {
        let body = json!({ "name": name, "system": "stripe", "secrets": [format!("whsec_of_{name:0>20}")] });
        self.must("POST", "/sources", &body).await["id"].as_str().unwrap().parse().unwrap()
    }

    /// Stores an event that no mapping serves.
    pub(crate) async fn event(&self, source: &SourceId, object: &str, (at, payload): (Timestamp, Vec<u8>)) {
        let id = EventId::generate(at);
        let event = Event {
            idempotency_key: id.to_string(),
            id,
            scope: self.scope.clone(),
            source: source.clone(),
            source_name: "of the test".to_owned(),
            system: "stripe".to_owned(),
            kind: "charge.succeeded".to_owned(),
            object_id: Some(object.to_owned()),
            occurred_at: at,
            received_at: at,
            media_type: "application/json".to_owned(),
            payload,
            cards_masked: 0,
            state: EventState::Unrouted,
            reason: None,
            traceparent: None,
        };
        self.api.shared.store.event_accept(event, vec![]).await.unwrap();
    }
}

pub(crate) async fn answered(router: &Router, request: Request<Body>) -> Answered {
    let (parts, body) = router.clone().oneshot(request).await.unwrap().into_parts();
    let bytes = body.collect().await.unwrap().to_bytes().to_vec();
    Answered { status: parts.status, headers: parts.headers, bytes }
}
