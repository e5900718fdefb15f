//! Epicor's side of the flows, method by method: whole plans as snapshots, and the rules one by one.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

use portolan_sdk::{
    contract::Side,
    date::Date,
    flow::{Block, Credit, Documents, Erp, Journal, JournalLine, Refund, Reversal, Sale, fact},
    money::{Currency, Money},
    prelude::*,
    stripe::{Buyer, Charge, Customer},
    testing::{Ended, Trial, charge},
};
use serde_json::Value;
use stripe_to_epicor::{Settings, StripeToEpicor};

const CHARGE: &str = "ch_3QabcDEF0123456789abcdef";
const REFUND: &str = "re_3QabcDEF0123456789abcdef";

fn settings() -> Value {
    json!({"bank_account": "STRIPE", "default_part": "MISC"})
}

fn day() -> Date {
    Date::new(2026, 11, 21).unwrap()
}

fn plan(documents: Documents) -> Result<Plan, Stop> {
    let plan = documents.deliveries.into_iter().fold(Plan::new(), Plan::deliver);
    let remembered = |plan: Plan, [kind, id, system, counterpart]: [String; 4]| {
        plan.remember(kind, id, system, counterpart)
    };
    let plan = documents.references.into_iter().fold(plan, remembered);
    match documents.concerns.is_empty() {
        true => Ok(plan),
        false => Err(Stop::hold(documents.concerns.join("; "), plan)),
    }
}

/// A mapping that calls one method with what the payload says.
macro_rules! method {
    ($name:ident, |$settings:ident, $cx:ident, $payload:ident| $body:expr) => {
        struct $name;

        impl Mapping for $name {
            fn describe() -> Description {
                StripeToEpicor::describe()
            }

            fn map($cx: &Cx<'_>) -> Result<Plan, Stop> {
                let $settings: Settings = $cx.settings()?;
                let $payload: Value = $cx.payload()?;
                plan($body?)
            }
        }
    };
}

method!(Sells, |settings, cx, payload| {
    let charge: Charge = serde_json::from_value(payload["charge"].clone()).unwrap();
    let sale = Sale {
        captured: charge.captured()?,
        day: day(),
        buyer: Buyer::of(&charge, None),
        customer: None,
        lines: Vec::new(),
        order: payload["order"].as_str().map(str::to_owned),
        invoice: None,
        subscription: None,
        charge,
    };
    settings.sale(cx, &sale)
});

fn refund(payload: &Value) -> Refund {
    let charge: Charge = serde_json::from_value(payload["charge"].clone()).unwrap();
    Refund {
        id: REFUND.to_owned(),
        amount: Money::new(payload["amount"].as_i64().unwrap(), charge.currency),
        reason: Some("requested_by_customer".to_owned()),
        reason_row: serde_json::from_value(payload["reason"].clone()).unwrap(),
        day: day(),
        whole: payload["whole"].as_bool().unwrap(),
        posted: serde_json::from_value(payload["posted"].clone()).unwrap(),
        charge,
    }
}

method!(Refunds, |settings, cx, payload| settings.refund(cx, &refund(&payload)));
method!(ReversesRefunds, |settings, cx, payload| settings.reverse_refund(cx, &refund(&payload)));

method!(Credits, |settings, cx, payload| {
    let credit = Credit {
        id: "cn_1".to_owned(),
        amount: Money::new(1000, Currency::parse("usd").unwrap()),
        text: "Credit note".to_owned(),
        reason: None,
        reason_row: None,
        day: day(),
        buyer: buyer(),
        posted: serde_json::from_value(payload["posted"].clone()).unwrap(),
    };
    settings.credit(cx, &credit)
});

method!(Syncs, |settings, cx, payload| {
    let customer: Customer = serde_json::from_value(payload["customer"].clone()).unwrap();
    settings.customer(cx, &customer)
});

