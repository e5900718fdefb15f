//! The structural check of an upload: one pass over the bytes, before anything validates or compiles them.
//!
//! A component of 1,316 bytes can describe a program that takes 4.5 GB and 15 s to compile, by instantiating
//! the previous component twice, twenty-four times over. So the check counts what the nesting *expands* to, with
//! sums that saturate, and refuses by counts and sizes that the compiler's cost depends on. It does not
//! validate: that is done by the compile worker, under limits that the system enforces.
//!
//! The host calls it on what was uploaded, headers only; the worker calls it on what it compiles, down to
//! the instructions. It may not allocate more than a small multiple of the upload.

use wasmparser::{
    CanonicalFunction, ComponentAlias, ComponentExternalKind, ComponentImportSectionReader,
    ComponentInstance, ComponentInstanceSectionReader, ComponentOuterAliasKind, ComponentTypeRef, Encoding,
    FunctionBody, Instance, MemorySectionReader, Operator, Parser, Payload, TableSectionReader,
};

use crate::{
    interfaces::{self, MAPPER, WASI_PREVIEW1},
    limits::ModuleLimits,
    refusal::{self, Refusal},
};

mod counts;
use counts::{Counts, Expansion};

/// How far down to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Sections, counts and sizes.
    Headers,
    /// Local variables and the nesting of blocks too, which reads every instruction.
    Instructions,
}

/// What an upload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// A component.
    Component,
    /// A core module, to be made a component.
    CoreModule,
}

/// What the check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Structure {
    pub(crate) form: Form,
    /// The names of the outermost imports.
    pub(crate) imports: Vec<String>,
    /// The names of the outermost exports.
    pub(crate) exports: Vec<String>,
    pub(crate) core_instances: u64,
    pub(crate) functions: u32,
}

/// Checks an upload.
///
/// # Errors
/// The first limit or rule that it breaks.
pub(crate) fn check(wasm: &[u8], limits: &ModuleLimits, depth: Depth) -> Result<Structure, Refusal> {
    if wasm.len() > limits.upload_bytes_max {
        let message =
            format!("the module has {} bytes, at most {} are accepted", wasm.len(), limits.upload_bytes_max);
        return Err(Refusal::new(refusal::TOO_LARGE, message, SMALLER));
    }
    if !wasm.starts_with(b"\0asm") {
        return Err(not_wasm(wasm));
    }
    let mut scan = Scan {
        counts: Counts::new(limits),
        limits,
        depth,
        open: Vec::new(),
        outer: None,
        imports: Vec::new(),
        exports: Vec::new(),
        typed: false,
    };
    for payload in Parser::new(0).parse_all(wasm) {
        scan.payload(payload.map_err(|error| malformed(&error))?)?;
    }
    scan.finish()
}

const SMALLER: &str = "build for release, with `opt-level = \"s\"`, `lto = true` and `strip = true`, or ask the \
                       operator for a plan with a higher limit";
const SIMPLER: &str = "build it with one of the documented toolchains, without generated tables of code, or ask \
                       the operator for a plan with a higher limit";

fn not_wasm(bytes: &[u8]) -> Refusal {
    let text = bytes.trim_ascii_start().starts_with(b"(");
    let (message, remedy) = if text {
        ("the upload is WebAssembly text", "assemble it: `wasm-tools parse module.wat -o module.wasm`")
    } else {
        (
            "the upload is not WebAssembly: it does not begin with \\0asm",
            "upload the .wasm file of the release build",
        )
    };
    Refusal::new(refusal::NOT_WASM, message, remedy)
}

pub(crate) fn malformed(error: &wasmparser::BinaryReaderError) -> Refusal {
    let message = format!("the module is not valid at byte {:#x}: {}", error.offset(), error.message());
    Refusal::new(
        refusal::INVALID,
        message,
        "build it again; the file may be damaged, or use a WebAssembly proposal that is switched off here (threads, memory64, exceptions, GC, tail calls)",
    )
}

pub(crate) fn too_complex(what: &str, count: u64, max: u64) -> Refusal {
    let message = format!("the module has {count} {what}, at most {max} are accepted");
    Refusal::new(refusal::TOO_COMPLEX, message, SIMPLER)
}

fn unusual(message: &str) -> Refusal {
    Refusal::new(refusal::TOO_COMPLEX, message, SIMPLER)
}

/// A component or core module whose end has not been reached.
enum Open {
    Component {
        /// The component index space: what instantiating each entry expands to.
        components: Vec<Expansion>,
        own: Expansion,
    },
    Module,
}

