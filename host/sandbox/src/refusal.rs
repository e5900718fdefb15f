//! Why an upload was not admitted, in words for the person who uploaded it, and what keeps the sandbox
//! itself from working.

use std::{error::Error, fmt};

use serde::Serialize;

/// Declares the codes, so that one that comes from the compile worker can be told from garbage.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        $($(#[$doc])* pub(crate) const $name: &str = $code;)*
        const ALL: &[&str] = &[$($code),*];
    };
}

codes! {
    /// The upload is over the size limit.
    TOO_LARGE = "module-too-large";
    /// Native code instead of WebAssembly.
    PRECOMPILED = "module-precompiled";
    /// Neither a core module nor a component.
    NOT_WASM = "module-not-wasm";
    /// Damaged, or not valid with the features that are allowed.
    INVALID = "module-invalid";
    /// Over a structural limit.
    TOO_COMPLEX = "module-too-complex";
    /// Imports what a mapping may not.
    IMPORT_REFUSED = "module-import-refused";
    /// Imports something allowed, with another type.
    IMPORT_MISMATCH = "module-import-mismatch";
    /// Does not export `mapper`.
    EXPORT_MISSING = "module-export-missing";
    /// Exports `mapper` with another type.
    EXPORT_MISMATCH = "module-export-mismatch";
    /// A core module that cannot be made a component.
    NOT_A_COMPONENT = "module-not-a-component";
    /// The compile worker hit its limits.
    TOO_COSTLY = "module-too-costly";
    /// `describe` failed.
    DESCRIBE_FAILED = "module-describe-failed";
    /// `describe` answered something that cannot be.
    DESCRIPTION_INVALID = "module-description-invalid";
}

/// Why an upload was not admitted. Its own fault; uploading it again gives the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// Stable and machine-readable: `module-import-refused`.
    pub code: &'static str,
    /// What is wrong, naming the import, size, function or export.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

impl Refusal {
    pub(crate) fn new(code: &'static str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { code, message: message.into(), remedy: remedy.into() }
    }

    /// A refusal as the compile worker wrote it.
    pub(crate) fn from_parts(code: &str, message: String, remedy: String) -> Option<Self> {
        let code = ALL.iter().find(|known| **known == code)?;
        Some(Self { code, message, remedy })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.message, self.remedy)
    }
}

impl Error for Refusal {}

/// Why [`Sandbox::admit`](crate::Sandbox::admit) did not admit.
#[derive(Debug, thiserror::Error)]
pub enum AdmitError {
    /// The module is not acceptable.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// This tenant, or the host, is busy with other uploads. The same upload may succeed later.
    #[error("too many uploads of this tenant are waiting to be compiled")]
    Busy,
    /// The host cannot compile at the moment; not the module's fault.
    #[error("the upload could not be checked")]
    Unavailable(#[source] SandboxError),
}

/// Why [`Sandbox::load`](crate::Sandbox::load) did not load.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The stored component could not be had.
    #[error("the component of the module could not be read from the store")]
    Component(#[source] Box<dyn Error + Send + Sync>),
    /// It no longer compiles, as after an upgrade that tightened the rules. Loading again gives the same.
    #[error("the module can no longer be compiled")]
    Refused(#[source] Refusal),
    /// The host cannot compile at the moment.
    #[error("the module could not be loaded")]
    Unavailable(#[source] SandboxError),
}

/// What keeps the sandbox itself from working.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// A setting is not usable.
    #[error("the sandbox setting {setting} is not usable: {problem}")]
    Setting {
        /// Its name.
        setting: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The folder of compiled artifacts, or a thread or process, could not be had.
    #[error("{doing}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The WebAssembly runtime could not be set up.
    #[error("the WebAssembly runtime refused: {0}")]
    Runtime(String),
    /// The compile worker is not the one that belongs to this host, or answered garbage.
    #[error("the compile worker failed: {0}")]
    Worker(String),
}

impl SandboxError {
    pub(crate) fn io(doing: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }
}
