//! The bench: measures what design promises in numbers, on the machine it runs on, and prints promise and
//! measurement side by side. `cargo xtask bench` builds it with full optimisation and becomes it.
//!
//! The cast:
//!
//! * [`mapping`]: one mapping in a fresh sandbox against the same Rust code run natively ([`native`]), both on the
//!   input that [`charge`] makes.
//! * [`pipeline`]: a whole host twice, once with the sandbox and once with native code in its place ([`host`], a
//!   process of its own), fed by [`load`] and delivering to [`erp`]; [`book`] is what both write times into.
//! * [`machine`], [`samples`], [`table`]: where it ran, how numbers are made of samples, how they are shown.
//!
//! What is compared is measured in turns within one run, so that a busy machine disturbs both alike. It opens no
//! socket beyond loopback, and every phase is bounded in time and in requests.

#![allow(clippy::float_arithmetic, reason = "figures, not money")]
#![allow(clippy::indexing_slicing, reason = "a JSON value answers null for what it does not have")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "printing is what a bench does")]

mod book;
mod charge;
mod erp;
mod host;
mod load;
mod machine;
mod mapping;
mod native;
mod pipeline;
mod samples;
mod table;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand, ValueEnum};

/// Measures the sandbox and the whole host, and prints what was promised beside what was measured.
#[derive(Parser)]
#[command(name = "bench")]
struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    role: Option<Role>,
}

/// What to measure, and how long.
#[derive(clap::Args, Clone)]
struct Options {
    /// Seconds instead of minutes: the same measurements with fewer samples.
    #[arg(long)]
    quick: bool,
    /// How to print the result.
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
    /// Measure one part only.
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// Where the components lie. Default: where `cargo xtask guests` puts them.
    #[arg(long, value_name = "FOLDER")]
    components: Option<PathBuf>,
    /// Where databases are made, on the disk that is to be measured. Default: beside this program.
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The sandbox against native code.
    Mapping,
    /// The whole host.
    Pipeline,
}

/// What this program is when the bench starts it as a child.
#[derive(Subcommand)]
enum Role {
    /// A host, as `portolan serve` is one, with either engine.
    #[command(hide = true)]
    Serve(host::Arguments),
    /// Compiles a module for such a host.
    #[command(hide = true)]
    CompileModule,
}

/// How long each phase takes.
#[derive(Debug, Clone, Copy)]
struct Effort {
    /// Turns of each variant of the mapping.
    mapping_turns: usize,
    /// Calls of one turn.
    mapping_calls: usize,
    /// Turns of each host under full load.
    load_turns: usize,
    /// How long one turn, and each paced phase, lasts.
    load: Duration,
    /// Events that warm a host up.
    warm_up: usize,
}

impl Effort {
    const FULL: Self = Self {
        mapping_turns: 10,
        mapping_calls: 2_000,
        load_turns: 3,
        load: Duration::from_secs(6),
        warm_up: 1_000,
    };
    const QUICK: Self = Self {
        mapping_turns: 4,
        mapping_calls: 500,
        load_turns: 2,
        load: Duration::from_secs(2),
        warm_up: 200,
    };
}

fn main() -> ExitCode {
    let Cli { options, role } = Cli::parse();
    let ended = match role {
        // Before any thread is started: the limits are for this process alone.
        Some(Role::CompileModule) => return portolan_sandbox::compiler_main(),
        Some(Role::Serve(arguments)) => host::main(&arguments),
        None => bench(&options),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn bench(options: &Options) -> anyhow::Result<()> {
    let effort = if options.quick { Effort::QUICK } else { Effort::FULL };
    let components = options.components.clone().unwrap_or_else(charge::components);
    let data = match &options.data {
        Some(folder) => tempfile::tempdir_in(folder)?,
        // Not the system's folder for temporary files: that may be memory, where nothing is ever synced.
        None => tempfile::tempdir_in(std::env::current_exe()?.parent().unwrap_or(&PathBuf::from(".")))?,
    };
    let mut figures =
        table::Figures { machine: machine::survey(data.path())?, mapping: None, pipeline: None };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if options.only != Some(Part::Pipeline) {
        eprintln!("the mapping, sandboxed and native …");
        let prepared = runtime.block_on(mapping::prepare(&components, data.path()))?;
        figures.mapping = Some(mapping::measure(&prepared, effort)?);
    }
    if options.only != Some(Part::Mapping) {
        eprintln!("the host, sandboxed and native …");
        figures.pipeline = Some(runtime.block_on(pipeline::measure(&components, data.path(), effort))?);
    }
    figures.machine.load_after = machine::load_average();
    match options.output {
        Output::Text => print!("{}", table::text(&figures)),
        Output::Json => println!("{}", serde_json::to_string_pretty(&figures)?),
    }
    Ok(())
}
