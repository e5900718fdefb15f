//! `BAPI_SALESORDER_CREATEFROMDAT2` and `BAPI_SALESORDER_GETSTATUS`.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde_json::json;

use crate::clock::dats;
use crate::money;
use crate::sap::documents::{OrderItem, SALES_ORDER, SALES_ORDER_UPDATE, SalesOrder};
use crate::sap::messages::{Message, nothing};
use crate::sap::parameters::Kind::{C, D, N, P};
use crate::sap::parameters::Shape::{Scalar, Structure, Table};
use crate::sap::parameters::{Fieldset, Interface, Parameters, alpha, alpha_out};
use crate::sap::xml::Answer;
use crate::sap::{Ended, Finished, SapEcc, Work};
use crate::stand_in::Draft;

pub(crate) const CREATE: Interface = &[
    ("SALESDOCUMENTIN", Scalar(C(10))),
    (
        "ORDER_HEADER_IN",
        Structure(&[
            ("DOC_TYPE", C(4)),
            ("SALES_ORG", C(4)),
            ("DISTR_CHAN", C(2)),
            ("DIVISION", C(2)),
            ("SALES_GRP", C(3)),
            ("SALES_OFF", C(4)),
            ("REQ_DATE_H", D),
            ("DATE_TYPE", C(1)),
            ("PURCH_DATE", D),
            ("PO_METHOD", C(4)),
            ("REF_1", C(12)),
            ("NAME", C(35)),
            ("TELEPHONE", C(16)),
            ("PMNTTRMS", C(4)),
            ("DLV_BLOCK", C(2)),
            ("BILL_BLOCK", C(2)),
            ("ORD_REASON", C(3)),
            ("PRICE_DATE", D),
            ("PURCH_NO_C", C(35)),
            ("PURCH_NO_S", C(35)),
            ("DOC_DATE", D),
            ("REF_DOC", C(10)),
            ("REF_DOC_L", C(16)),
            ("ASS_NUMBER", C(18)),
            ("BILL_DATE", D),
            ("CURRENCY", C(5)),
            ("CURR_ISO", C(3)),
            ("CREATED_BY", C(12)),
        ]),
    ),
    ("ORDER_HEADER_INX", Structure(&[("UPDATEFLAG", C(1))])),
    ("SENDER", Structure(&[])),
    ("BINARY_RELATIONSHIPTYPE", Scalar(C(4))),
    ("INT_NUMBER_ASSIGNMENT", Scalar(C(1))),
    ("BEHAVE_WHEN_ERROR", Scalar(C(1))),
    ("LOGIC_SWITCH", Structure(&[])),
    ("TESTRUN", Scalar(C(1))),
    ("CONVERT", Scalar(C(1))),
    ("RETURN", Table(&[])),
    (
        "ORDER_ITEMS_IN",
        Table(&[
            ("ITM_NUMBER", N(6)),
            ("PO_ITM_NO", C(6)),
            ("MATERIAL", C(18)),
            ("CUST_MAT35", C(35)),
            ("PLANT", C(4)),
            ("STORE_LOC", C(4)),
            ("TARGET_QTY", P(13, 3)),
            ("TARGET_QU", C(3)),
            ("ITEM_CATEG", C(4)),
            ("SHORT_TEXT", C(40)),
            ("REASON_REJ", C(2)),
            ("SALES_UNIT", C(3)),
            ("PURCH_NO_C", C(35)),
            ("REF_1", C(12)),
        ]),
    ),
    ("ORDER_ITEMS_INX", Table(&[("ITM_NUMBER", N(6)), ("UPDATEFLAG", C(1))])),
    (
        "ORDER_PARTNERS",
        Table(&[
            ("PARTN_ROLE", C(2)),
            ("PARTN_NUMB", C(10)),
            ("ITM_NUMBER", N(6)),
            ("NAME", C(35)),
            ("NAME_2", C(35)),
            ("STREET", C(35)),
            ("COUNTRY", C(3)),
            ("COUNTR_ISO", C(2)),
            ("POSTL_CODE", C(10)),
            ("CITY", C(35)),
            ("REGION", C(3)),
            ("TELEPHONE", C(16)),
            ("LANGU", C(1)),
        ]),
    ),
    (
        "ORDER_SCHEDULES_IN",
        Table(&[("ITM_NUMBER", N(6)), ("SCHED_LINE", N(4)), ("REQ_DATE", D), ("REQ_QTY", P(13, 3))]),
    ),
    ("ORDER_SCHEDULES_INX", Table(&[("ITM_NUMBER", N(6)), ("SCHED_LINE", N(4)), ("UPDATEFLAG", C(1))])),
    (
        "ORDER_CONDITIONS_IN",
        Table(&[
            ("ITM_NUMBER", N(6)),
            ("COND_ST_NO", N(3)),
            ("COND_COUNT", N(2)),
            ("COND_TYPE", C(4)),
            ("COND_VALUE", P(28, 9)),
            ("CURRENCY", C(5)),
            ("COND_UNIT", C(3)),
            ("COND_P_UNT", P(5, 0)),
            ("CURR_ISO", C(3)),
        ]),
    ),
    ("ORDER_CONDITIONS_INX", Table(&[("ITM_NUMBER", N(6)), ("COND_TYPE", C(4)), ("UPDATEFLAG", C(1))])),
    ("ORDER_CFGS_REF", Table(&[])),
    ("ORDER_CFGS_INST", Table(&[])),
    ("ORDER_CFGS_VALUE", Table(&[])),
    ("ORDER_CCARD", Table(&[])),
    (
        "ORDER_TEXT",
        Table(&[
            ("DOC_NUMBER", C(10)),
            ("ITM_NUMBER", N(6)),
            ("TEXT_ID", C(4)),
            ("LANGU", C(1)),
            ("FORMAT_COL", C(2)),
            ("TEXT_LINE", C(132)),
        ]),
    ),
    ("ORDER_KEYS", Table(&[])),
    ("EXTENSIONIN", Table(&[("STRUCTURE", C(30)), ("VALUEPART1", C(240)), ("VALUEPART2", C(240))])),
    ("PARTNERADDRESSES", Table(&[])),
];

