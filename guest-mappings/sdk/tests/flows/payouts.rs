//! Payouts: the journals, what holds them, and what takes them back.

use portolan_sdk::{
    contract::Plan,
    money::Decimal,
    prelude::json,
    testing::{Ended, TestObject, balance_transaction, list, payout},
};
use proptest::prelude::*;
use serde_json::Value;

use super::{balance, balances, deferred, facts, get, keys, settings, trial};

type Trial = super::Trial<super::Fake>;

fn paid(id: &str, minor: i64, currency: &str) -> Value {
    json!({"id": id, "object": if id.starts_with("re_") { "refund" } else { "charge" }, "amount": minor,
        "currency": currency, "charge": "ch_a"})
}

/// A payout of so much, and its rows with the payout's own among them.
fn of(event: &str, flow: Value, amount: i64, rows: &[TestObject]) -> Trial {
    let object = payout("po_1", amount, "usd");
    let own = balance_transaction("payout", "usd", (-amount, 0), json!("po_1")).with("id", json!("txn_1"));
    let all: Vec<&TestObject> = std::iter::once(&own).chain(rows).collect();
    get(trial(&object.event(event), flow), "payout.get", &object).query(
        "stripe",
        "balance-transactions.by-payout",
        json!({"payout": "po_1"}),
        list(&all),
    )
}

fn known(trial: Trial) -> Trial {
    ["ch_a", "ch_b", "ch_eur"]
        .iter()
        .fold(trial, |trial, id| {
            trial.reference("stripe.charge", id, json!({"fake.payment": format!("P-{id}")}))
        })
        .reference("stripe.refund", "re_a", json!({"fake.refund": "R-1"}))
        .reference("stripe.refund", "re_eur", json!({"fake.refund": "R-2"}))
        .reference("stripe.balance-transaction", "txn_dispute_dp_1", json!({"fake.journal": "J-1"}))
}

/// 100.00 + 50.00 - 20.00 - 30.00 - 15.00 (dispute) - 2.00, fees 3.20 + 1.75 (0.25 of it tax): 78.05
fn domestic() -> Vec<TestObject> {
    let taxed = json!([{"amount": 150, "currency": "usd", "type": "stripe_fee"}, {"amount": 25, "currency": "usd", "type": "tax"}]);
    vec![
        balance_transaction("charge", "usd", (10_000, 320), paid("ch_a", 10_000, "usd")),
        balance_transaction("charge", "usd", (5_000, 175), paid("ch_b", 5_000, "usd"))
            .with("fee_details", taxed),
        balance_transaction("refund", "usd", (-2_000, 0), paid("re_a", 2_000, "usd")),
        balance_transaction("dispute", "usd", (-3_000, 1_500), json!("dp_1")),
        balance_transaction("fee", "usd", (-200, 0), json!(null)).with("id", json!("txn_fee")),
    ]
}

const DOMESTIC: i64 = 7_805;

/// 108.00 for 100.00 EUR, fee 3.00; -21.60 for -20.00 EUR: 83.40
fn foreign() -> Vec<TestObject> {
    vec![
        balance_transaction("charge", "usd", (10_800, 300), paid("ch_eur", 10_000, "eur"))
            .with("exchange_rate", json!(1.08)),
        balance_transaction("refund", "usd", (-2_160, 0), paid("re_eur", 2_000, "eur"))
            .with("exchange_rate", json!(1.08)),
    ]
}

const RECONCILED: &str = "payout.reconciliation_completed";

#[test]
fn a_payout_is_one_balanced_journal() {
    let ended = known(of(RECONCILED, json!({}), DOMESTIC, &domestic())).run();
    insta::assert_json_snapshot!(ended.json());
    let plan = ended.plan();
    assert_eq!(balance(plan, "bank", "USD"), "78.05");
    // All that the charges, the refund and the dispute left there.
    assert_eq!(balance(plan, "clearing", "USD"), "-85.00");
    assert_eq!(
        (balance(plan, "fees", "USD"), balance(plan, "input-tax", "USD")),
        ("6.70".into(), "0.25".into())
    );
}

