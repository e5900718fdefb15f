//! AR invoices, and credit memos, which are AR invoices that take back. A credit memo is entered into a group of its
//! own and posted by it; entering one that was begun goes on with whatever is there.

use portolan_domain::verdict::{CallFailure, CallProblem};
use serde_json::{Map, Value, json};

use super::{
    Door, Kinetic,
    cash::flag,
    groups::{GroupKind, await_posted},
    is_positive, is_true,
    numbers::with_numbers,
    problem,
    rest::{Question, dataset, literal, new_row, pick},
    whole,
};
use crate::{
    call::{Call, Doing},
    parameters::{invalid, object_of, text, whole_number},
};

const INVOICE: &str = "Erp.BO.ARInvoiceSvc";
const POST: &str = "Erp.PROC.ARInvoicePostSvc";
const GROUP: GroupKind =
    GroupKind { service: "Erp.BO.InvcGrpSvc", set: "InvcGrps", table: "InvcGrp", new: "GetNewInvcGrp" };
const INVOICE_FIELDS: &[&str] = &[
    "InvoiceNum",
    "InvoiceType",
    "CreditMemo",
    "CustNum",
    "OrderNum",
    "InvoiceRef",
    "CurrencyCode",
    "Posted",
    "OpenInvoice",
    "DocInvoiceAmt",
    "DocInvoiceBal",
];
const OPEN_FIELDS: &[&str] = &["InvoiceNum", "CurrencyCode", "DocInvoiceBal", "DueDate"];
/// Open invoices of one order.
const OPEN_MAX: usize = 100;
/// Lines of one credit memo.
const LINES_MAX: usize = 999;
/// Fields of a credit memo's body that its group takes, or that go elsewhere than into the header.
const NOT_OF_THE_HEADER: &[&str] = &["ExternalID", "ReasonType", "ReasonCode"];

/// A credit memo as it is.
struct StoredMemo {
    /// As `credit-memo.find` answers.
    answer: Value,
    group: String,
    lines: usize,
}

/// A credit memo as it should be.
struct WantedMemo {
    header: Map<String, Value>,
    lines: Vec<Map<String, Value>>,
    id: String,
    group: String,
}

