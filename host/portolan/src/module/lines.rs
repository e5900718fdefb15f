//! Names and lines for what went wrong in a guest, instead of offsets.
//!
//! * Rust: the component for upload carries names of functions, and no debug information, which would be most of its
//!   bytes. `portolan module build` keeps a twin that does, beside it, under the digest of the component:
//!   `build/debug-<digest>.wasm`. A module is a pure function, so whatever failed fails again in the twin, at an address
//!   that has a line.
//! * JavaScript and TypeScript: the SDK logs an exception's stack, with lines of the bundle; the source map beside it
//!   (`build/mapping.js.map`) says which lines of which source they are.
//! * Python: the SDK logs the traceback, which has the lines.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "the enums matched here are wasmparser's, with many cases that mean nothing to us"
)]

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
};

use addr2line::gimli::{self, EndianSlice, LittleEndian};
use portolan_domain::contract::LogLine;
use portolan_sandbox::{Frame, RunLimits};
use wasmparser::{KnownCustom, Name, Parser, Payload};

use super::{
    local::{Local, Ready},
    rounds::Ended,
    source_map::SourceMap,
};
use crate::access::wait_for;

/// What is known about a module's sources.
#[derive(Default)]
pub(super) struct Sources {
    twin: Option<PathBuf>,
    map: Option<SourceMap>,
}

/// What a twin is called.
pub(super) fn twin_name(digest: &str) -> String {
    let plain: String = digest.trim_start_matches("sha256:").chars().take(16).collect();
    format!("debug-{plain}.wasm")
}

impl Sources {
    /// Of the component at `file`.
    pub(super) fn beside(file: &Path, ready: &Ready) -> Self {
        let build = file.parent().unwrap_or(Path::new(".")).join("build");
        let twin = build.join(twin_name(&ready.sheet.digest.to_string()));
        let map = std::fs::read_to_string(build.join("mapping.js.map")).ok();
        Self { twin: twin.exists().then_some(twin), map: map.and_then(|text| SourceMap::read(&text)) }
    }

    /// Where a module was when it failed, innermost first: `mapping::amount at src/lib.rs:12`.
    pub(super) fn stack(&self, local: &Local, ended: &Ended) -> Vec<String> {
        if !ended.stack.iter().any(Frame::is_of_interest) {
            return Vec::new();
        }
        let with_lines = self.twin.as_deref().and_then(|twin| self.again(local, twin, ended));
        with_lines.unwrap_or_else(|| {
            of_interest(&ended.stack)
                .take(SHOWN_MAX)
                .map(|frame| format!("at {}", frame.function()))
                .collect()
        })
    }

    /// Fails once more, in the twin.
    fn again(&self, local: &Local, twin: &Path, ended: &Ended) -> Option<Vec<String>> {
        let component = std::fs::read(twin).ok()?;
        let ready = wait_for(local.admit(component.clone())).ok()?;
        let report = local.sandbox.transform_here(&ready.module, &ended.last_input, &RunLimits::default());
        let debug = Debug::of(&component);
        let text = |frame: &Frame| match debug.place(frame) {
            Some(place) => format!("at {} ({place})", frame.function()),
            None => format!("at {}", frame.function()),
        };
        Some(of_interest(&report.stack).map(text).collect())
    }

    /// The log, with the places of a bundle turned into those of its sources.
    pub(super) fn log(&self, lines: &[LogLine]) -> Vec<String> {
        let text = |line: &LogLine| {
            let message = match &self.map {
                Some(map) => map.translate(&line.message),
                None => line.message.clone(),
            };
            // The sandbox escapes what would forge lines; a stack has them by right.
            let level = serde_json::json!(line.level);
            format!("{}: {}", level.as_str().unwrap_or_default(), message.replace("\\n", "\n         "))
        };
        lines.iter().map(text).collect()
    }
}

/// Functions that are shown without their lines: what an interpreter was doing inside tells little.
const SHOWN_MAX: usize = 4;

