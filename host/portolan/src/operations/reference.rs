//! The page that lists every command: made of what the program parses, so that it cannot list another.

use clap::Command;

const HEAD: &str = "\
# Commands

Made by `portolan commands`; a test compares. `portolan NOUN VERB --help` has every option.

Commands that speak with a host take `--host` (`PORTOLAN_URL`), `--key` (`PORTOLAN_KEY`), and where they concern one
environment `--environment` (`PORTOLAN_ENVIRONMENT`). Where they concern a tenant, an operator's key acts for it with
`--tenant` (`PORTOLAN_TENANT`).

Answers are printed for people, or with `--output json` (`PORTOLAN_OUTPUT`) as the API gave them. What is no JSON (a payload,
an export, CSV) goes to stdout byte for byte as it comes, whatever `--output` says; what `audit verify`, `backup`, `key rotate`,
`reconciliation`, `restore` and `source register` say is JSON in any case. Everything else goes to stderr, and the status is 0
only when it was done. Lists are told in pages: stderr says how to ask for the next one, and `--all` follows them to the end.

Where a value is a text, `@FILE` is what the file holds, `env:NAME` what the variable holds (secrets belong there: a command
line stands in the list of processes), and `-` what comes on stdin, which one value can have; the line break at the end of a
file and of stdin is left out. Where it is a structure, give JSON, or once for each field `NAME=VALUE`, which is a text, or
`NAME:=JSON`: `--settings company=01 --settings requests_per_second:=5`. `--json` gives the whole body at once. A time is given
as answers tell it (RFC 3339), in milliseconds since 1970, or as so long ago: `90s`, `15m`, `2h`, `7d`.
";

/// The page.
pub(crate) fn page(all: &Command) -> String {
    let mut page = HEAD.to_owned();
    let mut nouns: Vec<&Command> = all.get_subcommands().filter(|command| !command.is_hide_set()).collect();
    nouns.sort_by_key(|command| command.get_name());
    let (groups, single): (Vec<&Command>, Vec<&Command>) =
        nouns.into_iter().partition(|command| command.has_subcommands());
    page.push_str("\n## The program\n\n| command | |\n|---|---|\n");
    for command in single {
        row(&mut page, "portolan", command);
    }
    for group in groups {
        let about = group.get_about().map(ToString::to_string).unwrap_or_default();
        let name = group.get_name();
        page.push_str(&format!(
            "\n## {name}\n\n{}.\n\n| command | |\n|---|---|\n",
            about.trim_end_matches('.')
        ));
        let mut verbs: Vec<&Command> = group.get_subcommands().filter(|verb| !verb.is_hide_set()).collect();
        verbs.sort_by_key(|command| command.get_name());
        for verb in verbs {
            row(&mut page, &format!("portolan {name}"), verb);
        }
    }
    page
}

fn row(page: &mut String, before: &str, command: &Command) {
    let positionals: String = command
        .get_positionals()
        .map(|arg| {
            let name =
                arg.get_value_names().and_then(|names| names.first()).map_or("…", |name| name.as_str());
            if arg.is_required_set() { format!(" {name}") } else { format!(" [{name}]") }
        })
        .collect();
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let about = about.trim_end_matches('.').replace('|', "\\|");
    page.push_str(&format!("| `{before} {}{positionals}` | {about} |\n", command.get_name()));
}
