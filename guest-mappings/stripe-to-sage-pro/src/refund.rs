//! Credit memos: money given back for a charge, and what is taken back without money; and their void.
//!
//! A memo has one line for what is given back. Its tax is the invoice's in proportion, to the last unit: a refund
//! of the whole takes back the whole tax.

use portolan_sdk::{
    Stop,
    ask::{self, Counterparts, Row},
    contract::{Delivery, Side},
    date::Date,
    flow::{Credit, Documents, Refund, fact},
    money::{Currency, Decimal, Money},
    prelude::*,
    sage_pro,
    stripe::Prices,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{CUSTOMER, ERP, MEMO, Settings};

/// An invoice, or a credit memo, as the gateway answers it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Document {
    #[serde(rename = "InvNo")]
    pub(crate) number: String,
    #[serde(rename = "CustNo")]
    pub(crate) customer: String,
    #[serde(rename = "Total")]
    total: String,
    #[serde(rename = "Tax")]
    tax: Option<String>,
}

/// A cash receipt, and what it paid.
#[derive(Debug, Deserialize)]
struct Receipt {
    #[serde(rename = "CustNo")]
    customer: String,
    #[serde(rename = "Applications", default)]
    applications: Option<Vec<Application>>,
}

#[derive(Debug, Deserialize)]
struct Application {
    #[serde(rename = "InvNo")]
    invoice: String,
}

/// What Sage Pro has of a charge.
#[derive(Debug, Default)]
pub(crate) struct Posted {
    /// Whose.
    pub(crate) customer: Option<String>,
    /// The invoices it paid.
    pub(crate) invoices: Vec<Document>,
}

/// Reads what Sage Pro has of a charge: its invoice, else its receipt and the invoices that it paid.
pub(crate) fn posted(cx: &Cx<'_>, known: &Counterparts, charge: Option<&str>) -> Result<Posted, Stop> {
    let by_charge = |charge: &str| json!({"ExternalRef": charge});
    let invoice = match known.id("sage-pro.invoice") {
        Some(number) => Some(json!({"InvNo": number})),
        None => charge.map(by_charge),
    };
    let (invoice, receipt) = cx.all((
        invoice.map(|asked| ask::query::<Document>(ERP, "invoice.find", asked)),
        charge.map(|charge| ask::query::<Receipt>(ERP, "cash-receipt.find", by_charge(charge))),
    ))?;
    if let Some(invoice) = invoice.flatten() {
        return Ok(Posted { customer: Some(invoice.customer.clone()), invoices: vec![invoice] });
    }
    let Some(receipt) = receipt.flatten() else { return Ok(Posted::default()) };
    let paid = receipt.applications.unwrap_or_default().into_iter();
    let asked = paid.map(|paid| ask::query::<Document>(ERP, "invoice.find", json!({"InvNo": paid.invoice})));
    let invoices = cx.all(asked.collect::<Vec<_>>())?.into_iter().flatten().collect();
    Ok(Posted { customer: Some(receipt.customer), invoices })
}

/// What a memo says, besides whom it is for.
struct Memo<'a> {
    id: &'a str,
    amount: Money,
    day: Date,
    text: String,
    reason: String,
    row: Option<&'a Row>,
}

