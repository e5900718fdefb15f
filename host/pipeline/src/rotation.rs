//! Master keys: where they are kept, and how one takes another's place.
//!
//! The file holds one key per line, 64 hex digits: the first seals, the others only open what they have sealed. A
//! rotation first writes the file with a new first line, then wraps every record's data keys anew, while work goes on:
//! each by a swap that leaves alone what somebody else has changed meanwhile. Whatever interrupts it, both keys are in
//! the file, and the next rotation or start goes on. The old line goes at the next start, when nothing that was begun
//! under it can still be on its way.

use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

use portolan_store::{Store, StoreError, audit::Change};

use crate::vault::{MasterKey, MasterKeyId, Sealed, Vault, sealed_under};

/// Where master keys come from.
#[derive(Debug)]
pub struct MasterKeys {
    keys: Vec<MasterKey>,
    /// None: the operator's own keeper hands them over at the start.
    file: Option<PathBuf>,
}

/// Why keys cannot be had or changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyProblem {
    /// The file cannot be read or written.
    #[error("{}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It holds something else.
    #[error(
        "{0} does not hold master keys, which are 64 hex digits each, the present one first: put the copy in its place that \
         you keep of it. Do not make a new one: what is sealed opens under the old one alone"
    )]
    Unreadable(String),
    /// No file, so the host cannot keep a new key.
    #[error(
        "the master key comes from PORTOLAN_MASTER_KEY: put the new key before the old one there, separated by a comma, \
         restart, and rotate"
    )]
    NotOurs,
    /// The machine has no randomness, or a record does not open.
    #[error(transparent)]
    Sealed(#[from] Sealed),
    /// The store does not answer.
    #[error("the store")]
    Store(#[from] StoreError),
}

/// What a rotation did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// The key that seals now.
    pub current: MasterKeyId,
    /// Whether it is new.
    pub new: bool,
    /// Records whose data keys were wrapped anew.
    pub rewrapped: usize,
}

impl MasterKeys {
    /// From a file, which is made with a new key if it is not there, readable by its owner alone.
    ///
    /// # Errors
    /// See [`KeyProblem`].
    pub fn from_file(path: &Path) -> Result<Self, KeyProblem> {
        let file = Some(path.to_owned());
        match std::fs::read_to_string(path) {
            Ok(text) => {
                Ok(Self { keys: parse(&zeroize::Zeroizing::new(text), &path.display().to_string())?, file })
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let keys = Self { keys: vec![MasterKey::generate()?], file };
                keys.save()?;
                Ok(keys)
            }
            Err(source) => Err(KeyProblem::File { path: path.to_owned(), source }),
        }
    }

    /// From a file that must be there.
    ///
    /// # Errors
    /// See [`KeyProblem`].
    pub fn from_existing(path: &Path) -> Result<Self, KeyProblem> {
        match std::fs::metadata(path) {
            Ok(_) => Self::from_file(path),
            Err(source) => Err(KeyProblem::File { path: path.to_owned(), source }),
        }
    }

    /// From a text: the present key, then older ones, separated by commas.
    ///
    /// # Errors
    /// When it is not that.
    pub fn from_text(text: &str) -> Result<Self, KeyProblem> {
        Ok(Self { keys: parse(text, "PORTOLAN_MASTER_KEY")?, file: None })
    }

    /// The present one, then older ones.
    #[must_use]
    pub fn keys(&self) -> &[MasterKey] {
        &self.keys
    }

    /// A vault that seals and opens with them.
    #[must_use]
    pub fn vault(&self) -> Vault {
        Vault::with_keys(&self.keys)
    }

    /// Writes the file: whole or not at all, and durable when this returns.
    fn save(&self) -> Result<(), KeyProblem> {
        use std::os::unix::fs::OpenOptionsExt;
        let Some(path) = &self.file else { return Err(KeyProblem::NotOurs) };
        let failed = |source| KeyProblem::File { path: path.clone(), source };
        let mut new = path.clone().into_os_string();
        new.push(".new");
        // What an interrupted save left may be readable by others.
        match std::fs::remove_file(&new) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => return Err(failed(source)),
            Ok(()) | Err(_) => {}
        }
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&new).map_err(failed)?;
        for key in &self.keys {
            file.write_all(key.expose().as_bytes()).and_then(|()| file.write_all(b"\n")).map_err(failed)?;
        }
        file.sync_all().map_err(failed)?;
        std::fs::rename(&new, path).map_err(failed)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = std::fs::File::open(folder.unwrap_or_else(|| Path::new("."))).map_err(failed)?;
        folder.sync_all().map_err(failed)
    }
}

fn parse(text: &str, named: &str) -> Result<Vec<MasterKey>, KeyProblem> {
    let words = text.split([',', '\n']).map(str::trim).filter(|word| !word.is_empty());
    let keys: Option<Vec<MasterKey>> = words.map(MasterKey::parse).collect();
    keys.filter(|keys| !keys.is_empty()).ok_or_else(|| KeyProblem::Unreadable(named.to_owned()))
}

