//! Cash receipts: a group of its own, a receipt in it, and its posting, which is what books the money.
//!
//! One group per receipt, not one per day: a shared group is locked by whoever works in it, and posting it would
//! post what others have put in.

use portolan_sdk::{date::Date, epicor, money::Money, prelude::*, short};
use serde_json::{Map, Value};

use crate::{ERP, Settings, customer::Resolved};

/// A receipt to be made and posted.
pub(crate) struct Receipt<'a> {
    /// What each of its deliveries is called: `receipt`, `refund`.
    pub(crate) keys: Keys,
    /// The economic fact.
    pub(crate) fact: String,
    /// The Stripe object that it carries.
    pub(crate) object: &'a str,
    /// First letter of its group.
    pub(crate) letter: char,
    /// Negative: money is given back.
    pub(crate) amount: Money,
    /// The day.
    pub(crate) day: Date,
    /// Who paid.
    pub(crate) customer: &'a Resolved,
    /// What it is for.
    pub(crate) purpose: Purpose,
}

/// What a receipt is for.
pub(crate) enum Purpose {
    /// A prepayment of an order with this number.
    Order(u64),
    /// A prepayment of the order that a delivery of the plan creates.
    NewOrder(&'static str),
    /// Invoices, as rows of `CashDtls`.
    Invoices(Vec<Value>),
}

/// Keys of the deliveries.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keys {
    pub(crate) group: &'static str,
    pub(crate) receipt: &'static str,
    pub(crate) post: &'static str,
}

impl Receipt<'_> {
    /// The three deliveries, the last of which is the posting.
    pub(crate) fn deliveries(&self, settings: &Settings) -> Result<[Delivery; 3], Stop> {
        Ok([self.group(settings)?, self.receipt()?, self.post(settings)?])
    }

    fn group_id(&self) -> Result<String, Stop> {
        Ok(epicor::GROUP_ID.text(&epicor::group_id(self.letter, self.object))?)
    }

    /// What the receipt comes after, besides its group.
    fn waits_for(&self) -> Option<&'static str> {
        match self.purpose {
            Purpose::NewOrder(key) => Some(key),
            Purpose::Order(_) | Purpose::Invoices(_) => None,
        }
    }

    /// The group that the receipt goes into. Asked for only once the order stands.
    fn group(&self, settings: &Settings) -> Result<Delivery, Stop> {
        let body = json!({
            "GroupID": self.group_id()?,
            "TranDate": epicor::date(self.day),
            "BankAcctID": epicor::BANK_ACCT_ID.required(&settings.bank_account)?,
        });
        let delivery = Delivery::new(self.keys.group, ERP, "cash-group.ensure", body)
            .once(format!("{}/group", self.fact));
        Ok(match self.waits_for() {
            Some(key) => delivery.after(key),
            None => delivery,
        })
    }

    fn receipt(&self) -> Result<Delivery, Stop> {
        let reference = reference(self.object)?;
        let mut row = Map::new();
        let mut insert = |name: &str, value: Value| row.insert(name.to_owned(), value);
        insert("GroupID", json!(self.group_id()?));
        insert("CheckRef", json!(reference));
        insert("DocTranAmt", json!(self.amount.decimal()?.to_string()));
        insert("CurrencyCode", json!(self.amount.currency.code()));
        insert("TranDate", json!(epicor::date(self.day)));
        insert("Reference", json!(epicor::REFERENCE.text(self.object)?));
        let prepaid = matches!(self.purpose, Purpose::Order(_) | Purpose::NewOrder(_));
        insert("TranType", json!(if prepaid { "PrePay" } else { "PayInv" }));
        let mut parameters = json!({"CheckRef": reference});
        match &self.purpose {
            Purpose::Order(number) => drop(insert("OrderNum", json!(number))),
            Purpose::NewOrder(_) => {}
            Purpose::Invoices(rows) => {
                parameters = json!({"CheckRef": reference, "Allocations": rows.len()});
                insert("CashDtls", json!(rows));
            }
        }
        // Always: see the head of lib.rs. A receipt with fewer allocations is one that broke off: creating goes on
        // with it.
        let check = Check::always("cash-receipt.find", parameters, "/HeadNum");
        let mut delivery = self
            .customer
            .deliver(self.keys.receipt, "cash-receipt.create", Value::Object(row))
            .once(self.fact.clone())
            .after(self.keys.group)
            .unless(check);
        if let Some(key) = self.waits_for() {
            delivery = delivery.after(key);
        }
        Ok(match self.purpose {
            Purpose::NewOrder(key) => delivery.bind(key, "/OrderNum", "/OrderNum"),
            Purpose::Order(_) | Purpose::Invoices(_) => delivery,
        })
    }

    /// The posting.
    fn post(&self, settings: &Settings) -> Result<Delivery, Stop> {
        let reference = reference(self.object)?;
        let (amount, currency) = (self.amount.decimal()?, self.amount.currency.code());
        let body = json!({"GroupID": self.group_id()?, "CheckRef": reference});
        // Always: the receipt may have been found, and posted by whoever made it.
        let check =
            Check::always("cash-receipt.find", json!({"CheckRef": reference, "Posted": true}), "/HeadNum");
        Ok(Delivery::new(self.keys.post, ERP, "cash-group.post", body)
            .once(format!("{}/posted", self.fact))
            .after(self.keys.receipt)
            .unless(check)
            .debit(settings.bank_account.clone(), amount, currency)
            .credit(self.customer.id.clone(), amount, currency))
    }
}

/// How a receipt is found again: its CheckRef.
pub(crate) fn reference(object: &str) -> Result<String, Stop> {
    Ok(epicor::CHECK_REF.text(&short::reference(object))?)
}
