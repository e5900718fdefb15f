//! The sandbox of the host, on the machine of a mapping's author: the same checks, the same compiler under the same
//! limits, the same calls. What it compiles and finds out is kept in the user's cache folder, so that a module that
//! has not changed is not compiled again.

use std::{fs, sync::Arc, time::UNIX_EPOCH};

use anyhow::Context;
use portolan_domain::{
    ModuleDigest, TenantId, Timestamp,
    contract::{Description, LogLine},
};
use portolan_sandbox::{
    AdmitError, Admitted, CompilerCommand, Module, ModuleLimits, Refusal, Sandbox, SandboxSettings,
};
use serde::{Deserialize, Serialize};

use super::cache::{Cache, plain};

/// A sandbox for one user.
pub(super) struct Local {
    pub(super) sandbox: Sandbox,
    tenant: TenantId,
    cache: Cache,
}

/// What is known of an admitted module.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Sheet {
    pub(super) digest: ModuleDigest,
    pub(super) description: Description,
    pub(super) imports: Vec<String>,
    pub(super) component_bytes: u64,
    pub(super) artifact_bytes: u64,
    pub(super) functions: u32,
    pub(super) core_instances: u64,
    pub(super) describe_fuel: u64,
    pub(super) describe_memory_bytes: u64,
    pub(super) warnings: Vec<String>,
    pub(super) log: Vec<LogLine>,
}

/// A module that production would admit, ready to be called.
pub(super) struct Ready {
    pub(super) sheet: Sheet,
    pub(super) module: Arc<Module>,
}

/// Whether production would admit an upload.
pub(super) enum Judged {
    Admitted(Box<Ready>),
    Refused(Refusal),
}

impl Local {
    pub(super) fn open() -> anyhow::Result<Self> {
        let cache = Cache::open()?;
        let program = std::env::current_exe().context("finding this program, which also compiles modules")?;
        let compiler = CompilerCommand { program, args: vec!["compile-module".into()] };
        let mut settings = SandboxSettings::new(cache.compiled(), cache.key()?, compiler);
        // Nobody else's events wait here; somebody at a keyboard does.
        settings.nice = 0;
        settings.compile.nice = 0;
        settings.guest_threads = 2;
        let tenant = TenantId::generate(Timestamp::from_millis(0));
        Ok(Self { sandbox: Sandbox::new(settings)?, tenant, cache })
    }

    /// Judges an upload as the host does, with the default limits of a tenant.
    pub(super) async fn judge(&self, upload: Vec<u8>) -> anyhow::Result<Judged> {
        let digest = ModuleDigest::of(&upload);
        let file =
            self.cache.verdicts().join(format!("{}-{}.json", plain(&digest.to_string()), program_mark()));
        if let Some(sheet) =
            fs::read(&file).ok().and_then(|bytes| serde_json::from_slice::<Sheet>(&bytes).ok())
        {
            let module = self.load(&digest, upload).await?;
            return Ok(Judged::Admitted(Box::new(Ready { sheet, module })));
        }
        let admitted = match self.sandbox.admit(&self.tenant, upload.clone(), &ModuleLimits::default()).await
        {
            Ok(admitted) => admitted,
            Err(AdmitError::Refused(refusal)) => return Ok(Judged::Refused(refusal)),
            Err(error @ (AdmitError::Busy | AdmitError::Unavailable(_))) => return Err(error.into()),
        };
        let sheet = sheet(admitted);
        fs::write(&file, serde_json::to_vec(&sheet)?).with_context(|| file.display().to_string())?;
        let module = self.load(&digest, upload).await?;
        Ok(Judged::Admitted(Box::new(Ready { sheet, module })))
    }

    /// A module that must be admitted to be of any use.
    ///
    /// # Errors
    /// Its refusal.
    pub(super) async fn admit(&self, upload: Vec<u8>) -> anyhow::Result<Ready> {
        match self.judge(upload).await? {
            Judged::Admitted(ready) => Ok(*ready),
            Judged::Refused(refusal) => {
                anyhow::bail!("{}: {}\n{}", refusal.code, refusal.message, refusal.remedy)
            }
        }
    }

    async fn load(&self, digest: &ModuleDigest, upload: Vec<u8>) -> anyhow::Result<Arc<Module>> {
        let module = self.sandbox.load(digest, || async { Ok::<_, std::io::Error>(upload) }).await?;
        self.cache.used(digest);
        Ok(module)
    }
}

fn sheet(admitted: Admitted) -> Sheet {
    let Admitted { digest, description, imports, stats, warnings, log, .. } = admitted;
    Sheet {
        digest,
        description,
        imports,
        component_bytes: stats.component_bytes as u64,
        artifact_bytes: stats.artifact_bytes as u64,
        functions: stats.functions,
        core_instances: stats.core_instances,
        describe_fuel: stats.describe_fuel,
        describe_memory_bytes: stats.describe_memory_bytes,
        warnings,
        log,
    }
}

/// What tells this build of the program from others: their limits and rules may differ.
fn program_mark() -> String {
    let file = std::env::current_exe().and_then(fs::metadata);
    let built = file.as_ref().ok().and_then(|file| file.modified().ok());
    let built = built.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    format!("{:x}-{:x}", file.map_or(0, |file| file.len()), built.as_nanos())
}
