//! The month: whatever the seed and the size, every unit is accounted for and every event is one that could have been.

use std::collections::{BTreeMap, BTreeSet};

use portolan_simulators::story::books::Outcome;
use portolan_simulators::story::month::{DAYS, MONTH_START, Month, MonthSettings};
use proptest::prelude::*;
use serde_json::Value;

fn play(seed: u64, charges: usize) -> Month {
    Month::play(MonthSettings { seed, charges, ..MonthSettings::default() })
}

fn text<'a>(object: &'a Value, name: &str) -> &'a str {
    object[name].as_str().unwrap_or_default()
}

fn number(object: &Value, name: &str) -> i64 {
    object[name].as_i64().unwrap_or_else(|| panic!("{name} of {object}"))
}

fn of<'a>(month: &'a Month, kind: &str) -> impl Iterator<Item = &'a Value> {
    month.objects.iter().filter(move |object| object["object"] == kind)
}

fn by_id(month: &Month) -> BTreeMap<&str, &Value> {
    month.objects.iter().map(|object| (text(object, "id"), object)).collect()
}

/// Every law of a month, each with what breaks it.
fn check(month: &Month) {
    let objects = by_id(month);
    assert_eq!(objects.len(), month.objects.len(), "ids are unique");
    balances(month, &objects);
    charges(month, &objects);
    payouts(month);
    events(month, &objects);
    invoices(month);
    for object in &month.objects {
        links(object, &objects);
    }
}

fn balances(month: &Month, objects: &BTreeMap<&str, &Value>) {
    for transaction in of(month, "balance_transaction") {
        let fees: i64 =
            transaction["fee_details"].as_array().unwrap().iter().map(|fee| number(fee, "amount")).sum();
        assert_eq!(number(transaction, "fee"), fees, "{transaction}");
        assert_eq!(number(transaction, "net"), number(transaction, "amount") - fees, "{transaction}");
        assert_eq!(text(transaction, "currency"), "usd");
        let source = transaction["source"].as_str().and_then(|source| objects.get(source));
        assert!(
            source.is_some() || matches!(text(transaction, "type"), "stripe_fee" | "tax_fee"),
            "{transaction}"
        );
        // What was converted comes out as the rate says, to the cent.
        if let (Some(rate), Some(source)) = (transaction["exchange_rate"].as_number(), source) {
            let micro: i128 = rate.to_string().replace('.', "").parse().unwrap();
            let amount = source.get("amount_captured").unwrap_or(&source["amount"]).as_i64().unwrap();
            let exact = i128::from(amount) * micro;
            let settled = i128::from(number(transaction, "amount").abs()) * 1_000_000;
            assert!((exact - settled).abs() <= 500_000, "{transaction}");
        }
    }
}

fn charges(month: &Month, objects: &BTreeMap<&str, &Value>) {
    let mut refunded: BTreeMap<&str, i64> = BTreeMap::new();
    for refund in of(month, "refund") {
        assert!(number(refund, "amount") > 0);
        let stands = text(refund, "status") != "failed";
        *refunded.entry(text(refund, "charge")).or_default() +=
            if stands { number(refund, "amount") } else { 0 };
        assert_eq!(refund["failure_balance_transaction"].is_null(), stands);
        let moved: i64 = of(month, "balance_transaction")
            .filter(|transaction| transaction["source"] == refund["id"])
            .map(|transaction| number(transaction, "net"))
            .sum();
        assert_eq!(moved == 0, !stands, "a failed refund comes to nothing: {refund}");
    }
    for charge in of(month, "charge") {
        let back = refunded.get(text(charge, "id")).copied().unwrap_or_default();
        assert_eq!(number(charge, "amount_refunded"), back, "{charge}");
        assert!(
            back <= number(charge, "amount_captured")
                && number(charge, "amount_captured") <= number(charge, "amount")
        );
        assert_eq!(
            charge["refunded"] == true,
            back > 0 && back == number(charge, "amount_captured"),
            "{charge}"
        );
        if charge["captured"] == true && !charge["balance_transaction"].is_null() {
            assert!(objects.contains_key(text(charge, "balance_transaction")));
        }
        if charge["currency"] == "kwd" {
            assert_eq!(number(charge, "amount_captured") % 10, 0);
        }
    }
    for dispute in of(month, "dispute") {
        let moved = dispute["balance_transactions"].as_array().unwrap();
        assert_eq!(moved.len() > 1, text(dispute, "status") == "won", "{dispute}");
        assert_eq!(moved.is_empty(), text(dispute, "status").starts_with("warning"), "{dispute}");
    }
}

