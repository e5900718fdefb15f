//! A sandbox with folders of its own, and the inputs that tests use.

use std::{path::PathBuf, sync::Arc};

use portolan_domain::{
    Environment, Secret, TenantId, Timestamp,
    contract::{EventFacts, Input, Outcome},
};
use portolan_sandbox::{
    AdmitError, Admitted, CompilerCommand, Module, ModuleLimits, Refusal, RunLimits, RunReport, Sandbox,
    SandboxSettings,
};
use serde_json::json;

use crate::guests::Guest;

pub(crate) struct Setup {
    pub(crate) sandbox: Sandbox,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) tenant: TenantId,
}

pub(crate) fn settings(folder: &tempfile::TempDir) -> SandboxSettings {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_portolan-compile-worker"));
    let compiler = CompilerCommand { program, args: vec![] };
    let key = Secret::new("a key of at least thirty-two bytes");
    let mut settings = SandboxSettings::new(folder.path().join("compiled"), key, compiler);
    settings.guest_threads = 2;
    // Behind everything else on a busy machine, the tests would take minutes.
    settings.nice = 0;
    settings.compile.nice = 0;
    settings
}

impl Setup {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut SandboxSettings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = settings(&folder);
        change(&mut settings);
        Self { sandbox: Sandbox::new(settings).unwrap(), folder, tenant: tenant(1) }
    }

    pub(crate) async fn admit(&self, upload: Vec<u8>) -> Admitted {
        self.sandbox.admit(&self.tenant, upload, &ModuleLimits::default()).await.unwrap()
    }

    pub(crate) async fn refusal(&self, upload: Vec<u8>) -> Refusal {
        match self.sandbox.admit(&self.tenant, upload, &ModuleLimits::default()).await {
            Err(AdmitError::Refused(refusal)) => refusal,
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    /// Admits and loads.
    pub(crate) async fn module(&self, upload: Vec<u8>) -> Arc<Module> {
        let admitted = self.admit(upload).await;
        self.sandbox.load(&admitted.digest, unreachable).await.unwrap()
    }

    pub(crate) async fn guest(&self, guest: &Guest) -> Arc<Module> {
        self.module(guest.component()).await
    }

    pub(crate) async fn run(&self, module: &Arc<Module>) -> RunReport {
        self.run_with(module, &RunLimits::default()).await
    }

    pub(crate) async fn run_with(&self, module: &Arc<Module>, limits: &RunLimits) -> RunReport {
        self.sandbox.transform(&self.tenant, module, charge(), limits).await
    }

    pub(crate) async fn transform(&self, instructions: &str) -> RunReport {
        let module = self.guest(&Guest::transforming(instructions)).await;
        self.run(&module).await
    }
}

/// For a load that must find the module without it.
pub(crate) async fn unreachable() -> Result<Vec<u8>, std::io::Error> {
    Err(std::io::Error::other("the stored component was asked for"))
}

pub(crate) fn tenant(number: u64) -> TenantId {
    TenantId::generate(Timestamp::from_millis(number))
}

pub(crate) fn skipped(report: &RunReport) -> &str {
    match &report.verdict {
        Ok(Outcome::Skip(reason)) => reason,
        other => panic!("expected a skip, got {other:?}"),
    }
}

pub(crate) fn failure(report: &RunReport) -> &'static str {
    report.verdict.as_ref().unwrap_err().code()
}

pub(crate) fn charge() -> Input {
    let payload = json!({
        "id": "evt_1PqR7s", "object": "event", "type": "charge.succeeded", "created": 1_763_600_000,
        "data": {"object": {
            "id": "ch_3PqR7s", "object": "charge", "amount": 12_950, "amount_captured": 12_950,
            "captured": true, "currency": "usd", "customer": "cus_Pq7", "created": 1_763_600_000,
            "status": "succeeded", "paid": true, "metadata": {}, "payment_intent": null, "invoice": null,
            "billing_details": {"name": "Jenny Rosen", "email": "jenny@example.com"}
        }}
    });
    Input {
        event: EventFacts {
            id: "evt_01JD5T3Z9Y6W8V7U5S4R3Q2P1N".into(),
            source: "stripe-live".into(),
            system: "stripe".into(),
            kind: "charge.succeeded".into(),
            object_id: Some("ch_3PqR7s".into()),
            occurred_at: Timestamp::from_seconds(1_763_600_000),
            received_at: Timestamp::from_millis(1_763_600_001_234),
            media_type: "application/json".into(),
            payload: payload.to_string(),
        },
        environment: Environment::Sandbox,
        attempt: 1,
        settings: json!({}),
        facts: vec![],
    }
}
