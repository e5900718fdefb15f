//! `Erp.BO.SalesOrderSvc`: entity sets, and the method sequence that a user's screen goes through.

use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::epicor::datasets::{add, answer, changed, committed, current, dataset, draft, new_row};
use crate::epicor::errors::Error;
use crate::epicor::rows::{decimal, flag, number, shown, text, whole, written};
use crate::epicor::{Epicor, Request, Row, checks, rows};
use crate::money;
use crate::stand_in::{Draft, Outcome};

/// Lines of an order.
const LINES_MAX: usize = 1_000;

/// An order that is about to be written: its header, and rows of its lines and releases.
struct Lines {
    writes: Vec<Value>,
    summary: Vec<Value>,
    total: Decimal,
}

impl Epicor {
    /// The customer that a row names by number, or by id.
    pub(crate) fn customer_of(&self, request: &Request<'_>, row: &Row) -> Result<Row, Error> {
        let by_number = ("CustNum", json!(whole(row, "CustNum")));
        let by_id = ("CustID", json!(text(row, "CustID")));
        let (column, value) = if whole(row, "CustNum") > 0 { by_number } else { by_id };
        let found = self.tables.one("Customer", &request.company, (column, &value), request.moment.now_ms);
        let customer = found.ok_or_else(|| Error::business("A valid Customer ID is required."))?;
        self.check_unlocked(text(customer, "CustID"))?;
        if flag(customer, "Inactive") {
            return Err(Error::business(&format!("Customer {} is inactive.", text(customer, "CustID"))));
        }
        Ok(customer.clone())
    }

    /// What a person would be asked before the order is saved.
    fn order_question(&self, request: &Request<'_>, row: &Row, customer: &Row) -> Option<String> {
        if flag(customer, "CreditHold") && !flag(row, "CreditOverride") {
            return Some(format!("Customer {} is on credit hold.", text(customer, "CustID")));
        }
        if flag(customer, "CheckDuplicatePO") && !text(row, "PONum").is_empty() {
            let number = json!(text(row, "PONum"));
            let mut same = self.tables.find("OrderHed", Some(("PONum", &number)), request.moment.now_ms);
            let other = same.find(|other| {
                whole(other, "CustNum") == whole(customer, "CustNum")
                    && whole(other, "OrderNum") != whole(row, "OrderNum")
            });
            return other
                .map(|other| format!("PO number already used on order {}.", whole(other, "OrderNum")));
        }
        None
    }

    /// The header, complete and numbered.
    fn order_header(&mut self, request: &Request<'_>, sent: &Row) -> Result<Row, Error> {
        let mut row = rows::blank("OrderHed", &request.company);
        row.extend(checks::columns("OrderHed", sent)?);
        row.insert("Company".to_owned(), json!(request.company));
        let customer = self.customer_of(request, &row)?;
        if row.get("OrderDate").is_none_or(Value::is_null) {
            return Err(Error::business("Order Date is required."));
        }
        let currency = if text(&row, "CurrencyCode").is_empty() {
            text(&customer, "CurrencyCode")
        } else {
            text(&row, "CurrencyCode")
        };
        if !self.options.currencies.contains(currency) {
            return Err(Error::business(&format!("A valid Currency Code is required: {currency}.")));
        }
        let currency = json!(currency);
        row.insert("CurrencyCode".to_owned(), currency);
        for column in ["CustNum", "CustID"] {
            row.insert(column.to_owned(), customer.get(column).cloned().unwrap_or_default());
        }
        if whole(&row, "BTCustNum") == 0 {
            row.insert("BTCustNum".to_owned(), json!(whole(&customer, "CustNum")));
        }
        if text(&row, "TermsCode").is_empty() {
            row.insert("TermsCode".to_owned(), json!(text(&customer, "TermsCode")));
        }
        row.insert("OpenOrder".to_owned(), json!(true));
        row.insert("EntryPerson".to_owned(), json!(request.user));
        row.insert("SysRowID".to_owned(), json!(""));
        Ok(row)
    }

    fn order_number(&mut self, row: &mut Row) -> u64 {
        let order = self.next_order;
        self.next_order += 1;
        row.insert("OrderNum".to_owned(), json!(order));
        order
    }

