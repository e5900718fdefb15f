//! Compares what a component exports and imports with the contract, type by type, so that a module built against
//! another draft is told which field differs, not that "types do not match".

use wit_component::DecodedWasm;
use wit_parser::{Function, Handle, InterfaceId, Resolve, Type, TypeDefKind, WorldItem};

use crate::refusal::{self, Refusal};

/// The contract itself.
const CONTRACT: &str = include_str!("../../../../wit/mapping.wit");
/// Levels of types inside types. The contract has 9.
const DEPTH_MAX: usize = 32;

/// Checks the `mapper` and `log` of a component.
///
/// # Errors
/// The first function or type that differs, with both.
pub(super) fn check(component: &[u8]) -> Result<(), Refusal> {
    let invalid = |error: &dyn std::fmt::Display| {
        let message = format!("the component cannot be read: {error:#}");
        Refusal::new(refusal::INVALID, message, "build it again with one of the documented toolchains")
    };
    let decoded = wit_component::decode(component).map_err(|error| invalid(&error))?;
    let DecodedWasm::Component(found, world) = decoded else {
        return Err(invalid(&"it is a package of types"));
    };
    let mut expected = Resolve::default();
    expected.push_str("mapping.wit", CONTRACT).map_err(|error| invalid(&error))?;
    let Some(world) = found.worlds.get(world) else { return Ok(()) };
    let compare = Comparison { expected: &expected, found: &found };
    for (_, item) in &world.exports {
        if let WorldItem::Interface { id, .. } = item
            && interface_name(&found, *id).as_deref() == Some(crate::interfaces::MAPPER)
        {
            compare.interface("mapper", *id, refusal::EXPORT_MISMATCH)?;
        }
    }
    for (_, item) in &world.imports {
        if let WorldItem::Interface { id, .. } = item
            && interface_name(&found, *id).as_deref() == Some(crate::interfaces::LOG)
        {
            compare.interface("log", *id, refusal::IMPORT_MISMATCH)?;
        }
    }
    Ok(())
}

fn interface_name(resolve: &Resolve, id: InterfaceId) -> Option<String> {
    resolve.id_of(id)
}

struct Comparison<'r> {
    expected: &'r Resolve,
    found: &'r Resolve,
}

/// What differs, and where.
struct Difference {
    at: Vec<String>,
    expected: String,
    found: String,
}

impl Difference {
    fn new(expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { at: Vec::new(), expected: expected.into(), found: found.into() }
    }

    fn within(mut self, name: &str) -> Self {
        self.at.push(name.to_owned());
        self
    }
}

