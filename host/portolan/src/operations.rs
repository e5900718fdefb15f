//! Every operation of the API as a command, `portolan NOUN VERB`: made from the OpenAPI document, so that the command
//! line can do what the API can, no more and no less, and `--help` says what the document says.

mod ask;
mod document;
mod reference;
mod show;

pub(crate) use reference::page;

use std::io::Write;

use anyhow::bail;
use clap::{
    Arg, ArgMatches, Command,
    builder::{EnumValueParser, PossibleValuesParser},
};
use portolan::stage::Client;
use serde_json::{Value, json};

use crate::{
    access::wait_for,
    print::{Output, printable_lines, say},
};
use ask::{BODY, FILE, HOST, KEY, Request, TENANT, flag};
use document::{Answer, Body, Cursor, Field, Kind, Operation, Place, operations};

/// What each noun is, for those that have no other commands.
const NOUNS: &[(&str, &str)] = &[
    ("alert", "What people should hear of."),
    ("connection", "Configured connectors, with their secrets, which go in and never come out."),
    ("delivery", "Duties to make one outbound call; the dead letters are those in state `dead`."),
    ("environment", "What an environment asks of those who decide."),
    ("event", "Received, stored, unchanging requests, each with its whole story."),
    ("hold", "Runs that wait for a person's approval."),
    ("host", "The host itself."),
    ("lookup", "Lookup tables and their rows."),
    ("mapping", "Source and event kinds → module version and settings → connections."),
    ("notification", "Rules that tell alerts and successes, and what they told."),
    ("overview", "Where something is to be done."),
    ("replay", "Versions executed again on stored events, and what would differ."),
    ("run", "Executions of a module on an event."),
    ("tenant", "The operator's customers."),
    ("usage", "What tenants used."),
];

/// Operations that have another command, which does more than ask: noun and verb that would be derived, and that command.
const BY_HAND: &[([&str; 2], &[&str])] = &[
    (["audit", "verify"], &["audit", "verify"]),
    (["event", "show"], &["event", "show"]),
    (["host", "take-backup"], &["backup"]),
    (["key", "rotate"], &["key", "rotate"]),
    (["source", "register"], &["source", "register"]),
];

/// How many pages `--all` follows.
const PAGES_MAX: usize = 10_000;

/// Adds a command for each operation that has none of its own.
pub(crate) fn add(mut all: Command) -> Command {
    for operation in operations().into_iter().filter(|operation| !is_by_hand(operation)) {
        let noun = operation.noun.clone();
        if all.find_subcommand(&noun).is_none() {
            let about = NOUNS.iter().find(|(known, _)| *known == noun).map_or("", |(_, about)| about);
            let made = Command::new(noun.clone())
                .about(about)
                .subcommand_required(true)
                .arg_required_else_help(true);
            all = all.subcommand(made);
        }
        all = all.mut_subcommand(noun, |noun| noun.subcommand(command(&operation)));
    }
    all
}

fn is_by_hand(operation: &Operation) -> bool {
    BY_HAND.iter().any(|([noun, verb], _)| operation.noun == *noun && operation.verb == *verb)
}

/// The operation that the command line names, if it names one that was added.
pub(crate) fn named<'a>(derived: &Command, matches: &'a ArgMatches) -> Option<(Operation, &'a ArgMatches)> {
    let (noun, matches) = matches.subcommand()?;
    let (verb, matches) = matches.subcommand()?;
    if derived.find_subcommand(noun).is_some_and(|noun| noun.find_subcommand(verb).is_some()) {
        return None;
    }
    let operation = operations().into_iter().find(|one| one.noun == noun && one.verb == verb)?;
    Some((operation, matches))
}

