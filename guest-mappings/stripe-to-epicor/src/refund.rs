//! Money given back. What was invoiced is taken back by a credit memo; the money itself leaves by a receipt of the
//! negative amount, or, where a charge that was not invoiced is given back whole at once, by the reversal of its
//! receipt. Receipts are not applied to credit memos (Epicor takes invoices only): both stand on the customer's
//! account, where people match them as they match deposits.
//!
//! A refund that failed gives the money back to us, and to us only: what was credited stays owed to the customer, so
//! its credit memo stays, open again; what is reversed is the money.

use crate::{
    CREDIT_MEMO_SYSTEM, CREDIT_POST, ERP, ORDER_SYSTEM, REFUND, REFUND_GROUP, REFUND_KIND, REFUND_POST,
    REFUND_RECEIPT_SYSTEM, REFUND_SYSTEM, REVERSAL_SYSTEM, Settings,
    credit::{self, Memo},
    customer::{self, Resolved},
    invoice::{self, InvoiceRow},
    order::OrderRow,
    receipt::{self, Keys, Purpose, Receipt},
    settings::CreditMemo,
};
use portolan_sdk::{
    ask, epicor,
    flow::{Documents, Refund, fact},
    money::Money,
    prelude::*,
};

const KEYS: Keys = Keys { group: REFUND_GROUP, receipt: REFUND, post: REFUND_POST };

/// What Epicor has of the charge.
struct Posted {
    order: u64,
    customer: Resolved,
    /// The invoice of the order; not asked for where no credit memo would refer to it.
    invoice: Option<InvoiceRow>,
}

fn posted(cx: &Cx<'_>, refund: &Refund, with_invoice: bool) -> Result<Posted, Stop> {
    let order =
        refund.posted.id(ORDER_SYSTEM).and_then(|order| order.parse::<u64>().ok()).ok_or_else(|| {
            let text = format!("no order of Epicor is remembered for {}", refund.charge.id);
            Stop::reject("", "unknown-order", text)
        })?;
    let missing = |what: String| Stop::reject("", "unknown-order", what);
    let (row, invoice) = cx.all((
        ask::query::<OrderRow>(ERP, "sales-order.get", json!({"OrderNum": order})),
        with_invoice.then(|| invoice::of_order(order)),
    ))?;
    let row = row.ok_or_else(|| missing(format!("Epicor does not have order {order}")))?;
    let customer = cx.all(customer::by_number(row.customer))?;
    let customer =
        customer.ok_or_else(|| missing(format!("Epicor does not have the customer of order {order}")))?;
    Ok(Posted { order, customer: Resolved::of_row(customer), invoice: invoice.flatten() })
}

/// A refund's documents.
pub(crate) fn documents(settings: &Settings, cx: &Cx<'_>, refund: &Refund) -> Result<Documents, Stop> {
    let rule = settings.refunds.credit_memo;
    let posted = posted(cx, refund, rule != CreditMemo::Never)?;
    let credited = match rule {
        CreditMemo::Never => false,
        CreditMemo::Always => true,
        CreditMemo::Invoiced => posted.invoice.is_some(),
    };
    if credited {
        return credited_refund(settings, refund, &posted);
    }
    // The receipt is reversed only where that is exactly what happened: all of it, at once.
    let all_at_once = refund.whole && refund.amount == refund.charge.captured()?;
    if all_at_once && settings.refunds.reverse_receipts {
        reversed_receipt(settings, refund, &posted)
    } else {
        money(settings, refund, &posted, Documents::default())
    }
}

fn credited_refund(settings: &Settings, refund: &Refund, posted: &Posted) -> Result<Documents, Stop> {
    let reason = refund.reason.as_deref().unwrap_or("no reason given");
    let memo = Memo {
        fact: fact::refund(&refund.id),
        object: &refund.id,
        text: format!("Refund of {}: {reason}", refund.charge.id),
        amount: refund.amount,
        day: refund.day,
        reason: credit::reason(settings, refund.reason_row.as_ref()),
        customer: &posted.customer,
        invoice: posted.invoice.as_ref().map(|invoice| invoice.number),
    };
    let [memo, post] = memo.deliveries(settings)?;
    let post = post.capture(REFUND_KIND, &refund.id, CREDIT_MEMO_SYSTEM, "/InvoiceNum");
    let documents = Documents::default().deliver(memo).deliver(post).number(
        "epicor_credit_memo",
        CREDIT_POST,
        "/InvoiceNum",
    );
    money(settings, refund, posted, documents)
}

