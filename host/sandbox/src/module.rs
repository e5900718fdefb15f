//! A loaded module: compiled code in memory, linked as far as possible without an instance.

use std::fmt;

use portolan_domain::ModuleDigest;
use wasmtime::{
    Engine,
    component::{Component, ComponentExportIndex, InstancePre},
};

use crate::{
    interfaces::MAPPER,
    linker,
    refusal::{self, Refusal},
    state::RunState,
};

/// A module that is ready to run. Cheap to share; holds no state of any run.
pub struct Module {
    digest: ModuleDigest,
    pub(crate) pre: InstancePre<RunState>,
    pub(crate) describe: ComponentExportIndex,
    pub(crate) transform: ComponentExportIndex,
    artifact_bytes: usize,
}

impl Module {
    /// Links a compiled component.
    pub(crate) fn link(
        engine: &Engine,
        digest: ModuleDigest,
        component: &Component,
        artifact_bytes: usize,
    ) -> Result<Self, Refusal> {
        let mapper = component.get_export_index(None, MAPPER).ok_or_else(|| missing(MAPPER))?;
        let function =
            |name: &str| component.get_export_index(Some(&mapper), name).ok_or_else(|| missing(name));
        let (describe, transform) = (function("describe")?, function("transform")?);
        let pre = linker::link(engine, component)?;
        Ok(Self { digest, pre, describe, transform, artifact_bytes })
    }

    /// Its identity: the digest of what was uploaded.
    #[must_use]
    pub const fn digest(&self) -> &ModuleDigest {
        &self.digest
    }

    /// Bytes of its compiled artifact.
    #[must_use]
    pub const fn artifact_bytes(&self) -> usize {
        self.artifact_bytes
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module").field("digest", &self.digest).finish_non_exhaustive()
    }
}

fn missing(name: &str) -> Refusal {
    Refusal::new(
        refusal::EXPORT_MISSING,
        format!("the module does not export `{name}`"),
        "implement the world `mapping` of portolan:mapping@1.0.0 and export its `mapper`",
    )
}
