//! The folder in which the sandbox of this machine keeps what it compiled and found out. Losing it costs time.
//!
//! What is in it is native code, and the key under which that code is sealed: so it is the user's alone, and there is no
//! other place for it. And it is bounded: what was not used for a while is removed when the next command begins.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, ensure};
use portolan_domain::{Clock, ModuleDigest, Secret, SystemClock};

/// After how long without use something is removed.
const UNUSED_MAX: Duration = Duration::from_secs(14 * 86_400);
/// What may be kept, in bytes; beyond it goes what was not used for longest.
const BYTES_MAX: u64 = 1 << 30;

/// A folder that is this user's alone.
pub(super) struct Cache(PathBuf);

impl Cache {
    /// `$XDG_CACHE_HOME/portolan`, else `~/.cache/portolan`.
    ///
    /// # Errors
    /// When there is no such place, or it is somebody else's.
    pub(super) fn open() -> anyhow::Result<Self> {
        Self::at(place(|name| std::env::var_os(name))?)
    }

    fn at(folder: PathBuf) -> anyhow::Result<Self> {
        let cache = Self(folder);
        cache.see_to(&cache.0)?;
        for folder in [cache.compiled(), cache.verdicts()] {
            cache.see_to(&folder)?;
        }
        cache.tidy(BYTES_MAX);
        Ok(cache)
    }

    /// Machine code, sealed.
    pub(super) fn compiled(&self) -> PathBuf {
        self.0.join("compiled")
    }

    /// What modules said about themselves.
    pub(super) fn verdicts(&self) -> PathBuf {
        self.0.join("verdicts")
    }

    /// Makes a folder that only its owner may enter, or makes sure that it is one.
    fn see_to(&self, folder: &Path) -> anyhow::Result<()> {
        let named = || folder.display().to_string();
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(named)?;
        let found = fs::metadata(folder).with_context(named)?;
        ensure!(
            found.uid() == rustix::process::geteuid().as_raw(),
            "{} is another user's, and code that is executed is kept there: set XDG_CACHE_HOME to a folder of yours",
            named()
        );
        if found.mode() & 0o022 != 0 {
            // Anybody may have put there what is in it.
            self.empty()?;
        }
        if found.mode() & 0o077 != 0 {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).with_context(named)?;
        }
        Ok(())
    }

    /// Without the key nothing that is compiled is believed; a verdict is sealed by nothing.
    fn empty(&self) -> anyhow::Result<()> {
        let (key, verdicts) = (self.0.join("key"), self.verdicts());
        if key.exists() {
            fs::remove_file(&key).with_context(|| key.display().to_string())?;
        }
        for file in files(&verdicts) {
            fs::remove_file(&file.path).with_context(|| file.path.display().to_string())?;
        }
        Ok(())
    }

    /// Says that a module was used just now.
    pub(super) fn used(&self, digest: &ModuleDigest) {
        let name = plain(&digest.to_string());
        for file in files(&self.compiled()).into_iter().chain(files(&self.verdicts())) {
            let own = file.path.file_name().unwrap_or_default().to_string_lossy();
            if plain(&own).starts_with(&name) {
                // It is removed a little sooner, else: no more than time is lost.
                drop(fs::File::open(&file.path).and_then(|open| open.set_modified(now())));
            }
        }
    }

    /// Removes what nobody uses any more. Another command may do the same, or be faster: no more than time is lost.
    fn tidy(&self, bytes_max: u64) {
        let mut all = files(&self.compiled());
        all.extend(files(&self.verdicts()));
        all.sort_by_key(|file| std::cmp::Reverse(file.used_at));
        let (now, mut bytes) = (now(), 0_u64);
        for file in all {
            bytes = bytes.saturating_add(file.bytes);
            let unused = now.duration_since(file.used_at).unwrap_or_default();
            if unused > UNUSED_MAX || bytes > bytes_max {
                drop(fs::remove_file(&file.path));
            }
        }
    }

    /// Compiled modules are native code: they are sealed under a key that only this user can read.
    pub(super) fn key(&self) -> anyhow::Result<Secret> {
        let file = self.0.join("key");
        if let Ok(key) = fs::read_to_string(&file)
            && key.len() >= 64
        {
            return Ok(Secret::new(key));
        }
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
        let key = hex::encode(bytes);
        // Another command may be making it at this moment: whoever renames last is believed by both.
        let unfinished = self.0.join(format!("key.{}", std::process::id()));
        let mut options = fs::OpenOptions::new();
        let mut made = options.write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        io::Write::write_all(&mut made, key.as_bytes())?;
        fs::rename(&unfinished, &file)?;
        Ok(Secret::new(fs::read_to_string(&file)?))
    }
}

