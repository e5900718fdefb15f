//! Delivery and billing blocks on the order of a charge. Setting what is set already changes nothing, so no check
//! is made.

use portolan_sdk::{
    contract::Delivery,
    flow::{Block, Documents},
    prelude::*,
    sap,
    text::Field,
};
use serde_json::{Map, Value};

use crate::{ERP, Settings};

/// The change that sets or lifts the blocks. A charge without an order has nothing that could be blocked.
pub(crate) fn documents(settings: &Settings, block: &Block) -> Result<Documents, Stop> {
    let Some(order) = block.posted.id("sap-ecc.order") else { return Ok(Documents::default()) };
    let (mut header, mut flags) = (Map::new(), Map::from_iter([("UPDATEFLAG".to_owned(), json!("U"))]));
    for (name, code) in [("DLV_BLOCK", &settings.block.delivery), ("BILL_BLOCK", &settings.block.billing)] {
        if !code.is_empty() {
            let code = if block.set { code.as_str() } else { "" };
            header.insert(name.to_owned(), json!(Field::new(name, 2).text(code)?));
            flags.insert(name.to_owned(), json!("X"));
        }
    }
    if header.is_empty() {
        return Ok(Documents::default());
    }
    let body = json!({
        "SALESDOCUMENT": sap::SALESDOCUMENT.alpha(order)?,
        "ORDER_HEADER_IN": Value::Object(header),
        "ORDER_HEADER_INX": Value::Object(flags),
    });
    Ok(Documents::default().deliver(Delivery::new("block", ERP, "sales-order.change", body)))
}
