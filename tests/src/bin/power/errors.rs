//! A disk that fails: every write, truncation and sync of a short workload, and of making the database, fails once; and
//! once it fails and everything after it, until the disk is well again. The store must never say `Ok` to what is lost,
//! must say `Unavailable` and nothing worse, must go on by itself when the disk is well, and must hold what it
//! acknowledged after that: on the disk as it is, and on one that lost its power then, for which a sync that
//! failed never happened.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::Context;
use portolan_store::{
    Store, StoreError,
    sqlite::{SqliteSettings, SqliteStore},
};
use portolan_tests::dice::Dice;

use crate::{
    disk::{Disk, FILES, Failure, Fault},
    image::{self, Contents, Files},
    judge::{Expected, Finding, judge},
    shim,
    workload::{Callers, Workload},
};

/// Callers whose steps fall into one another.
const CALLERS: usize = 3;

/// Steps of each caller after the disk is well again.
const STEPS_AFTER: usize = 2;

/// How often that is tried.
const ROUNDS_MAX: u64 = 10;

/// How thoroughly.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    /// Steps of each caller while the disk fails.
    pub(crate) steps: usize,
    /// Every operation with every failure, once and lasting; else every operation once, in one way.
    pub(crate) thorough: bool,
    /// What the steps follow from.
    pub(crate) seed: u64,
    /// This case only, as a finding names it, so many times.
    pub(crate) again: Option<(Case, usize)>,
}

/// A database with its callers, closed: every case begins with a copy.
struct Template {
    contents: Contents,
    callers: Callers,
}

/// One thing to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Case {
    fault: Fault,
    when: When,
}

/// When the disk fails, and who goes on when it is well again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// While the database is made.
    Making,
    /// While it is used.
    Using,
    /// While it is used, by a store that is closed before the disk is well; another goes on.
    UsingToTheEnd,
}

/// `Using 320 Full lasting`
impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Fault { at, lasting, failure } = self.fault;
        write!(f, "{:?} {at} {failure:?} {}", self.when, if lasting { "lasting" } else { "once" })
    }
}

impl std::str::FromStr for Case {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all =
            Failure::ALL.into_iter().flat_map(|failure| [false, true].map(|lasting| (failure, lasting)));
        let at = text.split(' ').nth(1).and_then(|number| number.parse().ok()).unwrap_or(0);
        all.flat_map(|(failure, lasting)| {
            [When::Making, When::Using, When::UsingToTheEnd]
                .map(|when| Self { fault: Fault { at, lasting, failure }, when })
        })
        .find(|case| case.to_string() == text)
        .ok_or_else(|| "as a finding names it: `Using 320 Full lasting`".to_owned())
    }
}

/// What came of all cases.
#[derive(Default)]
struct Book {
    /// Cases in which something failed.
    met: AtomicUsize,
    /// Steps that were refused.
    refused: AtomicUsize,
    findings: Mutex<Vec<(Case, Finding)>>,
}

/// In half of the cases the log is so short that it begins anew within the case; in the others it never does, so that
/// what was acknowledged is in the log alone.
fn settings(case: Case) -> SqliteSettings {
    let log_kib_max = if case.fault.at.is_multiple_of(2) { 64 } else { 64 * 1_024 };
    SqliteSettings { readers: 1, log_kib_max, ..SqliteSettings::default() }
}

/// Tries every failure. True when the store took them all well.
pub(crate) fn prove(scratch: &Path, effort: Effort) -> anyhow::Result<bool> {
    let template = template(&scratch.join("template"))?;
    let cases = cases(&template, scratch, effort)?;
    let book = Book::default();
    let next = AtomicUsize::new(0);
    let try_some = |thread: usize| {
        let folder = scratch.join(format!("case-{thread}"));
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            let found = attempt(&template, *case, &folder, effort, &book)?;
            if let Err(finding) = found {
                book.findings.lock().unwrap_or_else(PoisonError::into_inner).push((*case, finding));
            }
        }
        anyhow::Ok(())
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let try_some = &try_some;
        let threads: Vec<_> = (0..threads).map(|thread| scope.spawn(move || try_some(thread))).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| anyhow::anyhow!("a case panicked"))?)
    })?;
    let findings = book.findings.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!(
        "disk errors: {} cases, {} met ({} steps refused)  broken promises {}",
        cases.len(),
        book.met.load(Ordering::Relaxed),
        book.refused.load(Ordering::Relaxed),
        findings.len()
    );
    for (case, finding) in findings.iter().take(5) {
        println!("  {finding:?}\n    again: power --only errors --seed {} --case \"{case}\"", effort.seed);
    }
    Ok(findings.is_empty())
}

