//! Sage Pro's side of each flow, called as the common side calls it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

use portolan_sdk::{
    ask::{self, Row},
    contract::Side,
    date::Date,
    flow::{Block, Credit, Documents, Erp, Journal, JournalLine, Refund, Reversal, Sale},
    money::{Currency, Money},
    prelude::*,
    stripe::{self, Buyer, Charge, Line},
    testing::{Ended, Trial, charge},
};
use serde_json::Value;
use stripe_to_sage_pro::{Settings, StripeToSagePro};

const CHARGE: &str = "ch_3QabcDEF0123456789abcdef";

/// Calls the method that the event's kind names, with what the payload says.
struct Sides;

fn day() -> Date {
    Date::new(2026, 11, 20).unwrap()
}

fn usd(minor: i64) -> Money {
    Money::new(minor, Currency::parse("usd").unwrap())
}

fn plan(documents: Documents) -> Result<Plan, Stop> {
    let plan = documents.deliveries.into_iter().fold(Plan::new(), Plan::deliver);
    let remember =
        |plan: Plan, [kind, id, system, other]: [String; 4]| plan.remember(kind, id, system, other);
    let plan = documents.references.into_iter().fold(plan, remember);
    if documents.concerns.is_empty() { Ok(plan) } else { Err(Stop::hold(documents.concerns.join(" "), plan)) }
}

fn refund(cx: &Cx<'_>, amount: i64) -> Result<Refund, Stop> {
    let (posted, row) = cx.all((
        ask::reference("stripe.charge", CHARGE),
        ask::lookup::<Row>("reasons", "requested_by_customer"),
    ))?;
    Ok(Refund {
        id: "re_1".into(),
        amount: usd(amount),
        reason: Some("requested_by_customer".into()),
        reason_row: row,
        day: day(),
        charge: bought(),
        whole: false,
        posted,
    })
}

fn bought() -> Charge {
    serde_json::from_value(charge(CHARGE, 11_900, "usd").customer("cus_jenny").object().clone()).unwrap()
}

fn journal() -> Journal {
    let line = |account: &str, side, minor, text: &str| JournalLine {
        account: account.into(),
        side,
        amount: usd(minor),
        text: text.into(),
        assignment: None,
    };
    Journal {
        key: "payout-2".into(),
        fact: portolan_sdk::flow::fact::payout("po_1", 2),
        object: ("stripe.payout", "po_1".into()),
        reference: "po_1".into(),
        title: "Stripe payout".into(),
        day: day(),
        lines: vec![
            line("1010-000", Side::Debit, 94_820, "po_1"),
            line("6450-000", Side::Debit, 3_180, "Stripe fees"),
            line("1190-000", Side::Credit, 98_000, "po_1"),
        ],
    }
}

impl Mapping for Sides {
    fn describe() -> Description {
        StripeToSagePro::describe()
    }

    fn map(cx: &Cx<'_>) -> Result<Plan, Stop> {
        let settings: Settings = cx.settings()?;
        let payload: Value = cx.payload()?;
        let amount = payload["amount"].as_i64().unwrap_or(11_900);
        let posted = || cx.reference("stripe.charge", CHARGE);
        plan(match cx.event().kind.as_str() {
            "sale" => {
                let tax = Money::new(0, usd(0).currency);
                let line = Line {
                    product: None,
                    description: "Widget".into(),
                    quantity: 1,
                    total: usd(amount),
                    tax,
                };
                let charge = bought();
                settings.sale(
                    cx,
                    &Sale {
                        buyer: Buyer::of(&charge, None),
                        charge,
                        captured: usd(amount),
                        day: day(),
                        customer: None,
                        lines: vec![(line, None)],
                        order: payload["order"].as_str().map(str::to_owned),
                        invoice: Some("in_1".into()),
                        subscription: Some("sub_1".into()),
                    },
                )?
            }
            "refund" => settings.refund(cx, &refund(cx, amount)?)?,
            "reverse-refund" => settings.reverse_refund(cx, &refund(cx, amount)?)?,
            "credit" => settings.credit(
                cx,
                &Credit {
                    id: "cn_1".into(),
                    amount: usd(amount),
                    text: "Goodwill".into(),
                    reason: Some("order_change".into()),
                    reason_row: None,
                    day: day(),
                    buyer: Buyer::of(&bought(), None),
                    posted: posted()?,
                },
            )?,
            "journal" => Documents::default().deliver(settings.journal(cx, &journal())?),
            "reverse-journal" => {
                let mut reversal = Reversal {
                    key: "reversal-2".into(),
                    fact: portolan_sdk::flow::fact::payout_reversal("po_1", 2),
                    journal: journal(),
                    number: "701".into(),
                    day: day(),
                };
                reversal.journal.title = "Payout".into();
                Documents::default().deliver(settings.reverse_journal(cx, &reversal)?)
            }
            "customer" => settings.customer(cx, &stripe::object(cx)?)?,
            "block" => {
                let set = payload["set"].as_bool().unwrap_or(true);
                let reason = "Early fraud warning".to_owned();
                settings.block(
                    cx,
                    &Block { id: "issfr_1".into(), set, reason, charge: bought(), posted: posted()? },
                )?
            }
            other => panic!("{other}"),
        })
    }
}

