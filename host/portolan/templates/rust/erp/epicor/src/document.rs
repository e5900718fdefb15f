//! The sales order in Epicor. Epicor takes a second order with the same `PONum` without a word, so it is asked
//! for one before the first send, too (`Check::always`).

use portolan_sdk::{epicor, prelude::*};
use serde::Deserialize;

use crate::Sale;

/// Everything that the module does in Epicor.
pub(crate) const OPERATIONS: &[&str] = &["customer.find", "sales-order.find", "sales-order.create"];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// The part that is sold.
    part: String,
}

/// A row of `customer.find`.
#[derive(Deserialize)]
struct Customer {
    #[serde(rename = "CustNum")]
    number: u64,
}

pub(crate) fn delivery(cx: &Cx<'_>, settings: &Settings, sale: &Sale) -> Result<Delivery, Stop> {
    let id = epicor::CUST_ID.required(&sale.customer)?;
    // The table knows the CustID; Epicor knows its number.
    let customer: Option<Customer> = cx.query("erp", "customer.find", json!({"CustID": id}))?;
    let customer = customer
        .ok_or_else(|| Stop::reject("/data/object/customer", "unknown-customer", format!("Epicor has no customer {id}")))?;
    let po_num = epicor::PO_NUM.required(&sale.charge).at("/data/object/id")?;
    let day = epicor::date(sale.day);
    let line = json!({
        "PartNum": epicor::PART_NUM.required(&settings.part)?,
        "LineDesc": epicor::LINE_DESC.shortened(&sale.text),
        "SellingQuantity": 1,
        "DocUnitPrice": sale.amount.decimal()?.to_string(),
        // The price is per piece, and Epicor's own price lists must not replace it.
        "PricePerCode": "E",
        "LockPrice": true,
        "OverridePriceList": true,
    });
    let order = json!({
        "CustNum": customer.number,
        "PONum": po_num,
        "OrderDate": day,
        "NeedByDate": day,
        "RequestDate": day,
        "CurrencyCode": sale.amount.currency.code(),
        "OrderDtls": [line],
    });
    let check = Check::always("sales-order.find", json!({"PONum": po_num, "Lines": 1}), "/OrderNum");
    Ok(Delivery::new("order", "erp", "sales-order.create", order)
        .once(format!("order/{}", sale.charge))
        .unless(check)
        .capture("stripe.charge", &sale.charge, "epicor.order", "/OrderNum"))
}