/// The credit memo of a refund, with the money that went back.
pub(crate) fn documents(cx: &Cx<'_>, settings: &Settings, refund: &Refund) -> Result<Documents, Stop> {
    let posted = posted(cx, &refund.posted, Some(&refund.charge.id))?;
    let Some(customer) = posted.customer.clone() else {
        let text = format!("Sage Pro has neither invoice nor receipt of {} yet", refund.charge.id);
        return Err(Stop::defer(text));
    };
    let memo = Memo {
        id: &refund.id,
        amount: refund.amount,
        day: refund.day,
        text: format!("Refund {}", refund.id),
        reason: refund.reason.clone().unwrap_or_else(|| "refund".to_owned()),
        row: refund.reason_row.as_ref(),
    };
    let (net, tax) = shares(settings, refund.amount, posted.invoices.first())?;
    let mut body = body(settings, &memo, (net, tax), &posted)?;
    body.insert("CustNo".to_owned(), json!(customer));
    let payment = json!({
        "Method": sage_pro::METHOD.required(&settings.payment_method)?,
        "Amount": refund.amount.decimal()?.to_string(),
        "Reference": sage_pro::EXTERNAL_REF.required(&refund.id)?,
        "Date": refund.day.to_string(),
    });
    body.insert("Refund".to_owned(), payment);
    let delivery = Delivery::new(MEMO, ERP, "credit-memo.create", Value::Object(body))
        .once(fact::refund(&refund.id))
        .unless(Check::in_doubt("credit-memo.find", json!({"ExternalRef": refund.id}), "/InvNo"))
        .capture("stripe.refund", &refund.id, "sage-pro.refund", "/InvNo");
    let delivery = ledger(delivery, settings, (net, tax), &settings.accounts.clearing)?;
    Ok(Documents::default().deliver(delivery).number("sage_pro_credit_memo", MEMO, "/InvNo"))
}

/// The credit memo of a credit note: the receivable is lowered, no money moves.
pub(crate) fn credit(cx: &Cx<'_>, settings: &Settings, credit: &Credit) -> Result<Documents, Stop> {
    let posted = posted(cx, &credit.posted, None)?;
    let currency = credit.amount.currency;
    let (customer, documents) = match posted.customer.clone() {
        Some(customer) => (Some(customer), Documents::default()),
        None => crate::customer::of_sale(cx, settings, &credit.buyer, currency.code())?,
    };
    let memo = Memo {
        id: &credit.id,
        amount: credit.amount,
        day: credit.day,
        text: credit.text.clone(),
        reason: credit.reason.clone().unwrap_or_else(|| "credit note".to_owned()),
        row: credit.reason_row.as_ref(),
    };
    let (net, tax) = shares(settings, credit.amount, posted.invoices.first())?;
    let mut body = body(settings, &memo, (net, tax), &posted)?;
    if let Some(customer) = &customer {
        body.insert("CustNo".to_owned(), json!(customer));
    }
    let delivery = Delivery::new(MEMO, ERP, "credit-memo.create", Value::Object(body))
        .once(fact::credit(&credit.id))
        .unless(Check::in_doubt("credit-memo.find", json!({"ExternalRef": credit.id}), "/InvNo"))
        .capture("stripe.credit-note", &credit.id, "sage-pro.credit", "/InvNo");
    let delivery = ledger(delivery, settings, (net, tax), settings.receivables()?)?;
    let delivery = match customer {
        Some(_) => delivery,
        None => delivery.after(CUSTOMER).bind(CUSTOMER, "/CustNo", "/CustNo"),
    };
    Ok(documents.deliver(delivery).number("sage_pro_credit_memo", MEMO, "/InvNo"))
}

/// The credit memo of a refund that failed is made void: the money never left.
pub(crate) fn reversal(cx: &Cx<'_>, settings: &Settings, refund: &Refund) -> Result<Documents, Stop> {
    let memo: Option<Document> = cx.query(ERP, "credit-memo.find", json!({"ExternalRef": refund.id}))?;
    let memo =
        memo.ok_or_else(|| Stop::defer(format!("Sage Pro has no credit memo of {} yet", refund.id)))?;
    let tax = memo.tax.as_deref().map(|tax| units(tax, refund.amount.currency)).transpose()?;
    let tax = Money::new(tax.unwrap_or(0), refund.amount.currency);
    let net = Money::new(refund.amount.minor - tax.minor, refund.amount.currency);
    let reason = "Stripe could not refund";
    let body = json!({
        "InvNo": memo.number, "ExternalRef": sage_pro::EXTERNAL_REF.required(&refund.id)?,
        "Date": refund.day.to_string(), "Reason": sage_pro::REASON.shortened(reason),
    });
    let mut delivery = Delivery::new("refund-reversal", ERP, "credit-memo.void", body)
        .once(fact::refund_reversal(&refund.id))
        .unless(Check::always("credit-memo.find", json!({"ExternalRef": refund.id}), "/VoidDate"))
        .capture("stripe.refund", &refund.id, "sage-pro.refund-reversal", "/InvNo");
    delivery = ledger(delivery, settings, (net, tax), &settings.accounts.clearing)?;
    for line in &mut delivery.ledger {
        line.side = if line.side == Side::Debit { Side::Credit } else { Side::Debit };
    }
    Ok(Documents::default().deliver(delivery))
}

