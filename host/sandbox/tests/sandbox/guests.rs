//! Guests in WebAssembly text: the smallest mapper that the contract allows, with its parts replaceable. The hostile
//! proof (`tests/src/hostile`) makes its modules of it, too.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

pub(crate) const CONTRACT: &str = include_str!("../../../../wit/mapping.wit");

/// Where the outcome `skip("nothing")` lies in the memory of every guest made here.
pub(crate) const SKIP: &str = "(i32.const 200)";

/// A mapper in parts. Strings and records lie at fixed addresses below 4096.
#[derive(Debug, Clone)]
pub(crate) struct Guest {
    /// Instructions of `transform(input: i32) -> i32`; ends with the address of an outcome.
    pub(crate) transform: String,
    /// Instructions of `describe() -> i32`.
    pub(crate) describe: String,
    /// Instructions at the beginning of `cabi_realloc`.
    pub(crate) realloc: String,
    /// Imports, in front of everything.
    pub(crate) imports: String,
    /// Further items: functions, a start.
    pub(crate) items: String,
    /// Pages of memory at the start and at most.
    pub(crate) pages: (u32, u32),
    /// The contract it claims to be built against.
    pub(crate) contract: String,
    /// How it says that its texts are encoded.
    pub(crate) encoding: StringEncoding,
    /// Packages that the contract's world uses besides.
    pub(crate) packages: Vec<&'static str>,
}

impl Default for Guest {
    fn default() -> Self {
        Self {
            transform: SKIP.into(),
            describe: "(i32.const 16)".into(),
            realloc: String::new(),
            imports: LOG.into(),
            items: String::new(),
            pages: (16, 2_000),
            contract: CONTRACT.into(),
            encoding: StringEncoding::UTF8,
            packages: vec![],
        }
    }
}

const LOG: &str = r#"(import "portolan:mapping/log@1.0.0" "write" (func $log (param i32 i32 i32)))"#;

impl Guest {
    pub(crate) fn transforming(instructions: &str) -> Self {
        Self { transform: instructions.into(), ..Self::default() }
    }

    /// The core module, carrying its component type, as `wit-bindgen` and a linker leave it.
    pub(crate) fn core_module(&self) -> Vec<u8> {
        let mut module = wat::parse_str(self.text()).unwrap();
        let mut resolve = Resolve::default();
        for package in &self.packages {
            resolve.push_str("package.wit", package).unwrap();
        }
        let package = resolve.push_str("mapping.wit", &self.contract).unwrap();
        let world = resolve.select_world(&[package], Some("mapping")).unwrap();
        embed_component_metadata(&mut module, &resolve, world, self.encoding, false).unwrap();
        module
    }

    pub(crate) fn component(&self) -> Vec<u8> {
        let mut encoder = ComponentEncoder::default();
        encoder.validate(true);
        encoder.module(&self.core_module()).unwrap();
        encoder.encode().unwrap()
    }

    fn text(&self) -> String {
        let Self { transform, describe, realloc, imports, items, pages: (min, max), .. } = self;
        format!(
            r#"(module
                {imports}
                (memory (export "memory") {min} {max})
                (global $next (mut i32) (i32.const 4096))
                (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                    (local $at i32)
                    {realloc}
                    (local.set $at (i32.and (i32.add (global.get $next) (i32.const 15)) (i32.const -16)))
                    (global.set $next (i32.add (local.get $at) (local.get 3)))
                    (local.get $at))
                (func (export "portolan:mapping/mapper@1.0.0#describe") (result i32) {describe})
                (func (export "portolan:mapping/mapper@1.0.0#transform") (param $input i32) (result i32)
                    (local $i i32)
                    {transform})
                {items}
                {DATA})"#
        )
    }
}

/// The description "probe" 1.0.0 serving stripe charge.succeeded, and the outcome `skip("nothing")`.
const DATA: &str = r#"
    (data (i32.const 16) "\80\00\00\00\05\00\00\00" "\88\00\00\00\05\00\00\00" "\b0\00\00\00\08\00\00\00"
                         "\50\00\00\00\01\00\00\00" "\00\00\00\00\00\00\00\00" "\00\00\00\00\00\00\00\00"
                         "\a8\00\00\00\02\00\00\00")
    (data (i32.const 80) "\90\00\00\00\06\00\00\00" "\98\00\00\00\10\00\00\00")
    (data (i32.const 128) "probe")
    (data (i32.const 136) "1.0.0")
    (data (i32.const 144) "stripe")
    (data (i32.const 152) "charge.succeeded")
    (data (i32.const 168) "{}")
    (data (i32.const 176) "A probe.")
    (data (i32.const 200) "\04\00\00\00\00\00\00\00" "\e0\00\00\00\07\00\00\00")
    (data (i32.const 224) "nothing")
"#;

/// Instructions that make `skip` with a reason from memory.
pub(crate) fn skip_with(address: u32, length: u32) -> String {
    format!(
        "(i32.store (i32.const 208) (i32.const {address}))
         (i32.store (i32.const 212) (i32.const {length}))
         (i32.const 200)"
    )
}

/// A component of `levels` components, each of which instantiates the previous one twice.
pub(crate) fn laughs(levels: u32) -> Vec<u8> {
    let mut text =
        String::from("(component\n(component $c0 (core module $m) (core instance (instantiate $m)))\n");
    for level in 1..=levels {
        let inner = level - 1;
        text.push_str(&format!(
            "(component $c{level} (instance (instantiate $c{inner})) (instance (instantiate $c{inner})))\n"
        ));
    }
    text.push_str(&format!("(instance (instantiate $c{levels})))"));
    wat::parse_str(text).unwrap()
}
