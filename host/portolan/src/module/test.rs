//! `portolan module test`: every case of a folder, in the sandbox of the host, round after round.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::Args;
use portolan_domain::contract::{Fact, Need};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Output,
    case::Case,
    diff::{self, Difference},
    grouped,
    lines::Sources,
    local::{Local, Ready},
    project,
    rounds::{self, Cost, Ended, Verdict, compact},
    say,
};
use crate::access::wait_for;

/// Differences of one case that are printed; a module that went wrong differs everywhere.
const SHOWN_MAX: usize = 20;

#[derive(Args)]
pub(crate) struct TestArgs {
    /// The folder of the cases; with its folders.
    #[arg(default_value = "cases")]
    folder: PathBuf,
    /// The component. Default: that of the project in this folder.
    #[arg(long, value_name = "FILE")]
    module: Option<PathBuf>,
    /// Writes what comes out into the cases, as what is expected. Look at the difference before you commit it.
    #[arg(long)]
    update: bool,
    /// How to print what came of it.
    #[arg(long, env = "PORTOLAN_OUTPUT", value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// What came of one case.
#[derive(Serialize)]
struct Tried {
    case: String,
    ok: bool,
    outcome: &'static str,
    cost: Cost,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    differences: Vec<Difference>,
    /// What is wrong besides: a fact that is missing, fuel beyond what is pinned, a refusal.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<String>,
    /// Facts to put into the case, with an answer to fill in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing_facts: Vec<Value>,
    /// Worth knowing, and no reason to fail.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    log: Vec<String>,
}

pub(crate) fn main(args: &TestArgs) -> anyhow::Result<()> {
    let file = project::component(args.module.as_deref())?;
    let files = case_files(&args.folder)?;
    let component = std::fs::read(&file).with_context(|| file.display().to_string())?;
    let local = Local::open()?;
    let ready = wait_for(local.admit(component))?;
    let sources = Sources::beside(&file, &ready);
    let trial = Trial { local, ready, sources };
    let mut tried = Vec::new();
    for (name, file) in files {
        let one = try_case(&trial, &file, args.update)
            .map(|one| Tried { case: name.clone(), ..one })
            .with_context(|| format!("case {name}"))?;
        if args.output == Output::Text {
            print(&one);
        }
        tried.push(one);
    }
    let failed = tried.iter().filter(|one| !one.ok).count();
    match args.output {
        Output::Json => {
            println!(
                "{:#}",
                json!({ "digest": trial.ready.sheet.digest, "ok": failed == 0, "cases": tried })
            );
        }
        Output::Text => summarise(&tried, failed),
    }
    if failed > 0 {
        bail!("{failed} of {} cases failed", tried.len());
    }
    Ok(())
}

/// All cases of a folder by name, sorted.
fn case_files(folder: &Path) -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(current) = open.pop() {
        let entries = std::fs::read_dir(&current).with_context(|| current.display().to_string())?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "json") {
                let name = path.strip_prefix(folder).unwrap_or(&path).with_extension("");
                found.insert(name.display().to_string(), path);
            }
        }
    }
    if found.is_empty() {
        bail!("{} holds no cases: a case is a JSON file with an event and settings", folder.display());
    }
    Ok(found)
}

/// A module, and where it is tried.
struct Trial {
    local: Local,
    ready: Ready,
    sources: Sources,
}

fn try_case(trial: &Trial, file: &Path, update: bool) -> anyhow::Result<Tried> {
    let Trial { local, ready, sources } = trial;
    let mut case = Case::read(file)?;
    let input = case.input(file.parent().unwrap_or(Path::new(".")))?;
    let mut problems = refused_before(ready, &case, &input.event);
    let ended = rounds::run(local, ready, input, |need| case.answer(need));
    let got = ended.verdict.to_json();
    let mut differences = Vec::new();
    let mut missing_facts = Vec::new();
    if let Verdict::Unknown(needs) = &ended.verdict {
        problems.push(
            "the module needs facts that the case does not have; give each an answer, \
                       {\"found\": …} or \"absent\", and put them into \"facts\""
                .to_owned(),
        );
        missing_facts = needs.iter().map(|need| json!({ "need": need, "answer": "absent" })).collect();
    } else if update {
        case.expect = Some(got);
    } else if let Some(expected) = &case.expect {
        differences = diff::between(&compact(expected.clone()), &got);
        // What a module that failed did not decide would be listed field by field.
        if matches!(ended.verdict, Verdict::Failed { .. }) && expected.get("failed").is_none() {
            let wanted = expected.as_object().and_then(|outcome| outcome.keys().next());
            differences = vec![Difference {
                pointer: String::new(),
                expected: wanted.map(|word| word.as_str().into()),
                got: Some(ended.verdict.word().into()),
            }];
        }
    } else {
        problems.push(
            "the case expects nothing yet: look at what comes out, and run again with --update".to_owned(),
        );
    }
    if let Verdict::Failed { code, message } = &ended.verdict
        && (!differences.is_empty() || case.expect.is_none())
    {
        problems.push(format!("{code}: {message}"));
        problems.extend(sources.stack(local, &ended));
    }
    problems.extend(pinned(&mut case, ended.cost.fuel, update));
    if update && missing_facts.is_empty() {
        case.write(file)?;
    }
    let ok = differences.is_empty() && problems.is_empty();
    let log = if ok { Vec::new() } else { sources.log(&ended.log) };
    let notes = unasked(&case, &ended);
    let (outcome, cost) = (ended.verdict.word(), ended.cost);
    Ok(Tried { case: String::new(), ok, outcome, cost, differences, problems, missing_facts, notes, log })
}

