//! The `portolan` binary: reads settings, puts the host together, and speaks to people.
//!
//! Data goes to stdout, everything else to stderr.

#![allow(clippy::print_stdout, reason = "printing is what a command does")]

mod access;
mod audit;
mod backup;
mod compact;
mod compile;
mod demo;
mod event;
mod harden;
mod key;
mod mail;
mod masked;
mod module;
mod operations;
mod print;
mod secrets;
mod serve;
mod settings;
mod source;
mod traces;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use portolan::stage::Refused;

/// Carries events from one system's port to another's, through mapping modules that can hurt no one.
#[derive(Parser)]
#[command(name = "portolan", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the host until it is told to stop (Ctrl-C or SIGTERM).
    ///
    /// When it is ready, one line of JSON on stdout names its address; at the very first start it also holds
    /// the operator's key, which is never shown again.
    Serve(serve::ServeArgs),
    /// Runs a stand-in for Stripe's API, SAP ECC, Epicor or a Sage Pro gateway on loopback.
    Simulate(portolan_simulators::SimulateArgs),
    /// Shows the whole way on this machine: host, stand-ins, three tenants, more than 30 charges.
    Demo(demo::DemoArgs),
    /// Writes a consistent copy of a running host's database to a file. Secrets in it are sealed; the master key is not in it.
    Backup(backup::BackupArgs),
    /// Puts a backup into an empty data folder. The host that then serves it asks about everything before it sends.
    Restore(backup::RestoreArgs),
    /// Makes the database of a host that does not run as small as it can be, and leaves nothing in it of what was removed.
    Compact(compact::CompactArgs),
    /// What follows a restore.
    Reconciliation {
        #[command(subcommand)]
        command: backup::ReconciliationCommand,
    },
    /// The audit log.
    Audit {
        #[command(subcommand)]
        command: audit::AuditCommand,
    },
    /// Keys of a running host.
    Key {
        #[command(subcommand)]
        command: key::KeyCommand,
    },
    /// Events of a running host, and what became of them.
    Event {
        #[command(subcommand)]
        command: event::EventCommand,
    },
    /// Mapping modules: made, built, checked, tested and run on this machine; uploaded to a running host.
    Module {
        #[command(subcommand)]
        command: module::ModuleCommand,
    },
    /// Sources of a running host.
    Source {
        #[command(subcommand)]
        command: source::SourceCommand,
    },
    /// Prints settings.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Prints the OpenAPI document of the API.
    Openapi,
    /// Prints the page that lists every command.
    #[command(hide = true)]
    Commands,
    /// Compiles a module on behalf of the host, in a process of its own with its own limits.
    #[command(hide = true)]
    CompileModule,
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Reads portolan.toml and PORTOLAN_* and says what is wrong with them.
    Check(settings::SettingsArgs),
    /// Prints the settings that are in force, as TOML. Secrets are not among them.
    Print(settings::SettingsArgs),
}

fn main() -> ExitCode {
    // What the host starts itself should not wait for the document of the API.
    if std::env::args()
        .nth(1)
        .is_some_and(|name| ["compile-module", "serve", "simulate"].contains(&name.as_str()))
    {
        return carried_out(Cli::parse().command);
    }
    let derived = Cli::command();
    let matches = operations::add(derived.clone()).get_matches();
    let ended = match operations::named(&derived, &matches) {
        Some((operation, matches)) => operations::run(&operation, matches),
        None => match Cli::from_arg_matches(&matches) {
            Ok(cli) => return carried_out(cli.command),
            Err(error) => error.exit(),
        },
    };
    exit_code(ended)
}

/// What is more than one operation of the API.
fn carried_out(command: Command) -> ExitCode {
    let ended = match command {
        // Before any thread is started: the limits are for this process alone.
        Command::CompileModule => return compile::main(),
        Command::Serve(args) => serve::main(args),
        Command::Simulate(args) => simulate(args),
        Command::Demo(args) => return demo::main(args),
        Command::Backup(args) => backup::backup(args),
        Command::Restore(args) => backup::restore(args),
        Command::Compact(args) => compact::main(&args),
        Command::Reconciliation { command } => backup::reconciliation(command),
        Command::Audit { command } => audit::main(command),
        Command::Key { command } => key::main(command),
        Command::Event { command } => event::main(command),
        Command::Module { command } => module::main(command),
        Command::Source { command } => source::main(command),
        Command::Config { command } => config(command),
        Command::Commands => {
            print!("{}", operations::page(&operations::add(Cli::command())));
            Ok(())
        }
        Command::Openapi => {
            print!("{}", portolan_api::document());
            Ok(())
        }
    };
    exit_code(ended)
}

fn exit_code(ended: anyhow::Result<()>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say_error(&error);
            ExitCode::FAILURE
        }
    }
}

/// The last words of a command that failed. What a host refuses, it says in words for people.
fn say_error(error: &anyhow::Error) {
    let refused = error.downcast_ref::<Refused>().map(Refused::told);
    print::say(format!("error: {}", refused.unwrap_or_else(|| format!("{error:#}"))));
}

fn simulate(args: portolan_simulators::SimulateArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(portolan_simulators::run(args))
}

fn config(command: ConfigCommand) -> anyhow::Result<()> {
    match command {
        ConfigCommand::Check(args) => args.read().map(|_| ()),
        ConfigCommand::Print(args) => {
            print!("{}", toml::to_string_pretty(&args.read()?)?);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_are_sound_and_the_page_lists_them() {
        let all = operations::add(Cli::command());
        all.clone().debug_assert();
        let kept = include_str!("../../../docs/commands.md");
        let made = operations::page(&all);
        assert!(
            kept == made,
            "docs/commands.md is older: `cargo run -p portolan -- commands > docs/commands.md`"
        );
    }

    /// A variable that a command reads is no setting that `serve` and `config check` would not know.
    #[test]
    fn every_variable_of_a_command_is_set_apart_from_the_settings() {
        fn variables(command: &clap::Command, found: &mut std::collections::BTreeSet<String>) {
            let own = command.get_arguments().filter_map(|argument| argument.get_env());
            found.extend(own.map(|name| name.to_string_lossy().into_owned()));
            command.get_subcommands().for_each(|one| variables(one, found));
        }
        let mut found = std::collections::BTreeSet::new();
        variables(&operations::add(Cli::command()), &mut found);
        assert!(found.contains("PORTOLAN_KEY") && found.contains("PORTOLAN_OUTPUT"), "{found:?}");
        for name in found {
            assert!(settings::APART.contains(&name.as_str()), "{name}");
        }
    }
}
