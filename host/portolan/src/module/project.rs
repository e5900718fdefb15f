//! The project that a folder holds: its language, its name, where its component is.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::ValueEnum;
use serde_json::Value;

use super::say;

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

/// What a component is made of, in the project's folder.
const SOURCES: &[&str] = &["src", "vendor", "Cargo.toml", "package.json", "pyproject.toml"];

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

    /// A source that was changed after the component was built.
    fn changed_since_build(&self) -> Option<PathBuf> {
        let built = fs::metadata(self.component()).and_then(|data| data.modified()).ok()?;
        let mut sources: Vec<PathBuf> = SOURCES.iter().map(|source| self.folder.join(source)).collect();
        while let Some(path) = sources.pop() {
            let Ok(data) = fs::metadata(&path) else { continue };
            if data.is_dir() {
                let inside = fs::read_dir(&path).into_iter().flatten().flatten().map(|file| file.path());
                // What programs write beside a source, like bytecode, is none.
                sources.extend(inside.filter(|path| !path.ends_with("__pycache__")));
            } else if data.modified().is_ok_and(|changed| changed > built) {
                return path.strip_prefix(&self.folder).map(Path::to_owned).ok();
            }
        }
        None
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
    if let Some(source) = project.changed_since_build() {
        say(format!(
            "note: {} was changed after {}.wasm was built: `portolan module build` builds it anew",
            source.display(),
            project.name
        ));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_is_newer_than_the_component_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let write = |file: &str, second: u64| {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(second);
            fs::File::create(path).unwrap().set_modified(at).unwrap();
        };
        let project = Project {
            folder: folder.path().to_owned(),
            language: Language::Python,
            name: "to-epicor".to_owned(),
        };
        for file in ["pyproject.toml", "src/mapping.py", "src/erp/document.py", "to-epicor.wasm"] {
            write(file, 10);
        }
        assert_eq!(project.changed_since_build(), None);
        // Neither cases nor what is built belong to it.
        for file in ["cases/refund.json", "build/names", "src/__pycache__/mapping.pyc"] {
            write(file, 11);
        }
        assert_eq!(project.changed_since_build(), None);
        write("src/erp/document.py", 11);
        assert_eq!(project.changed_since_build(), Some(PathBuf::from("src/erp/document.py")));
        write("to-epicor.wasm", 12);
        assert_eq!(project.changed_since_build(), None);
    }
}