/// `BAPI_SALESORDER_CHANGE`. A field counts where its flag in ORDER_HEADER_INX is set.
pub(crate) const CHANGE: Interface = &[
    ("SALESDOCUMENT", Scalar(C(10))),
    (
        "ORDER_HEADER_IN",
        Structure(&[("DLV_BLOCK", C(2)), ("BILL_BLOCK", C(2)), ("ORD_REASON", C(3)), ("PURCH_NO_C", C(35))]),
    ),
    ("ORDER_HEADER_INX", Structure(&[("UPDATEFLAG", C(1))])),
    ("SIMULATION", Scalar(C(1))),
    ("BEHAVE_WHEN_ERROR", Scalar(C(1))),
    ("RETURN", Table(&[])),
    ("ORDER_ITEM_IN", Table(&[("ITM_NUMBER", N(6)), ("REASON_REJ", C(2))])),
    ("ORDER_ITEM_INX", Table(&[("ITM_NUMBER", N(6)), ("UPDATEFLAG", C(1))])),
];

pub(crate) const GETSTATUS: Interface = &[("SALESDOCUMENT", Scalar(C(10))), ("STATUSINFO", Table(&[]))];

/// Internal type, and the text in messages.
fn order_type(code: &str) -> Option<(&'static str, &'static str)> {
    match code {
        "OR" | "TA" => Some(("TA", "Standard Order")),
        "CR" | "G2" => Some(("G2", "Credit Memo Request")),
        "RE" => Some(("RE", "Returns")),
        "CS" | "BV" => Some(("BV", "Cash Sale")),
        _ => None,
    }
}

