//! What a test of a store needs around it: a tenant with a source, connections and a mapping; events, plans and
//! claims in one line each.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use portolan_domain::{
    AlertId, ConnectionId, DeliveryId, Environment, EventId, MappingId, ModuleDigest, RunId, Scope, SourceId,
    Timestamp,
    contract::{Description, Reference, ReferenceKey, Severity},
    state::{DeliveryState, EventState, RunState},
    verdict::CallFailure,
};
use serde_json::{Value, json};

use crate::{
    ClaimRequest, Finish, Store,
    alert::NewAlert,
    connection::ConnectionRow,
    delivery::{Delivery, DeliveryClaim, DeliveryEnd},
    event::{Accepted, Event, NewRun},
    mapping::{Life, Mapping},
    module::Module,
    run::{Decision, NewDelivery, RunClaim, RunEnd, RunRecord},
    source::Source,
    tenant::Tenant,
};

/// When the tests play.
pub const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// How long leases last in the tests.
pub const LEASE_MS: u64 = 30_000;

/// Seconds after [`START`].
#[must_use]
pub fn at(seconds: u64) -> Timestamp {
    START.plus(Duration::from_secs(seconds))
}

/// A tenant's world in one store.
#[derive(Clone)]
pub struct World {
    pub store: Arc<dyn Store>,
    pub scope: Scope,
    pub source: SourceId,
    pub connection: ConnectionId,
    pub mapping: MappingId,
}

impl World {
    /// A new tenant with one source, connection and mapping.
    pub async fn new(store: Arc<dyn Store>) -> Self {
        let mut tenant = Tenant::new(String::new(), START);
        tenant.name = tenant.id.to_string();
        let scope = Scope { tenant: tenant.id.clone(), environment: Environment::Production };
        store.tenant_create(tenant).await.unwrap();
        let world = Self {
            store,
            scope,
            source: SourceId::generate(START),
            connection: ConnectionId::generate(START),
            mapping: MappingId::generate(START),
        };
        world.store.source_create(world.a_source("hooks"), None).await.unwrap();
        world.store.connection_create(world.a_connection("erp")).await.unwrap();
        world.store.module_create(world.a_module(b"m"), b"m".to_vec()).await.unwrap();
        world.store.mapping_create(world.a_mapping("orders")).await.unwrap();
        world
    }

    #[must_use]
    pub fn a_source(&self, name: &str) -> Source {
        Source {
            id: self.source.clone(),
            scope: self.scope.clone(),
            name: name.to_owned(),
            system: "stripe".to_owned(),
            settings: json!({"tolerance_s": 300}),
            sealed_secrets: vec![1, 2, 3],
            created_at: START,
        }
    }

    #[must_use]
    pub fn a_connection(&self, name: &str) -> ConnectionRow {
        ConnectionRow {
            id: self.connection.clone(),
            scope: self.scope.clone(),
            name: name.to_owned(),
            connector: "sap-ecc".to_owned(),
            settings: json!({"client": "100"}),
            sealed_secrets: vec![4, 5],
            revision: 1,
            paused: None,
            created_at: START,
        }
    }

    #[must_use]
    pub fn a_module(&self, component: &[u8]) -> Module {
        Module {
            digest: ModuleDigest::of(component),
            tenant: self.scope.tenant.clone(),
            description: Description {
                name: "stripe-to-sap-ecc".to_owned(),
                version: "1.0.0".to_owned(),
                summary: "Orders.".to_owned(),
                serves: vec![],
                connections: vec![],
                tables: vec![],
                settings_schema: json!({"type": "object"}),
            },
            component_bytes: component.len() as u64,
            sheet: Value::Null,
            signed: None,
            paused: None,
            uploaded_at: START,
        }
    }

