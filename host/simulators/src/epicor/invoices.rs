//! `Erp.BO.InvcGrpSvc`, `Erp.BO.ARInvoiceSvc` and `Erp.PROC.ARInvoicePostSvc`: credit memos are entered line by line
//! into a group, and posted with it. Invoices themselves come from shipping, which is done at the desk.

use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::epicor::datasets::{add, answer, changed, committed, dataset, draft, new_row};
use crate::epicor::errors::Error;
use crate::epicor::rows::{decimal, flag, number, shown, text, whole, written};
use crate::epicor::{Epicor, Request, Row, checks, rows};
use crate::stand_in::{Draft, Outcome};

/// What stands for nothing in a column that holds a number.
const NONE: u64 = 0;

impl Epicor {
    /// A group of invoices or journals.
    pub(crate) fn plain_group_create(
        &mut self,
        request: &Request<'_>,
        table: &str,
        sent: &Row,
    ) -> Result<(Row, Vec<Draft>), Error> {
        let mut row = rows::blank(table, &request.company);
        row.extend(checks::columns(table, sent)?);
        row.insert("Company".to_owned(), json!(request.company));
        let id = text(&row, "GroupID").to_owned();
        if id.trim().is_empty() {
            return Err(Error::business("A valid Group ID is required."));
        }
        if self.tables.one(table, &request.company, ("GroupID", &json!(id)), request.moment.now_ms).is_some()
        {
            let status = self.options.duplicate_status;
            return Err(Error::duplicate(status, &format!("Group {id} already exists.")));
        }
        row.insert("CreatedBy".to_owned(), json!(request.user));
        row.insert("SysRowID".to_owned(), json!(""));
        self.stamp(table, &mut row, request, 0);
        let kind = if table == "InvcGrp" { "ar-invoice-group" } else { "gl-journal-group" };
        let draft = draft(request, kind, id.clone(), &id, vec![written(table, &row)]);
        Ok((row, vec![draft]))
    }

    /// A group that exists and that no other user works in.
    pub(crate) fn plain_group(&self, request: &Request<'_>, table: &str, id: &str) -> Result<(), Error> {
        let found = self.tables.one(table, &request.company, ("GroupID", &json!(id)), request.moment.now_ms);
        let group = found.ok_or_else(|| Error::business(&format!("A valid Group ID is required: {id}.")))?;
        let user = text(group, "ActiveUserID");
        if !user.is_empty() && user != request.user {
            return Err(Error::business(&format!("Group {id} is in use by {user}.")));
        }
        self.check_unlocked(id)
    }

    /// `GetNew…` and `Update` of a group.
    pub(crate) fn plain_group_method(
        &mut self,
        request: &Request<'_>,
        table: &str,
    ) -> Result<Outcome, Error> {
        let mut ds = dataset(request)?;
        if request.name.starts_with("GetNew") {
            add(&mut ds, table, new_row(table, &request.company));
            return Ok(answer(Value::Null, json!({"ds": ds})));
        }
        let rows = changed(&ds, table)?;
        let [('A', sent)] = rows.as_slice() else {
            return Err(Error::business("One new group is expected."));
        };
        let (row, drafts) = self.plain_group_create(request, table, sent)?;
        Ok(committed(Value::Null, json!({"ds": {table: [shown(&row, request.moment.now_ms)]}}), drafts))
    }

    pub(crate) fn invoice_group_method(&mut self, request: &Request<'_>) -> Result<Outcome, Error> {
        match request.name.as_str() {
            "GetNewInvcGrp" | "Update" => self.plain_group_method(request, "InvcGrp"),
            _ => Err(Error::not_found(&format!("{} was not found.", request.name))),
        }
    }

