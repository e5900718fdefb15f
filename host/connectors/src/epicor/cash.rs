//! Cash receipts, in groups. A receipt lives in a group; posting works on the whole group, after which its
//! receipts cannot change. So a post that finds the receipt posted already has nothing left to do.
//!
//! Receipt and allocations are transactions of their own: creating one with allocations begins by looking for it and
//! goes on with whatever is there.
//!
//! A reversal is a second receipt with the same `CheckRef` and the opposite amount (that reversing makes a receipt of
//! its own is in `AutoReverseCashReceipt`'s interface; that it keeps the reference is an assumption, beside which a
//! column that says so can be named in the settings). Looking for a `CheckRef` therefore finds the first of such a
//! pair.

use portolan_domain::{
    money::Amount,
    verdict::{CallFailure, CallProblem},
};
use serde_json::{Map, Value, json};

use super::{
    Door, Kinetic,
    groups::await_posted,
    is_positive, is_true,
    numbers::with_numbers,
    problem,
    rest::{dataset, literal, new_row, pick},
    whole,
};
use crate::{
    call::{Call, Doing, in_doubt},
    parameters::{invalid, object, object_of, text, whole_number},
};

const RECEIPT: &str = "Erp.BO.CashRecSvc";
const REVERSE: &str = "Erp.BO.ReverseCashReceiptSvc";
const POST: &str = "Erp.PROC.CashRecPostSvc";
const RECEIPT_FIELDS: &[&str] = &["GroupID", "HeadNum", "CheckRef", "Posted"];
/// Allocations of one receipt.
const ALLOCATIONS_MAX: usize = 999;

/// A receipt as it is.
struct StoredReceipt {
    /// As `cash-receipt.find` answers.
    answer: Value,
    /// The receipt that takes it back, where it was reversed.
    reversal: Option<Value>,
    /// Invoices that it is applied to.
    invoices: Vec<u64>,
}

impl Kinetic {
    pub(super) async fn find_receipt(
        &self,
        parameters: &Value,
        call: &Call<'_>,
    ) -> Result<Option<Value>, CallFailure> {
        let fields = object_of(parameters, &["CheckRef", "Posted", "Reversed", "Allocations"])?;
        let (posted_only, reversed_only) = (flag(fields, "Posted")?, flag(fields, "Reversed")?);
        let allocations = match fields.contains_key("Allocations") {
            true => Some(usize::try_from(whole_number(fields, "Allocations")?).unwrap_or(usize::MAX)),
            false => None,
        };
        let with_lines = allocations.is_some();
        let Some(receipt) = self.receipt(text(fields, "CheckRef")?, with_lines, call).await? else {
            return Ok(None);
        };
        let posted = is_true(&receipt.answer, "Posted");
        if reversed_only {
            return Ok(receipt.reversal);
        }
        let is_whole = posted || allocations.is_none_or(|wanted| receipt.invoices.len() >= wanted);
        Ok(Some(receipt.answer).filter(|_| is_whole && (posted || !posted_only)))
    }

