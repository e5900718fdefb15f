//! The sales order: one item, schedule line and price condition per line of the charge. A price that does not
//! divide by the quantity makes two items, so that quantity times price is the line's total to the last unit.

use portolan_sdk::{ask::Row, money::Money, prelude::*, sap, stripe::Line, text::Field};
use serde_json::{Map, Value};

use crate::{ERP, MATERIALS, ORDER, Sale, SapCustomer};

/// The tables of the order, row by row.
#[derive(Default)]
struct Tables {
    items: Vec<Value>,
    schedules: Vec<Value>,
    conditions: Vec<Value>,
}

/// The delivery that creates the order.
pub(crate) fn delivery(sale: &Sale) -> Result<Delivery, Stop> {
    let settings = &sale.settings;
    let charge = sap::PURCH_NO_C.required(&sale.charge.id).at("/data/object/id")?;
    let date = sap::dats(sale.day);
    let mut tables = Tables::default();
    for (line, row) in &sale.lines {
        tables.add(sale, line, row.as_ref())?;
    }
    let body = json!({
        "ORDER_HEADER_IN": {
            "DOC_TYPE": Field::new("DOC_TYPE", 4).required(&settings.order_type)?,
            "SALES_ORG": Field::new("SALES_ORG", 4).required(&settings.sales_org)?,
            "DISTR_CHAN": Field::new("DISTR_CHAN", 2).required(&settings.distribution_channel)?,
            "DIVISION": Field::new("DIVISION", 2).required(&settings.division)?,
            "REQ_DATE_H": date,
            "PURCH_DATE": date,
            "PURCH_NO_C": charge,
            "CURRENCY": sale.captured.currency.code(),
        },
        "ORDER_ITEMS_IN": tables.items,
        "ORDER_PARTNERS": partners(&sale.customer)?,
        "ORDER_SCHEDULES_IN": tables.schedules,
        "ORDER_CONDITIONS_IN": tables.conditions,
    });
    // Always: see the head of lib.rs.
    let check = Check::always("sales-order.find", json!({"PURCH_NO_C": charge}), "/SALESDOCUMENT");
    Ok(Delivery::new(ORDER, ERP, "sales-order.create", body).unless(check).capture(
        "stripe.charge",
        &sale.charge.id,
        "sap-ecc.order",
        "/SALESDOCUMENT",
    ))
}

impl Tables {
    fn add(&mut self, sale: &Sale, line: &Line, row: Option<&Row>) -> Result<(), Stop> {
        let settings = &sale.settings;
        let material = sap::MATERIAL.alpha(&material(sale, line, row)?)?;
        let unit = row.and_then(|row| row.field("unit")).or_else(|| settings.unit.clone());
        let plant = row.and_then(|row| row.field("plant")).or_else(|| settings.plant.clone());
        let amount: Money = line.amount(settings.prices);
        // The system's own decimals: where it keeps none, no price may have any.
        let decimals = sap::amount(amount, &settings.currency_decimals)?.scale();
        for (pieces, price) in amount.unit_prices(line.quantity, decimals)? {
            let number = sap::ITM_NUMBER.numc(10 * (self.items.len() as u64 + 1))?;
            let mut item = Map::new();
            item.insert("ITM_NUMBER".to_owned(), json!(number));
            item.insert("MATERIAL".to_owned(), json!(material));
            item.insert("TARGET_QTY".to_owned(), json!(format!("{pieces}.000")));
            item.insert("SHORT_TEXT".to_owned(), json!(sap::SHORT_TEXT.shortened(&line.description)));
            if let Some(unit) = &unit {
                item.insert("TARGET_QU".to_owned(), json!(Field::new("TARGET_QU", 3).text(unit)?));
            }
            if let Some(plant) = &plant {
                item.insert("PLANT".to_owned(), json!(Field::new("PLANT", 4).text(plant)?));
            }
            self.items.push(Value::Object(item));
            self.schedules.push(json!({
                "ITM_NUMBER": number,
                "SCHED_LINE": sap::SCHED_LINE.numc(1)?,
                "REQ_DATE": sap::dats(sale.day),
                "REQ_QTY": format!("{pieces}.000"),
            }));
            self.conditions.push(json!({
                "ITM_NUMBER": number,
                "COND_TYPE": Field::new("COND_TYPE", 4).required(&settings.condition_type)?,
                "COND_VALUE": price.to_string(),
                "CURRENCY": amount.currency.code(),
            }));
        }
        Ok(())
    }
}

fn material(sale: &Sale, line: &Line, row: Option<&Row>) -> Result<String, Stop> {
    let known = row.and_then(|row| row.main("material")).or_else(|| sale.settings.default_material.clone());
    known.ok_or_else(|| {
        let text = match &line.product {
            Some(product) => format!("{product} has no material: add it to the lookup table {MATERIALS}"),
            None => "the charge has no products, and the settings name no default_material".to_owned(),
        };
        Stop::reject("", "unknown-product", text)
    })
}

/// Sold-to and ship-to. A one-time customer's name and address go with the sold-to party.
fn partners(customer: &SapCustomer) -> Result<Vec<Value>, Stop> {
    let partner = |role: &str| {
        let number = ("PARTN_NUMB".to_owned(), json!(customer.number));
        Map::from_iter([("PARTN_ROLE".to_owned(), json!(role)), number])
    };
    let mut sold_to = partner("AG");
    sold_to.extend(customer.address()?.into_iter().flatten());
    Ok(vec![Value::Object(sold_to), Value::Object(partner("WE"))])
}
