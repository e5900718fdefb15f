//! Where the fuel went, by function. A module is a pure function: given less fuel, the same call ends at exactly that
//! instruction, with its stack. So the call is made again and again, each time with a little more fuel, and the stacks
//! at evenly spaced points of it are counted. No clock is involved: the profile is the same on every machine.
//!
//! Fuel is looked at when a function is entered and at the heads of loops, so what a straight stretch of code burns is
//! told of the next of these.

use std::collections::{BTreeMap, BTreeSet};

use portolan_domain::contract::Input;
use portolan_sandbox::{Frame, RunLimits};
use serde::Serialize;

use super::{
    grouped,
    local::{Local, Ready},
};

/// Points at which the call is ended.
const POINTS: u64 = 400;
/// Functions that are shown.
const SHOWN_MAX: usize = 25;

/// A function's share of the fuel.
#[derive(Debug, Serialize)]
pub(super) struct Share {
    pub(super) function: String,
    /// Burnt by the function itself.
    pub(super) fuel_self: u64,
    /// And by what it called.
    pub(super) fuel_total: u64,
}

/// Profiles one call that takes `fuel`; the shares in order of what the functions burnt themselves.
pub(super) fn profile(local: &Local, ready: &Ready, input: &Input, fuel: u64) -> Vec<Share> {
    let points = POINTS.min(fuel.max(1));
    let mut shares: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for point in 0..points {
        // In the middle of each stretch.
        let at = (fuel.saturating_mul(point.saturating_mul(2).saturating_add(1)) / points.saturating_mul(2))
            .max(1);
        let limits = RunLimits { fuel_base: at, fuel_per_input_byte: 0, ..RunLimits::default() };
        let limits = RunLimits { cpu_ns_per_fuel: u64::MAX / limits.fuel_max, ..limits };
        let report = local.sandbox.transform_here(&ready.module, input, &limits);
        let stack: Vec<String> = report.stack.iter().map(Frame::function).collect();
        let burnt = fuel / points;
        let inner = stack.first().cloned().unwrap_or_else(|| "(outside of any function)".to_owned());
        shares.entry(inner).or_default().0 += burnt;
        for function in stack.into_iter().collect::<BTreeSet<_>>() {
            shares.entry(function).or_default().1 += burnt;
        }
    }
    let share = |(function, (fuel_self, fuel_total))| Share { function, fuel_self, fuel_total };
    let mut shares: Vec<Share> = shares.into_iter().map(share).collect();
    shares.sort_by(|one, other| other.fuel_self.cmp(&one.fuel_self).then(one.function.cmp(&other.function)));
    shares
}

/// The shares as a table.
pub(super) fn table(shares: &[Share], fuel: u64) -> String {
    let percent = |part: u64| part.saturating_mul(1_000) / fuel.max(1);
    let mut text = format!("{:>14} {:>6} {:>6}  function\n", "fuel", "self", "total");
    for share in shares.iter().take(SHOWN_MAX) {
        let (own, total) = (percent(share.fuel_self), percent(share.fuel_total));
        text.push_str(&format!(
            "{:>14} {:>4}.{}% {:>4}.{}%  {}\n",
            grouped(share.fuel_self),
            own / 10,
            own % 10,
            total / 10,
            total % 10,
            share.function
        ));
    }
    if shares.len() > SHOWN_MAX {
        text.push_str(&format!("… and {} more functions\n", shares.len() - SHOWN_MAX));
    }
    text
}
