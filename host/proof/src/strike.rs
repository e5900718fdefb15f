//! A module that ends the process, as a defect of the sandbox would let it: what the quarantine of poison events is
//! tried with.

/// Called on the guest's thread right before a module is executed on this payload.
#[cfg(not(feature = "armed"))]
#[inline(always)]
pub const fn strike(_: &str) {}

#[cfg(feature = "armed")]
pub use armed::strike;

#[cfg(feature = "armed")]
#[expect(clippy::disallowed_methods, reason = "armed by a proof, not set by an operator")]
mod armed {
    use std::sync::OnceLock;

    /// `abort:poison` strikes whatever payload has `poison` in it.
    fn strikes() -> &'static [(String, String)] {
        static STRIKES: OnceLock<Vec<(String, String)>> = OnceLock::new();
        STRIKES.get_or_init(|| {
            let text = std::env::var("PORTOLAN_PROOF_STRIKE").unwrap_or_default();
            let pairs = text.split(',').filter_map(|one| one.split_once(':'));
            pairs.map(|(how, needle)| (how.to_owned(), needle.to_owned())).collect()
        })
    }

    /// Called on the guest's thread right before a module is executed on this payload.
    pub fn strike(payload: &str) {
        for (how, needle) in strikes() {
            if !needle.is_empty() && payload.contains(needle.as_str()) {
                match how.as_str() {
                    "abort" => std::process::abort(),
                    "exit" => std::process::exit(3),
                    "overflow" => drop(deeper(&[0; 64])),
                    #[expect(clippy::panic, reason = "that is what is tried")]
                    "panic" => panic!("struck"),
                    _ => {}
                }
            }
        }
    }

    /// Recursion until the guard page of the thread's stack: a segmentation fault.
    #[expect(unconditional_recursion, reason = "that is what is tried")]
    fn deeper(above: &[u8; 64]) -> u8 {
        let mut own = *above;
        own.rotate_left(1);
        std::hint::black_box(deeper(std::hint::black_box(&own))).wrapping_add(1)
    }
}
