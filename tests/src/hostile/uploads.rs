//! Uploads that must not be admitted: bombs, malformed bytes, imports beyond the world (H1–H4, H10, H11, H28).

use super::{
    Case, Expected, Heavy,
    binary::{component_of, custom, functions, leb, nested_types, section, with_section},
    case, fine,
    guests::{CONTRACT, Guest, laughs},
};

const COMPLEX: Expected = Expected::Refused(&["module-too-complex"]);
const INVALID: Expected = Expected::Refused(&["module-invalid"]);

pub(super) fn cases() -> Vec<Case> {
    let mut cases = bombs();
    cases.extend(malformed());
    cases.extend(proposals());
    cases.extend(imports());
    cases
}

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

fn with(items: String) -> Vec<u8> {
    Guest { items, ..Guest::default() }.component()
}

/// A guest with a core module beside its own that nobody instantiates: it is compiled all the same.
fn beside(module: &[u8]) -> Vec<u8> {
    with_section(Guest::default().component(), 1, module)
}

fn bombs() -> Vec<Case> {
    let mut cases: Vec<Case> = [10, 24, 60]
        .map(|levels| case(1, &format!("billion laughs, {levels} levels"), move || laughs(levels), COMPLEX))
        .into();
    cases.extend([
        case(1, "billion laughs without core modules", || wat(&empty_laughs(30)), COMPLEX),
        case(1, "billion laughs through aliases of outer components", || wat(&alias_laughs(30)), COMPLEX),
        case(1, "a component handed to a component", || wat(HANDED), COMPLEX),
        case(1, "20,001 aliases", || wat(&many_aliases(20_001)), COMPLEX),
        case(2, "1,000,000 functions", || component_of(&functions(1_000_000)), COMPLEX),
        case(2, "100,000 functions beside a mapper", || beside(&functions(100_000)), COMPLEX),
        case(3, "10,000 loops inside each other", || with(nested(10_000, 0)), COMPLEX),
        case(3, "11,000 local variables", || with(nested(1, 11_000)), COMPLEX),
        case(
            3,
            "a body of 900 KB",
            || with(format!("(func {})", "(drop (i64.const 1234567890123))".repeat(75_000))),
            COMPLEX,
        ),
        // Each function is within the limits; all together are not: the worker is ended by the system.
        case(
            3,
            "400 functions of 900 loops over 9,000 locals",
            || with(nested(900, 9_000).repeat(400)),
            Expected::Refused(&["module-too-costly"]),
        )
        .heavy(Heavy::Upload),
    ]);
    cases
}

fn empty_laughs(levels: u32) -> String {
    let mut text = String::from("(component (component $c0)\n");
    for level in 1..=levels {
        let inner = level - 1;
        text.push_str(&format!(
            "(component $c{level} (instance (instantiate $c{inner})) (instance (instantiate $c{inner})))\n"
        ));
    }
    text + &format!("(instance (instantiate $c{levels})))")
}

fn alias_laughs(levels: u32) -> String {
    let mut text =
        String::from("(component $top (component $c0 (core module $m) (core instance (instantiate $m)))\n");
    for level in 1..=levels {
        let inner = level - 1;
        text.push_str(&format!(
            "(component $c{level} (alias outer $top $c{inner} (component $x))
                (instance (instantiate $x)) (instance (instantiate $x)))\n"
        ));
    }
    text + &format!("(instance (instantiate $c{levels})))")
}

const HANDED: &str = r#"(component
    (component $c)
    (component $d (import "x" (component $x)) (instance (instantiate $x)))
    (instance (instantiate $d (with "x" (component $c)))))"#;

fn many_aliases(count: usize) -> String {
    let alias = r#"(alias core export $i "m" (core memory))"#.repeat(count);
    format!(
        r#"(component (core module $m (memory (export "m") 1)) (core instance $i (instantiate $m)) {alias})"#
    )
}

fn nested(loops: usize, locals: usize) -> String {
    let declared = if locals == 0 { String::new() } else { format!("(local {})", "i32 ".repeat(locals)) };
    // Every loop reads and writes a local, so that all of them live through all of it.
    let opened: String = (0..loops)
        .map(|n| {
            let local = if locals == 0 {
                String::new()
            } else {
                format!("(local.set {0} (local.get {1}))", n % locals, (n * 7) % locals)
            };
            format!("(loop {local} ")
        })
        .collect();
    format!("(func {declared} {opened} {})", "(br_if 0 (i32.const 0)))".repeat(loops))
}

