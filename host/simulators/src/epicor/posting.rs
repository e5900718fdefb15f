//! `Erp.PROC.CashRecPostSvc`: a group of receipts is posted, at once or by the task agent; then it is immutable.

use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::epicor::cash::receipt_draft;
use crate::epicor::datasets::{answer, committed, dataset, draft};
use crate::epicor::errors::Error;
use crate::epicor::rows::{POSTED, decimal, flag, number, removed, text, whole, written};
use crate::epicor::{Epicor, Request, Row};
use crate::stand_in::{Draft, Outcome};

impl Epicor {
    pub(crate) fn cash_post_method(&mut self, request: &Request<'_>) -> Result<Outcome, Error> {
        match request.name.as_str() {
            "GetNewParameters" => {
                let row = json!({
                    "GroupID": "", "AgentID": "", "AgentSchedNum": 0, "AgentTaskNum": 0, "RowMod": "A",
                    "SysRowID": self.guid("parameters", request.moment.now_ms),
                });
                Ok(answer(json!({"CashRecPostParam": [row]}), json!({})))
            }
            "RunDirect" => self.cash_post(request, 0),
            "SubmitToAgent" => {
                if request.text("agentID").is_empty() {
                    return Err(Error::business("A valid Agent ID is required."));
                }
                self.cash_post(request, self.options.agent_ms)
            }
            _ => Err(Error::not_found(&format!("{} was not found.", request.name))),
        }
    }

    fn cash_post(&mut self, request: &Request<'_>, later_ms: u64) -> Result<Outcome, Error> {
        let ds = dataset(request)?;
        let parameters = ds.get("CashRecPostParam").and_then(|rows| rows.get(0)).and_then(Value::as_object);
        let id = parameters.map(|row| text(row, "GroupID")).filter(|id| !id.is_empty());
        let id = id.ok_or_else(|| Error::business("A valid Group ID is required."))?.to_owned();
        let group = self.group(request, &id)?;
        let now_ms = request.moment.now_ms;
        let of_group = self.tables.find("CashHead", Some(("GroupID", &json!(id))), now_ms);
        let waiting: Vec<Row> = of_group
            .filter(|row| text(row, "Company") == request.company && !flag(row, "Posted"))
            .cloned()
            .collect();
        let mut drafts = Vec::new();
        let mut nth = 0;
        for mut row in waiting {
            row.insert("Posted".to_owned(), json!(true));
            row.insert("GLPosted".to_owned(), json!(true));
            row.insert(POSTED.to_owned(), json!(now_ms + later_ms));
            self.stamp("CashHead", &mut row, request, nth);
            nth += 1;
            let mut writes = vec![written("CashHead", &row)];
            writes.extend(self.settle(request, &row, &mut nth));
            drafts.push(receipt_draft(request, "cash-receipt-posting", &row, writes));
        }
        drafts.extend(self.group_after_posting(request, &group, drafts.is_empty()));
        Ok(committed(Value::Null, json!({"ds": ds, "errorsOccurred": false}), drafts))
    }

    /// What posting does to the invoices that the receipt is applied to.
    fn settle(&self, request: &Request<'_>, head: &Row, nth: &mut u64) -> Vec<Value> {
        let mut writes = Vec::new();
        let lines = self.children("CashDtl", "CashHead", head, request.moment.now_ms);
        for line in lines.as_array().into_iter().flatten().filter_map(Value::as_object) {
            let invoice = json!(whole(line, "InvoiceNum"));
            let found = self.tables.one(
                "InvcHead",
                &request.company,
                ("InvoiceNum", &invoice),
                request.moment.now_ms,
            );
            let Some(mut invoice) = found.cloned() else { continue };
            let balance =
                (decimal(&invoice, "DocInvoiceBal") - decimal(line, "DocTranAmt")).max(Decimal::ZERO);
            for column in ["InvoiceBal", "DocInvoiceBal"] {
                invoice.insert(column.to_owned(), number(balance));
            }
            invoice.insert("OpenInvoice".to_owned(), json!(!balance.is_zero()));
            self.stamp("InvcHead", &mut invoice, request, *nth);
            *nth += 1;
            writes.push(written("InvcHead", &invoice));
        }
        writes
    }

    fn group_after_posting(&self, request: &Request<'_>, group: &Row, nothing_posted: bool) -> Option<Draft> {
        if !self.options.groups_vanish_when_posted || nothing_posted {
            return None;
        }
        let id = text(group, "GroupID").to_owned();
        Some(draft(request, "cash-group-deletion", id.clone(), &id, vec![removed("CashGrp", group)]))
    }
}
