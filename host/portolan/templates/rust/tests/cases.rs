//! The cases of `cases/`, natively: as fast as a test can be. `portolan module test` runs the same ones in the sandbox.

use __CRATE__::ChargeToDocument;

#[test]
fn every_case_ends_as_it_expects() {
    portolan_sdk::testing::cases::<ChargeToDocument>("cases");
}
