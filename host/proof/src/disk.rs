//! What a proof that stands between SQLite and the disk does not see by itself.

#[cfg(not(feature = "armed"))]
use std::{io, path::Path};

/// Called when a file has been written again and flushed past SQLite. A proof may say that this failed.
#[cfg(not(feature = "armed"))]
#[inline(always)]
#[expect(clippy::missing_errors_doc, clippy::unnecessary_wraps, reason = "only a proof has it fail")]
pub const fn rewritten(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(feature = "armed")]
pub use armed::{on_rewrite, rewritten};

#[cfg(feature = "armed")]
mod armed {
    use std::{io, path::Path, sync::OnceLock};

    type Listener = fn(&Path) -> io::Result<()>;

    static LISTENER: OnceLock<Listener> = OnceLock::new();

    /// Has this function told of every file that is written again past SQLite. The first one stays.
    pub fn on_rewrite(listener: Listener) {
        LISTENER.get_or_init(|| listener);
    }

    /// Called when a file has been written again and flushed past SQLite. A proof may say that this failed.
    ///
    /// # Errors
    /// What the proof says.
    pub fn rewritten(path: &Path) -> io::Result<()> {
        LISTENER.get().map_or(Ok(()), |listener| listener(path))
    }
}