fn settings() -> Value {
    let schema: Value = serde_json::from_str(include_str!("../settings.schema.json")).unwrap();
    schema["examples"][0].clone()
}

fn trial(kind: &str, payload: Value) -> Trial<Sides> {
    Trial::new("stripe", kind, &payload).settings(settings())
}

/// The gateway has the charge's invoice: 100.00 and 19.00 tax.
fn invoiced(trial: Trial<Sides>) -> Trial<Sides> {
    trial.reference("stripe.charge", CHARGE, json!({"sage-pro.invoice": "10234"})).query(
        "erp",
        "invoice.find",
        json!({"InvNo": "10234"}),
        json!({"InvNo": "10234", "CustNo": "ROSE01", "Currency": "USD", "Total": "119.00", "Tax": "19.00", "Balance": "0.00"}),
    )
}

fn ledger(ended: &Ended) -> Vec<String> {
    let lines = ended.plan().deliveries.iter().flat_map(|delivery| &delivery.ledger);
    lines
        .map(|line| {
            format!(
                "{} {} {} {}",
                if line.side == Side::Debit { "Debit" } else { "Credit" },
                line.account,
                line.amount,
                line.currency
            )
        })
        .collect()
}

fn once(ended: &Ended) -> Vec<Option<&str>> {
    ended.plan().deliveries.iter().map(|delivery| delivery.once.as_deref()).collect()
}

#[test]
fn a_sale_and_a_receipt_of_one_charge_are_one_fact() {
    let invoice =
        trial("sale", json!({})).reference("stripe.customer", "cus_jenny", json!({"sage-pro": "ROSE01"}));
    let invoice = invoice.run();
    assert_eq!(once(&invoice), [Some("payment/ch_3QabcDEF0123456789abcdef")]);
    assert_eq!(invoice.body("invoice")["Notes"], "Stripe invoice in_1, Stripe subscription sub_1");
    let receipt = trial("sale", json!({"order": "4711"}))
        .query("erp", "invoices.open", json!({"Order": "4711"}), open(&[("10100", "USD", "119.00")]))
        .run();
    assert_eq!(once(&receipt), once(&invoice));
}

fn open(invoices: &[(&str, &str, &str)]) -> Value {
    let row = |(number, currency, balance): &(&str, &str, &str)| json!({"InvNo": number, "CustNo": "ROSE01", "Currency": currency, "Balance": balance, "InvoiceDate": "2026-11-01"});
    json!({"Invoices": invoices.iter().map(row).collect::<Vec<_>>()})
}

#[test]
fn a_payment_goes_to_the_open_invoices_of_its_order_oldest_first() {
    let answer = open(&[("10100", "USD", "100.0000"), ("10101", "USD", "30.00")]);
    let ended = trial("sale", json!({"order": " 4711 "}))
        .query("erp", "invoices.open", json!({"Order": "4711"}), answer)
        .run();
    insta::assert_json_snapshot!(ended.json());
    assert_eq!(
        ended.body("receipt")["Applications"],
        json!([{"InvNo": "10100", "Amount": "100.00"}, {"InvNo": "10101", "Amount": "19.00"}])
    );
}

