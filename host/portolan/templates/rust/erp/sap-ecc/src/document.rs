//! The accounting document in SAP: the clearing account is debited, the customer credited. SAP's reference field holds
//! 16 characters, so a short reference stands for the charge's id, and the id itself is in the texts. SAP takes a
//! second document with the same reference, so it is asked for one before the first send, too (`Check::always`).

use portolan_sdk::{date::Date, prelude::*, sap, short, text::Field};
use serde::Deserialize;

use crate::Sale;

/// Everything that the module does in SAP.
pub(crate) const OPERATIONS: &[&str] = &["accounting-document.find", "accounting-document.post"];

const DOC_TYPE: Field = Field::new("DOC_TYPE", 2);
const USERNAME: Field = Field::new("USERNAME", 12);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    company_code: String,
    /// Where Stripe's money is until it is paid out.
    clearing_account: String,
    user_name: String,
    /// The month in which a fiscal year begins.
    #[serde(default = "january")]
    fiscal_year_begins: i8,
}

const fn january() -> i8 {
    1
}

pub(crate) fn delivery(_: &Cx<'_>, settings: &Settings, sale: &Sale) -> Result<Delivery, Stop> {
    let company = sap::COMP_CODE.required(&settings.company_code)?;
    let account = sap::GL_ACCOUNT.alpha(&settings.clearing_account)?;
    let customer = sap::CUSTOMER.alpha(&sale.customer)?;
    let reference = short::reference(&sale.charge);
    let text = sap::ITEM_TEXT.required(&sale.charge).at("/data/object/id")?;
    let doc_type = DOC_TYPE.required("DZ")?;
    let amount = sap::amount(sale.amount, &Default::default())?;
    let currency = sale.amount.currency.code();
    let (debit, credit) = (sap::ITEMNO_ACC.numc(1)?, sap::ITEMNO_ACC.numc(2)?);
    let line = |item: &str, amount: String| json!({"ITEMNO_ACC": item, "CURR_TYPE": "00", "CURRENCY": currency, "AMT_DOCCUR": amount});
    let document = json!({
        "DOCUMENTHEADER": {
            "BUS_ACT": "RFBU",
            "COMP_CODE": company,
            "DOC_TYPE": doc_type,
            "DOC_DATE": sap::dats(sale.day),
            "PSTNG_DATE": sap::dats(sale.day),
            "USERNAME": USERNAME.required(&settings.user_name)?,
            "HEADER_TXT": sap::HEADER_TXT.shortened(&sale.text),
            "REF_DOC_NO": reference,
        },
        "ACCOUNTGL": [{"ITEMNO_ACC": debit, "GL_ACCOUNT": account, "ITEM_TEXT": text, "ALLOC_NMBR": reference}],
        "ACCOUNTRECEIVABLE": [{"ITEMNO_ACC": credit, "CUSTOMER": customer, "ITEM_TEXT": text}],
        "CURRENCYAMOUNT": [line(&debit, amount.to_string()), line(&credit, (-amount).to_string())],
    });
    let check = Check::always(
        "accounting-document.find",
        json!({"COMP_CODE": company, "FISC_YEAR": year(settings, sale.day), "DOC_TYPE": doc_type, "REF_DOC_NO": reference}),
        "/OBJ_KEY",
    );
    Ok(Delivery::new("payment", "erp", "accounting-document.post", document)
        .once(format!("payment/{}", sale.charge))
        .unless(check)
        .capture("stripe.charge", &sale.charge, "sap-ecc.fi", "/OBJ_KEY")
        // What the document stands for; the host checks that debits are credits.
        .debit(account, amount, currency)
        .credit(customer, amount, currency))
}

fn year(settings: &Settings, day: Date) -> String {
    sap::fiscal_year(day, settings.fiscal_year_begins).to_string()
}
