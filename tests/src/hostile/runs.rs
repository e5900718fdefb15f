//! What a module can try once it runs: loops, memory, stack, strings, host calls, handles (H5–H9, H11–H23).

use serde_json::Value;
use wit_component::StringEncoding;

use super::{
    Case, Expected, Heavy, case, fine,
    guests::{CONTRACT, Guest, skip_with},
    image::{self, Image, text},
};

const OUT_OF_FUEL: &[&str] = &["guest-out-of-fuel"];
const OUT_OF_MEMORY: &[&str] = &["guest-out-of-memory"];
const TRAPPED: &[&str] = &["guest-trapped"];
const NONSENSE: &[&str] = &["guest-nonsense"];
const TOO_MUCH: &[&str] = &["guest-output-too-large"];
const TOO_OFTEN: &[&str] = &["guest-too-many-host-calls"];
const SKIPPED: &[&str] = &["skipped"];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = endless();
    cases.extend(hoarding());
    cases.extend(strings());
    cases.extend(host_calls());
    cases.extend(residue());
    cases.extend(handles());
    cases
}

fn ends(number: u8, what: &str, instructions: &str, codes: &'static [&'static str]) -> Case {
    guest(number, what, Guest::transforming(instructions), codes, fine)
}

fn guest(number: u8, what: &str, guest: Guest, codes: &'static [&'static str], look: super::Look) -> Case {
    case(number, what, move || guest.component(), Expected::Ends(codes, look))
}

const POST_RETURN: &str = "cabi_post_portolan:mapping/mapper@1.0.0#transform";

