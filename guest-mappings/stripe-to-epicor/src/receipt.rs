//! The payment: a cash group of its own, a prepayment receipt in it that is linked to the order, and its posting.
//!
//! One group per charge, not one per day: a shared group is locked by whoever works in it, and posting it would
//! post what others have put in.

use portolan_sdk::{epicor, prelude::*, short, text::Field};

use crate::{CASH_GROUP, ERP, ORDER, POST, RECEIPT, Sale, customer};

/// The group that the receipt goes into. Asked for only once the order stands.
pub(crate) fn group(sale: &Sale) -> Result<Delivery, Stop> {
    let body = json!({
        "GroupID": group_id(sale)?,
        "TranDate": epicor::date(sale.day),
        "BankAcctID": Field::new("BankAcctID", 10).required(&sale.settings.bank_account)?,
    });
    Ok(Delivery::new(CASH_GROUP, ERP, "cash-group.ensure", body).after(ORDER))
}

/// The receipt: a prepayment for the order.
pub(crate) fn receipt(sale: &Sale) -> Result<Delivery, Stop> {
    let reference = reference(sale)?;
    let body = json!({
        "GroupID": group_id(sale)?,
        "CheckRef": reference,
        "TranType": "PrePay",
        "DocTranAmt": sale.captured.decimal()?.to_string(),
        "CurrencyCode": sale.captured.currency.code(),
        "TranDate": epicor::date(sale.day),
        "Reference": epicor::REFERENCE.text(&sale.charge.id).at("/data/object/id")?,
    });
    // Always: see the head of lib.rs.
    let check = Check::always("cash-receipt.find", json!({"CheckRef": reference}), "/HeadNum");
    Ok(customer::with_number(RECEIPT, "cash-receipt.create", body, &sale.customer)
        .after(ORDER)
        .after(CASH_GROUP)
        .bind(ORDER, "/OrderNum", "/OrderNum")
        .unless(check)
        .capture("stripe.charge", &sale.charge.id, "epicor.receipt", "/HeadNum"))
}

/// The posting, which is what books the money.
pub(crate) fn post(sale: &Sale) -> Result<Delivery, Stop> {
    let reference = reference(sale)?;
    let (amount, currency) = (sale.captured.decimal()?, sale.captured.currency.code());
    let body = json!({"GroupID": group_id(sale)?, "CheckRef": reference});
    // Always: the receipt may have been found, and posted by whoever made it.
    let check =
        Check::always("cash-receipt.find", json!({"CheckRef": reference, "Posted": true}), "/HeadNum");
    Ok(Delivery::new(POST, ERP, "cash-group.post", body)
        .after(RECEIPT)
        .unless(check)
        .debit(sale.settings.bank_account.clone(), amount, currency)
        .credit(sale.customer.id.clone(), amount, currency))
}

fn reference(sale: &Sale) -> Result<String, Stop> {
    Ok(epicor::CHECK_REF.text(&short::reference(&sale.charge.id))?)
}

fn group_id(sale: &Sale) -> Result<String, Stop> {
    Ok(epicor::GROUP_ID.text(&format!("S{}", short::prefix(&sale.charge.id, 8)))?)
}
