//! The face of the crate: admit an upload, load a module, call it.

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
};

use portolan_domain::{
    ModuleDigest, TenantId,
    contract::{Description, Input, LogLine},
};
use tokio::sync::oneshot;
use wasmtime::Engine;

use crate::{
    artifact::Artifacts,
    compiler::{CompileError, Compiled, Compiler, Purpose},
    description,
    engine::{self, EngineId},
    interfaces::WASI_PREVIEW1,
    limits::{ModuleLimits, RunLimits},
    loaded::Loaded,
    module::Module,
    observe,
    refusal::{self, AdmitError, LoadError, Refusal, SandboxError},
    report::{Cost, GuestFailure, RunReport},
    run::Runner,
    settings::SandboxSettings,
    structure::{self, Depth, Form, Structure},
    threads::{BEHIND_THREADS, GuestThreads, Turn},
    ticker::Ticker,
    uploads::Uploads,
};

/// Instances beyond one per guest thread, for [`Sandbox::transform_here`].
const SPARE_SLOTS: usize = 4;
/// Refusals by the compile worker's limits that are remembered, so that a repeat costs nothing.
const REMEMBERED_MAX: usize = 1_000;

/// Admits, loads and runs modules. Cheap to clone; the clones share everything.
///
/// Nothing it does is durable except the compiled cache, whose loss costs time only.
#[derive(Clone)]
pub struct Sandbox {
    inner: Arc<Inner>,
}

struct Inner {
    runner: Arc<Runner>,
    threads: GuestThreads,
    compiler: Compiler,
    artifacts: Arc<Artifacts>,
    loaded: Loaded,
    uploads: Uploads,
    costly: Mutex<HashMap<(ModuleDigest, ModuleLimits), Refusal>>,
}

/// An upload that was admitted: to be stored with `component`, under `digest`.
#[derive(Clone)]
pub struct Admitted {
    /// The digest of the bytes that were uploaded: the module's identity.
    pub digest: ModuleDigest,
    /// The component: what was uploaded, or what was made of the core module that was.
    pub component: Vec<u8>,
    /// What the module says about itself, checked.
    pub description: Description,
    /// What it imports, by name.
    pub imports: Vec<String>,
    /// What it exports, by name.
    pub exports: Vec<String>,
    /// What it consists of and what it cost to check.
    pub stats: ModuleStats,
    /// What its author should know, though it is no reason to refuse.
    pub warnings: Vec<String>,
    /// What `describe` logged.
    pub log: Vec<LogLine>,
}

/// What a module consists of and what it cost to check.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct ModuleStats {
    /// Bytes of the component.
    pub component_bytes: usize,
    /// Bytes of machine code and data.
    pub artifact_bytes: usize,
    /// Functions in all core modules.
    pub functions: u32,
    /// Core instances of one run.
    pub core_instances: u64,
    /// Fuel that `describe` took.
    pub describe_fuel: u64,
    /// Memory that `describe` took.
    pub describe_memory_bytes: u64,
}

impl Sandbox {
    /// Starts the guest threads and opens the compiled cache.
    ///
    /// # Errors
    /// A setting that is not usable, or a thread or folder that cannot be had.
    pub fn new(settings: SandboxSettings) -> Result<Self, SandboxError> {
        check(&settings)?;
        let SandboxSettings { metering, compile, .. } = settings;
        let slots = u32::try_from(settings.guest_threads.saturating_add(SPARE_SLOTS + BEHIND_THREADS))
            .unwrap_or(u32::MAX);
        let engine = engine::for_running(metering, &settings.pool, slots)?;
        let engine_id = EngineId::of(&engine);
        let artifacts = Artifacts::open(
            settings.compiled_dir,
            &settings.cache_key,
            engine_id,
            compile.artifact_bytes_max,
        )?;
        let ticked = engine.clone();
        let ticker = Ticker::start(settings.epoch_tick, move || ticked.increment_epoch())?;
        let threads = GuestThreads::start(settings.guest_threads, settings.nice, settings.queue)?;
        let compiler = Compiler::new(settings.compiler, compile, metering, engine_id);
        let runner = Arc::new(Runner { engine, metering, ticker, clock: settings.clock });
        Ok(Self {
            inner: Arc::new(Inner {
                runner,
                threads,
                compiler,
                artifacts: Arc::new(artifacts),
                loaded: Loaded::new(settings.loaded),
                uploads: Uploads::new(compile.waiting_per_tenant_max, compile.uploads_max),
                costly: Mutex::default(),
            }),
        })
    }

