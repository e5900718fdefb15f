//! Imports point one way: `portolan → api → pipeline → {store, sandbox, connectors} → domain`.
//!
//! Read from each crate's manifest through `cargo metadata`. Dependencies of tests (`dev-dependencies`) may point
//! anywhere: they are in no binary.

use anyhow::Result;

use super::Offence;
use crate::repository::{Dependency, Metadata, Repository};

/// Every crate of the host, and the crates of the host that it may know.
const MAY_KNOW: [(&str, &[&str]); 11] = [
    ("portolan-domain", &[]),
    // Where the crash proof takes hold: empty in a release.
    ("portolan-proof", &[]),
    ("portolan-store", &["portolan-domain", "portolan-proof"]),
    ("portolan-sandbox", &["portolan-domain"]),
    ("portolan-connectors", &["portolan-domain", "portolan-proof"]),
    (
        "portolan-pipeline",
        &["portolan-connectors", "portolan-domain", "portolan-proof", "portolan-sandbox", "portolan-store"],
    ),
    (
        "portolan-api",
        &[
            "portolan-connectors",
            "portolan-domain",
            "portolan-pipeline",
            "portolan-proof",
            "portolan-sandbox",
            "portolan-store",
        ],
    ),
    (
        "portolan",
        &[
            "portolan-api",
            "portolan-connectors",
            "portolan-domain",
            "portolan-pipeline",
            "portolan-proof",
            "portolan-sandbox",
            "portolan-simulators",
            "portolan-store",
        ],
    ),
    // Stand-ins that shared code with the host would share its mistakes.
    ("portolan-simulators", &[]),
    (
        TESTS,
        &[
            "portolan",
            "portolan-api",
            "portolan-connectors",
            "portolan-domain",
            "portolan-pipeline",
            "portolan-proof",
            "portolan-sandbox",
            "portolan-simulators",
            "portolan-store",
        ],
    ),
    ("xtask", &[]),
];

/// The black-box tests and benches: no part of the product, so they may use what they like.
const TESTS: &str = "portolan-tests";

/// A library, the crates that may depend on it, and what the others do. `*` at the end stands for a family.
type Owned = (&'static str, &'static [&'static str], &'static str);

const OWNED: [Owned; 6] = [
    ("wasmtime*", &["portolan-sandbox"], "call portolan_sandbox, the only code that knows the engine"),
    ("cranelift*", &["portolan-sandbox"], "call portolan_sandbox, the only code that knows the compiler"),
    ("rusqlite", &["portolan-store"], "add a method to the store's traits"),
    ("sqlx*", &["portolan-store"], "add a method to the store's traits"),
    ("tokio-postgres", &["portolan-store"], "add a method to the store's traits"),
    (
        "reqwest",
        // The binary's commands are clients of the public API, in a process of their own.
        &["portolan-connectors", "portolan"],
        "call portolan_connectors::outbound, which checks addresses and limits",
    ),
];

/// Checks the host's workspace.
pub(super) fn check(repository: &Repository) -> Result<Vec<Offence>> {
    let metadata = Metadata::read(repository.cargo())?;
    let mut offences = Vec::new();
    for package in &metadata.packages {
        let normal =
            package.dependencies.iter().filter(|dependency| dependency.kind.as_deref() != Some("dev"));
        for Dependency { name, .. } in normal {
            offences.extend(offence(&package.name, name));
        }
        if may_know(&package.name).is_none() {
            let text = "a new crate: say in xtask/src/tidy/direction.rs which crates it may know";
            offences.push(Offence::error(&package.name, text));
        }
    }
    Ok(offences)
}

fn may_know(package: &str) -> Option<&'static [&'static str]> {
    MAY_KNOW.iter().find(|(name, _)| *name == package).map(|(_, known)| *known)
}

/// What is wrong with `package` depending on `dependency`, if anything.
fn offence(package: &str, dependency: &str) -> Option<Offence> {
    let is_ours = may_know(dependency).is_some();
    if is_ours && may_know(package).is_some_and(|known| !known.contains(&dependency)) {
        return Some(Offence::error(
            package,
            format!(
                "must not know {dependency}: imports point inward (ARCHITECTURE.md). Move the code to the crate \
                 that may know both, or let the inner crate take what it needs as an argument"
            ),
        ));
    }
    let (_, owners, instead) = OWNED.iter().find(|(library, _, _)| matches(library, dependency))?;
    (!owners.contains(&package) && package != TESTS).then(|| {
        let owners = owners.join(" and ");
        Offence::error(package, format!("only {owners} may depend on {dependency}: {instead}"))
    })
}

fn matches(library: &str, dependency: &str) -> bool {
    match library.strip_suffix('*') {
        Some(family) => dependency.starts_with(family),
        None => dependency == library,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_siblings_do_not_know_each_other() {
        for package in ["portolan-store", "portolan-sandbox", "portolan-connectors"] {
            for sibling in ["portolan-store", "portolan-sandbox", "portolan-connectors", "portolan-pipeline"]
            {
                assert!(package == sibling || offence(package, sibling).is_some(), "{package} → {sibling}");
            }
            assert_eq!(offence(package, "portolan-domain"), None);
        }
    }

    #[test]
    fn a_library_with_an_owner_is_refused_to_the_others() {
        assert!(offence("portolan-api", "reqwest").is_some());
        assert!(offence("portolan-pipeline", "wasmtime-environ").is_some());
        assert_eq!(offence("portolan-sandbox", "wasmtime"), None);
        assert_eq!(offence("portolan-tests", "reqwest"), None);
    }
}
