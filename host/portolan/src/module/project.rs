//! The project that a folder holds: its language, its name, where its component is.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::ValueEnum;
use serde_json::Value;

/// What a mapping is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Language {
    /// Rust, built with cargo.
    Rust,
    /// JavaScript, on QuickJS.
    Js,
    /// TypeScript, on QuickJS.
    Ts,
    /// Python, on CPython.
    Python,
}

/// A folder with a mapping in it.
pub(super) struct Project {
    pub(super) folder: PathBuf,
    pub(super) language: Language,
    pub(super) name: String,
}

impl Project {
    /// The project of a folder.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn of(folder: &Path) -> anyhow::Result<Self> {
        let folder = folder.canonicalize().with_context(|| folder.display().to_string())?;
        let has = |file: &str| folder.join(file).exists();
        let (language, name) = if has("Cargo.toml") {
            (Language::Rust, toml_name(&folder.join("Cargo.toml"), "package")?)
        } else if has("package.json") {
            let language = if has("src/mapping.ts") { Language::Ts } else { Language::Js };
            (language, json_name(&folder.join("package.json"))?)
        } else if has("pyproject.toml") {
            (Language::Python, toml_name(&folder.join("pyproject.toml"), "project")?)
        } else {
            bail!(
                "{} holds no mapping: neither Cargo.toml nor package.json nor pyproject.toml is there; \
                 make a project with `portolan module new`",
                folder.display()
            );
        };
        Ok(Self { folder, language, name })
    }

    /// Where its component is built.
    pub(super) fn component(&self) -> PathBuf {
        self.folder.join(format!("{}.wasm", self.name))
    }

    /// Where what is needed beside the component is kept: not for upload.
    pub(super) fn build_folder(&self) -> PathBuf {
        self.folder.join("build")
    }
}

/// The component that a command is about: the one named, else that of the project in the working folder.
pub(super) fn component(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(file) = named {
        return Ok(file.to_owned());
    }
    let project = Project::of(Path::new(".")).context("no --module was given")?;
    let file = project.component();
    if !file.exists() {
        bail!("{} is not built yet: run `portolan module build` first", file.display());
    }
    Ok(file)
}

fn toml_name(file: &Path, table: &str) -> anyhow::Result<String> {
    let text = fs::read_to_string(file)?;
    let parsed: toml::Table = text.parse().with_context(|| file.display().to_string())?;
    let name = parsed.get(table).and_then(|table| table.get("name")).and_then(toml::Value::as_str);
    name.map(str::to_owned).with_context(|| format!("{} names no {table}", file.display()))
}

fn json_name(file: &Path) -> anyhow::Result<String> {
    let json: Value =
        serde_json::from_str(&fs::read_to_string(file)?).with_context(|| file.display().to_string())?;
    let name = json.get("name").and_then(Value::as_str);
    name.map(str::to_owned).with_context(|| format!("{} has no name", file.display()))
}
