//! The sales order: one item, schedule line and price condition per line of the charge. A price that does not
//! divide by the quantity makes two items, so that quantity times price is the line's total to the last unit.

use portolan_sdk::{
    ask::Row,
    contract::Delivery,
    date::Date,
    flow::{Sale, fact},
    money::Money,
    prelude::*,
    sap,
    stripe::Line,
    text::Field,
};
use serde_json::{Map, Value};

use crate::{ERP, MATERIALS, Settings, customer::Payer};

/// Key of the sales order in the plan.
pub(crate) const ORDER: &str = "order";

/// The tables of the order, row by row.
#[derive(Default)]
struct Tables {
    items: Vec<Value>,
    schedules: Vec<Value>,
    conditions: Vec<Value>,
}

/// The delivery that creates the order.
pub(crate) fn delivery(settings: &Settings, sale: &Sale, payer: &Payer) -> Result<Delivery, Stop> {
    let charge = sap::PURCH_NO_C.required(&sale.charge.id).at("/data/object/id")?;
    let mut tables = Tables::default();
    for (line, row) in &sale.lines {
        tables.add(settings, sale, (line, row.as_ref()))?;
    }
    let mut header = header(settings, &settings.order_type, (&charge, sale.day, sale.captured))?;
    header.insert("PURCH_DATE".to_owned(), json!(sap::dats(sale.day)));
    let body = json!({
        "ORDER_HEADER_IN": header,
        "ORDER_ITEMS_IN": tables.items,
        "ORDER_PARTNERS": partners(payer),
        "ORDER_SCHEDULES_IN": tables.schedules,
        "ORDER_CONDITIONS_IN": tables.conditions,
    });
    // Always: see the head of lib.rs.
    let check = Check::always("sales-order.find", json!({"PURCH_NO_C": charge}), "/SALESDOCUMENT");
    let delivery = Delivery::new(ORDER, ERP, "sales-order.create", body)
        .once(fact::order(&sale.charge.id))
        .unless(check)
        .capture("stripe.charge", &sale.charge.id, "sap-ecc.order", "/SALESDOCUMENT");
    let delivery = payer.bind(delivery, "/ORDER_PARTNERS/0/PARTN_NUMB");
    Ok(payer.bind(delivery, "/ORDER_PARTNERS/1/PARTN_NUMB"))
}

/// The header of a sales document with a Stripe id as the customer's order number.
pub(crate) fn header(
    settings: &Settings,
    order_type: &str,
    (object, day, amount): (&str, Date, Money),
) -> Result<Map<String, Value>, Stop> {
    let fields = [
        ("DOC_TYPE", Field::new("DOC_TYPE", 4).required(order_type)?),
        ("SALES_ORG", Field::new("SALES_ORG", 4).required(&settings.sales_org)?),
        ("DISTR_CHAN", Field::new("DISTR_CHAN", 2).required(&settings.distribution_channel)?),
        ("DIVISION", Field::new("DIVISION", 2).required(&settings.division)?),
        ("REQ_DATE_H", sap::dats(day)),
        ("PURCH_NO_C", sap::PURCH_NO_C.required(object)?),
        ("CURRENCY", amount.currency.code().to_owned()),
    ];
    Ok(fields.into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect())
}

impl Tables {
    fn add(
        &mut self,
        settings: &Settings,
        sale: &Sale,
        (line, row): (&Line, Option<&Row>),
    ) -> Result<(), Stop> {
        let material = sap::MATERIAL.alpha(&material(settings, line, row)?)?;
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

fn material(settings: &Settings, line: &Line, row: Option<&Row>) -> Result<String, Stop> {
    let known = row.and_then(|row| row.main("material")).or_else(|| settings.default_material.clone());
    known.ok_or_else(|| {
        let text = match &line.product {
            Some(product) => format!("{product} has no material: add it to the lookup table {MATERIALS}"),
            None => "the charge has no products, and the settings name no default_material".to_owned(),
        };
        Stop::reject("", "unknown-product", text)
    })
}

/// Sold-to and ship-to. A one-time customer's name and address go with the sold-to party.
pub(crate) fn partners(payer: &Payer) -> Vec<Value> {
    let partner = |role: &str| {
        let number = payer.number.iter().map(|number| ("PARTN_NUMB".to_owned(), json!(number)));
        Map::from_iter([("PARTN_ROLE".to_owned(), json!(role))].into_iter().chain(number))
    };
    let mut sold_to = partner("AG");
    sold_to.extend(payer.one_time.clone().into_iter().flatten());
    vec![Value::Object(sold_to), Value::Object(partner("WE"))]
}