/// Every operation of the workload as it goes without a failure, and of making the database, with every failure.
fn cases(template: &Template, scratch: &Path, effort: Effort) -> anyhow::Result<Vec<Case>> {
    if let Some((case, times)) = effort.again {
        return Ok(vec![case; times]);
    }
    let folder = scratch.join("counted");
    let never = Fault { at: usize::MAX, lasting: false, failure: Failure::Broken };
    let mut cases = Vec::new();
    for when in [When::Making, When::Using] {
        let case = Case { fault: never, when };
        let disk = prepare(template, case, &folder)?;
        let used = use_store(template, case, &disk, effort);
        let operations = disk.operations();
        shim::leave(&disk);
        used.map_err(|finding| anyhow::anyhow!("without a failure: {finding:?}"))?;
        for at in 0..operations {
            // In brief, every operation fails in one way.
            let all = Failure::ALL.len();
            let (first, ways) = if effort.thorough { (0, all) } else { (at % all, 1) };
            for failure in Failure::ALL.into_iter().skip(first).take(ways) {
                cases.push(Case { fault: Fault { at, lasting: false, failure }, when });
            }
            if effort.thorough {
                for failure in [Failure::Broken, Failure::Full] {
                    let fault = Fault { at, lasting: true, failure };
                    cases.push(Case { fault, when });
                    if when == When::Using {
                        cases.push(Case { fault, when: When::UsingToTheEnd });
                    }
                }
            }
        }
    }
    Ok(cases)
}

fn template(folder: &Path) -> anyhow::Result<Template> {
    let disk = Disk::new(folder, std::time::Duration::ZERO);
    std::fs::create_dir_all(folder)?;
    let file = folder.join(FILES[0]);
    let runtime = runtime()?;
    let callers = runtime.block_on(async {
        let store: Arc<dyn Store> = SqliteStore::open(&file)?;
        let workload = Arc::new(Workload::set_up(store, disk, CALLERS).await);
        // Something of everything, so that what fails later has something to do.
        workload.run(30, 7).await?;
        anyhow::Ok(Arc::into_inner(workload).context("a caller is still at work")?.leave())
    })?;
    Ok(Template { contents: Contents::from([(0, std::fs::read(file)?)]), callers })
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?)
}

/// A folder for a case: the template, or nothing when the database is yet to be made.
fn prepare(template: &Template, case: Case, folder: &Path) -> anyhow::Result<Arc<Disk>> {
    let nothing = Contents::new();
    let contents = if case.when == When::Making { &nothing } else { &template.contents };
    image::write(contents, folder, &mut Dice::new(1))?;
    drop(std::fs::remove_file(folder.join("portolan.db-shm")));
    let disk = Disk::new(folder, std::time::Duration::ZERO);
    shim::watch(&disk);
    Ok(disk)
}

fn file_of(disk: &Disk) -> PathBuf {
    disk.folder().join(FILES[0])
}

/// How a case went before anything was judged.
struct Used {
    failed: usize,
    refused: usize,
}