/// The sold-to party: `AG`, or `SP` as an English logon shows it.
fn sold_to(parameters: &Parameters) -> String {
    let partner = parameters
        .table("ORDER_PARTNERS")
        .iter()
        .find(|partner| matches!(partner.get("PARTN_ROLE"), "AG" | "SP"));
    alpha(partner.map_or("", |partner| partner.get("PARTN_NUMB")), 10)
}

fn decimal(text: &str) -> Decimal {
    money::parse(text).unwrap_or_default()
}

impl SapEcc {
    pub(crate) fn sales_order_create(&mut self, work: &Work<'_>, parameters: &Parameters) -> Ended {
        let header = parameters.structure("ORDER_HEADER_IN");
        let customer = sold_to(parameters);
        let mut messages = self.sales_header_check(&header, &customer);
        let refers_to = alpha(header.get("REF_DOC"), 10);
        if !refers_to.is_empty() && self.documents.order(&refers_to, work.moment.now_ms).is_none() {
            let text = format!("Sales document {} does not exist", alpha_out(&refers_to));
            messages.push(Message::error("V1", "302", text).at("SALES_HEADER_IN", 0, "REF_DOC"));
        }
        messages.extend(self.sales_items_check(&header, parameters));
        if messages.iter().any(Message::is_error) {
            messages.push(Message::error("V4", "219", "Sales document was not changed").at(
                "SALES_HEADER_IN",
                0,
                "",
            ));
            return Ended::Answered(sales_answer("", &messages, &self.logical_system()));
        }
        let test = parameters.scalar("TESTRUN") == "X";
        let number = if test { String::new() } else { self.sales_order_number() };
        let order = self.sales_order(work, parameters, &number);
        messages.push(
            Message::new("S", "V4", "233", "SALES_HEADER_IN has been processed successfully")
                .variables(["VBAKKOM"])
                .at("SALES_HEADER_IN", 0, ""),
        );
        for (index, item) in order.items.iter().enumerate() {
            messages.push(
                Message::new("S", "V4", "233", "SALES_ITEM_IN has been processed successfully")
                    .variables(["VBAPKOM", &item.number])
                    .at("SALES_ITEM_IN", index + 1, ""),
            );
        }
        let shown = alpha_out(&number).to_owned();
        let text = order_type(header.get("DOC_TYPE")).map_or("", |(_, text)| text);
        if order.items.iter().any(|item| decimal(&item.quantity).is_zero()) {
            messages.push(
                Message::new("W", "V1", "555", "The sales document is not yet complete: Edit data").at(
                    "SALES_HEADER_IN",
                    0,
                    "",
                ),
            );
        }
        if !test {
            messages.push(
                Message::new("S", "V1", "311", format!("{text} {shown} has been saved"))
                    .variables([text, &shown])
                    .at("SALES_HEADER_IN", 0, ""),
            );
        }
        let mut finished = sales_answer(&number, &messages, &self.logical_system());
        if !test {
            finished.drafts.push(draft(SALES_ORDER, work, &order));
        }
        Ended::Answered(finished)
    }

