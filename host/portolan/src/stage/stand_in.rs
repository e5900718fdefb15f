//! Stand-ins on the stage, and the ledger that each keeps of what it really committed.

use std::path::Path;

use anyhow::Context;
use serde_json::{Value, json};

pub use portolan_simulators::System;

use super::{
    Client,
    process::{Process, Start},
};

/// A stand-in with its ledger in a file. It can be killed and started again with the documents it has.
#[derive(Debug)]
pub struct StandIn {
    /// Which.
    pub system: System,
    start: Start,
    process: Option<Process>,
    client: Client,
}

/// One committed document, as the stand-in's ledger tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerEntry {
    /// `sales-order`
    pub kind: String,
    /// Its number in the system.
    pub number: String,
    /// The reference it carries.
    pub business_key: String,
    /// All of it.
    pub entry: Value,
}

impl StandIn {
    /// Starts a stand-in; `world` holds what differs from the standard world.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(
        program: &Path,
        folder: &Path,
        system: System,
        world: Option<&Value>,
    ) -> anyhow::Result<Self> {
        let name = system.name();
        let mut args = vec!["simulate".to_owned(), name.to_owned(), "--ledger".to_owned()];
        args.push(folder.join(format!("{name}.ledger")).display().to_string());
        if let Some(world) = world {
            let path = folder.join(format!("{name}.world.json"));
            std::fs::write(&path, world.to_string())?;
            args.extend(["--world".to_owned(), path.display().to_string()]);
        }
        let log = Some(folder.join(format!("{name}.log")));
        let mut start = Start { program: program.to_owned(), args, environment: Vec::new(), log };
        let process = Process::start(&start).await?;
        let base = process.ready["base_url"].as_str().context("it does not say where it listens")?.to_owned();
        let address = process.ready["address"].as_str().context("it does not say where it listens")?;
        start.args.extend(["--listen".to_owned(), address.to_owned()]);
        Ok(Self { system, start, process: Some(process), client: Client::new(&base, None)? })
    }

    /// Where the host is to connect to.
    #[must_use]
    pub fn url(&self) -> &str {
        self.client.base()
    }

    /// Every document of a kind (all kinds when empty), in the order of their commits.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn ledger(&self, kind: &str) -> anyhow::Result<Vec<LedgerEntry>> {
        let mut entries = Vec::new();
        let mut after = 0;
        loop {
            let page = self.client.get(&format!("/_simulator/ledger?after={after}")).await?;
            for entry in page["entries"].as_array().into_iter().flatten() {
                let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
                entries.push(LedgerEntry {
                    kind: text("kind"),
                    number: text("number"),
                    business_key: text("business_key"),
                    entry: entry.clone(),
                });
            }
            match page["next"].as_u64() {
                Some(next) => after = next,
                None => break,
            }
        }
        entries.retain(|entry| kind.is_empty() || entry.kind == kind);
        Ok(entries)
    }

    /// Its documents by kind, and every business key that was committed more than once.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn summary(&self) -> anyhow::Result<Value> {
        self.client.get("/_simulator/ledger/summary").await
    }

    /// Puts objects into it that are there from the beginning.
    ///
    /// # Errors
    /// When it does not take them.
    pub async fn seed(&self, objects: &[Value]) -> anyhow::Result<()> {
        self.client.post("/_simulator/objects", &json!(objects)).await.map(drop)
    }

    /// Has it misbehave: see `docs/simulators.md`.
    ///
    /// # Errors
    /// When it does not take the fault.
    pub async fn fault(&self, fault: &Value) -> anyhow::Result<()> {
        self.client.post("/_simulator/faults", fault).await.map(drop)
    }

    /// Nothing goes wrong any more.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn clear_faults(&self) -> anyhow::Result<()> {
        self.client.delete("/_simulator/faults").await.map(drop)
    }

    /// The faults that it has not had occasion for yet.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn faults(&self) -> anyhow::Result<Value> {
        self.client.get("/_simulator/faults").await
    }

    /// Has it behave again.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn behave(&self) -> anyhow::Result<()> {
        self.client.delete("/_simulator/faults").await.map(drop)
    }

    /// Its process id, while it lives.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().and_then(Process::id)
    }

    /// How many calls of each operation it has received.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn calls(&self) -> anyhow::Result<Value> {
        Ok(self.client.get("/_simulator/calls").await?["calls"].clone())
    }

    /// The `traceparent` of the latest calls that had one, oldest first.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn traces(&self) -> anyhow::Result<Vec<String>> {
        let told = self.client.get("/_simulator/calls").await?;
        let calls = told["traces"].as_array().into_iter().flatten();
        Ok(calls.filter_map(|call| call["traceparent"].as_str().map(str::to_owned)).collect())
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// When it was dead already.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.process.take().context("the stand-in is not running")?.kill().await
    }

    /// Starts it again with its ledger and address.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        self.process = Some(Process::start(&self.start).await?);
        Ok(())
    }
}
