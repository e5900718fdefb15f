//! Hosts with bugs. A proof that finds nothing proves little as long as nobody knows what it would find.
//!
//! Each bug gets the same treatment, in the same order, whatever it is: a round at random, the stages, and rounds at
//! random until the judge objects or the cycles are used up.

use portolan_proof::Bug;

use crate::{
    random::{self, ROUND},
    report::Count,
    stages,
    world::{Make, Places},
};

/// What became of one bug.
#[derive(Debug)]
pub(crate) struct Hunt {
    pub(crate) bug: Bug,
    /// Cycles until it was found, and by what; none when it was not.
    pub(crate) found: Option<(u64, String)>,
}

/// Why a bug is none of this proof's.
pub(crate) const fn elsewhere(bug: Bug) -> Option<&'static str> {
    match bug {
        Bug::NoSync => Some("only a loss of power shows it: cargo xtask power"),
        Bug::ResultAfterConfirm => Some("the host confirms nothing to anyone: there is no place for it"),
        Bug::RestoreWithoutReconcile => Some("the tests of backup and restore look for it"),
        Bug::AnswerBeforeCommit
        | Bug::FreshKeyPerAttempt
        | Bug::CheckSkipped
        | Bug::CheckOnReplica
        | Bug::NoEpoch
        | Bug::OutboxOutsideTransaction
        | Bug::IntentAfterSend
        | Bug::RunAgainAfterPlan
        | Bug::AttemptsCountedAfter
        | Bug::LeaseByLocalClock
        | Bug::FinalStateLeft
        | Bug::KeyTrustedTooLong => None,
    }
}

/// Hunts one bug for at most so many cycles.
pub(crate) async fn hunt(places: &Places, bug: Bug, (seed, cycles): (u64, u64)) -> anyhow::Result<Hunt> {
    let make = Make { bug: Some(bug.name()), ..Make::default() };
    let first = random::play(places, (seed, ROUND.min(cycles)), &make, |_| {}).await?;
    if let Some(finding) = first.findings.first() {
        return Ok(Hunt { bug, found: Some((first.cycles, finding)) });
    }
    let mut count = Count::default();
    if let Some((stage, findings)) = stages::play(places, &make, &mut count).await? {
        let finding = findings.first().unwrap_or_default();
        return Ok(Hunt { bug, found: Some((first.cycles, format!("on the stage {stage}: {finding}"))) });
    }
    let left = cycles.saturating_sub(first.cycles);
    let rest = random::play(places, (seed + 1, left), &make, |_| {}).await?;
    let found = rest.findings.first().map(|finding| (first.cycles + rest.cycles, finding));
    Ok(Hunt { bug, found })
}
