//! The compiled cache: artifacts on disk, each sealed with a keyed MAC.
//!
//! Loading an artifact is running its code, so a file is loaded only when its seal proves that this host, or one
//! with the same key, wrote it, for this module and this engine. A file that is missing, cut, foreign or made by
//! another version is treated as absent: the module is compiled again. Losing the folder loses time only.

use std::{
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use hmac::{Hmac, Mac};
use portolan_domain::{ModuleDigest, Secret};
use sha2::Sha256;
use wasmtime::{Engine, component::Component};

use crate::{engine::EngineId, refusal::SandboxError};

mod load;

/// What the MAC begins with: the format of the file, so that a later one cannot be taken for this.
const FORMAT: &[u8] = b"portolan compiled artifact 1\0";
const SEAL_BYTES: usize = 32;
/// Shorter keys could be guessed.
const KEY_BYTES_MIN: usize = 32;

/// The folder of artifacts.
#[derive(Debug)]
pub(crate) struct Artifacts {
    folder: PathBuf,
    /// Keyed, and fed with nothing yet.
    seal: Hmac<Sha256>,
    engine_id: EngineId,
    bytes_max: usize,
    written: AtomicU64,
}

impl Artifacts {
    pub(crate) fn open(
        folder: PathBuf,
        key: &Secret,
        engine_id: EngineId,
        bytes_max: usize,
    ) -> Result<Self, SandboxError> {
        let unusable = || {
            let problem = format!("it must have at least {KEY_BYTES_MIN} bytes");
            SandboxError::Setting { setting: "cache_key", problem }
        };
        let key =
            Some(key.expose().as_bytes()).filter(|key| key.len() >= KEY_BYTES_MIN).ok_or_else(unusable)?;
        let seal = Hmac::new_from_slice(key).map_err(|_| unusable())?;
        fs::create_dir_all(&folder).map_err(SandboxError::io("creating the folder of compiled modules"))?;
        Ok(Self { folder, seal, engine_id, bytes_max, written: AtomicU64::new(0) })
    }

    /// Where the artifact of a module is, for this engine: hosts of two versions can share the folder.
    pub(crate) fn path(&self, digest: &ModuleDigest) -> PathBuf {
        let engine = self.engine_id.hex();
        self.folder.join(format!("{digest}-{}.compiled", engine.get(..16).unwrap_or(&engine)))
    }

    /// Reads, verifies and loads an artifact; with its size. `None` when there is none that may be loaded.
    pub(crate) fn load(&self, engine: &Engine, digest: &ModuleDigest) -> Option<(Component, usize)> {
        let path = self.path(digest);
        let sealed = match self.read(&path) {
            Ok(sealed) => sealed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "a compiled module could not be read");
                return None;
            }
        };
        let verified = self.verify(digest, &sealed);
        if verified.is_none() {
            tracing::warn!(path = %path.display(), "a compiled module has no valid seal and is not used");
        }
        let verified = verified?;
        match load::component(engine, &verified) {
            Ok(component) => Some((component, verified.bytes().len())),
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "a compiled module could not be loaded");
                None
            }
        }
    }

    /// Seals and stores an artifact. Another host or call that does the same at the same time is harmless: the
    /// file appears whole or not at all.
    pub(crate) fn store(&self, digest: &ModuleDigest, artifact: &[u8]) -> Result<(), SandboxError> {
        let path = self.path(digest);
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let unfinished = self.folder.join(format!(".{digest}-{}-{number}", std::process::id()));
        let write = || -> io::Result<()> {
            let mut file = fs::File::create(&unfinished)?;
            file.write_all(&self.mac(digest, artifact).finalize().into_bytes())?;
            file.write_all(artifact)?;
            drop(file);
            fs::rename(&unfinished, &path)
        };
        write().map_err(|error| {
            // What could not be written whole is of no use; that it cannot be removed either changes nothing.
            drop(fs::remove_file(&unfinished));
            SandboxError::io("writing a compiled module")(error)
        })
    }

    /// Forgets an artifact.
    pub(crate) fn remove(&self, digest: &ModuleDigest) {
        drop(fs::remove_file(self.path(digest)));
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = fs::File::open(path)?;
        let max = self.bytes_max.saturating_add(SEAL_BYTES);
        let mut sealed = Vec::with_capacity(usize::try_from(file.metadata()?.len()).unwrap_or(max).min(max));
        file.take(max as u64).read_to_end(&mut sealed)?;
        Ok(sealed)
    }

    fn verify<'b>(&self, digest: &ModuleDigest, sealed: &'b [u8]) -> Option<Verified<'b>> {
        let (seal, artifact) = sealed.split_at_checked(SEAL_BYTES)?;
        self.mac(digest, artifact).verify_slice(seal).ok()?;
        Some(Verified(artifact))
    }

    fn mac(&self, digest: &ModuleDigest, artifact: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.seal.clone();
        mac.update(FORMAT);
        mac.update(self.engine_id.bytes());
        mac.update(digest.as_str().as_bytes());
        mac.update(artifact);
        mac
    }
}

/// An artifact whose seal was found valid. Only [`Artifacts::verify`] makes one.
struct Verified<'b>(&'b [u8]);

impl Verified<'_> {
    const fn bytes(&self) -> &[u8] {
        self.0
    }
}
