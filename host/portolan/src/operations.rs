//! Every operation of the API as a command, `portolan NOUN VERB`: made from the OpenAPI document, so that the command
//! line can do what the API can, no more and no less, and `--help` says what the document says.

mod ask;
mod document;
mod reference;
mod show;

pub(crate) use reference::page;

use std::io::Write;

use anyhow::bail;
use clap::{Arg, ArgMatches, Command, builder::PossibleValuesParser};
use portolan::stage::{Client, Refused};
use serde_json::{Value, json};

use crate::access::wait_for;
use ask::{BODY, FILE, HOST, KEY, TENANT, flag};
use document::{Body, Field, Kind, Operation, Place, operations};

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

/// How many pages `--all` follows.
const PAGES_MAX: usize = 10_000;

/// Adds a command for each operation. One that is there already stays: it does more than ask.
pub(crate) fn add(mut all: Command) -> Command {
    for operation in operations() {
        let noun = operation.noun.clone();
        if all.find_subcommand(&noun).is_none() {
            let about = NOUNS.iter().find(|(known, _)| *known == noun).map_or("", |(_, about)| about);
            let made = Command::new(noun.clone())
                .about(about)
                .subcommand_required(true)
                .arg_required_else_help(true);
            all = all.subcommand(made);
        }
        if all.find_subcommand(&noun).is_some_and(|noun| noun.find_subcommand(&operation.verb).is_some()) {
            continue;
        }
        all = all.mut_subcommand(noun, |noun| noun.subcommand(command(&operation)));
    }
    all
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
            (_, "environment") => argument(field, field.name.clone())
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
    if is_paged(operation) {
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

fn is_paged(operation: &Operation) -> bool {
    operation.method == "GET"
        && operation
            .parameters
            .iter()
            .any(|parameter| ["before", "after"].contains(&parameter.field.name.as_str()))
}

fn argument(field: &Field, id: String) -> Arg {
    let arg =
        Arg::new(id).help(field.about.trim_end_matches('.').to_owned()).value_name(field.name.to_uppercase());
    match &field.kind {
        Kind::Choice(choices) => arg.value_parser(PossibleValuesParser::new(choices)),
        Kind::Flag => arg.value_parser(PossibleValuesParser::new(["true", "false"])),
        Kind::List => arg.action(clap::ArgAction::Append),
        Kind::Structure => arg.action(clap::ArgAction::Append).value_name("JSON|@FILE|NAME=VALUE"),
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
            .value_parser(["text", "json"])
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
    let answer = wait_for(ask_all(operation, matches, &client))?;
    let told = match (one("output").as_str(), &answer) {
        ("json", answer) => format!("{answer:#}\n"),
        (_, Value::String(text)) => text.clone(),
        (_, answer) => match answer.get("items").and_then(Value::as_array) {
            Some(items) => told_list(items, answer.get("next")),
            None => show::text(answer),
        },
    };
    std::io::stdout().write_all(told.as_bytes())?;
    Ok(())
}

fn told_list(items: &[Value], next: Option<&Value>) -> String {
    let more = next.and_then(Value::as_str).map(|next| format!("… more: --before {next}, or --all\n"));
    show::table(items) + &more.unwrap_or_default()
}

/// One answer; with `--all`, the items of all pages.
async fn ask_all(operation: &Operation, matches: &ArgMatches, client: &Client) -> anyhow::Result<Value> {
    let request = ask::request(operation, matches)?;
    let mut answer = ask(client, &request).await?;
    if !is_paged(operation) || !matches.get_flag("all") {
        return Ok(answer);
    }
    let after = operation.parameters.iter().any(|parameter| parameter.field.name == "after");
    let name = if after { "after" } else { "before" };
    let mut items: Vec<Value> = Vec::new();
    for _ in 0..PAGES_MAX {
        if let Some(Value::Array(more)) = answer.get_mut("items").map(Value::take) {
            items.extend(more);
        }
        let Some(next) = answer.get("next").and_then(Value::as_str) else { break };
        let sign = if request.target.contains('?') { '&' } else { '?' };
        let next: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
        let target = format!("{}{sign}{name}={next}", request.target);
        let further = ask::Request {
            target,
            headers: request.headers.clone(),
            method: request.method.clone(),
            body: None,
        };
        answer = ask(client, &further).await?;
    }
    Ok(json!({ "items": items, "next": null }))
}

async fn ask(client: &Client, request: &ask::Request) -> anyhow::Result<Value> {
    let headers: Vec<(&str, String)> =
        request.headers.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    let (status, answer) =
        client.exchange(request.method.clone(), &request.target, request.body.clone(), &headers).await?;
    if status.is_success() {
        return Ok(answer);
    }
    let (method, path) = (request.method.clone(), request.target.clone());
    let refused = Refused { method, path, status, body: answer };
    bail!(refused.told(client.base()))
}