    /// Checks an upload, compiles it in a worker process, and asks the module to describe itself. On success
    /// the module is in the compiled cache; storing its component is the caller's part. Uploads of one tenant
    /// are compiled one after the other. Dropping the future ends the worker.
    ///
    /// # Errors
    /// [`AdmitError::Refused`] says what is wrong with the module; the others concern the host.
    pub async fn admit(
        &self,
        tenant: &TenantId,
        upload: Vec<u8>,
        limits: &ModuleLimits,
    ) -> Result<Admitted, AdmitError> {
        let admitted = self.admit_unobserved(tenant, upload, limits).await;
        observe::admission(match &admitted {
            Ok(_) => "admitted",
            Err(AdmitError::Refused(refusal)) => refusal.code,
            Err(AdmitError::Busy) => "busy",
            Err(AdmitError::Unavailable(_)) => "unavailable",
        });
        admitted
    }

    async fn admit_unobserved(
        &self,
        tenant: &TenantId,
        upload: Vec<u8>,
        limits: &ModuleLimits,
    ) -> Result<Admitted, AdmitError> {
        let limits = *limits;
        let (upload, digest, structure) =
            blocking(move || survey(upload, &limits)).await.map_err(AdmitError::Unavailable)??;
        let key = (digest.clone(), limits);
        if let Some(refusal) = self.inner.costly().get(&key) {
            return Err(refusal.clone().into());
        }
        let _turn = self.inner.uploads.turn(tenant).await.ok_or(AdmitError::Busy)?;
        let compiled = self.inner.compiler.compile(&upload, &limits, Purpose::Upload).await;
        let Compiled { component, artifact } = compiled.map_err(|error| match error {
            CompileError::Refused(refusal) => {
                self.inner.remember_costly(key, &refusal);
                AdmitError::Refused(refusal)
            }
            CompileError::Unavailable(error) => AdmitError::Unavailable(error),
        })?;
        let module = self.install(&digest, artifact).await?;
        let described = self.describe(tenant, &module).await;
        let (description, log, cost) = described.inspect_err(|_| self.inner.artifacts.remove(&digest))?;
        self.inner.loaded.remove(&digest);
        let component = component.unwrap_or(upload);
        let stats = ModuleStats {
            component_bytes: component.len(),
            artifact_bytes: module.artifact_bytes(),
            functions: structure.functions,
            core_instances: structure.core_instances,
            describe_fuel: cost.fuel,
            describe_memory_bytes: cost.memory_bytes_max,
        };
        let warnings = warnings(&structure);
        let Structure { imports, exports, .. } = structure;
        Ok(Admitted { digest, component, description, imports, exports, stats, warnings, log })
    }

    /// Stores an artifact and loads it from there, so that what is tried now is what will run later.
    async fn install(&self, digest: &ModuleDigest, artifact: Vec<u8>) -> Result<Arc<Module>, AdmitError> {
        let (inner, digest) = (self.inner.clone(), digest.clone());
        let installed = blocking(move || {
            inner.artifacts.store(&digest, &artifact).map_err(AdmitError::Unavailable)?;
            let module = inner.read(&digest)?;
            module.ok_or_else(|| {
                AdmitError::Unavailable(SandboxError::Worker("its artifact cannot be loaded".into()))
            })
        });
        Ok(Arc::new(installed.await.map_err(AdmitError::Unavailable)??))
    }

    async fn describe(
        &self,
        tenant: &TenantId,
        module: &Arc<Module>,
    ) -> Result<(Description, Vec<LogLine>, Cost), AdmitError> {
        let (send, receive) = oneshot::channel();
        let (runner, module) = (self.inner.runner.clone(), module.clone());
        let call = move || drop(send.send(runner.describe(&module, &RunLimits::default())));
        self.inner.threads.run((tenant, Turn::Live), Box::new(call)).map_err(|_| AdmitError::Busy)?;
        let stopped =
            |_| AdmitError::Unavailable(SandboxError::Worker("the sandbox is shutting down".into()));
        let (verdict, log, cost) = receive.await.map_err(stopped)?;
        let described = verdict.map_err(|failure| describe_failed(&failure, &log))?;
        description::check(&described)?;
        Ok((described, log, cost))
    }

    /// A module that is ready to run: from memory, else from the compiled cache, else compiled again from the
    /// component that `component` fetches. Whoever asks for a module that is just being loaded waits for it.
    ///
    /// # Errors
    /// The component cannot be had, no longer compiles, or the host cannot compile.
    pub async fn load<F, Fut, E>(&self, digest: &ModuleDigest, component: F) -> Result<Arc<Module>, LoadError>
    where
        F: FnOnce() -> Fut + Send,
        Fut: Future<Output = Result<Vec<u8>, E>> + Send,
        E: std::error::Error + Send + Sync + 'static,
    {
        let place = self.inner.loaded.place(digest);
        if let Some(module) = place.get() {
            return Ok(module.clone());
        }
        let module = place.get_or_try_init(|| self.load_cold(digest, component)).await.cloned();
        match &module {
            Ok(module) => self.inner.loaded.settle(module),
            Err(_) => self.inner.loaded.remove_empty(digest),
        }
        module
    }