fn post_return(instructions: &str) -> Guest {
    let items = format!(r#"(func (export "{POST_RETURN}") (param i32) {instructions})"#);
    Guest { items, ..Guest::default() }
}

fn endless() -> Vec<Case> {
    let endless = "(loop (br 0)) unreachable";
    let start = Guest { items: "(func $s (loop (br 0))) (start $s)".into(), ..Guest::default() };
    let describing = Guest { describe: endless.into(), ..Guest::default() };
    let trapping = Guest { items: "(func $s unreachable) (start $s)".into(), ..Guest::default() };
    let filling = |what: &str| {
        format!(
            "(drop (memory.grow (i32.const 1000))) (loop ({what} (i32.const 65536) (i32.const 7) (i32.const 66000000)) (br 0)) unreachable"
        )
    };
    let table = Guest {
        items: "(table $t 90000 funcref)".into(),
        ..Guest::transforming(
            "(loop (table.fill $t (i32.const 0) (ref.null func) (i32.const 90000)) (br 0)) unreachable",
        )
    };
    let refused: fn(u8, &str, Guest) -> Case = |number, what, guest| {
        case(number, what, move || guest.component(), Expected::Refused(&["module-describe-failed"]))
    };
    let mut cases = vec![
        ends(5, "an endless loop", endless, OUT_OF_FUEL),
        ends(
            5,
            "an endless loop of calls through a log that is full",
            "(loop (call $log (i32.const 1) (i32.const 224) (i32.const 7)) (br 0)) unreachable",
            TOO_OFTEN,
        ),
        refused(6, "an endless loop in a start function", start),
        refused(6, "an endless loop in describe", describing),
        refused(6, "a trap in a start function", trapping),
        guest(
            6,
            "an endless loop in realloc",
            Guest { realloc: endless.into(), ..Guest::default() },
            OUT_OF_FUEL,
            fine,
        ),
        guest(6, "an endless loop in post-return", post_return("(loop (br 0))"), OUT_OF_FUEL, fine),
        ends(7, "memory.fill of 64 MiB for ever", &filling("memory.fill"), OUT_OF_FUEL),
        ends(
            7,
            "memory.copy of 64 MiB for ever",
            &filling("memory.copy").replace("66000000", "65000000"),
            OUT_OF_FUEL,
        ),
        guest(7, "table.fill for ever", table, OUT_OF_FUEL, fine),
        case(
            8,
            "a refusal that hopes to be asked again",
            || refusing().component(),
            Expected::Ends(&["rejected"], once),
        ),
        ends(8, "a trap that hopes to be tried again", "unreachable", TRAPPED),
        ends(
            13,
            "instantiate and trap, again and again",
            "(drop (memory.grow (i32.const 64))) (memory.fill (i32.const 65536) (i32.const 255) (i32.const 4000000)) unreachable",
            TRAPPED,
        ),
    ];
    for case in &mut cases {
        if [5, 6, 7].contains(&case.number) {
            case.heavy = Heavy::Runs;
        }
    }
    let recursion =
        "(func $deeper (param i32) (result i32) (i32.add (i32.const 1) (call $deeper (local.get 0))))
        (func $calling (param i32) (result i32) (call $log (i32.const 0) (i32.const 224) (i32.const 7))
            (i32.add (i32.const 1) (call $calling (local.get 0))))";
    cases.extend([
        guest(
            12,
            "endless recursion",
            Guest { items: recursion.into(), ..Guest::transforming("(call $deeper (i32.const 0))") },
            TRAPPED,
            fine,
        ),
        guest(
            12,
            "recursion that calls the host at its end",
            Guest { items: recursion.into(), ..Guest::transforming("(call $calling (i32.const 0))") },
            &["guest-trapped", "guest-too-many-host-calls"],
            fine,
        ),
    ]);
    cases
}

fn refusing() -> Guest {
    let violation = image::Value::Record(vec![text("/x"), text("bad"), text("again!")]);
    saying(StringEncoding::UTF8, 5, &image::Value::List(vec![violation]))
}

fn once(run: &Value) -> Result<(), String> {
    (run["attempts"] == 1).then_some(()).ok_or_else(|| format!("{} attempts", run["attempts"]))
}

/// A guest that says what it is in an encoding, and returns this case of `outcome`.
pub(super) fn saying(encoding: StringEncoding, outcome: u8, payload: &image::Value) -> Guest {
    let mut image = Image::new(1 << 19, encoding);
    let describe = image.add(None, &image::description("{}"));
    let transform = image.add(Some((outcome, 8)), payload);
    Guest {
        describe: format!("(i32.const {describe})"),
        transform: format!("(i32.const {transform})"),
        items: image.data(),
        pages: (image.pages().max(64), 1_000),
        encoding,
        ..Guest::default()
    }
}

fn hoarding() -> Vec<Case> {
    let touch = "(if (i32.eq (memory.grow (i32.const 1008)) (i32.const -1)) (then unreachable))
        (memory.fill (i32.const 65536) (i32.const 165) (i32.const 67043328)) (i32.const 200)";
    let beyond =
        "(if (i32.eq (memory.grow (i32.const 1009)) (i32.const -1)) (then unreachable)) (i32.const 200)";
    let growing = "(loop (br_if 0 (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) (i32.const 200)";
    let table = |elements: u32| Guest {
        items: "(table $t 1 funcref)".into(),
        ..Guest::transforming(&format!(
            "(if (i32.eq (table.grow $t (ref.null func) (i32.const {elements})) (i32.const -1)) (then unreachable)) (i32.const 200)"
        ))
    };
    vec![
        guest(9, "64 MiB, every page touched", Guest::transforming(touch), SKIPPED, within_memory)
            .heavy(Heavy::Runs),
        ends(9, "a page more than 64 MiB", beyond, OUT_OF_MEMORY),
        guest(9, "page by page until there is none", Guest::transforming(growing), SKIPPED, within_memory),
        guest(11, "table.grow by 10,000,000", table(10_000_000), OUT_OF_MEMORY, fine),
        guest(11, "table.grow by 90,000", table(90_000), SKIPPED, fine),
    ]
}

fn within_memory(run: &Value) -> Result<(), String> {
    let most = run["cost"]["memory_bytes_max"].as_u64().unwrap_or(u64::MAX);
    (most <= 64 << 20).then_some(()).ok_or_else(|| format!("{most} bytes"))
}

fn strings() -> Vec<Case> {
    let mut cases: Vec<Case> = [
        ("a text of 2 MiB that is not there", 4096, 2 << 20),
        ("a text of 4 GiB - 1", 0, u32::MAX),
        ("an address and a length that overflow", u32::MAX, 1),
        ("an address and a length that overflow, both large", u32::MAX - 1, u32::MAX),
        ("a text just over the end of memory", 1_048_576, 1),
    ]
    .map(|(what, address, length)| ends(14, what, &skip_with(address, length), NONSENSE))
    .into();
    let large = |bytes: u32| format!("(drop (memory.grow (i32.const 900))) {}", skip_with(65_536, bytes));
    cases.extend([
        ends(14, "a text of 2 MiB", &large(2 << 20), TOO_MUCH),
        ends(14, "a text of 50 MiB", &large(50 << 20), TOO_MUCH),
        guest(14, "a text of 900 KB", Guest::transforming(&large(900_000)), SKIPPED, short_reason),
        ends(14, "an outcome at an odd address", "(i32.const 201)", NONSENSE),
        ends(14, "an outcome outside of memory", "(i32.const -8)", NONSENSE),
        ends(
            14,
            "bytes that are no UTF-8",
            "(i32.store8 (i32.const 224) (i32.const 255)) (i32.const 200)",
            NONSENSE,
        ),
        ends(
            15,
            "a case that does not exist",
            "(i32.store8 (i32.const 200) (i32.const 77)) (i32.const 200)",
            NONSENSE,
        ),
        ends(15, "30,000 needs in one megabyte of zeros", &list_of(1, 30_000), TOO_MUCH),
        ends(
            15,
            "1,000,000 violations that share their memory",
            &list_of(5, 1_000_000),
            &["guest-output-too-large", "guest-nonsense"],
        ),
        ends(15, "4 G needs", &list_of(1, u32::MAX), NONSENSE),
        case(
            15,
            "1,000 deliveries that share a list of 20,000 predecessors",
            || sharing().component(),
            Expected::Ends(TOO_MUCH, fine),
        ),
    ]);
    for address in ["-1", "1048576", "4097"] {
        let realloc = format!("(return (i32.const {address}))");
        let what = format!("a realloc that answers {address}");
        cases.push(guest(14, &what, Guest { realloc, ..Guest::default() }, NONSENSE, fine));
    }
    cases.extend(encodings());
    cases
}

/// `need` or `reject` with so many entries, all in the zeros from 64 KiB on.
fn list_of(outcome: u8, entries: u32) -> String {
    format!(
        "(i32.store8 (i32.const 200) (i32.const {outcome})) (i32.store (i32.const 208) (i32.const 65536))
         (i32.store (i32.const 212) (i32.const {entries})) (i32.const 200)"
    )
}

fn sharing() -> Guest {
    let mut delivery = image::Delivery::plain();
    delivery.after = image::Value::Raw(65_536, 20_000);
    saying(StringEncoding::UTF8, 0, &image::plan(&vec![delivery; 1_000], vec![], vec![]))
}

fn short_reason(run: &Value) -> Result<(), String> {
    let length = run["reason"]["message"].as_str().map_or(usize::MAX, str::len);
    (length < 5_000).then_some(()).ok_or_else(|| format!("a reason of {length} bytes"))
}

fn encodings() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, encoding) in
        [("UTF-16", StringEncoding::UTF16), ("latin1+UTF-16", StringEncoding::CompactUTF16)]
    {
        let saying = move |payload: image::Value| saying(encoding, 4, &payload);
        let of = |what: &str, payload, codes: &'static [&'static str]| {
            guest(14, &format!("{what} in {name}"), saying(payload), codes, fine)
        };
        cases.push(of("an honest text", text("nothing \u{1F6A2}"), SKIPPED));
        cases.push(of("an odd address", image::Value::Raw(65_537, 4 | wide(encoding)), NONSENSE));
        cases.push(of("2 G units", image::Value::Raw(0, u32::MAX), NONSENSE));
        cases.push(of("a text of 4 MB", image::Value::Raw(65_536, 1_900_000 | wide(encoding)), TOO_MUCH));
        let mut lone = saying(image::Value::Raw(65_536, 1 | wide(encoding)));
        lone.transform = format!("(i32.store16 (i32.const 65536) (i32.const 0xd800)) {}", lone.transform);
        cases.push(guest(14, &format!("half of a surrogate pair in {name}"), lone, NONSENSE, fine));
    }
    // All bytes are letters in latin1: twice as many in UTF-8.
    let latin = saying(StringEncoding::CompactUTF16, 4, &image::Value::Raw(65_536, 400_000));
    let fill = "(memory.fill (i32.const 65536) (i32.const 255) (i32.const 400000))";
    let latin = Guest { transform: format!("{fill} {}", latin.transform), ..latin };
    cases.push(guest(14, "400,000 letters of latin1 that double in UTF-8", latin, SKIPPED, fine));
    cases
}

