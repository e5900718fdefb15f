//! Compiling, in a process of its own. A component of a kilobyte can take gigabytes to compile, and wasmtime does
//! not count that as a defect; so the host never compiles. It starts a worker, which limits itself before it
//! reads the upload, waits for its answer no longer and reads no more of it than the limits say, and kills it.
//!
//! The worker is trusted as little as its input: what it says about the component is checked again by loading
//! and describing it. (Its artifact is trusted: who controls the worker controls native code in the host. That is
//! why it has nothing but its standard streams to be attacked through, and may write no file.)

use std::{
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStdin, Command},
    sync::Semaphore,
};

use crate::{
    engine::EngineId,
    limits::ModuleLimits,
    refusal::{self, Refusal, SandboxError},
    settings::{CompileLimits, CompilerCommand, Metering},
};

pub(crate) mod protocol;
pub(crate) mod worker;
mod world;

use protocol::{Answer, Order};

/// What a worker made of an upload.
pub(crate) struct Compiled {
    /// The component, when the upload was a core module.
    pub(crate) component: Option<Vec<u8>>,
    pub(crate) artifact: Vec<u8>,
}

/// How a compilation can fail.
pub(crate) enum CompileError {
    Refused(Refusal),
    Unavailable(SandboxError),
}

impl From<SandboxError> for CompileError {
    fn from(error: SandboxError) -> Self {
        Self::Unavailable(error)
    }
}

/// Starts workers.
#[derive(Debug)]
pub(crate) struct Compiler {
    command: CompilerCommand,
    limits: CompileLimits,
    metering: Metering,
    engine_id: EngineId,
    uploads: Semaphore,
    reloads: Semaphore,
}

/// For what something is compiled; each has its own workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To admit an upload.
    Upload,
    /// Because the artifact of an admitted module is missing: an event waits for it.
    Reload,
}

impl Compiler {
    pub(crate) fn new(
        command: CompilerCommand,
        limits: CompileLimits,
        metering: Metering,
        engine_id: EngineId,
    ) -> Self {
        let uploads = Semaphore::new(limits.workers_max.max(1));
        Self { command, limits, metering, engine_id, uploads, reloads: Semaphore::new(1) }
    }

    /// Compiles an upload. Waits for its turn first. When the returned future is dropped, the worker is killed.
    pub(crate) async fn compile(
        &self,
        wasm: &[u8],
        limits: &ModuleLimits,
        purpose: Purpose,
    ) -> Result<Compiled, CompileError> {
        let workers = match purpose {
            Purpose::Upload => &self.uploads,
            Purpose::Reload => &self.reloads,
        };
        let closed = |_| SandboxError::Worker("the sandbox is shutting down".into());
        let _turn = workers.acquire().await.map_err(closed)?;
        let mut worker = self.start()?;
        let answer = tokio::time::timeout(self.limits.wall, self.converse(&mut worker, wasm, limits)).await;
        let Ok(answer) = answer else {
            worker.kill().await.map_err(SandboxError::io("ending a compile worker"))?;
            return Err(CompileError::Refused(too_costly(&format!(
                "{} seconds",
                self.limits.wall.as_secs()
            ))));
        };
        let (answer, said) = answer?;
        // It has closed its output, or said more than it may: either way it has nothing more to say.
        let status = match tokio::time::timeout(ENDING, worker.wait()).await {
            Ok(status) => status.map_err(SandboxError::io("waiting for a compile worker"))?,
            Err(_) => {
                worker.kill().await.map_err(SandboxError::io("ending a compile worker"))?;
                return Err(SandboxError::Worker("it did not end".into()).into());
            }
        };
        self.judge(status, answer, &said, self.limits.cpu_seconds(wasm.len()))
    }

    fn start(&self) -> Result<Child, SandboxError> {
        Command::new(&self.command.program)
            .args(&self.command.args)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(SandboxError::io("starting a compile worker"))
    }