impl Kinetic {
    /// One invoice: by its number, by another system's id, or the posted one of an order that is no credit memo.
    pub(super) async fn find_invoice(
        &self,
        parameters: &Value,
        call: &Call<'_>,
    ) -> Result<Option<Value>, CallFailure> {
        let fields = object_of(parameters, &["InvoiceNum", "ExternalID", "OrderNum"])?;
        let filter = match fields.keys().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["InvoiceNum"] => format!("InvoiceNum eq {}", whole_number(fields, "InvoiceNum")?),
            ["OrderNum"] => format!(
                "OrderNum eq {} and Posted eq true and CreditMemo eq false",
                whole_number(fields, "OrderNum")?
            ),
            ["ExternalID"] => {
                format!("{} eq {}", self.choices.invoice_reference, literal(text(fields, "ExternalID")?))
            }
            _ => return Err(invalid("", "must hold one of InvoiceNum, ExternalID and OrderNum")),
        };
        let select = INVOICE_FIELDS.join(",");
        let question =
            Question { service: INVOICE, set: "ARInvoices", filter: &filter, select: &select, expand: None };
        let row = self.rest.row(&question, call).await?;
        Ok(row.map(|row| with_texts(pick(&row, INVOICE_FIELDS))))
    }

    /// The posted invoices of an order that are open, oldest first.
    pub(super) async fn open_invoices(
        &self,
        parameters: &Value,
        call: &Call<'_>,
    ) -> Result<Option<Value>, CallFailure> {
        let order = whole_number(object_of(parameters, &["OrderNum"])?, "OrderNum")?;
        let filter =
            format!("OrderNum eq {order} and OpenInvoice eq true and Posted eq true and CreditMemo eq false");
        let select = OPEN_FIELDS.join(",");
        let query = [("$filter", filter.as_str()), ("$select", select.as_str()), ("$orderby", "InvoiceNum")];
        let (rows, more) = self.rest.pages(&[INVOICE, "ARInvoices"], &query, OPEN_MAX, call).await?;
        if more {
            return Err(problem(
                "several-documents",
                format!("order {order} has more than 100 open invoices"),
            ));
        }
        let rows: Vec<Value> = rows.iter().map(|row| with_texts(pick(row, OPEN_FIELDS))).collect();
        Ok(if rows.is_empty() { None } else { Some(json!({"OrderNum": order, "Invoices": rows})) })
    }

    pub(super) async fn find_memo(
        &self,
        parameters: &Value,
        call: &Call<'_>,
    ) -> Result<Option<Value>, CallFailure> {
        let fields = object_of(parameters, &["ExternalID", "Posted", "Lines"])?;
        let posted_only = flag(fields, "Posted")?;
        let lines = fields.contains_key("Lines").then(|| whole_number(fields, "Lines")).transpose()?;
        let lines = lines.map_or(0, |lines| usize::try_from(lines).unwrap_or(usize::MAX));
        let memo = self.memo(text(fields, "ExternalID")?, call).await?;
        let fits = |memo: &StoredMemo| {
            let posted = is_true(&memo.answer, "Posted");
            posted || (!posted_only && memo.lines >= lines)
        };
        Ok(memo.filter(fits).map(|memo| memo.answer))
    }

    async fn memo(&self, id: &str, call: &Call<'_>) -> Result<Option<StoredMemo>, CallFailure> {
        let filter = format!("{} eq {} and CreditMemo eq true", self.choices.invoice_reference, literal(id));
        let select = format!("{},GroupID", INVOICE_FIELDS.join(","));
        let expand = Some("InvcDtls");
        let question =
            Question { service: INVOICE, set: "ARInvoices", filter: &filter, select: &select, expand };
        let row = self.rest.row(&question, call).await?;
        Ok(row.map(|row| StoredMemo {
            answer: with_texts(pick(&row, INVOICE_FIELDS)),
            group: row.get("GroupID").and_then(Value::as_str).unwrap_or_default().to_owned(),
            lines: row.get("InvcDtls").and_then(Value::as_array).map_or(0, Vec::len),
        }))
    }

    pub(super) async fn create_memo(&self, body: &Value, call: &Call<'_>) -> Result<Value, CallFailure> {
        let wanted = self.wanted_memo(body)?;
        let found = match self.memo(&wanted.id, call).await? {
            Some(found) => found,
            None => {
                let group = Map::from_iter([("GroupID".to_owned(), json!(wanted.group))]);
                self.ensure_group(GROUP, &group, call).await?;
                self.enter_memo(&wanted, call).await?;
                self.memo(&wanted.id, call).await.map_err(crate::call::in_doubt)?.ok_or_else(|| {
                    CallFailure::ambiguous("not-found-after-write", "the new credit memo was not found again")
                })?
            }
        };
        check_same_memo(&wanted, &found)?;
        if is_true(&found.answer, "Posted") {
            return Ok(found.answer);
        }
        for line in wanted.lines.iter().skip(found.lines) {
            self.enter_memo_line(whole(&found.answer, "InvoiceNum"), line, call).await?;
        }
        // With its lines it has its amount.
        let memo = self.memo(&wanted.id, call).await.map_err(crate::call::in_doubt)?;
        Ok(memo.map_or(found.answer, |memo| memo.answer))
    }

    fn wanted_memo(&self, body: &Value) -> Result<WantedMemo, CallFailure> {
        let Value::Object(mut header) = with_numbers(body)? else {
            return Err(invalid("", "must be a JSON object"));
        };
        let (id, group) = (text(&header, "ExternalID")?.to_owned(), text(&header, "GroupID")?.to_owned());
        if !is_positive(header.get("CustNum")) {
            return Err(invalid("/CustNum", "is required"));
        }
        let reason = header.get("ReasonCode").cloned();
        let rows = match header.remove("InvcDtls") {
            Some(Value::Array(rows)) if (1..=LINES_MAX).contains(&rows.len()) => rows,
            _ => return Err(invalid("/InvcDtls", "must be an array of 1 to 999 rows")),
        };
        let mut lines = Vec::with_capacity(rows.len());
        for (index, row) in rows.into_iter().enumerate() {
            let Value::Object(mut line) = row else {
                return Err(invalid(&format!("/InvcDtls/{index}"), "must be a row"));
            };
            line.insert("Company".to_owned(), json!(self.rest.address.company));
            if let (Some(reason), false) = (&reason, self.choices.reason_column.is_empty()) {
                line.insert(self.choices.reason_column.clone(), reason.clone());
            }
            lines.push(line);
        }
        header.retain(|name, _| !NOT_OF_THE_HEADER.contains(&name.as_str()));
        header.insert("Company".to_owned(), json!(self.rest.address.company));
        header.insert("CreditMemo".to_owned(), json!(true));
        header.insert(self.choices.invoice_reference.clone(), json!(id));
        Ok(WantedMemo { header, lines, id, group })
    }

    async fn enter_memo(&self, wanted: &WantedMemo, call: &Call<'_>) -> Result<(), CallFailure> {
        if self.door("credit-memo.create") == Door::EntitySet {
            let mut row = wanted.header.clone();
            row.insert("InvoiceNum".to_owned(), json!(0));
            row.entry("InvoiceType").or_insert_with(|| json!("Mis"));
            return self.rest.create(INVOICE, "ARInvoices", &Value::Object(row), call).await.map(|_| ());
        }
        let asking = (Doing::Asking, call);
        let parameters = json!({"GroupID": wanted.group, "InvoiceType": "CREDIT-MEMO", "ds": {}});
        let answer = self.rest.method(asking, INVOICE, "GetNewInvcHeadType", &parameters).await?;
        let mut current = dataset(Doing::Asking, &answer)?;
        new_row(&mut current, "InvcHead")?.extend(wanted.header.clone());
        self.store_invoice(&current, "InvcHead", (&wanted.group, call)).await
    }

    async fn enter_memo_line(
        &self,
        invoice: u64,
        line: &Map<String, Value>,
        call: &Call<'_>,
    ) -> Result<(), CallFailure> {
        let mut row = line.clone();
        row.insert("InvoiceNum".to_owned(), json!(invoice));
        if self.door("credit-memo.create") == Door::EntitySet {
            row.entry("InvoiceLine").or_insert_with(|| json!(0));
            return self.rest.create(INVOICE, "InvcDtls", &Value::Object(row), call).await.map(|_| ());
        }
        let asking = (Doing::Asking, call);
        let parameters = json!({"ds": {}, "invoiceNum": invoice});
        let answer = self.rest.method(asking, INVOICE, "GetNewInvcDtl", &parameters).await?;
        let mut current = dataset(Doing::Asking, &answer)?;
        let new = new_row(&mut current, "InvcDtl")?;
        new.extend(row);
        let group = new.get("GroupID").and_then(Value::as_str).unwrap_or_default().to_owned();
        self.store_invoice(&current, "InvcDtl", (&group, call)).await
    }

    async fn store_invoice(
        &self,
        current: &Value,
        table: &str,
        (group, call): (&str, &Call<'_>),
    ) -> Result<(), CallFailure> {
        let parameters = json!({"ds": current, "cGroupID": group, "cTableName": table});
        let changing = (Doing::Changing, call);
        self.rest.method(changing, INVOICE, "UpdateMaster", &parameters).await.map(|_| ())
    }

    pub(super) async fn post_memo(&self, body: &Value, call: &Call<'_>) -> Result<Value, CallFailure> {
        let fields = object_of(body, &["GroupID", "ExternalID"])?;
        let (group, id) = (text(fields, "GroupID")?, text(fields, "ExternalID")?);
        let memo = self.memo(id, call).await?;
        let memo =
            memo.ok_or_else(|| problem("credit-memo-missing", format!("there is no credit memo {id}")))?;
        if is_true(&memo.answer, "Posted") {
            return Ok(memo.answer);
        }
        if memo.group != group {
            let problem =
                CallProblem::new("credit-memo-elsewhere", format!("the credit memo is not in group {group}"));
            return Err(CallFailure::Permanent { problem: problem.with_detail(memo.answer) });
        }
        let answer = self.run_posting(POST, group, call).await?;
        let look = async || {
            let memo = self.memo(id, call).await?.map(|memo| memo.answer);
            Ok(memo.filter(|memo| is_true(memo, "Posted")))
        };
        await_posted(call, &answer, look).await
    }
}

