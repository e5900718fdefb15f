//! Rust: plain cargo for `wasm32-unknown-unknown`, then the core module becomes a component.
//!
//! Two components are made of one compilation: the one for upload carries the names of functions, its twin in `build/`
//! the debug information too (see [`lines`](super::super::lines)). Their code is the same.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, bail};
use portolan_domain::ModuleDigest;
use wasmparser::{Encoding, Parser, Payload};
use wit_component::ComponentEncoder;

use super::{
    super::{lines::twin_name, project::Project, say, write_whole},
    tool,
};

const TARGET: &str = "wasm32-unknown-unknown";

const REMEDY: &str = "no Rust compiler here can build for wasm32-unknown-unknown. Any one of these helps:
  with rustup:         rustup target add wasm32-unknown-unknown
  Debian 13 and later: apt-get install libstd-rust-dev-wasm32, with Debian's rustc
  otherwise:           set RUSTC to a compiler that has that target's standard library";

pub(super) fn build(project: &Project) -> anyhow::Result<Vec<u8>> {
    see_to_target(project)?;
    let target = project.folder.join("target");
    // `cargo rustc --crate-type`: with an rlib beside it, cargo would leave link-time optimisation out.
    let mut cargo = cargo(project);
    cargo.args(["rustc", "--release", "--lib", "--crate-type", "cdylib", "--target", TARGET]);
    cargo.args([
        "--config",
        "profile.release.debug=\"line-tables-only\"",
        "--config",
        "profile.release.strip=\"none\"",
    ]);
    tool::run(cargo.arg("--target-dir").arg(&target))?;
    let file = target.join(TARGET).join("release").join(format!("{}.wasm", project.name.replace('-', "_")));
    let core = fs::read(&file).with_context(|| {
        format!(
            "cargo did not make {}: is the crate's type `cdylib`, and its library's name its own?",
            file.display()
        )
    })?;
    let component = encode(&without_debug(&core)?)?;
    keep_twin(project, &component, &encode(&core)?)?;
    Ok(component)
}

fn cargo(project: &Project) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(&project.folder);
    // Flags of whoever started this program are not meant for a module.
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_TARGET_DIR", "CARGO_BUILD_TARGET"] {
        command.env_remove(name);
    }
    command
}

/// Sees to it that the active compiler has the target's standard library.
fn see_to_target(project: &Project) -> anyhow::Result<()> {
    if has_target(project) {
        return Ok(());
    }
    say(format!("the active Rust compiler has no standard library for {TARGET}; asking rustup for it"));
    let mut rustup = Command::new("rustup");
    if tool::run(rustup.current_dir(&project.folder).args(["target", "add", TARGET])).is_err()
        || !has_target(project)
    {
        bail!("{REMEDY}");
    }
    Ok(())
}

fn has_target(project: &Project) -> bool {
    let rustc = std::env::var_os("RUSTC").map_or_else(|| PathBuf::from("rustc"), PathBuf::from);
    let mut ask = Command::new(rustc);
    ask.current_dir(&project.folder).args(["--print", "target-libdir", "--target", TARGET]);
    let libraries = tool::output(&mut ask).map(fs::read_dir);
    let Some(Ok(libraries)) = libraries else { return false };
    libraries.flatten().any(|file| file.file_name().to_string_lossy().starts_with("libstd-"))
}

fn encode(core: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut encoder = ComponentEncoder::default();
    encoder.validate(true);
    encoder.module(core).and_then(|encoder| encoder.encode()).context(
        "the core module does not become a component: does the crate export a mapping with `portolan_sdk::mapping!`?",
    )
}

/// A core module without its debug information. Everything else stays, byte for byte.
fn without_debug(core: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut kept = core.get(..8).context("the core module is cut")?.to_vec();
    for payload in Parser::new(0).parse_all(core) {
        let payload = payload?;
        if let Payload::Version { encoding: Encoding::Component, .. } = payload {
            bail!("cargo made a component, where a core module was expected");
        }
        if let Payload::CustomSection(section) = &payload
            && section.name().starts_with(".debug")
        {
            continue;
        }
        if let Some((id, range)) = payload.as_section() {
            kept.push(id);
            leb128(&mut kept, range.len());
            kept.extend_from_slice(core.get(range).context("the core module is cut")?);
        }
    }
    Ok(kept)
}

/// A length as WebAssembly writes it.
fn leb128(to: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        to.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    to.push((value & 0x7f) as u8);
}

/// Keeps the twin of the component that was built last, and no other.
fn keep_twin(project: &Project, component: &[u8], twin: &[u8]) -> anyhow::Result<()> {
    let folder = project.build_folder();
    fs::create_dir_all(&folder)?;
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("debug-")) {
            fs::remove_file(path)?;
        }
    }
    write_whole(&folder.join(twin_name(&ModuleDigest::of(component).to_string())), twin)
}