#[test]
fn the_order_of_rows_makes_no_difference() {
    let mut rows = domestic();
    let told = known(of(RECONCILED, json!({}), DOMESTIC, &rows)).run();
    rows.reverse();
    assert_eq!(known(of(RECONCILED, json!({}), DOMESTIC, &rows)).run().outcome, told.outcome);
}

#[test]
fn lines_by_category() {
    let flow = json!({"payout": {"lines": "per-category"}});
    let rows: Vec<_> = domestic().into_iter().chain(foreign()).collect();
    let ended = known(of(RECONCILED, flow, DOMESTIC + 8_340, &rows)).run();
    insta::assert_json_snapshot!(ended.json()["outcome"]["deliver"]["deliveries"]);
    assert_eq!(balance(ended.plan(), "bank", "USD"), "161.45");
}

#[test]
fn another_currency_goes_through_the_conversion_account() {
    let ended = known(of(RECONCILED, json!({}), 8_340, &foreign())).run();
    insta::assert_json_snapshot!(ended.json()["outcome"]["deliver"]["deliveries"]);
    let plan = ended.plan();
    assert_eq!(facts(plan)[..2], ["payout/po_1/1", "payout/po_1/2"]);
    assert_eq!(balance(plan, "clearing", "EUR"), "-80.00");
    assert_eq!(
        (balance(plan, "conversion", "EUR"), balance(plan, "conversion", "USD")),
        ("80.00".into(), "-86.40".into())
    );
    assert_eq!(balance(plan, "clearing", "USD"), "0");
}

#[test]
fn fees_that_were_posted_with_their_charges_are_not_posted_again() {
    let flow = json!({"fees": "with-charge"});
    let world = || known(of(RECONCILED, flow.clone(), DOMESTIC, &domestic()));
    let done = world()
        .reference("stripe.balance-transaction", "txn_charge_ch_a", json!({"fake.journal": "F-1"}))
        .reference("stripe.balance-transaction", "txn_charge_ch_b", json!({"fake.journal": "F-2"}))
        .run();
    // The dispute's was posted with it, so Stripe's own fee is left.
    assert_eq!(balance(done.plan(), "fees", "USD"), "2.00");
    assert_eq!(balance(done.plan(), "clearing", "USD"), "-80.05");
    // One that was not is posted now, as the fact that its charge tells.
    let late = world()
        .reference("stripe.balance-transaction", "txn_charge_ch_a", json!({"fake.journal": "F-1"}))
        .run();
    assert_eq!(facts(late.plan())[..2], ["fee/txn_charge_ch_b", "payout/po_1/1"]);
    assert_eq!(late.body("journal-1"), done.body("journal-1"));
    // Switched back: what was posted stays posted.
    let switched = known(of(RECONCILED, json!({}), DOMESTIC, &domestic()))
        .reference("stripe.balance-transaction", "txn_charge_ch_a", json!({"fake.journal": "F-1"}))
        .run();
    assert_eq!(balance(switched.plan(), "fees", "USD"), "3.50");
}

#[test]
fn fees_of_unknown_charges_come_with_the_payout_and_are_remembered() {
    let rows = [balance_transaction("charge", "usd", (1_000, 59), paid("ch_new", 1_000, "usd"))];
    let ended = of(RECONCILED, json!({"fees": "with-charge", "payout": {"patience": 0}}), 941, &rows).run();
    let held = ended.held();
    assert!(held.reason.contains("1 of 1 transactions"), "{}", held.reason);
    assert!(held.plan.deliveries[0].captures.iter().any(|capture| capture.key.id == "txn_charge_ch_new"));
}

