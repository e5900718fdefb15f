//! How a sandbox is set up: where compiled artifacts live, who compiles, how many threads run guests and
//! how much a compilation may cost. The binary fills this from its settings; nothing here reads a file or
//! an environment variable.

use std::{ffi::OsString, path::PathBuf, sync::Arc, time::Duration};

use portolan_domain::{Clock, Secret, SystemClock};

/// What a [`Sandbox`](crate::Sandbox) is made from.
#[derive(Debug, Clone)]
pub struct SandboxSettings {
    /// Where compiled artifacts are kept. Created when it is missing. Its loss costs time, nothing else:
    /// every artifact can be compiled again from the stored component.
    pub compiled_dir: PathBuf,
    /// The key under which artifacts are sealed; at least 32 bytes. Whoever knows it and can write into
    /// `compiled_dir` can run native code in this process.
    pub cache_key: Secret,
    /// The process that compiles.
    pub compiler: CompilerCommand,
    /// What a compilation may cost.
    pub compile: CompileLimits,
    /// Threads that run guests, beside the caller's runtime. At least 2, so that one tenant's slow call
    /// never occupies all of them.
    pub guest_threads: usize,
    /// The priority of guest threads, 0 (as the rest) to 19 (only when nothing else wants the processor). At 19 a
    /// webhook's acknowledgement does not notice a looping guest.
    pub nice: i32,
    /// How the calls of tenants share the guest threads.
    pub queue: QueueLimits,
    /// What the instance pool can hold.
    pub pool: PoolLimits,
    /// How many modules stay loaded.
    pub loaded: LoadedLimits,
    /// How guests are metered. Always [`Metering::default`], except in the bench that measures its cost.
    pub metering: Metering,
    /// How long one tick of the wall-clock net lasts.
    pub epoch_tick: Duration,
    /// For the wall-clock net and for measuring.
    pub clock: Arc<dyn Clock>,
}

impl SandboxSettings {
    /// The defaults, with what has no default.
    #[must_use]
    pub fn new(compiled_dir: PathBuf, cache_key: Secret, compiler: CompilerCommand) -> Self {
        let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self {
            compiled_dir,
            cache_key,
            compiler,
            compile: CompileLimits::default(),
            guest_threads: processors.max(2),
            nice: 19,
            queue: QueueLimits::default(),
            pool: PoolLimits::default(),
            loaded: LoadedLimits::default(),
            metering: Metering::default(),
            epoch_tick: Duration::from_millis(2),
            clock: Arc::new(SystemClock::new()),
        }
    }
}

/// The program that becomes a compile worker: it must call [`compiler_main`](crate::compiler_main) with the
/// arguments that follow `args`, before it starts threads or opens files.
#[derive(Debug, Clone)]
pub struct CompilerCommand {
    /// The program, as a rule the running binary itself.
    pub program: PathBuf,
    /// What comes before the worker's own arguments: the name of the hidden subcommand.
    pub args: Vec<OsString>,
}

/// What one compilation may cost. The worker sets the limits on itself before it reads the upload; the
/// host holds it to the wall-clock time and to the size of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileLimits {
    /// Address space of the worker. The default, 2 GiB, lets CPython (18 MB of Wasm) through; a component
    /// that wants more is refused.
    pub memory_bytes_max: u64,
    /// Processor time of the worker for the largest upload. CPython takes 10 s where this was measured, in a release
    /// build. A smaller upload is given less, so that a small bomb does not keep the others' uploads waiting.
    pub cpu_seconds_max: u64,
    /// Wall-clock time, from start to the last byte of the answer. Workers run at a low priority.
    pub wall: Duration,
    /// The priority of workers, 0 to 19. Behind everything that events wait for; but somebody waits for an upload,
    /// and at 19 a busy machine would take minutes over it.
    pub nice: i32,
    /// Bytes of the compiled artifact. Machine code is at most ten times the Wasm code in practice.
    pub artifact_bytes_max: usize,
    /// Uploads that are compiled at the same time. One more worker may run for modules that are missing
    /// in the compiled cache, so that an upload never delays an event.
    pub workers_max: usize,
    /// Uploads of one tenant that wait for the one being compiled; the next is turned away.
    pub waiting_per_tenant_max: usize,
    /// Uploads of all tenants that wait or are compiled; each holds its bytes in memory.
    pub uploads_max: usize,
}

