//! `Erp.BO.ReverseCashReceiptSvc`: a posted receipt is taken back by one of the opposite amount, and what it was
//! applied to is open again.

use serde_json::{Value, json};

use crate::epicor::cash::receipt_draft;
use crate::epicor::datasets::{answer, committed};
use crate::epicor::errors::Error;
use crate::epicor::rows::{decimal, flag, number, shown, text, whole, written};
use crate::epicor::{Epicor, Request, Row, checks, rows};
use crate::stand_in::Outcome;

impl Epicor {
    pub(crate) fn reversal_method(&mut self, request: &Request<'_>) -> Result<Outcome, Error> {
        let key = [request.company.clone(), request.text("groupID"), request.text("headNum")];
        let place = rows::Tables::place_of_key("CashHead", &key).unwrap_or_default();
        let stored = self.tables.get("CashHead", &place, request.moment.now_ms).cloned();
        let stored = stored.ok_or_else(Error::no_record)?;
        match request.name.as_str() {
            "GetByID" => {
                let row = shown(&stored, request.moment.seen_ms);
                Ok(answer(json!({"CashHead": [row]}), json!({})))
            }
            "_ReverseCashReceipt" => self.reverse(request, &stored),
            _ => Err(Error::not_found(&format!("{} was not found.", request.name))),
        }
    }

    fn reverse(&mut self, request: &Request<'_>, stored: &Row) -> Result<Outcome, Error> {
        self.check_unlocked(text(stored, "GroupID"))?;
        let refused = |text: &str| Ok(answer(Value::Null, json!({"postErrorLog": text, "newHeadNum": 0})));
        if !flag(&shown(stored, request.moment.now_ms), "Posted") {
            return Err(Error::business("Only posted cash receipts can be reversed."));
        }
        if flag(stored, "Reversed") {
            return Err(Error::business("The cash receipt has been reversed already."));
        }
        let Some(date) = checks::date(&request.text("reverseDate")) else {
            return Err(Error::odata("reverseDate is no date."));
        };
        if !self.is_open_day(&date) {
            return refused("The fiscal period of the reversal is closed.");
        }
        let mut original = stored.clone();
        original.insert("Reversed".to_owned(), json!(true));
        let mut reversal = original.clone();
        let head = self.next_receipt;
        self.next_receipt += 1;
        for (name, value) in [
            ("HeadNum", json!(head)),
            ("TranDate", json!(date)),
            ("ReversedReason", json!(request.text("reversedReason"))),
            ("SysRowID", json!("")),
            (rows::CREATED, json!(request.moment.now_ms)),
            (rows::POSTED, json!(request.moment.now_ms)),
        ] {
            reversal.insert(name.to_owned(), value);
        }
        for column in
            ["TranAmt", "DocTranAmt", "AppliedAmt", "DocAppliedAmt", "UnAppliedAmt", "DocUnAppliedAmt"]
        {
            reversal.insert(column.to_owned(), number(-decimal(stored, column)));
        }
        self.stamp("CashHead", &mut original, request, 0);
        self.stamp("CashHead", &mut reversal, request, 1);
        let mut writes = vec![written("CashHead", &original), written("CashHead", &reversal)];
        writes.extend(self.reopened(request, stored));
        let draft = receipt_draft(request, "cash-receipt-reversal", &reversal, writes);
        Ok(committed(Value::Null, json!({"postErrorLog": "", "newHeadNum": head}), vec![draft]))
    }

    /// The invoices that the receipt had paid.
    fn reopened(&self, request: &Request<'_>, head: &Row) -> Vec<Value> {
        let lines = self.children("CashDtl", "CashHead", head, request.moment.now_ms);
        let mut writes = Vec::new();
        for (nth, line) in (2..).zip(lines.as_array().into_iter().flatten().filter_map(Value::as_object)) {
            let invoice = json!(whole(line, "InvoiceNum"));
            let by = ("InvoiceNum", &invoice);
            let found = self.tables.one("InvcHead", &request.company, by, request.moment.now_ms);
            let Some(mut invoice) = found.cloned() else { continue };
            let balance = decimal(&invoice, "DocInvoiceBal") + decimal(line, "DocTranAmt");
            for column in ["InvoiceBal", "DocInvoiceBal"] {
                invoice.insert(column.to_owned(), number(balance));
            }
            invoice.insert("OpenInvoice".to_owned(), json!(!balance.is_zero()));
            self.stamp("InvcHead", &mut invoice, request, nth);
            writes.push(written("InvcHead", &invoice));
        }
        writes
    }
}
