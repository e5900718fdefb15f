//! What a module can try with what it returns: plan bombs, plans beyond its rights, tricks with money, addresses
//! (H24–H27). The connection `erp` leads to a wire that keeps what arrives; a second one listens where nothing may go.

use serde_json::Value;
use wit_component::StringEncoding;

use super::{
    Case, Expected, case, fine,
    image::{self, Delivery, line, plan, text},
    runs::saying,
};

const REFUSED: &[&str] = &["plan-refused"];
const NONSENSE: &[&str] = &["guest-nonsense"];
const TOO_MUCH: &[&str] = &["guest-output-too-large"];
/// A plan that was stored; its deliveries are looked at.
const STORED: &[&str] = &["planned", "delivered"];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = bombs();
    cases.extend(texts());
    cases.extend(rights());
    cases.extend(money());
    cases.extend(addresses());
    cases
}

fn planned(
    number: u8,
    what: &str,
    deliveries: Vec<Delivery>,
    codes: &'static [&'static str],
    look: super::Look,
) -> Case {
    let payload = plan(&deliveries, vec![], vec![]);
    case(
        number,
        what,
        move || saying(StringEncoding::UTF8, 0, &payload).component(),
        Expected::Ends(codes, look),
    )
}

fn one(number: u8, what: &str, delivery: Delivery, codes: &'static [&'static str]) -> Case {
    planned(number, what, vec![delivery], codes, unsent)
}

/// Nothing was planned.
fn unsent(run: &Value) -> Result<(), String> {
    let none = run["deliveries"].as_array().is_none_or(Vec::is_empty);
    none.then_some(()).ok_or_else(|| format!("it planned {}", run["deliveries"]))
}

/// Every delivery was refused before it was sent.
fn refused_unsent(run: &Value) -> Result<(), String> {
    for delivery in run["deliveries"].as_array().into_iter().flatten() {
        let code = delivery["reason"]["code"].as_str().unwrap_or_default();
        if delivery["state"] != "dead"
            || !["invalid-parameters", "operation-unknown", "unbound"].contains(&code)
        {
            return Err(format!("{} {}", delivery["state"], delivery["reason"]));
        }
    }
    Ok(())
}

fn numbered(count: usize, body: &str) -> Vec<Delivery> {
    (0..count).map(|n| Delivery { key: n.to_string(), ..Delivery::with_body(body) }).collect()
}

fn bombs() -> Vec<Case> {
    let body = |bytes: usize| format!(r#"{{"path":"/","body":"{}"}}"#, "x".repeat(bytes));
    let needs = |count: usize| {
        let need = |n: usize| {
            // `lookup` is the first case of `need`; the largest of them has 24 bytes.
            image::Value::Record(vec![
                image::Value::Enum(0),
                text("numbers"),
                text(n.to_string()),
                image::Value::Raw(0, 0),
            ])
        };
        image::Value::List((0..count).map(need).collect())
    };
    let alert = |detail: String| {
        image::Value::Record(vec![image::Value::Enum(2), text("a"), text("b"), text(detail)])
    };
    let alerts = |alerts: Vec<image::Value>| plan(&[], vec![], alerts);
    let saying_case = |what: &str, outcome: u8, payload: image::Value, codes: &'static [&'static str]| {
        case(
            24,
            what,
            move || saying(StringEncoding::UTF8, outcome, &payload).component(),
            Expected::Ends(codes, unsent),
        )
    };
    vec![
        planned(24, "65 deliveries", numbered(65, "{}"), REFUSED, unsent),
        planned(24, "10,000 deliveries", numbered(10_000, "{}"), TOO_MUCH, unsent),
        one(24, "a body of 2 MB", Delivery::with_body(body(2 << 20)), TOO_MUCH),
        planned(24, "60 bodies of 100 KB", numbered(60, &body(100_000)), TOO_MUCH, unsent),
        saying_case("5,000 lookups at once", 1, needs(5_000), &["guest-nonsense", "guest-output-too-large"]),
        saying_case("100,000 lookups at once", 1, needs(100_000), TOO_MUCH),
        saying_case(
            "500 alerts with a detail of 1 KB each",
            0,
            alerts((0..500).map(|_| alert(format!("\"{}\"", "x".repeat(1_000)))).collect()),
            &["delivered", "guest-output-too-large"],
        ),
        saying_case(
            "an alert with a detail of 200 KB",
            0,
            alerts(vec![alert(format!("\"{}\"", "x".repeat(200_000)))]),
            REFUSED,
        ),
        saying_case(
            "2,001 references",
            0,
            plan(&[], (0..2_001).map(|_| reference("k", "i")).collect(), vec![]),
            &["plan-refused", "guest-output-too-large"],
        ),
        saying_case(
            "5,000 violations",
            5,
            image::Value::List(
                (0..5_000).map(|_| image::Value::Record(vec![text("/"), text("c"), text("m")])).collect(),
            ),
            &["rejected", "guest-output-too-large"],
        ),
        // It waits until the end of time; whoever waits for the event is told before.
        case(
            24,
            "a deferral to the end of time",
            || deferring().component(),
            Expected::Ends(&["deferred"], fine),
        ),
    ]
}

