//! `portolan module build`: the project's own toolchain, then the check of production. What is missing is installed
//! from the package registries into the project's folder, and said.

mod node;
mod python;
mod rust;
mod tool;

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use super::{
    Output, check,
    local::Local,
    project::{Language, Project},
    say,
};
use crate::access::wait_for;

#[derive(Args)]
pub(crate) struct BuildArgs {
    /// The project's folder.
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// How to print what the check says.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

pub(crate) fn main(args: &BuildArgs) -> anyhow::Result<()> {
    let project = Project::of(&args.folder)?;
    let component = match project.language {
        Language::Rust => rust::build(&project)?,
        Language::Js | Language::Ts => node::build(&project)?,
        Language::Python => python::build(&project)?,
    };
    let file = project.component();
    write(&file, &component)?;
    let ready = wait_for(Local::open()?.admit(component))?;
    check::print(&ready.sheet, args.output);
    say(format!("{} is built", file.display()));
    Ok(())
}

/// Writes a file whole or not at all.
fn write(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let unfinished = file.with_extension("unfinished");
    std::fs::write(&unfinished, bytes).with_context(|| unfinished.display().to_string())?;
    std::fs::rename(&unfinished, file).with_context(|| file.display().to_string())
}
