//! A refund: the customer owes again what was given back, the clearing account pays it out. A refund that failed
//! is reversed by number.
//!
//! The customer is the one that the payment was posted to, as SAP itself says: who the buyer is today may have
//! changed since.

use portolan_sdk::{
    ask::Row,
    contract::{Delivery, Side},
    flow::{Documents, Refund, fact},
    prelude::*,
    sap,
    stripe::Buyer,
    text::Field,
};
use serde_json::Value;

use crate::{
    ERP, RefundDocument, Settings,
    credit::Request,
    customer::{self, Payer},
    posting::{self, Posting},
};

const REFUND: &str = "refund";
const REQUEST: &str = "credit-memo-request";
const REVERSAL: &str = "refund-reversal";

/// The documents of money given back.
pub(crate) fn documents(settings: &Settings, cx: &Cx<'_>, refund: &Refund) -> Result<Documents, Stop> {
    let buyer = Buyer::of(&refund.charge, None);
    let posted = match refund.posted.id("sap-ecc.fi") {
        Some(document) => customer_of(cx, document)?,
        None => None,
    };
    let payer = match posted {
        Some(number) => Payer::known(settings, &number, &buyer)?,
        None => customer::known_payer(settings, cx, &buyer)?,
    };
    let document_type = match (&settings.refund.document_type, settings.refund.document) {
        (Some(other), _) => other.as_str(),
        (None, RefundDocument::CreditMemo) => "DG",
        (None, RefundDocument::ReversedPayment) => "DZ",
    };
    let text = text(&refund.id, refund.reason.as_deref(), refund.reason_row.as_ref());
    let posting = Posting {
        key: REFUND,
        fact: fact::refund(&refund.id),
        object: &refund.id,
        title: "Stripe refund",
        text: text.clone(),
        document_type,
        day: refund.day,
        amount: refund.amount,
        account: &settings.clearing_account,
        customer: &payer,
        customer_side: Side::Debit,
        assignment: refund.posted.id("sap-ecc.order"),
    };
    let delivery =
        posting.delivery(settings)?.capture("stripe.refund", &refund.id, "sap-ecc.refund", "/OBJ_KEY");
    let documents = Documents::default().deliver(delivery).number("sap_ecc_refund", REFUND, "/OBJ_KEY");
    if !settings.refund.credit_memo_request {
        return Ok(documents);
    }
    let request = Request {
        key: REQUEST,
        fact: format!("{}/request", fact::refund(&refund.id)),
        object: &refund.id,
        text: &text,
        day: refund.day,
        amount: refund.amount,
        payer: &payer,
        order: refund.posted.id("sap-ecc.order"),
        reason: refund.reason_row.as_ref(),
    };
    let request = request.delivery(settings)?;
    let request = request.capture("stripe.refund", &refund.id, "sap-ecc.refund-request", "/SALESDOCUMENT");
    Ok(documents.deliver(request).number("sap_ecc_credit_request", REQUEST, "/SALESDOCUMENT"))
}

/// What people read: the id, and why.
pub(crate) fn text(id: &str, reason: Option<&str>, row: Option<&Row>) -> String {
    let why = row.and_then(|row| row.field("text")).or_else(|| reason.map(|reason| reason.replace('_', " ")));
    sap::ITEM_TEXT.shortened(&why.map_or_else(|| id.to_owned(), |why| format!("{id} {why}")))
}

/// The customer of a posted document.
fn customer_of(cx: &Cx<'_>, document: &str) -> Result<Option<String>, Stop> {
    let document: Option<Value> = cx.query(ERP, "accounting-document.get", json!({"OBJ_KEY": document}))?;
    let lines = document.as_ref().and_then(|document| document.get("ITEMS")).and_then(Value::as_array);
    let customer =
        |line: &Value| line.get("CUSTOMER").and_then(Value::as_str).map(|text| text.trim().to_owned());
    Ok(lines.into_iter().flatten().filter_map(customer).find(|customer| !customer.is_empty()))
}

/// A refund that failed.
pub(crate) fn reversal(settings: &Settings, cx: &Cx<'_>, refund: &Refund) -> Result<Documents, Stop> {
    let known = cx.reference("stripe.refund", &refund.id)?;
    let Some(document) = known.id("sap-ecc.refund") else {
        return Err(Stop::skip(format!("{} was never posted, so there is nothing to reverse", refund.id)));
    };
    let customer = customer_of(cx, document)?.unwrap_or_else(|| "customer".to_owned());
    let reason = refund.reason_row.as_ref().and_then(|row| row.field("reversal_reason"));
    let reason = reason.as_deref().unwrap_or(&settings.reversal_reason);
    let fact = fact::refund_reversal(&refund.id);
    let delivery = posting::reversal(settings, REVERSAL, fact, (document, refund.day, reason))?;
    let (amount, currency) =
        (sap::amount(refund.amount, &settings.currency_decimals)?, refund.amount.currency.code());
    let delivery = delivery
        .capture("stripe.refund", &refund.id, "sap-ecc.refund-reversal", "/OBJ_KEY")
        .debit(sap::GL_ACCOUNT.alpha(&settings.clearing_account)?, amount, currency)
        .credit(customer, amount, currency);
    let documents =
        Documents::default().deliver(delivery).number("sap_ecc_refund_reversal", REVERSAL, "/OBJ_KEY");
    Ok(match known.id("sap-ecc.refund-request") {
        Some(request) => documents.deliver(withdrawal(settings, request)?),
        None => documents,
    })
}

/// A credit memo request of a refund that failed may not be billed any more.
fn withdrawal(settings: &Settings, request: &str) -> Result<Delivery, Stop> {
    let block = if settings.block.billing.is_empty() { "01" } else { &settings.block.billing };
    let body = json!({
        "SALESDOCUMENT": sap::SALESDOCUMENT.alpha(request)?,
        "ORDER_HEADER_IN": {"BILL_BLOCK": Field::new("BILL_BLOCK", 2).text(block)?},
        "ORDER_HEADER_INX": {"UPDATEFLAG": "U", "BILL_BLOCK": "X"},
    });
    Ok(Delivery::new("credit-memo-request-block", ERP, "sales-order.change", body))
}
