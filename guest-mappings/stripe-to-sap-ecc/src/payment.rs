//! The payment: an FI document that debits the clearing account and credits the customer, assigned to the order
//! by its number, which the first response brings.

use portolan_sdk::{prelude::*, sap, short, text::Field};
use serde_json::Value;

use crate::{ERP, ORDER, PAYMENT, Sale};

/// The delivery that posts the payment, after the order.
pub(crate) fn delivery(sale: &Sale) -> Result<Delivery, Stop> {
    let settings = &sale.settings;
    let amount = sap::amount(sale.captured, &settings.currency_decimals)?;
    let currency = sale.captured.currency.code();
    let (ledger, open_item) = (sap::ITEMNO_ACC.numc(1)?, sap::ITEMNO_ACC.numc(2)?);
    let clearing = sap::GL_ACCOUNT.alpha(&settings.clearing_account)?;
    let reference = sap::REF_DOC_NO.text(&short::reference(&sale.charge.id))?;
    let company = sap::COMP_CODE.required(&settings.company_code)?;
    let document_type = Field::new("DOC_TYPE", 2).required(&settings.document_type)?;
    let text = sap::ITEM_TEXT.text(&sale.charge.id).at("/data/object/id")?;
    let date = sap::dats(sale.day);
    let row = |item: &str, amount: String| json!({"ITEMNO_ACC": item, "CURR_TYPE": "00", "CURRENCY": currency, "AMT_DOCCUR": amount});
    let mut body = json!({
        "DOCUMENTHEADER": {
            "BUS_ACT": "RFBU",
            "USERNAME": Field::new("USERNAME", 12).required(&settings.user_name)?,
            "HEADER_TXT": "Stripe charge",
            "COMP_CODE": company,
            "DOC_DATE": date,
            "PSTNG_DATE": date,
            "DOC_TYPE": document_type,
            "REF_DOC_NO": reference,
        },
        "ACCOUNTGL": [{"ITEMNO_ACC": ledger, "GL_ACCOUNT": clearing, "ITEM_TEXT": text}],
        "ACCOUNTRECEIVABLE": [{"ITEMNO_ACC": open_item, "CUSTOMER": sale.customer.number, "ITEM_TEXT": text}],
        "CURRENCYAMOUNT": [row(&ledger, amount.to_string()), row(&open_item, (-amount).to_string())],
    });
    if let (Some(body), Some(one_time)) = (body.as_object_mut(), sale.customer.address()?) {
        body.insert("CUSTOMERCPD".to_owned(), Value::Object(one_time));
    }
    let year = sap::fiscal_year(sale.day, settings.fiscal_year_first_month);
    // Always: see the head of lib.rs.
    let check = Check::always(
        "accounting-document.find",
        json!({"COMP_CODE": company, "FISC_YEAR": year.to_string(), "DOC_TYPE": document_type, "REF_DOC_NO": reference}),
        "/OBJ_KEY",
    );
    Ok(Delivery::new(PAYMENT, ERP, "accounting-document.post", body)
        .after(ORDER)
        .bind(ORDER, "/SALESDOCUMENT", "/ACCOUNTRECEIVABLE/0/ALLOC_NMBR")
        .unless(check)
        .capture("stripe.charge", &sale.charge.id, "sap-ecc.fi", "/OBJ_KEY")
        .debit(clearing, amount, currency)
        .credit(sale.customer.number.clone(), amount, currency))
}