struct Scan<'l> {
    counts: Counts<'l>,
    limits: &'l ModuleLimits,
    depth: Depth,
    open: Vec<Open>,
    /// The outermost component or module, once its end was reached.
    outer: Option<(Form, Expansion)>,
    imports: Vec<String>,
    exports: Vec<String>,
    /// Whether an outermost core module carries its component type.
    typed: bool,
}

impl Scan<'_> {
    fn payload(&mut self, payload: Payload<'_>) -> Result<(), Refusal> {
        match payload {
            Payload::Version { encoding, .. } => self.begin(encoding),
            Payload::End(_) => self.end(),
            Payload::CodeSectionEntry(body) => self.body(&body),
            Payload::TableSection(tables) => self.tables(tables),
            Payload::MemorySection(memories) => self.memories(memories),
            Payload::ImportSection(imports) => self.core_imports(imports),
            Payload::TagSection(_) => Err(unusual("the module uses exceptions, which are switched off here")),
            Payload::TypeSection(section) => self.counts.entries("types", section.count()),
            Payload::GlobalSection(section) => self.counts.entries("globals", section.count()),
            Payload::ExportSection(section) => self.core_exports(section),
            Payload::FunctionSection(section) => self.counts.functions(section.count()),
            Payload::DataSection(section) => self.counts.data_segments(section.count()),
            Payload::ElementSection(section) => self.counts.element_segments(section.count()),
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => self.counts.nested(),
            Payload::InstanceSection(section) => {
                for instance in section {
                    let real = matches!(instance.map_err(|e| malformed(&e))?, Instance::Instantiate { .. });
                    self.expand(Expansion { core_instances: u64::from(real), definitions: 1 })?;
                }
                Ok(())
            }
            Payload::ComponentInstanceSection(section) => self.instantiations(section),
            Payload::ComponentAliasSection(section) => {
                self.define(section.count())?;
                section.into_iter().try_for_each(|alias| self.alias(alias.map_err(|e| malformed(&e))?))
            }
            Payload::ComponentTypeSection(section) => self.define(section.count()),
            Payload::ComponentCanonicalSection(section) => {
                self.define(section.count())?;
                section.into_iter().try_for_each(|function| canonical(&function.map_err(|e| malformed(&e))?))
            }
            Payload::CoreTypeSection(section) => self.define(section.count()),
            Payload::ComponentImportSection(section) => self.component_imports(section),
            Payload::ComponentExportSection(section) => {
                self.define(section.count())?;
                section.into_iter().try_for_each(|export| {
                    let export = export.map_err(|e| malformed(&e))?;
                    self.component_export(export.name.name, export.kind, export.index)
                })
            }
            Payload::ComponentStartSection { .. } => Err(unusual("the component has a start function")),
            // Other custom sections are names and producers: nothing compiles them. Their size is the upload's.
            Payload::CustomSection(section) => {
                self.typed |= self.is_outermost() && section.name().starts_with("component-type");
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, encoding: Encoding) -> Result<(), Refusal> {
        self.open.push(match encoding {
            Encoding::Component => Open::Component { components: Vec::new(), own: Expansion::ONE },
            Encoding::Module => Open::Module,
        });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Refusal> {
        let (form, expansion) = match self.open.pop() {
            Some(Open::Component { own, .. }) => (Form::Component, own),
            Some(Open::Module) => (Form::CoreModule, Expansion::ONE),
            None => return Ok(()),
        };
        match self.open.last_mut() {
            Some(Open::Component { components, .. }) if form == Form::Component => components.push(expansion),
            Some(_) => {}
            None => self.outer = Some((form, expansion)),
        }
        Ok(())
    }

    /// Adds to what the innermost open component expands to.
    fn expand(&mut self, by: Expansion) -> Result<(), Refusal> {
        match self.open.last_mut() {
            Some(Open::Component { own, .. }) => {
                *own = own.plus(by);
                own.check(self.limits)
            }
            Some(Open::Module) | None => Ok(()),
        }
    }

    fn define(&mut self, count: u32) -> Result<(), Refusal> {
        self.expand(Expansion { core_instances: 0, definitions: u64::from(count) })
    }

    fn is_outermost(&self) -> bool {
        self.open.len() == 1
    }

    /// The component at an index, `count` levels out. An index that does not exist is for the validator to
    /// refuse; here it counts as the worst.
    fn component(&self, count: u32, index: u32) -> Expansion {
        let level = self.open.len().checked_sub(1 + count as usize);
        match level.and_then(|level| self.open.get(level)) {
            Some(Open::Component { components, .. }) => {
                components.get(index as usize).copied().unwrap_or(Expansion::WORST)
            }
            Some(Open::Module) | None => Expansion::WORST,
        }
    }

    fn name_component(&mut self, expansion: Expansion) {
        if let Some(Open::Component { components, .. }) = self.open.last_mut() {
            components.push(expansion);
        }
    }

    fn instantiations(&mut self, section: ComponentInstanceSectionReader<'_>) -> Result<(), Refusal> {
        for instance in section {
            let by = match instance.map_err(|e| malformed(&e))? {
                ComponentInstance::Instantiate { component_index, args } => {
                    if args.iter().any(|arg| arg.kind == ComponentExternalKind::Component) {
                        return Err(unusual("the module hands a component to another as an argument"));
                    }
                    self.component(0, component_index)
                }
                ComponentInstance::FromExports(_) => Expansion::ONE,
            };
            self.expand(by)?;
        }
        Ok(())
    }

    fn alias(&mut self, alias: ComponentAlias<'_>) -> Result<(), Refusal> {
        match alias {
            ComponentAlias::InstanceExport { kind: ComponentExternalKind::Component, .. } => {
                Err(unusual("the module takes a component out of an instance"))
            }
            ComponentAlias::Outer { kind: ComponentOuterAliasKind::Component, count, index } => {
                let expansion = self.component(count, index);
                self.name_component(expansion);
                Ok(())
            }
            ComponentAlias::InstanceExport { .. }
            | ComponentAlias::CoreInstanceExport { .. }
            | ComponentAlias::Outer { .. } => Ok(()),
        }
    }

    fn component_imports(&mut self, section: ComponentImportSectionReader<'_>) -> Result<(), Refusal> {
        self.define(section.count())?;
        for import in section {
            let import = import.map_err(|e| malformed(&e))?;
            if self.is_outermost() {
                interfaces::check_import(import.name.name)?;
                self.import(import.name.name)?;
            }
            if matches!(import.ty, ComponentTypeRef::Component(_)) {
                return Err(unusual("the module has a component that takes another as an argument"));
            }
        }
        Ok(())
    }

    fn component_export(
        &mut self,
        name: &str,
        kind: ComponentExternalKind,
        index: u32,
    ) -> Result<(), Refusal> {
        if kind == ComponentExternalKind::Component {
            let expansion = self.component(0, index);
            self.name_component(expansion);
        }
        if self.is_outermost() {
            self.exports.push(name.to_owned());
        }
        Ok(())
    }

    fn core_imports(&mut self, section: wasmparser::ImportSectionReader<'_>) -> Result<(), Refusal> {
        self.counts.entries("imports", section.count())?;
        if !self.is_outermost() {
            return Ok(());
        }
        for import in section.into_imports() {
            let module = import.map_err(|e| malformed(&e))?.module;
            if module != WASI_PREVIEW1 {
                interfaces::check_import(module)?;
            }
            self.import(module)?;
        }
        Ok(())
    }

    /// Every interface that is imported is linked by the host; the same one in a thousand versions would be linked as
    /// often.
    fn import(&mut self, name: &str) -> Result<(), Refusal> {
        if self.imports.iter().any(|known| known == name) {
            return Ok(());
        }
        if self.imports.len() >= IMPORTS_MAX {
            return Err(too_complex("imports", IMPORTS_MAX as u64 + 1, IMPORTS_MAX as u64));
        }
        self.imports.push(name.to_owned());
        Ok(())
    }

    fn core_exports(&mut self, section: wasmparser::ExportSectionReader<'_>) -> Result<(), Refusal> {
        self.counts.entries("exports", section.count())?;
        if self.is_outermost() {
            for export in section {
                self.exports.push(export.map_err(|e| malformed(&e))?.name.to_owned());
            }
        }
        Ok(())
    }

    fn tables(&mut self, section: TableSectionReader<'_>) -> Result<(), Refusal> {
        self.counts.tables(section.count())?;
        for table in section {
            let table = table.map_err(|e| malformed(&e))?.ty;
            if table.initial > self.limits.table_elements_max {
                return Err(too_complex(
                    "elements in a table",
                    table.initial,
                    self.limits.table_elements_max,
                ));
            }
        }
        Ok(())
    }

    fn memories(&mut self, section: MemorySectionReader<'_>) -> Result<(), Refusal> {
        if section.count() > 1 {
            return Err(unusual("a core module has several memories, which is switched off here"));
        }
        self.counts.memories(section.count())?;
        for memory in section {
            let memory = memory.map_err(|e| malformed(&e))?;
            if memory.memory64 || memory.shared {
                return Err(unusual("the module has a shared or 64-bit memory, which are switched off here"));
            }
            let bytes = memory.initial.saturating_mul(WASM_PAGE_BYTES);
            if bytes > self.limits.memory_bytes_max {
                return Err(too_complex("bytes of memory at the start", bytes, self.limits.memory_bytes_max));
            }
        }
        Ok(())
    }

    fn body(&mut self, body: &FunctionBody<'_>) -> Result<(), Refusal> {
        let bytes = body.range().len();
        if bytes > self.limits.body_bytes_max {
            return Err(too_complex(
                "bytes in one function",
                bytes as u64,
                self.limits.body_bytes_max as u64,
            ));
        }
        if self.depth == Depth::Instructions {
            self.locals(body)?;
            self.nesting(body)?;
        }
        Ok(())
    }

    fn locals(&self, body: &FunctionBody<'_>) -> Result<(), Refusal> {
        let mut locals = 0u64;
        for group in body.get_locals_reader().map_err(|e| malformed(&e))? {
            let (count, _) = group.map_err(|e| malformed(&e))?;
            locals = locals.saturating_add(u64::from(count));
        }
        let max = u64::from(self.limits.locals_max);
        if locals > max { Err(too_complex("local variables in one function", locals, max)) } else { Ok(()) }
    }

    fn nesting(&self, body: &FunctionBody<'_>) -> Result<(), Refusal> {
        let mut depth = 0u32;
        for operator in body.get_operators_reader().map_err(|e| malformed(&e))? {
            match operator.map_err(|e| malformed(&e))? {
                Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => depth += 1,
                Operator::End => depth = depth.saturating_sub(1),
                // wasmtime cannot be told to refuse them without its garbage collection, which is not built in.
                Operator::CallRef { .. }
                | Operator::RefAsNonNull
                | Operator::BrOnNull { .. }
                | Operator::BrOnNonNull { .. } => {
                    return Err(unusual("the module uses typed references, which are switched off here"));
                }
                _ => {}
            }
            if depth > self.limits.nesting_max {
                return Err(too_complex(
                    "blocks inside each other",
                    u64::from(depth),
                    u64::from(self.limits.nesting_max),
                ));
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Structure, Refusal> {
        let Some((form, expansion)) = self.outer else {
            return Err(Refusal::new(
                refusal::INVALID,
                "the module ends before its end",
                "upload the whole file",
            ));
        };
        match form {
            Form::Component => check_exports(&self.exports)?,
            Form::CoreModule => check_core_module(&self.exports, self.typed)?,
        }
        Ok(Structure {
            form,
            imports: self.imports,
            exports: self.exports,
            core_instances: expansion.core_instances,
            functions: self.counts.function_count(),
        })
    }
}

const WASM_PAGE_BYTES: u64 = 64 << 10;
/// Interfaces that a module imports. There are 22, and nobody needs one in three versions.
const IMPORTS_MAX: usize = 64;

/// Resources of its own are fine: the stubs of the script toolchains have some, and a run's handles are limited.
fn canonical(function: &CanonicalFunction) -> Result<(), Refusal> {
    match function {
        CanonicalFunction::Lift { .. }
        | CanonicalFunction::Lower { .. }
        | CanonicalFunction::ResourceDrop { .. }
        | CanonicalFunction::ResourceNew { .. }
        | CanonicalFunction::ResourceRep { .. } => Ok(()),
        _ => Err(Refusal::new(
            refusal::TOO_COMPLEX,
            "the module uses the asynchronous component model; a mapping waits for nothing",
            "build it with synchronous exports (`--sync` with componentize-qjs)",
        )),
    }
}

fn check_exports(exports: &[String]) -> Result<(), Refusal> {
    if exports.iter().any(|name| name == MAPPER) { Ok(()) } else { Err(missing_export(exports)) }
}

/// What a core module needs to be made a component: the interface's functions, which every toolchain names after
/// it, and the type.
fn check_core_module(exports: &[String], typed: bool) -> Result<(), Refusal> {
    let transform = format!("{MAPPER}#transform");
    if !exports.iter().any(|name| name.ends_with(&transform)) {
        Err(missing_export(exports))
    } else if !typed {
        Err(Refusal::new(
            refusal::NOT_A_COMPONENT,
            "the core module does not carry its component type",
            "build it with wit-bindgen for wasm32-unknown-unknown and do not strip the section `component-type`, \
             or upload a component",
        ))
    } else {
        Ok(())
    }
}

fn missing_export(exports: &[String]) -> Refusal {
    let shown: Vec<String> = exports
        .iter()
        .take(5)
        .map(|name| name.chars().take(80).flat_map(char::escape_default).collect())
        .collect();
    let found = if shown.is_empty() { "nothing".to_owned() } else { format!("`{}`", shown.join("`, `")) };
    let message = format!("the module does not export `{MAPPER}`; it exports {found}");
    Refusal::new(
        refusal::EXPORT_MISSING,
        message,
        "implement the world `mapping` of portolan:mapping@1.0.0 and export its `mapper`",
    )
}