fn payouts(month: &Month) {
    let books = month.books();
    let mut paid_out = 0;
    let (mut failed, mut manual) = (0, 0);
    for payout in &books.payouts {
        let net: i64 = payout.categories.values().map(|category| category.net).sum();
        if payout.automatic {
            assert_eq!(net, payout.amount, "{payout:?}");
            assert!(payout.amount > 0);
        } else {
            manual += 1;
            assert!(payout.categories.is_empty());
        }
        failed += usize::from(payout.status == "failed");
        paid_out += payout.amount;
    }
    // A handful of charges may never leave anything to pay out.
    if month.settings.charges >= 40 {
        assert_eq!((failed, manual), (1, 1));
    }
    let all: i64 = of(month, "balance_transaction").map(|transaction| number(transaction, "net")).sum();
    let came_in: i64 =
        books.balance.categories.iter().filter(|(name, _)| *name != "payout").map(|(_, c)| c.net).sum();
    assert_eq!(books.balance.closing, all);
    assert_eq!(came_in - paid_out, books.balance.closing, "what came in and did not go out is there");
    assert_eq!(books.balance.open.minor, books.balance.closing);
    let settled: i64 = books.presented.values().map(|sums| sums.charges_settled.minor).sum();
    assert_eq!(settled, books.balance.categories["charge"].amount);
    let held = books.objects.values().filter(|expected| expected.outcome == Outcome::Held);
    assert!(held.into_iter().all(|expected| expected.reason == "manual-payout"));
}

fn events(month: &Month, objects: &BTreeMap<&str, &Value>) {
    let end = month.settings.start + DAYS * 86_400 + 3_600;
    let mut ids = BTreeSet::new();
    let mut last = BTreeMap::new();
    let mut at = 0;
    for told in &month.events {
        let event: Value = serde_json::from_str(&told.text).unwrap();
        let created = event["created"].as_u64().unwrap();
        assert_eq!((told.id.as_str(), told.kind.as_str()), (text(&event, "id"), text(&event, "type")));
        assert_eq!(told.created, created);
        assert!(created >= at, "events are in the order of their time");
        assert!((month.settings.start..end).contains(&created));
        at = created;
        assert!(ids.insert(told.id.as_str()), "event ids are unique");
        let object = &event["data"]["object"];
        assert!(objects.contains_key(text(object, "id")), "{event}");
        if let Some(previous) = event["data"].get("previous_attributes") {
            for (name, before) in previous.as_object().unwrap() {
                assert_ne!(&object[name], before, "{event}");
            }
        }
        last.insert(text(object, "id").to_owned(), object.clone());
    }
    // Whoever heard everything knows how things stand.
    for charge in of(month, "charge") {
        let heard = &last[text(charge, "id")];
        for field in ["amount_captured", "status", "captured"] {
            assert_eq!(heard[field], charge[field], "{field} of {charge}");
        }
    }
    for (id, object) in last.iter().filter(|(id, _)| id.starts_with("po_") || id.starts_with("re_")) {
        assert_eq!(object["status"], objects[id.as_str()]["status"], "{id}");
    }
}

