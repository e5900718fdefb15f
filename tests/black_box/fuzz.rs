//! The short form of `cargo xtask fuzz`: everything that parses bytes from outside.

use portolan_tests::fuzz::{TARGETS, Until, fuzz};

#[test]
fn no_bytes_break_what_parses_them() {
    for target in TARGETS {
        let found = fuzz(target, 7, Until::Tried(1_500)).unwrap();
        assert_eq!(found.broke.len(), 0, "{}: {:?}", target.name, found.broke.iter().next());
        assert!(found.seen > 1, "{} saw nothing", target.name);
    }
}
