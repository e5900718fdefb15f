//! The compiled cache: what is in it is used, what was tampered with is not, and losing it costs time only.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use portolan_domain::Secret;
use portolan_sandbox::{LoadError, LoadedLimits, RunLimits, Sandbox};

use crate::{
    guests::Guest,
    setup::{Setup, charge, settings, skipped, unreachable},
};

fn artifact(setup: &Setup) -> PathBuf {
    let mut files = fs::read_dir(setup.folder.path().join("compiled")).unwrap();
    let file = files.next().unwrap().unwrap().path();
    assert!(files.next().is_none(), "one artifact, and nothing unfinished beside it");
    file
}

/// Another host on the same folder.
fn restarted(setup: &Setup) -> Sandbox {
    Sandbox::new(settings(&setup.folder)).unwrap()
}

#[tokio::test]
async fn an_admitted_module_is_loaded_after_a_restart_without_compiling() {
    let setup = Setup::new();
    let admitted = setup.admit(Guest::default().component()).await;
    let module = restarted(&setup).load(&admitted.digest, unreachable).await.unwrap();
    assert_eq!(module.digest(), &admitted.digest);
    assert!(matches!(
        Setup::new().sandbox.load(&admitted.digest, unreachable).await,
        Err(LoadError::Component(_))
    ));
}

#[tokio::test]
async fn a_lost_cache_is_compiled_again_once_for_all_who_wait() {
    let setup = Setup::new();
    let admitted = setup.admit(Guest::default().component()).await;
    fs::remove_dir_all(setup.folder.path().join("compiled")).unwrap();
    let sandbox = restarted(&setup);
    let asked = Arc::new(AtomicUsize::new(0));
    let loads: Vec<_> = (0..8)
        .map(|_| {
            let (sandbox, digest) = (sandbox.clone(), admitted.digest.clone());
            let (asked, component) = (asked.clone(), admitted.component.clone());
            tokio::spawn(async move {
                let component = || async move {
                    asked.fetch_add(1, Ordering::SeqCst);
                    Ok::<_, std::io::Error>(component)
                };
                sandbox.load(&digest, component).await.unwrap()
            })
        })
        .collect();
    for load in loads {
        let module = load.await.unwrap();
        let report = sandbox.transform(&setup.tenant, &module, charge(), &RunLimits::default()).await;
        assert_eq!(skipped(&report), "nothing");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_artifact_that_was_tampered_with_is_not_loaded_but_compiled_again() {
    let setup = Setup::new();
    let admitted = setup.admit(Guest::default().component()).await;
    let path = artifact(&setup);
    let sound = fs::read(&path).unwrap();
    let last = sound.len() - 1;
    let flipped = |position: usize| {
        let mut bytes = sound.clone();
        bytes[position] ^= 1;
        bytes
    };
    for tampered in [
        flipped(0),
        flipped(31),
        flipped(32),
        flipped(last / 2),
        flipped(last),
        sound[..last].to_vec(),
        vec![],
        // As a disk leaves it that lost its power: a part, or as long as it was, with nothing in it from somewhere on.
        sound[..last / 2].to_vec(),
        [&sound[..last / 2], &vec![0; sound.len() - last / 2]].concat(),
        vec![0; sound.len()],
    ] {
        fs::write(&path, &tampered).unwrap();
        let refused = restarted(&setup).load(&admitted.digest, unreachable).await;
        assert!(matches!(refused, Err(LoadError::Component(_))), "a forged artifact was loaded");
        let component = admitted.component.clone();
        let again =
            restarted(&setup).load(&admitted.digest, || async { Ok::<_, std::io::Error>(component) }).await;
        assert_eq!(again.unwrap().digest(), &admitted.digest);
        assert_eq!(fs::read(&path).unwrap(), sound, "compiling again gives the same bytes");
    }
}

#[tokio::test]
async fn an_artifact_of_another_module_or_another_key_is_not_loaded() {
    let setup = Setup::new();
    let one = setup.admit(Guest::default().component()).await;
    let path = artifact(&setup);
    let other = setup.admit(Guest::transforming("unreachable").component()).await;
    let name = path.file_name().unwrap().to_str().unwrap();
    let others = path.with_file_name(name.replace(one.digest.as_str(), other.digest.as_str()));
    fs::copy(&path, &others).unwrap();
    assert!(restarted(&setup).load(&other.digest, unreachable).await.is_err());

    let mut foreign = settings(&setup.folder);
    foreign.cache_key = Secret::new("another key of more than thirty-two bytes");
    assert!(Sandbox::new(foreign).unwrap().load(&one.digest, unreachable).await.is_err());
}

#[tokio::test]
async fn engines_that_meter_differently_keep_their_artifacts_apart() {
    let setup = Setup::new();
    let admitted = setup.admit(Guest::default().component()).await;
    let mut unmetered = settings(&setup.folder);
    unmetered.metering.fuel = false;
    unmetered.metering.epoch = false;
    let sandbox = Sandbox::new(unmetered).unwrap();
    let component = admitted.component.clone();
    let module =
        sandbox.load(&admitted.digest, || async { Ok::<_, std::io::Error>(component) }).await.unwrap();
    let report = sandbox.transform_here(&module, &charge(), &RunLimits::default());
    assert_eq!((skipped(&report), report.cost.fuel), ("nothing", 0));
    assert_eq!(fs::read_dir(setup.folder.path().join("compiled")).unwrap().count(), 2);
}

#[tokio::test]
async fn loaded_modules_are_bounded_and_one_that_was_unloaded_still_runs() {
    let setup =
        Setup::with(|settings| settings.loaded = LoadedLimits { modules_max: 2, bytes_max: usize::MAX });
    let mut modules = Vec::new();
    for number in 0..4 {
        let guest = Guest::transforming(&format!("(drop (i32.const {number})) (i32.const 200)"));
        modules.push(setup.guest(&guest).await);
    }
    assert_eq!(skipped(&setup.run(&modules[0]).await), "nothing");
    for (number, module) in modules.iter().enumerate() {
        let again = setup.sandbox.load(module.digest(), unreachable).await.unwrap();
        // The last two were still there; after that each load unloads the oldest.
        assert!(!Arc::ptr_eq(module, &again), "module {number} came from the cache on disk");
    }
}

#[tokio::test]
async fn a_component_that_is_not_what_was_admitted_is_refused_not_run() {
    let setup = Setup::new();
    let admitted = setup.admit(Guest::default().component()).await;
    fs::remove_file(artifact(&setup)).unwrap();
    let damaged = || async { Ok::<_, std::io::Error>(b"\0asm damaged".to_vec()) };
    assert!(matches!(restarted(&setup).load(&admitted.digest, damaged).await, Err(LoadError::Refused(_))));
    // The failure is not remembered: the next one to ask with the right bytes gets it.
    let sandbox = restarted(&setup);
    assert!(sandbox.load(&admitted.digest, damaged).await.is_err());
    let component = admitted.component.clone();
    assert!(sandbox.load(&admitted.digest, || async { Ok::<_, std::io::Error>(component) }).await.is_ok());
}
