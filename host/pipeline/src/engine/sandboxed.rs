//! The engine of the host: modules from the store, executed in the sandbox.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use async_trait::async_trait;
use portolan_domain::{ModuleDigest, TenantId, contract::Description};
use portolan_sandbox::{GuestFailure, RunLimits, RunReport, Sandbox, Turn};
use portolan_store::{Store, StoreError, run::Executing};

use super::{Call, Engine, Failure, ModuleError, Report};
use crate::Witness;

/// Descriptions kept at most; beyond, all are forgotten and read again as they are needed.
const KEPT_MAX: usize = 20_000;

/// Executes modules in the sandbox.
#[derive(Debug)]
pub struct SandboxEngine {
    store: Arc<dyn Store>,
    sandbox: Sandbox,
    limits: RunLimits,
    witness: Arc<Witness>,
    /// A description never changes: its key is the digest of what it describes.
    descriptions: RwLock<HashMap<(TenantId, ModuleDigest), Arc<Description>>>,
}

impl SandboxEngine {
    /// With the same limits for every run.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, sandbox: Sandbox, limits: RunLimits, witness: Witness) -> Self {
        Self { store, sandbox, limits, witness: Arc::new(witness), descriptions: RwLock::default() }
    }
}

#[async_trait]
impl Engine for SandboxEngine {
    async fn description(
        &self,
        tenant: &TenantId,
        module: &ModuleDigest,
    ) -> Result<Arc<Description>, ModuleError> {
        let key = (tenant.clone(), module.clone());
        let kept = self.descriptions.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(description) = kept {
            return Ok(description);
        }
        let row = self.store.module_get(tenant, module).await.map_err(|error| absent(error, module))?;
        let description = Arc::new(row.description);
        let mut kept = self.descriptions.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        kept.insert(key, description.clone());
        Ok(description)
    }

    async fn transform(&self, call: Call<'_>) -> Result<Report, ModuleError> {
        let Call { tenant, module, run, suspect, behind, input } = call;
        let component = || async { self.store.module_component(tenant, module).await };
        let loaded = self.sandbox.load(module, component).await;
        let loaded = loaded.map_err(|error| ModuleError::Unavailable(Box::new(error)))?;
        let executing = Executing { run: run.clone(), module: module.clone() };
        let (witness, input) = (self.witness.clone(), Arc::new(input));
        let seen = input.clone();
        let around = move |execute: &mut dyn FnMut()| {
            witness.see(&executing, suspect, || {
                portolan_proof::strike(&seen.event.payload);
                execute();
            });
        };
        let turn = (tenant, if behind { Turn::Behind } else { Turn::Live });
        Ok(report(self.sandbox.transform_seen(turn, &loaded, input, &self.limits, around).await))
    }

    fn witness(&self) -> Option<&Witness> {
        Some(&self.witness)
    }
}

fn absent(error: StoreError, module: &ModuleDigest) -> ModuleError {
    match error {
        StoreError::NotFound => ModuleError::Unknown(module.clone()),
        error @ (StoreError::Conflict(_) | StoreError::Unavailable(_) | StoreError::Corrupt { .. }) => {
            ModuleError::Unavailable(Box::new(error))
        }
    }
}

fn report(report: RunReport) -> Report {
    let text = report.failure_text();
    let verdict = report.verdict.map_err(|failure| Failure {
        // What the host did is not said of the guest.
        code: if failure == GuestFailure::HostPanic {
            failure.code().to_owned()
        } else {
            format!("guest-{}", failure.code())
        },
        message: text.unwrap_or_else(|| failure.to_string()),
        retryable: failure.is_retryable(),
    });
    Report {
        verdict,
        log: report.log,
        log_dropped: report.log_dropped,
        fuel: report.cost.fuel,
        wall_us: report.cost.wall_us,
        memory_bytes: report.cost.memory_bytes_max,
        input_bytes: report.cost.input_bytes,
        output_bytes: report.cost.output_bytes,
    }
}