    /// A credit memo's header. Its amount comes with its lines.
    pub(crate) fn memo_create(
        &mut self,
        request: &Request<'_>,
        sent: &Row,
    ) -> Result<(Row, Vec<Draft>), Error> {
        let mut row = rows::blank("InvcHead", &request.company);
        row.extend(checks::columns("InvcHead", sent)?);
        row.insert("Company".to_owned(), json!(request.company));
        if !flag(&row, "CreditMemo") {
            return Err(Error::business("Only credit memos can be entered here."));
        }
        self.plain_group(request, "InvcGrp", text(&row, "GroupID"))?;
        let customer = self.customer_of(request, &row)?;
        if row.get("InvoiceDate").is_none_or(Value::is_null) {
            return Err(Error::business("Invoice Date is required."));
        }
        if text(&row, "CurrencyCode").is_empty() {
            row.insert("CurrencyCode".to_owned(), json!(text(&customer, "CurrencyCode")));
        }
        if !self.options.currencies.contains(text(&row, "CurrencyCode")) {
            return Err(Error::business("A valid Currency Code is required."));
        }
        let reference = whole(&row, "InvoiceRef");
        if reference != NONE {
            let by = ("InvoiceNum", &json!(reference));
            let invoice = self.tables.one("InvcHead", &request.company, by, request.moment.now_ms);
            let invoice = invoice.filter(|invoice| flag(invoice, "Posted") && !flag(invoice, "CreditMemo"));
            let invoice = invoice.ok_or_else(|| Error::business("A valid Invoice Reference is required."))?;
            if whole(invoice, "CustNum") != whole(&row, "CustNum") {
                return Err(Error::business("The invoice belongs to another customer."));
            }
            row.insert("OrderNum".to_owned(), json!(whole(invoice, "OrderNum")));
        }
        let invoice = self.next_invoice;
        self.next_invoice += 1;
        for (name, value) in [
            ("InvoiceNum", json!(invoice)),
            ("InvoiceType", json!("Mis")),
            ("InvoiceSuffix", json!("CM")),
            ("Posted", json!(false)),
            ("OpenInvoice", json!(true)),
            ("SysRowID", json!("")),
        ] {
            row.insert(name.to_owned(), value);
        }
        self.stamp("InvcHead", &mut row, request, 0);
        let draft = memo_draft(request, "credit-memo", &row, vec![written("InvcHead", &row)]);
        Ok((row, vec![draft]))
    }

    fn memo(&self, request: &Request<'_>, invoice: u64) -> Result<Row, Error> {
        let by = ("InvoiceNum", &json!(invoice));
        let found = self.tables.one("InvcHead", &request.company, by, request.moment.now_ms);
        let head = found.ok_or_else(|| Error::business("A valid Invoice Number is required."))?;
        if flag(head, "Posted") {
            return Err(Error::business("The invoice is posted: it cannot be changed."));
        }
        self.plain_group(request, "InvcGrp", text(head, "GroupID"))?;
        Ok(head.clone())
    }

    pub(crate) fn memo_line_create(
        &mut self,
        request: &Request<'_>,
        sent: &Row,
    ) -> Result<(Row, Vec<Draft>), Error> {
        let mut row = rows::blank("InvcDtl", &request.company);
        row.extend(checks::columns("InvcDtl", sent)?);
        row.insert("Company".to_owned(), json!(request.company));
        let mut head = self.memo(request, whole(&row, "InvoiceNum"))?;
        let reason = text(&row, "ReasonCode");
        let known = self.options.reasons.get(reason).is_some_and(|(kind, _)| kind == "A");
        if !reason.is_empty() && !known {
            return Err(Error::business(&format!("A valid Reason Code of type A is required: {reason}.")));
        }
        let amount = decimal(&row, "SellingShipQty") * decimal(&row, "DocUnitPrice");
        if amount <= Decimal::ZERO {
            return Err(Error::business("The amount of a credit memo line must be greater than zero."));
        }
        if !crate::money::fits(amount, text(&head, "CurrencyCode")) {
            return Err(Error::business("The amount has more decimals than its currency."));
        }
        let by = ("InvoiceNum", &json!(whole(&row, "InvoiceNum")));
        let lines = self.tables.find("InvcDtl", Some(by), request.moment.now_ms);
        let line = lines.map(|line| whole(line, "InvoiceLine")).max().unwrap_or(0) + 1;
        row.insert("InvoiceLine".to_owned(), json!(line));
        for column in ["ExtPrice", "DocExtPrice"] {
            row.insert(column.to_owned(), number(-amount));
        }
        row.insert("UnitPrice".to_owned(), row.get("DocUnitPrice").cloned().unwrap_or_default());
        row.insert("SysRowID".to_owned(), json!(""));
        self.stamp("InvcDtl", &mut row, request, 1);
        let total = decimal(&head, "DocInvoiceAmt") - amount;
        for column in ["InvoiceAmt", "DocInvoiceAmt", "InvoiceBal", "DocInvoiceBal"] {
            head.insert(column.to_owned(), number(total));
        }
        self.stamp("InvcHead", &mut head, request, 0);
        let writes = vec![written("InvcHead", &head), written("InvcDtl", &row)];
        let mut draft = memo_draft(request, "credit-memo-line", &head, writes);
        draft.number = format!("{}/{line}", whole(&head, "InvoiceNum"));
        draft.business_key = format!("{}/{line}", text(&head, "ExternalID"));
        draft.amounts.clear();
        Ok((row, vec![draft.amount(text(&head, "CurrencyCode"), -amount)]))
    }