    fn sales_header_check(&self, header: &Fieldset, customer: &str) -> Vec<Message> {
        let mut messages = Vec::new();
        let mut refuse = |message: Message| messages.push(message);
        let area =
            format!("{}/{}/{}", header.get("SALES_ORG"), header.get("DISTR_CHAN"), header.get("DIVISION"));
        let shown_area = area.replace('/', " ");
        if order_type(header.get("DOC_TYPE")).is_none() {
            let text = format!("Sales document type {} is not defined", header.get("DOC_TYPE"));
            refuse(Message::error("V1", "310", text).at("SALES_HEADER_IN", 0, "DOC_TYPE"));
        }
        if !self.options.sales_areas.contains_key(&area) {
            let text = format!("Sales area {shown_area} is not defined");
            refuse(Message::error("V1", "382", text).at("SALES_HEADER_IN", 0, "SALES_ORG"));
        }
        match self.customer(customer) {
            None => {
                let text = format!("Customer {} does not exist", alpha_out(customer));
                refuse(Message::error("VP", "204", text).variables([customer]).at(
                    "ORDER_PARTNERS",
                    1,
                    "PARTN_NUMB",
                ));
            }
            Some(master) if !master.sales_areas.contains(&area) => {
                let text =
                    format!("Customer {} is not defined in sales area {shown_area}", alpha_out(customer));
                refuse(Message::error("V1", "384", text).variables([customer]).at(
                    "ORDER_PARTNERS",
                    1,
                    "PARTN_NUMB",
                ));
            }
            Some(_) if self.is_locked(customer) => {
                let text =
                    format!("Customer {} is currently being processed by user MILLER", alpha_out(customer));
                refuse(Message::error("V1", "042", text).variables([customer, "MILLER"]));
            }
            Some(_) => {}
        }
        let currency = header.get("CURRENCY");
        if !currency.is_empty() && money::decimals(currency).is_none() {
            let text = format!("Entry {currency} does not exist in TCURC (check entry)");
            refuse(Message::error("00", "058", text).at("SALES_HEADER_IN", 0, "CURRENCY"));
        } else if self.options.currencies_without_rate.contains(currency) {
            let text = format!("Enter rate {currency} / USD rate type M");
            refuse(Message::error("SG", "105", text).at("SALES_HEADER_IN", 0, "CURRENCY"));
        }
        messages
    }

    fn sales_items_check(&self, header: &Fieldset, parameters: &Parameters) -> Vec<Message> {
        let mut messages = Vec::new();
        for (index, item) in parameters.table("ORDER_ITEMS_IN").iter().enumerate() {
            let material = alpha(item.get("MATERIAL"), 18);
            let shown = alpha_out(&material);
            if self.options.materials_unmaintained.contains(shown) {
                let text = format!(
                    "Material {shown} is not defined for sales org.{}, distr.chan.{}, language EN",
                    header.get("SALES_ORG"),
                    header.get("DISTR_CHAN")
                );
                messages.push(Message::error("M3", "351", text).at("SALES_ITEM_IN", index + 1, "MATERIAL"));
            } else if !self.options.materials.contains_key(shown) {
                let text = format!("The material {shown} does not exist or is not activated");
                messages.push(Message::error("M3", "305", text).variables([shown]).at(
                    "SALES_ITEM_IN",
                    index + 1,
                    "MATERIAL",
                ));
            } else if self.is_locked(&material) {
                let text = format!("Material {shown} is locked by user MILLER");
                messages.push(Message::error("MC", "601", text).variables(["MILLER"]));
            }
        }
        for (index, condition) in parameters.table("ORDER_CONDITIONS_IN").iter().enumerate() {
            let currency =
                if condition.get("CURRENCY").is_empty() { header } else { condition }.get("CURRENCY");
            if !money::fits(decimal(condition.get("COND_VALUE")), currency) {
                let text = format!(
                    "Amount {} has too many decimal places for {currency}",
                    condition.get("COND_VALUE")
                );
                messages.push(Message::error("S&", "042", text).at(
                    "ORDER_CONDITIONS_IN",
                    index + 1,
                    "COND_VALUE",
                ));
            }
        }
        messages
    }

    fn sales_order_number(&mut self) -> String {
        self.next_order += 1;
        format!("{:0>10}", self.next_order - 1)
    }

