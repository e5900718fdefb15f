//! What the stand-ins wrote down themselves: documents that they committed, and calls that they received. Read from
//! their files, so that neither the host nor a living stand-in is needed to judge.

use std::{
    collections::BTreeMap,
    io::{Read, Seek, SeekFrom},
    path::PathBuf,
};

use portolan::stage::System;
use serde_json::Value;

use crate::world::World;

/// A committed document.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    pub(crate) seq: u64,
    pub(crate) kind: String,
    pub(crate) number: String,
    pub(crate) key: String,
    pub(crate) payload: String,
    pub(crate) amounts: BTreeMap<String, String>,
    /// All that the stand-in says of it.
    pub(crate) text: String,
}

/// A call that arrived.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    pub(crate) operation: String,
    pub(crate) path: String,
    /// The idempotency key.
    pub(crate) key: Option<String>,
    pub(crate) payload: String,
    pub(crate) fault: Option<String>,
    /// Its words: what may name an object.
    pub(crate) words: Vec<String>,
    /// `None`: it was under way when the stand-in died. `Some(None)`: it was cut.
    pub(crate) went: Option<Option<u16>>,
    pub(crate) came_ms: u64,
    /// When it was answered or cut; 0 before.
    pub(crate) went_ms: u64,
}

/// What one stand-in wrote down since the world began.
#[derive(Debug)]
pub(crate) struct Records {
    pub(crate) system: System,
    pub(crate) documents: Vec<Document>,
    pub(crate) arrivals: Vec<Arrival>,
    names: BTreeMap<String, usize>,
    ledger: Tail,
    calls: Tail,
}

impl Records {
    pub(crate) fn new(world: &World, system: System) -> Self {
        let (ledger, calls) = (Tail::new(world.ledger(system)), Tail::new(world.calls(system)));
        Self { system, documents: Vec::new(), arrivals: Vec::new(), names: BTreeMap::new(), ledger, calls }
    }

    /// Reads what was added.
    pub(crate) fn read(&mut self) -> anyhow::Result<()> {
        for line in self.ledger.lines()? {
            let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
            let amounts = line["amounts"].as_object().into_iter().flatten();
            self.documents.push(Document {
                seq: line["seq"].as_u64().unwrap_or_default(),
                kind: text("kind"),
                number: text("number"),
                key: text("business_key"),
                payload: text("payload_sha256"),
                amounts: amounts
                    .map(|(of, sum)| (of.clone(), sum.as_str().unwrap_or_default().to_owned()))
                    .collect(),
                text: line.to_string(),
            });
        }
        for line in self.calls.lines()? {
            let text = |name: &str| line[name].as_str().map(str::to_owned);
            if let Some(name) = text("went") {
                let status = line["status"].as_u64().and_then(|status| u16::try_from(status).ok());
                if let Some(arrival) = self.names.remove(&name).and_then(|place| self.arrivals.get_mut(place))
                {
                    arrival.went = Some(status);
                    arrival.went_ms = line["at_ms"].as_u64().unwrap_or_default();
                }
                continue;
            }
            self.names.insert(text("came").unwrap_or_default(), self.arrivals.len());
            let said = format!("{} {} {}", line["path"], line["query"], line["body"]);
            self.arrivals.push(Arrival {
                operation: text("operation").unwrap_or_default(),
                path: text("path").unwrap_or_default(),
                key: text("key"),
                payload: text("payload_sha256").unwrap_or_default(),
                fault: text("fault"),
                words: words(&said),
                went: None,
                came_ms: line["at_ms"].as_u64().unwrap_or_default(),
                went_ms: 0,
            });
        }
        Ok(())
    }
}

/// Letters, digits and underscores that stand together.
fn words(text: &str) -> Vec<String> {
    let parts = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    parts.filter(|part| part.len() >= 9).map(str::to_owned).collect()
}

/// A file of lines that others write.
#[derive(Debug)]
struct Tail {
    path: PathBuf,
    read: u64,
}

impl Tail {
    const fn new(path: PathBuf) -> Self {
        Self { path, read: 0 }
    }

    /// The whole lines that were added.
    fn lines(&mut self) -> anyhow::Result<Vec<Value>> {
        let Ok(mut file) = std::fs::File::open(&self.path) else { return Ok(Vec::new()) };
        file.seek(SeekFrom::Start(self.read))?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        self.read += whole.len() as u64;
        whole.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }
}
