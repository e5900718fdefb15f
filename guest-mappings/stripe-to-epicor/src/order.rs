//! The sales order: one line per line of the charge. A price that does not divide by the quantity makes two
//! lines, so that quantity times price is the line's total to the last unit, whatever the ERP rounds.

use portolan_sdk::{
    ask::{self, Row},
    date, epicor,
    flow::{Sale, fact},
    prelude::*,
    stripe::Line,
    text::Field,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{CHARGE, ERP, ORDER, ORDER_SYSTEM, PARTS, Settings, customer::Resolved};

/// An order as `sales-order.get` answers.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct OrderRow {
    #[serde(rename = "OrderNum")]
    pub(crate) number: u64,
    #[serde(rename = "CustNum")]
    pub(crate) customer: u64,
}

/// The order that metadata name: by its number, or by its PO number.
pub(crate) fn named(cx: &Cx<'_>, name: &str) -> Result<OrderRow, Stop> {
    let name = epicor::PO_NUM.required(name.trim())?;
    // Too long for an order number is a PO number all the same.
    let number = name.parse::<u32>().ok();
    let by_number = number.map(|number| ask::query(ERP, "sales-order.get", json!({"OrderNum": number})));
    let by_po_number = ask::query::<OrderRow>(ERP, "sales-order.get", json!({"PONum": name}));
    let (found, other) = cx.all((by_number, by_po_number))?;
    found.flatten().or(other).ok_or_else(|| {
        let text = format!("the charge names the order {name}, which Epicor does not have");
        Stop::reject("/data/object/metadata", "unknown-order", text)
    })
}

/// The delivery that creates the order, after its customer.
pub(crate) fn delivery(settings: &Settings, sale: &Sale, customer: &Resolved) -> Result<Delivery, Stop> {
    let charge = epicor::PO_NUM.required(&sale.charge.id).at("/data/object/id")?;
    let need_by = epicor::date(date::days_after(sale.day, settings.need_by_days));
    let mut lines = Vec::new();
    for (line, row) in &sale.lines {
        add(&mut lines, settings, line, row.as_ref())?;
    }
    let count = lines.len();
    let mut order = Map::new();
    order.insert("PONum".to_owned(), json!(charge));
    order.insert("OrderDate".to_owned(), json!(epicor::date(sale.day)));
    order.insert("NeedByDate".to_owned(), json!(need_by));
    order.insert("RequestDate".to_owned(), json!(need_by));
    order.insert("CurrencyCode".to_owned(), json!(sale.captured.currency.code()));
    for (field, value) in [
        (Field::new("TermsCode", 4), &settings.terms_code),
        (Field::new("ShipViaCode", 4), &settings.ship_via_code),
    ] {
        if let Some(value) = value {
            order.insert(field.name().to_owned(), json!(field.text(value)?));
        }
    }
    order.insert("OrderDtls".to_owned(), Value::Array(lines));
    // Always: see the head of lib.rs. An order with fewer lines is one that broke off: creating goes on with it.
    let check = Check::always("sales-order.find", json!({"PONum": charge, "Lines": count}), "/OrderNum");
    Ok(customer
        .deliver(ORDER, "sales-order.create", Value::Object(order))
        .once(fact::order(&sale.charge.id))
        .unless(check)
        .capture(CHARGE, &sale.charge.id, ORDER_SYSTEM, "/OrderNum"))
}

fn add(lines: &mut Vec<Value>, settings: &Settings, line: &Line, row: Option<&Row>) -> Result<(), Stop> {
    let part = epicor::PART_NUM.required(&part(settings, line, row)?)?;
    let unit = row.and_then(|row| row.field("unit")).or_else(|| settings.unit.clone());
    let amount = line.amount(settings.prices);
    for (pieces, price) in amount.unit_prices(line.quantity, amount.currency.decimals())? {
        let mut fields = Map::new();
        fields.insert("PartNum".to_owned(), json!(part));
        fields.insert("LineDesc".to_owned(), json!(epicor::LINE_DESC.shortened(&line.description)));
        fields.insert("SellingQuantity".to_owned(), json!(pieces));
        fields.insert("DocUnitPrice".to_owned(), json!(price.to_string()));
        // The price is per piece, and Epicor's own price lists must not replace it.
        fields.insert("PricePerCode".to_owned(), json!("E"));
        fields.insert("LockPrice".to_owned(), json!(true));
        fields.insert("OverridePriceList".to_owned(), json!(true));
        if let Some(unit) = &unit {
            fields.insert("SalesUM".to_owned(), json!(Field::new("SalesUM", 6).text(unit)?));
        }
        lines.push(Value::Object(fields));
    }
    Ok(())
}

fn part(settings: &Settings, line: &Line, row: Option<&Row>) -> Result<String, Stop> {
    let known = row.and_then(|row| row.main("part")).or_else(|| settings.default_part.clone());
    known.ok_or_else(|| {
        let text = match &line.product {
            Some(product) => format!("{product} has no part: add it to the lookup table {PARTS}"),
            None => "the charge has no products, and the settings name no default_part".to_owned(),
        };
        Stop::reject("", "unknown-product", text)
    })
}