/// Why the host would not even call the module.
fn refused_before(ready: &Ready, case: &Case, event: &portolan_domain::contract::EventFacts) -> Vec<String> {
    let description = &ready.sheet.description;
    let mut problems = Vec::new();
    if !description.serves.iter().any(|served| served.covers(&event.system, &event.kind)) {
        problems.push(format!(
            "the module does not serve {} {}: see `serves` in describe",
            event.system, event.kind
        ));
    }
    match portolan_api::schema::validator(&description.settings_schema) {
        Ok(validator) => problems.extend(
            validator
                .iter_errors(&case.settings)
                .map(|error| format!("settings{}: {error}", error.instance_path())),
        ),
        Err(error) => problems.push(format!("the settings schema is no JSON Schema: {error}")),
    }
    problems
}

/// Whether the case costs what it is pinned to.
fn pinned(case: &mut Case, fuel: u64, update: bool) -> Option<String> {
    let pin = case.fuel.as_mut()?;
    if update {
        pin.expect = fuel;
    }
    let (expect, percent) = (grouped(pin.expect), pin.percent);
    (!pin.allows(fuel))
        .then(|| format!("it took {} fuel; pinned are {expect}, within {percent} %", grouped(fuel)))
}

/// Facts that nobody asked for: as a rule left over from an earlier version.
fn unasked(case: &Case, ended: &Ended) -> Vec<String> {
    let asked = |fact: &&Fact| ended.facts.iter().any(|known| known.need == fact.need);
    let unasked = case.facts.iter().filter(|fact| !asked(fact));
    unasked.map(|fact| format!("nobody asks for {}", need_text(&fact.need))).collect()
}

fn need_text(need: &Need) -> String {
    json!(need).to_string()
}

#[expect(clippy::float_arithmetic, reason = "a time for people")]
#[expect(clippy::cast_precision_loss, reason = "a time for people")]
pub(super) fn cost_text(cost: &Cost) -> String {
    let rounds = if cost.rounds == 1 { "round" } else { "rounds" };
    format!(
        "{} {rounds}, {} fuel, {} KiB, {} bytes out, {:.2} ms",
        cost.rounds,
        grouped(cost.fuel),
        grouped(cost.memory_bytes_max >> 10),
        grouped(cost.output_bytes),
        cost.wall_us as f64 / 1_000.0
    )
}

fn print(one: &Tried) {
    let word = if one.ok { "ok  " } else { "FAIL" };
    println!("{word} {}: {} ({})", one.case, one.outcome, cost_text(&one.cost));
    let side = |value: &Option<Value>| value.as_ref().map_or_else(|| "nothing".to_owned(), Value::to_string);
    for difference in one.differences.iter().take(SHOWN_MAX) {
        println!(
            "     {}",
            if difference.pointer.is_empty() { "(the outcome)" } else { &difference.pointer }
        );
        println!("       expected {}", side(&difference.expected));
        println!("       got      {}", side(&difference.got));
    }
    if one.differences.len() > SHOWN_MAX {
        println!("     … and {} more differences", one.differences.len() - SHOWN_MAX);
    }
    for problem in &one.problems {
        println!("     {problem}");
    }
    for fact in &one.missing_facts {
        println!("       {fact}");
    }
    for line in &one.log {
        println!("     log: {line}");
    }
    for note in &one.notes {
        say(format!("note: {}: {note}", one.case));
    }
}

fn summarise(tried: &[Tried], failed: usize) {
    let fuel = || tried.iter().map(|one| one.cost.fuel);
    println!(
        "{} cases: {} ok, {failed} failed; fuel {} to {}",
        tried.len(),
        tried.len() - failed,
        grouped(fuel().min().unwrap_or_default()),
        grouped(fuel().max().unwrap_or_default())
    );
}
