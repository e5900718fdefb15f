//! Where things are in the repository, and which files git knows or would know. Reads only.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::process;

/// The checkout that xtask was started in.
pub(crate) struct Repository {
    root: PathBuf,
}

impl Repository {
    /// Looks upwards from the current folder, so that any folder of the checkout will do.
    pub(crate) fn find() -> Result<Self> {
        let here = std::env::current_dir().context("the current folder cannot be read")?;
        let root = here
            .ancestors()
            .find(|folder| folder.join("wit/mapping.wit").is_file() && folder.join("Cargo.toml").is_file())
            .context("no Portolan checkout here or in any folder above: run this inside the repository")?;
        Ok(Repository { root: root.canonicalize()? })
    }

    /// The folder that holds the workspace's `Cargo.toml`.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The guests' own workspace.
    pub(crate) fn guests(&self) -> PathBuf {
        self.root.join("guest-mappings")
    }

    /// Where `cargo xtask guests` puts the components, whatever `CARGO_TARGET_DIR` says.
    pub(crate) fn components(&self) -> PathBuf {
        self.guests().join("target/components")
    }

    /// The host's cargo: the one that started xtask, in the repository's root.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = Command::new(process::variable("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(&self.root);
        command
    }

    /// The text files that git tracks or would track, relative to the root, sorted.
    pub(crate) fn files(&self) -> Result<Vec<PathBuf>> {
        let mut git = Command::new("git");
        git.current_dir(&self.root).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
        let listed = process::output(&mut git).context("tidy reads the list of files from git")?;
        let mut files: Vec<PathBuf> = listed
            .split('\0')
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
            .filter(|path| self.root.join(path).is_file())
            .collect();
        files.sort();
        files.dedup();
        Ok(files)
    }
}

/// The part of `cargo metadata` that xtask reads.
#[derive(Deserialize)]
pub(crate) struct Metadata {
    /// The packages of the workspace.
    pub(crate) packages: Vec<Package>,
    /// Where cargo puts what it builds.
    pub(crate) target_directory: PathBuf,
}

/// One package of a workspace.
#[derive(Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) manifest_path: PathBuf,
    pub(crate) targets: Vec<Target>,
    pub(crate) dependencies: Vec<Dependency>,
}

/// One thing that cargo builds from a package.
#[derive(Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) crate_types: Vec<String>,
}

/// One line of a package's dependencies.
#[derive(Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// Absent for a normal dependency, else `dev` or `build`.
    pub(crate) kind: Option<String>,
}

impl Metadata {
    /// Reads the workspace in the folder that `cargo` is set to run in. Needs no network.
    pub(crate) fn read(mut cargo: Command) -> Result<Self> {
        cargo.args(["metadata", "--format-version", "1", "--no-deps"]);
        let text = process::output(&mut cargo)?;
        serde_json::from_str(&text).context("`cargo metadata` wrote something unexpected")
    }
}

/// Where cargo keeps the sources of dependencies.
pub(crate) fn cargo_home() -> PathBuf {
    let home = || process::variable("HOME").map(|home| PathBuf::from(home).join(".cargo"));
    process::variable("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(home)
        .unwrap_or_else(|| PathBuf::from(".cargo"))
}