impl CompileLimits {
    /// Processor time for an upload of so many bytes: 15 s, and 5 s more for each MiB. What toolchains make takes a
    /// fifth of it.
    #[must_use]
    pub fn cpu_seconds(&self, upload_bytes: usize) -> u64 {
        let mebibytes = (upload_bytes >> 20) as u64;
        mebibytes.saturating_mul(5).saturating_add(15).min(self.cpu_seconds_max)
    }
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self {
            memory_bytes_max: 2 << 30,
            cpu_seconds_max: 90,
            wall: Duration::from_secs(300),
            nice: 10,
            artifact_bytes_max: 128 << 20,
            workers_max: 1,
            waiting_per_tenant_max: 4,
            uploads_max: 16,
        }
    }
}

/// How the calls of tenants share the guest threads: each tenant has a queue of its own, and the threads
/// take from the queues in turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// Calls of one tenant that wait. The next one ends as [`GuestFailure::Busy`](crate::GuestFailure::Busy).
    pub per_tenant_max: usize,
    /// Calls of all tenants that wait.
    pub total_max: usize,
    /// Calls of one tenant that run at the same time. `None`: one less than there are guest threads, so that
    /// a tenant whose every call loops leaves a thread to the others.
    pub running_per_tenant_max: Option<usize>,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self { per_tenant_max: 1_024, total_max: 65_536, running_per_tenant_max: None }
    }
}

/// What the instance pool can hold. The defaults let every toolchain in: a component of the QuickJS
/// toolchain has 3 memories, one of CPython 38 core instances with 24 tables. They cost address space, not
/// memory: 4 GiB per memory, reserved so that bounds checks are guard pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolLimits {
    /// Core instances of one component.
    pub core_instances_per_component_max: u32,
    /// Linear memories of one component.
    pub memories_per_component_max: u32,
    /// Tables of one component.
    pub tables_per_component_max: u32,
    /// Bytes of one linear memory. Because `memory.fill` over all of it runs without a check of the
    /// deadline, this bounds the overshoot: 14 ms at 64 MiB.
    pub memory_bytes_max: usize,
    /// Elements of one table.
    pub table_elements_max: usize,
    /// Bytes of the host's own record of one instance.
    pub instance_bytes_max: usize,
    /// Bytes of a memory that are wiped in place instead of being given back to the system, which is
    /// quicker for small guests and keeps this much resident per slot in use. Measured on a Rust guest: more only costs,
    /// because what is wiped is more than what was touched.
    pub keep_resident_bytes: usize,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self {
            core_instances_per_component_max: 64,
            memories_per_component_max: 4,
            tables_per_component_max: 64,
            memory_bytes_max: 64 << 20,
            table_elements_max: 100_000,
            instance_bytes_max: 1 << 20,
            keep_resident_bytes: 64 << 10,
        }
    }
}

/// How many modules stay loaded. The least recently used ones are unloaded; loading one again from its
/// artifact takes well under a millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadedLimits {
    /// Modules.
    pub modules_max: usize,
    /// Bytes of their artifacts.
    pub bytes_max: usize,
}

impl Default for LoadedLimits {
    fn default() -> Self {
        Self { modules_max: 4_096, bytes_max: 512 << 20 }
    }
}

/// How guests are metered. Compiled into the artifact, so each combination has artifacts of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Metering {
    /// Count instructions: the deterministic verdict and bill.
    pub fuel: bool,
    /// Check the deadline at loops and calls: the net under the fuel.
    pub epoch: bool,
}

impl Default for Metering {
    fn default() -> Self {
        Self { fuel: true, epoch: true }
    }
}
