//! Which inputs the components were made from, so that a call that has nothing to do starts no compiler.
//!
//! A module's inputs are every file of the guests' workspace (its lock file pins the dependencies), the contract
//! and the compiler's version; their digest is kept beside the components. Asking cargo instead would cost one
//! start of cargo per module.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Component;
use crate::repository::Repository;

/// Goes up when this crate makes something else of the same sources.
const RECIPE: u32 = 1;

/// What an earlier call made.
#[derive(Default, Deserialize, Serialize)]
pub(super) struct Record {
    inputs: String,
    /// Name → SHA-256.
    components: BTreeMap<String, String>,
}

impl Record {
    /// The record in a folder of components, emptied if it is about other inputs than today's.
    pub(super) fn read(folder: &Path, inputs: &str) -> Self {
        let text = fs::read_to_string(path(folder)).unwrap_or_default();
        let record: Record = serde_json::from_str(&text).unwrap_or_default();
        if record.inputs == inputs {
            record
        } else {
            Record { inputs: inputs.to_owned(), ..Record::default() }
        }
    }

    /// The component, if it was made from these inputs and nobody changed its file since.
    pub(super) fn fresh(&self, name: &str, folder: &Path) -> Option<Component> {
        let bytes = fs::read(folder.join(format!("{name}.wasm"))).ok()?;
        let component = Component::new(name, &bytes);
        (self.components.get(name) == Some(&component.sha256)).then_some(component)
    }

    /// Notes a component that has just been made.
    pub(super) fn note(&mut self, component: &Component, folder: &Path) -> Result<()> {
        self.components.insert(component.name.clone(), component.sha256.clone());
        Ok(fs::write(path(folder), serde_json::to_string_pretty(self)?)?)
    }
}

fn path(folder: &Path) -> PathBuf {
    folder.join("inputs.json")
}

/// A digest of everything that a component's bytes depend on.
pub(super) fn inputs(repository: &Repository, compiler: &str) -> Result<String> {
    let mut files = Vec::new();
    collect(&repository.guests(), &mut files)?;
    collect(&repository.root().join("wit"), &mut files)?;
    files.sort();
    let mut digest = Sha256::new();
    digest.update(format!("recipe {RECIPE}, {compiler}\n"));
    for file in files {
        let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let name = file.strip_prefix(repository.root()).unwrap_or(&file);
        digest.update(format!("{} {}\n", name.display(), bytes.len()));
        digest.update(bytes);
    }
    Ok(hex::encode(digest.finalize()))
}

/// The files below a folder, without what cargo builds.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() && entry.file_name() != "target" {
            collect(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_is_fresh_only_for_the_same_inputs_and_bytes() {
        let folder = std::env::temp_dir().join(format!("portolan-record-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("a.wasm"), "one").unwrap();
        let mut record = Record::read(&folder, "inputs");
        assert!(record.fresh("a", &folder).is_none(), "nothing was made yet");
        record.note(&Component::new("a", b"one"), &folder).unwrap();
        assert!(Record::read(&folder, "inputs").fresh("a", &folder).is_some());
        assert!(Record::read(&folder, "other inputs").fresh("a", &folder).is_none());
        fs::write(folder.join("a.wasm"), "two").unwrap();
        assert!(Record::read(&folder, "inputs").fresh("a", &folder).is_none());
        fs::remove_dir_all(&folder).unwrap();
    }
}