/// The frames in which somebody would look for a mistake.
fn of_interest(stack: &[Frame]) -> impl Iterator<Item = &Frame> {
    stack.iter().filter(|frame| frame.is_of_interest())
}

/// The debug information of the core modules in a component.
struct Debug<'w> {
    modules: Vec<CoreModule<'w>>,
}

#[derive(Default)]
struct CoreModule<'w> {
    /// Where its code section begins in the component, as frames count: what DWARF counts from.
    code: u64,
    sections: Vec<(&'w str, &'w [u8])>,
    names: Vec<(u32, &'w str)>,
}

impl<'w> Debug<'w> {
    fn of(component: &'w [u8]) -> Self {
        let mut modules: Vec<CoreModule<'w>> = Vec::new();
        for payload in Parser::new(0).parse_all(component) {
            // What cannot be read has no lines.
            let Ok(payload) = payload else { break };
            match payload {
                Payload::ModuleSection { .. } => modules.push(CoreModule::default()),
                Payload::CodeSectionStart { range, .. } => {
                    if let Some(module) = modules.last_mut() {
                        module.code = range.start as u64;
                    }
                }
                Payload::CustomSection(section) => {
                    if let Some(module) = modules.last_mut() {
                        if let KnownCustom::Name(names) = section.as_known() {
                            module.names.extend(function_names(names));
                        }
                        module.sections.push((section.name(), section.data()));
                    }
                }
                _ => {}
            }
        }
        modules.retain(|module| module.sections.iter().any(|(name, _)| *name == ".debug_line"));
        Self { modules }
    }

    /// File and line of a frame.
    fn place(&self, frame: &Frame) -> Option<String> {
        let named = |module: &&CoreModule<'_>| {
            module
                .names
                .iter()
                .any(|(index, name)| *index == frame.index && Some(*name) == frame.name.as_deref())
        };
        let module = self.modules.iter().find(named)?;
        module.place(frame.offset?.checked_sub(module.code)?)
    }
}

fn function_names(names: wasmparser::NameSectionReader<'_>) -> Vec<(u32, &str)> {
    let functions = names.into_iter().flatten().filter_map(|name| match name {
        Name::Function(functions) => Some(functions),
        _ => None,
    });
    functions.flat_map(|map| map.into_iter().flatten().map(|naming| (naming.index, naming.name))).collect()
}

impl CoreModule<'_> {
    fn place(&self, address: u64) -> Option<String> {
        let section = |id: gimli::SectionId| -> Result<EndianSlice<'_, LittleEndian>, gimli::Error> {
            let found = self.sections.iter().find(|(name, _)| *name == id.name());
            Ok(EndianSlice::new(found.map(|(_, data)| *data).unwrap_or_default(), LittleEndian))
        };
        let context = addr2line::Context::from_dwarf(gimli::Dwarf::load(section).ok()?).ok()?;
        // What was inlined at this place comes first, the function itself last.
        let mut frames = context.find_frames(address).skip_all_loads().ok()?;
        let mut places = Vec::new();
        while let Ok(Some(frame)) = frames.next() {
            let location =
                frame.location.and_then(|location| Some((location.file?.to_owned(), location.line)));
            places.extend(location);
        }
        // The innermost line that its author wrote; the standard library's are nobody's mistake.
        let own = places.iter().find(|(file, _)| !FOREIGN.iter().any(|part| file.contains(part)));
        let (file, line) = own.or(places.last())?;
        let file = shortened(file);
        Some(line.map_or_else(|| file.to_string(), |line| format!("{file}:{line}")))
    }
}

/// In the paths of sources that are not the project's: the compiler's own, and those of cargo's registry.
const FOREIGN: [&str; 4] = ["/rustc/", "/rust/deps/", "/registry/src/", "/vendor/"];

/// A source's path as its project knows it.
fn shortened(file: &str) -> Cow<'_, str> {
    let here = std::env::current_dir().unwrap_or_default();
    match Path::new(file).strip_prefix(here) {
        Ok(inside) => Cow::Owned(inside.display().to_string()),
        Err(_) => Cow::Borrowed(file),
    }
}
