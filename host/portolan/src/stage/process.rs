//! A child process that says on its first line of stdout how it can be reached.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, bail};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

/// How long a process may take to say that it is ready.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// A running child process. It is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// Its first line.
    pub ready: Value,
}

/// What to start.
#[derive(Debug, Clone)]
pub struct Start {
    pub(super) program: PathBuf,
    pub(super) args: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
    /// Where its stderr goes.
    pub(super) log: Option<PathBuf>,
}

impl Process {
    /// Starts it and waits for its first line.
    ///
    /// # Errors
    /// When it does not start, ends early or says nothing readable within a minute.
    pub async fn start(start: &Start) -> anyhow::Result<Self> {
        let mut command = Command::new(&start.program);
        command.args(&start.args).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        command.envs(start.environment.iter().map(|(name, value)| (name, value)));
        command.stderr(match &start.log {
            Some(path) => Stdio::from(append(path)?),
            None => Stdio::inherit(),
        });
        let named = || format!("{} {}", start.program.display(), start.args.join(" "));
        let mut child = command.spawn().with_context(named)?;
        let stdout = child.stdout.take().context("stdout was not piped")?;
        let mut lines = BufReader::new(stdout).lines();
        let line = timeout(READY_WITHIN, lines.next_line()).await.with_context(named)?.with_context(named)?;
        let Some(line) = line else {
            let status = child.wait().await?;
            let log = start.log.as_deref().map(tail).unwrap_or_default();
            bail!("{} ended before it was ready ({status})\n{log}", named());
        };
        // Whatever else it prints is read and dropped, so that it never waits for a reader.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let ready = serde_json::from_str(&line).with_context(|| format!("{}: {line}", named()))?;
        Ok(Self { child, ready })
    }

    /// Its process id, while it lives.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Whether it is dead.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn has_ended(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Ends it at once, as a power cut would end it for the other processes.
    ///
    /// # Errors
    /// When the system does not let us.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Asks it to end and waits until it has.
    ///
    /// # Errors
    /// When it ends with another status than success, or not within a minute.
    pub async fn end(mut self) -> anyhow::Result<()> {
        if let Some(id) = self.child.id() {
            let asked = Command::new("kill").arg("-TERM").arg(id.to_string()).status().await?;
            anyhow::ensure!(asked.success(), "kill -TERM {id}: {asked}");
        }
        let status = timeout(READY_WITHIN, self.child.wait()).await.context("it does not end")??;
        anyhow::ensure!(status.success(), "it ended with {status}");
        Ok(())
    }
}

fn append(path: &Path) -> anyhow::Result<std::fs::File> {
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    file.with_context(|| path.display().to_string())
}

/// The last lines of a log.
fn tail(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
}