/// A credit memo with this id that is not the one that was meant is for a person to look at.
fn check_same_memo(wanted: &WantedMemo, found: &StoredMemo) -> Result<(), CallFailure> {
    let same = |name: &str| {
        let wanted = wanted.header.get(name).and_then(Value::as_u64).unwrap_or_default();
        wanted == whole(&found.answer, name)
    };
    let number = whole(&found.answer, "InvoiceNum");
    let text = if !same("CustNum") {
        format!("credit memo {number} is another customer's")
    } else if !same("InvoiceRef") {
        format!("credit memo {number} refers to another invoice")
    } else if found.lines > wanted.lines.len() {
        format!("credit memo {number} has more lines than were sent")
    } else {
        return Ok(());
    };
    let problem = CallProblem::new("credit-memo-differs", text).with_detail(found.answer.clone());
    Err(CallFailure::Permanent { problem })
}

/// Amounts as decimal texts: a module would read a number as a binary fraction.
fn with_texts(mut row: Value) -> Value {
    for name in ["DocInvoiceAmt", "DocInvoiceBal"] {
        if let Some(Value::Number(number)) = row.get(name) {
            let text = number.to_string();
            if let Some(fields) = row.as_object_mut() {
                fields.insert(name.to_owned(), json!(text));
            }
        }
    }
    row
}
