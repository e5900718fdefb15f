//! Sales orders. Each of Epicor's calls is a transaction of its own, so an order can be left with fewer
//! lines than it should have: after a crash, or where the system ignores lines inside an order. Creating
//! therefore begins by looking for the order and goes on with whatever is there, line by line.

use portolan_domain::verdict::{CallFailure, CallProblem};
use serde_json::{Map, Value, json};

use super::{
    Door, Kinetic,
    holds::mark,
    numbers::with_numbers,
    rest::{Question, dataset, literal, new_row, pick},
};
use crate::{
    call::{Call, Doing},
    parameters::{invalid, object_of, text, whole_number},
};

const ORDER: &str = "Erp.BO.SalesOrderSvc";
const ORDER_FIELDS: &[&str] = &["OrderNum", "CustNum", "PONum"];
/// What `sales-order.get` reads.
const ORDER_DETAILS: &[&str] = &[
    "OrderNum",
    "CustNum",
    "PONum",
    "OrderDate",
    "CurrencyCode",
    "DocOrderAmt",
    "OrderHeld",
    "OpenOrder",
    "VoidOrder",
    "OrderComment",
    "SysRevID",
];
/// Lines of one order.
const LINES_MAX: usize = 999;
const NO_GUID: &str = "00000000-0000-0000-0000-000000000000";

/// An order as it should be.
struct WantedOrder {
    header: Map<String, Value>,
    lines: Vec<Map<String, Value>>,
    po_number: String,
}

/// An order as it is.
struct StoredOrder {
    /// As `sales-order.find` answers.
    answer: Value,
    number: u64,
    /// Part numbers by line.
    parts: Vec<String>,
}

impl WantedOrder {
    fn of(body: &Value, company: &str) -> Result<Self, CallFailure> {
        let Value::Object(mut header) = with_numbers(body)? else {
            return Err(invalid("", "must be a JSON object"));
        };
        let po_number = text(&header, "PONum")?.to_owned();
        let rows = match header.remove("OrderDtls") {
            Some(Value::Array(rows)) if (1..=LINES_MAX).contains(&rows.len()) => rows,
            _ => return Err(invalid("/OrderDtls", "must be an array of 1 to 999 rows")),
        };
        let mut lines = Vec::with_capacity(rows.len());
        for (index, row) in rows.into_iter().enumerate() {
            let part = row.get("PartNum").is_some_and(Value::is_string);
            let (true, Value::Object(line)) = (part, row) else {
                return Err(invalid(&format!("/OrderDtls/{index}"), "must be a row with PartNum"));
            };
            lines.push(line);
        }
        header.insert("Company".to_owned(), json!(company));
        for line in &mut lines {
            line.insert("Company".to_owned(), json!(company));
        }
        Ok(Self { header, lines, po_number })
    }
}

impl Kinetic {
    pub(super) async fn find_order(
        &self,
        parameters: &Value,
        call: &Call<'_>,
    ) -> Result<Option<Value>, CallFailure> {
        let fields = object_of(parameters, &["PONum", "Lines"])?;
        let po_number = text(fields, "PONum")?;
        let lines = fields.contains_key("Lines").then(|| whole_number(fields, "Lines")).transpose()?;
        let lines = lines.map_or(0, |lines| usize::try_from(lines).unwrap_or(usize::MAX));
        let order = self.stored_order(po_number, call).await?;
        Ok(order.filter(|order| order.parts.len() >= lines).map(|order| order.answer))
    }

