//! The host on the stage.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::{
    Client,
    process::{Process, Start},
};

/// A host with its data in a folder. It can be killed and started again on the same data and address.
#[derive(Debug)]
pub struct Host {
    start: Start,
    tracer: Option<(PathBuf, Vec<String>)>,
    process: Option<Process>,
    /// With the operator's key.
    pub operator: Client,
}

impl Host {
    /// Starts a host for the first time on this data folder, allowed to reach loopback, with settings of its
    /// own as `PORTOLAN_*`.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(
        program: &Path,
        data_dir: &Path,
        listen: &str,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(data_dir)?;
        // An empty file keeps it from reading the portolan.toml of the folder we happen to be in.
        let config = data_dir.join("portolan.toml");
        std::fs::write(&config, "")?;
        let mut start = Start {
            program: program.to_owned(),
            args: vec!["serve".to_owned(), "--config".to_owned(), config.display().to_string()],
            environment: vec![
                ("PORTOLAN_DATA_DIR".to_owned(), data_dir.display().to_string()),
                ("PORTOLAN_LISTEN".to_owned(), listen.to_owned()),
                ("PORTOLAN_OUTBOUND__ALLOW_LOOPBACK".to_owned(), "true".to_owned()),
                ("PORTOLAN_LOG__FORMAT".to_owned(), "json".to_owned()),
            ],
            log: Some(data_dir.join("host.log")),
        };
        start
            .environment
            .extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let process = Process::start(&start).await?;
        let address =
            process.ready["listening"].as_str().context("it does not say where it listens")?.to_owned();
        let key = process.ready["operator_key"].as_str().context("it does not show the operator's key")?;
        let operator = Client::new(&address, Some(key))?;
        // Whatever address it got, it keeps: senders and keys stay valid over a restart.
        for (name, value) in &mut start.environment {
            if name == "PORTOLAN_LISTEN" {
                address.trim_start_matches("http://").clone_into(value);
            }
        }
        Ok(Self { start, tracer: None, process: Some(process), operator })
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> Option<PathBuf> {
        self.start.log.clone()
    }

    /// Its process id, while it lives.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().and_then(Process::id)
    }

    /// Whether it is dead, by whomever.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn has_ended(&mut self) -> anyhow::Result<bool> {
        self.process.as_mut().map_or(Ok(true), Process::has_ended)
    }

    /// Changes a variable of its environment, from the next start on.
    pub fn set(&mut self, name: &str, value: Option<&str>) {
        self.start.environment.retain(|(known, _)| known != name);
        self.start.environment.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    }

    /// From the next start on it is started by a tracer, which is given the host's command line after its own arguments
    /// and becomes the host, itself beside it; by nobody when there is none.
    pub fn start_under(&mut self, tracer: Option<(PathBuf, Vec<String>)>) {
        self.tracer = tracer;
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// When it was dead already.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.process.take().context("the host is not running")?.kill().await
    }

    /// Starts it again on the same data and address.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        let mut start = self.start.clone();
        if let Some((program, args)) = &self.tracer {
            let host = std::mem::replace(&mut start.program, program.clone()).display().to_string();
            let own = std::mem::take(&mut start.args);
            start.args = args.iter().cloned().chain([host]).chain(own).collect();
        }
        self.process = Some(Process::start(&start).await?);
        Ok(())
    }

    /// Asks it to end, and waits until it has. It can be started again.
    ///
    /// # Errors
    /// When it does not end well.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.process.take().context("the host is not running")?.end().await
    }

    /// Asks it to end.
    ///
    /// # Errors
    /// When it does not end well.
    pub async fn end(mut self) -> anyhow::Result<()> {
        self.stop().await
    }
}