fn deferring() -> super::guests::Guest {
    // `deferral`: a reason, then an option of 64 bits, aligned to 8.
    let mut guest = saying(StringEncoding::UTF8, 3, &text("never"));
    let at = guest.transform.trim_start_matches("(i32.const ").trim_end_matches(')').to_owned();
    guest.transform = format!(
        "(i32.store8 (i32.add (i32.const {at}) (i32.const 16)) (i32.const 1))
         (i64.store (i32.add (i32.const {at}) (i32.const 24)) (i64.const -1)) (i32.const {at})"
    );
    guest
}

fn reference(kind: &str, id: &str) -> image::Value {
    image::Value::Record(vec![text(kind), text(id), text("s"), text("counterpart")])
}

/// JSON that is none, or that takes more to read than to write.
fn texts() -> Vec<Case> {
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let body = |inside: &str| Delivery::with_body(format!(r#"{{"path":"/","body":{inside}}}"#));
    vec![
        one(24, "a body that is no JSON", Delivery::with_body("{not json"), NONSENSE),
        one(24, "a body of 100,000 levels", Delivery::with_body(deep(100_000)), NONSENSE),
        one(24, "a body of 120 levels", Delivery::with_body(deep(120)), NONSENSE),
        one(24, "a body with half of a surrogate pair", body(r#""\ud800""#), NONSENSE),
        one(24, "a body with a raw NUL", body("\"\0\""), NONSENSE),
        one(24, "a body with two values", Delivery::with_body("{} {}"), NONSENSE),
        one(24, "an empty body", Delivery::with_body(""), NONSENSE),
        planned(
            24,
            "a body with 10,000 equal keys",
            vec![body(&format!("{{{}}}", vec![r#""k":1"#; 10_000].join(",")))],
            STORED,
            fine,
        ),
        planned(24, "a body with an escaped NUL", vec![body(r#""\u0000""#)], STORED, fine),
        one(26, "1e400 in a body", body("1e400"), NONSENSE),
        one(26, "0.1 in a body", body("0.1"), NONSENSE),
        one(26, "1e308 in a body", body(r#"{"amount":1e308}"#), NONSENSE),
        one(26, "-0 in a body", body("[-0]"), NONSENSE),
        one(26, "NaN in a body", body("NaN"), NONSENSE),
        one(26, "400 digits in a body", body(&"9".repeat(400)), NONSENSE),
    ]
}

fn rights() -> Vec<Case> {
    let of = |what: &str, change: fn(&mut Delivery), codes: &'static [&'static str]| {
        let mut delivery = Delivery::plain();
        change(&mut delivery);
        one(25, what, delivery, codes)
    };
    let binding =
        |from: &str, source: &str| image::Value::Record(vec![text(from), text(source), text("/body/x")]);
    let bound = Delivery { bindings: vec![binding("b", "/x")], ..Delivery::plain() };
    let no_pointer = Delivery {
        key: "z".into(),
        after: image::Value::List(vec![text("a")]),
        bindings: vec![binding("a", "no pointer")],
        ..Delivery::plain()
    };
    let wire =
        |what: &str, body: &str| planned(25, what, vec![Delivery::with_body(body)], STORED, refused_unsent);
    vec![
        of("another connection's name", |d| d.connection = "bank".into(), REFUSED),
        of(
            "a connection's id instead of its name",
            |d| d.connection = "con_01JD5T3Z9Y6W8V7U5S4R3Q2P1N".into(),
            REFUSED,
        ),
        of("an operation that it did not declare", |d| d.operation = "request.delete".into(), REFUSED),
        of("an operation with a path in it", |d| d.operation = "../request.post".into(), REFUSED),
        of("a read as a delivery that is sent", |d| d.operation = "request.get\0".into(), REFUSED),
        of("a key with a line end", |d| d.key = "a\r\nHost: evil".into(), REFUSED),
        of("a key of 100,000 letters", |d| d.key = "k".repeat(100_000), REFUSED),
        of("an empty key", |d| d.key = String::new(), REFUSED),
        of("a fact with a NUL", |d| d.once = Some("x\0".into()), REFUSED),
        of(
            "a capture without a name",
            |d| d.captures = vec![image::Value::Record(vec![text(""), text("i"), text("s"), text("/x")])],
            REFUSED,
        ),
        of(
            "a capture by what is no pointer",
            |d| d.captures = vec![image::Value::Record(vec![text("k"), text("i"), text("s"), text("x")])],
            REFUSED,
        ),
        planned(
            25,
            "a value from a delivery that does not come before",
            vec![bound, Delivery { key: "b".into(), ..Delivery::plain() }],
            REFUSED,
            unsent,
        ),
        planned(25, "a value from what is no pointer", vec![Delivery::plain(), no_pointer], REFUSED, unsent),
        planned(
            25,
            "two deliveries with one key",
            vec![Delivery::plain(), Delivery::plain()],
            REFUSED,
            unsent,
        ),
        planned(
            25,
            "deliveries that wait for each other",
            vec![
                Delivery { after: image::Value::List(vec![text("b")]), ..Delivery::plain() },
                Delivery { key: "b".into(), after: image::Value::List(vec![text("a")]), ..Delivery::plain() },
            ],
            REFUSED,
            unsent,
        ),
        wire("a path that climbs", r#"{"path":"../../secret","body":{}}"#),
        wire("a path that climbs, escaped", r#"{"path":"%2e%2e/secret","body":{}}"#),
        wire(
            "a path with a line end and a header",
            r#"{"path":"x HTTP/1.1\r\nHost: evil\r\nX: ","body":{}}"#,
        ),
        wire("a path with a query", r#"{"path":"x?admin=1","body":{}}"#),
        wire("a header of its own", r#"{"path":"/","headers":{"idempotency-key":"mine"},"body":{}}"#),
        wire("a method of its own", r#"{"path":"/","method":"DELETE","body":{}}"#),
        wire("an idempotency key of its own", r#"{"path":"/","idempotency_key":"mine","body":{}}"#),
        wire("a body that is no object", "[]"),
        planned(
            25,
            "a query with a line end and a filter",
            vec![Delivery::with_body(
                r#"{"path":"/kept","query":{"$filter":"Name eq 'x' or 'a' eq 'a'\r\nX-Evil: 1"},"body":{"a":"1 or 1=1"}}"#,
            )],
            STORED,
            fine,
        ),
    ]
}

fn money() -> Vec<Case> {
    let balanced = |amount: &str, currency: &str| Delivery {
        ledger: vec![line(true, amount, currency), line(false, amount, currency)],
        ..Delivery::plain()
    };
    let mut cases: Vec<Case> = [
        "NaN",
        "Infinity",
        "1e308",
        "1e3",
        "0x10",
        "",
        " 1",
        "1.",
        ".5",
        "+1",
        "1,00",
        "９",
        "99999999999999999999999999999999",
        "9223372036854775808e1",
        "--1",
    ]
    .map(|amount| one(26, &format!("an amount {amount:?}"), balanced(amount, "USD"), NONSENSE))
    .into();
    cases.extend([
        one(26, "a negative amount", balanced("-1", "USD"), REFUSED),
        one(
            26,
            "debits without credits",
            Delivery { ledger: vec![line(true, "1", "USD")], ..Delivery::plain() },
            REFUSED,
        ),
        one(
            26,
            "debits in one currency, credits in another",
            Delivery { ledger: vec![line(true, "1", "JPY"), line(false, "1", "KWD")], ..Delivery::plain() },
            REFUSED,
        ),
        one(26, "a currency that is none", balanced("1", "usd\r\n"), REFUSED),
        one(
            26,
            "0.1 + 0.2 against 0.3 and a bit",
            Delivery {
                ledger: vec![
                    line(true, "0.1", "USD"),
                    line(true, "0.2", "USD"),
                    line(false, "0.30000000000000004", "USD"),
                ],
                ..Delivery::plain()
            },
            REFUSED,
        ),
        one(
            26,
            "sums that lose digits",
            Delivery {
                ledger: vec![
                    line(true, "9999999999999999999999999999", "USD"),
                    line(true, "0.0000000000000000000000000001", "USD"),
                    line(false, "9999999999999999999999999999", "USD"),
                ],
                ..Delivery::plain()
            },
            REFUSED,
        ),
    ]);
    cases
}

/// Whatever a delivery says, the connection decides where it goes.
fn addresses() -> Vec<Case> {
    [
        "http://169.254.169.254/latest/meta-data",
        "//127.0.0.2/x",
        "\\\\\\\\127.0.0.2\\\\x",
        "http://[::ffff:127.0.0.2]/",
        "http://2130706434/",
        "@127.0.0.2/",
        ":80/x",
        "x#@127.0.0.2/",
    ]
    .map(|path| {
        let look = if path.starts_with(['@', ':']) { fine } else { refused_unsent };
        let body = format!(r#"{{"path":"{path}","body":{{}}}}"#);
        planned(27, &format!("the path {path}"), vec![Delivery::with_body(body)], STORED, look)
    })
    .into_iter()
    .chain([planned(
        27,
        "an answer that leads elsewhere",
        vec![Delivery::with_body(r#"{"path":"/redirect","body":{}}"#)],
        STORED,
        fine,
    )])
    .collect()
}