    async fn receipt(
        &self,
        check: &str,
        with_lines: bool,
        call: &Call<'_>,
    ) -> Result<Option<StoredReceipt>, CallFailure> {
        let filter = format!("CheckRef eq {}", literal(check));
        let own = self.choices.reversed_column.as_deref();
        let select: Vec<&str> = RECEIPT_FIELDS.iter().copied().chain(["DocTranAmt"]).chain(own).collect();
        let select = select.join(",");
        let mut query = vec![
            ("$filter", filter.as_str()),
            ("$select", select.as_str()),
            ("$orderby", "HeadNum"),
            ("$top", "3"),
        ];
        if with_lines {
            query.push(("$expand", "CashDtls"));
        }
        let rows = self.rest.page(&[RECEIPT, "CashRecs"], &query, call).await?;
        let (first, second) = match rows.as_slice() {
            [] => return Ok(None),
            [only] => (only, None),
            [first, second] if are_opposite(first, second) => (first, Some(second)),
            _ => {
                return Err(problem(
                    "several-documents",
                    format!("several receipts have the CheckRef {check}"),
                ));
            }
        };
        let marked = own.is_some_and(|column| is_true(first, column));
        let reversal = second.or(Some(first).filter(|_| marked)).map(|row| {
            let mut reversal = pick(row, RECEIPT_FIELDS);
            if let Some(fields) = reversal.as_object_mut() {
                fields.insert("Reverses".to_owned(), json!(whole(first, "HeadNum")));
            }
            reversal
        });
        let lines = first.get("CashDtls").and_then(Value::as_array).into_iter().flatten();
        let invoices = lines.map(|line| whole(line, "InvoiceNum")).collect();
        Ok(Some(StoredReceipt { answer: pick(first, RECEIPT_FIELDS), reversal, invoices }))
    }

    pub(super) async fn create_receipt(&self, body: &Value, call: &Call<'_>) -> Result<Value, CallFailure> {
        text(object(body)?, "GroupID")?;
        let check = text(object(body)?, "CheckRef")?;
        let Value::Object(mut head) = with_numbers(body)? else {
            return Err(invalid("", "must be a JSON object"));
        };
        let lines = allocations(&mut head)?;
        head.insert("Company".to_owned(), json!(self.rest.address.company));
        head.entry("HeadNum").or_insert_with(|| json!(0));
        // One write needs no look before it: the delivery's own existence check made it.
        let stored = if lines.is_empty() { None } else { self.receipt(check, true, call).await? };
        let (answer, done) = match stored {
            Some(stored) => (stored.answer, stored.invoices),
            None => (self.enter_head(head, call).await?, Vec::new()),
        };
        if is_true(&answer, "Posted") {
            return Ok(answer);
        }
        for line in lines {
            if !done.contains(&invoice_of(&line)) {
                self.enter_allocation(&answer, line, call).await?;
            }
        }
        Ok(answer)
    }

    async fn enter_head(&self, head: Map<String, Value>, call: &Call<'_>) -> Result<Value, CallFailure> {
        let stored = match self.door("cash-receipt.create") {
            Door::EntitySet => self.rest.create(RECEIPT, "CashRecs", &Value::Object(head), call).await?,
            Door::Methods => self.enter_head_by_methods(head, call).await?,
        };
        if !is_positive(stored.get("HeadNum")) {
            let problem = CallProblem::new("unreadable-answer", "the stored receipt has no HeadNum");
            return Err(Doing::Changing.unclear(problem));
        }
        Ok(pick(&stored, RECEIPT_FIELDS))
    }

    async fn enter_head_by_methods(
        &self,
        head: Map<String, Value>,
        call: &Call<'_>,
    ) -> Result<Value, CallFailure> {
        let kind = match head.get("TranType").and_then(Value::as_str) {
            Some("PayInv") | None => "PAYINV",
            Some("PrePay") => "DEPOSIT",
            Some("MisPay") => "MISPAY",
            Some(_) => return Err(invalid("/TranType", "must be PayInv, PrePay or MisPay")),
        };
        let group = head.get("GroupID").cloned().unwrap_or_default();
        let parameters = json!({"ds": {}, "groupID": group, "tranType": kind});
        let mut current = self.fill_receipt("GetNewCashHeadType", &parameters, call).await?;
        if let Some(number) = head.get("CustNum") {
            let customer = self.customer(&format!("CustNum eq {number}"), call).await?;
            let id = customer.as_ref().and_then(|row| row.get("CustID")).cloned();
            let id = id.ok_or_else(|| problem("data-refused", format!("there is no customer {number}")))?;
            let parameters = json!({"custID": id, "ds": current});
            current = self.fill_receipt("GetCustomerInfo", &parameters, call).await?;
        }
        new_row(&mut current, "CashHead")?.extend(head);
        current =
            self.fill_receipt("GetTranAmt", &json!({"baseEntered": false, "ds": current}), call).await?;
        self.store(current, "CashHead", call).await
    }