    /// A line, complete; its release goes with it.
    fn order_line(&self, request: &Request<'_>, order: &Row, sent: &Row, line: u64) -> Result<Row, Error> {
        let mut row = rows::blank("OrderDtl", &request.company);
        row.extend(checks::columns("OrderDtl", sent)?);
        row.insert("Company".to_owned(), json!(request.company));
        row.insert("OrderNum".to_owned(), json!(whole(order, "OrderNum")));
        row.insert("OrderLine".to_owned(), json!(line));
        let part = json!(text(&row, "PartNum"));
        match self.tables.one("Part", &request.company, ("PartNum", &part), request.moment.now_ms) {
            Some(part) if flag(part, "InActive") => {
                return Err(Error::business(&format!("Part {} is inactive.", text(part, "PartNum"))));
            }
            Some(part) => {
                for (column, from) in
                    [("LineDesc", "PartDescription"), ("SalesUM", "SalesUM"), ("IUM", "IUM")]
                {
                    if text(&row, column).is_empty() {
                        row.insert(column.to_owned(), json!(text(part, from)));
                    }
                }
            }
            None if text(&row, "PartNum").is_empty() => {
                return Err(Error::business("A valid Part Number is required."));
            }
            None if text(&row, "LineDesc").is_empty() => {
                let text = format!(
                    "Part {} is not in the part master: a line description is required.",
                    text(&row, "PartNum")
                );
                return Err(Error::business(&text));
            }
            None => {}
        }
        let asked = decimal(&row, "SellingQuantity");
        let quantity = if asked.is_zero() { decimal(&row, "OrderQty") } else { asked };
        if quantity <= Decimal::ZERO {
            return Err(Error::business("Order quantity must be greater than zero."));
        }
        let in_document = decimal(&row, "DocUnitPrice");
        let price = if in_document.is_zero() { decimal(&row, "UnitPrice") } else { in_document };
        let per = match text(&row, "PricePerCode") {
            "C" => Decimal::ONE_HUNDRED,
            "M" => Decimal::ONE_THOUSAND,
            _ => Decimal::ONE,
        };
        let extended = quantity * price / per;
        for (column, amount) in [
            ("SellingQuantity", quantity),
            ("OrderQty", quantity),
            ("UnitPrice", price),
            ("DocUnitPrice", price),
            ("ExtPriceDtl", extended),
            ("DocExtPriceDtl", extended),
        ] {
            row.insert(column.to_owned(), number(amount));
        }
        row.insert("OpenLine".to_owned(), json!(true));
        row.insert("SysRowID".to_owned(), json!(""));
        Ok(row)
    }

    fn order_lines(
        &self,
        request: &Request<'_>,
        order: &Row,
        sent: &[&Row],
        first: u64,
    ) -> Result<Lines, Error> {
        let mut lines = Lines { writes: Vec::new(), summary: Vec::new(), total: Decimal::ZERO };
        if sent.len() > LINES_MAX {
            return Err(Error::business("Too many lines."));
        }
        for (line, sent) in (first..).zip(sent) {
            let mut row = self.order_line(request, order, sent, line)?;
            self.stamp("OrderDtl", &mut row, request, 2 * line - 1);
            let mut release = rows::blank("OrderRel", &request.company);
            let quantity = row.get("SellingQuantity").cloned().unwrap_or_default();
            for (column, value) in [
                ("OrderNum", json!(whole(order, "OrderNum"))),
                ("OrderLine", json!(line)),
                ("OrderRelNum", json!(1)),
                ("OurReqQty", quantity.clone()),
                ("SellingReqQty", quantity),
                ("ReqDate", row.get("NeedByDate").cloned().unwrap_or_default()),
                ("OpenRelease", json!(true)),
            ] {
                release.insert(column.to_owned(), value);
            }
            self.stamp("OrderRel", &mut release, request, 2 * line);
            lines.total += decimal(&row, "DocExtPriceDtl");
            lines.summary.push(line_summary(&row));
            lines.writes.push(written("OrderDtl", &row));
            lines.writes.push(written("OrderRel", &release));
        }
        Ok(lines)
    }

    pub(crate) fn order_create(
        &mut self,
        request: &Request<'_>,
        sent: &Row,
    ) -> Result<(Row, Vec<Draft>), Error> {
        let mut row = self.order_header(request, sent)?;
        let customer = self.customer_of(request, &row)?;
        if let Some(question) = self.order_question(request, &row, &customer) {
            return Err(Error::business(&question));
        }
        let nested =
            sent.get("OrderDtls").and_then(Value::as_array).filter(|_| self.options.nested_order_lines);
        let nested: Vec<&Row> = nested.into_iter().flatten().filter_map(Value::as_object).collect();
        // The lines are checked before a number is drawn.
        self.order_lines(request, &row, &nested, 1)?;
        self.order_number(&mut row);
        let lines = self.order_lines(request, &row, &nested, 1)?;
        set_total(&mut row, lines.total);
        self.stamp("OrderHed", &mut row, request, 0);
        let mut writes = vec![written("OrderHed", &row)];
        writes.extend(lines.writes);
        let draft = order_draft(request, "sales-order", &row, writes).lines(lines.summary);
        Ok((row, vec![draft]))
    }

