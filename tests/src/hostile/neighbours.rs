//! What a tenant can do to its neighbours: the attacks of `cargo xtask isolation`.

use wit_component::StringEncoding;

use super::{
    guests::Guest,
    image::{Delivery, plan},
    runs::saying,
};

/// How an attack is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Events whose mapping does the harm.
    Events,
    /// As many events as go.
    Flood,
    /// Uploads that keep the compiler busy.
    Uploads,
}

impl Kind {
    /// In words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Flood => "flood",
            Self::Uploads => "uploads",
        }
    }
}

/// An attack.
#[derive(Debug)]
pub struct Attack {
    /// What it is called.
    pub name: &'static str,
    /// How it is made.
    pub kind: Kind,
    /// The attacker's mapping.
    pub module: fn() -> Vec<u8>,
}

/// A mapping that makes one call.
#[must_use]
pub fn calling() -> Vec<u8> {
    saying(StringEncoding::UTF8, 0, &plan(&[Delivery::plain()], vec![], vec![])).component()
}

fn transforming(instructions: &str) -> Vec<u8> {
    Guest::transforming(instructions).component()
}

/// Every attack.
#[must_use]
pub fn attacks() -> Vec<Attack> {
    let events = |name, module| Attack { name, kind: Kind::Events, module };
    vec![
        events("spin", || transforming("(loop (br 0)) unreachable")),
        events("host-calls", || {
            transforming("(loop (call $log (i32.const 1) (i32.const 224) (i32.const 7)) (br 0)) unreachable")
        }),
        events("memory", || {
            transforming(
                "(drop (memory.grow (i32.const 1008)))
                 (loop (memory.fill (i32.const 65536) (i32.const 165) (i32.const 67000000)) (br 0)) unreachable",
            )
        }),
        events("outputs", || {
            let body = format!(r#"{{"path":"/","body":"{}"}}"#, "x".repeat(12_000));
            let deliveries: Vec<_> =
                (0..60).map(|n| Delivery { key: n.to_string(), ..Delivery::with_body(&body) }).collect();
            saying(StringEncoding::UTF8, 0, &plan(&deliveries, vec![], vec![])).component()
        }),
        Attack { name: "uploads", kind: Kind::Uploads, module: || Guest::default().component() },
        Attack { name: "flood", kind: Kind::Flood, module: || Guest::default().component() },
    ]
}

/// A module that keeps the compiler busy for seconds, never the same twice.
#[must_use]
pub fn bomb(number: u32) -> Vec<u8> {
    let opened = "(loop (local.set 0 (local.get 7)) ".repeat(800);
    let closed = "(br_if 0 (i32.const 0)))".repeat(800);
    let function =
        format!("(func (local {}) (drop (i32.const {number})) {opened} {closed})", "i32 ".repeat(2_000));
    Guest { items: function.repeat(20), ..Guest::default() }.component()
}
