//! `cargo xtask guests`: the mapping modules, from Rust source to WebAssembly components.
//!
//! Every package of the guests' workspace that makes a `cdylib` becomes one component,
//! `guest-mappings/target/components/<package name>.wasm`. A component that imports anything but the contract
//! (`portolan:mapping/…`) is refused here already, as the host would refuse it at upload. The same sources and
//! the same compiler make the same bytes in any folder. Files that are no longer made are deleted.
//!
//! `demo`, `test` and `bench` call [`prepare`] first. When nothing changed it starts no
//! compiler ([`record`]) and costs less than a second.

mod record;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use wit_component::{ComponentEncoder, DecodedWasm};

use self::record::Record;
use crate::process::{self, Ended, say};
use crate::repository::{Metadata, Repository, cargo_home};
use crate::toolchain::{TARGET, Toolchain};

/// The only imports a module of ours may have.
const IMPORTS_ALLOWED: &str = "portolan:mapping/";

/// Which modules to build.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// Every one, with those that misbehave on purpose.
    All,
    /// Those that map; the demo needs no others.
    Mappings,
}

/// One module, ready for upload.
struct Component {
    name: String,
    bytes: usize,
    sha256: String,
}

impl Component {
    fn new(name: &str, component: &[u8]) -> Self {
        let sha256 = hex::encode(Sha256::digest(component));
        Component { name: name.to_owned(), bytes: component.len(), sha256 }
    }
}

/// Builds, and prints name, size and digest of each component on stdout.
pub(crate) fn run(repository: &Repository) -> Result<Ended> {
    let components = build(repository, Which::All)?;
    let width = components.iter().map(|component| component.name.len()).max().unwrap_or_default();
    for Component { name, bytes, sha256 } in &components {
        println!("{name:width$}  {bytes:>9} bytes  sha256 {sha256}");
    }
    Ok(Ended { success: true })
}

/// Builds, and says so on stderr only.
pub(crate) fn prepare(repository: &Repository, which: Which) -> Result<()> {
    let components = build(repository, which)?;
    say(format!("{} components in {}", components.len(), repository.components().display()));
    Ok(())
}

fn build(repository: &Repository, which: Which) -> Result<Vec<Component>> {
    let guests = repository.guests();
    let toolchain = Toolchain::prepare(&guests)?;
    say(format!("guests: {TARGET} with {}", toolchain.version));
    let modules = modules(&toolchain, &guests)?;
    let folder = repository.components();
    fs::create_dir_all(&folder)?;
    delete_others(&folder, &modules)?;
    let mut record = Record::read(&folder, &record::inputs(repository, &toolchain.version)?);
    let mut components = Vec::new();
    for module in modules.iter().filter(|module| which == Which::All || !module.is_hostile) {
        if let Some(component) = record.fresh(&module.package, &folder) {
            components.push(component);
            continue;
        }
        let core = compile(repository, &toolchain, module)?;
        let component = componentise(&core, &folder, &module.package)?;
        record.note(&component, &folder)?;
        components.push(component);
    }
    Ok(components)
}

/// A package that makes a core module.
struct Module {
    package: String,
    /// The name of the core module's file.
    file: String,
    /// Whether it misbehaves on purpose (`guest-mappings/hostile/`).
    is_hostile: bool,
}

fn modules(toolchain: &Toolchain, guests: &Path) -> Result<Vec<Module>> {
    let metadata = Metadata::read(toolchain.cargo(guests))?;
    let mut modules = Vec::new();
    for package in metadata.packages {
        let is_module = |crate_types: &[String]| crate_types.iter().any(|kind| kind == "cdylib");
        if let Some(target) = package.targets.iter().find(|target| is_module(&target.crate_types)) {
            let file = format!("{}.wasm", target.name.replace('-', "_"));
            let is_hostile = package.manifest_path.starts_with(guests.join("hostile"));
            modules.push(Module { package: package.name, file, is_hostile });
        }
    }
    if modules.is_empty() {
        bail!("no package in {} makes a `cdylib`", guests.display());
    }
    modules.sort_by(|one, other| one.package.cmp(&other.package));
    Ok(modules)
}