method!(Blocks, |settings, cx, payload| {
    let block = Block {
        id: "prv_1".to_owned(),
        set: payload["set"].as_bool().unwrap(),
        reason: "Stripe reviews the charge".to_owned(),
        charge: serde_json::from_value(charge(CHARGE, 100, "usd").object().clone()).unwrap(),
        posted: serde_json::from_value(payload["posted"].clone()).unwrap(),
    };
    settings.block(cx, &block)
});

fn journal(fact: String) -> Journal {
    let line = |account: &str, side, minor| JournalLine {
        account: account.to_owned(),
        side,
        amount: Money::new(minor, Currency::parse("eur").unwrap()),
        text: "po_1".to_owned(),
        assignment: Some("R144WJGG6ZXJ677C".to_owned()),
    };
    Journal {
        key: "payout".to_owned(),
        fact,
        object: ("stripe.payout", "po_1".to_owned()),
        reference: "po_1".to_owned(),
        title: "Stripe payout".to_owned(),
        day: day(),
        lines: vec![
            line("1010-00", Side::Debit, 9_700),
            line("6450-00", Side::Debit, 300),
            line("1190-00", Side::Credit, 10_000),
        ],
    }
}

method!(Posts, |settings, cx, payload| {
    let part = usize::try_from(payload["part"].as_u64().unwrap()).unwrap();
    settings
        .journal(cx, &journal(fact::payout("po_1", part)))
        .map(|delivery| Documents::default().deliver(delivery))
});

method!(ReversesJournals, |settings, cx, payload| {
    let part = usize::try_from(payload["part"].as_u64().unwrap()).unwrap();
    let reversal = Reversal {
        key: "reversal".to_owned(),
        fact: fact::payout_reversal("po_1", part),
        journal: journal(fact::payout("po_1", part)),
        number: "701".to_owned(),
        day: day(),
    };
    settings.reverse_journal(cx, &reversal).map(|delivery| Documents::default().deliver(delivery))
});

fn trial<M: Mapping>(payload: &Value) -> Trial<M> {
    Trial::new("stripe", "charge.succeeded", payload).settings(settings())
}

fn buyer() -> Buyer {
    let charge = serde_json::from_value(charge(CHARGE, 100, "usd").customer("cus_jenny").object().clone());
    Buyer::of(&charge.unwrap(), None)
}

fn row(number: u64) -> Value {
    json!({"CustNum": number, "CustID": "ROSE01", "Name": "Jenny Rosen", "EMailAddress": "jenny@example.com",
        "Address1": "1 Main St", "City": "Springfield", "CurrencyCode": "USD", "Inactive": false,
        "ExternalCRMCustomerID": "cus_jenny"})
}

fn order() -> Value {
    json!({"OrderNum": 5400, "CustNum": 812, "PONum": CHARGE, "CurrencyCode": "USD", "OrderHeld": false})
}

fn keys(ended: &Ended) -> Vec<String> {
    ended.plan().deliveries.iter().map(|delivery| delivery.key.clone()).collect()
}

/// Every call that books something names its fact, and none of the facts twice.
fn check_once(ended: &Ended) {
    let mut facts = Vec::new();
    for delivery in &ended.plan().deliveries {
        if delivery.operation == "customer.update" {
            continue;
        }
        let fact = delivery.once.clone().unwrap_or_else(|| panic!("{} names no fact", delivery.key));
        assert!(!facts.contains(&fact), "{fact} is named twice");
        facts.push(fact);
    }
}

fn sells(order: &str) -> Trial<Sells> {
    let charge = charge(CHARGE, 5998, "usd").customer("cus_jenny");
    trial(&json!({"charge": charge.object(), "order": order}))
}

fn with_order<M: Mapping>(trial: Trial<M>) -> Trial<M> {
    trial.query("erp", "sales-order.get", json!({"OrderNum": 5400}), self::order()).query(
        "erp",
        "customer.get",
        json!({"CustNum": 812}),
        row(812),
    )
}