fn body(
    settings: &Settings,
    memo: &Memo<'_>,
    (net, tax): (Money, Money),
    posted: &Posted,
) -> Result<Map<String, Value>, Stop> {
    let item = memo.row.and_then(|row| row.field("item"));
    let item = item.or_else(|| settings.refund_item.clone()).or_else(|| settings.default_item.clone());
    let item = item.ok_or_else(|| Stop::reject("", "settings", "the settings name no refund_item"))?;
    let reason = memo.row.and_then(|row| row.main("reason")).unwrap_or_else(|| memo.reason.clone());
    let line = json!({
        "Item": sage_pro::ITEM.required(&item)?,
        "Descrip": sage_pro::DESCRIP.shortened(&memo.text),
        "Qty": 1,
        "Price": net.decimal()?.to_string(),
    });
    let mut body = Map::from_iter([
        ("ExternalRef".to_owned(), json!(sage_pro::EXTERNAL_REF.required(memo.id)?)),
        ("InvoiceDate".to_owned(), json!(memo.day.to_string())),
        ("Currency".to_owned(), json!(memo.amount.currency.code())),
        ("Lines".to_owned(), json!([line])),
        ("Tax".to_owned(), json!(tax.decimal()?.to_string())),
        ("Reason".to_owned(), json!(sage_pro::REASON.required(&reason)?)),
    ]);
    // Of a receipt over several invoices nobody can say which of them is given back.
    if let [invoice] = posted.invoices.as_slice() {
        body.insert("AppliesTo".to_owned(), json!(invoice.number));
    }
    Ok(body)
}

/// What is given back without its tax, and the tax: the invoice's in proportion.
fn shares(settings: &Settings, amount: Money, invoice: Option<&Document>) -> Result<(Money, Money), Stop> {
    let none = Money::new(0, amount.currency);
    let Some(invoice) = invoice.filter(|_| settings.prices == Prices::Net) else { return Ok((amount, none)) };
    let tax = units(invoice.tax.as_deref().unwrap_or("0"), amount.currency)?;
    let net = units(&invoice.total, amount.currency)? - tax;
    let (Ok(net), Ok(tax @ 1..)) = (u64::try_from(net), u64::try_from(tax)) else {
        return Ok((amount, none));
    };
    match amount.split(&[net, tax])?.as_slice() {
        [net, tax] => Ok((*net, *tax)),
        _ => Ok((amount, none)),
    }
}

/// An amount of the gateway in minor units, without its sign: memos are negative there.
fn units(text: &str, currency: Currency) -> Result<i64, Stop> {
    let amount = Decimal::from_str_exact(text.trim())
        .map_err(|_| Stop::reject("", "unexpected-answer", format!("{text:?} is no amount")))?;
    Ok(Money::from_decimal(amount.abs(), currency)?.minor)
}

/// Sales and tax are taken back, against `from`.
fn ledger(
    delivery: Delivery,
    settings: &Settings,
    (net, tax): (Money, Money),
    from: &str,
) -> Result<Delivery, Stop> {
    let (accounts, currency) = (&settings.accounts, net.currency.code());
    let whole = Money::new(net.minor + tax.minor, net.currency);
    let refunds = accounts.refunds.as_ref().unwrap_or(&accounts.sales);
    let delivery = delivery.debit(refunds, net.decimal()?, currency);
    let delivery = if tax.minor == 0 {
        delivery
    } else {
        delivery.debit(accounts.tax.as_ref().unwrap_or(refunds), tax.decimal()?, currency)
    };
    Ok(delivery.credit(from, whole.decimal()?, currency))
}
