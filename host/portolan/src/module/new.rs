//! `portolan module new`: a project that builds, tests and runs at once. Everything in it comes from this binary: the
//! template of its language, the half that knows the ERP, the cases, and the SDK, which is not published and so lives
//! in the project's `vendor` folder.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};

use super::{project::Language, say};

/// Path and text of every file that the build script found.
static EMBEDDED: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// Characters of a name: it is that of a module, a crate, a package and a file.
const NAME_CHARS_MAX: usize = 60;

#[derive(Args)]
pub(crate) struct NewArgs {
    /// The module's name, and that of the folder: lower-case letters, digits and dashes.
    name: String,
    /// What to write it in.
    #[arg(long, value_enum)]
    lang: Language,
    /// Where events come from.
    #[arg(long, value_enum, default_value_t = Source::Stripe)]
    from: Source,
    /// Where documents go.
    #[arg(long, value_enum)]
    to: Erp,
    /// The folder to make. Default: the name.
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

/// Systems whose events a new project can begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Source {
    /// Stripe's webhooks.
    Stripe,
}

/// Systems that a new project can post to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Erp {
    /// A sales order in Epicor ERP 10 or Kinetic.
    Epicor,
    /// A posted accounting document in SAP ECC.
    SapEcc,
    /// A paid invoice in Sage Pro.
    SagePro,
}

impl Erp {
    /// The connector's name.
    pub(super) const fn connector(self) -> &'static str {
        match self {
            Self::Epicor => "epicor",
            Self::SapEcc => "sap-ecc",
            Self::SagePro => "sage-pro",
        }
    }

    /// What people call it.
    const fn title(self) -> &'static str {
        match self {
            Self::Epicor => "Epicor",
            Self::SapEcc => "SAP ECC",
            Self::SagePro => "Sage Pro",
        }
    }

    /// What a charge becomes there.
    const fn document(self) -> &'static str {
        match self {
            Self::Epicor => "a sales order",
            Self::SapEcc => "a posted accounting document",
            Self::SagePro => "a paid invoice",
        }
    }
}

impl Language {
    /// The folder of its template.
    const fn template(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Js => "js",
            Self::Ts => "ts",
            Self::Python => "python",
        }
    }

    /// The SDK's tree, and where the project carries it.
    const fn sdk(self) -> (&'static str, &'static str) {
        match self {
            Self::Rust => ("sdk/", "vendor/portolan-sdk/"),
            Self::Js | Self::Ts => ("sdk-js/", "vendor/portolan-sdk/"),
            Self::Python => ("sdk-python/portolan_sdk/", "vendor/portolan_sdk/"),
        }
    }
}

pub(crate) fn main(args: &NewArgs) -> anyhow::Result<()> {
    check_name(&args.name)?;
    let folder = args.folder.clone().unwrap_or_else(|| PathBuf::from(&args.name));
    if folder.exists() && fs::read_dir(&folder)?.next().is_some() {
        bail!("{} is there already, and not empty", folder.display());
    }
    let files = files(&args.name, args.lang, args.to);
    for (path, text) in &files {
        let file = folder.join(path);
        fs::create_dir_all(file.parent().unwrap_or(Path::new(".")))?;
        fs::write(&file, text).with_context(|| file.display().to_string())?;
    }
    say(format!("{} has {} files. Next:", folder.display(), files.len()));
    println!("cd {}", folder.display());
    println!("portolan module build");
    println!("portolan module test");
    Ok(())
}

fn check_name(name: &str) -> anyhow::Result<()> {
    let fits = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && !name.ends_with('-')
        && !name.contains("--")
        && name.len() <= NAME_CHARS_MAX;
    ensure!(
        fits,
        "{name:?} is no name for a module: lower-case letters, digits and single dashes, as in stripe-to-epicor"
    );
    Ok(())
}

/// The files of a new project by path.
pub(super) fn files(name: &str, language: Language, erp: Erp) -> Vec<(String, String)> {
    let template = format!("templates/{}/", language.template());
    let shared = format!("templates/shared/{}/", erp.connector());
    let of_erp = format!("erp/{}/", erp.connector());
    let (sdk, carried) = language.sdk();
    let mut files = Vec::new();
    for (path, text) in EMBEDDED {
        let place = if let Some(path) = path.strip_prefix(&template) {
            match path.strip_prefix("erp/") {
                // The half that knows the ERP; the other ERPs' halves stay here.
                Some(_) => path.strip_prefix(&of_erp).map(str::to_owned),
                None => Some(path.trim_end_matches(".in").to_owned()),
            }
        } else if let Some(path) = path.strip_prefix(&shared) {
            // Cases and settings are the same in every language.
            Some(path.to_owned())
        } else if let Some(path) = path.strip_prefix("wit/") {
            Some(format!("wit/{path}"))
        } else if *path == "guests.lock" && language == Language::Rust {
            Some("Cargo.lock".to_owned())
        } else {
            // The template has a manifest of its own for the carried SDK: the repository's belongs to a workspace.
            let of_sdk =
                path.strip_prefix(sdk).filter(|path| !["Cargo.toml", "package-lock.json"].contains(path));
            of_sdk.map(|path| format!("{carried}{path}"))
        };
        if let Some(place) = place {
            let filled =
                if path.starts_with("templates/") { fill(text, name, erp) } else { (*text).to_owned() };
            files.push((place, filled));
        }
    }
    files
}

