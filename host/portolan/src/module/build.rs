//! `portolan module build`: the project's own toolchain, then the check of production. What is missing is installed
//! from the package registries into the project's folder, and said.

mod node;
mod python;
mod rust;
mod tool;

use std::path::PathBuf;

use clap::Args;

use super::{
    Output, check,
    local::Local,
    project::{Language, Project},
    say, write_whole,
};
use crate::access::wait_for;

#[derive(Args)]
pub(crate) struct BuildArgs {
    /// The project's folder.
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// How to print what the check says.
    #[arg(long, env = "PORTOLAN_OUTPUT", value_enum, default_value_t = Output::Text)]
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
    write_whole(&file, &component)?;
    let ready = wait_for(Local::open()?.admit(component))?;
    check::print(&ready.sheet, args.output);
    say(format!("{} is built", file.display()));
    Ok(())
}