fn command(operation: &Operation) -> Command {
    let role = operation.role.as_deref().unwrap_or("any");
    let mut command = Command::new(operation.verb.clone())
        .disable_version_flag(true)
        .about(operation.summary.clone())
        .after_help(format!("{} {} (role: {role})", operation.method, operation.path))
        .args(access());
    for parameter in &operation.parameters {
        let field = &parameter.field;
        command = command.arg(match (parameter.place, field.name.as_str()) {
            (Place::Path, "environment") => argument(field, field.name.clone())
                .long("environment")
                .env("PORTOLAN_ENVIRONMENT")
                .required(true),
            (_, "portolan-tenant") => argument(field, TENANT.to_owned())
                .long("tenant")
                .env("PORTOLAN_TENANT")
                .help("With an operator's key: the tenant for whom it acts"),
            (Place::Path, name) => argument(field, name.to_owned()).required(true),
            (Place::Query | Place::Head, name) => {
                argument(field, name.to_owned()).long(flag(field)).required(field.required)
            }
        });
    }
    if let Answer::Page(_) = operation.answer {
        command = command.arg(
            Arg::new("all").long("all").help("Follows the pages to the end").action(clap::ArgAction::SetTrue),
        );
    }
    match &operation.body {
        Body::None => command,
        Body::Bytes => command.arg(Arg::new(FILE).value_name("FILE").help("The file to send").required(true)),
        Body::Json(fields) => {
            let whole = Arg::new(BODY)
                .long("json")
                .value_name("JSON|@FILE|-")
                .help("The whole body; single flags go over it");
            command
                .arg(whole)
                .args(fields.iter().map(|field| argument(field, field.name.clone()).long(flag(field))))
        }
    }
}

fn argument(field: &Field, id: String) -> Arg {
    let arg =
        Arg::new(id).help(field.about.trim_end_matches('.').to_owned()).value_name(field.name.to_uppercase());
    // What a command line says stands in the list of processes: where a secret comes from instead is said first.
    let is_secret = field.name.contains("secret");
    match &field.kind {
        Kind::Choice(choices) => arg.value_parser(PossibleValuesParser::new(choices)),
        Kind::Flag => arg.value_parser(PossibleValuesParser::new(["true", "false"])),
        Kind::List if is_secret => arg.action(clap::ArgAction::Append).value_name("env:NAME|@FILE|-"),
        Kind::List => arg.action(clap::ArgAction::Append),
        Kind::Structure if is_secret => {
            arg.action(clap::ArgAction::Append).value_name("FIELD=env:NAME|FIELD=@FILE|FIELD=-|JSON|@FILE")
        }
        Kind::Structure => arg.action(clap::ArgAction::Append).value_name("JSON|@FILE|NAME=VALUE|NAME:=JSON"),
        Kind::Text if is_secret => arg.allow_hyphen_values(true).value_name("env:NAME|@FILE|-"),
        Kind::Text | Kind::Number => arg.allow_hyphen_values(true),
    }
}

fn access() -> [Arg; 3] {
    [
        Arg::new(HOST)
            .long("host")
            .env("PORTOLAN_URL")
            .default_value("http://127.0.0.1:8080")
            .value_name("ADDRESS")
            .help("The host's address")
            .help_heading("Access"),
        Arg::new(KEY)
            .long("key")
            .env("PORTOLAN_KEY")
            .hide_env_values(true)
            .required(true)
            .value_name("KEY")
            .help("A key of the API")
            .help_heading("Access"),
        Arg::new("output")
            .long("output")
            .env("PORTOLAN_OUTPUT")
            .value_parser(EnumValueParser::<Output>::new())
            .default_value("text")
            .value_name("KIND")
            .help("How answers are printed")
            .help_heading("Access"),
    ]
}

/// Carries out an operation and prints the answer.
///
/// # Errors
/// When the host refuses, or cannot be reached.
pub(crate) fn run(operation: &Operation, matches: &ArgMatches) -> anyhow::Result<()> {
    let one = |name: &str| matches.get_one::<String>(name).cloned().unwrap_or_default();
    let client = Client::new(&one(HOST), Some(&one(KEY)))?;
    let request = ask::request(operation, matches)?;
    let mut stdout = std::io::stdout();
    if operation.answer == Answer::Bytes {
        let (target, headers) = (request.target(), headers(&request));
        wait_for(client.stream(request.method.clone(), &target, &headers, &mut stdout))?;
        return Ok(());
    }
    let answer = match operation.answer {
        Answer::Page(cursor) if matches.get_flag("all") => {
            wait_for(all_pages(request, cursor, PAGES_MAX, async |request| ask(&client, request).await))?
        }
        Answer::Page(_) | Answer::Json | Answer::None | Answer::Bytes => wait_for(ask(&client, &request))?,
    };
    let told = match matches.get_one("output") {
        Some(Output::Json) => format!("{answer:#}\n"),
        Some(Output::Text) | None => told(&answer),
    };
    stdout.write_all(told.as_bytes())?;
    if let (Answer::Page(cursor), Some(next)) = (operation.answer, answer.get("next").and_then(Value::as_str))
    {
        say(format!("… more: --{} {next}, or --all", cursor.name()));
    }
    Ok(())
}