    #[must_use]
    pub fn a_mapping(&self, name: &str) -> Mapping {
        Mapping {
            id: self.mapping.clone(),
            scope: self.scope.clone(),
            name: name.to_owned(),
            source: self.source.clone(),
            kinds: vec!["charge.*".to_owned()],
            module: ModuleDigest::of(b"m"),
            settings: json!({"plant": "1000"}),
            connections: BTreeMap::from([("erp".to_owned(), self.connection.clone())]),
            enabled: true,
            life: Life { pin: 1, ..Life::default() },
            created_at: START,
        }
    }

    /// Another connection of this tenant.
    pub async fn another_connection(&self, name: &str) -> ConnectionId {
        let row = ConnectionRow { id: ConnectionId::generate(START), ..self.a_connection(name) };
        let id = row.id.clone();
        self.store.connection_create(row).await.unwrap();
        id
    }

    #[must_use]
    pub fn an_event(&self, object: Option<&str>) -> Event {
        let id = EventId::generate(START);
        Event {
            idempotency_key: format!("of {id}"),
            id,
            scope: self.scope.clone(),
            source: self.source.clone(),
            source_name: "hooks".to_owned(),
            system: "stripe".to_owned(),
            kind: "charge.succeeded".to_owned(),
            object_id: object.map(str::to_owned),
            occurred_at: START,
            received_at: START,
            media_type: "application/json".to_owned(),
            payload: br#"{"amount": 1.10}"#.to_vec(),
            state: EventState::Routed,
            reason: None,
            cards_masked: 0,
            traceparent: None,
        }
    }

    #[must_use]
    pub fn a_run(&self) -> NewRun {
        NewRun { id: RunId::generate(START), mapping: self.mapping.clone() }
    }

    /// Accepts a new event about this object, with one run.
    pub async fn accept(&self, object: &str) -> (EventId, RunId) {
        let (event, run) = (self.an_event(Some(object)), self.a_run());
        let ids = (event.id.clone(), run.id.clone());
        assert_eq!(self.store.event_accept(event, vec![run]).await.unwrap(), Accepted::New);
        ids
    }

    pub async fn claim_runs(&self, now: Timestamp) -> Vec<RunClaim> {
        self.store.run_claim(request("one", now)).await.unwrap()
    }

    pub async fn claim_run(&self, now: Timestamp) -> RunClaim {
        let mut claims = self.claim_runs(now).await;
        assert_eq!(claims.len(), 1, "exactly one run is due");
        claims.remove(0)
    }

    pub async fn claim_deliveries(&self, now: Timestamp) -> Vec<DeliveryClaim> {
        self.store.delivery_claim(request("one", now)).await.unwrap()
    }

    pub async fn claim_delivery(&self, now: Timestamp) -> DeliveryClaim {
        let mut claims = self.claim_deliveries(now).await;
        assert_eq!(claims.len(), 1, "exactly one delivery is due");
        claims.remove(0)
    }

    pub async fn finish_run(&self, claim: &RunClaim, end: RunEnd, now: Timestamp) {
        let finish = self.store.run_finish(&claim.id, &claim.lease, record(), end, now).await.unwrap();
        assert_eq!(finish, Finish::Done);
    }

    pub async fn finish_delivery(&self, claim: &DeliveryClaim, end: DeliveryEnd, now: Timestamp) {
        let finish = self.store.delivery_finish(&claim.id, &claim.lease, None, end, now).await.unwrap();
        assert_eq!(finish, Finish::Done);
    }

    /// Accepts an event and plans these deliveries for it at once, in the order of this key. The event is about
    /// something else than others with the key, so that its run waits for none. Everything else that is due must
    /// have been claimed.
    pub async fn planned(&self, ordering_key: &str, deliveries: Vec<NewDelivery>) -> RunId {
        let about = deliveries.first().map_or("nothing", |delivery| &delivery.key);
        let (_, run) = self.accept(&format!("{about} of {ordering_key}")).await;
        let claim = self.claim_run(START).await;
        self.finish_run(&claim, plan(ordering_key, deliveries), START).await;
        run
    }

