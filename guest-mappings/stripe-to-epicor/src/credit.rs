//! Credit memos: an AR invoice that takes back what was invoiced, in a group of its own, and its posting.

use portolan_sdk::{
    ask::Row,
    date::Date,
    epicor,
    flow::{Credit, Documents, fact},
    money::Money,
    prelude::*,
};
use serde_json::{Map, Value};

use crate::{
    CREDIT_MEMO, CREDIT_NOTE, CREDIT_POST, CREDIT_SYSTEM, ERP, ORDER_SYSTEM, Settings,
    customer::{self, Resolved},
    invoice,
};

/// A credit memo to be made and posted.
pub(crate) struct Memo<'a> {
    /// The economic fact.
    pub(crate) fact: String,
    /// The Stripe object that it carries: `re_…`, `cn_…`.
    pub(crate) object: &'a str,
    /// For people.
    pub(crate) text: String,
    pub(crate) amount: Money,
    pub(crate) day: Date,
    pub(crate) reason: Option<String>,
    pub(crate) customer: &'a Resolved,
    /// The invoice that it takes back; none is a credit memo of its own.
    pub(crate) invoice: Option<u64>,
}

/// The reason of type A: the row of the lookup table, else the settings' own.
pub(crate) fn reason(settings: &Settings, row: Option<&Row>) -> Option<String> {
    row.and_then(|row| row.main("reason")).or_else(|| settings.refunds.reason_code.clone())
}

impl Memo<'_> {
    /// Its entry and its posting.
    pub(crate) fn deliveries(&self, settings: &Settings) -> Result<[Delivery; 2], Stop> {
        let (amount, currency) = (self.amount.decimal()?, self.amount.currency.code());
        let id = epicor::EXTERNAL_ID.required(self.object)?;
        let group = epicor::GROUP_ID.text(&epicor::group_id('C', self.object))?;
        let mut row = Map::new();
        let mut insert = |name: &str, value: Value| row.insert(name.to_owned(), value);
        insert("GroupID", json!(group));
        insert("ExternalID", json!(id));
        insert("InvoiceDate", json!(epicor::date(self.day)));
        insert("CurrencyCode", json!(currency));
        if let Some(invoice) = self.invoice {
            insert("InvoiceRef", json!(invoice));
        }
        if let Some(reason) = &self.reason {
            insert("ReasonType", json!("A"));
            insert("ReasonCode", json!(epicor::REASON_CODE.required(reason)?));
        }
        let text = epicor::LINE_DESC.shortened(&self.text);
        let line = json!({"LineDesc": text, "SellingShipQty": 1, "DocUnitPrice": amount.to_string()});
        insert("InvcDtls", json!([line]));
        let check = Check::always("credit-memo.find", json!({"ExternalID": id, "Lines": 1}), "/InvoiceNum");
        let memo = self
            .customer
            .deliver(CREDIT_MEMO, "credit-memo.create", Value::Object(row))
            .once(format!("{}/credit-memo", self.fact))
            .unless(check);
        let check =
            Check::always("credit-memo.find", json!({"ExternalID": id, "Posted": true}), "/InvoiceNum");
        let body = json!({"GroupID": group, "ExternalID": id});
        let post = Delivery::new(CREDIT_POST, ERP, "credit-memo.post", body)
            .once(format!("{}/credit-memo/posted", self.fact))
            .after(CREDIT_MEMO)
            .unless(check)
            .debit(settings.refunds.returns_account.clone(), amount, currency)
            .credit(self.customer.id.clone(), amount, currency);
        Ok([memo, post])
    }
}

/// A credit note without money.
pub(crate) fn documents(settings: &Settings, cx: &Cx<'_>, credit: &Credit) -> Result<Documents, Stop> {
    let customer = customer::of_buyer(cx, settings, &credit.buyer, None)?.for_sale();
    if customer.number.is_none() {
        let text = format!("Epicor does not have the customer {} of {}", credit.buyer.id, credit.id);
        return Err(Stop::reject("/data/object/customer", "unknown-customer", text));
    }
    let order = credit.posted.id(ORDER_SYSTEM).and_then(|order| order.parse::<u64>().ok());
    let invoice = cx.all(order.map(invoice::of_order))?.flatten();
    let memo = Memo {
        fact: fact::credit(&credit.id),
        object: &credit.id,
        text: credit.text.clone(),
        amount: credit.amount,
        day: credit.day,
        reason: reason(settings, credit.reason_row.as_ref()),
        customer: &customer,
        invoice: invoice.map(|invoice| invoice.number),
    };
    let [memo, post] = memo.deliveries(settings)?;
    let mut documents = customer.documents();
    documents.deliveries.push(memo);
    let post = post.capture(CREDIT_NOTE, &credit.id, CREDIT_SYSTEM, "/InvoiceNum");
    Ok(documents.deliver(post).number("epicor_credit_memo", CREDIT_POST, "/InvoiceNum"))
}
