//! SAP's side of the flows, method by method: whole documents as snapshots, and the rules one by one.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

use portolan_sdk::{
    ask::{Counterparts, Row},
    contract::{
        Answer, Delivery, Environment, Event, Fact, Input, Lookup, Need, Outcome, Query, ReferenceKey, Side,
    },
    flow::{Block, Credit, Documents, Erp, Journal, JournalLine, Refund, Reversal, Sale, fact},
    money::{Currency, Decimal, Money},
    prelude::*,
    stripe::{Buyer, Charge, Customer, Line},
    testing::{TestCharge, charge},
};
use serde_json::Value;
use stripe_to_sap_ecc::Settings;

const CHARGE: &str = "ch_3QabcDEF0123456789abcdef";
const REFUND: &str = "re_3QabcDEF0123456789abcdef";
const POSTED: &str = "010000000810002026";

/// What the host would find out.
#[derive(Default)]
struct World(Vec<Fact>);

impl World {
    fn knows(mut self, need: Need, answer: Value) -> Self {
        self.0.push(Fact { need, answer: Answer::Found(answer.to_string()) });
        self
    }

    fn query(self, operation: &str, parameters: Value, answer: Value) -> Self {
        let (connection, operation) = ("erp".into(), operation.into());
        self.knows(Need::Query(Query { connection, operation, parameters: parameters.to_string() }), answer)
    }

    fn reference(self, kind: &str, id: &str, answer: Value) -> Self {
        self.knows(Need::Reference(ReferenceKey { kind: kind.into(), id: id.into() }), answer)
    }

    fn lookup(self, key: &str, answer: Value) -> Self {
        self.knows(Need::Lookup(Lookup { table: "customers".into(), key: key.into() }), answer)
    }