    async fn enter_allocation(
        &self,
        receipt: &Value,
        mut line: Map<String, Value>,
        call: &Call<'_>,
    ) -> Result<(), CallFailure> {
        line.insert("Company".to_owned(), json!(self.rest.address.company));
        for name in ["GroupID", "HeadNum"] {
            line.insert(name.to_owned(), receipt.get(name).cloned().unwrap_or_default());
        }
        if self.door("cash-receipt.create") == Door::EntitySet {
            return self.rest.create(RECEIPT, "CashDtls", &Value::Object(line), call).await.map(|_| ());
        }
        let invoice = invoice_of(&line);
        let amount = line.get("DocTranAmt").cloned().unwrap_or_default();
        let parameters = json!({
            "ds": {}, "groupID": receipt.get("GroupID"), "headNum": receipt.get("HeadNum"), "invoiceNum": invoice,
        });
        let mut current = self.fill_receipt("GetNewCashDtl", &parameters, call).await?;
        let parameters = json!({"invoiceNum": invoice, "ds": current});
        current = self.fill_receipt("GetDtlInvoiceInfo", &parameters, call).await?;
        let parameters = json!({"docTranAmt": amount, "docWriteOffAmount": 0, "ds": current});
        current = self.fill_receipt("GetDtlTranAmtInfo", &parameters, call).await?;
        self.store(current, "CashDtl", call).await.map(|_| ())
    }

    /// Calls a method that fills in a dataset and stores nothing.
    async fn fill_receipt(
        &self,
        method: &str,
        parameters: &Value,
        call: &Call<'_>,
    ) -> Result<Value, CallFailure> {
        let answer = self.rest.method((Doing::Asking, call), RECEIPT, method, parameters).await?;
        dataset(Doing::Asking, &answer)
    }

    /// Stores a dataset, and gives the row of a table as it is then.
    async fn store(&self, current: Value, table: &str, call: &Call<'_>) -> Result<Value, CallFailure> {
        let asking = (Doing::Asking, call);
        let answer = self.rest.method(asking, RECEIPT, "PreUpdate", &json!({"ds": current})).await?;
        if answer.pointer("/parameters/requiresUserInput") == Some(&Value::Bool(true)) {
            let text = "Epicor wants a question answered before it stores the receipt";
            return Err(problem("needs-confirmation", text));
        }
        let current = dataset(Doing::Asking, &answer)?;
        let changing = (Doing::Changing, call);
        let answer = self.rest.method(changing, RECEIPT, "Update", &json!({"ds": current})).await?;
        let stored = dataset(Doing::Changing, &answer)?;
        let row = stored.get(table).and_then(Value::as_array).and_then(|rows| rows.last());
        Ok(row.cloned().unwrap_or_default())
    }

    pub(super) async fn post_receipts(&self, body: &Value, call: &Call<'_>) -> Result<Value, CallFailure> {
        let fields = object_of(body, &["GroupID", "CheckRef"])?;
        let (group, check) = (text(fields, "GroupID")?, text(fields, "CheckRef")?);
        let receipt = self.receipt(check, false, call).await?;
        let receipt = receipt.ok_or_else(|| missing(check))?.answer;
        if receipt.get("GroupID").and_then(Value::as_str) != Some(group) {
            let problem =
                CallProblem::new("receipt-elsewhere", format!("the receipt is not in group {group}"));
            return Err(CallFailure::Permanent { problem: problem.with_detail(receipt) });
        }
        if is_true(&receipt, "Posted") {
            return Ok(receipt);
        }
        let answer = self.run_posting(POST, group, call).await?;
        let look = async || {
            let receipt = self.receipt(check, false, call).await?.map(|receipt| receipt.answer);
            Ok(receipt.filter(|receipt| is_true(receipt, "Posted")))
        };
        await_posted(call, &answer, look).await
    }

