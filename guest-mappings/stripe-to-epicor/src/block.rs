//! An order is held, or a hold of ours is lifted. Nothing is shipped or invoiced of an order that is held.

use portolan_sdk::{
    epicor,
    flow::{Block, Documents},
    prelude::*,
};

use crate::{ERP, ORDER_SYSTEM};

/// Key of the delivery in the plan.
const HOLD: &str = "hold";

pub(crate) fn documents(block: &Block) -> Result<Documents, Stop> {
    // Without an order there is nothing to hold; that it is suspect is told all the same.
    let Some(order) = block.posted.id(ORDER_SYSTEM) else { return Ok(Documents::default()) };
    let order: u64 = order.parse().map_err(|_| {
        Stop::reject("", "bad-reference", format!("the order {order:?} of {} is no number", block.charge.id))
    })?;
    let id = epicor::REFERENCE.required(&block.id)?;
    let delivery = if block.set {
        let body =
            json!({"OrderNum": order, "Hold": id, "Reason": epicor::LINE_DESC.shortened(&block.reason)});
        let check = Check::in_doubt("sales-order.get", json!({"OrderNum": order, "Hold": id}), "/OrderNum");
        Delivery::new(HOLD, ERP, "sales-order.hold", body).once(format!("hold/{id}")).unless(check)
    } else {
        let body = json!({"OrderNum": order, "Hold": id});
        Delivery::new(HOLD, ERP, "sales-order.release", body).once(format!("release/{id}"))
    };
    Ok(Documents::default().deliver(delivery))
}
