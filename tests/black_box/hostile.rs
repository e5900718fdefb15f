//! The short form of `cargo xtask hostile`: two cheap cases of each number, and every bomb, once against a real host.

use std::collections::BTreeMap;

use portolan_tests::{
    hostile::{Expected, Heavy, arena::Arena, cases},
    portolan,
};

#[tokio::test]
async fn every_cheap_hostile_module_is_contained() {
    let mut arena = Arena::start(portolan(), 7, &[]).await.unwrap();
    let mut problems = Vec::new();
    let mut numbers: BTreeMap<u8, usize> = BTreeMap::new();
    for case in cases().into_iter().filter(|case| case.heavy == Heavy::No) {
        let before = numbers.entry(case.number).or_default();
        *before += 1;
        // Bombs are refused before a compiler is started, which is what takes time.
        let bomb = matches!(case.expected, Expected::Refused(codes) if codes == ["module-too-complex"]);
        if *before > 2 && !bomb {
            continue;
        }
        let (seen, _) = arena.prove(&case, 1).await.unwrap();
        problems.extend(seen.problems.iter().map(|problem| format!("{case:?}: {problem}")));
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert_eq!(arena.exits, 0);
    assert!(numbers.len() >= 20, "{numbers:?}");
}