fn invoices(month: &Month) {
    for invoice in of(month, "invoice") {
        let lines: i64 =
            invoice["lines"]["data"].as_array().unwrap().iter().map(|line| number(line, "amount")).sum();
        assert_eq!(lines, number(invoice, "total"));
        let paid: i64 = of(month, "invoice_payment")
            .filter(|payment| payment["invoice"] == invoice["id"])
            .map(|payment| number(payment, "amount_paid"))
            .sum();
        assert_eq!(paid, number(invoice, "amount_paid"));
        assert_eq!(text(invoice, "status") == "paid", number(invoice, "amount_remaining") == 0, "{invoice}");
    }
    for session in of(month, "checkout.session") {
        let lines: i64 = session["line_items"]["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|line| number(line, "amount_total"))
            .sum();
        assert_eq!(lines, number(session, "amount_total"));
    }
}

/// Ids that an object names exist.
fn links(object: &Value, objects: &BTreeMap<&str, &Value>) {
    for name in [
        "charge",
        "payment_intent",
        "customer",
        "balance_transaction",
        "invoice",
        "latest_charge",
        "latest_invoice",
        "review",
        "dispute",
    ] {
        if let Some(id) = object[name].as_str() {
            assert!(objects.contains_key(id), "{name} of {object}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    #[test]
    fn every_month_adds_up(seed in any::<u64>(), charges in 20_usize..300) {
        check(&play(seed, charges));
    }
}

#[test]
fn a_month_of_full_size_adds_up_and_has_everything_in_it() {
    let month = play(1, 2_000);
    check(&month);
    let charged = month.books().presented.values().map(|sums| sums.charges.count).sum::<u64>();
    assert!((1_700..2_300).contains(&charged), "{charged}");
    let told: BTreeSet<&str> = month.events.iter().map(|event| event.kind.as_str()).collect();
    for kind in [
        "charge.captured",
        "charge.dispute.closed",
        "charge.dispute.created",
        "charge.dispute.funds_reinstated",
        "charge.dispute.funds_withdrawn",
        "charge.expired",
        "charge.failed",
        "charge.pending",
        "charge.refunded",
        "charge.succeeded",
        "charge.updated",
        "checkout.session.async_payment_failed",
        "checkout.session.async_payment_succeeded",
        "checkout.session.completed",
        "credit_note.created",
        "customer.created",
        "customer.deleted",
        "customer.subscription.created",
        "customer.subscription.deleted",
        "customer.subscription.paused",
        "customer.subscription.resumed",
        "customer.subscription.trial_will_end",
        "customer.subscription.updated",
        "customer.updated",
        "invoice.finalized",
        "invoice.paid",
        "invoice.payment_failed",
        "invoice.voided",
        "invoice_payment.paid",
        "payment_intent.payment_failed",
        "payment_intent.succeeded",
        "payout.created",
        "payout.failed",
        "payout.paid",
        "payout.reconciliation_completed",
        "radar.early_fraud_warning.created",
        "refund.created",
        "refund.failed",
        "refund.updated",
        "review.closed",
        "review.opened",
    ] {
        assert!(told.contains(kind), "{kind} never happens");
    }
    let currencies: BTreeSet<String> = month.books().presented.into_keys().collect();
    assert_eq!(currencies, ["EUR", "GBP", "JPY", "KWD", "USD"].map(str::to_owned).into());
    assert!(of(&month, "charge").any(|charge| text(charge, "id").starts_with("py_")));
    let fees: Vec<String> = month.books().balance.fees.into_keys().collect();
    assert_eq!(fees, ["stripe_fee", "tax"]);
    assert!(of(&month, "invoice").any(|invoice| invoice["total"] == 0));
    assert!(of(&month, "dispute").any(|dispute| dispute["status"] == "lost"));
}

#[test]
fn the_smallest_months_are_whole_too() {
    for charges in [0, 1, 5, 20, 60] {
        check(&play(7, charges));
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_another_month() {
    let bytes = |seed| {
        let month = play(seed, 40);
        format!("{:?}{:?}", month.objects, month.events)
    };
    assert_eq!(bytes(3), bytes(3));
    let ids = |seed| {
        play(seed, 40).objects.iter().map(|object| text(object, "id").to_owned()).collect::<BTreeSet<_>>()
    };
    let shared: Vec<String> = ids(3).intersection(&ids(4)).cloned().collect();
    assert!(
        shared
            .iter()
            .all(|id| ["prod_", "price_", "cus_Portolan"].iter().any(|prefix| id.starts_with(prefix))),
        "{shared:?}"
    );
    assert!(MONTH_START.is_multiple_of(86_400));
}

#[test]
fn the_books_say_what_became_of_each_object() {
    let month = play(1, 400);
    let books = month.books();
    let objects = by_id(&month);
    let expected = |kind: &str, outcome| {
        books.objects.iter().find(move |(_, e)| e.object == kind && e.outcome == outcome)
    };
    let (id, refund) = expected("refund", Outcome::Reversed).unwrap();
    assert_eq!(objects[id.as_str()]["status"], "failed");
    assert_eq!(refund.minor, number(objects[id.as_str()], "amount"));
    let (id, charge) = expected("charge", Outcome::Posted).unwrap();
    let transaction = objects[text(objects[id.as_str()], "balance_transaction")];
    assert_eq!(
        charge.settled,
        Some((number(transaction, "amount"), number(transaction, "fee"), number(transaction, "net")))
    );
    let (id, lost) = expected("dispute", Outcome::Posted).unwrap();
    let moved = &objects[id.as_str()]["balance_transactions"][0];
    assert_eq!(lost.settled, Some((number(moved, "amount"), 1_500, number(moved, "net"))));
    for invoice in books.objects.values().filter(|e| e.object == "invoice") {
        assert!(
            invoice.reason.starts_with("ch_") || ["zero", "void", "open"].contains(&invoice.reason.as_str()),
            "{invoice:?}"
        );
    }
    assert_eq!(books.outcomes["payout reversed"], 1);
    assert_eq!(books.outcomes["payout held"], 1);
}