    /// An order by its number or its PO number; with `Hold`, only one that is held under that name.
    pub(super) async fn get_order(
        &self,
        parameters: &Value,
        call: &Call<'_>,
    ) -> Result<Option<Value>, CallFailure> {
        let fields = object_of(parameters, &["OrderNum", "PONum", "Hold"])?;
        let filter = match (fields.contains_key("OrderNum"), fields.contains_key("PONum")) {
            (true, false) => format!("OrderNum eq {}", whole_number(fields, "OrderNum")?),
            (false, true) => format!("PONum eq {}", literal(text(fields, "PONum")?)),
            _ => return Err(invalid("", "must hold one of OrderNum and PONum")),
        };
        let hold = fields.contains_key("Hold").then(|| mark(text(fields, "Hold")?)).transpose()?;
        let select = ORDER_DETAILS.join(",");
        let question =
            Question { service: ORDER, set: "SalesOrders", filter: &filter, select: &select, expand: None };
        let row = self.rest.row(&question, call).await?;
        let comment = |row: &Value| row.get("OrderComment").and_then(Value::as_str).map(str::to_owned);
        let is_held = |row: &Value| {
            hold.as_ref().is_none_or(|mark| comment(row).is_some_and(|comment| comment.contains(mark)))
        };
        Ok(row.filter(is_held).map(|row| pick(&row, ORDER_DETAILS)))
    }

    async fn stored_order(
        &self,
        po_number: &str,
        call: &Call<'_>,
    ) -> Result<Option<StoredOrder>, CallFailure> {
        let filter = format!("PONum eq {}", literal(po_number));
        let select = ORDER_FIELDS.join(",");
        let (service, set, expand) = (ORDER, "SalesOrders", Some("OrderDtls"));
        let question = Question { service, set, filter: &filter, select: &select, expand };
        let Some(row) = self.rest.row(&question, call).await? else { return Ok(None) };
        let number = row.get("OrderNum").and_then(Value::as_u64).filter(|number| *number > 0);
        let number = number.ok_or_else(|| {
            let problem = CallProblem::new("unreadable-answer", "the order has no OrderNum");
            Doing::Asking.unclear(problem)
        })?;
        let mut lines: Vec<&Value> =
            row.get("OrderDtls").and_then(Value::as_array).into_iter().flatten().collect();
        lines.sort_by_key(|line| line.get("OrderLine").and_then(Value::as_u64));
        let part = |line: &&Value| line.get("PartNum").and_then(Value::as_str).unwrap_or_default().to_owned();
        let parts = lines.iter().map(part).collect();
        Ok(Some(StoredOrder { answer: pick(&row, ORDER_FIELDS), number, parts }))
    }

    pub(super) async fn create_order(&self, body: &Value, call: &Call<'_>) -> Result<Value, CallFailure> {
        let wanted = WantedOrder::of(body, &self.rest.address.company)?;
        let mut dataset = None;
        let stored = match self.stored_order(&wanted.po_number, call).await? {
            Some(stored) => stored,
            None => {
                dataset = self.enter_header(&wanted, call).await?;
                self.stored_order(&wanted.po_number, call).await?.ok_or_else(|| {
                    CallFailure::ambiguous("not-found-after-write", "the new order was not found again")
                })?
            }
        };
        check_same_order(&wanted, &stored)?;
        for line in wanted.lines.iter().skip(stored.parts.len()) {
            match self.door("sales-order.create") {
                Door::EntitySet => self.add_line(line, stored.number, call).await?,
                Door::Methods => {
                    let current = match dataset.take() {
                        Some(dataset) => dataset,
                        None => self.order_dataset(stored.number, call).await?,
                    };
                    dataset = Some(self.enter_line_again(current, line, &stored, call).await?);
                }
            }
        }
        Ok(stored.answer)
    }

    /// Creates the order, with its lines where that is possible; gives the dataset to go on with, if there is one.
    async fn enter_header(
        &self,
        wanted: &WantedOrder,
        call: &Call<'_>,
    ) -> Result<Option<Value>, CallFailure> {
        match self.door("sales-order.create") {
            Door::Methods => self.enter_header_by_methods(wanted, call).await.map(Some),
            Door::EntitySet => {
                let mut row = wanted.header.clone();
                row.entry("OrderNum").or_insert_with(|| json!(0));
                let lines = wanted.lines.iter().map(|line| new_line(line, 0)).collect();
                row.insert("OrderDtls".to_owned(), Value::Array(lines));
                self.rest.create(ORDER, "SalesOrders", &Value::Object(row), call).await?;
                Ok(None)
            }
        }
    }