#[test]
fn an_order_without_open_invoices_is_paid_on_account() {
    let ended = trial("sale", json!({"order": "4711"})).run();
    let receipt = ended.body("receipt");
    assert_eq!((&receipt["Applications"], &receipt["Order"]), (&json!([]), &json!("4711")));
    assert_eq!(ended.plan().deliveries[1].after, ["customer"]);
    let unknown = trial("sale", json!({"order": "12345678901"})).run();
    assert!(unknown.violation().message.starts_with("Order: "), "{}", unknown.violation().message);
}

#[test]
fn an_open_invoice_of_another_currency_is_left_to_a_person() {
    let answer = open(&[("10100", "EUR", "100.00"), ("10101", "USD", "200.00")]);
    let ended = trial("sale", json!({"order": "4711"}))
        .query("erp", "invoices.open", json!({"Order": "4711"}), answer)
        .run();
    let held = ended.held();
    assert!(held.reason.contains("10100"), "{}", held.reason);
    let body: Value = serde_json::from_str(&held.plan.deliveries[0].body).unwrap();
    assert_eq!(body["Applications"], json!([{"InvNo": "10101", "Amount": "119.00"}]));
}

#[test]
fn a_refund_is_a_memo_on_the_invoice_with_its_share_of_the_tax() {
    let ended = invoiced(trial("refund", json!({"amount": 5_950})))
        .lookup("reasons", "requested_by_customer", json!({"reason": "Customer returned", "item": "RETURN"}))
        .run();
    insta::assert_json_snapshot!(ended.json());
    assert_eq!(
        ledger(&ended),
        ["Debit 4010-000 50.00 USD", "Debit 2310-000 9.50 USD", "Credit 1190-000 59.50 USD"]
    );
}

#[test]
fn partial_refunds_of_odd_amounts_lose_no_unit() {
    for amount in [1, 2, 333, 5_951, 11_899] {
        let ended = invoiced(trial("refund", json!({"amount": amount}))).run();
        let memo = ended.body("credit-memo");
        let minor = |value: &Value| value.as_str().unwrap().replace('.', "").parse::<i64>().unwrap();
        assert_eq!(minor(&memo["Lines"][0]["Price"]) + minor(&memo["Tax"]), amount);
        assert_eq!(minor(&memo["Refund"]["Amount"]), amount);
    }
}

#[test]
fn a_refund_of_a_receipt_names_the_invoice_that_it_paid() {
    let receipt = json!({"ReceiptNo": "5001", "CustNo": "LOVE01", "Applications": [{"InvNo": "900", "Amount": "119.00"}]});
    let invoice = json!({"InvNo": "900", "CustNo": "LOVE01", "Total": "119.00", "Tax": "0.00"});
    let ended = trial("refund", json!({"amount": 100}))
        .query("erp", "cash-receipt.find", json!({"ExternalRef": CHARGE}), receipt)
        .query("erp", "invoice.find", json!({"InvNo": "900"}), invoice)
        .run();
    let memo = ended.body("credit-memo");
    assert_eq!((&memo["AppliesTo"], &memo["CustNo"]), (&json!("900"), &json!("LOVE01")));
}

#[test]
fn a_refund_that_overtook_its_invoice_waits() {
    let ended = trial("refund", json!({})).run();
    assert!(matches!(ended.outcome, portolan_sdk::contract::Outcome::Defer(_)), "{:?}", ended.outcome);
}

#[test]
fn a_failed_refund_makes_its_memo_void_and_turns_its_lines_round() {
    let memo =
        json!({"InvNo": "10240", "CustNo": "ROSE01", "Total": "-59.50", "Tax": "-9.50", "VoidDate": null});
    let ended = trial("reverse-refund", json!({"amount": 5_950}))
        .query("erp", "credit-memo.find", json!({"ExternalRef": "re_1"}), memo)
        .run();
    insta::assert_json_snapshot!(ended.json());
    assert_eq!(
        ledger(&ended),
        ["Credit 4010-000 50.00 USD", "Credit 2310-000 9.50 USD", "Debit 1190-000 59.50 USD"]
    );
}