    /// Hands over the order and the upload, and reads the answer and what was said on standard error. All three
    /// go on at once, so that no full pipe can stop them.
    async fn converse(
        &self,
        worker: &mut Child,
        wasm: &[u8],
        limits: &ModuleLimits,
    ) -> Result<(Vec<u8>, String), SandboxError> {
        let (Some(input), Some(output), Some(errors)) =
            (worker.stdin.take(), worker.stdout.take(), worker.stderr.take())
        else {
            return Err(SandboxError::Worker("it has no standard streams".into()));
        };
        let order = Order {
            engine_id: self.engine_id.hex(),
            metering: self.metering,
            limits: *limits,
            memory_bytes_max: self.limits.memory_bytes_max,
            cpu_seconds_max: self.limits.cpu_seconds(wasm.len()),
            nice: self.limits.nice,
        };
        let answer_max =
            self.limits.artifact_bytes_max.saturating_add(limits.upload_bytes_max.saturating_mul(2));
        let mut answer = Vec::new();
        let mut said = Vec::new();
        let mut output = output.take((answer_max as u64).saturating_add(1));
        let mut errors = errors.take(SAID_BYTES_MAX);
        let (sent, read, _) = tokio::join!(
            send(input, &order, wasm),
            output.read_to_end(&mut answer),
            errors.read_to_end(&mut said)
        );
        read.map_err(SandboxError::io("reading from a compile worker"))?;
        // A worker that was killed does not read to the end; why it ended says its status.
        if let Err(error) = sent {
            tracing::debug!(%error, "the compile worker did not read the whole upload");
        }
        if answer.len() > answer_max {
            return Err(SandboxError::Worker("its answer is too large".into()));
        }
        Ok((answer, String::from_utf8_lossy(&said).into_owned()))
    }

    fn judge(
        &self,
        status: ExitStatus,
        answer: Vec<u8>,
        said: &str,
        cpu_seconds: u64,
    ) -> Result<Compiled, CompileError> {
        use std::os::unix::process::ExitStatusExt;
        match Answer::read(answer) {
            Some(Answer::Compiled { component, artifact }) if status.success() => {
                if artifact.len() > self.limits.artifact_bytes_max {
                    let what = format!("{} bytes of machine code", self.limits.artifact_bytes_max);
                    return Err(CompileError::Refused(too_costly(&what)));
                }
                Ok(Compiled { component, artifact })
            }
            Some(Answer::Refused(refusal)) if status.success() => Err(CompileError::Refused(refusal)),
            Some(Answer::Mismatch) => {
                let text = "it is of another version than this host; restart the host".to_owned();
                Err(SandboxError::Worker(text).into())
            }
            // A panic: the compiler has a defect that this module reaches.
            _ if status.code() == Some(PANICKED) => Err(CompileError::Refused(Refusal::new(
                refusal::INVALID,
                format!("the compiler fails on the module: {}", excerpt(said)),
                "build it with another version of its toolchain, and tell the operator",
            ))),
            _ if status.signal().is_some() => {
                let what = format!(
                    "{} MiB of memory or {} seconds of processor time",
                    self.limits.memory_bytes_max >> 20,
                    cpu_seconds
                );
                Err(CompileError::Refused(too_costly(&what)))
            }
            _ => {
                let text = format!("it ended with {status} and said \"{}\"", excerpt(said));
                Err(SandboxError::Worker(text).into())
            }
        }
    }
}

/// The status with which a Rust program ends after a panic.
const PANICKED: i32 = 101;
/// How long a worker that has closed its output may take to end.
const ENDING: Duration = Duration::from_secs(5);
/// Bytes of a worker's standard error that are read.
const SAID_BYTES_MAX: u64 = 4 << 10;

/// The beginning of what a worker said, fit to be shown.
fn excerpt(said: &str) -> String {
    crate::log::printable(said.trim(), 300)
}

async fn send(mut to: ChildStdin, order: &Order, wasm: &[u8]) -> std::io::Result<()> {
    to.write_all(&order.write(wasm.len())?).await?;
    to.write_all(wasm).await?;
    to.shutdown().await
}

fn too_costly(what: &str) -> Refusal {
    Refusal::new(
        refusal::TOO_COSTLY,
        format!("compiling the module takes more than {what}"),
        "make it smaller: build for release, with `opt-level = \"s\"` and `lto = true`; or ask the operator for \
         a higher limit",
    )
}