/// Master keys and the vault that uses them, of a running host.
#[derive(Debug)]
pub struct Rotation {
    keys: tokio::sync::Mutex<MasterKeys>,
    vault: Arc<Vault>,
    store: Arc<dyn Store>,
}

impl Rotation {
    /// At a start: goes on with a rotation that was interrupted, then forgets the old keys.
    ///
    /// # Errors
    /// When a record opens with none of the keys: the host must not go on without its secrets.
    pub async fn start(
        mut keys: MasterKeys,
        vault: Arc<Vault>,
        store: Arc<dyn Store>,
    ) -> Result<Self, KeyProblem> {
        let rewrapped = rewrap(&vault, &*store).await?;
        if keys.keys.len() > 1 {
            tracing::info!(
                records.rewrapped = rewrapped,
                "nothing is sealed under an old master key any more"
            );
            if keys.file.is_some() {
                keys.keys.truncate(1);
                keys.save()?;
            }
        }
        Ok(Self { keys: tokio::sync::Mutex::new(keys), vault, store })
    }

    /// Puts a new master key in the present one's place, or goes on with a rotation that was interrupted.
    ///
    /// # Errors
    /// See [`KeyProblem`]. Whatever was done stays done, and everything opens.
    pub async fn rotate(&self) -> Result<Rotated, KeyProblem> {
        // One at a time.
        let mut keys = self.keys.lock().await;
        let mut rewrapped = rewrap(&self.vault, &*self.store).await?;
        let new = rewrapped == 0;
        if new {
            let key = MasterKey::generate()?;
            keys.keys.insert(0, key.clone());
            if let Err(problem) = keys.save() {
                keys.keys.remove(0);
                return Err(problem);
            }
            self.vault.rotate(&key);
            rewrapped = rewrap(&self.vault, &*self.store).await?;
        }
        let current = self.vault.current().ok_or(Sealed)?;
        let detail = serde_json::json!({ "new": new, "rewrapped": rewrapped });
        self.store.audit_note(Change::of_host("vault.rotate", hex::encode(current)).with(detail)).await?;
        Ok(Rotated { current, new, rewrapped })
    }
}

/// Wraps anew what is not under the present key; answers how many records that were.
async fn rewrap(vault: &Vault, store: &dyn Store) -> Result<usize, KeyProblem> {
    let mut rewrapped = 0;
    loop {
        let mut again = false;
        for record in store.sealed_list().await? {
            if Some(sealed_under(&record.sealed)?) == vault.current() {
                continue;
            }
            if let Some(after) = vault.rewrap(&record.owner, &record.sealed)? {
                // Somebody may have changed it meanwhile: then it is looked at once more.
                if store.sealed_swap(record, after).await? {
                    rewrapped += 1;
                } else {
                    again = true;
                }
            }
        }
        if !again {
            return Ok(rewrapped);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_is_made_once_and_read_back() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        assert!(MasterKeys::from_existing(&path).is_err());
        let made = MasterKeys::from_file(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(MasterKeys::from_file(&path).unwrap().keys(), made.keys());
        std::fs::write(&path, "not a key").unwrap();
        assert!(matches!(MasterKeys::from_file(&path), Err(KeyProblem::Unreadable(_))));
    }

    #[test]
    fn a_part_of_a_key_is_no_key_and_the_file_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        let key = "0a".repeat(32);
        for length in 0..key.len() {
            let part = &key[..length];
            std::fs::write(&path, part).unwrap();
            let told = MasterKeys::from_file(&path).unwrap_err().to_string();
            assert!(told.contains("put the copy in its place"), "{told}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), part);
        }
        // As a disk leaves it that lost its power: as long as it was, and empty.
        std::fs::write(&path, [0; 65]).unwrap();
        assert!(matches!(MasterKeys::from_file(&path), Err(KeyProblem::Unreadable(_))));
    }

    #[test]
    fn an_interrupted_save_is_in_nobodys_way_and_has_no_say() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.new");
        let left = folder.path().join("keys.new.new");
        std::fs::write(&left, "0b").unwrap();
        std::fs::set_permissions(&left, std::fs::Permissions::from_mode(0o644)).unwrap();
        let made = MasterKeys::from_file(&path).unwrap();
        assert!(!left.exists());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(MasterKeys::from_file(&path).unwrap().keys(), made.keys());
    }

    #[test]
    fn a_text_holds_the_present_key_first() {
        let text = format!("{}, {}", "0a".repeat(32), "0b".repeat(32));
        let keys = MasterKeys::from_text(&text).unwrap();
        assert_eq!(keys.keys(), [MasterKey::new(&[10; 32]), MasterKey::new(&[11; 32])]);
        assert!(MasterKeys::from_text("").is_err());
        assert!(MasterKeys::from_text("0a").is_err());
    }
}