#[test]
fn a_credit_note_moves_the_receivable_and_no_money() {
    let ended = trial("credit", json!({"amount": 1_000}))
        .reference("stripe.customer", "cus_jenny", json!({"sage-pro": "ROSE01"}))
        .run();
    let memo = ended.body("credit-memo");
    assert_eq!((&memo["CustNo"], &memo["ExternalRef"]), (&json!("ROSE01"), &json!("cn_1")));
    assert!(memo.get("Refund").is_none() && memo.get("AppliesTo").is_none());
    assert_eq!(ledger(&ended), ["Debit 4010-000 10.00 USD", "Credit 1200-000 10.00 USD"]);
}

#[test]
fn a_journal_is_known_by_its_fact_and_remembered_by_its_part() {
    let ended = trial("journal", json!({})).run();
    insta::assert_json_snapshot!(ended.json());
    let delivery = &ended.plan().deliveries[0];
    assert_eq!(delivery.captures[0].system, "sage-pro.journal.2");
    assert_eq!(ended.body("payout-2")["ExternalRef"], "payout/po_1/2");
}

#[test]
fn a_journal_is_reversed_by_its_number() {
    let ended = trial("reverse-journal", json!({})).run();
    let body = ended.body("reversal-2");
    assert_eq!((&body["JournalNo"], &body["Date"]), (&json!("701"), &json!("2026-11-20")));
    assert_eq!(once(&ended), [Some("payout-reversal/po_1/2")]);
    assert_eq!(ledger(&ended)[0], "Credit 1010-000 948.20 USD");
}

fn jenny(changes: Value) -> Value {
    let mut customer = json!({"id": "cus_jenny", "name": "Jenny Rosen", "email": "jenny@example.com", "phone": null,
        "address": {"line1": "1 Main St", "city": "Springfield", "state": "IL", "postal_code": "62701", "country": "US"}});
    for (name, value) in changes.as_object().unwrap() {
        customer[name] = value.clone();
    }
    json!({"data": {"object": customer}})
}

fn row(changes: Value) -> Value {
    let mut row = json!({"CustNo": "ROSE01", "ExternalRef": "cus_jenny", "Company": "Jenny Rosen", "Email": "jenny@example.com",
        "Address1": "1 Main St", "City": "Springfield", "State": "IL", "Zip": "62701", "Country": "US", "ETag": "\"abc\""});
    for (name, value) in changes.as_object().unwrap() {
        row[name] = value.clone();
    }
    row
}

fn known(trial: Trial<Sides>, row: Value) -> Trial<Sides> {
    trial.reference("stripe.customer", "cus_jenny", json!({"sage-pro": "ROSE01"})).query(
        "erp",
        "customer.get",
        json!({"CustNo": "ROSE01"}),
        row,
    )
}

#[test]
fn a_customer_that_says_the_same_is_left_alone() {
    let ended = known(trial("customer", jenny(json!({}))), row(json!({}))).run();
    assert!(ended.plan().deliveries.is_empty(), "{:?}", ended.plan());
}

#[test]
fn only_what_differs_is_sent_with_what_was_seen() {
    let ended =
        known(trial("customer", jenny(json!({"phone": "+1 555"}))), row(json!({"City": "Old Town"}))).run();
    assert_eq!(
        ended.body("customer-update"),
        json!({"CustNo": "ROSE01", "City": "Springfield", "Phone": "+1 555", "IfMatch": "\"abc\"",
            "Was": {"City": "Old Town", "Phone": null}})
    );
}

#[test]
fn a_new_address_keeps_nothing_of_the_old_one() {
    let moved =
        json!({"address": {"line1": "1 Main St", "city": "Bonn", "postal_code": "53111", "country": "US"}});
    let ended = known(trial("customer", jenny(moved)), row(json!({"Address2": "Flat 2"}))).run();
    let body = ended.body("customer-update");
    assert_eq!((&body["Address2"], &body["State"], &body["City"]), (&json!(""), &json!(""), &json!("Bonn")));
    assert!(body.get("Address1").is_none() && body.get("Email").is_none());
    let none = known(trial("customer", jenny(json!({"address": null}))), row(json!({}))).run();
    assert!(none.plan().deliveries.is_empty(), "what Stripe does not say is left alone");
}