#[test]
fn an_order_that_is_named_is_paid_as_a_prepayment() {
    let ended = with_order(sells("5400")).run();
    assert_eq!(keys(&ended), ["cash-group", "receipt", "post"]);
    let receipt = ended.body("receipt");
    assert_eq!(
        (&receipt["TranType"], &receipt["OrderNum"], &receipt["CustNum"]),
        (&json!("PrePay"), &json!(5400), &json!(812))
    );
    assert_eq!(ended.plan().references[0].system, "epicor.order");
    assert_eq!(ended.plan().references[0].id, "5400");
    check_once(&ended);
}

#[test]
fn an_order_that_is_named_by_its_po_number_is_found() {
    let ended = sells("PO-77")
        .query("erp", "sales-order.get", json!({"PONum": "PO-77"}), order())
        .query("erp", "customer.get", json!({"CustNum": 812}), row(812))
        .run();
    assert_eq!(ended.body("receipt")["OrderNum"], 5400);
    assert_eq!(sells("PO-78").run().violation().code, "unknown-order");
}

#[test]
fn open_invoices_of_the_order_are_paid_oldest_first() {
    let invoices = json!({"OrderNum": 5400, "Invoices": [
        {"InvoiceNum": 9001, "DocInvoiceBal": "49.98", "CurrencyCode": "USD"},
        {"InvoiceNum": 9002, "DocInvoiceBal": "20.00", "CurrencyCode": "USD"},
        {"InvoiceNum": 9003, "DocInvoiceBal": "5.00", "CurrencyCode": "USD"},
    ]});
    let ended = with_order(sells("5400"))
        .query("erp", "ar-invoice.open-by-order", json!({"OrderNum": 5400}), invoices)
        .run();
    insta::assert_json_snapshot!(ended.json());
    let expected =
        json!([{"InvoiceNum": 9001, "DocTranAmt": "49.98"}, {"InvoiceNum": 9002, "DocTranAmt": "10.00"}]);
    assert_eq!(ended.body("receipt")["CashDtls"], expected);
}

#[test]
fn an_invoice_in_another_currency_is_for_a_person() {
    let invoices =
        json!({"Invoices": [{"InvoiceNum": 9001, "DocInvoiceBal": "49.98", "CurrencyCode": "EUR"}]});
    let ended = with_order(sells("5400"))
        .query("erp", "ar-invoice.open-by-order", json!({"OrderNum": 5400}), invoices)
        .run();
    assert_eq!(ended.violation().code, "another-currency");
}

fn refunds<M: Mapping>(amount: i64, whole: bool) -> Trial<M> {
    let charge = charge(CHARGE, 5998, "usd").customer("cus_jenny");
    with_order(trial(&json!({
        "charge": charge.object(), "amount": amount, "whole": whole, "reason": {"reason": "RETURN"},
        "posted": {"epicor.order": "5400", "epicor.receipt": "37"},
    })))
}

fn invoiced<M: Mapping>(trial: Trial<M>) -> Trial<M> {
    trial.query("erp", "ar-invoice.find", json!({"OrderNum": 5400}), json!({"InvoiceNum": 9001}))
}

#[test]
fn a_charge_refunded_whole_before_it_was_invoiced_has_its_receipt_reversed() {
    let ended = refunds::<Refunds>(5998, true).run();
    insta::assert_json_snapshot!(ended.json());
    check_once(&ended);
}

#[test]
fn the_last_part_of_several_refunds_reverses_nothing() {
    let ended = refunds::<Refunds>(1998, true).run();
    assert_eq!(keys(&ended), ["refund-group", "refund", "refund-post"]);
    assert_eq!(ended.body("refund")["DocTranAmt"], "-19.98");
    assert_eq!(ended.body("refund")["TranType"], "PrePay");
    check_once(&ended);
}