fn told(answer: &Value) -> String {
    match answer {
        Value::String(text) => printable_lines(text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            match answer.get("items").and_then(Value::as_array) {
                Some(items) => show::table(items),
                None => show::text(answer),
            }
        }
    }
}

/// The items of all pages, from the one on that is asked for.
///
/// # Errors
/// When there are more pages than may be followed: a part of a list is not to be taken for the whole.
async fn all_pages(
    mut request: Request,
    cursor: Cursor,
    pages_max: usize,
    ask: impl AsyncFn(&Request) -> anyhow::Result<Value>,
) -> anyhow::Result<Value> {
    let mut items: Vec<Value> = Vec::new();
    for _ in 0..pages_max {
        let mut answer = ask(&request).await?;
        if let Some(Value::Array(more)) = answer.get_mut("items").map(Value::take) {
            items.extend(more);
        }
        let Some(next) = answer.get("next").and_then(Value::as_str) else {
            return Ok(json!({ "items": items, "next": null }));
        };
        request.put_query(cursor.name(), next);
    }
    bail!("the list has more than {pages_max} pages: ask for a part of it")
}

async fn ask(client: &Client, request: &Request) -> anyhow::Result<Value> {
    let (method, target) = (request.method.clone(), request.target());
    let (status, answer) =
        client.exchange(method.clone(), &target, request.body.clone(), &headers(request)).await?;
    if status.is_success() {
        return Ok(answer);
    }
    Err(client.refused(method, &target, status, answer).into())
}

fn headers(request: &Request) -> Vec<(&str, String)> {
    request.headers.iter().map(|(name, value)| (name.as_str(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use clap::CommandFactory;

    use super::*;
    use crate::Cli;

    #[test]
    fn what_has_a_command_by_hand_has_it_and_nothing_else_is_hidden() {
        let (own, all) = (Cli::command(), operations());
        for ([noun, verb], by_hand) in BY_HAND {
            assert!(
                all.iter().any(|one| one.noun == *noun && one.verb == *verb),
                "no operation {noun} {verb}"
            );
            let found = by_hand.iter().try_fold(&own, |command, name| command.find_subcommand(name));
            assert!(found.is_some(), "no command {by_hand:?}");
        }
        for one in all.iter().filter(|one| !is_by_hand(one)) {
            let hidden = own.find_subcommand(&one.noun).and_then(|noun| noun.find_subcommand(&one.verb));
            assert!(hidden.is_none(), "{} {} is hidden by a command of the same name", one.noun, one.verb);
        }
    }

    #[test]
    fn an_environment_is_a_must_in_a_path_and_a_choice_in_a_query() {
        let all = add(Cli::command());
        let flag = |noun: &str, verb: &str| {
            let command = all.find_subcommand(noun).and_then(|noun| noun.find_subcommand(verb)).unwrap();
            let found = command.get_arguments().find(|one| one.get_long() == Some("environment")).unwrap();
            (found.is_required_set(), found.get_env().is_some())
        };
        assert_eq!(flag("connection", "list"), (true, true));
        assert_eq!(flag("usage", "list"), (false, false));
    }

    #[tokio::test]
    async fn all_pages_are_followed_and_a_cut_list_is_none() {
        let asked = Cell::new(0);
        let page = async |request: &Request| {
            let number = asked.replace(asked.get() + 1);
            assert_eq!(request.query.iter().filter(|(name, _)| name == "after").count(), 1, "{request:?}");
            Ok(json!({ "items": [number], "next": (number < 2).then(|| number.to_string()) }))
        };
        let request = || Request {
            method: reqwest::Method::GET,
            path: "/list".to_owned(),
            query: vec![("after".to_owned(), "x".to_owned())],
            headers: Vec::new(),
            body: None,
        };
        let all = all_pages(request(), Cursor::After, 3, page).await.unwrap();
        assert_eq!(all, json!({ "items": [0, 1, 2], "next": null }));
        asked.set(0);
        let cut = all_pages(request(), Cursor::After, 2, page).await.unwrap_err();
        assert!(cut.to_string().contains("more than 2 pages"), "{cut}");
    }
}