    pub(crate) fn invoice_method(&mut self, request: &Request<'_>) -> Result<Outcome, Error> {
        let mut ds = dataset(request)?;
        match request.name.as_str() {
            "GetNewInvcHeadType" => {
                if request.text("InvoiceType") != "CREDIT-MEMO" {
                    return Err(Error::business("Only credit memos can be entered here."));
                }
                self.plain_group(request, "InvcGrp", &request.text("GroupID"))?;
                let mut row = new_row("InvcHead", &request.company);
                let today = format!("{}T00:00:00", crate::clock::iso_date(request.moment.now_ms));
                for (name, value) in [
                    ("GroupID", json!(request.text("GroupID"))),
                    ("InvoiceType", json!("Mis")),
                    ("CreditMemo", json!(true)),
                    ("InvoiceDate", json!(today)),
                ] {
                    row.insert(name.to_owned(), value);
                }
                add(&mut ds, "InvcHead", row);
                Ok(answer(Value::Null, json!({"ds": ds})))
            }
            "GetNewInvcDtl" => {
                let invoice = request.text("invoiceNum").parse::<u64>().unwrap_or_default();
                self.memo(request, invoice)?;
                let mut row = new_row("InvcDtl", &request.company);
                row.insert("InvoiceNum".to_owned(), json!(invoice));
                add(&mut ds, "InvcDtl", row);
                Ok(answer(Value::Null, json!({"ds": ds})))
            }
            "UpdateMaster" | "Update" => {
                let (heads, lines) = (changed(&ds, "InvcHead")?, changed(&ds, "InvcDtl")?);
                let (table, (row, drafts)) = match (heads.as_slice(), lines.as_slice()) {
                    ([('A', sent)], []) => ("InvcHead", self.memo_create(request, sent)?),
                    ([], [('A', sent)]) => ("InvcDtl", self.memo_line_create(request, sent)?),
                    _ => return Err(Error::business("One new header or one new line is expected.")),
                };
                let ds = json!({table: [shown(&row, request.moment.now_ms)]});
                Ok(committed(Value::Null, json!({"ds": ds}), drafts))
            }
            _ => Err(Error::not_found(&format!("{} was not found.", request.name))),
        }
    }

    pub(crate) fn invoice_post_method(&mut self, request: &Request<'_>) -> Result<Outcome, Error> {
        match request.name.as_str() {
            "GetNewParameters" => {
                let row = json!({"GroupID": "", "AgentID": "", "RowMod": "A"});
                Ok(answer(json!({"ARInvoicePostParam": [row]}), json!({})))
            }
            "RunDirect" => self.post_invoices(request),
            _ => Err(Error::not_found(&format!("{} was not found.", request.name))),
        }
    }

    fn post_invoices(&mut self, request: &Request<'_>) -> Result<Outcome, Error> {
        let ds = dataset(request)?;
        let parameters = ds.get("ARInvoicePostParam").and_then(|rows| rows.get(0)).and_then(Value::as_object);
        let id = parameters.map(|row| text(row, "GroupID").to_owned()).unwrap_or_default();
        self.plain_group(request, "InvcGrp", &id)?;
        let of_group = self.tables.find("InvcHead", Some(("GroupID", &json!(id))), request.moment.now_ms);
        let waiting: Vec<Row> = of_group
            .filter(|row| text(row, "Company") == request.company && !flag(row, "Posted"))
            .cloned()
            .collect();
        let mut drafts = Vec::new();
        for (nth, mut row) in (0..).zip(waiting) {
            if decimal(&row, "DocInvoiceAmt").is_zero() {
                return Err(Error::business("The invoice has no lines: it cannot be posted."));
            }
            if !self.is_open_day(text(&row, "InvoiceDate")) {
                return Err(Error::business("The fiscal period of the invoice is closed."));
            }
            row.insert("Posted".to_owned(), json!(true));
            self.stamp("InvcHead", &mut row, request, nth);
            drafts.push(memo_draft(request, "credit-memo-posting", &row, vec![written("InvcHead", &row)]));
        }
        Ok(committed(Value::Null, json!({"ds": ds}), drafts))
    }

    /// Whether a date (`2026-11-20T00:00:00`) is in a period that is posted on.
    pub(crate) fn is_open_day(&self, date: &str) -> bool {
        let (first, last) = &self.options.open_days;
        date.get(..10).is_some_and(|day| first.as_str() <= day && day <= last.as_str())
    }
}

fn memo_draft(request: &Request<'_>, kind: &'static str, row: &Row, writes: Vec<Value>) -> Draft {
    let line = json!({
        "customer": whole(row, "CustNum"), "invoice": whole(row, "InvoiceRef"),
        "amount": decimal(row, "DocInvoiceAmt").to_string(), "group": text(row, "GroupID"),
    });
    draft(request, kind, whole(row, "InvoiceNum").to_string(), text(row, "ExternalID"), writes)
        .amount(text(row, "CurrencyCode"), decimal(row, "DocInvoiceAmt"))
        .lines(vec![line])
}
