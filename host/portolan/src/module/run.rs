//! `portolan module run`: a module on one event, with its outcome, its log and its cost. Delivers nothing.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use portolan_domain::contract::{Answer, Fact, Need};
use serde_json::{Value, json};

use super::{
    Output,
    case::{Case, EventForm},
    lines::Sources,
    local::{Local, Ready},
    profile, project,
    remote::{Remote, RemoteArgs},
    rounds::{self, Ended, Verdict},
    say,
    test::cost_text,
};
use crate::access::wait_for;

#[derive(Args)]
pub(crate) struct RunArgs {
    /// An event: a file with its payload, a case, or the id of a real event (evt_…) of --environment.
    #[arg(long, value_name = "FILE|evt_…")]
    event: String,
    /// The component. Default: that of the project in this folder.
    #[arg(long, value_name = "FILE")]
    module: Option<PathBuf>,
    /// The system that a payload in a file comes from.
    #[arg(long, default_value = "stripe")]
    system: String,
    /// The mapping's settings, as a JSON file, in place of those of the case or the mapping.
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Facts, as a JSON file with a list of {"need", "answer"}; before those of the case or the run.
    #[arg(long, value_name = "FILE")]
    facts: Option<PathBuf>,
    /// Says where the fuel went, by function.
    #[arg(long)]
    profile: bool,
    /// Writes event, settings, facts and outcome to a file, as a case.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// How to print what came of it.
    #[arg(long, env = "PORTOLAN_OUTPUT", value_enum, default_value_t = Output::Text)]
    output: Output,
    #[command(flatten)]
    remote: RemoteArgs,
}

pub(crate) fn main(args: &RunArgs) -> anyhow::Result<()> {
    let file = project::component(args.module.as_deref())?;
    let component = std::fs::read(&file).with_context(|| file.display().to_string())?;
    let remote = args.event.starts_with("evt_").then(|| args.remote.open()).transpose()?;
    let (mut case, folder) = read(args, remote.as_ref())?;
    if let Some(settings) = &args.settings {
        case.settings = read_json(settings)?;
    }
    if let Some(facts) = &args.facts {
        let facts: Vec<Fact> = serde_json::from_value(read_json(facts)?).context("--facts")?;
        case.facts.splice(0..0, facts);
    }
    let local = Local::open()?;
    let ready = wait_for(local.admit(component))?;
    let input = case.input(&folder)?;
    let ended =
        rounds::run(&local, &ready, input, |need| case.answer(need).or_else(|| ask(remote.as_ref(), need)));
    let sources = Sources::beside(&file, &ready);
    let profile = args.profile.then(|| last_round(&local, &ready, &ended));
    match args.output {
        Output::Text => print(&local, &sources, &ended, profile.as_ref()),
        Output::Json => {
            let json = json!({
                "outcome": ended.verdict.to_json(),
                "cost": ended.cost,
                "log": sources.log(&ended.log),
                "facts": ended.facts,
                "stack": sources.stack(&local, &ended),
                "profile": profile.as_ref().map(|(shares, fuel)| json!({ "fuel": fuel, "functions": shares })),
            });
            println!("{json:#}");
        }
    }
    if let Some(file) = &args.save {
        case.facts.clone_from(&ended.facts);
        case.expect = matches!(ended.verdict, Verdict::Decided(_)).then(|| ended.verdict.to_json());
        case.write(file)?;
        say(format!("{} is a case now", file.display()));
    }
    judge(&ended)
}

/// Nothing is printed twice: what a program reads is on stdout, and the status tells the rest.
fn judge(ended: &Ended) -> anyhow::Result<()> {
    match &ended.verdict {
        Verdict::Decided(_) => Ok(()),
        Verdict::Failed { code, message } => bail!("{code}: {message}"),
        Verdict::Unknown(_) => {
            bail!("the module needs facts that are not known here: give them in a file with --facts")
        }
    }
}

/// The event, and the folder that its file is in.
fn read(args: &RunArgs, remote: Option<&Remote>) -> anyhow::Result<(Case, PathBuf)> {
    if let Some(remote) = remote {
        return Ok((args.remote.case(remote, &args.event)?, PathBuf::from(".")));
    }
    let file = Path::new(&args.event);
    let folder = file.parent().unwrap_or(Path::new(".")).to_owned();
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let is_case =
        serde_json::from_str::<Value>(&text).is_ok_and(|json| json.pointer("/event/system").is_some());
    if is_case {
        return Ok((Case::read(file)?, folder));
    }
    let event =
        EventForm { system: args.system.clone(), payload: Some(Value::String(text)), ..EventForm::default() };
    let case: Case = serde_json::from_value(json!({ "event": event }))?;
    Ok((case, folder))
}

fn read_json(file: &Path) -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    serde_json::from_str(&text).with_context(|| file.display().to_string())
}

fn ask(remote: Option<&Remote>, need: &Need) -> Option<Answer> {
    remote?.answer(need).unwrap_or_else(|error| {
        say(format!("warning: {error:#}"));
        None
    })
}

/// The profile of the last round, which as a rule does the work.
fn last_round(local: &Local, ready: &Ready, ended: &Ended) -> (Vec<profile::Share>, u64) {
    let limits = portolan_sandbox::RunLimits::default();
    let fuel = local.sandbox.transform_here(&ready.module, &ended.last_input, &limits).cost.fuel;
    (profile::profile(local, ready, &ended.last_input, fuel), fuel)
}

fn print(local: &Local, sources: &Sources, ended: &Ended, profile: Option<&(Vec<profile::Share>, u64)>) {
    println!("{:#}", ended.verdict.to_json());
    for line in sources.log(&ended.log) {
        say(format!("log: {line}"));
    }
    if let Verdict::Unknown(needs) = &ended.verdict {
        say("facts to give (with what the system would answer, {\"found\": …} or \"absent\"):");
        for need in needs {
            say(format!("  {}", json!({ "need": need, "answer": "absent" })));
        }
    }
    for line in sources.stack(local, ended) {
        say(format!("  {line}"));
    }
    say(format!("{}: {}", ended.verdict.word(), cost_text(&ended.cost)));
    if let Some((shares, fuel)) = profile {
        print!("{}", profile::table(shares, *fuel));
    }
}
