//! Whether what a module says about itself can be. It is stored, shown to people and compared with at every
//! run, so it is held to the same bounds as anything that comes from outside.

use std::collections::BTreeSet;

use portolan_domain::contract::Description;

use crate::refusal::{self, Refusal};

mod schema;

/// Entries of each list.
const ENTRIES_MAX: usize = 200;
/// Characters of a name, and of a sentence.
const NAME_CHARS_MAX: usize = 100;
const SUMMARY_CHARS_MAX: usize = 1_000;

/// Checks a description.
///
/// # Errors
/// The first field that cannot be.
pub(crate) fn check(description: &Description) -> Result<(), Refusal> {
    let name = &description.name;
    if !is_module_name(name) {
        return Err(refuse(format!(
            "the name {name:?} is not made of lower-case letters, digits and dashes"
        )));
    }
    if let Err(error) = semver::Version::parse(&description.version) {
        return Err(refuse(format!("the version {:?} is not semantic: {error}", description.version)));
    }
    sentence("summary", &description.summary)?;
    if !description.settings_schema.is_object() && !description.settings_schema.is_boolean() {
        return Err(refuse("the settings schema is not a JSON Schema: it must be an object".into()));
    }
    schema::check(&description.settings_schema).map_err(refuse)?;
    check_serves(description)?;
    check_connections(description)?;
    entries("tables", description.tables.len(), 0)?;
    distinct("table", description.tables.iter().map(|table| &table.name))?;
    description.tables.iter().try_for_each(|table| sentence("table's summary", &table.summary))
}

fn check_serves(description: &Description) -> Result<(), Refusal> {
    entries("kinds of event it serves", description.serves.len(), 1)?;
    for served in &description.serves {
        named("system", &served.system)?;
        named("event kind", &served.kind)?;
        let stem = served.kind.strip_suffix(".*").unwrap_or(&served.kind);
        if served.kind != "*" && stem.contains('*') {
            return Err(refuse(format!(
                "the event kind {:?} may have a * only as its ending .*",
                served.kind
            )));
        }
    }
    Ok(())
}

fn check_connections(description: &Description) -> Result<(), Refusal> {
    entries("connections", description.connections.len(), 0)?;
    distinct("connection", description.connections.iter().map(|connection| &connection.name))?;
    for connection in &description.connections {
        named("connector", &connection.connector)?;
        entries("operations", connection.operations.len(), 1)?;
        distinct("operation", &connection.operations)?;
    }
    Ok(())
}

fn is_module_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=NAME_CHARS_MAX).contains(&name.len()) && name.bytes().all(allowed) && !name.starts_with('-')
}

fn named(what: &str, name: &str) -> Result<(), Refusal> {
    let fits = (1..=NAME_CHARS_MAX).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    if fits { Ok(()) } else { Err(refuse(format!("the {what} {:?} is empty or too long", short(name)))) }
}

fn sentence(what: &str, text: &str) -> Result<(), Refusal> {
    if text.chars().count() <= SUMMARY_CHARS_MAX {
        Ok(())
    } else {
        Err(refuse(format!("the {what} is longer than {SUMMARY_CHARS_MAX} characters")))
    }
}

fn entries(what: &str, count: usize, min: usize) -> Result<(), Refusal> {
    if (min..=ENTRIES_MAX).contains(&count) {
        Ok(())
    } else {
        Err(refuse(format!("it names {count} {what}; {min} to {ENTRIES_MAX} are possible")))
    }
}

fn distinct<'n>(what: &str, names: impl IntoIterator<Item = &'n String>) -> Result<(), Refusal> {
    let mut seen = BTreeSet::new();
    for name in names {
        named(what, name)?;
        if !seen.insert(name) {
            return Err(refuse(format!("it names the {what} {name:?} twice")));
        }
    }
    Ok(())
}

fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

fn refuse(problem: String) -> Refusal {
    Refusal::new(
        refusal::DESCRIPTION_INVALID,
        format!("what `describe` returns is not usable: {problem}"),
        "change what `describe` returns",
    )
}

#[cfg(test)]
mod tests {
    use portolan_domain::contract::{RequiredConnection, Served};
    use serde_json::json;

    use super::*;

    fn description() -> Description {
        Description {
            name: "stripe-to-epicor".into(),
            version: "1.2.3-rc.1".into(),
            summary: "Maps.".into(),
            serves: vec![Served { system: "stripe".into(), kind: "charge.*".into() }],
            connections: vec![RequiredConnection {
                name: "erp".into(),
                connector: "epicor".into(),
                operations: vec!["order.create".into()],
                optional: false,
            }],
            tables: vec![],
            settings_schema: json!({"type": "object"}),
        }
    }

    #[test]
    fn a_sound_description_is_accepted() {
        assert_eq!(check(&description()), Ok(()));
    }

    #[test]
    fn each_unsound_field_is_named() {
        type Change = fn(&mut Description);
        let cases: [(&str, Change); 9] = [
            ("name", |d| d.name = "Stripe to Epicor".into()),
            ("version", |d| d.version = "1.2".into()),
            ("summary", |d| d.summary = "x".repeat(1_001)),
            ("schema", |d| d.settings_schema = json!(7)),
            ("serves", |d| d.serves.clear()),
            ("kind", |d| d.serves[0].kind = "ch*rge".into()),
            ("twice", |d| d.connections.push(d.connections[0].clone())),
            ("operations", |d| d.connections[0].operations.clear()),
            ("connector", |d| d.connections[0].connector = String::new()),
        ];
        for (word, change) in cases {
            let mut description = description();
            change(&mut description);
            let refusal = check(&description).unwrap_err();
            assert!(refusal.message.contains(word), "{refusal}");
        }
    }
}
