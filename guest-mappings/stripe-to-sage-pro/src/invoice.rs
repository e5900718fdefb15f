//! The invoice with its payment. Prices and tax add up to what was captured; a price that does not divide by the
//! quantity makes two lines, so that nothing is left to rounding.

use portolan_sdk::{
    Stop,
    ask::{self, Row},
    contract::Delivery,
    flow::{Documents, Sale, fact},
    money::Money,
    prelude::*,
    sage_pro, short,
    stripe::{Line, Prices},
};
use serde_json::{Map, Value};

use crate::{CUSTOMER, ERP, INVOICE, ITEMS, STATUSES, Settings};

/// The documents of a sale that no order names: the invoice after its customer.
pub(crate) fn documents(cx: &Cx<'_>, settings: &Settings, sale: &Sale) -> Result<Documents, Stop> {
    // Asked together, in one round.
    let questions =
        (ask::lookup::<Row>(STATUSES, &sale.charge.status), crate::customer::noted(settings, &sale.buyer));
    let (row, _) = cx.all(questions)?;
    let status = payment_status(row, settings, &sale.charge.status)?;
    let currency = sale.captured.currency.code();
    let (number, documents) = crate::customer::of_sale(cx, settings, &sale.buyer, currency)?;
    let invoice = delivery(settings, sale, &status, number.as_deref())?;
    Ok(documents.deliver(invoice).number("sage_pro_invoice", INVOICE, "/InvNo").number(
        "sage_pro_receipt",
        INVOICE,
        "/ReceiptNo",
    ))
}

/// What Sage Pro calls the charge's status: by the lookup table, else by the settings.
fn payment_status(row: Option<Row>, settings: &Settings, status: &str) -> Result<String, Stop> {
    let known = row.and_then(|row| row.main("status"));
    known.or_else(|| settings.payment_status.get(status).cloned()).ok_or_else(|| {
        let text = format!("{status:?} has no payment status: add it to the lookup table {STATUSES}");
        Stop::reject("/data/object/status", "unknown-status", text)
    })
}

fn delivery(
    settings: &Settings,
    sale: &Sale,
    status: &str,
    customer: Option<&str>,
) -> Result<Delivery, Stop> {
    let charge = sage_pro::EXTERNAL_REF.required(&sale.charge.id).at("/data/object/id")?;
    let tax = Money::new(tax(settings, sale), sale.captured.currency);
    let date = sale.day.to_string();
    let payment = json!({
        "Method": sage_pro::METHOD.required(&settings.payment_method)?,
        "Amount": sale.captured.decimal()?.to_string(),
        "Reference": charge,
        "Date": date,
    });
    let mut body = Map::from_iter([
        ("ExternalRef".to_owned(), json!(charge)),
        ("InvoiceDate".to_owned(), json!(date)),
        ("PONum".to_owned(), json!(short::reference(&charge))),
        ("Currency".to_owned(), json!(sale.captured.currency.code())),
        ("PaymentStatus".to_owned(), json!(status)),
        ("Lines".to_owned(), lines(settings, sale)?),
        ("Tax".to_owned(), json!(tax.decimal()?.to_string())),
        ("Payment".to_owned(), payment),
    ]);
    if let Some(notes) = notes(sale) {
        body.insert("Notes".to_owned(), json!(sage_pro::NOTES.shortened(&notes)));
    }
    if let Some(number) = customer {
        body.insert("CustNo".to_owned(), json!(number));
    }
    // Invoice and receipt of a charge are one fact: an event that knows the order, and one that does not, never
    // book it twice.
    let delivery = Delivery::new(INVOICE, ERP, "invoice.create", Value::Object(body))
        .once(fact::payment(&sale.charge.id))
        .unless(Check::in_doubt("invoice.find", json!({"ExternalRef": charge}), "/InvNo"))
        .capture("stripe.charge", &sale.charge.id, "sage-pro.invoice", "/InvNo")
        .capture("stripe.charge", &sale.charge.id, "sage-pro.receipt", "/ReceiptNo");
    let delivery = match customer {
        Some(_) => delivery,
        None => delivery.after(CUSTOMER).bind(CUSTOMER, "/CustNo", "/CustNo"),
    };
    ledger(delivery, settings, sale, tax)
}

/// Where it came from, for people.
fn notes(sale: &Sale) -> Option<String> {
    let named = [("Stripe invoice", &sale.invoice), ("Stripe subscription", &sale.subscription)];
    let named = named.into_iter().filter_map(|(what, id)| id.as_ref().map(|id| format!("{what} {id}")));
    Some(named.collect::<Vec<_>>().join(", ")).filter(|notes| !notes.is_empty())
}

/// Tax that stands beside the lines: none, where the prices have it in them.
fn tax(settings: &Settings, sale: &Sale) -> i64 {
    match settings.prices {
        Prices::Net => sale.lines.iter().map(|(line, _)| line.tax.minor).sum(),
        Prices::Gross => 0,
    }
}

fn lines(settings: &Settings, sale: &Sale) -> Result<Value, Stop> {
    let mut lines = Vec::new();
    for (line, row) in &sale.lines {
        let item = sage_pro::ITEM.required(&item(settings, line, row.as_ref())?)?;
        let amount = line.amount(settings.prices);
        for (pieces, price) in amount.unit_prices(line.quantity, amount.currency.decimals())? {
            lines.push(json!({
                "Item": item,
                "Descrip": sage_pro::DESCRIP.shortened(&line.description),
                "Qty": pieces,
                "Price": price.to_string(),
            }));
        }
    }
    Ok(Value::Array(lines))
}

fn item(settings: &Settings, line: &Line, row: Option<&Row>) -> Result<String, Stop> {
    let known = row.and_then(|row| row.main("item")).or_else(|| settings.default_item.clone());
    known.ok_or_else(|| {
        let text = match &line.product {
            Some(product) => format!("{product} has no item: add it to the lookup table {ITEMS}"),
            None => "the charge has no products, and the settings name no default_item".to_owned(),
        };
        Stop::reject("", "unknown-product", text)
    })
}

/// What the invoice and its payment move together: the receivable is opened and closed at once.
fn ledger(delivery: Delivery, settings: &Settings, sale: &Sale, tax: Money) -> Result<Delivery, Stop> {
    let (accounts, currency) = (&settings.accounts, sale.captured.currency.code());
    let sales = Money::new(sale.captured.minor - tax.minor, sale.captured.currency);
    let delivery = delivery.debit(&accounts.clearing, sale.captured.decimal()?, currency).credit(
        &accounts.sales,
        sales.decimal()?,
        currency,
    );
    let tax_account = accounts.tax.as_ref().unwrap_or(&accounts.sales);
    Ok(if tax.minor == 0 { delivery } else { delivery.credit(tax_account, tax.decimal()?, currency) })
}