const fn wide(encoding: StringEncoding) -> u32 {
    match encoding {
        StringEncoding::CompactUTF16 => 1 << 31,
        StringEncoding::UTF8 | StringEncoding::UTF16 => 0,
    }
}

fn host_calls() -> Vec<Case> {
    let flood = |call: &str| format!("(loop {call} (br 0)) unreachable");
    let log = "(call $log (i32.const 1) (i32.const 224) (i32.const 7))";
    let line = |bytes: u32| {
        format!(
            "(memory.fill (i32.const 4096) (i32.const 120) (i32.const 1000000))
             (call $log (i32.const 1) (i32.const 4096) (i32.const {bytes})) (i32.const 200)"
        )
    };
    let ugly =
        r#"(data (i32.const 2048) "\1b[31mred\0d\0a\00forged \e2\80\aereversed<script>alert(1)</script>")"#;
    let ugly = Guest {
        items: ugly.into(),
        ..Guest::transforming(&format!(
            "(call $log (i32.const 3) (i32.const 2048) (i32.const 56)) {}",
            skip_with(2048, 56)
        ))
    };
    let random = "(call $random_bytes (i64.const -1) (i32.const 3000)) (i32.const 200)";
    vec![
        guest(16, "a flood of log calls", Guest::transforming(&flood(log)), TOO_OFTEN, dropped),
        guest(
            16,
            "a flood of questions for the time",
            wasi(&flood("(drop (call $monotonic))")),
            TOO_OFTEN,
            fine,
        ),
        guest(16, "a flood of random numbers", wasi(&flood("(drop (call $random))")), TOO_OFTEN, fine),
        guest(
            16,
            "18 exabytes of random bytes",
            wasi(random),
            &[
                "guest-too-many-host-calls",
                "guest-out-of-memory",
                "guest-trapped",
                "guest-output-too-large",
                "guest-nonsense",
            ],
            fine,
        ),
        guest(17, "1,000,000 lines", Guest::transforming(&flood(log)), TOO_OFTEN, dropped),
        guest(17, "a line of 900 KB", Guest::transforming(&line(900_000)), SKIPPED, cut),
        guest(
            17,
            "a log level that does not exist",
            Guest::transforming("(call $log (i32.const 9) (i32.const 224) (i32.const 7)) (i32.const 200)"),
            &["guest-nonsense", "guest-trapped"],
            fine,
        ),
        guest(
            18,
            "a log and a reason with escapes, line ends, NUL, reversal and a script",
            ugly,
            SKIPPED,
            printable,
        ),
        guest(19, "looks whether time goes on", wasi(TIME), SKIPPED, fine),
        guest(
            19,
            "calls 5,000 times and looks again",
            wasi(&TIME.replace("(i32.const 0) (;rounds;)", "(i32.const 5000)")),
            SKIPPED,
            fine,
        ),
        guest(
            22,
            "waits for a clock",
            waiting(),
            &["skipped", "guest-trapped", "guest-too-many-host-calls"],
            fine,
        ),
    ]
}