    async fn load_cold<F, Fut, E>(
        &self,
        digest: &ModuleDigest,
        component: F,
    ) -> Result<Arc<Module>, LoadError>
    where
        F: FnOnce() -> Fut + Send,
        Fut: Future<Output = Result<Vec<u8>, E>> + Send,
        E: std::error::Error + Send + Sync + 'static,
    {
        let read = |inner: Arc<Inner>, digest: ModuleDigest| blocking(move || inner.read(&digest));
        let cached = read(self.inner.clone(), digest.clone()).await.map_err(LoadError::Unavailable)?;
        if let Some(module) = cached.map_err(LoadError::Refused)? {
            observe::load("cache");
            return Ok(Arc::new(module));
        }
        let component = component().await.map_err(|error| LoadError::Component(Box::new(error)))?;
        let started = self.inner.runner.clock.monotonic();
        let compiled = self.inner.compiler.compile(&component, &ModuleLimits::NONE, Purpose::Reload).await;
        let spent = self.inner.runner.clock.monotonic().saturating_sub(started);
        observe::compiled(u64::try_from(spent.as_micros()).unwrap_or(u64::MAX));
        observe::load("compiled");
        let artifact = compiled.map_err(|error| match error {
            CompileError::Refused(refusal) => LoadError::Refused(refusal),
            CompileError::Unavailable(error) => LoadError::Unavailable(error),
        })?;
        let module = self.install(digest, artifact.artifact).await.map_err(|error| match error {
            AdmitError::Refused(refusal) => LoadError::Refused(refusal),
            AdmitError::Unavailable(error) => LoadError::Unavailable(error),
            AdmitError::Busy => LoadError::Unavailable(SandboxError::Worker("it is busy".into())),
        })?;
        Ok(module)
    }

    /// Calls `transform` in a fresh instance on a guest thread, in the tenant's turn. When the returned future is
    /// dropped before the call began, it is not made; a call that has begun ends by itself within its limits.
    pub async fn transform(
        &self,
        tenant: &TenantId,
        module: &Arc<Module>,
        input: impl Into<Arc<Input>>,
        limits: &RunLimits,
    ) -> RunReport {
        self.transform_seen((tenant, Turn::Live), module, input, limits, |execute| execute()).await
    }

    /// As [`Self::transform`], in the tenant's live turn or behind everybody's, with something around the execution, on
    /// the guest's thread: it calls what it is given, once. A panic in it costs this run only.
    #[expect(clippy::too_many_arguments, reason = "a call is these, and what is around it")]
    pub async fn transform_seen(
        &self,
        turn: (&TenantId, Turn),
        module: &Arc<Module>,
        input: impl Into<Arc<Input>>,
        limits: &RunLimits,
        around: impl FnOnce(&mut dyn FnMut()) + Send + 'static,
    ) -> RunReport {
        let (send, receive) = oneshot::channel();
        let (runner, module, input, limits) =
            (self.inner.runner.clone(), module.clone(), input.into(), *limits);
        let asked = runner.clock.monotonic();
        let call = move || {
            if send.is_closed() {
                return;
            }
            let queued = runner.clock.monotonic().saturating_sub(asked);
            let mut report = RunReport::not_run(GuestFailure::HostPanic);
            let mut execute = || report = runner.transform(&module, &input, &limits);
            if catch_unwind(AssertUnwindSafe(|| around(&mut execute))).is_err() {
                tracing::error!(module.digest = %module.digest(), "a run panicked in the host");
            }
            report.cost.queued_us = u64::try_from(queued.as_micros()).unwrap_or(u64::MAX);
            // Nobody waits for it any more: then nobody misses it.
            drop(send.send(report));
        };
        let report = match self.inner.threads.run(turn, Box::new(call)) {
            Ok(()) => receive.await.unwrap_or_else(|_| {
                RunReport::not_run(GuestFailure::Unavailable {
                    reason: "the sandbox is shutting down".into(),
                })
            }),
            Err(_) => RunReport::not_run(GuestFailure::Busy),
        };
        observe::waiting(self.inner.threads.waiting());
        observe::run(&report);
        report
    }