    /// A line added to an order that exists.
    pub(crate) fn line_create(
        &mut self,
        request: &Request<'_>,
        sent: &Row,
    ) -> Result<(Row, Vec<Draft>), Error> {
        let order = json!(whole(sent, "OrderNum"));
        let found =
            self.tables.one("OrderHed", &request.company, ("OrderNum", &order), request.moment.now_ms);
        let mut header = found.ok_or_else(|| Error::business("A valid Order Number is required."))?.clone();
        let existing = self.tables.find("OrderDtl", Some(("OrderNum", &order)), request.moment.now_ms);
        let last = existing.map(|line| whole(line, "OrderLine")).max().unwrap_or(0);
        let lines = self.order_lines(request, &header, &[sent], last + 1)?;
        let total = decimal(&header, "DocOrderAmt") + lines.total;
        set_total(&mut header, total);
        self.stamp("OrderHed", &mut header, request, 0);
        let row =
            lines.writes.first().and_then(|write| write.get("row")?.as_object()).cloned().unwrap_or_default();
        let mut writes = vec![written("OrderHed", &header)];
        writes.extend(lines.writes);
        let mut draft = order_draft(request, "sales-order-line", &header, writes).lines(lines.summary);
        draft.number = format!("{}/{}", whole(&row, "OrderNum"), last + 1);
        draft.business_key = format!("{}/{}", text(&header, "PONum"), last + 1);
        draft.amounts.clear();
        Ok((row.clone(), vec![draft.amount(text(&header, "CurrencyCode"), lines.total)]))
    }

    pub(crate) fn order_change(
        &self,
        request: &Request<'_>,
        key: &[String],
        changes: &Row,
    ) -> Result<Vec<Draft>, Error> {
        let (_, row) = self.patched(request, "OrderHed", key, changes)?;
        self.order_write(request, row)
    }

    fn order_write(&self, request: &Request<'_>, mut row: Row) -> Result<Vec<Draft>, Error> {
        self.customer_of(request, &row)?;
        self.stamp("OrderHed", &mut row, request, 0);
        Ok(vec![order_draft(request, "sales-order-update", &row, vec![written("OrderHed", &row)])])
    }

    pub(crate) fn line_change(
        &self,
        request: &Request<'_>,
        key: &[String],
        changes: &Row,
    ) -> Result<Vec<Draft>, Error> {
        let (stored, row) = self.patched(request, "OrderDtl", key, changes)?;
        self.line_write(request, &stored, &row)
    }

    fn line_write(&self, request: &Request<'_>, stored: &Row, changed: &Row) -> Result<Vec<Draft>, Error> {
        let order = json!(whole(stored, "OrderNum"));
        let header =
            self.tables.one("OrderHed", &request.company, ("OrderNum", &order), request.moment.now_ms);
        let mut header = header.ok_or_else(Error::no_record)?.clone();
        let mut public = shown(changed, request.moment.now_ms);
        // The quantity that was changed counts; the other follows.
        if changed.get("SellingQuantity") == stored.get("SellingQuantity") {
            public.insert("SellingQuantity".to_owned(), changed.get("OrderQty").cloned().unwrap_or_default());
        }
        let mut row = self.order_line(request, &header, &public, whole(stored, "OrderLine"))?;
        self.stamp("OrderDtl", &mut row, request, 1);
        let total = decimal(&header, "DocOrderAmt") - decimal(stored, "DocExtPriceDtl")
            + decimal(&row, "DocExtPriceDtl");
        set_total(&mut header, total);
        self.stamp("OrderHed", &mut header, request, 0);
        let writes = vec![written("OrderHed", &header), written("OrderDtl", &row)];
        Ok(vec![order_draft(request, "sales-order-update", &header, writes).lines(vec![line_summary(&row)])])
    }

