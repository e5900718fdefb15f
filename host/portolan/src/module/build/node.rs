//! JavaScript and TypeScript: `npm install` into the project, esbuild makes one file of the sources, `componentize-qjs` puts
//! it into QuickJS. Versions are those of the project's `package.json` and lock.

use std::{fs, path::PathBuf, process::Command};

use anyhow::Context;

use super::{
    super::{
        project::{Language, Project},
        say,
    },
    tool,
};

pub(super) fn build(project: &Project) -> anyhow::Result<Vec<u8>> {
    install(project)?;
    let build = project.build_folder();
    fs::create_dir_all(&build)?;
    if project.language == Language::Ts && program(project, "tsc").exists() {
        tool::run(Command::new(program(project, "tsc")).current_dir(&project.folder).arg("--noEmit"))?;
    }
    let entry = if project.language == Language::Ts { "src/component.ts" } else { "src/component.js" };
    let mut bundle = Command::new(program(project, "esbuild"));
    bundle.current_dir(&project.folder).args([entry, "--bundle", "--format=esm", "--external:portolan:*"]);
    bundle.args(["--sourcemap", "--log-level=warning", "--outfile=build/mapping.js"]);
    tool::run(&mut bundle)?;
    let made = build.join("component.wasm");
    let mut componentize = Command::new(program(project, "componentize-qjs"));
    // Not minified: names and lines in stacks are worth more than some kilobytes. Not `--opt-size`: that runtime is
    // compiled with tail calls, which the sandbox refuses.
    componentize.current_dir(&project.folder).args(["-w", "wit", "-n", "mapping", "-j", "build/mapping.js"]);
    componentize.args(["--stub-wasi", "--sync", "-o", "build/component.wasm"]);
    tool::run(&mut componentize)?;
    let component = fs::read(&made).with_context(|| made.display().to_string())?;
    fs::remove_file(made)?;
    Ok(component)
}

/// Installs what the lock names, when it is not there already.
fn install(project: &Project) -> anyhow::Result<()> {
    let installed = project.folder.join("node_modules/.package-lock.json");
    let lock = project.folder.join("package-lock.json");
    let changed = |file: &PathBuf| fs::metadata(file).and_then(|file| file.modified()).ok();
    if installed.exists() && changed(&installed) >= changed(&lock) {
        return Ok(());
    }
    say("installing the toolchain into node_modules, from the npm registry");
    let mut npm = Command::new("npm");
    // `install` and not `ci`: that one refuses a lock for the lack of packages that are for other platforms. Versions
    // are those of the lock all the same. And nothing that a package would run by itself: these need nothing of the kind.
    npm.current_dir(&project.folder).args(["install", "--ignore-scripts", "--no-audit", "--no-fund"]);
    tool::run(&mut npm)
}

fn program(project: &Project, name: &str) -> PathBuf {
    project.folder.join("node_modules/.bin").join(name)
}