#[test]
fn many_late_fees_come_with_the_payout_when_a_person_says_so() {
    let rows: Vec<_> = (0..40)
        .map(|number| {
            balance_transaction("charge", "usd", (100, 3), paid(&format!("ch_{number}"), 100, "usd"))
        })
        .collect();
    let world = of(RECONCILED, json!({"fees": "with-charge"}), 40 * 97, &rows);
    let world = (0..40).fold(world, |trial, number| {
        trial.reference("stripe.charge", &format!("ch_{number}"), json!({"fake.payment": "P"}))
    });
    let ended = world.run();
    let held = ended.held();
    assert!(held.reason.contains("the fees of 40 charges were not posted with them"), "{}", held.reason);
    assert_eq!(
        (balance(&held.plan, "fees", "USD"), balance(&held.plan, "clearing", "USD")),
        ("1.20".into(), "-40.00".into())
    );
    assert_eq!(held.plan.deliveries[0].captures.len(), 41);
}

#[test]
fn what_the_erp_does_not_know_waits_for_a_person_with_the_list() {
    let early = of(RECONCILED, json!({}), DOMESTIC, &domestic()).attempt(20).run();
    assert!(deferred(&early).contains("4 of 5"), "the charges may be on their way");
    let ended = of(RECONCILED, json!({}), DOMESTIC, &domestic()).attempt(21).run();
    let held = ended.held();
    assert_eq!(held.reason, "the ERP does not know 4 of 5 transactions of the payout po_1");
    let detail: Value = serde_json::from_str(&held.plan.alerts[0].detail).unwrap();
    assert_eq!(detail["unmatched"].as_array().unwrap().len(), 4);
    assert_eq!(detail["unmatched"][0]["source"], "ch_a");
    assert!(facts(&held.plan).contains(&"payout/po_1/1"));
    let waits =
        of(RECONCILED, json!({"payout": {"unmatched": "defer"}}), DOMESTIC, &domestic()).attempt(99).run();
    assert!(deferred(&waits).contains("4 of 5"));
}

/// Held with nothing to post.
fn problem(amount: i64, rows: &[TestObject]) -> String {
    let ended = known(of(RECONCILED, json!({}), amount, rows)).run();
    assert!(keys(&ended.held().plan).is_empty());
    assert_eq!(ended.held().plan.alerts[0].code, "payout-held");
    ended.held().reason.clone()
}