#[test]
fn what_was_invoiced_is_credited_and_paid_out() {
    let ended = invoiced(refunds::<Refunds>(1000, false)).run();
    insta::assert_json_snapshot!(ended.json());
    assert_eq!(ended.body("credit-memo")["InvoiceRef"], 9001);
    assert_eq!(ended.body("refund")["DocTranAmt"], "-10.00");
    assert!(ended.body("refund").get("CashDtls").is_none());
    check_once(&ended);
}

#[test]
fn credit_memos_are_as_the_settings_say() {
    let with = |mode: &str| {
        let mut settings = settings();
        settings["refunds"] = json!({"credit_memo": mode, "reason_code": "OTHER"});
        refunds::<Refunds>(1000, false).settings(settings)
    };
    assert_eq!(keys(&invoiced(with("never")).run()), ["refund-group", "refund", "refund-post"]);
    let always = with("always").run();
    assert_eq!(always.body("credit-memo")["ReasonCode"], "RETURN");
    assert!(always.body("credit-memo").get("InvoiceRef").is_none());
}

#[test]
fn a_failed_refund_is_reversed_by_what_it_was() {
    let remembered = |counterparts| {
        refunds::<ReversesRefunds>(5998, true).reference("stripe.refund", REFUND, counterparts).run()
    };
    let receipt = remembered(json!({"epicor.refund": "38", "epicor.refund-receipt": "38"}));
    assert_eq!(keys(&receipt), ["refund"]);
    assert_eq!(receipt.plan().deliveries[0].operation, "cash-receipt.reverse");
    check_once(&receipt);
    let reversal = remembered(json!({"epicor.refund": "38"}));
    assert_eq!(keys(&reversal), ["refund-group", "refund", "refund-post"]);
    assert_eq!(reversal.body("refund")["DocTranAmt"], "59.98");
    check_once(&reversal);
}

#[test]
fn a_refund_of_an_order_nobody_remembers_is_refused() {
    let charge = charge(CHARGE, 100, "usd");
    let payload =
        json!({"charge": charge.object(), "amount": 100, "whole": true, "reason": null, "posted": {}});
    assert_eq!(trial::<Refunds>(&payload).run().violation().code, "unknown-order");
}

#[test]
fn a_credit_note_refers_to_the_invoice() {
    let ended = invoiced(trial::<Credits>(&json!({"posted": {"epicor.order": "5400"}})))
        .reference("stripe.customer", "cus_jenny", json!({"epicor": "812"}))
        .query("erp", "customer.get", json!({"CustNum": 812}), row(812))
        .run();
    assert_eq!(keys(&ended).last().unwrap(), "credit-post");
    let memo = ended.body("credit-memo");
    assert_eq!(
        (&memo["InvoiceRef"], &memo["CustNum"], &memo["ExternalID"]),
        (&json!(9001), &json!(812), &json!("cn_1"))
    );
    check_once(&ended);
    let unknown = trial::<Credits>(&json!({"posted": {}})).run();
    assert_eq!(unknown.violation().code, "unknown-customer");
}

#[test]
fn a_payout_is_one_balanced_journal_and_its_reversal_the_same_with_sides_swapped() {
    let posted = trial::<Posts>(&json!({"part": 1})).run();
    insta::assert_json_snapshot!(posted.json());
    let reversed = trial::<ReversesJournals>(&json!({"part": 1})).run();
    insta::assert_json_snapshot!(reversed.json());
    check_once(&posted);
    check_once(&reversed);
}

#[test]
fn parts_of_a_payout_are_remembered_beside_each_other() {
    let system = |ended: &Ended| ended.plan().deliveries[0].captures[0].system.clone();
    assert_eq!(system(&trial::<Posts>(&json!({"part": 2})).run()), "epicor.journal.2");
    assert_eq!(system(&trial::<ReversesJournals>(&json!({"part": 2})).run()), "epicor.journal-reversal.2");
    let group = |part: u64| trial::<Posts>(&json!({"part": part})).run().body("payout")["GroupID"].clone();
    assert_ne!(group(1), group(2));
}

