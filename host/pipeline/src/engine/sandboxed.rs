//! The engine of the host: modules from the store, executed in the sandbox.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use async_trait::async_trait;
use portolan_domain::{
    ModuleDigest, TenantId,
    contract::{Description, Input},
};
use portolan_sandbox::{RunLimits, RunReport, Sandbox};
use portolan_store::{Store, StoreError};

use super::{Engine, Failure, ModuleError, Report};

/// Descriptions kept at most; beyond, all are forgotten and read again as they are needed.
const KEPT_MAX: usize = 20_000;

/// Executes modules in the sandbox.
#[derive(Debug)]
pub struct SandboxEngine {
    store: Arc<dyn Store>,
    sandbox: Sandbox,
    limits: RunLimits,
    /// A description never changes: its key is the digest of what it describes.
    descriptions: RwLock<HashMap<(TenantId, ModuleDigest), Arc<Description>>>,
}

impl SandboxEngine {
    /// With the same limits for every run.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, sandbox: Sandbox, limits: RunLimits) -> Self {
        Self { store, sandbox, limits, descriptions: RwLock::default() }
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

    async fn transform(
        &self,
        tenant: &TenantId,
        module: &ModuleDigest,
        input: Input,
    ) -> Result<Report, ModuleError> {
        let component = || async { self.store.module_component(tenant, module).await };
        let loaded = self.sandbox.load(module, component).await;
        let loaded = loaded.map_err(|error| ModuleError::Unavailable(Box::new(error)))?;
        Ok(report(self.sandbox.transform(tenant, &loaded, input, &self.limits).await))
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
    let verdict = report.verdict.map_err(|failure| Failure {
        code: format!("guest-{}", failure.code()),
        message: failure.to_string(),
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
