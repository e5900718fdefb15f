//! The pages that tell of numbers are compared with the numbers.

use portolan_domain::{quota::Quotas, retention::Retention};

use super::Settings;

const LIMITS: &str = include_str!("../../../../docs/limits.md");
const RETENTION: &str = include_str!("../../../../docs/retention.md");

/// The rows of a page's tables, as cells; a code in the first cell without its ticks.
fn rows(page: &str) -> Vec<Vec<String>> {
    let cells =
        |line: &str| line.trim_matches('|').split(" | ").map(|cell| cell.trim().replace('`', "")).collect();
    page.lines().filter(|line| line.starts_with("| `")).map(cells).collect()
}

#[test]
fn the_page_of_limits_says_what_the_code_says() {
    let rows = rows(LIMITS);
    for (name, default, most) in Quotas::limits() {
        let row =
            rows.iter().find(|row| row[0] == name).unwrap_or_else(|| panic!("docs/limits.md lacks {name}"));
        assert_eq!((&row[1], &row[2]), (&default.to_string(), &most.to_string()), "{name}");
    }
    let defaults = toml::Value::try_from(Settings::default()).unwrap();
    let mut compared = 0;
    for row in rows.iter().filter(|row| row[0].contains('.')) {
        let (section, name) = row[0].split_once('.').unwrap();
        let value = defaults.get(section).and_then(|section| section.get(name));
        let value = value.unwrap_or_else(|| panic!("{} is no setting", row[0]));
        assert_eq!(row[1], value.to_string(), "{}", row[0]);
        compared += 1;
    }
    assert!(compared > 15, "{compared} settings");
    // Whatever is a most of the server or the pipeline stands there.
    for section in ["server", "pipeline"] {
        let bounds = defaults[section].as_table().unwrap().keys().filter(|name| name.ends_with("_max"));
        for name in bounds.filter(|name| !["shutdown_ms_max"].contains(&name.as_str())) {
            let named = format!("{section}.{name}");
            assert!(rows.iter().any(|row| row[0] == named), "docs/limits.md lacks {named}");
        }
    }
}

#[test]
fn the_page_of_retention_says_what_the_code_says() {
    let rows = rows(RETENTION);
    for (name, default, least) in Retention::limits() {
        let row = rows
            .iter()
            .find(|row| row[0] == name)
            .unwrap_or_else(|| panic!("docs/retention.md lacks {name}"));
        assert_eq!((&row[1], &row[2]), (&default.to_string(), &least.to_string()), "{name}");
    }
}