fn dropped(run: &Value) -> Result<(), String> {
    let lines = run["log"].as_array().map_or(0, Vec::len);
    let dropped = run["cost"]["log_dropped"].as_u64().unwrap_or(0);
    (lines <= 200 && dropped > 9_000)
        .then_some(())
        .ok_or_else(|| format!("{lines} lines kept, {dropped} dropped"))
}

fn cut(run: &Value) -> Result<(), String> {
    let line = run["log"][0]["message"].as_str().unwrap_or_default();
    (line.ends_with("(cut)") && line.len() < 1_100)
        .then_some(())
        .ok_or_else(|| format!("{} bytes", line.len()))
}

fn printable(run: &Value) -> Result<(), String> {
    let ugly = |text: &str| text.chars().any(|c| c.is_control() || c == '\u{202e}');
    for place in [&run["log"][0]["message"], &run["reason"]["message"]] {
        let text = place.as_str().unwrap_or("\0");
        if ugly(text) || !text.contains("red") {
            return Err(format!("not printable: {text:?}"));
        }
    }
    Ok(())
}

const CLOCKS: &str = "package wasi:clocks@0.2.3;
    interface monotonic-clock {
        use wasi:io/poll@0.2.3.{pollable};
        now: func() -> u64; subscribe-duration: func(when: u64) -> pollable;
    }";
