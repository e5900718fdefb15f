//! Python: `componentize-py` in a virtual environment of the project's, of the version that `requirements.txt` pins.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};

use super::{
    super::{project::Project, say},
    tool,
};

/// What is tried for a Python, in this order.
const PYTHONS: [&str; 2] = ["python3", "python"];

pub(super) fn build(project: &Project) -> anyhow::Result<Vec<u8>> {
    let bin = install(project)?;
    let build = project.build_folder();
    fs::create_dir_all(&build)?;
    let made = build.join("component.wasm");
    let mut componentize = Command::new(bin.join("componentize-py"));
    componentize.current_dir(&project.folder).args([
        "-d",
        "wit",
        "-w",
        "mapping",
        "componentize",
        "--stub-wasi",
    ]);
    componentize.args(["-p", "src", "-p", "vendor", "component", "-o", "build/component.wasm"]);
    // What was compiled for the machine's Python is of no use in there.
    componentize.env("PYTHONDONTWRITEBYTECODE", "1");
    tool::run(&mut componentize)?;
    let component = fs::read(&made).with_context(|| made.display().to_string())?;
    fs::remove_file(made)?;
    Ok(component)
}

/// Sees to the virtual environment; returns the folder of its programs.
fn install(project: &Project) -> anyhow::Result<PathBuf> {
    let environment = project.folder.join(".venv");
    let bin = environment.join("bin");
    let wanted = fs::read_to_string(project.folder.join("requirements.txt"))
        .context("requirements.txt, which pins componentize-py, is missing")?;
    let installed = environment.join("installed.txt");
    if bin.join("componentize-py").exists() && fs::read_to_string(&installed).is_ok_and(|text| text == wanted)
    {
        return Ok(bin);
    }
    say("installing the toolchain into .venv, from PyPI");
    tool::run(Command::new(python()?).args(["-m", "venv"]).arg(&environment))?;
    let mut pip = Command::new(bin.join("python"));
    pip.current_dir(&project.folder).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    tool::run(pip.args(["-r", "requirements.txt"]))?;
    fs::write(&installed, wanted)?;
    Ok(bin)
}

fn python() -> anyhow::Result<&'static Path> {
    for name in PYTHONS {
        if tool::output(Command::new(name).arg("--version")).is_some() {
            return Ok(Path::new(name));
        }
    }
    bail!("no Python is installed: install Python 3.10 or later, with its venv module")
}
