//! `BAPI_AR_ACC_GETOPENITEMS`: what a customer owes or is owed. Nothing is cleared here, so a line is open unless
//! its document was reversed.

use crate::money;
use crate::sap::messages::Message;
use crate::sap::parameters::Kind::{C, D};
use crate::sap::parameters::Shape::{Scalar, Table};
use crate::sap::parameters::{Interface, Parameters, alpha, alpha_out};
use crate::sap::xml::{Answer, Row};
use crate::sap::{Ended, Finished, SapEcc, Work};

pub(crate) const INTERFACE: Interface = &[
    ("COMPANYCODE", Scalar(C(4))),
    ("CUSTOMER", Scalar(C(10))),
    ("KEYDATE", Scalar(D)),
    ("NOTEDITEMS", Scalar(C(1))),
    ("SECINDEX", Scalar(C(1))),
    ("LINEITEMS", Table(&[])),
];

impl SapEcc {
    pub(crate) fn open_items(&self, work: &Work<'_>, parameters: &Parameters) -> Ended {
        let (company, number) = (parameters.scalar("COMPANYCODE"), alpha(parameters.scalar("CUSTOMER"), 10));
        let mut finished = Finished::default();
        let known =
            self.customer(&number).is_some_and(|master| master.company_codes.iter().any(|c| c == company));
        if !known {
            let text = format!("Customer {} is not defined in company code {company}", alpha_out(&number));
            let message = Message::error("FN", "021", text);
            finished.export("RETURN", Answer::Structure(message.row_return()));
            finished.table("LINEITEMS", Vec::new());
            return Ended::Answered(finished);
        }
        let key_date = parameters.scalar("KEYDATE");
        let mut rows: Vec<Row> = Vec::new();
        for document in self.documents.documents(None, work.moment.seen_ms) {
            let is_open = document.company == company
                && document.reversed_by.is_empty()
                && document.reverses.is_empty()
                && (key_date.is_empty() || document.posting_date.as_str() <= key_date);
            let lines =
                document.lines.iter().enumerate().filter(|(_, line)| is_open && line.customer == number);
            for (index, line) in lines {
                let amount = money::parse(&line.amount).unwrap_or_default();
                let credit = amount.is_sign_negative();
                rows.push(vec![
                    ("COMP_CODE", company.to_owned()),
                    ("CUSTOMER", number.clone()),
                    ("SP_GL_IND", line.special.clone()),
                    ("CLEAR_DATE", String::new()),
                    ("CLR_DOC_NO", String::new()),
                    ("ALLOC_NMBR", line.assignment.clone()),
                    ("FISC_YEAR", document.year.clone()),
                    ("DOC_NO", document.number.clone()),
                    ("ITEM_NUM", format!("{:0>3}", index + 1)),
                    ("PSTNG_DATE", document.posting_date.clone()),
                    ("DOC_DATE", document.doc_date.clone()),
                    ("CURRENCY", line.currency.clone()),
                    ("REF_DOC_NO", document.reference.clone()),
                    ("DOC_TYPE", document.doc_type.clone()),
                    ("FIS_PERIOD", document.period.clone()),
                    ("POST_KEY", if credit { "11" } else { "01" }.to_owned()),
                    ("DB_CR_IND", if credit { "H" } else { "S" }.to_owned()),
                    // Without sign: that is DB_CR_IND.
                    ("AMT_DOCCUR", amount.abs().to_string()),
                    ("ITEM_TEXT", line.text.clone()),
                ]);
            }
        }
        finished.table("LINEITEMS", rows);
        finished.export("RETURN", Answer::Structure(Message::new("", "", "", "").row_return()));
        Ended::Answered(finished)
    }
}
