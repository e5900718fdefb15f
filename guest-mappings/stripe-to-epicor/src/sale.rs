//! A captured charge: a customer, a sales order for what was bought (or the one that metadata name), and a posted
//! cash receipt: on the order's open invoices where there are any, else as its prepayment.

use portolan_sdk::{
    flow::{Documents, Sale, fact},
    prelude::*,
};

use crate::{
    CASH_GROUP, CHARGE, ORDER, ORDER_SYSTEM, POST, RECEIPT, RECEIPT_SYSTEM, Settings,
    customer::{self, Resolved},
    invoice, order,
    receipt::{Keys, Purpose, Receipt},
};

pub(crate) fn documents(settings: &Settings, cx: &Cx<'_>, sale: &Sale) -> Result<Documents, Stop> {
    match &sale.order {
        Some(name) => on_order(settings, cx, sale, name),
        None => with_order(settings, cx, sale),
    }
}

fn with_order(settings: &Settings, cx: &Cx<'_>, sale: &Sale) -> Result<Documents, Stop> {
    let currency = Some(sale.captured.currency);
    let customer = customer::of_buyer(cx, settings, &sale.buyer, currency)?.for_sale();
    let order = order::delivery(settings, sale, &customer)?;
    let mut documents = customer.documents();
    documents.concerns.extend(customer.concern());
    let documents = documents.deliver(order).number("epicor_order", ORDER, "/OrderNum");
    paid(settings, sale, documents, (&customer, Purpose::NewOrder(ORDER)))
}

/// The order belongs to a customer already: who pays for it does not change that.
fn on_order(settings: &Settings, cx: &Cx<'_>, sale: &Sale, name: &str) -> Result<Documents, Stop> {
    let order = order::named(cx, name)?;
    let (customer, open) = cx.all((customer::by_number(order.customer), invoice::open_of(order.number)))?;
    let customer = customer.map(Resolved::of_row).ok_or_else(|| {
        let text =
            format!("order {} is of customer {}, which Epicor does not have", order.number, order.customer);
        Stop::reject("", "unknown-customer", text)
    })?;
    let rows = invoice::allocations(open, sale.captured)?;
    let purpose = if rows.is_empty() { Purpose::Order(order.number) } else { Purpose::Invoices(rows) };
    let mut documents = Documents::default();
    let reference = [CHARGE, &sale.charge.id, ORDER_SYSTEM, &order.number.to_string()].map(str::to_owned);
    documents.references.push(reference);
    documents.concerns.extend(customer.concern());
    paid(settings, sale, documents, (&customer, purpose))
}

fn paid(
    settings: &Settings,
    sale: &Sale,
    mut documents: Documents,
    (customer, purpose): (&Resolved, Purpose),
) -> Result<Documents, Stop> {
    let receipt = Receipt {
        keys: Keys { group: CASH_GROUP, receipt: RECEIPT, post: POST },
        fact: fact::payment(&sale.charge.id),
        object: &sale.charge.id,
        letter: 'S',
        amount: sale.captured,
        day: sale.day,
        customer,
        purpose,
    };
    let [group, receipt, post] = receipt.deliveries(settings)?;
    // With the posting, not with the entry: what is not posted has moved no money that a refund could give back.
    let post = post.capture(CHARGE, &sale.charge.id, RECEIPT_SYSTEM, "/HeadNum");
    documents.deliveries.extend([group, receipt, post]);
    Ok(documents.number("epicor_receipt", POST, "/HeadNum"))
}
