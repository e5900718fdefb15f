//! A sysroot for Debian's compiler that has the standard library of the modules' target.
//!
//! Debian ships that library as source only. [`build`] compiles it once (some 40 s of one core, 70 MB) into
//! `~/.cache/portolan/wasm-sysroot/<rustc version>/`; afterwards a guest is a plain `cargo build` with a `RUSTC`
//! that adds `--sysroot`. The folder holds:
//!
//! ```text
//! bin/rustc                                     a two-line wrapper around Debian's rustc
//! lib/rustlib/<host>/lib                        -> Debian's, for build scripts and macros
//! lib/rustlib/<host>/bin/rust-lld               -> a linker (rustup's own, else Debian's lld)
//! lib/rustlib/wasm32-unknown-unknown/lib/*.rlib what was compiled
//! complete                                      written last: which compiler it was made with
//! ```
//!
//! A crash while it is being made leaves no `complete`, and the next call starts over. Two calls at once wait for
//! each other on a lock file. Paths of this machine are mapped away, so the same compiler makes the same bytes
//! everywhere.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{TARGET, Toolchain, ask, clean, debian, has_std, version};
use crate::process::{self, say};
use crate::repository::cargo_home;

/// Goes up when the way a sysroot is made changes.
const RECIPE: u32 = 1;

/// The sysroot of an earlier call, if it is complete and made with the compiler that is installed now.
pub(super) fn cached() -> Option<Toolchain> {
    let sysroot = Sysroot::of_debian()?;
    sysroot.is_complete().then(|| sysroot.toolchain())
}

/// Makes the sysroot (or waits for another process that is making it). Debian's compiler must be installed.
pub(super) fn build(folder: &Path) -> Result<Toolchain> {
    let sysroot = Sysroot::of_debian().context("Debian's rustc does not answer")?;
    fs::create_dir_all(&sysroot.cache)?;
    let lock = fs::File::create(sysroot.folder.with_extension("lock"))?;
    if lock.try_lock().is_err() {
        say("another process is building the wasm standard library; waiting for it");
        lock.lock()?;
    }
    if !sysroot.is_complete() {
        sysroot.make(folder)?;
    }
    Ok(sysroot.toolchain())
}

/// A linker for the target: rustup's own (in the active toolchain), else one that Debian installed.
pub(super) fn linker(folder: &Path) -> Option<PathBuf> {
    let in_sysroot = |rustc: &str| {
        let sysroot = ask(Path::new(rustc), folder, &["--print", "sysroot"])?;
        Some(Path::new(&sysroot).join("lib/rustlib").join(host(rustc, folder)?).join("bin/rust-lld"))
    };
    let installed = || Some(PathBuf::from(format!("/usr/lib/llvm-{}/bin/lld", debian::llvm_major(folder)?)));
    [in_sysroot("rustc"), in_sysroot(debian::RUSTC), installed()]
        .into_iter()
        .flatten()
        .find(|path| path.exists())
}

fn host(rustc: &str, folder: &Path) -> Option<String> {
    let verbose = ask(Path::new(rustc), folder, &["-vV"])?;
    verbose.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned)
}

struct Sysroot {
    cache: PathBuf,
    folder: PathBuf,
    version: String,
    /// What must be written in `complete`.
    identity: String,
}