    #[must_use]
    pub fn a_delivery(&self, key: &str, after: &[&str]) -> NewDelivery {
        NewDelivery {
            id: DeliveryId::generate(START),
            key: key.to_owned(),
            call_id: format!("call of {key}"),
            connection: self.connection.clone(),
            operation: "sales-order.create".to_owned(),
            body: json!({"key": key}),
            after: after.iter().map(|key| (*key).to_owned()).collect(),
            bindings: vec![],
            unless: None,
            once: None,
            captures: vec![],
            ledger: vec![],
        }
    }

    pub async fn run_state(&self, id: &RunId) -> RunState {
        self.store.run_get(&self.scope, id).await.unwrap().state
    }

    pub async fn delivery(&self, run: &RunId, key: &str) -> Delivery {
        let all = self.store.delivery_of_run(&self.scope, run).await.unwrap();
        all.into_iter().find(|delivery| delivery.key == key).unwrap()
    }

    pub async fn delivery_of(&self, id: &DeliveryId) -> Delivery {
        self.store.delivery_get(&self.scope, id).await.unwrap()
    }

    /// Another tenant in the same store.
    pub async fn another_world(&self) -> Self {
        Self::new(self.store.clone()).await
    }

    pub async fn delivery_state(&self, run: &RunId, key: &str) -> DeliveryState {
        self.delivery(run, key).await.state
    }
}

/// A claim of anything that is due.
#[must_use]
pub fn request(owner: &str, now: Timestamp) -> ClaimRequest {
    ClaimRequest {
        owner: owner.to_owned(),
        now,
        lease_ms: LEASE_MS,
        rows_max: 100,
        room: BTreeMap::new(),
        lane_room: 100,
        tenant_room: BTreeMap::new(),
        tenant_room_max: usize::MAX,
    }
}

#[must_use]
pub fn record() -> RunRecord {
    RunRecord {
        module: Some(ModuleDigest::of(b"m")),
        settings: json!({"plant": "1000"}),
        attempt: 1,
        is_canary: false,
        shadow: None,
        outcome: json!({"skip": "for the record"}),
        facts: json!([]),
        log: json!([{"level": "info", "message": "hello"}]),
        cost: json!({"fuel": 123_456}),
    }
}

#[must_use]
pub fn plan(ordering_key: &str, deliveries: Vec<NewDelivery>) -> RunEnd {
    RunEnd::Planned {
        deliveries,
        ordering_key: ordering_key.to_owned(),
        references: vec![],
        alerts: vec![],
        held: None,
    }
}

#[must_use]
pub fn held(ordering_key: &str, deliveries: Vec<NewDelivery>, references: Vec<Reference>) -> RunEnd {
    RunEnd::Planned {
        deliveries,
        ordering_key: ordering_key.to_owned(),
        references,
        alerts: vec![],
        held: Some("a large amount".to_owned()),
    }
}

#[must_use]
pub fn why(code: &str) -> Value {
    json!({"code": code, "message": "because"})
}

#[must_use]
pub fn delivered(response: Value) -> DeliveryEnd {
    DeliveryEnd::Delivered { response, adopted: false, references: vec![] }
}

#[must_use]
pub fn dead() -> DeliveryEnd {
    DeliveryEnd::Dead { failure: CallFailure::permanent("period-closed", "closed"), alerts: vec![] }
}

#[must_use]
pub fn decision(now: Timestamp) -> Decision {
    Decision { by: "key_of_anna".to_owned(), why: "I looked".to_owned(), at: now }
}

#[must_use]
pub fn reference(id: &str) -> Reference {
    Reference { key: reference_key(), system: "sap-ecc".to_owned(), id: id.to_owned() }
}

#[must_use]
pub fn reference_key() -> ReferenceKey {
    ReferenceKey { kind: "stripe.customer".to_owned(), id: "cus_1".to_owned() }
}

#[must_use]
pub fn alert(severity: Severity, now: Timestamp) -> NewAlert {
    NewAlert {
        id: AlertId::generate(now),
        severity,
        code: "signature-mismatch".to_owned(),
        title: "A signature did not match".to_owned(),
        detail: json!({"at": now.as_millis()}),
        at: now,
    }
}