/// The money leaves by a receipt of the negative amount.
fn money(
    settings: &Settings,
    refund: &Refund,
    posted: &Posted,
    mut documents: Documents,
) -> Result<Documents, Stop> {
    let receipt = Receipt {
        keys: KEYS,
        fact: fact::refund(&refund.id),
        object: &refund.id,
        letter: 'R',
        amount: Money::new(-refund.amount.minor, refund.amount.currency),
        day: refund.day,
        customer: &posted.customer,
        purpose: Purpose::Order(posted.order),
    };
    let [mut group, receipt, post] = receipt.deliveries(settings)?;
    if !documents.deliveries.is_empty() {
        // What is owed first, then the money.
        group = group.after(CREDIT_POST);
    }
    let post = post.capture(REFUND_KIND, &refund.id, REFUND_SYSTEM, "/HeadNum").capture(
        REFUND_KIND,
        &refund.id,
        REFUND_RECEIPT_SYSTEM,
        "/HeadNum",
    );
    documents.deliveries.extend([group, receipt, post]);
    Ok(documents.number("epicor_refund", REFUND_POST, "/HeadNum"))
}

fn reversed_receipt(settings: &Settings, refund: &Refund, posted: &Posted) -> Result<Documents, Stop> {
    let (amount, currency) = (refund.amount.decimal()?, refund.amount.currency.code());
    let reason = format!("Refund {}: {}", refund.id, refund.reason.as_deref().unwrap_or("no reason given"));
    let delivery = reversal(&refund.charge.id, refund, &reason)?
        .once(fact::refund(&refund.id))
        .capture(REFUND_KIND, &refund.id, REFUND_SYSTEM, "/HeadNum")
        .debit(posted.customer.id.clone(), amount, currency)
        .credit(settings.bank_account.clone(), amount, currency);
    Ok(Documents::default().deliver(delivery).number("epicor_refund", REFUND, "/HeadNum"))
}

/// The reversal of the receipt that carries a Stripe object.
fn reversal(object: &str, refund: &Refund, reason: &str) -> Result<Delivery, Stop> {
    let reference = receipt::reference(object)?;
    let body = json!({
        "CheckRef": reference,
        "ReverseDate": epicor::date(refund.day),
        "ReversedReason": epicor::REFERENCE.shortened(reason),
    });
    let check =
        Check::always("cash-receipt.find", json!({"CheckRef": reference, "Reversed": true}), "/HeadNum");
    Ok(Delivery::new(REFUND, ERP, "cash-receipt.reverse", body).unless(check))
}

/// What a failed refund's documents were is remembered with them; looking at Epicor again could tell another story
/// (an invoice written since).
pub(crate) fn reversed(settings: &Settings, cx: &Cx<'_>, refund: &Refund) -> Result<Documents, Stop> {
    let known = cx.reference(REFUND_KIND, &refund.id)?;
    let posted = posted(cx, refund, false)?;
    let (amount, currency) = (refund.amount.decimal()?, refund.amount.currency.code());
    let reversal_fact = fact::refund_reversal(&refund.id);
    if known.id(REFUND_RECEIPT_SYSTEM).is_some() {
        let delivery = reversal(&refund.id, refund, &format!("Refund {} failed", refund.id))?
            .once(reversal_fact)
            .capture(REFUND_KIND, &refund.id, REVERSAL_SYSTEM, "/HeadNum")
            .debit(settings.bank_account.clone(), amount, currency)
            .credit(posted.customer.id.clone(), amount, currency);
        return Ok(Documents::default().deliver(delivery).number(
            "epicor_refund_reversal",
            REFUND,
            "/HeadNum",
        ));
    }
    // The charge's own receipt was reversed, which cannot be undone: the money is received again.
    let receipt = Receipt {
        keys: KEYS,
        fact: reversal_fact,
        object: &refund.id,
        letter: 'R',
        amount: refund.amount,
        day: refund.day,
        customer: &posted.customer,
        purpose: Purpose::Order(posted.order),
    };
    let [group, receipt, post] = receipt.deliveries(settings)?;
    let post = post.capture(REFUND_KIND, &refund.id, REVERSAL_SYSTEM, "/HeadNum");
    let documents = Documents::default().deliver(group).deliver(receipt).deliver(post);
    Ok(documents.number("epicor_refund_reversal", REFUND_POST, "/HeadNum"))
}