    fn sales_order(&self, work: &Work<'_>, parameters: &Parameters, number: &str) -> SalesOrder {
        let header = parameters.structure("ORDER_HEADER_IN");
        let mut quantities: BTreeMap<&str, Decimal> = BTreeMap::new();
        for line in parameters.table("ORDER_SCHEDULES_IN") {
            *quantities.entry(line.get("ITM_NUMBER")).or_default() += decimal(line.get("REQ_QTY"));
        }
        let mut items = Vec::new();
        let mut net = Decimal::ZERO;
        for item in parameters.table("ORDER_ITEMS_IN") {
            let item_number = item.get("ITM_NUMBER");
            let quantity = quantities.get(item_number).copied().unwrap_or_default();
            let conditions = parameters
                .table("ORDER_CONDITIONS_IN")
                .iter()
                .filter(|row| row.get("ITM_NUMBER") == item_number);
            // A price per n units counts once per n; a condition without price unit is per one.
            let price: Decimal = conditions
                .map(|row| {
                    let per = decimal(row.get("COND_P_UNT"));
                    let value = decimal(row.get("COND_VALUE"));
                    if per.is_zero() { value } else { value / per }
                })
                .sum();
            let line_net = (quantity * price).normalize();
            net += line_net;
            let material = alpha(item.get("MATERIAL"), 18);
            let known = self.options.materials.get(alpha_out(&material)).cloned().unwrap_or_default();
            let text =
                if item.get("SHORT_TEXT").is_empty() { known } else { item.get("SHORT_TEXT").to_owned() };
            items.push(OrderItem {
                number: item_number.to_owned(),
                material,
                text,
                quantity: quantity.to_string(),
                price: price.to_string(),
                net: line_net.to_string(),
            });
        }
        let header_conditions = parameters
            .table("ORDER_CONDITIONS_IN")
            .iter()
            .filter(|row| matches!(row.get("ITM_NUMBER"), "" | "000000"));
        net += header_conditions.map(|row| decimal(row.get("COND_VALUE"))).sum::<Decimal>();
        let area =
            format!("{}/{}/{}", header.get("SALES_ORG"), header.get("DISTR_CHAN"), header.get("DIVISION"));
        let company = self.options.sales_areas.get(&area).cloned().unwrap_or_default();
        let company_currency =
            self.options.company_codes.get(&company).map_or("", |company| &company.currency);
        let currency =
            if header.get("CURRENCY").is_empty() { company_currency } else { header.get("CURRENCY") };
        SalesOrder {
            number: number.to_owned(),
            doc_type: order_type(header.get("DOC_TYPE")).map_or("", |(code, _)| code).to_owned(),
            sales_org: header.get("SALES_ORG").to_owned(),
            channel: header.get("DISTR_CHAN").to_owned(),
            division: header.get("DIVISION").to_owned(),
            company,
            customer: sold_to(parameters),
            reference: header.get("PURCH_NO_C").to_owned(),
            currency: currency.to_owned(),
            date: dats(work.moment.now_ms),
            user: work.user.to_owned(),
            net: money::text(net, currency),
            items,
            delivery_block: header.get("DLV_BLOCK").to_owned(),
            billing_block: header.get("BILL_BLOCK").to_owned(),
            reason: header.get("ORD_REASON").to_owned(),
            refers_to: alpha(header.get("REF_DOC"), 10),
            visible_at_ms: work.moment.now_ms,
        }
    }

    pub(crate) fn sales_order_change(&self, work: &Work<'_>, parameters: &Parameters) -> Ended {
        let number = alpha(parameters.scalar("SALESDOCUMENT"), 10);
        let system = self.logical_system();
        let refuse = |message: Message| {
            let trailing =
                Message::error("V4", "219", "Sales document was not changed").at("SALES_HEADER_IN", 0, "");
            Ended::Answered(change_answer(&[message, trailing], &system))
        };
        let Some(order) = self.documents.order(&number, work.moment.now_ms) else {
            let text = format!("Sales document {} does not exist", alpha_out(&number));
            return refuse(Message::error("V1", "302", text).variables([alpha_out(&number)]));
        };
        if self.is_locked(&number) {
            let text =
                format!("Sales document {} is currently being processed by user MILLER", alpha_out(&number));
            return refuse(Message::error("V1", "042", text));
        }
        let (header, flags) =
            (parameters.structure("ORDER_HEADER_IN"), parameters.structure("ORDER_HEADER_INX"));
        if flags.get("UPDATEFLAG") != "U" {
            return refuse(Message::error("V4", "248", "Error in SALES_HEADER_IN: UPDATEFLAG is not U"));
        }
        let mut order = order.clone();
        for (name, slot) in [
            ("DLV_BLOCK", &mut order.delivery_block),
            ("BILL_BLOCK", &mut order.billing_block),
            ("ORD_REASON", &mut order.reason),
        ] {
            if flags.get(name) == "X" {
                header.get(name).clone_into(slot);
            }
        }
        let messages = [
            Message::new("S", "V4", "233", "SALES_HEADER_IN has been processed successfully")
                .variables(["VBAKKOM"])
                .at("SALES_HEADER_IN", 0, ""),
            Message::new("S", "V1", "311", format!("Standard Order {} has been saved", alpha_out(&number)))
                .variables(["Standard Order", alpha_out(&number)]),
        ];
        let mut finished = change_answer(&messages, &system);
        finished.drafts.push(draft(SALES_ORDER_UPDATE, work, &order));
        Ended::Answered(finished)
    }