fn jenny(changes: Value) -> Value {
    let mut customer = json!({
        "id": "cus_jenny", "name": "Jenny Rosen", "email": "jenny@example.com", "phone": null,
        "address": {"line1": "1 Main St", "city": "Springfield"},
    });
    customer.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    json!({"customer": customer})
}

#[test]
fn a_customer_that_says_the_same_is_left_alone() {
    let known = |changes| {
        trial::<Syncs>(&jenny(changes))
            .reference("stripe.customer", "cus_jenny", json!({"epicor": "812"}))
            .query("erp", "customer.get", json!({"CustNum": 812}), row(812))
            .run()
    };
    assert!(known(json!({})).plan().deliveries.is_empty());
    assert!(known(json!({"email": null, "address": null})).plan().deliveries.is_empty());
    let moved =
        known(json!({"address": {"line1": "2 Side St", "city": "Springfield"}, "phone": "+1 217 555 0100"}));
    let expected = json!({"CustNum": 812, "Address1": "2 Side St", "PhoneNum": "+1 217 555 0100"});
    assert_eq!(moved.body("customer"), expected);
    assert_eq!(moved.plan().deliveries[0].operation, "customer.update");
}

#[test]
fn a_customer_found_by_its_e_mail_address_is_remembered_and_keeps_what_epicor_says() {
    let mut known = row(812);
    known["Name"] = json!("Rosen Ltd");
    known["City"] = json!("");
    known["ExternalCRMCustomerID"] = json!("");
    let ended = trial::<Syncs>(&jenny(json!({})))
        .query("erp", "customer.get", json!({"EMailAddress": "jenny@example.com"}), known)
        .run();
    assert_eq!(
        ended.body("customer"),
        json!({"CustNum": 812, "City": "Springfield", "ExternalCRMCustomerID": "cus_jenny"})
    );
    assert_eq!((&*ended.plan().references[0].system, &*ended.plan().references[0].id), ("epicor", "812"));
}

#[test]
fn a_customer_nobody_knows_is_created_once() {
    let ended = trial::<Syncs>(&jenny(json!({}))).run();
    insta::assert_json_snapshot!(ended.json());
    check_once(&ended);
}

#[test]
fn several_customers_with_one_e_mail_address_are_for_a_person() {
    let ended = trial::<Syncs>(&jenny(json!({})))
        .refusal("erp", "customer.get", json!({"EMailAddress": "jenny@example.com"}), "several-documents")
        .run();
    assert_eq!(ended.violation().code, "fact-refused");
}

#[test]
fn where_our_own_customer_is_there_an_ambiguous_e_mail_address_does_not_matter() {
    let made = trial::<Syncs>(&jenny(json!({}))).run().body("customer")["CustID"].clone();
    let mut own = row(812);
    own["CustID"] = made.clone();
    let ended = trial::<Syncs>(&jenny(json!({})))
        .refusal("erp", "customer.get", json!({"EMailAddress": "jenny@example.com"}), "several-documents")
        .query("erp", "customer.get", json!({"CustID": made}), own)
        .run();
    assert!(ended.plan().deliveries.is_empty());
    assert_eq!(ended.plan().references[0].id, "812");
}

#[test]
fn an_order_is_held_and_released_under_the_blocks_own_name() {
    let posted = json!({"epicor.order": "5400"});
    let held = trial::<Blocks>(&json!({"set": true, "posted": posted})).run();
    assert_eq!(
        held.body("hold"),
        json!({"OrderNum": 5400, "Hold": "prv_1", "Reason": "Stripe reviews the charge"})
    );
    assert_eq!(held.plan().deliveries[0].operation, "sales-order.hold");
    let released = trial::<Blocks>(&json!({"set": false, "posted": posted})).run();
    assert_eq!(released.plan().deliveries[0].operation, "sales-order.release");
    check_once(&held);
    check_once(&released);
    assert!(trial::<Blocks>(&json!({"set": true, "posted": {}})).run().plan().deliveries.is_empty());
}