    async fn add_line(
        &self,
        line: &Map<String, Value>,
        order: u64,
        call: &Call<'_>,
    ) -> Result<(), CallFailure> {
        self.rest.create(ORDER, "OrderDtls", &new_line(line, order), call).await.map(|_| ())
    }

    async fn enter_header_by_methods(
        &self,
        wanted: &WantedOrder,
        call: &Call<'_>,
    ) -> Result<Value, CallFailure> {
        let mut current = self.fill("GetNewOrderHed", json!({"ds": {}}), call).await?;
        let row = new_row(&mut current, "OrderHed")?;
        row.insert("RowMod".to_owned(), json!("A"));
        let by = ["CustID", "CustNum"].into_iter().find(|name| wanted.header.contains_key(*name));
        let by = by.ok_or_else(|| invalid("/CustNum", "is required, or CustID"))?;
        row.extend(wanted.header.get(by).map(|value| (by.to_owned(), value.clone())));
        let change = if by == "CustID" { "ChangeSoldToID" } else { "ChangeCustomer" };
        current = self.fill(change, json!({"ds": current}), call).await?;
        // After the customer's defaults, so that what the module says goes before them.
        new_row(&mut current, "OrderHed")?.extend(wanted.header.clone());
        let customer = new_row(&mut current, "OrderHed")?.get("CustNum").cloned().unwrap_or(json!(0));
        self.master_update(current, "OrderHed", (&customer, 0), call).await
    }

    /// Enters a line; once more on the order as it is now, where somebody else has written it meanwhile.
    async fn enter_line_again(
        &self,
        current: Value,
        line: &Map<String, Value>,
        order: &StoredOrder,
        call: &Call<'_>,
    ) -> Result<Value, CallFailure> {
        match self.enter_line(current, line, order, call).await {
            Err(failure) if failure.problem().code == "record-modified" => {
                let current = self.order_dataset(order.number, call).await?;
                self.enter_line(current, line, order, call).await
            }
            entered => entered,
        }
    }

    async fn enter_line(
        &self,
        current: Value,
        line: &Map<String, Value>,
        order: &StoredOrder,
        call: &Call<'_>,
    ) -> Result<Value, CallFailure> {
        let parameters = json!({"ds": current, "orderNum": order.number});
        let mut current = self.fill("GetNewOrderDtl", parameters, call).await?;
        let row = new_row(&mut current, "OrderDtl")?;
        row.insert("RowMod".to_owned(), json!("A"));
        let row_id = row.get("SysRowID").cloned().unwrap_or_else(|| json!(NO_GUID));
        let part = line.get("PartNum").cloned().unwrap_or_default();
        let parameters = json!({
            "ds": current, "partNum": part, "lSubstitutePartExist": false, "lIsPhantom": false, "uomCode": "",
            "SysRowID": row_id, "rowType": "", "salesKitView": false, "removeKitComponents": false,
            "suppressUserPrompts": true, "getPartXRefInfo": true, "checkPartRevisionChange": true,
            "checkChangeKitParent": true,
        });
        current = self.fill("ChangePartNumMaster", parameters, call).await?;
        let quantity =
            line.get("SellingQuantity").or_else(|| line.get("OrderQty")).cloned().unwrap_or(json!(1));
        let parameters = json!({
            "ds": current, "ipSellingQuantity": quantity, "chkSellQty": true, "negInvTest": false,
            "chgSellQty": true, "chgDiscPer": false, "suppressUserPrompts": true, "lKeepUnitPrice": true,
            "pcPartNum": part, "pcWhseCode": "", "pcBinNum": "", "pcLotNum": "", "pcAttributeSetID": 0,
            "pcDimCode": "", "pdDimConvFactor": 1,
        });
        current = self.fill("ChangeSellingQtyMaster", parameters, call).await?;
        new_row(&mut current, "OrderDtl")?.extend(line.clone());
        let customer = order.answer.get("CustNum").cloned().unwrap_or(json!(0));
        self.master_update(current, "OrderDtl", (&customer, order.number), call).await
    }

