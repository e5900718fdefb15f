//! Which interfaces a module may import. What is not named here is refused at upload, by name and with the
//! remedy; nothing is ever linked lazily.

use semver::Version;

use crate::refusal::{self, Refusal};

/// The world's only import.
pub(crate) const LOG: &str = "portolan:mapping/log@1.0.0";
/// The types that cross the boundary; an interface without functions.
pub(crate) const TYPES: &str = "portolan:mapping/types@1.0.0";
/// What every module exports.
pub(crate) const MAPPER: &str = "portolan:mapping/mapper@1.0.0";
/// What a core module imports of WASI 0.1. The bridge that replaces it when it is made a component imports the
/// stand-ins in its turn.
pub(crate) const WASI_PREVIEW1: &str = "wasi_snapshot_preview1";

/// WASI 0.2 interfaces that have deterministic stand-ins: what plain `wasm32-wasip1` and `wasm32-wasip2`
/// builds and the defaults of the JavaScript and Python toolchains import without using it.
const STAND_INS: &[&str] = &[
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
];

/// The name without its version, when this is a WASI interface that has a stand-in in a version that has one.
pub(crate) fn stand_in(import: &str) -> Option<&'static str> {
    let (name, version) = import.split_once('@')?;
    let version = Version::parse(version).ok()?;
    let known = version.major == 0 && version.minor == 2 && version.pre.is_empty();
    STAND_INS.iter().find(|candidate| known && **candidate == name).copied()
}

/// Whether a component may import this.
///
/// # Errors
/// The refusal that names it.
pub(crate) fn check_import(import: &str) -> Result<(), Refusal> {
    if import == LOG || import == TYPES || stand_in(import).is_some() {
        return Ok(());
    }
    let shown: String = import.chars().take(100).flat_map(char::escape_default).collect();
    let message = format!("the module imports `{shown}`, which a mapping may not");
    Err(Refusal::new(refusal::IMPORT_REFUSED, message, remedy(import)))
}

fn remedy(import: &str) -> &'static str {
    let toolchains = "build with `--stub-wasi` (componentize-py, componentize-qjs) or with \
                      `-d http -d fetch-event` (componentize-js), or target wasm32-unknown-unknown (Rust)";
    if import.starts_with("portolan:mapping/") {
        "build it against portolan:mapping@1.0.0, the contract of this host"
    } else if import.starts_with("wasi:http") || import.starts_with("wasi:sockets") {
        "a mapping has no network: return `need` and the host fetches the fact. When the code opens no \
         connection itself, its toolchain added the import: build with `--stub-wasi` (componentize-py, \
         componentize-qjs) or with `-d http -d fetch-event` (componentize-js)"
    } else if import == "wasi_unstable" {
        "build it for wasm32-wasip1 or wasm32-unknown-unknown with a toolchain of this decade"
    } else if import.starts_with("wasi:") {
        toolchains
    } else if import == "env" || import.starts_with("__wbindgen") {
        "the import comes from code that expects a browser or a C library: remove that dependency, or switch \
         off its `js` or `wasm-bindgen` feature"
    } else {
        "a mapping imports portolan:mapping/log@1.0.0 and nothing else: remove the import"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_and_stand_ins_of_wasi_0_2_are_allowed() {
        for import in [LOG, TYPES, "wasi:io/streams@0.2.0", "wasi:cli/environment@0.2.12"] {
            assert_eq!(check_import(import), Ok(()));
        }
    }

    #[test]
    fn everything_else_is_refused_by_name_with_a_remedy() {
        for (import, remedy) in [
            ("wasi:sockets/tcp@0.2.0", "no network"),
            ("wasi:http/outgoing-handler@0.2.0", "no network"),
            ("wasi:io/streams@0.3.0", "--stub-wasi"),
            ("wasi:io/streams@0.2.0-rc-2023-11-10", "--stub-wasi"),
            ("wasi:io/streams", "--stub-wasi"),
            ("wasi:keyvalue/store@0.2.0", "--stub-wasi"),
            ("portolan:mapping/log@2.0.0", "1.0.0"),
            ("portolan:mapping/secrets@1.0.0", "1.0.0"),
            ("evil:corp/backdoor", "nothing else"),
        ] {
            let refusal = check_import(import).unwrap_err();
            assert!(refusal.message.contains(import), "{refusal}");
            assert!(refusal.remedy.contains(remedy), "{refusal}");
        }
    }
}