/// Opens and uses the store while its disk fails, then goes on when it is well. Closes it.
fn use_store(template: &Template, case: Case, disk: &Arc<Disk>, effort: Effort) -> Result<Used, Finding> {
    let runtime = runtime().map_err(|error| Finding::Stuck(error.to_string()))?;
    if case.when == When::Making {
        disk.plan(Some(case.fault));
        let refused = match SqliteStore::open_with(&file_of(disk), &settings(case)) {
            Ok(store) => {
                drop(store);
                0
            }
            Err(error) => only_unavailable(error).map(|()| 1)?,
        };
        let failed = disk.heal();
        let store = SqliteStore::open_with(&file_of(disk), &settings(case)).map_err(stuck)?;
        runtime.block_on(async { portolan_store::Upkeep::ping(&*store).await }).map_err(stuck)?;
        return Ok(Used { failed, refused });
    }
    let store = SqliteStore::open_with(&file_of(disk), &settings(case)).map_err(stuck)?;
    disk.plan(Some(case.fault));
    runtime.block_on(async {
        let workload = Arc::new(Workload::enter(template.callers.clone(), store, disk.clone()));
        let mut refused = 0;
        for (_, stepped) in workload.run_all(effort.steps, effort.seed).await {
            if let Err(error) = stepped {
                only_unavailable(error)?;
                refused += 1;
            }
        }
        if case.when == When::Using {
            let failed = disk.heal();
            recovers(&workload, effort.seed).await?;
            return Ok(Used { failed, refused });
        }
        let workload = Arc::into_inner(workload);
        let callers = workload.ok_or_else(|| Finding::Stuck("a caller is still at work".to_owned()))?.leave();
        let failed = disk.heal();
        let store = SqliteStore::open_with(&file_of(disk), &settings(case)).map_err(stuck)?;
        recovers(&Arc::new(Workload::enter(callers, store, disk.clone())), effort.seed).await?;
        Ok(Used { failed, refused })
    })
}

/// Nobody has to restart anything: after some tries everything goes through again. Not at once, because a failure of the
/// thread that copies is noticed by the next commit, and whoever has a file open is told once of a sync that failed.
async fn recovers(workload: &Arc<Workload>, seed: u64) -> Result<(), Finding> {
    let mut last = None;
    for round in 1..=ROUNDS_MAX {
        last = workload.ping().await.err();
        let steps = workload.run_all(STEPS_AFTER, seed.wrapping_add(round)).await;
        last = steps.into_iter().filter_map(|(_, stepped)| stepped.err()).next().or(last);
        if last.is_none() {
            return Ok(());
        }
    }
    last.map_or(Ok(()), |error| Err(stuck(error)))
}

fn stuck(error: StoreError) -> Finding {
    Finding::Stuck(format!("after the disk was well again: {}", crate::judge::told(&error)))
}

/// A failure of the disk is nothing else than that.
fn only_unavailable(error: StoreError) -> Result<(), Finding> {
    match error {
        StoreError::Unavailable(_) => Ok(()),
        StoreError::NotFound | StoreError::Conflict(_) | StoreError::Corrupt { .. } => {
            Err(Finding::Unsound(format!("a caller was told: {}", crate::judge::told(&error))))
        }
    }
}

/// One case, judged twice: with what is on the disk, and with what a loss of power leaves of it.
fn attempt(
    template: &Template,
    case: Case,
    folder: &Path,
    effort: Effort,
    book: &Book,
) -> anyhow::Result<Result<(), Finding>> {
    let disk = prepare(template, case, folder)?;
    let used = use_store(template, case, &disk, effort);
    shim::leave(&disk);
    let used = match used {
        Ok(used) => used,
        Err(finding) => return Ok(Err(finding)),
    };
    book.met.fetch_add(usize::from(used.failed > 0), Ordering::Relaxed);
    book.refused.fetch_add(used.refused, Ordering::Relaxed);
    let (log, facts) = disk.take();
    let expected = Expected { facts: &facts, states: None };
    let mut files = if case.when == When::Making { Files::default() } else { Files::of(&template.contents) };
    log.iter().for_each(|entry| files.go_on(entry));
    if let Err(finding) = judge(folder, &expected) {
        return Ok(Err(finding));
    }
    let mut dice = Dice::new(Dice::seed_of(effort.seed, case.fault.at as u64));
    image::write(&files.after_loss(&mut dice), folder, &mut dice)?;
    Ok(judge(folder, &expected))
}
