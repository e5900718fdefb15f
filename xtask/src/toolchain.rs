//! A compiler that can build for `wasm32-unknown-unknown`, found on the machine or made on it.
//!
//! [`Toolchain::prepare`] takes the first of these that works, cheapest first, and says what it does:
//!
//! 1. the active `rustc` already has the target's standard library;
//! 2. Debian's `rustc` with a sysroot that an earlier call made ([`sysroot`]);
//! 3. `rustup target add` (ended after [`RUSTUP_LIMIT`]: a machine without a way out must not hang here);
//! 4. on Debian, the packages `rustc-web cargo-web rust-web-src` ([`debian`]), from whose source the standard
//!    library is compiled once into a cached sysroot.
//!
//! If none works, the error says what to install. Only [`guests`](crate::guests) calls this.

mod debian;
mod sysroot;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::process::{self, say};

/// The target of every module: no operating system, so no import but the contract's own.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// How long `rustup target add` may take: some 20 MB over a slow line, or a server that never answers.
const RUSTUP_LIMIT: Duration = Duration::from_secs(180);

/// What a person can do when no way worked.
const REMEDY: &str = "no Rust compiler here can build for wasm32-unknown-unknown. Any one of these helps:
  with rustup:        rustup target add wasm32-unknown-unknown
  Debian 12, as root: apt-get update && apt-get install rustc-web cargo-web rust-web-src
  otherwise:          install your distribution's wasm32 standard library for the active rustc
                      (Debian 13 and later: libstd-rust-dev-wasm32)
Then run the command again.";

/// Settings of the host build that must not leak into a module: its bytes are to be the same everywhere.
const NOT_FOR_GUESTS: [&str; 13] = [
    "CARGO_BUILD_RUSTC",
    "CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER",
    "CARGO_BUILD_RUSTC_WRAPPER",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_TARGET_DIR",
    "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS",
    "RUSTC",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTFLAGS",
];

/// A cargo and the rustc it is to use.
pub(crate) struct Toolchain {
    cargo: PathBuf,
    /// `None`: whichever cargo takes by itself.
    rustc: Option<PathBuf>,
    /// What `rustc --version` says.
    pub(crate) version: String,
}

impl Toolchain {
    /// Finds or makes a toolchain for [`TARGET`]. `folder` is where it will be used: rustup's choice of a
    /// toolchain depends on it.
    pub(crate) fn prepare(folder: &Path) -> Result<Self> {
        if let Some(found) = Self::active(folder) {
            return Ok(found);
        }
        if let Some(cached) = sysroot::cached() {
            return Ok(cached);
        }
        if rustup_target_add(folder)?
            && let Some(found) = Self::active(folder)
        {
            return Ok(found);
        }
        if debian::prepare(folder)? {
            return sysroot::build(folder);
        }
        bail!(REMEDY)
    }

    /// This cargo, to be run in `folder`, free of the host build's settings.
    pub(crate) fn cargo(&self, folder: &Path) -> Command {
        let mut command = clean(&self.cargo, folder);
        if let Some(rustc) = &self.rustc {
            // Debian's compiler must load its own libraries, not those that `cargo run` put on the path.
            command.env("RUSTC", rustc).env_remove("LD_LIBRARY_PATH").env_remove("RUSTUP_TOOLCHAIN");
        }
        command
    }

    fn active(folder: &Path) -> Option<Self> {
        let rustc = Path::new("rustc");
        if !has_target(rustc, folder) {
            return None;
        }
        let cargo = process::variable("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from);
        Some(Toolchain { cargo, rustc: None, version: version(rustc, folder)? })
    }
}

/// A program in a folder, without the settings of the host build.
fn clean(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder);
    for name in NOT_FOR_GUESTS {
        command.env_remove(name);
    }
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PROFILE_") {
            command.env_remove(name);
        }
    }
    command
}

/// Asks a rustc for something, `None` when it does not answer.
fn ask(rustc: &Path, folder: &Path, arguments: &[&str]) -> Option<String> {
    let mut command = clean(rustc, folder);
    if rustc.is_absolute() {
        command.env_remove("LD_LIBRARY_PATH");
    }
    Some(process::output(command.args(arguments)).ok()?.trim().to_owned())
}

fn version(rustc: &Path, folder: &Path) -> Option<String> {
    ask(rustc, folder, &["--version"])
}

/// Whether this rustc has the standard library of [`TARGET`].
fn has_target(rustc: &Path, folder: &Path) -> bool {
    ask(rustc, folder, &["--print", "target-libdir", "--target", TARGET])
        .is_some_and(|libraries| has_std(Path::new(&libraries)))
}

fn has_std(libraries: &Path) -> bool {
    std::fs::read_dir(libraries).is_ok_and(|entries| {
        entries.flatten().any(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with("libstd-") && name.ends_with(".rlib")
        })
    })
}

/// `false`: no rustup here, or it cannot reach its server.
fn rustup_target_add(folder: &Path) -> Result<bool> {
    let mut which = clean(Path::new("rustup"), folder);
    if process::output(which.args(["which", "rustc"])).is_err() {
        return Ok(false);
    }
    say(format!("the active rustc has no standard library for {TARGET}; asking rustup for it"));
    let mut add = clean(Path::new("rustup"), folder);
    add.args(["target", "add", TARGET]).env("RUST_BACKTRACE", "0");
    let added = process::run_within(&mut add, RUSTUP_LIMIT)?;
    if !added {
        say("rustup could not add the target; trying the next way");
    }
    Ok(added)
}
