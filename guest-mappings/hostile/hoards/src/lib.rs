//! Takes memory until there is none, then goes on as if nothing were. The host must cap the sum of its memories;
//! the skip tells how much it was given.

use portolan_sdk::prelude::*;

/// A mapping that hoards.
#[derive(Debug)]
pub struct Hoards;

/// Bytes taken at once.
const CHUNK_BYTES: usize = 1 << 20;

/// Natively nothing stops it but this.
const CHUNKS_MAX: usize = if cfg!(target_family = "wasm") { 1 << 16 } else { 16 };

impl Mapping for Hoards {
    fn describe() -> Description {
        Description::new("hostile-hoards", env!("CARGO_PKG_VERSION"), "Takes memory until there is none.")
            .serves("stripe", "charge.succeeded")
    }

    fn map(_: &Cx<'_>) -> Result<Plan, Stop> {
        let mut hoard: Vec<Vec<u8>> = Vec::new();
        while hoard.len() < CHUNKS_MAX {
            let mut chunk: Vec<u8> = Vec::new();
            if chunk.try_reserve_exact(CHUNK_BYTES).is_err() {
                break;
            }
            // Touched, so that it is really there.
            chunk.resize(CHUNK_BYTES, 0xA5);
            hoard.push(std::hint::black_box(chunk));
        }
        let mebibytes = hoard.len();
        drop(hoard);
        Err(Stop::skip(format!("{mebibytes} MiB were given")))
    }
}

portolan_sdk::mapping!(Hoards);

#[cfg(test)]
mod tests {
    use portolan_sdk::testing::{Trial, charge};

    use super::*;

    #[test]
    fn it_says_how_much_it_was_given() {
        let trial = Trial::<Hoards>::of_charge(&charge("ch_1", 1, "eur")).run();
        assert_eq!(trial.skipped(), "16 MiB were given");
    }
}