    /// Reverses a posted receipt. One that is not posted is for whoever is at work on it.
    pub(super) async fn reverse_receipt(&self, body: &Value, call: &Call<'_>) -> Result<Value, CallFailure> {
        let fields = object_of(body, &["CheckRef", "ReverseDate", "ReversedReason"])?;
        let (check, date) = (text(fields, "CheckRef")?, text(fields, "ReverseDate")?);
        let reason = text(fields, "ReversedReason")?;
        let receipt = self.receipt(check, false, call).await?.ok_or_else(|| missing(check))?;
        if let Some(reversal) = receipt.reversal {
            return Ok(reversal);
        }
        if !is_true(&receipt.answer, "Posted") {
            return Err(problem("receipt-not-posted", format!("receipt {check} is not posted")));
        }
        let group = receipt.answer.get("GroupID").and_then(Value::as_str).unwrap_or_default();
        let number = whole(&receipt.answer, "HeadNum");
        let query = [("groupID", group), ("headNum", &number.to_string())];
        let answer = self.rest.method_by_get(REVERSE, "GetByID", &query, call).await?;
        let parameters = json!({
            "ds": dataset(Doing::Asking, &answer)?, "groupID": group, "headNum": number, "reverseDate": date,
            "inTranDocTypeID": "", "reversedReason": reason,
        });
        let changing = (Doing::Changing, call);
        let answer = self.rest.method(changing, REVERSE, "_ReverseCashReceipt", &parameters).await?;
        if let Some(reversal) =
            self.receipt(check, false, call).await.map_err(in_doubt)?.and_then(|r| r.reversal)
        {
            return Ok(reversal);
        }
        let log = answer.pointer("/parameters/postErrorLog").and_then(Value::as_str).unwrap_or_default();
        if log.is_empty() {
            let look = async || Ok(self.receipt(check, false, call).await?.and_then(|found| found.reversal));
            await_posted(call, &answer, look).await
        } else {
            Err(problem("data-refused", log))
        }
    }
}

fn invoice_of(line: &Map<String, Value>) -> u64 {
    line.get("InvoiceNum").and_then(Value::as_u64).unwrap_or_default()
}

fn missing(check: &str) -> CallFailure {
    problem("receipt-missing", format!("there is no receipt with CheckRef {check}"))
}

/// Whether one receipt takes back the other.
fn are_opposite(first: &Value, second: &Value) -> bool {
    let amount = |row: &Value| row.get("DocTranAmt")?.to_string().parse::<Amount>().ok();
    match (amount(first), amount(second)) {
        (Some(one), Some(other)) => !one.decimal().is_zero() && (one.decimal() + other.decimal()).is_zero(),
        _ => false,
    }
}

pub(super) fn flag(fields: &Map<String, Value>, name: &str) -> Result<bool, CallFailure> {
    match fields.get(name) {
        None => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(invalid(&format!("/{name}"), "must be true or false")),
    }
}

/// The rows of `CashDtls`, taken out of the receipt.
fn allocations(head: &mut Map<String, Value>) -> Result<Vec<Map<String, Value>>, CallFailure> {
    let wrong = || invalid("/CashDtls", "must be an array of rows with InvoiceNum and DocTranAmt");
    match head.remove("CashDtls") {
        None => Ok(Vec::new()),
        Some(Value::Array(rows)) if rows.len() <= ALLOCATIONS_MAX => {
            let line = |row: Value| {
                let Value::Object(line) = row else { return Err(wrong()) };
                let whole_row = is_positive(line.get("InvoiceNum"))
                    && line.get("DocTranAmt").is_some_and(Value::is_number);
                if whole_row { Ok(line) } else { Err(wrong()) }
            };
            rows.into_iter().map(line).collect()
        }
        Some(_) => Err(wrong()),
    }
}