impl Sysroot {
    fn of_debian() -> Option<Self> {
        let rustc = Path::new(debian::RUSTC);
        let version = version(rustc, Path::new("/"))?;
        let file = fs::metadata(rustc).ok()?;
        let cache = cache().join("wasm-sysroot");
        let name: String =
            version.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '_' }).collect();
        Some(Sysroot {
            folder: cache.join(name),
            cache,
            identity: format!("recipe {RECIPE}, {version}, {} bytes of {}\n", file.size(), file.mtime()),
            version,
        })
    }

    fn toolchain(self) -> Toolchain {
        Toolchain {
            cargo: PathBuf::from(debian::CARGO),
            rustc: Some(self.folder.join("bin/rustc")),
            version: self.version,
        }
    }

    fn libraries(&self) -> PathBuf {
        self.folder.join("lib/rustlib").join(TARGET).join("lib")
    }

    fn is_complete(&self) -> bool {
        fs::read_to_string(self.folder.join("complete")).is_ok_and(|text| text == self.identity)
            && has_std(&self.libraries())
            && debian::source(Path::new("/")).is_some()
            && self.linker_link(Path::new("/")).is_some_and(|link| link.exists())
    }

    fn linker_link(&self, folder: &Path) -> Option<PathBuf> {
        Some(self.folder.join("lib/rustlib").join(host(debian::RUSTC, folder)?).join("bin/rust-lld"))
    }

    fn make(&self, folder: &Path) -> Result<()> {
        say(format!("building the standard library for {TARGET} once, into {}", self.folder.display()));
        let started = process::now();
        if self.folder.exists() {
            fs::remove_dir_all(&self.folder)?;
        }
        self.link_host(folder)?;
        self.compile_std(folder)?;
        fs::write(self.folder.join("complete"), &self.identity)?;
        say(format!("standard library built in {} s", started.elapsed().as_secs()));
        Ok(())
    }

    /// Everything that is not compiled: the wrapper, and links to the host's libraries and to the linker.
    fn link_host(&self, folder: &Path) -> Result<()> {
        let debian_sysroot = ask(Path::new(debian::RUSTC), folder, &["--print", "sysroot"])
            .context("Debian's rustc does not name its sysroot")?;
        let host = host(debian::RUSTC, folder).context("Debian's rustc does not name its host")?;
        let link = self.linker_link(folder).context("Debian's rustc does not name its host")?;
        let linker = linker(folder).context("no linker for wasm32: install Debian's lld")?;
        let of_host = Path::new("lib/rustlib").join(host);
        fs::create_dir_all(self.folder.join(&of_host).join("bin"))?;
        fs::create_dir_all(self.folder.join("bin"))?;
        fs::create_dir_all(self.libraries())?;
        symlink(
            Path::new(&debian_sysroot).join(&of_host).join("lib"),
            self.folder.join(&of_host).join("lib"),
        )?;
        symlink(linker, link)?;
        // A link to rustc would not do: rustc takes its sysroot from where its libraries are.
        let wrapper = self.folder.join("bin/rustc");
        let text = format!("#!/bin/sh\nexec {} --sysroot '{}' \"$@\"\n", debian::RUSTC, shell(&self.folder));
        fs::write(&wrapper, text)?;
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755))?;
        Ok(())
    }

    /// Compiles the standard library as the dependency of an empty crate, and keeps the libraries.
    fn compile_std(&self, folder: &Path) -> Result<()> {
        let source = debian::source(folder).context("the source of the standard library is gone")?;
        let work = self.folder.join("build");
        fs::create_dir_all(work.join("src"))?;
        fs::write(work.join("src/lib.rs"), "#![no_std]\n")?;
        fs::write(work.join("Cargo.toml"), EMPTY_CRATE)?;
        let real_source = source.join("rust").canonicalize()?;
        let flags = [
            // Without bitcode in the libraries, a guest built with `lto = true` could not use them.
            "-Cembed-bitcode=yes".to_owned(),
            format!("--remap-path-prefix={}=/rustc/std", source.join("rust").display()),
            format!("--remap-path-prefix={}=/rustc/std", real_source.display()),
            format!("--remap-path-prefix={}/registry/src=/registry", cargo_home().display()),
        ];
        let mut cargo = clean(Path::new(debian::CARGO), &work);
        cargo.env_remove("LD_LIBRARY_PATH");
        cargo.env("RUSTC", debian::RUSTC).env("RUSTC_BOOTSTRAP", "1");
        cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
        cargo.args(["build", "--release", "--target", TARGET, "-Zbuild-std=std,panic_abort"]);
        cargo.arg("--target-dir").arg(work.join("target"));
        process::run_to_success(&mut cargo)?;
        let built = work.join("target").join(TARGET).join("release/deps");
        for entry in fs::read_dir(built)? {
            let file = entry?.path();
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            if name.ends_with(".rlib") && !name.starts_with("libportolan_std") {
                fs::copy(&file, self.libraries().join(&*name))?;
            }
        }
        fs::remove_dir_all(work)?;
        Ok(())
    }
}

/// The crate whose only purpose is to depend on the standard library.
const EMPTY_CRATE: &str = r#"[package]
name = "portolan_std"
version = "0.0.0"
edition = "2021"

[workspace]

[profile.release]
opt-level = "s"
"#;

/// A path inside single quotes of a shell.
fn shell(path: &Path) -> String {
    path.to_string_lossy().replace('\'', r"'\''")
}

/// The cache of this user, else a folder of the machine's.
fn cache() -> PathBuf {
    let home = || process::variable("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = process::variable("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
    cache.unwrap_or_else(std::env::temp_dir).join("portolan")
}
