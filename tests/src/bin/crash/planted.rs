//! Hosts with bugs. A proof that finds nothing proves little as long as nobody knows what it would find.
//!
//! Each bug gets the same treatment, in the same order, whatever it is: a round at random, the stages, some restores, and
//! rounds at random until the judge objects or the cycles are used up.

use portolan_proof::Bug;

use crate::{
    random::{self, ROUND},
    report::Count,
    restores, stages,
    world::{Make, Places},
};

/// What is said of the bug that no kill can show.
const POWER: &str = "by the proof of power loss";
/// Restores that a hunt plays.
const RESTORES: u64 = 3;

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
        Bug::ResultAfterConfirm => Some("the host confirms nothing to anyone: there is no place for it"),
        Bug::AnswerBeforeCommit
        | Bug::FreshKeyPerAttempt
        | Bug::NoSync
        | Bug::CheckSkipped
        | Bug::CheckOnReplica
        | Bug::NoEpoch
        | Bug::OutboxOutsideTransaction
        | Bug::IntentAfterSend
        | Bug::RunAgainAfterPlan
        | Bug::AttemptsCountedAfter
        | Bug::LeaseByLocalClock
        | Bug::FinalStateLeft
        | Bug::KeyTrustedTooLong
        | Bug::RestoreWithoutReconcile => None,
    }
}

/// Hunts one bug for at most so many cycles.
pub(crate) async fn hunt(places: &Places, bug: Bug, (seed, cycles): (u64, u64)) -> anyhow::Result<Hunt> {
    if bug == Bug::NoSync {
        return Ok(Hunt { bug, found: without_power(seed).await?.then(|| (0, POWER.to_owned())) });
    }
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
    let findings = restores::play(places, (seed, RESTORES), &make, &mut count).await?;
    if let Some(finding) = findings.first() {
        return Ok(Hunt { bug, found: Some((first.cycles, format!("after a restore: {finding}"))) });
    }
    let left = cycles.saturating_sub(first.cycles);
    let rest = random::play(places, (seed + 1, left), &make, |_| {}).await?;
    let found = rest.findings.first().map(|finding| (first.cycles + rest.cycles, finding));
    Ok(Hunt { bug, found })
}

/// Whether the other proof, beside this one, finds the bug: the operating system keeps what a killed process wrote.
async fn without_power(seed: u64) -> anyhow::Result<bool> {
    let power = std::env::current_exe()?.with_file_name("power");
    anyhow::ensure!(power.exists(), "{} is not built", power.display());
    let mut command = tokio::process::Command::new(power);
    command.args(["--bug", Bug::NoSync.name(), "--only", "loss", "--images", "300", "--seed"]);
    let status = command.arg(seed.to_string()).stdout(std::process::Stdio::null()).status().await?;
    Ok(status.success())
}
