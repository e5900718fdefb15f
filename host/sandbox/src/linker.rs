//! What a component's imports are linked to: the log, and deterministic stand-ins for WASI. A linker is made
//! for each component, from the names and versions that it really imports; those were checked against the
//! allow-list at upload, and are checked again here.

use portolan_domain::contract::LogLevel;
use wasmtime::{
    Engine, StoreContextMut,
    component::{
        Component, InstancePre, Linker, LinkerInstance, WasmStr,
        types::{ComponentInstance, ComponentItem},
    },
};

use crate::{
    bindings::Level,
    interfaces::{self, LOG, TYPES},
    refusal::{self, Refusal},
    state::{RunState, Stop},
};

mod stand_ins;

/// Links everything that a component imports.
///
/// # Errors
/// The import that may not be had, or that has another type than it should.
pub(crate) fn link(engine: &Engine, component: &Component) -> Result<InstancePre<RunState>, Refusal> {
    let mut linker = Linker::new(engine);
    for (name, item) in component.component_type().imports(engine) {
        interfaces::check_import(name)?;
        let ComponentItem::ComponentInstance(interface) = item.ty else {
            return Err(mismatch(format!("`{name}` is imported as something that is not an interface")));
        };
        if name != TYPES {
            define(&mut linker, name, &interface, engine)
                .map_err(|error| mismatch(format!("`{name}`: {error:#}")))?;
        }
    }
    linker.instantiate_pre(component).map_err(|error| mismatch(format!("{error:#}")))
}

fn mismatch(message: String) -> Refusal {
    Refusal::new(
        refusal::IMPORT_MISMATCH,
        format!("an import has another type than the host's: {message}"),
        "build it against portolan:mapping@1.0.0 and the released WASI 0.2",
    )
}

fn define(
    linker: &mut Linker<RunState>,
    name: &str,
    interface: &ComponentInstance,
    engine: &Engine,
) -> wasmtime::Result<()> {
    let mut instance = linker.instance(name)?;
    if name == LOG {
        return log(&mut instance);
    }
    let known = interfaces::stand_in(name).unwrap_or_default();
    let defined = stand_ins::define(&mut instance, known)?;
    for (item_name, item) in interface.exports(engine) {
        match item.ty {
            // Methods of things that nobody can ever hold: a file, a terminal.
            ComponentItem::ComponentFunc(_) if !defined.contains(&item_name) => {
                instance.func_new(item_name, |_, _, _, _| Err(Stop::NoSuchResource.into()))?;
            }
            ComponentItem::Resource(_) if !defined.contains(&item_name) => {
                stand_ins::define_resource(&mut instance, item_name)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn log(instance: &mut LinkerInstance<'_, RunState>) -> wasmtime::Result<()> {
    instance.func_wrap(
        "write",
        |mut store: StoreContextMut<'_, RunState>, (level, text): (Level, WasmStr)| {
            store.data_mut().charge(1)?;
            if store.data().log.is_full() {
                store.data_mut().log.drop_line();
                return Ok(());
            }
            // The text lies in the guest's memory, the log in the store's data: only a copy can go from one to
            // the other, and no more of it than a line may have is made.
            let line = text.to_str(&store)?;
            let line: String = match line.char_indices().nth(LINE_CHARS_MAX) {
                Some((end, _)) => line.get(..end).unwrap_or_default().to_owned(),
                None => line.into_owned(),
            };
            store.data_mut().log.write(level_of(level), &line);
            Ok(())
        },
    )
}

/// More than any limit on a line, so that the log can see that it has to cut.
const LINE_CHARS_MAX: usize = 64 << 10;

const fn level_of(level: Level) -> LogLevel {
    match level {
        Level::Debug => LogLevel::Debug,
        Level::Info => LogLevel::Info,
        Level::Warn => LogLevel::Warn,
        Level::Error => LogLevel::Error,
    }
}
