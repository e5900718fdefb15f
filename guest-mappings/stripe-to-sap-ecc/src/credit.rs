//! Credit memo requests, and credit notes without money.

use portolan_sdk::{
    ask::Row,
    contract::{Delivery, Side},
    date::Date,
    flow::{Credit, Documents, fact},
    money::Money,
    prelude::*,
    sap,
    text::Field,
};

use crate::{
    CreditDocument, ERP, Settings,
    customer::{self, Payer},
    order,
    posting::Posting,
    refund,
};

const CREDIT: &str = "credit";

/// A credit memo request to create: one item, with reference to the order where it is known.
pub(crate) struct Request<'a> {
    pub(crate) key: &'a str,
    pub(crate) fact: String,
    /// Stripe's id, by which it is found again.
    pub(crate) object: &'a str,
    pub(crate) text: &'a str,
    pub(crate) day: Date,
    pub(crate) amount: Money,
    pub(crate) payer: &'a Payer,
    pub(crate) order: Option<&'a str>,
    /// The row of the lookup table `reasons`.
    pub(crate) reason: Option<&'a Row>,
}

impl Request<'_> {
    /// The delivery that creates it; without captures.
    pub(crate) fn delivery(&self, settings: &Settings) -> Result<Delivery, Stop> {
        let request = &settings.credit_memo_request;
        let material = request.material.as_ref().or(settings.default_material.as_ref()).ok_or_else(|| {
            let text = "the settings name neither credit_memo_request.material nor default_material";
            Stop::reject("", "unknown-product", text)
        })?;
        let mut header = order::header(settings, &request.order_type, (self.object, self.day, self.amount))?;
        header.extend(request.header.iter().map(|(name, value)| (name.clone(), json!(value))));
        if let Some(order) = self.order {
            header.insert("REF_DOC".to_owned(), json!(sap::SALESDOCUMENT.alpha(order)?));
        }
        if let Some(reason) = self.reason.and_then(|row| row.main("order_reason")) {
            header.insert("ORD_REASON".to_owned(), json!(Field::new("ORD_REASON", 3).text(&reason)?));
        }
        let price = sap::amount(self.amount, &settings.currency_decimals)?;
        let number = sap::ITM_NUMBER.numc(10)?;
        let body = json!({
            "ORDER_HEADER_IN": header,
            "ORDER_ITEMS_IN": [{
                "ITM_NUMBER": number,
                "MATERIAL": sap::MATERIAL.alpha(material)?,
                "TARGET_QTY": "1.000",
                "SHORT_TEXT": sap::SHORT_TEXT.shortened(self.text),
            }],
            "ORDER_PARTNERS": order::partners(self.payer),
            "ORDER_SCHEDULES_IN": [{
                "ITM_NUMBER": number,
                "SCHED_LINE": sap::SCHED_LINE.numc(1)?,
                "REQ_DATE": sap::dats(self.day),
                "REQ_QTY": "1.000",
            }],
            "ORDER_CONDITIONS_IN": [{
                "ITM_NUMBER": number,
                "COND_TYPE": Field::new("COND_TYPE", 4).required(&settings.condition_type)?,
                "COND_VALUE": price.to_string(),
                "CURRENCY": self.amount.currency.code(),
            }],
        });
        let check = Check::always("sales-order.find", json!({"PURCH_NO_C": self.object}), "/SALESDOCUMENT");
        Ok(Delivery::new(self.key, ERP, "sales-order.create", body).once(&self.fact).unless(check))
    }
}

/// The document of a credit note.
pub(crate) fn documents(settings: &Settings, cx: &Cx<'_>, credit: &Credit) -> Result<Documents, Stop> {
    let payer = customer::known_payer(settings, cx, &credit.buyer)?;
    let text = refund::text(&credit.id, Some(&credit.text), credit.reason_row.as_ref());
    let (delivery, pointer) = match settings.credit.document {
        CreditDocument::CreditMemoRequest => {
            let request = Request {
                key: CREDIT,
                fact: fact::credit(&credit.id),
                object: &credit.id,
                text: &text,
                day: credit.day,
                amount: credit.amount,
                payer: &payer,
                order: credit.posted.id("sap-ecc.order"),
                reason: credit.reason_row.as_ref(),
            };
            (request.delivery(settings)?, "/SALESDOCUMENT")
        }
        CreditDocument::AccountingDocument => {
            let revenue = settings.credit.revenue_account.as_deref().ok_or_else(|| {
                let text = "credit.document is accounting-document, and credit.revenue_account is missing";
                Stop::reject("", "settings", text)
            })?;
            let posting = Posting {
                key: CREDIT,
                fact: fact::credit(&credit.id),
                object: &credit.id,
                title: "Stripe credit note",
                text,
                document_type: settings.credit.document_type.as_deref().unwrap_or("DG"),
                day: credit.day,
                amount: credit.amount,
                account: revenue,
                customer: &payer,
                customer_side: Side::Credit,
                assignment: credit.posted.id("sap-ecc.order"),
            };
            (posting.delivery(settings)?, "/OBJ_KEY")
        }
    };
    let delivery = delivery.capture("stripe.credit-note", &credit.id, "sap-ecc.credit", pointer);
    Ok(Documents::default().deliver(delivery).number("sap_ecc_credit", CREDIT, pointer))
}
