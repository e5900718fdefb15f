//! Debian's packages `rustc-web cargo-web rust-web-src`: a recent compiler in `/usr/bin` and the source of its
//! standard library. Installed only when they are missing, only on Debian, and only when it can be done without
//! a password; nothing is ever removed for them. Called by [`Toolchain::prepare`](super::Toolchain::prepare).

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::ask;
use crate::process::{self, say};

/// Debian's compiler; it lives beside a rustup that comes first on the path.
pub(super) const RUSTC: &str = "/usr/bin/rustc";
/// Debian's cargo, of the same version as [`RUSTC`].
pub(super) const CARGO: &str = "/usr/bin/cargo";

const PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

/// So that a machine without a way out fails in seconds instead of minutes.
const APT_OPTIONS: [&str; 6] =
    ["-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=20", "-o", "Acquire::https::Timeout=20"];

/// Sees to it that compiler, cargo, source and a linker are there. `false`: not on this machine.
pub(super) fn prepare(folder: &Path) -> Result<bool> {
    if source(folder).is_none() && !install(folder, &PACKAGES.map(str::to_owned))? {
        return Ok(false);
    }
    if source(folder).is_none() {
        say(format!("{RUSTC} is not the compiler of {}; leaving it alone", PACKAGES.join(", ")));
        return Ok(false);
    }
    if super::sysroot::linker(folder).is_some() {
        return Ok(true);
    }
    // rustup's toolchains bring the linker along, Debian's compiler does not: it wants the one of its LLVM.
    let Some(major) = llvm_major(folder) else { return Ok(false) };
    Ok(install(folder, &[format!("lld-{major}")])? && super::sysroot::linker(folder).is_some())
}

fn install(folder: &Path, packages: &[String]) -> Result<bool> {
    let names = packages.join(" ");
    if !Path::new("/etc/debian_version").exists() {
        return Ok(false);
    }
    let Some(privilege) = Privilege::of_this_user() else {
        say(format!("this is Debian, but installing {names} needs root or a sudo without password"));
        return Ok(false);
    };
    say(format!("installing Debian's {names} (the compiler is some 120 MB; nothing is removed)"));
    // An update that fails (one unreachable mirror of several) is no reason not to try the install.
    process::run(privilege.apt().current_dir(folder).arg("update"))?;
    let mut install = privilege.apt();
    install.current_dir(folder).args(["install", "--yes", "--no-install-recommends", "--no-remove"]);
    let installed = process::run(install.args(packages))?.success();
    if !installed {
        say(format!("apt-get could not install {names}"));
    }
    Ok(installed)
}

/// The major version of the LLVM in Debian's compiler.
pub(super) fn llvm_major(folder: &Path) -> Option<String> {
    let verbose = ask(Path::new(RUSTC), folder, &["-vV"])?;
    let version = verbose.lines().find_map(|line| line.strip_prefix("LLVM version: "))?;
    version.split('.').next().map(str::to_owned)
}

/// The folder of the standard library's source, if compiler, cargo and source are all there.
pub(super) fn source(folder: &Path) -> Option<PathBuf> {
    if !Path::new(CARGO).exists() {
        return None;
    }
    let sysroot = ask(Path::new(RUSTC), folder, &["--print", "sysroot"])?;
    let source = Path::new(&sysroot).join("lib/rustlib/src");
    source.join("rust/library/Cargo.lock").exists().then_some(source)
}

/// How this user may install packages.
enum Privilege {
    Root,
    Sudo,
}

impl Privilege {
    fn of_this_user() -> Option<Self> {
        let id = process::output(Command::new("id").arg("-u")).ok()?;
        if id.trim() == "0" {
            return Some(Privilege::Root);
        }
        process::output(Command::new("sudo").args(["-n", "true"])).is_ok().then_some(Privilege::Sudo)
    }

    fn apt(&self) -> Command {
        let mut command = match self {
            Privilege::Root => Command::new("apt-get"),
            Privilege::Sudo => {
                let mut sudo = Command::new("sudo");
                sudo.args(["-n", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
                sudo
            }
        };
        command.env("DEBIAN_FRONTEND", "noninteractive").env_remove("LD_LIBRARY_PATH").args(APT_OPTIONS);
        command
    }
}
