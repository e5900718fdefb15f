//! `Erp.BO.CashGrpSvc` and `Erp.BO.CashRecSvc`: groups, receipts in them, allocations to invoices.

use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::epicor::datasets::{add, answer, changed, committed, current, dataset, draft, new_row};
use crate::epicor::errors::Error;
use crate::epicor::rows::{decimal, flag, number, removed, shown, text, whole, written};
use crate::epicor::{Epicor, Request, Row, checks, rows};
use crate::stand_in::{Draft, Outcome};

impl Epicor {
    /// A group that exists and that no other user works in.
    pub(crate) fn group(&self, request: &Request<'_>, id: &str) -> Result<Row, Error> {
        let found =
            self.tables.one("CashGrp", &request.company, ("GroupID", &json!(id)), request.moment.now_ms);
        let group = found.ok_or_else(|| Error::business(&format!("A valid Group ID is required: {id}.")))?;
        let user = text(group, "ActiveUserID");
        if !user.is_empty() && user != request.user {
            return Err(Error::business(&format!("Group {id} is in use by {user}.")));
        }
        self.check_unlocked(id)?;
        Ok(group.clone())
    }

    pub(crate) fn group_create(
        &mut self,
        request: &Request<'_>,
        sent: &Row,
    ) -> Result<(Row, Vec<Draft>), Error> {
        let mut row = rows::blank("CashGrp", &request.company);
        row.extend(checks::columns("CashGrp", sent)?);
        row.insert("Company".to_owned(), json!(request.company));
        let id = text(&row, "GroupID").to_owned();
        if id.trim().is_empty() {
            return Err(Error::business("A valid Group ID is required."));
        }
        if self
            .tables
            .one("CashGrp", &request.company, ("GroupID", &json!(id)), request.moment.now_ms)
            .is_some()
        {
            return Err(Error::duplicate(
                self.options.duplicate_status,
                &format!("Group {id} already exists."),
            ));
        }
        self.group_check(&row)?;
        let date = text(&row, "TranDate").to_owned();
        let part = |from: usize, to: usize| {
            date.get(from..to).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0)
        };
        row.insert("FiscalYear".to_owned(), json!(part(0, 4)));
        row.insert("FiscalPeriod".to_owned(), json!(part(5, 7)));
        row.insert("CreatedBy".to_owned(), json!(request.user));
        row.insert("SysRowID".to_owned(), json!(""));
        self.stamp("CashGrp", &mut row, request, 0);
        let draft = draft(request, "cash-group", id.clone(), &id, vec![written("CashGrp", &row)]);
        Ok((row, vec![draft]))
    }

    fn group_check(&self, row: &Row) -> Result<(), Error> {
        if row.get("TranDate").is_none_or(Value::is_null) {
            return Err(Error::business("Transaction Date is required."));
        }
        if !self.options.bank_accounts.contains(text(row, "BankAcctID")) {
            return Err(Error::business(&format!(
                "A valid Bank Account is required: {}.",
                text(row, "BankAcctID")
            )));
        }
        Ok(())
    }

    pub(crate) fn group_change(
        &self,
        request: &Request<'_>,
        key: &[String],
        changes: &Row,
    ) -> Result<Vec<Draft>, Error> {
        let (_, row) = self.patched(request, "CashGrp", key, changes)?;
        self.group_write(request, row)
    }

    fn group_write(&self, request: &Request<'_>, mut row: Row) -> Result<Vec<Draft>, Error> {
        self.group(request, text(&row, "GroupID"))?;
        self.group_check(&row)?;
        self.stamp("CashGrp", &mut row, request, 0);
        let id = text(&row, "GroupID").to_owned();
        Ok(vec![draft(request, "cash-group-update", id.clone(), &id, vec![written("CashGrp", &row)])])
    }

    pub(crate) fn group_method(&mut self, request: &Request<'_>) -> Result<Outcome, Error> {
        let seen_ms = request.moment.seen_ms;
        match request.name.as_str() {
            "ReceiptGroupExists" => {
                let id = json!(request.text("ipGroupID"));
                let exists =
                    self.tables.one("CashGrp", &request.company, ("GroupID", &id), seen_ms).is_some();
                Ok(answer(json!(exists), json!({})))
            }
            "GetByID" => {
                let id = json!(request.text("groupID"));
                let row = self
                    .tables
                    .one("CashGrp", &request.company, ("GroupID", &id), seen_ms)
                    .ok_or_else(Error::no_record)?;
                Ok(answer(json!({"CashGrp": [shown(row, seen_ms)]}), json!({})))
            }
            "GetNewCashGrpNoLock" | "GetNewCashGrp" => {
                let mut ds = dataset(request)?;
                let mut row = new_row("CashGrp", &request.company);
                let today = format!("{}T00:00:00", crate::clock::iso_date(request.moment.now_ms));
                row.insert("TranDate".to_owned(), json!(today));
                if request.name == "GetNewCashGrp" {
                    row.insert("ActiveUserID".to_owned(), json!(request.user));
                }
                add(&mut ds, "CashGrp", row);
                Ok(answer(Value::Null, json!({"ds": ds})))
            }
            "Update" => {
                let ds = dataset(request)?;
                let rows = changed(&ds, "CashGrp")?;
                let [(mode, sent)] = rows.as_slice() else {
                    return Err(Error::business("One changed group is expected."));
                };
                let (row, drafts) = if *mode == 'A' {
                    self.group_create(request, sent)?
                } else {
                    let (_, row) = self.updated(request, "CashGrp", sent)?;
                    (row.clone(), self.group_write(request, row)?)
                };
                Ok(committed(
                    Value::Null,
                    json!({"ds": {"CashGrp": [shown(&row, request.moment.now_ms)]}}),
                    drafts,
                ))
            }
            "LeaveCashGrp" => {
                let mut row = self.group(request, &request.text("groupID"))?;
                if text(&row, "ActiveUserID").is_empty() {
                    return Ok(answer(Value::Null, json!({})));
                }
                row.insert("ActiveUserID".to_owned(), json!(""));
                Ok(committed(Value::Null, json!({}), self.group_write(request, row)?))
            }
            "PrePostGroup" => {
                self.group(request, &request.text("groupID"))?;
                Ok(answer(Value::Null, json!({"vQuestion": "", "vTaxQuestion": "", "lnMessage": ""})))
            }
            _ => Err(Error::not_found(&format!("{} was not found.", request.name))),
        }
    }

    /// What every receipt must satisfy; the row leaves completed.
    fn receipt_check(&self, request: &Request<'_>, row: &mut Row) -> Result<(), Error> {
        if text(row, "CheckRef").trim().is_empty() {
            return Err(Error::business("Check/Reference must not be blank."));
        }
        let group = self.group(request, text(row, "GroupID"))?;
        let kind = text(row, "TranType").to_owned();
        if !["PayInv", "PrePay", "MisPay", "CMemo", "Adjust"].contains(&kind.as_str()) {
            return Err(Error::business(&format!("Transaction type {kind} is not valid.")));
        }
        let customer = if kind == "MisPay" { None } else { Some(self.customer_of(request, row)?) };
        if let Some(customer) = &customer {
            for column in ["CustNum", "CustID"] {
                row.insert(column.to_owned(), customer.get(column).cloned().unwrap_or_default());
            }
        }
        if kind == "PrePay" && whole(row, "OrderNum") > 0 {
            let order = json!(whole(row, "OrderNum"));
            let order =
                self.tables.one("OrderHed", &request.company, ("OrderNum", &order), request.moment.now_ms);
            let order = order.ok_or_else(|| Error::business("A valid Order Number is required."))?;
            if whole(order, "CustNum") != whole(row, "CustNum") {
                return Err(Error::business("The order belongs to another customer."));
            }
        }
        if decimal(row, "DocTranAmt").is_zero() {
            let base = row.get("TranAmt").cloned().unwrap_or_default();
            row.insert("DocTranAmt".to_owned(), base);
        }
        let amount = decimal(row, "DocTranAmt");
        let gives_back = self.options.negative_receipts && kind != "PayInv" && amount.is_sign_negative();
        if amount.is_zero() || (amount.is_sign_negative() && !gives_back) {
            return Err(Error::business("Receipt amount must be greater than zero."));
        }
        let own = text(row, "CurrencyCode").to_owned();
        let of_customer =
            customer.as_ref().map_or("USD", |customer| text(customer, "CurrencyCode")).to_owned();
        let currency = if own.is_empty() { of_customer } else { own };
        if !self.options.currencies.contains(&currency) {
            return Err(Error::business(&format!("A valid Currency Code is required: {currency}.")));
        }
        row.insert("TranAmt".to_owned(), number(amount));
        row.insert("ReceiptCurrencyCode".to_owned(), json!(currency));
        row.insert("CurrencyCode".to_owned(), json!(currency));
        for column in ["TranDate", "BankAcctID", "FiscalYear", "FiscalPeriod"] {
            let empty =
                row.get(column).is_none_or(|value| value.is_null() || value == "" || *value == json!(0));
            if empty {
                row.insert(column.to_owned(), group.get(column).cloned().unwrap_or_default());
            }
        }
        let open = amount - decimal(row, "DocAppliedAmt");
        for column in ["UnAppliedAmt", "DocUnAppliedAmt"] {
            row.insert(column.to_owned(), number(open));
        }
        Ok(())
    }

    pub(crate) fn receipt_create(
        &mut self,
        request: &Request<'_>,
        sent: &Row,
    ) -> Result<(Row, Vec<Draft>), Error> {
        let mut row = rows::blank("CashHead", &request.company);
        row.extend(checks::columns("CashHead", sent)?);
        row.insert("Company".to_owned(), json!(request.company));
        row.insert("Posted".to_owned(), json!(false));
        self.receipt_check(request, &mut row)?;
        let reference = text(&row, "CheckRef").to_owned();
        let same = self.tables.one(
            "CashHead",
            &request.company,
            ("CheckRef", &json!(reference)),
            request.moment.now_ms,
        );
        if self.options.refuse_duplicate_check_ref && same.is_some() {
            let text = format!("Check/Reference {reference} already exists.");
            return Err(Error::duplicate(self.options.duplicate_status, &text));
        }
        row.insert("HeadNum".to_owned(), json!(self.next_receipt));
        self.next_receipt += 1;
        row.insert("SysRowID".to_owned(), json!(""));
        self.stamp("CashHead", &mut row, request, 0);
        let draft = receipt_draft(request, "cash-receipt", &row, vec![written("CashHead", &row)]);
        Ok((row, vec![draft]))
    }

    pub(crate) fn receipt_change(
        &self,
        request: &Request<'_>,
        key: &[String],
        changes: &Row,
    ) -> Result<Vec<Draft>, Error> {
        let (stored, row) = self.patched(request, "CashHead", key, changes)?;
        self.receipt_write(request, &stored, row).map(|(_, drafts)| drafts)
    }

    fn receipt_write(
        &self,
        request: &Request<'_>,
        stored: &Row,
        mut row: Row,
    ) -> Result<(Row, Vec<Draft>), Error> {
        if flag(stored, "Posted") {
            return Err(Error::business("Cash receipt is posted: it cannot be changed."));
        }
        row.insert("Posted".to_owned(), json!(false));
        self.receipt_check(request, &mut row)?;
        self.stamp("CashHead", &mut row, request, 0);
        let draft = receipt_draft(request, "cash-receipt-update", &row, vec![written("CashHead", &row)]);
        Ok((row, vec![draft]))
    }

    pub(crate) fn receipt_delete(&self, request: &Request<'_>, key: &[String]) -> Result<Vec<Draft>, Error> {
        let (stored, row) = self.patched(request, "CashHead", key, &Row::new())?;
        self.group(request, text(&row, "GroupID"))?;
        if flag(&stored, "Posted") {
            return Err(Error::business("Cash receipt is posted: it cannot be deleted."));
        }
        Ok(vec![receipt_draft(request, "cash-receipt-deletion", &row, vec![removed("CashHead", &row)])])
    }

    /// An invoice that money can be applied to.
    fn open_invoice(&self, request: &Request<'_>, invoice: u64) -> Result<&Row, Error> {
        let found = self.tables.one(
            "InvcHead",
            &request.company,
            ("InvoiceNum", &json!(invoice)),
            request.moment.now_ms,
        );
        let found = found.ok_or_else(|| Error::business("A valid Invoice Number is required."))?;
        if flag(found, "OpenInvoice") && flag(found, "Posted") && !flag(found, "CreditMemo") {
            Ok(found)
        } else {
            Err(Error::business(&format!("Invoice {invoice} is not open.")))
        }
    }

    pub(crate) fn allocation_create(
        &mut self,
        request: &Request<'_>,
        sent: &Row,
    ) -> Result<(Row, Vec<Draft>), Error> {
        let mut row = rows::blank("CashDtl", &request.company);
        row.extend(checks::columns("CashDtl", sent)?);
        row.insert("Company".to_owned(), json!(request.company));
        self.group(request, text(&row, "GroupID"))?;
        let head = rows::Tables::place("CashHead", &row);
        let mut head =
            self.tables.get("CashHead", &head, request.moment.now_ms).ok_or_else(Error::no_record)?.clone();
        if flag(&head, "Posted") {
            return Err(Error::business("Cash receipt is posted: it cannot be changed."));
        }
        let invoice = self.open_invoice(request, whole(&row, "InvoiceNum"))?;
        let amount = decimal(&row, "DocTranAmt");
        if amount <= Decimal::ZERO
            || amount > decimal(invoice, "DocInvoiceBal")
            || amount > decimal(&head, "DocUnAppliedAmt")
        {
            return Err(Error::business("The amount does not fit the invoice or the receipt."));
        }
        row.insert("TranAmt".to_owned(), number(amount));
        row.insert("SysRowID".to_owned(), json!(""));
        self.stamp("CashDtl", &mut row, request, 1);
        let applied = decimal(&head, "DocAppliedAmt") + amount;
        for column in ["AppliedAmt", "DocAppliedAmt"] {
            head.insert(column.to_owned(), number(applied));
        }
        for column in ["UnAppliedAmt", "DocUnAppliedAmt"] {
            head.insert(column.to_owned(), number(decimal(&head, "DocTranAmt") - applied));
        }
        self.stamp("CashHead", &mut head, request, 0);
        let writes = vec![written("CashHead", &head), written("CashDtl", &row)];
        let mut draft = receipt_draft(request, "cash-receipt-line", &head, writes);
        draft.business_key = format!("{}/{}", text(&head, "CheckRef"), whole(&row, "InvoiceNum"));
        draft.amounts.clear();
        Ok((row, vec![draft.amount(text(&head, "CurrencyCode"), amount)]))
    }

    pub(crate) fn receipt_method(&mut self, request: &Request<'_>) -> Result<Outcome, Error> {
        let seen_ms = request.moment.seen_ms;
        match request.name.as_str() {
            "GetByID" => {
                let key = [request.company.clone(), request.text("groupID"), request.text("headNum")];
                let place = rows::Tables::place_of_key("CashHead", &key).unwrap_or_default();
                let row = self.tables.get("CashHead", &place, seen_ms).ok_or_else(Error::no_record)?;
                let lines = self.children("CashDtl", "CashHead", row, seen_ms);
                Ok(answer(json!({"CashHead": [shown(row, seen_ms)], "CashDtl": lines}), json!({})))
            }
            "GetNewCashHeadType" => {
                let group = self.group(request, &request.text("groupID"))?;
                let kind = match request.text("tranType").as_str() {
                    "PAYINV" | "PayInv" => "PayInv",
                    "DEPOSIT" | "PrePay" => "PrePay",
                    "MISPAY" | "MisPay" => "MisPay",
                    other => return Err(Error::business(&format!("Transaction type {other} is not valid."))),
                };
                let mut ds = dataset(request)?;
                let mut row = new_row("CashHead", &request.company);
                row.insert("TranType".to_owned(), json!(kind));
                for column in ["GroupID", "TranDate", "BankAcctID", "FiscalYear", "FiscalPeriod"] {
                    row.insert(column.to_owned(), group.get(column).cloned().unwrap_or_default());
                }
                add(&mut ds, "CashHead", row);
                Ok(answer(Value::Null, json!({"ds": ds})))
            }
            "GetCustomerInfo" => {
                let mut ds = dataset(request)?;
                let named = Row::from_iter([("CustID".to_owned(), json!(request.text("custID")))]);
                let customer = self.customer_of(request, &named)?;
                let row = current(&mut ds, "CashHead")?;
                for column in ["CustNum", "CustID", "CurrencyCode"] {
                    row.insert(column.to_owned(), customer.get(column).cloned().unwrap_or_default());
                }
                Ok(answer(Value::Null, json!({"ds": ds})))
            }
            "GetTranAmt" => {
                let mut ds = dataset(request)?;
                let row = current(&mut ds, "CashHead")?;
                let amount = decimal(row, "DocTranAmt").max(decimal(row, "TranAmt"));
                for column in ["TranAmt", "DocTranAmt", "UnAppliedAmt", "DocUnAppliedAmt"] {
                    row.insert(column.to_owned(), number(amount));
                }
                Ok(answer(Value::Null, json!({"ds": ds})))
            }
            "GetNewCashDtl" | "GetDtlInvoiceInfo" | "GetDtlTranAmtInfo" => self.allocation_method(request),
            "PreUpdate" => {
                Ok(answer(Value::Null, json!({"ds": dataset(request)?, "requiresUserInput": false})))
            }
            "Update" | "UpdateMaster" => self.receipt_update(request),
            _ => Err(Error::not_found(&format!("{} was not found.", request.name))),
        }
    }

    fn allocation_method(&self, request: &Request<'_>) -> Result<Outcome, Error> {
        let mut ds = dataset(request)?;
        if request.name == "GetNewCashDtl" {
            let invoice = request.text("invoiceNum").parse::<u64>().unwrap_or_default();
            self.open_invoice(request, invoice)?;
            let mut row = new_row("CashDtl", &request.company);
            row.insert("GroupID".to_owned(), json!(request.text("groupID")));
            row.insert(
                "HeadNum".to_owned(),
                json!(request.text("headNum").parse::<u64>().unwrap_or_default()),
            );
            row.insert("InvoiceNum".to_owned(), json!(invoice));
            add(&mut ds, "CashDtl", row);
        } else if request.name == "GetDtlInvoiceInfo" {
            let invoice = request.text("invoiceNum").parse::<u64>().unwrap_or_default();
            let balance =
                self.open_invoice(request, invoice)?.get("DocInvoiceBal").cloned().unwrap_or_default();
            let row = current(&mut ds, "CashDtl")?;
            row.insert("InvoiceNum".to_owned(), json!(invoice));
            row.insert("DocTranAmt".to_owned(), balance);
        } else {
            let amount = request.parameter("docTranAmt");
            current(&mut ds, "CashDtl")?.insert("DocTranAmt".to_owned(), amount);
        }
        Ok(answer(Value::Null, json!({"ds": ds})))
    }

    fn receipt_update(&mut self, request: &Request<'_>) -> Result<Outcome, Error> {
        let ds = dataset(request)?;
        let (heads, lines) = (changed(&ds, "CashHead")?, changed(&ds, "CashDtl")?);
        let (table, row, drafts) = match (heads.as_slice(), lines.as_slice()) {
            ([('A', sent)], []) => {
                let (row, drafts) = self.receipt_create(request, sent)?;
                ("CashHead", row, drafts)
            }
            ([('U', sent)], []) => {
                let (stored, row) = self.updated(request, "CashHead", sent)?;
                let (row, drafts) = self.receipt_write(request, &stored, row)?;
                ("CashHead", row, drafts)
            }
            ([], [('A', sent)]) => {
                let (row, drafts) = self.allocation_create(request, sent)?;
                ("CashDtl", row, drafts)
            }
            _ => return Err(Error::business("One changed receipt or one new allocation is expected.")),
        };
        let ds = json!({table: [shown(&row, request.moment.now_ms)]});
        Ok(committed(Value::Null, json!({"ds": ds, "grpTotalAmt": 0}), drafts))
    }
}

pub(crate) fn receipt_draft(
    request: &Request<'_>,
    kind: &'static str,
    row: &Row,
    writes: Vec<Value>,
) -> Draft {
    let place = format!("{}/{}", text(row, "GroupID"), whole(row, "HeadNum"));
    let line = json!({
        "type": text(row, "TranType"), "customer": whole(row, "CustNum"), "order": whole(row, "OrderNum"),
        "amount": decimal(row, "DocTranAmt").to_string(), "group": text(row, "GroupID"),
    });
    draft(request, kind, place, text(row, "CheckRef"), writes)
        .amount(text(row, "CurrencyCode"), decimal(row, "DocTranAmt"))
        .lines(vec![line])
}