/// A file that is kept.
struct Kept {
    path: PathBuf,
    used_at: SystemTime,
    bytes: u64,
}

/// The files of a folder. One that is removed meanwhile is none.
fn files(folder: &Path) -> Vec<Kept> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let kept = entries.filter_map(|entry| {
        let found = entry.metadata().ok().filter(fs::Metadata::is_file)?;
        Some(Kept { path: entry.path(), used_at: found.modified().ok()?, bytes: found.len() })
    });
    kept.collect()
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(SystemClock::new().now().as_millis())
}

/// A digest as the beginning of a file's name.
pub(super) fn plain(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).collect()
}

fn place(set: impl Fn(&str) -> Option<OsString>) -> anyhow::Result<PathBuf> {
    let set = |name: &str| set(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    let folder =
        folder.context("set HOME or XDG_CACHE_HOME: what is compiled is kept there, for you alone")?;
    Ok(folder.join("portolan"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(content: &str) -> ModuleDigest {
        ModuleDigest::of(content.as_bytes())
    }

    /// A cache in which these files were used so many days ago.
    fn cache(folder: &Path, kept: &[(&str, u64)]) -> Cache {
        let cache = Cache::at(folder.join("portolan")).unwrap();
        for (name, days) in kept {
            let file = cache.compiled().join(name);
            fs::write(&file, "0123456789").unwrap();
            let used_at = now() - Duration::from_secs(days * 86_400 + 60);
            fs::File::open(file).unwrap().set_modified(used_at).unwrap();
        }
        cache
    }

    fn left(cache: &Cache) -> Vec<String> {
        let name = |file: Kept| file.path.file_name().unwrap().to_string_lossy().into_owned();
        let mut left: Vec<String> = files(&cache.compiled()).into_iter().map(name).collect();
        left.sort();
        left
    }

    #[test]
    fn there_is_no_place_but_the_users_own() {
        let with = |name: &'static str| place(move |asked| (asked == name).then(|| "/h".into()));
        assert_eq!(with("XDG_CACHE_HOME").unwrap(), Path::new("/h/portolan"));
        assert_eq!(with("HOME").unwrap(), Path::new("/h/.cache/portolan"));
        assert!(with("OTHER").unwrap_err().to_string().contains("set HOME"));
        place(|_| Some(OsString::new())).unwrap_err();
    }

    #[test]
    fn nobody_else_may_look_in_and_what_others_could_write_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        let first = cache(folder.path(), &[]);
        let key = first.key().unwrap();
        assert_eq!(
            (mode(&first.0), mode(&first.compiled()), mode(&first.0.join("key"))),
            (0o700, 0o700, 0o600)
        );
        for (open, is_believed) in [(0o755, true), (0o775, false)] {
            fs::write(first.verdicts().join("planted.json"), "{}").unwrap();
            fs::set_permissions(&first.0, fs::Permissions::from_mode(open)).unwrap();
            let again = cache(folder.path(), &[]);
            assert_eq!(mode(&again.0), 0o700);
            assert_eq!(again.key().unwrap().expose() == key.expose(), is_believed, "{open:o}");
            assert_eq!(files(&again.verdicts()).len(), usize::from(is_believed), "{open:o}");
        }
    }

    #[test]
    fn a_folder_of_somebody_else_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("portolan")).unwrap();
        // Only root can give a folder away.
        if std::os::unix::fs::chown(folder.path().join("portolan"), Some(65_534), None).is_ok() {
            let error = Cache::at(folder.path().join("portolan")).err().unwrap();
            assert!(error.to_string().contains("another user's"), "{error}");
        }
    }

    #[test]
    fn what_is_not_used_is_removed_and_then_what_was_not_used_for_longest() {
        let folder = tempfile::tempdir().unwrap();
        let module = format!("{}-0123.compiled", digest("a module"));
        let kept = [("new", 1), ("old", 13), ("older", 15), (module.as_str(), 15)];
        let first = cache(folder.path(), &kept);
        first.used(&digest("a module"));
        let again = cache(folder.path(), &[]);
        let mut wanted = [module.clone(), "new".to_owned(), "old".to_owned()];
        wanted.sort();
        assert_eq!(left(&again), wanted);
        again.tidy(10);
        assert_eq!(left(&again), [module]);
    }
}