    pub(crate) fn order_method(&mut self, request: &Request<'_>) -> Result<Outcome, Error> {
        match request.name.as_str() {
            "GetByID" => {
                let order = json!(request.text("orderNum").parse::<u64>().unwrap_or_default());
                self.order_dataset(request, &order).map(|ds| answer(ds, json!({})))
            }
            "GetNewOrderHed" => {
                let mut ds = dataset(request)?;
                let mut row = new_row("OrderHed", &request.company);
                let today = format!("{}T00:00:00", crate::clock::iso_date(request.moment.now_ms));
                row.insert("OrderDate".to_owned(), json!(today));
                row.insert("OpenOrder".to_owned(), json!(true));
                add(&mut ds, "OrderHed", row);
                Ok(answer(Value::Null, json!({"ds": ds})))
            }
            "ChangeSoldToID" | "ChangeCustomer" => self.order_customer(request),
            "GetNewOrderDtl" => {
                let mut ds = dataset(request)?;
                let order = request.text("orderNum").parse::<u64>().unwrap_or_default();
                if self
                    .tables
                    .one("OrderHed", &request.company, ("OrderNum", &json!(order)), request.moment.now_ms)
                    .is_none()
                {
                    return Err(Error::business("A valid Order Number is required."));
                }
                let mut row = new_row("OrderDtl", &request.company);
                row.insert("OrderNum".to_owned(), json!(order));
                row.insert("OpenLine".to_owned(), json!(true));
                add(&mut ds, "OrderDtl", row);
                Ok(answer(Value::Null, json!({"ds": ds})))
            }
            "ChangePartNumMaster" => self.order_part(request),
            "ChangeSellingQtyMaster" => {
                let mut ds = dataset(request)?;
                let quantity = request.parameter("ipSellingQuantity");
                let valid = money::parse(&quantity.to_string()).filter(|quantity| *quantity > Decimal::ZERO);
                valid.ok_or_else(|| Error::business("Order quantity must be greater than zero."))?;
                let row = current(&mut ds, "OrderDtl")?;
                row.insert("SellingQuantity".to_owned(), quantity.clone());
                row.insert("OrderQty".to_owned(), quantity);
                Ok(answer(
                    Value::Null,
                    json!({"ds": ds, "opWarningMsg": "", "cSellingQuantityChangedMsgText": ""}),
                ))
            }
            "CheckCustOnCreditHold" => {
                let id = json!(request.text("cCustID"));
                let customer =
                    self.tables.one("Customer", &request.company, ("CustID", &id), request.moment.now_ms);
                let customer = customer.ok_or_else(|| Error::business("A valid Customer ID is required."))?;
                Ok(answer(Value::Null, json!({"lCustomerAllowed": !flag(customer, "CreditHold")})))
            }
            "MasterUpdate" | "Update" => self.order_update(request),
            _ => Err(Error::not_found(&format!("{} was not found.", request.name))),
        }
    }

    fn order_customer(&self, request: &Request<'_>) -> Result<Outcome, Error> {
        let mut ds = dataset(request)?;
        let row = current(&mut ds, "OrderHed")?;
        let mut named = row.clone();
        if request.name == "ChangeSoldToID" {
            // The screen has typed an id: it wins over the number.
            named.insert("CustNum".to_owned(), json!(0));
        }
        let customer =
            self.customer_of(request, if text(&named, "CustID").is_empty() { row } else { &named })?;
        for (column, from) in [
            ("CustNum", "CustNum"),
            ("BTCustNum", "CustNum"),
            ("CustID", "CustID"),
            ("CurrencyCode", "CurrencyCode"),
            ("TermsCode", "TermsCode"),
        ] {
            row.insert(column.to_owned(), customer.get(from).cloned().unwrap_or_default());
        }
        Ok(answer(Value::Null, json!({"ds": ds})))
    }

    fn order_part(&self, request: &Request<'_>) -> Result<Outcome, Error> {
        let mut ds = dataset(request)?;
        let number = request.text("partNum");
        let part = self
            .tables
            .one("Part", &request.company, ("PartNum", &json!(number)), request.moment.now_ms)
            .cloned();
        let row = current(&mut ds, "OrderDtl")?;
        row.insert("PartNum".to_owned(), json!(number));
        if let Some(part) = part {
            for (column, from) in [("LineDesc", "PartDescription"), ("SalesUM", "SalesUM"), ("IUM", "IUM")] {
                row.insert(column.to_owned(), part.get(from).cloned().unwrap_or_default());
            }
        }
        let parameters = json!({
            "ds": ds, "partNum": number, "cDeleteComponentsMessage": "", "questionString": "", "cWarningMessage": "",
            "multipleMatch": false, "promptToExplodeBOM": false, "subPartMessage": "", "subPartsExist": false,
        });
        Ok(answer(Value::Null, parameters))
    }

