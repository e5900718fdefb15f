//! Every `fdatasync` of a short run: killed at the first, at the second, and so on until the run gets through; and a disk
//! that fails from the first on, from the second on. Done to the real host from outside, with strace.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use portolan::stage::System;

use crate::{
    deeds::deeds,
    judge::Judge,
    load::Load,
    random::{now, rest},
    report::{Count, Findings},
    world::{Make, Pace, Places, World},
};

/// How long a run may take until it is taken for one that got through.
const RUN: Duration = Duration::from_secs(6);
/// What SQLite makes durable with: which of them, its build decides.
const SYNC: &str = "fsync,fdatasync";
/// Calls of a start, about.
const START: usize = 24;
/// Where a disk that fails is looked at no further.
const FAILURES_MAX: usize = 200;

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) runs: u64,
    pub(crate) findings: Findings,
    pub(crate) count: Count,
    pub(crate) took: Duration,
}

/// None when there is no strace.
pub(crate) async fn play(
    places: &Places,
    every: usize,
    make: &Make<'_>,
    say: impl Fn(&str),
) -> anyhow::Result<Option<Outcome>> {
    let Some(strace) = strace() else { return Ok(None) };
    let (began, mut outcome) = (now(), Outcome::default());
    let make = Make { erps: vec![System::SagePro], pace: Pace::SCRIPTED, ..make.clone() };
    let mut world = World::set_up(places, "syscalls", &make).await?;
    let mut judge = Judge::of(&world);
    let mut nth = 1;
    loop {
        let inject = format!("inject={SYNC}:signal=SIGKILL:when={nth}");
        let met = run(&mut world, &mut judge, (&strace, &inject), &mut outcome).await?;
        outcome.count.add(if met { "killed at a flush" } else { "got through" });
        if !met {
            break;
        }
        nth += every;
    }
    anyhow::ensure!(nth > 1, "no flush was seen: nothing was tried");
    say(&format!("a run has about {nth} flushes"));
    for (call, error) in [(SYNC, "EIO"), ("pwrite64", "ENOSPC")] {
        let mut failed = 0;
        // The first of them fail the start itself.
        let (early, late) = ((2..START).step_by(every), (START..FAILURES_MAX).step_by(8 * every));
        for nth in early.chain(late) {
            let inject = format!("inject={call}:error={error}:when={nth}+");
            if run(&mut world, &mut judge, (&strace, &inject), &mut outcome).await? {
                outcome.count.add(&format!("disks that failed with {error}"));
                failed += 1;
            } else {
                outcome.count.add("got through");
            }
        }
        anyhow::ensure!(failed > 0, "no {call} failed: nothing was tried");
    }
    outcome.took = began.elapsed();
    Ok(Some(outcome))
}

fn strace() -> Option<PathBuf> {
    let path = ["/usr/bin/strace", "/usr/local/bin/strace"]
        .map(PathBuf::from)
        .into_iter()
        .find(|path| path.exists())?;
    let works = std::process::Command::new(&path).args(["-qq", "-o", "/dev/null", "true"]).status().ok()?;
    works.success().then_some(path)
}

/// A dozen events under this injection; then without it, and the judge. Whether the host met it: died, or was told of an
/// error.
async fn run(
    world: &mut World,
    judge: &mut Judge,
    (strace, inject): (&Path, &str),
    outcome: &mut Outcome,
) -> anyhow::Result<bool> {
    let (label, mut load) = (format!("{inject} {}", outcome.runs), Load::default());
    outcome.runs += 1;
    let (story, objects) = deeds(System::SagePro, &label, 1, |index| index == 0);
    world.stripe.seed(&objects).await?;
    let log = world.passes().with_file_name("strace.log");
    std::fs::write(&log, "")?;
    let trace = inject.split([':', '=']).nth(1).unwrap_or_default();
    let args = ["-D", "-f", "-qq", "-e", &format!("trace={trace}"), "-e", inject, "-o"].map(str::to_owned);
    let args = args.into_iter().chain([log.display().to_string()]).collect();
    drop(world.host.kill().await);
    world.host.start_under(Some((strace.to_owned(), args)));
    // It may die before it is up.
    let started = world.host.start_again().await.is_ok();
    let mut story = story.into_iter();
    for deed in story.by_ref().take(6) {
        judge.happens(0, &deed);
        load.send(&world.tenants[0], 0, deed, 0);
    }
    let (deadline, is_kill) = (now() + RUN, inject.contains("SIGKILL"));
    let failed = || std::fs::read_to_string(&log).is_ok_and(|text| text.contains("(INJECTED)"));
    while started && now() < deadline && !world.host.has_ended()? && (is_kill || !failed()) {
        if is_kill && world.is_at_rest().await.unwrap_or(false) && load.is_done() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    if started && !is_kill && failed() {
        for deed in story.take(3) {
            judge.happens(0, &deed);
            let answer = world.tenants[0].webhook(deed.body.as_bytes()).await;
            if let Ok((status, _)) = &answer
                && status.is_success()
            {
                outcome.findings.untrue(format!("{inject}: an event was acknowledged on a disk that fails"));
            }
            outcome.count.add("answers on a disk that fails");
            load.send(&world.tenants[0], 0, deed, 0);
        }
    }
    let met = if is_kill { !started || world.host.has_ended()? } else { failed() };
    drop(world.host.kill().await);
    world.host.start_under(None);
    world.host.start_again().await?;
    let done = load.all().await.unwrap_or_else(|text| {
        outcome.findings.restless(text);
        Vec::new()
    });
    rest(world, &mut outcome.findings, &mut outcome.count).await?;
    outcome.findings.join(judge.judge(world, &done, &mut outcome.count).await?);
    Ok(met)
}