    /// Calls a method that fills in a dataset and stores nothing.
    async fn fill(&self, method: &str, parameters: Value, call: &Call<'_>) -> Result<Value, CallFailure> {
        let answer = self.rest.method((Doing::Asking, call), ORDER, method, &parameters).await?;
        dataset(Doing::Asking, &answer)
    }

    async fn order_dataset(&self, order: u64, call: &Call<'_>) -> Result<Value, CallFailure> {
        let query = [("orderNum", order.to_string())];
        let query: Vec<_> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = self.rest.method_by_get(ORDER, "GetByID", &query, call).await?;
        dataset(Doing::Asking, &answer)
    }

    async fn master_update(
        &self,
        current: Value,
        table: &str,
        (customer, order): (&Value, u64),
        call: &Call<'_>,
    ) -> Result<Value, CallFailure> {
        let parameters = json!({
            "lCheckForOrderChangedMsg": false, "lcheckForResponse": false, "cTableName": table,
            "iCustNum": customer, "iOrderNum": order, "lweLicensed": false, "ds": current,
        });
        let changing = (Doing::Changing, call);
        let answer = self.rest.method(changing, ORDER, "MasterUpdate", &parameters).await?;
        if answer.pointer("/parameters/lContinue") == Some(&Value::Bool(false)) {
            let message =
                said(&answer).unwrap_or("Epicor wants a question answered before it stores the order");
            let problem = CallProblem::new("needs-confirmation", message);
            return Err(CallFailure::Permanent { problem });
        }
        dataset(Doing::Changing, &answer)
    }
}

/// A line as a row of its own.
fn new_line(line: &Map<String, Value>, order: u64) -> Value {
    let mut row = line.clone();
    row.insert("OrderNum".to_owned(), json!(order));
    row.entry("OrderLine").or_insert_with(|| json!(0));
    Value::Object(row)
}

/// The first message of a MasterUpdate that says anything.
fn said(answer: &Value) -> Option<&str> {
    let names = ["cResponseMsg", "cDisplayMsg", "cCreditShipAction", "cCompliantMsg", "cAgingMessage"];
    let text = |name: &str| answer.pointer(&format!("/parameters/{name}")).and_then(Value::as_str);
    names.into_iter().filter_map(text).find(|text| !text.is_empty())
}

/// An order with this PO number that is not the one that was meant is for a person to look at.
fn check_same_order(wanted: &WantedOrder, stored: &StoredOrder) -> Result<(), CallFailure> {
    let differs = |message: String| {
        let problem = CallProblem::new("order-differs", message).with_detail(stored.answer.clone());
        Err(CallFailure::Permanent { problem })
    };
    let (wanted_customer, customer) = (wanted.header.get("CustNum"), stored.answer.get("CustNum"));
    if wanted_customer.is_some()
        && wanted_customer.and_then(Value::as_u64) != customer.and_then(Value::as_u64)
    {
        return differs(format!("order {} is another customer's", stored.number));
    }
    if stored.parts.len() > wanted.lines.len() {
        return differs(format!("order {} has more lines than were sent", stored.number));
    }
    let same = |(part, line): (&String, &Map<String, Value>)| {
        line.get("PartNum").and_then(Value::as_str) == Some(part.as_str())
    };
    if !stored.parts.iter().zip(&wanted.lines).all(same) {
        return differs(format!("order {} has other parts than were sent", stored.number));
    }
    Ok(())
}