    fn order_dataset(&self, request: &Request<'_>, order: &Value) -> Result<Value, Error> {
        let seen_ms = request.moment.seen_ms;
        let header = self
            .tables
            .one("OrderHed", &request.company, ("OrderNum", order), seen_ms)
            .ok_or_else(Error::no_record)?;
        Ok(json!({
            "OrderHed": [shown(header, seen_ms)],
            "OrderDtl": self.children("OrderDtl", "OrderHed", header, seen_ms),
            "OrderRel": self.children("OrderRel", "OrderHed", header, seen_ms),
        }))
    }

    /// One transaction for the header, or for one line: a crash between them leaves an order without lines.
    fn order_update(&mut self, request: &Request<'_>) -> Result<Outcome, Error> {
        let mut ds = dataset(request)?;
        let master = request.name == "MasterUpdate";
        let table = if master { request.text("cTableName") } else { String::new() };
        let (headers, lines) = (changed(&ds, "OrderHed")?, changed(&ds, "OrderDtl")?);
        let (drafts, row, table) = match (table.as_str(), headers.as_slice(), lines.as_slice()) {
            ("OrderHed" | "", [(mode, sent)], []) | ("OrderHed", [(mode, sent)], _) => {
                let customer = self.customer_of(request, sent)?;
                if let Some(question) = self.order_question(request, sent, &customer).filter(|_| master) {
                    return Ok(answer(Value::Null, master_parameters(false, &question, &ds)));
                }
                if *mode == 'A' {
                    let (row, drafts) = self.order_create(request, sent)?;
                    (drafts, row, "OrderHed")
                } else {
                    let (_, row) = self.updated(request, "OrderHed", sent)?;
                    (self.order_write(request, row.clone())?, row, "OrderHed")
                }
            }
            ("OrderDtl" | "", _, [(mode, sent)]) => {
                if *mode == 'A' {
                    let (row, drafts) = self.line_create(request, sent)?;
                    (drafts, row, "OrderDtl")
                } else {
                    let (stored, row) = self.updated(request, "OrderDtl", sent)?;
                    (self.line_write(request, &stored, &row)?, row, "OrderDtl")
                }
            }
            _ => return Err(Error::business("One changed header or one changed line is expected.")),
        };
        // What was committed stands in the dataset for what was sent.
        let slot = ds.entry(table.to_owned()).or_insert_with(|| json!([]));
        if let Some(rows) = slot.as_array_mut() {
            rows.retain(|row| row.as_object().is_some_and(|row| text(row, "RowMod").is_empty()));
            rows.push(Value::Object(shown(&row, request.moment.now_ms)));
        }
        let parameters = if master { master_parameters(true, "", &ds) } else { json!({"ds": ds}) };
        Ok(committed(Value::Null, parameters, drafts))
    }
}

fn master_parameters(goes_on: bool, message: &str, ds: &crate::epicor::datasets::Dataset) -> Value {
    json!({
        "lContinue": goes_on, "cResponseMsg": message, "cCreditShipAction": "", "cDisplayMsg": "", "cCompliantMsg": "",
        "cResponseMsgOrdRel": "", "cAgingMessage": "", "cShipByDateMessage": "", "cNeedByDateMessage": "", "ds": ds,
    })
}

fn set_total(row: &mut Row, total: Decimal) {
    for column in ["OrderAmt", "DocOrderAmt", "TotalCharges", "DocTotalCharges"] {
        row.insert(column.to_owned(), number(total));
    }
}

fn line_summary(row: &Row) -> Value {
    json!({
        "line": whole(row, "OrderLine"), "part": text(row, "PartNum"), "quantity": decimal(row, "SellingQuantity").to_string(),
        "price": decimal(row, "DocUnitPrice").to_string(), "amount": decimal(row, "DocExtPriceDtl").to_string(),
    })
}

fn order_draft(request: &Request<'_>, kind: &'static str, row: &Row, writes: Vec<Value>) -> Draft {
    let order = whole(row, "OrderNum").to_string();
    draft(request, kind, order, text(row, "PONum"), writes)
        .amount(text(row, "CurrencyCode"), decimal(row, "DocOrderAmt"))
}