#[test]
fn an_unguarded_update_says_nothing_of_what_was_seen() {
    let mut settings = settings();
    settings["guard_updates"] = json!(false);
    let trial = Trial::new("stripe", "customer", &jenny(json!({}))).settings(settings);
    let ended = known(trial, row(json!({"City": "Old Town"}))).run();
    assert_eq!(ended.body("customer-update"), json!({"CustNo": "ROSE01", "City": "Springfield"}));
}

fn by_email(trial: Trial<Sides>, rows: Value) -> Trial<Sides> {
    trial.query(
        "erp",
        "customers.by-email",
        json!({"Email": "jenny@example.com"}),
        json!({"Customers": rows}),
    )
}

#[test]
fn a_customer_with_the_same_address_is_taken_over_and_gets_the_reference() {
    let own = row(json!({"ExternalRef": null}));
    let ended = by_email(trial("customer", jenny(json!({}))), json!([own]))
        .query("erp", "customer.get", json!({"CustNo": "ROSE01"}), own)
        .run();
    let body = ended.body("customer-update");
    assert_eq!((&body["ExternalRef"], &body["Was"]), (&json!("cus_jenny"), &json!({"ExternalRef": null})));
    let references = &ended.plan().references;
    assert_eq!((references[0].system.as_str(), references[0].id.as_str()), ("sage-pro", "ROSE01"));
    assert_eq!(
        (references[1].key.kind.as_str(), references[1].id.as_str()),
        ("sage-pro.customer", "cus_jenny")
    );
}

#[test]
fn another_stripe_customer_is_not_taken_over_and_several_are_held() {
    let other = row(json!({"ExternalRef": "cus_other"}));
    let ended = by_email(trial("customer", jenny(json!({}))), json!([other])).run();
    assert_eq!(ended.body("customer")["CustNo"], Value::Null);
    assert_eq!(once(&ended), [Some("customer/cus_jenny")]);
    let two =
        json!([row(json!({"ExternalRef": null})), row(json!({"ExternalRef": null, "CustNo": "ROSE02"}))]);
    let held = by_email(trial("customer", jenny(json!({}))), two).run();
    assert!(held.held().reason.contains("ROSE01, ROSE02"), "{}", held.held().reason);
}

#[test]
fn a_deleted_customer_is_kept_and_a_vanished_one_is_told() {
    assert!(trial("customer", jenny(json!({"deleted": true}))).run().plan().deliveries.is_empty());
    let gone = trial("customer", jenny(json!({})))
        .reference("stripe.customer", "cus_jenny", json!({"sage-pro": "ROSE01"}))
        .run();
    assert_eq!(gone.violation().code, "customer-gone");
}

/// With what is put on hold.
fn holding(what: &str, payload: Value) -> Trial<Sides> {
    let mut settings = settings();
    settings["hold"] = json!(what);
    invoiced(Trial::new("stripe", "block", &payload).settings(settings))
}

#[test]
fn a_suspect_charge_holds_its_invoice_and_where_wanted_its_customer() {
    let ended = invoiced(trial("block", json!({}))).run();
    assert_eq!(
        ended.body("hold-invoice-10234"),
        json!({"InvNo": "10234", "Hold": true, "ExternalRef": "issfr_1", "Reason": "Early fraud warning"})
    );
    assert_eq!(ended.plan().deliveries.len(), 1, "a held customer's next payment could not be invoiced");
    assert_eq!(holding("both", json!({})).run().body("hold-customer")["CustNo"], "ROSE01");
    assert_eq!(holding("both", json!({"set": false})).run().body("hold-customer")["Hold"], false);
}

#[test]
fn the_customer_that_guests_share_is_never_held() {
    let mut settings = settings();
    settings["guest_customer"] = json!("ROSE01");
    settings["hold"] = json!("both");
    let ended = invoiced(Trial::new("stripe", "block", &json!({})).settings(settings)).run();
    assert_eq!(ended.plan().deliveries.len(), 1);
}