#[test]
fn what_does_not_add_up_waits_for_a_person() {
    assert!(problem(DOMESTIC + 1, &domestic()).contains("the difference is 0.01 USD"));
    let change = |index: usize, field: &str, value: Value| {
        let mut rows = domestic();
        rows[index] = rows[index].clone().with(field, value);
        problem(DOMESTIC, &rows)
    };
    assert!(change(0, "net", json!(9_681)).contains("another net than amount less fee"));
    assert!(change(0, "currency", json!("eur")).contains("is in EUR, the payout in USD"));
    assert!(
        change(1, "fee_details", json!([{"amount": 1, "type": "tax"}])).contains("whose parts do not add up")
    );
    assert!(change(1, "id", json!("txn_charge_ch_a")).contains("listed twice"));
    assert!(
        change(4, "reporting_category", json!("climate_order_purchase"))
            .contains(r#"categories "climate_order_purchase""#)
    );
    let mut rows = foreign();
    rows[0] = rows[0].clone().with("source", json!("ch_eur"));
    assert!(problem(8_340, &rows).contains("does not say from what"));
}

#[test]
fn categories_of_the_tenant_have_their_accounts() {
    let mut rows = domestic();
    rows[4] = rows[4].clone().with("reporting_category", json!("other_adjustment"));
    let accounts = json!({"bank": {"USD": "b"}, "clearing": "c", "fees": {"default": "f"}, "categories": {"other_adjustment": "a"}});
    let ended = known(of(RECONCILED, json!({"accounts": accounts}), DOMESTIC, &rows)).run();
    assert_eq!(balance(ended.plan(), "a", "USD"), "2.00");
}

#[test]
fn a_refund_that_failed_before_it_was_posted_leaves_no_line() {
    let mut rows = domestic();
    rows.push(balance_transaction("refund", "usd", (-700, 0), paid("re_x", 700, "usd")));
    rows.push(balance_transaction("refund_failure", "usd", (700, 0), paid("re_x", 700, "usd")));
    let with = known(of(RECONCILED, json!({}), DOMESTIC, &rows)).run();
    let without = known(of(RECONCILED, json!({}), DOMESTIC, &domestic())).run();
    assert_eq!(with.outcome, without.outcome);
}

#[test]
fn a_refund_that_failed_and_was_never_posted_meets_its_return_on_the_clearing_account() {
    // Its money left with one payout and came back with another.
    let failed = || {
        let mut source = paid("re_x", 700, "usd");
        source["status"] = json!("failed");
        source
    };
    let left = [domestic(), vec![balance_transaction("refund", "usd", (-700, 0), failed())]].concat();
    let ended = known(of(RECONCILED, json!({}), DOMESTIC - 700, &left)).run();
    assert_eq!(balance(ended.plan(), "clearing", "USD"), "-78.00");
    let back = [domestic(), vec![balance_transaction("refund_failure", "usd", (700, 0), failed())]].concat();
    let ended = known(of(RECONCILED, json!({}), DOMESTIC + 700, &back)).run();
    assert_eq!(balance(ended.plan(), "clearing", "USD"), "-92.00");
}

#[test]
fn a_payout_waits_for_its_reconciliation_and_a_manual_one_for_a_person() {
    assert!(of("payout.paid", json!({}), DOMESTIC, &domestic()).run().skipped().contains("reconciliation"));
    let manual = payout("po_1", 5_000, "usd")
        .with("automatic", json!(false))
        .with("reconciliation_status", json!("not_applicable"));
    let own = balance_transaction("payout", "usd", (-5_000, 50), json!("po_1")).with("id", json!("txn_1"));
    let ended = get(trial(&manual.event("payout.paid"), json!({})), "balance-transaction.get", &own).run();
    insta::assert_json_snapshot!(ended.json());
    assert!(trial(&manual.event(RECONCILED), json!({})).run().skipped().contains("manual payout"));
}

fn failed(flow: Value, posted: Value) -> Ended {
    let object = payout("po_1", DOMESTIC, "usd")
        .with("status", json!("failed"))
        .with("failure_code", json!("account_closed"));
    let own = balance_transaction("payout", "usd", (-DOMESTIC, 0), json!("po_1"));
    let rows = domestic();
    let all: Vec<&TestObject> = std::iter::once(&own).chain(&rows).collect();
    known(trial(&object.event("payout.failed"), flow))
        .query("stripe", "balance-transactions.by-payout", json!({"payout": "po_1"}), list(&all))
        .reference("stripe.payout", "po_1", posted)
        .run()
}

#[test]
fn a_payout_that_failed_is_taken_back_part_by_part() {
    assert!(failed(json!({}), json!({})).skipped().contains("never posted"));
    insta::assert_json_snapshot!(failed(json!({}), json!({"fake.journal": "J-7"})).json());
    let split = json!({"payout": {"lines_max": 4}});
    let parts = json!({"fake.journal": "J-7", "fake.journal.2": "J-8", "fake.journal.3": "J-9", "fake.journal.4": "J-10"});
    let ended = failed(split.clone(), parts);
    assert_eq!(facts(ended.plan())[..2], ["payout-reversal/po_1/1", "payout-reversal/po_1/2"]);
    let posted = known(of(RECONCILED, split.clone(), DOMESTIC, &domestic())).run();
    for part in 1..=4 {
        assert_eq!(
            ended.body(&format!("reversal-{part}"))["lines"],
            posted.body(&format!("journal-{part}"))["lines"]
        );
    }
    let differs = failed(split, json!({"fake.journal": "J-7", "fake.journal.2": "J-8"}));
    assert!(
        differs.held().reason.contains("has 2 journals of po_1, and now it would be 4"),
        "{}",
        differs.held().reason
    );
    // A payout that failed before it was reconciled is not posted any more.
    let gone = payout("po_1", DOMESTIC, "usd").with("status", json!("failed"));
    let late = trial(&payout("po_1", DOMESTIC, "usd").event(RECONCILED), json!({}));
    assert!(get(late, "payout.get", &gone).run().skipped().contains("failed since"));
}

/// A later payout that the failed one comes back in, with 10.00 of its own.
fn returning(inside: &[TestObject]) -> Trial {
    let object = payout("po_2", DOMESTIC + 1_000 - 59, "usd");
    let own = balance_transaction("payout", "usd", (-DOMESTIC, 0), json!("po_1"));
    let back = balance_transaction("payout_reversal", "usd", (DOMESTIC, 0), json!("po_1"));
    let charge = balance_transaction("charge", "usd", (1_000, 59), paid("ch_eur", 1_000, "usd"));
    let inside: Vec<&TestObject> = [&own, &back].into_iter().chain(inside).collect();
    known(trial(&object.event(RECONCILED), json!({})))
        .query("stripe", "balance-transactions.by-payout", json!({"payout": "po_2"}), list(&[&back, &charge]))
        .query("stripe", "balance-transactions.by-payout", json!({"payout": "po_1"}), list(&inside))
        .reference("stripe.payout", "po_1", json!({"fake.journal": "J-7"}))
}

#[test]
fn what_was_in_a_payout_that_failed_comes_with_the_one_that_it_returns_in() {
    // The failed one's journal was reversed, so all of it is posted now, its fees among it.
    let ended = returning(&domestic()).run();
    let plan = ended.plan();
    assert_eq!(
        (balance(plan, "bank", "USD"), balance(plan, "clearing", "USD")),
        ("87.46".into(), "-95.00".into())
    );
    assert_eq!(
        (balance(plan, "fees", "USD"), balance(plan, "input-tax", "USD")),
        ("7.29".into(), "0.25".into())
    );
    // A fee that the reversed journal had brought was taken back with it.
    let again = returning(&domestic())
        .reference("stripe.balance-transaction", "txn_charge_ch_a", json!({"fake.journal": "J-7"}))
        .run();
    assert_eq!(again.outcome, ended.outcome);
    let unknown = returning(&[]).run();
    assert!(unknown.held().reason.contains("brings back po_1, and what was in that is not known"));
    // Out and back in one list is nothing.
    let mut rows = domestic();
    rows.push(balance_transaction("payout", "usd", (-300, 0), json!("po_0")));
    rows.push(balance_transaction("payout_reversal", "usd", (300, 0), json!("po_0")));
    let within = known(of(RECONCILED, json!({}), DOMESTIC, &rows)).run();
    assert_eq!(within.outcome, known(of(RECONCILED, json!({}), DOMESTIC, &domestic())).run().outcome);
}

#[test]
fn a_payout_beyond_the_lines_of_a_plan_is_posted_by_category() {
    let rows: Vec<_> = (0..2_500)
        .map(|number| {
            let id = format!("ch_{number}");
            balance_transaction("charge", "usd", (100, 3), paid(&id, 100, "usd"))
        })
        .collect();
    let ended = (0..2_500)
        .fold(of(RECONCILED, json!({}), 97 * 2_500, &rows), |trial, number| {
            trial.reference("stripe.charge", &format!("ch_{number}"), json!({"fake.payment": "P"}))
        })
        .run();
    assert_eq!((ended.plan().alerts[0].code.as_str(), ended.rounds), ("payout-aggregated", 4));
    assert_eq!(balance(ended.plan(), "clearing", "USD"), "-2500.00");
    assert!(settings(json!({})).is_object());
}

/// A row of a random payout: category, amount, fee, and whether it was paid in euro (at any rate).
fn row() -> impl Strategy<Value = (usize, i64, i64, Option<i64>)> {
    (0usize..5, 1i64..5_000_000, 0i64..90_000, prop::option::of(1i64..5_000_000))
}

fn checked(plan: &Plan, lines_max: usize) -> Result<(), TestCaseError> {
    for delivery in plan.deliveries.iter().filter(|delivery| delivery.connection == "erp") {
        prop_assert!(delivery.ledger.len() <= lines_max, "{} lines", delivery.ledger.len());
        prop_assert!(
            balances([delivery]).is_empty() || balances([delivery]).values().sum::<Decimal>().is_zero()
        );
    }
    prop_assert_eq!(balance(plan, "transit", "USD"), "0");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Recomputed from the rows alone: what each account must have, whatever the split and the grouping.
    #[test]
    fn any_payout_is_posted_to_the_unit(
        rows in prop::collection::vec(row(), 1..60),
        lines_max in 4usize..40,
        per_category in any::<bool>(),
    ) {
        let categories = ["charge", "refund", "refund_failure", "dispute", "fee"];
        let (mut net, mut fees, mut clearing, mut conversion, mut euro) = (0i64, 0i64, 0i64, 0i64, 0i64);
        let mut world = Vec::new();
        for (number, (category, amount, fee, paid_in_euro)) in rows.iter().enumerate() {
            let name = categories[*category];
            let signed = if matches!(name, "refund" | "dispute" | "fee") { -amount } else { *amount };
            let fee = if matches!(name, "charge" | "dispute") { *fee } else { 0 };
            let prefix = match name { "charge" => "ch", "refund" | "refund_failure" => "re", _ => "xx" };
            let id = format!("{prefix}_{number}");
            let euro_paid = paid_in_euro.filter(|_| *category < 3);
            let source = euro_paid.map_or_else(|| paid(&id, *amount, "usd"), |minor| paid(&id, minor, "eur"));
            world.push((id, balance_transaction(name, "usd", (signed, fee), source)));
            net += signed - fee;
            match (name, euro_paid) {
                ("fee", _) => fees -= signed,
                ("dispute", _) => clearing -= signed - fee,
                (_, Some(minor)) => { conversion -= signed; euro -= if signed < 0 { -minor } else { minor }; fees += fee; }
                (_, None) => { clearing -= signed; fees += fee; }
            }
        }
        let objects: Vec<TestObject> = world.iter().map(|(_, row)| row.clone()).collect();
        let lines = if per_category { "per-category" } else { "per-transaction" };
        let flow = json!({"payout": {"lines": lines, "lines_max": lines_max}});
        let known = world.iter().fold(of(RECONCILED, flow, net, &objects), |trial, (id, row)| {
            let txn = row.object()["id"].as_str().unwrap();
            trial
                .reference("stripe.charge", id, json!({"fake.payment": "P"}))
                .reference("stripe.refund", id, json!({"fake.refund": "R"}))
                .reference("stripe.balance-transaction", if txn.contains("dispute") { txn } else { "none" }, json!({"fake.journal": "J"}))
        });
        let ended = known.run();
        let plan = ended.plan();
        checked(plan, lines_max)?;
        let decimal = |minor: i64| { let text = Decimal::new(minor, 2); if text.is_zero() { "0".to_owned() } else { text.to_string() } };
        prop_assert_eq!(balance(plan, "bank", "USD"), decimal(net));
        prop_assert_eq!(balance(plan, "fees", "USD"), decimal(fees));
        prop_assert_eq!(balance(plan, "clearing", "USD"), decimal(clearing));
        prop_assert_eq!(balance(plan, "conversion", "USD"), decimal(conversion));
        prop_assert_eq!(balance(plan, "clearing", "EUR"), decimal(euro));
        prop_assert_eq!(balance(plan, "conversion", "EUR"), decimal(-euro));
    }
}