    /// Calls `transform` in a fresh instance on the calling thread, with no queue: for measuring what a call costs,
    /// and for command-line use. Blocks for as long as the limits allow, so never call it on a runtime's thread.
    #[must_use]
    pub fn transform_here(&self, module: &Module, input: &Input, limits: &RunLimits) -> RunReport {
        self.inner.runner.transform(module, input, limits)
    }
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandbox").finish_non_exhaustive()
    }
}

impl fmt::Debug for Admitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { digest, description, stats, .. } = self;
        let (name, version) = (&description.name, &description.version);
        f.debug_struct("Admitted")
            .field("digest", digest)
            .field("name", name)
            .field("version", version)
            .field("stats", stats)
            .finish_non_exhaustive()
    }
}

impl Inner {
    /// A module from the compiled cache.
    fn read(&self, digest: &ModuleDigest) -> Result<Option<Module>, Refusal> {
        let engine = &self.runner.engine;
        let Some((component, bytes)) = self.artifacts.load(engine, digest) else { return Ok(None) };
        Module::link(engine, digest.clone(), &component, bytes).map(Some)
    }

    fn costly(&self) -> std::sync::MutexGuard<'_, HashMap<(ModuleDigest, ModuleLimits), Refusal>> {
        self.costly.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember_costly(&self, key: (ModuleDigest, ModuleLimits), refusal: &Refusal) {
        if refusal.code == refusal::TOO_COSTLY {
            let mut costly = self.costly();
            if costly.len() >= REMEMBERED_MAX {
                costly.clear();
            }
            costly.insert(key, refusal.clone());
        }
    }
}

fn check(settings: &SandboxSettings) -> Result<(), SandboxError> {
    let unusable = |setting, problem: &str| Err(SandboxError::Setting { setting, problem: problem.into() });
    if settings.guest_threads < 2 {
        return unusable(
            "guest_threads",
            "at least 2 are needed, so that one slow call never has all of them",
        );
    }
    if settings.guest_threads > GUEST_THREADS_MAX {
        return unusable(
            "guest_threads",
            "at most 256 are possible: each reserves address space for its instances",
        );
    }
    if settings.epoch_tick.is_zero() {
        return unusable("epoch_tick", "it must be longer than nothing; 1 to 5 ms are sensible");
    }
    Ok(())
}

/// With 4 memories of 4 GiB each, 256 threads reserve 4 TiB of the 128 that a process can address.
const GUEST_THREADS_MAX: usize = 256;

/// What can be said about an upload without compiling it.
fn survey(upload: Vec<u8>, limits: &ModuleLimits) -> Result<(Vec<u8>, ModuleDigest, Structure), Refusal> {
    // The size first: everything after it takes time in proportion.
    if upload.len() <= limits.upload_bytes_max && Engine::detect_precompiled(&upload).is_some() {
        return Err(Refusal::new(
            refusal::PRECOMPILED,
            "the upload is native code that wasmtime compiled; only WebAssembly is accepted",
            "upload the .wasm file it was compiled from",
        ));
    }
    let structure = structure::check(&upload, limits, Depth::Headers)?;
    let digest = ModuleDigest::of(&upload);
    Ok((upload, digest, structure))
}

fn warnings(structure: &Structure) -> Vec<String> {
    let mut warnings = Vec::new();
    if structure.form == Form::CoreModule {
        warnings.push("a core module was uploaded; it was made a component".to_owned());
    }
    let imports = structure.imports.iter().map(String::as_str);
    let stand_ins: Vec<&str> =
        imports.filter(|name| name.starts_with("wasi:") || *name == WASI_PREVIEW1).collect();
    if !stand_ins.is_empty() {
        warnings.push(format!(
            "it imports WASI ({}), which is linked to stand-ins: time stands still at the event's received time, \
             random numbers follow from the event's id, there are no files, variables or connections",
            stand_ins.join(", ")
        ));
    }
    warnings
}

fn describe_failed(failure: &GuestFailure, log: &[LogLine]) -> AdmitError {
    if matches!(failure, GuestFailure::Busy | GuestFailure::Unavailable { .. } | GuestFailure::HostPanic) {
        return AdmitError::Unavailable(SandboxError::Worker(failure.to_string()));
    }
    let said = log.last().map(|line| format!("; its last words: {}", line.message)).unwrap_or_default();
    AdmitError::Refused(Refusal::new(
        refusal::DESCRIBE_FAILED,
        format!("`describe` failed: {failure}{said}"),
        "run `describe` in a unit test of the module; it gets no input and should only return constants",
    ))
}

/// Runs what takes time or reads files beside the runtime.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, SandboxError> {
    let ended = tokio::task::spawn_blocking(work).await;
    ended.map_err(|_| SandboxError::Worker("the sandbox panicked or is shutting down".into()))
}