/// Compiles one module and returns where the core module is.
///
/// `cargo rustc --crate-type cdylib` and not `cargo build`: a guest is also an `rlib` for its native tests, and
/// as long as cargo makes both it leaves link-time optimisation out (a sixth more bytes).
fn compile(repository: &Repository, toolchain: &Toolchain, module: &Module) -> Result<PathBuf> {
    let guests = repository.guests();
    let target = guests.join("target");
    let mut cargo = toolchain.cargo(&guests);
    cargo.args(["rustc", "--locked", "--release", "--lib", "--crate-type", "cdylib", "--target", TARGET]);
    cargo.args(["--package", &module.package]).arg("--target-dir").arg(&target);
    cargo.arg("--config").arg(reproducible(repository));
    say(format!("module {}", module.package));
    process::run_quietly(&mut cargo)?;
    Ok(target.join(TARGET).join("release").join(&module.file))
}

/// Maps the paths of this machine away: they would end up in panic messages, and so in the digest.
fn reproducible(repository: &Repository) -> String {
    let flags = [
        format!("--remap-path-prefix={}/registry/src=/registry", cargo_home().display()),
        format!("--remap-path-prefix={}=/portolan", repository.root().display()),
    ];
    let flags: Vec<String> =
        flags.iter().map(|flag| serde_json::Value::from(flag.as_str()).to_string()).collect();
    format!("target.{TARGET}.rustflags=[{}]", flags.join(","))
}

fn componentise(core: &Path, folder: &Path, name: &str) -> Result<Component> {
    let module = fs::read(core).with_context(|| format!("cargo did not make {}", core.display()))?;
    let component = encode(&module).with_context(|| format!("{name} does not become a component"))?;
    refuse_foreign_imports(&component).with_context(|| format!("{name} is refused"))?;
    let path = folder.join(format!("{name}.wasm"));
    if fs::read(&path).ok().as_ref() != Some(&component) {
        // Never half a file: the host may be reading this folder.
        let unfinished = folder.join(format!("{name}.wasm.{}", std::process::id()));
        fs::write(&unfinished, &component)?;
        fs::rename(&unfinished, &path)?;
    }
    Ok(Component {
        name: name.to_owned(),
        bytes: component.len(),
        sha256: hex::encode(Sha256::digest(&component)),
    })
}

fn encode(module: &[u8]) -> Result<Vec<u8>> {
    ComponentEncoder::default().validate(true).module(module)?.encode()
}

fn refuse_foreign_imports(component: &[u8]) -> Result<()> {
    let DecodedWasm::Component(resolve, world) = wit_component::decode(component)? else {
        bail!("it is a WIT package, not a component");
    };
    let world = resolve.worlds.get(world).context("its world is missing")?;
    for import in world.imports.keys() {
        let import = resolve.name_world_key(import);
        if !import.starts_with(IMPORTS_ALLOWED) {
            bail!(
                "it imports `{import}`; a module of this repository may import `{IMPORTS_ALLOWED}…` only \
                 (a dependency that wants the clock, files or random numbers is the usual cause)"
            );
        }
    }
    Ok(())
}

/// A component whose package is gone must not be uploaded by anybody.
fn delete_others(folder: &Path, modules: &[Module]) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_component = path.extension().is_some_and(|extension| extension == "wasm");
        let is_known =
            modules.iter().any(|module| path.file_stem().is_some_and(|stem| stem == module.package.as_str()));
        if is_component && !is_known {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A component that imports one interface and is otherwise empty.
    fn importing(interface: &str) -> Vec<u8> {
        let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
        // The type of an instance without exports, then an import of that type under the interface's name.
        bytes.extend([7, 3, 1, 0x42, 0]);
        let name = u8::try_from(interface.len()).unwrap();
        bytes.extend([10, name + 5, 1, 0, name]);
        bytes.extend(interface.as_bytes());
        bytes.extend([5, 0]);
        bytes
    }

    #[test]
    fn the_contract_may_be_imported() {
        refuse_foreign_imports(&importing("portolan:mapping/log@1.0.0")).unwrap();
    }

    #[test]
    fn a_foreign_import_is_refused_by_name() {
        let refusal = refuse_foreign_imports(&importing("wasi:clocks/wall-clock@0.2.0")).unwrap_err();
        assert!(refusal.to_string().contains("wasi:clocks/wall-clock@0.2.0"), "{refusal}");
    }
}
