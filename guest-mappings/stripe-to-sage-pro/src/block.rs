//! Holds on a charge's invoices and its customer. A hold is known by the id of what it rests on: lifting it leaves
//! those that rest on something else, such as the credit department's own.

use portolan_sdk::{
    Stop,
    contract::Delivery,
    flow::{Block, Documents},
    prelude::*,
    sage_pro,
};

use crate::{ERP, Settings, refund, settings::Hold};

/// The holds set or lifted.
pub(crate) fn documents(cx: &Cx<'_>, settings: &Settings, block: &Block) -> Result<Documents, Stop> {
    let posted = refund::posted(cx, &block.posted, Some(&block.charge.id))?;
    let reference = sage_pro::EXTERNAL_REF.required(&block.id)?;
    let reason = sage_pro::NOTES.shortened(&block.reason);
    let mut documents = Documents::default();
    let invoices = posted.invoices.iter().filter(|_| settings.hold != Hold::Customer);
    for invoice in invoices {
        let body = json!({
            "InvNo": invoice.number, "Hold": block.set, "ExternalRef": reference, "Reason": reason,
        });
        let key = format!("hold-invoice-{}", invoice.number);
        documents = documents.deliver(Delivery::new(key, ERP, "invoice.hold", body));
    }
    // Everybody else who buys as the shared guest would be stopped with it.
    let shared = |number: &String| settings.guest_customer.as_ref() == Some(number);
    let customer = posted.customer.filter(|number| settings.hold != Hold::Invoice && !shared(number));
    if let Some(number) = customer {
        let body = json!({"CustNo": number, "Hold": block.set, "ExternalRef": reference, "Reason": reason});
        documents = documents.deliver(Delivery::new("hold-customer", ERP, "customer.hold", body));
    }
    Ok(documents)
}