impl Comparison<'_> {
    fn interface(&self, name: &str, found: InterfaceId, code: &'static str) -> Result<(), Refusal> {
        let expected =
            self.expected.interfaces.iter().find(|(_, interface)| interface.name.as_deref() == Some(name));
        let (Some((_, expected)), Some(found)) = (expected, self.found.interfaces.get(found)) else {
            return Ok(());
        };
        for (function, signature) in &expected.functions {
            // An import need not be whole: a module that never logs has no `write`.
            let difference = match found.functions.get(function) {
                Some(found) => self.function(signature, found).err(),
                None if code == refusal::IMPORT_MISMATCH => None,
                None => Some(Difference::new("a function", "nothing")),
            };
            if let Some(Difference { mut at, expected, found }) = difference {
                at.push(format!("{name}.{function}"));
                at.reverse();
                let message = format!(
                    "`{}` is not what the contract says: expected {expected}, found {found}",
                    at.join(" › ")
                );
                return Err(Refusal::new(
                    code,
                    message,
                    "build it against portolan:mapping@1.0.0 of this host",
                ));
            }
        }
        Ok(())
    }

    fn function(&self, expected: &Function, found: &Function) -> Result<(), Difference> {
        let parameters = |function: &Function| function.params.len();
        if parameters(expected) != parameters(found) {
            let count = |function| format!("{} parameters", parameters(function));
            return Err(Difference::new(count(expected), count(found)));
        }
        for (expected, found) in expected.params.iter().zip(&found.params) {
            self.ty(&expected.ty, &found.ty, DEPTH_MAX)
                .map_err(|difference| difference.within(&expected.name))?;
        }
        self.optional(expected.result.as_ref(), found.result.as_ref(), DEPTH_MAX)
            .map_err(|difference| difference.within("result"))
    }

    fn optional(
        &self,
        expected: Option<&Type>,
        found: Option<&Type>,
        depth: usize,
    ) -> Result<(), Difference> {
        match (expected, found) {
            (Some(expected), Some(found)) => self.ty(expected, found, depth),
            (None, None) => Ok(()),
            (expected, found) => {
                let name =
                    |resolve, ty: Option<&Type>| ty.map_or("nothing".to_owned(), |ty| type_name(resolve, ty));
                Err(Difference::new(name(self.expected, expected), name(self.found, found)))
            }
        }
    }

    fn ty(&self, expected: &Type, found: &Type, depth: usize) -> Result<(), Difference> {
        let differ = || Difference::new(type_name(self.expected, expected), type_name(self.found, found));
        let Some(depth) = depth.checked_sub(1) else { return Err(differ()) };
        match (kind(self.expected, expected), kind(self.found, found)) {
            (Err(expected), Err(found)) if expected == found => Ok(()),
            (Ok(expected), Ok(found)) => self.kind(expected, found, depth).unwrap_or_else(|| Err(differ())),
            _ => Err(differ()),
        }
    }

    /// `None`: the kinds themselves differ.
    fn kind(
        &self,
        expected: &TypeDefKind,
        found: &TypeDefKind,
        depth: usize,
    ) -> Option<Result<(), Difference>> {
        match (expected, found) {
            (TypeDefKind::Record(expected), TypeDefKind::Record(found)) => {
                let parts = |record: &wit_parser::Record| -> Vec<(String, Option<Type>)> {
                    record.fields.iter().map(|field| (field.name.clone(), Some(field.ty))).collect()
                };
                Some(self.parts("fields", &parts(expected), &parts(found), depth))
            }
            (TypeDefKind::Variant(expected), TypeDefKind::Variant(found)) => {
                let parts = |variant: &wit_parser::Variant| -> Vec<(String, Option<Type>)> {
                    variant.cases.iter().map(|case| (case.name.clone(), case.ty)).collect()
                };
                Some(self.parts("cases", &parts(expected), &parts(found), depth))
            }
            (TypeDefKind::Enum(expected), TypeDefKind::Enum(found)) => {
                let parts = |of: &wit_parser::Enum| -> Vec<(String, Option<Type>)> {
                    of.cases.iter().map(|case| (case.name.clone(), None)).collect()
                };
                Some(self.parts("cases", &parts(expected), &parts(found), depth))
            }
            (TypeDefKind::Option(expected), TypeDefKind::Option(found))
            | (TypeDefKind::List(expected), TypeDefKind::List(found)) => {
                Some(self.ty(expected, found, depth))
            }
            _ => None,
        }
    }

    fn parts(
        &self,
        what: &str,
        expected: &[(String, Option<Type>)],
        found: &[(String, Option<Type>)],
        depth: usize,
    ) -> Result<(), Difference> {
        let names = |parts: &[(String, Option<Type>)]| -> Vec<String> {
            parts.iter().map(|(name, _)| name.clone()).collect()
        };
        if names(expected) != names(found) {
            let list = |parts| format!("the {what} {}", names(parts).join(", "));
            return Err(Difference::new(list(expected), list(found)));
        }
        for ((name, expected), (_, found)) in expected.iter().zip(found) {
            self.optional(expected.as_ref(), found.as_ref(), depth)
                .map_err(|difference| difference.within(name))?;
        }
        Ok(())
    }
}

/// What a type is once its aliases are followed: a definition, or (as the error) a primitive.
fn kind<'r>(resolve: &'r Resolve, ty: &Type) -> Result<&'r TypeDefKind, Type> {
    let mut ty = *ty;
    loop {
        let Type::Id(id) = ty else { return Err(ty) };
        match resolve.types.get(id).map(|definition| &definition.kind) {
            Some(TypeDefKind::Type(alias)) => ty = *alias,
            Some(kind) => return Ok(kind),
            None => return Err(ty),
        }
    }
}

fn type_name(resolve: &Resolve, ty: &Type) -> String {
    match kind(resolve, ty) {
        Ok(TypeDefKind::List(of)) => format!("list<{}>", type_name(resolve, of)),
        Ok(TypeDefKind::Option(of)) => format!("option<{}>", type_name(resolve, of)),
        Ok(TypeDefKind::Handle(Handle::Own(_) | Handle::Borrow(_))) => "a resource".to_owned(),
        Ok(kind) => format!("a {}", kind.as_str()),
        Err(primitive) => format!("{primitive:?}").to_lowercase(),
    }
}
