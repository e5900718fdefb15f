//! An FI document between a G/L account and a customer: payments, refunds, credits. Found again by its reference.

use portolan_sdk::{
    contract::{Delivery, Side},
    date::Date,
    money::Money,
    prelude::*,
    sap, short,
    text::Field,
};
use serde_json::{Map, Value};

use crate::{ERP, Settings, customer::Payer};

/// A document to post.
pub(crate) struct Posting<'a> {
    /// Key of its delivery in the plan.
    pub(crate) key: &'a str,
    /// What it records.
    pub(crate) fact: String,
    /// Stripe's id, which the reference stands for.
    pub(crate) object: &'a str,
    /// For people, in the header.
    pub(crate) title: &'a str,
    /// For people, in the lines.
    pub(crate) text: String,
    pub(crate) document_type: &'a str,
    pub(crate) day: Date,
    pub(crate) amount: Money,
    /// The G/L account.
    pub(crate) account: &'a str,
    pub(crate) customer: &'a Payer,
    pub(crate) customer_side: Side,
    /// What the customer's line is matched by.
    pub(crate) assignment: Option<&'a str>,
}

impl Posting<'_> {
    /// The delivery that posts it; without captures.
    pub(crate) fn delivery(&self, settings: &Settings) -> Result<Delivery, Stop> {
        let amount = sap::amount(self.amount, &settings.currency_decimals)?;
        let currency = self.amount.currency.code();
        let (ledger, open_item) = (sap::ITEMNO_ACC.numc(1)?, sap::ITEMNO_ACC.numc(2)?);
        let account = sap::GL_ACCOUNT.alpha(self.account)?;
        let (on_account, on_customer) = match self.customer_side {
            Side::Credit => (amount, -amount),
            Side::Debit => (-amount, amount),
        };
        let mut customer = Map::new();
        customer.insert("ITEMNO_ACC".to_owned(), json!(open_item));
        customer.insert("ITEM_TEXT".to_owned(), json!(self.text));
        if let Some(number) = &self.customer.number {
            customer.insert("CUSTOMER".to_owned(), json!(number));
        }
        if let Some(assignment) = self.assignment {
            customer.insert("ALLOC_NMBR".to_owned(), json!(sap::ALLOC_NMBR.text(assignment)?));
        }
        let row = |item: &str, amount: String| json!({"ITEMNO_ACC": item, "CURR_TYPE": "00", "CURRENCY": currency, "AMT_DOCCUR": amount});
        let header = Header { settings, document_type: self.document_type, title: self.title, day: self.day };
        let (header, check) = header.written(self.object)?;
        let mut body = json!({
            "DOCUMENTHEADER": header,
            // What Stripe holds is cleared, item by item, by the payout that brings it: both carry this reference.
            "ACCOUNTGL": [{"ITEMNO_ACC": ledger, "GL_ACCOUNT": account, "ITEM_TEXT": self.text,
                "ALLOC_NMBR": short::reference(self.object)}],
            "ACCOUNTRECEIVABLE": [customer],
            "CURRENCYAMOUNT": [row(&ledger, on_account.to_string()), row(&open_item, on_customer.to_string())],
        });
        if let (Some(body), Some(one_time)) = (body.as_object_mut(), &self.customer.one_time) {
            body.insert("CUSTOMERCPD".to_owned(), Value::Object(one_time.clone()));
        }
        let delivery =
            Delivery::new(self.key, ERP, "accounting-document.post", body).once(&self.fact).unless(check);
        let delivery = self.customer.bind(delivery, "/ACCOUNTRECEIVABLE/0/CUSTOMER");
        let customer = self.customer.label.as_str();
        Ok(match self.customer_side {
            Side::Credit => delivery.debit(account, amount, currency).credit(customer, amount, currency),
            Side::Debit => delivery.debit(customer, amount, currency).credit(account, amount, currency),
        })
    }
}

/// The header of an FI document.
pub(crate) struct Header<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) document_type: &'a str,
    pub(crate) title: &'a str,
    pub(crate) day: Date,
}

impl Header<'_> {
    /// The header with the short reference of an id, and how the document is found again by it.
    pub(crate) fn written(&self, id: &str) -> Result<(Value, Check), Stop> {
        let reference = sap::REF_DOC_NO.text(&short::reference(id))?;
        let company = sap::COMP_CODE.required(&self.settings.company_code)?;
        let document_type = Field::new("DOC_TYPE", 2).required(self.document_type)?;
        let date = sap::dats(self.day);
        let header = json!({
            "BUS_ACT": "RFBU",
            "USERNAME": Field::new("USERNAME", 12).required(&self.settings.user_name)?,
            "HEADER_TXT": sap::HEADER_TXT.shortened(self.title),
            "COMP_CODE": company,
            "DOC_DATE": date,
            "PSTNG_DATE": date,
            "DOC_TYPE": document_type,
            "REF_DOC_NO": reference,
        });
        let year = sap::fiscal_year(self.day, self.settings.fiscal_year_first_month);
        // Always: see the head of lib.rs.
        let check = Check::always(
            "accounting-document.find",
            json!({"COMP_CODE": company, "FISC_YEAR": year.to_string(), "DOC_TYPE": document_type, "REF_DOC_NO": reference}),
            "/OBJ_KEY",
        );
        Ok((header, check))
    }
}

/// The delivery that reverses a document; without captures and ledger lines.
pub(crate) fn reversal(
    settings: &Settings,
    key: &str,
    fact: String,
    (document, day, reason): (&str, Date, &str),
) -> Result<Delivery, Stop> {
    let document = sap::OBJ_KEY.required(document)?;
    let body = json!({
        "REVERSAL": {
            "OBJ_TYPE": "BKPFF",
            "OBJ_KEY": document,
            "OBJ_KEY_R": document,
            "PSTNG_DATE": sap::dats(day),
            "COMP_CODE": sap::COMP_CODE.required(&settings.company_code)?,
            "REASON_REV": Field::new("REASON_REV", 2).required(reason)?,
        },
        "BUS_ACT": "RFBU",
    });
    let check = Check::always("accounting-document.reversal", json!({"OBJ_KEY": document}), "/OBJ_KEY");
    Ok(Delivery::new(key, ERP, "accounting-document.reverse", body).once(fact).unless(check))
}