    /// Calls until nothing is missing any more. What this world does not know is absent.
    fn run<T>(&self, call: impl Fn(&Cx<'_>) -> Result<T, Stop>) -> Result<T, Stop> {
        let event = Event {
            id: "evt_01TRIAL".into(),
            source: "trial".into(),
            system: "stripe".into(),
            kind: "trial".into(),
            object_id: None,
            occurred_at: 1_795_217_400_000,
            received_at: 1_795_217_401_000,
            media_type: "application/json".into(),
            payload: "{}".into(),
        };
        let mut input = Input {
            event,
            environment: Environment::Sandbox,
            attempt: 1,
            settings: "{}".into(),
            facts: Vec::new(),
        };
        for _ in 0..8 {
            match call(&Cx::new(&input)) {
                Err(Stop::Need(needs)) => {
                    let known = |need: &Need| self.0.iter().find(|fact| fact.need == *need);
                    let facts = needs.into_iter().map(|need| Fact {
                        answer: known(&need).map_or(Answer::Absent, |fact| fact.answer.clone()),
                        need,
                    });
                    let facts: Vec<Fact> = facts.collect();
                    input.facts.extend(facts);
                }
                ended => return ended,
            }
        }
        panic!("it asks for ever")
    }
}

fn settings(more: Value) -> Settings {
    let schema: Value = serde_json::from_str(include_str!("../settings.schema.json")).unwrap();
    let mut settings = schema["examples"][0].clone();
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(settings).unwrap()
}

fn with_customers() -> Settings {
    settings(
        json!({"customer_master": {"reference_customer": "100001", "currency": "USD", "title_person": "Ms."}}),
    )
}

fn money(minor: i64, code: &str) -> Money {
    Money::new(minor, Currency::parse(code).unwrap())
}

fn counterparts(known: Value) -> Counterparts {
    serde_json::from_value(known).unwrap()
}

fn row(row: Value) -> Row {
    serde_json::from_value(row).unwrap()
}

fn day() -> portolan_sdk::date::Date {
    portolan_sdk::date::in_zone(1_795_217_400, "UTC").unwrap()
}

fn stripe_charge(charge: &TestCharge) -> Charge {
    serde_json::from_value(charge.object().clone()).unwrap()
}

fn sale(charge: &TestCharge) -> Sale {
    let charge = stripe_charge(charge);
    let captured = charge.captured().unwrap();
    let line = Line {
        product: None,
        description: "Widget".into(),
        quantity: 1,
        total: captured,
        tax: money(0, captured.currency.code()),
    };
    Sale {
        captured,
        day: day(),
        buyer: Buyer::of(&charge, None),
        customer: None,
        lines: vec![(line, None)],
        order: None,
        invoice: None,
        subscription: None,
        charge,
    }
}

fn jenny() -> Value {
    json!({"id": "cus_jenny", "name": "Jenny Rosen", "email": "Jenny@example.com", "phone": "+1 217 555 0100",
        "address": {"line1": "510 Townsend St", "city": "Springfield", "postal_code": "62704", "state": "IL", "country": "US"}})
}

fn customer(value: Value) -> Customer {
    serde_json::from_value(value).unwrap()
}

fn refund() -> Refund {
    Refund {
        id: REFUND.into(),
        amount: money(1500, "usd"),
        reason: Some("requested_by_customer".into()),
        reason_row: None,
        day: day(),
        charge: stripe_charge(&charge(CHARGE, 4998, "usd").customer("cus_jenny")),
        whole: false,
        posted: counterparts(json!({"sap-ecc.order": "0000016023", "sap-ecc.fi": POSTED})),
    }
}

/// SAP's answer about the payment, and about the refund.
fn posted(world: World) -> World {
    let lines = json!([{"GL_ACCOUNT": "0000113150", "CUSTOMER": ""}, {"GL_ACCOUNT": "0000140000", "CUSTOMER": "0000100042"}]);
    world.query(
        "accounting-document.get",
        json!({"OBJ_KEY": POSTED}),
        json!({"OBJ_KEY": POSTED, "ITEMS": lines}),
    )
}

fn bodies(documents: &Documents) -> Value {
    let delivery = |delivery: &Delivery| {
        let body: Value = serde_json::from_str(&delivery.body).unwrap();
        (delivery.key.clone(), json!({"operation": delivery.operation, "once": delivery.once, "body": body}))
    };
    Value::Object(documents.deliveries.iter().map(delivery).collect())
}

fn plan(documents: Documents) -> Value {
    let plan = documents.deliveries.into_iter().fold(Plan::new(), Plan::deliver);
    portolan_sdk::json::outcome(&Outcome::Deliver(plan))
}

/// Every booking names its fact, is looked for, and balances.
fn is_a_booking(delivery: &Delivery) {
    assert!(delivery.once.is_some(), "{}", delivery.key);
    assert!(delivery.unless.is_some(), "{}", delivery.key);
    let amount = |line: &portolan_sdk::contract::LedgerLine| {
        let amount = Decimal::from_str_exact(&line.amount).unwrap();
        if line.side == Side::Debit { amount } else { -amount }
    };
    assert!(delivery.ledger.iter().map(amount).sum::<Decimal>().is_zero(), "{}", delivery.key);
}

#[test]
fn a_new_customer_is_created_with_its_first_sale() {
    let mut sale = sale(&charge(CHARGE, 4998, "usd").customer("cus_jenny"));
    sale.buyer = Buyer::of(&sale.charge, Some(&customer(jenny())));
    let documents = World::default().run(|cx| with_customers().sale(cx, &sale)).unwrap();
    assert!(documents.new_customer);
    documents.deliveries.iter().for_each(is_a_booking);
    insta::assert_json_snapshot!(plan(documents));
}

#[test]
fn a_customer_of_the_same_address_is_taken_and_remembered() {
    let mut sale = sale(&charge(CHARGE, 4998, "usd").customer("cus_jenny"));
    sale.buyer = Buyer::of(&sale.charge, Some(&customer(jenny())));
    let by_email = json!({"E_MAIL": "Jenny@example.com"});
    let world = World::default().query("customer.by-email", by_email, json!({"CUSTOMERNO": "0000100042"}));
    let documents = world.run(|cx| with_customers().sale(cx, &sale)).unwrap();
    assert!(!documents.new_customer);
    assert_eq!(
        documents.references,
        [["stripe.customer", "cus_jenny", "sap-ecc", "0000100042"].map(str::to_owned)]
    );
    assert_eq!(bodies(&documents)["payment"]["body"]["ACCOUNTRECEIVABLE"][0]["CUSTOMER"], "0000100042");
}

#[test]
fn an_order_that_metadata_name_is_found_and_not_created() {
    let mut sale = sale(&charge(CHARGE, 4998, "usd").customer("cus_jenny"));
    sale.order = Some("16023".into());
    let order = json!({"SALESDOCUMENT": "0000016023", "CUSTOMER": "0000100042", "CURRENCY": "EUR"});
    let world =
        World::default().query("sales-order.by-number", json!({"SALESDOCUMENT": "0000016023"}), order);
    let documents = world.run(|cx| settings(json!({})).sale(cx, &sale)).unwrap();
    let body = &bodies(&documents)["payment"]["body"];
    assert_eq!(documents.deliveries.len(), 1);
    assert_eq!(body["ACCOUNTRECEIVABLE"][0]["ALLOC_NMBR"], "0000016023");
    assert_eq!(body["ACCOUNTRECEIVABLE"][0]["CUSTOMER"], "0000100042");
    assert_eq!(
        documents.references[0],
        ["stripe.charge", CHARGE, "sap-ecc.order", "0000016023"].map(str::to_owned)
    );
    assert_eq!(documents.concerns, ["the order 0000016023 is in EUR, the charge in USD"]);
    let stop = World::default().run(|cx| settings(json!({})).sale(cx, &sale)).unwrap_err();
    assert!(matches!(stop, Stop::Reject(violations) if violations[0].code == "unknown-order"));
}

#[test]
fn a_refund_debits_the_customer_that_the_payment_was_posted_to() {
    // The reference of today names somebody else.
    let world =
        posted(World::default()).reference("stripe.customer", "cus_jenny", json!({"sap-ecc": "4711"}));
    let documents = world.run(|cx| settings(json!({})).refund(cx, &refund())).unwrap();
    documents.deliveries.iter().for_each(is_a_booking);
    insta::assert_json_snapshot!(plan(documents));
}

#[test]
fn a_refund_may_be_a_reversed_payment_with_a_credit_memo_request() {
    let settings = settings(json!({
        "refund": {"document": "reversed-payment", "credit_memo_request": true},
        "credit_memo_request": {"header": {"REFDOC_CAT": "C"}},
    }));
    let mut refund = refund();
    refund.reason_row = Some(row(json!({"order_reason": "105", "text": "goodwill"})));
    let documents = posted(World::default()).run(|cx| settings.refund(cx, &refund)).unwrap();
    documents.deliveries.iter().for_each(is_a_booking);
    assert_eq!(
        documents.numbers.iter().map(|n| n.name).collect::<Vec<_>>(),
        ["sap_ecc_refund", "sap_ecc_credit_request"]
    );
    insta::assert_json_snapshot!(bodies(&documents));
}

#[test]
fn partial_refunds_are_documents_of_their_own() {
    let ids = ["re_1", "re_2"].map(|id| {
        let refund = Refund { id: id.into(), ..refund() };
        let documents = posted(World::default()).run(|cx| settings(json!({})).refund(cx, &refund)).unwrap();
        bodies(&documents)["refund"]["body"]["DOCUMENTHEADER"]["REF_DOC_NO"].clone()
    });
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn a_failed_refund_is_reversed_by_its_number() {
    let known = json!({"sap-ecc.refund": POSTED, "sap-ecc.refund-request": "0060000001"});
    let world = posted(World::default()).reference("stripe.refund", REFUND, known);
    let mut refund = refund();
    refund.reason_row = Some(row(json!({"reversal_reason": "02"})));
    let documents = world.run(|cx| settings(json!({})).reverse_refund(cx, &refund)).unwrap();
    is_a_booking(&documents.deliveries[0]);
    assert_eq!(documents.deliveries[0].ledger[1].account, "0000100042");
    insta::assert_json_snapshot!(bodies(&documents));
    let stop = World::default().run(|cx| settings(json!({})).reverse_refund(cx, &refund)).unwrap_err();
    assert!(matches!(stop, Stop::Skip(_)));
}

fn credit() -> Credit {
    Credit {
        id: "cn_1QabcDEF0123456789abcdef".into(),
        amount: money(500, "usd"),
        text: "order change".into(),
        reason: Some("order_change".into()),
        reason_row: Some(row(json!("103"))),
        day: day(),
        buyer: Buyer::of(&stripe_charge(&charge(CHARGE, 4998, "usd").customer("cus_jenny")), None),
        posted: counterparts(json!({"sap-ecc.order": "16023"})),
    }
}

#[test]
fn a_credit_note_is_a_credit_memo_request_or_a_document() {
    let world = World::default().lookup("cus_jenny", json!("100042"));
    let documents = world.run(|cx| settings(json!({})).credit(cx, &credit())).unwrap();
    documents.deliveries.iter().for_each(is_a_booking);
    insta::assert_json_snapshot!(bodies(&documents));
    let fi = json!({"credit": {"document": "accounting-document", "revenue_account": "800000"}});
    let documents = world.run(|cx| settings(fi.clone()).credit(cx, &credit())).unwrap();
    documents.deliveries.iter().for_each(is_a_booking);
    let body = &bodies(&documents)["credit"]["body"];
    assert_eq!(body["ACCOUNTGL"][0]["GL_ACCOUNT"], "0000800000");
    assert_eq!(body["CURRENCYAMOUNT"][1]["AMT_DOCCUR"], "-5.00");
    let stop = world
        .run(|cx| settings(json!({"credit": {"document": "accounting-document"}})).credit(cx, &credit()))
        .unwrap_err();
    assert!(matches!(stop, Stop::Reject(violations) if violations[0].code == "settings"));
}

fn line(account: &str, side: Side, minor: i64, assignment: Option<&str>) -> JournalLine {
    let assignment = assignment.map(str::to_owned);
    JournalLine {
        account: account.into(),
        side,
        amount: money(minor, "usd"),
        text: String::new(),
        assignment,
    }
}

fn payout(part: usize) -> Journal {
    Journal {
        key: format!("payout-{part}"),
        fact: fact::payout("po_1", part),
        object: ("stripe.payout", "po_1".into()),
        reference: "po_1".into(),
        title: "Stripe payout".into(),
        day: day(),
        lines: vec![
            line("113100", Side::Debit, 4822, None),
            line("473120", Side::Debit, 176, None),
            line("113150", Side::Credit, 4998, Some("R144WJGG6ZXJ677C")),
        ],
    }
}

#[test]
fn a_journal_is_assigned_to_cost_centres_by_account() {
    let settings = settings(
        json!({"account_assignments": {"0000473120": {"cost_centre": "4220", "profit_centre": "pc-1"}}}),
    );
    let delivery = World::default().run(|cx| settings.journal(cx, &payout(1))).unwrap();
    is_a_booking(&delivery);
    insta::assert_json_snapshot!(plan(Documents::default().deliver(delivery)));
}

#[test]
fn parts_of_a_payout_are_told_apart() {
    let of = |part| World::default().run(|cx| settings(json!({})).journal(cx, &payout(part))).unwrap();
    let (first, second) = (of(1), of(2));
    assert_ne!(first.unless, second.unless);
    assert_eq!(first.captures[0].system, "sap-ecc.journal");
    assert_eq!(second.captures[0].system, "sap-ecc.journal.2");
}

#[test]
fn a_journal_that_does_not_balance_or_fit_is_refused() {
    let code = |journal: &Journal| match World::default().run(|cx| settings(json!({})).journal(cx, journal)) {
        Err(Stop::Reject(violations)) => violations[0].code.clone(),
        other => panic!("a refusal was expected, not {other:?}"),
    };
    let mut journal = payout(1);
    journal.lines.pop();
    assert_eq!(code(&journal), "not-balanced");
    journal.lines.clear();
    assert_eq!(code(&journal), "not-balanced");
    for _ in 0..500 {
        journal.lines.push(line("113100", Side::Debit, 1, None));
        journal.lines.push(line("113150", Side::Credit, 1, None));
    }
    assert_eq!(code(&journal), "too-many-lines");
}

#[test]
fn a_journal_is_reversed_by_its_number() {
    let reversal = Reversal {
        key: "payout-reversal-1".into(),
        fact: fact::payout_reversal("po_1", 1),
        journal: payout(1),
        number: POSTED.into(),
        day: day(),
    };
    let delivery = World::default().run(|cx| settings(json!({})).reverse_journal(cx, &reversal)).unwrap();
    is_a_booking(&delivery);
    assert_eq!((&delivery.ledger[0].account, delivery.ledger[0].side), (&"113100".to_owned(), Side::Credit));
    insta::assert_json_snapshot!(bodies(&Documents::default().deliver(delivery)));
}

fn area() -> Value {
    json!({"CUSTOMERNO": "0000100042", "PI_SALESORG": "1000", "PI_DISTR_CHAN": "10", "PI_DIVISION": "00"})
}

fn known() -> World {
    World::default().reference("stripe.customer", "cus_jenny", json!({"sap-ecc": "100042"}))
}

#[test]
fn a_customer_that_sap_describes_the_same_is_left_alone() {
    for (street, house) in [("Townsend St", "510"), ("510 Townsend St", ""), ("Townsend St 510", "")] {
        let said = json!({"PE_PERSONALDATA": {"FIRSTNAME": "Jenny", "LASTNAME": "Rosen", "STREET": street,
            "HOUSE_NO": house, "CITY": "Springfield", "POSTL_COD1": "62704", "REGION": "IL", "COUNTRY": "US",
            "TEL1_NUMBR": "+1 217 555 0100", "E_MAIL": "jenny@example.com", "CURRENCY": "EUR"}});
        let world = known().query("customer.get", area(), said);
        let documents = world.run(|cx| with_customers().customer(cx, &customer(jenny()))).unwrap();
        assert!(documents.deliveries.is_empty(), "{street}: {:?}", documents.deliveries);
    }
}

#[test]
fn only_what_differs_is_changed_and_flagged() {
    let said = json!({"PE_PERSONALDATA": {"FIRSTNAME": "", "LASTNAME": ""}, "PE_COMPANYDATA": {"NAME": "Jenny Rosen",
        "STREET": "Main Street", "HOUSE_NO": "1", "CITY": "Springfield", "POSTL_COD1": "62704", "COUNTRY": "US",
        "REGION": "IL", "E_MAIL": "jenny@example.com", "TEL1_NUMBR": "+1 217 555 0100"}});
    let world = known().query("customer.get", area(), said);
    let documents = world.run(|cx| with_customers().customer(cx, &customer(jenny()))).unwrap();
    assert_eq!(
        bodies(&documents)["customer"],
        json!({"operation": "customer.change", "once": null, "body": {
            "CUSTOMERNO": "0000100042", "PI_SALESORG": "1000", "PI_DISTR_CHAN": "10", "PI_DIVISION": "00",
            "PI_COMPANYDATA": {"STREET": "Townsend St", "HOUSE_NO": "510"},
            "PI_COMPANYDATAX": {"STREET": "X", "HOUSE_NO": "X"},
        }})
    );
}

#[test]
fn a_customer_is_created_as_a_person_or_a_company() {
    let documents = World::default().run(|cx| with_customers().customer(cx, &customer(jenny()))).unwrap();
    assert!(documents.new_customer);
    is_a_booking(&documents.deliveries[0]);
    insta::assert_json_snapshot!(bodies(&documents));
    let mut company = jenny();
    company["name"] = json!("Rosen Blumen GmbH");
    let documents =
        World::default().run(|cx| with_customers().customer(cx, &customer(company.clone()))).unwrap();
    let body = &bodies(&documents)["customer"]["body"];
    assert_eq!(
        (&body["PI_COMPANYDATA"]["NAME"], &body["PI_PERSONALDATA"]),
        (&json!("Rosen Blumen GmbH"), &json!(null))
    );
}

#[test]
fn without_an_address_or_a_reference_customer_no_customer_is_created() {
    let bare = customer(json!({"id": "cus_bare", "name": "Jenny Rosen"}));
    let stop = World::default().run(|cx| with_customers().customer(cx, &bare)).unwrap_err();
    assert!(matches!(stop, Stop::Skip(_)));
    let documents = World::default().run(|cx| settings(json!({})).customer(cx, &customer(jenny()))).unwrap();
    assert!(documents.deliveries.is_empty());
}

#[test]
fn blocks_are_set_and_lifted() {
    let mut block = Block {
        id: "issfr_1".into(),
        set: true,
        reason: "an early fraud warning".into(),
        charge: stripe_charge(&charge(CHARGE, 4998, "usd")),
        posted: counterparts(json!({"sap-ecc.order": "0000016023"})),
    };
    let of = |block: &Block, more: Value| {
        World::default().run(|cx| settings(more.clone()).block(cx, block)).unwrap()
    };
    insta::assert_json_snapshot!(bodies(&of(&block, json!({}))));
    block.set = false;
    let lifted = bodies(&of(&block, json!({"block": {"billing": ""}})));
    assert_eq!(lifted["block"]["body"]["ORDER_HEADER_IN"], json!({"DLV_BLOCK": ""}));
    assert_eq!(lifted["block"]["body"]["ORDER_HEADER_INX"], json!({"UPDATEFLAG": "U", "DLV_BLOCK": "X"}));
    block.posted = counterparts(json!({}));
    assert!(of(&block, json!({})).deliveries.is_empty());
}