const POLL: &str = "package wasi:io@0.2.3;
    interface poll { resource pollable { block: func(); } }
    interface error { resource error; }
    interface streams { resource output-stream; }";
const CLI: &str = "package wasi:cli@0.2.3;
    interface stdout { use wasi:io/streams@0.2.3.{output-stream}; get-stdout: func() -> output-stream; }";
const RANDOM: &str = "package wasi:random@0.2.3;
    interface random { get-random-bytes: func(len: u64) -> list<u8>; get-random-u64: func() -> u64; }";

/// A guest that imports clocks, random numbers, polls and the standard output.
fn wasi(transform: &str) -> Guest {
    let interfaces = [
        "wasi:io/poll@0.2.3",
        "wasi:io/streams@0.2.3",
        "wasi:clocks/monotonic-clock@0.2.3",
        "wasi:random/random@0.2.3",
        "wasi:cli/stdout@0.2.3",
    ];
    let imports: String = interfaces.iter().map(|name| format!("import {name};\n")).collect();
    let log = Guest::default().imports;
    Guest {
        contract: CONTRACT.replace("    import log;", &format!("    import log;\n{imports}")),
        packages: vec![POLL, CLOCKS, RANDOM, CLI],
        imports: format!(
            r#"{log}
            (import "wasi:clocks/monotonic-clock@0.2.3" "now" (func $monotonic (result i64)))
            (import "wasi:clocks/monotonic-clock@0.2.3" "subscribe-duration" (func $subscribe (param i64) (result i32)))
            (import "wasi:io/poll@0.2.3" "[method]pollable.block" (func $block (param i32)))
            (import "wasi:random/random@0.2.3" "get-random-u64" (func $random (result i64)))
            (import "wasi:random/random@0.2.3" "get-random-bytes" (func $random_bytes (param i64 i32)))
            (import "wasi:cli/stdout@0.2.3" "get-stdout" (func $stdout (result i32)))
            (import "wasi:io/streams@0.2.3" "[resource-drop]output-stream" (func $drop_stream (param i32)))"#
        ),
        ..Guest::transforming(transform)
    }
}

const TIME: &str = "(local.set $i (i32.const 0) (;rounds;))
    (loop (drop (call $monotonic)) (local.set $i (i32.sub (local.get $i) (i32.const 1)))
        (br_if 0 (i32.gt_s (local.get $i) (i32.const 0))))
    (if (i64.ne (call $monotonic) (call $monotonic)) (then unreachable)) (i32.const 200)";

fn waiting() -> Guest {
    wasi("(call $block (call $subscribe (i64.const 3600000000000))) (i32.const 200)")
}

fn residue() -> Vec<Case> {
    let secret = "(drop (memory.grow (i32.const 1000)))
        (memory.fill (i32.const 65536) (i32.const 165) (i32.const 66000000))
        (table.fill $t (i32.const 0) (ref.func $f) (i32.const 1000))
        (global.set $g (i64.const 0xa5a5a5a5)) (i32.const 200)";
    let writer = Guest { items: STATE.into(), ..Guest::transforming(secret) };
    let scan = "(drop (memory.grow (i32.const 1000))) (local.set $i (i32.const 65536))
        (loop
            (if (i64.ne (i64.load (local.get $i)) (i64.const 0)) (then unreachable))
            (local.set $i (i32.add (local.get $i) (i32.const 512)))
            (br_if 0 (i32.lt_u (local.get $i) (i32.const 66000000))))
        (if (i32.eqz (ref.is_null (table.get $t (i32.const 7)))) (then unreachable))
        (if (i64.ne (global.get $g) (i64.const 0)) (then unreachable))
        (i32.const 200)";
    let reader = Guest { items: STATE.into(), ..Guest::transforming(scan) };
    let pair = Expected::Alternates(Box::new(move || reader.component()));
    vec![
        case(
            20,
            "one fills memory, table and global, another looks for it",
            move || writer.component(),
            pair,
        )
        .heavy(Heavy::Runs),
    ]
}