    pub(crate) fn sales_order_status(&self, work: &Work<'_>, parameters: &Parameters) -> Ended {
        let number = alpha(parameters.scalar("SALESDOCUMENT"), 10);
        let mut finished = Finished::default();
        match self.documents.order(&number, work.moment.seen_ms) {
            None => {
                let text = format!("Sales document {} does not exist", alpha_out(&number));
                let message = Message::error("V1", "302", text).variables([alpha_out(&number)]);
                finished.export("RETURN", Answer::Structure(message.row_return()));
                finished.table("STATUSINFO", Vec::new());
            }
            Some(order) => {
                let rows = order.items.iter().map(|item| {
                    vec![
                        ("DOC_NUMBER", order.number.clone()),
                        ("DOC_DATE", order.date.clone()),
                        ("PURCH_NO", order.reference.chars().take(20).collect()),
                        ("DOC_STATUS", "A".to_owned()),
                        ("ITM_NUMBER", item.number.clone()),
                        ("MATERIAL", item.material.clone()),
                        ("SHORT_TEXT", item.text.clone()),
                        ("REQ_QTY", item.quantity.clone()),
                        ("NET_VALUE", item.net.clone()),
                        ("CURRENCY", order.currency.clone()),
                    ]
                });
                finished.table("STATUSINFO", rows.collect());
                finished.export("RETURN", Answer::Structure(Message::new("", "", "", "").row_return()));
            }
        }
        Ended::Answered(finished)
    }
}

fn draft(kind: &'static str, work: &Work<'_>, order: &SalesOrder) -> Draft {
    let lines = order.items.iter().map(|item| {
        json!({"item": item.number, "material": alpha_out(&item.material), "quantity": item.quantity,
               "price": item.price, "amount": item.net})
    });
    Draft::new(kind, order.number.clone(), order.reference.clone(), work.call)
        .amount(&order.currency, decimal(&order.net))
        .lines(lines.collect())
        .document(serde_json::to_value(order).unwrap_or_default())
}

fn sales_answer(number: &str, messages: &[Message], system: &str) -> Finished {
    let mut finished = Finished::default();
    finished.export("SALESDOCUMENT", Answer::Scalar(number.to_owned()));
    finished.failed = messages.iter().any(Message::is_error);
    finished.table("RETURN", messages.iter().map(|message| message.row(system)).collect());
    finished
}

fn change_answer(messages: &[Message], system: &str) -> Finished {
    let mut finished = Finished { failed: messages.iter().any(Message::is_error), ..Finished::default() };
    finished.table("RETURN", messages.iter().map(|message| message.row(system)).collect());
    finished
}

/// The answer of a sales order function that could not get at its customer, or was refused for the business.
pub(crate) fn sales_refusal(message: Message, system: &str) -> Finished {
    let trailing = Message::error("V4", "219", "Sales document was not changed").at("SALES_HEADER_IN", 0, "");
    sales_answer("", &[message, trailing], system)
}

/// `BAPI_TRANSACTION_COMMIT` and `_ROLLBACK` answer a structure.
pub(crate) fn transaction_answer(system: &str) -> Finished {
    let mut finished = Finished::default();
    finished.export("RETURN", Answer::Structure(nothing(system)));
    finished
}
