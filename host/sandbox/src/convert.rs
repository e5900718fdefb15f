//! Between the contract's plain types and those of the bindings: JSON values become text on the way in; on the
//! way out text becomes JSON values, amounts and times, or the run ends as nonsense with the place named.

mod input;
mod outcome;

pub(crate) use input::Prepared;
pub(crate) use outcome::Reader;