fn malformed() -> Vec<Case> {
    let guest = || Guest::default().component();
    vec![
        case(4, "nothing", Vec::new, Expected::Refused(&["module-not-wasm"])),
        case(4, "a text", || b"(component)".to_vec(), Expected::Refused(&["module-not-wasm"])),
        case(
            4,
            "an ELF file",
            || b"\x7fELF\x02\x01\x01\0 and more".to_vec(),
            Expected::Refused(&["module-not-wasm", "module-precompiled"]),
        ),
        case(4, "half of a component", move || guest()[..700].to_vec(), INVALID),
        case(4, "a header only", || b"\0asm".to_vec(), INVALID),
        case(
            4,
            "a section of 4 GiB",
            || [b"\0asm\x0d\0\x01\0\x01".as_slice(), &leb(u64::from(u32::MAX))].concat(),
            INVALID,
        ),
        case(
            4,
            "a size of 10 bytes LEB",
            || b"\0asm\x0d\0\x01\0\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01".to_vec(),
            INVALID,
        ),
        case(
            4,
            "a vector of 4 G entries",
            move || with_section(guest(), 7, &leb(u64::from(u32::MAX))),
            Expected::Refused(&["module-too-complex", "module-invalid"]),
        ),
        case(4, "100,000 imports", || component_of(&many_imports(100_000)), COMPLEX),
        case(
            4,
            "100,000 types inside each other",
            move || with_section(guest(), 7, &nested_types(100_000)),
            Expected::Refused(&["module-invalid", "module-too-complex", "module-too-costly"]),
        ),
        case(
            4,
            "90 types inside each other",
            move || with_section(guest(), 7, &nested_types(90)),
            Expected::Ends(&["skipped"], fine),
        ),
        case(
            4,
            "a custom section of 25 MB",
            move || [guest(), custom("x", 25 << 20)].concat(),
            Expected::Refused(&["module-too-large", "body-too-large", "too-large"]),
        ),
        case(
            4,
            "a custom section of 20 MB",
            move || [guest(), custom("producers", 20 << 20)].concat(),
            Expected::Ends(&["skipped"], fine),
        )
        .heavy(Heavy::Upload),
        case(
            4,
            "a name of 1 MB",
            || wat(&format!(r#"(component (import "{}" (func)))"#, "a".repeat(1 << 20))),
            Expected::Refused(&["module-import-refused", "module-invalid"]),
        ),
        case(
            4,
            "an export of 90,000 letters",
            || with(format!(r#"(func (export "{}"))"#, "e".repeat(90_000))),
            Expected::Ends(&["skipped"], fine),
        ),
        case(
            4,
            "30,000 exports",
            || with((0..30_000).map(|n| format!(r#"(func (export "e{n}"))"#)).collect()),
            COMPLEX,
        ),
        case(
            4,
            "a core module with the wanted names and no type",
            || wat(CORE),
            Expected::Refused(&["module-not-a-component"]),
        ),
        case(4, "no mapper", || wat("(component)"), Expected::Refused(&["module-export-missing"])),
        case(
            4,
            "a mapper that is a function",
            || {
                wat(
                    r#"(component (import "portolan:mapping/log@1.0.0" (instance)) (core module $m (func (export "f"))) (core instance $i (instantiate $m)) (func $f (canon lift (core func $i "f"))) (instance $x (export "describe" (func $f))) (export "portolan:mapping/mapper@1.0.0" (instance $x)))"#,
                )
            },
            Expected::Refused(&["module-export-mismatch"]),
        ),
        case(4, "damaged copies of a component", guest, Expected::Answered),
        case(4, "damaged copies of a core module", || Guest::default().core_module(), Expected::Answered),
    ]
}

const CORE: &str = r#"(module (memory (export "memory") 1)
    (func (export "portolan:mapping/mapper@1.0.0#describe") (result i32) (i32.const 0))
    (func (export "portolan:mapping/mapper@1.0.0#transform") (param i32) (result i32) (i32.const 0)))"#;

fn many_imports(count: u64) -> Vec<u8> {
    let mut imports = leb(count);
    for _ in 0..count {
        imports.extend([1, b'a', 1, b'b', 0, 0]);
    }
    [b"\0asm\x01\0\0\0".as_slice(), &section(1, &[1, 0x60, 0, 0]), &section(2, &imports)].concat()
}

/// Proposals that are switched off, and sizes that are over the limits.
fn proposals() -> Vec<Case> {
    let core = |number, what, text: &'static str| {
        case(
            number,
            what,
            move || beside(&wat(text)),
            Expected::Refused(&["module-too-complex", "module-invalid"]),
        )
    };
    vec![
        core(10, "a minimum of 64 MiB and a page", "(module (memory 1025))"),
        core(10, "a 64-bit memory", "(module (memory i64 1))"),
        core(10, "a 64-bit table", "(module (table i64 1 funcref))"),
        core(10, "two memories", "(module (memory 1) (memory 1))"),
        core(10, "a shared memory", "(module (memory 1 1 shared))"),
        core(10, "pages of one byte", "(module (memory 1 (pagesize 1)))"),
        core(10, "tail calls", "(module (func $f (return_call $f)))"),
        core(10, "exceptions", "(module (tag $e) (func (throw $e)))"),
        core(
            10,
            "garbage collection",
            "(module (type (struct (field i32))) (func (drop (struct.new_default 0))))",
        ),
        core(
            10,
            "typed references",
            "(module (type $f (func)) (func (param (ref $f)) (call_ref $f (local.get 0))))",
        ),
        core(
            10,
            "128-bit arithmetic",
            "(module (func (result i64 i64) (i64.add128 (i64.const 1) (i64.const 1) (i64.const 1) (i64.const 1))))",
        ),
        case(
            10,
            "five memories of five modules",
            || {
                (0..5).fold(Guest::default().component(), |all, _| {
                    with_section(all, 1, &wat("(module (memory 1))"))
                })
            },
            COMPLEX,
        ),
        core(11, "a table of 1,000,000 elements", "(module (table 1000000 funcref))"),
        case(
            11,
            "65 tables",
            || beside(&wat(&format!("(module {})", "(table 1 funcref)".repeat(65)))),
            COMPLEX,
        ),
        case(
            11,
            "20,000 globals and one",
            || beside(&wat(&format!("(module {})", "(global i32 (i32.const 0))".repeat(20_001)))),
            COMPLEX,
        ),
        case(
            11,
            "10,001 data segments",
            || beside(&wat(&format!("(module (memory 1) {})", r#"(data (i32.const 0) "x")"#.repeat(10_001)))),
            COMPLEX,
        ),
    ]
}

fn imports() -> Vec<Case> {
    let refused = |name: &'static str| {
        let text = format!(r#"(component (import "{name}" (instance)))"#);
        case(
            28,
            &format!("imports {name}"),
            move || wat(&text),
            Expected::Refused(&["module-import-refused"]),
        )
    };
    let mut cases: Vec<Case> = [
        "wasi:sockets/tcp@0.2.0",
        "wasi:sockets/ip-name-lookup@0.2.0",
        "wasi:http/outgoing-handler@0.2.3",
        "wasi:filesystem/types@0.3.0",
        "wasi:filesystem/types",
        "wasi:cli/command@0.2.0",
        "wasi:keyvalue/store@0.2.0",
        "portolan:mapping/log@2.0.0",
        "portolan:mapping/log@1.0.1",
        "portolan:mapping/secrets@1.0.0",
        "evil:corp/backdoor",
    ]
    .map(refused)
    .into();
    let log = r#"(import "portolan:mapping/log@1.0.0" "write" (func $log (param i32 i32)))"#;
    let without_level =
        CONTRACT.replace("write: func(level: level, message: string);", "write: func(message: string);");
    let describing = CONTRACT.replace("describe: func() -> description;", "describe: func() -> u32;");
    cases.extend([
        case(
            28,
            "imports a function of env",
            || wat(r#"(module (import "env" "system" (func)))"#),
            Expected::Refused(&["module-import-refused"]),
        ),
        case(
            28,
            "imports log with another type",
            move || {
                Guest { contract: without_level.clone(), imports: log.into(), ..Guest::default() }.component()
            },
            Expected::Refused(&["module-import-mismatch"]),
        ),
        case(
            28,
            "exports describe with another type",
            move || Guest { contract: describing.clone(), ..Guest::default() }.component(),
            Expected::Refused(&["module-export-mismatch"]),
        ),
        case(28, "imports one interface in 5,000 versions", || wat(&versions(5_000)), COMPLEX),
    ]);
    cases
}

fn versions(count: usize) -> String {
    let imports: String =
        (0..count).map(|n| format!(r#"(import "wasi:io/error@0.2.{n}" (instance))"#)).collect();
    format!("(component {imports})")
}
