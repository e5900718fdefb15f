//! Puts the templates of `portolan module new` into the binary: the projects themselves, the SDKs that they carry, and
//! the contract. A table of paths and texts; what it means is `src/module/new.rs`'s to know.

use std::{
    env, fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

/// The name of a tree in the table, and where it is, from this folder.
const TREES: [(&str, &str); 5] = [
    ("templates", "templates"),
    ("wit", "../../wit"),
    ("sdk", "../../guest-mappings/sdk"),
    ("sdk-js", "../../guest-mappings/sdk-js"),
    ("sdk-python", "../../guest-mappings/sdk-python"),
];

/// Folders that tools leave, where a project is tried in its place: they are part of nothing.
const LEFT_BY_TOOLS: [&str; 5] = ["target", "build", "node_modules", ".venv", "__pycache__"];
/// The SDKs' own tests; a template's are the new project's.
const TESTS: [&str; 2] = ["tests", "test"];

fn main() -> io::Result<()> {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let mut files = vec![("guests.lock".to_owned(), here.join("../../guest-mappings/Cargo.lock"))];
    for (name, place) in TREES {
        let folder = here.join(place);
        println!("cargo::rerun-if-changed={}", folder.display());
        collect(&folder, name, &mut files)?;
    }
    println!("cargo::rerun-if-changed={}", here.join("../../guest-mappings/Cargo.lock").display());
    println!("cargo::rerun-if-changed=build.rs");
    files.sort();
    let mut table = fs::File::create(out.join("embedded.rs"))?;
    writeln!(table, "&[")?;
    for (name, file) in files {
        writeln!(table, "    ({name:?}, include_str!({:?})),", file.display().to_string())?;
    }
    writeln!(table, "]")
}

fn collect(folder: &Path, name: &str, files: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let own = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path();
        if path.is_dir() {
            let is_test = !name.starts_with("templates") && TESTS.contains(&own.as_str());
            if !is_test && !LEFT_BY_TOOLS.contains(&own.as_str()) {
                collect(&path, &format!("{name}/{own}"), files)?;
            }
        } else if !own.ends_with(".pyc") {
            files.push((format!("{name}/{own}"), path));
        }
    }
    Ok(())
}