const STATE: &str =
    "(table $t 1000 funcref) (func $f) (elem declare func $f) (global $g (mut i64) (i64.const 0))";

fn handles() -> Vec<Case> {
    let log = "(call $log (i32.const 1) (i32.const 224) (i32.const 7))";
    let own = |transform: &str| {
        let log = Guest::default().imports;
        Guest {
            contract: CONTRACT
                .replace("    export mapper;", "    export mapper;\n    export things;")
                .replace(
                    "/// What every module exports.",
                    "interface things { resource thing; }\n/// What every module exports.",
                ),
            imports: format!(
                r#"{log}
                (import "[export]portolan:mapping/things@1.0.0" "[resource-new]thing" (func $new (param i32) (result i32)))
                (import "[export]portolan:mapping/things@1.0.0" "[resource-drop]thing" (func $drop (param i32)))
                (import "[export]portolan:mapping/things@1.0.0" "[resource-rep]thing" (func $rep (param i32) (result i32)))"#
            ),
            ..Guest::transforming(transform)
        }
    };
    vec![
        guest(
            21,
            "calls the host from realloc",
            Guest { realloc: log.into(), ..Guest::default() },
            TRAPPED,
            fine,
        ),
        guest(21, "calls the host from post-return", post_return(log), TRAPPED, fine),
        guest(
            21,
            "a table of 90,000 elements, filled",
            Guest {
                items: "(table $t 90000 funcref) (func $f) (elem declare func $f)".into(),
                ..Guest::transforming(
                    "(table.fill $t (i32.const 0) (ref.func $f) (i32.const 90000)) (i32.const 200)",
                )
            },
            SKIPPED,
            fine,
        ),
        guest(
            23,
            "1,000,000 handles of the host, never dropped",
            wasi("(loop (drop (call $stdout)) (br 0)) unreachable"),
            &["guest-trapped", "guest-nonsense", "guest-too-many-host-calls"],
            fine,
        ),
        guest(
            23,
            "1,000,000 resources of its own, never dropped",
            own("(loop (drop (call $new (i32.const 1))) (br 0)) unreachable"),
            &["guest-trapped", "guest-nonsense"],
            fine,
        ),
        guest(
            23,
            "drops a handle twice",
            own(
                "(local.set $i (call $new (i32.const 1))) (call $drop (local.get $i)) (call $drop (local.get $i)) (i32.const 200)",
            ),
            &["guest-trapped", "guest-nonsense"],
            fine,
        ),
        guest(
            23,
            "uses a handle that it dropped",
            own(
                "(local.set $i (call $new (i32.const 1))) (call $drop (local.get $i)) (drop (call $rep (local.get $i))) (i32.const 200)",
            ),
            &["guest-trapped", "guest-nonsense"],
            fine,
        ),
        guest(
            23,
            "guesses a handle",
            own("(drop (call $rep (i32.const 123456))) (i32.const 200)"),
            &["guest-trapped", "guest-nonsense"],
            fine,
        ),
        guest(
            23,
            "drops a handle of another type",
            wasi("(call $drop_stream (call $subscribe (i64.const 1))) (i32.const 200)"),
            &["guest-trapped", "guest-nonsense"],
            fine,
        ),
        guest(
            23,
            "200,000 resources, each dropped",
            own(
                "(local.set $i (i32.const 200000)) (loop (call $drop (call $new (i32.const 1))) (local.set $i (i32.sub (local.get $i) (i32.const 1))) (br_if 0 (local.get $i))) (i32.const 200)",
            ),
            &["skipped", "guest-out-of-fuel"],
            fine,
        ),
    ]
}