/// Puts name and ERP where a template leaves them open.
fn fill(text: &str, name: &str, erp: Erp) -> String {
    text.replace("__NAME__", name)
        .replace("__CRATE__", &name.replace('-', "_"))
        .replace("__CONNECTOR__", erp.connector())
        .replace("__ERP__", erp.title())
        .replace("__DOCUMENT__", erp.document())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// A name in capitals between two pairs of underscores, as templates leave it open.
    fn left_open(text: &str) -> Option<&str> {
        text.match_indices("__").find_map(|(place, _)| {
            let rest = &text[place + 2..];
            let name = &rest[..rest.find(|c: char| !c.is_ascii_uppercase()).unwrap_or(rest.len())];
            (!name.is_empty() && rest[name.len()..].starts_with("__")).then_some(name)
        })
    }

    #[test]
    fn every_language_and_erp_has_a_whole_project() {
        for language in [Language::Rust, Language::Js, Language::Ts, Language::Python] {
            for erp in [Erp::Epicor, Erp::SapEcc, Erp::SagePro] {
                let files = files("my-mapping", language, erp);
                let has = |path: &str| files.iter().any(|(name, _)| name.starts_with(path));
                for path in ["README.md", "cases/", "wit/mapping.wit", "vendor/", "src/document."] {
                    assert!(has(path), "{language:?} {erp:?}: {path}");
                }
                for (path, text) in &files {
                    assert_eq!(left_open(text), None, "{path}");
                }
                let paths: BTreeSet<&String> = files.iter().map(|(path, _)| path).collect();
                assert_eq!(paths.len(), files.len(), "two files at one place");
            }
        }
    }

    /// Codes are looked up in upper case: under any other key nothing would ever be held.
    #[test]
    fn a_limit_above_which_a_person_looks_is_of_a_currency() {
        for erp in [Erp::Epicor, Erp::SapEcc, Erp::SagePro] {
            let files = files("my-mapping", Language::Js, erp);
            let (_, schema) = files.iter().find(|(path, _)| path == "src/settings.schema.json").unwrap();
            let mut schema: serde_json::Value = serde_json::from_str(schema).unwrap();
            let limits = schema["properties"]["hold_above"].take();
            let schema = portolan_api::schema::validator(&limits).unwrap();
            assert!(schema.is_valid(&serde_json::json!({ "USD": "10000.00" })));
            for wrong in ["usd", "Usd", "US", "USDX", ""] {
                assert!(!schema.is_valid(&serde_json::json!({ wrong: "10000.00" })), "{erp:?} {wrong:?}");
            }
        }
    }

    #[test]
    fn the_carried_sdk_has_the_dependencies_of_the_repositorys() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let read = |file: &str| fs::read_to_string(here.join(file)).unwrap().parse::<toml::Table>().unwrap();
        let whole = |spec: &toml::Value| match spec.as_str() {
            Some(version) => toml::Table::from_iter([("version".to_owned(), version.into())]),
            None => spec.as_table().unwrap().clone(),
        };
        let workspace = read("../../guest-mappings/Cargo.toml");
        let sdk = read("../../guest-mappings/sdk/Cargo.toml");
        let carried = read("templates/rust/vendor/portolan-sdk/Cargo.toml.in");
        let wanted = sdk["dependencies"].as_table().unwrap().iter().map(|(name, own)| {
            let mut spec = whole(&workspace["workspace"]["dependencies"][name]);
            for (field, value) in own.as_table().unwrap().iter().filter(|(field, _)| *field != "workspace") {
                spec.insert(field.clone(), value.clone());
            }
            (name.clone(), toml::Value::Table(spec))
        });
        let wanted: toml::Table = wanted.collect();
        let carried = carried["dependencies"].as_table().unwrap().iter();
        let carried: toml::Table =
            carried.map(|(name, spec)| (name.clone(), toml::Value::Table(whole(spec)))).collect();
        assert_eq!(carried, wanted);
    }

    #[test]
    fn a_name_is_one_that_every_toolchain_takes() {
        for good in ["stripe-to-epicor", "m2"] {
            check_name(good).unwrap();
        }
        for bad in ["", "2m", "Big", "a--b", "a-", "a_b", "../x", "é"] {
            check_name(bad).unwrap_err();
        }
    }
}
