//! `Erp.BO.CustomerSvc`.

use serde_json::{Value, json};

use crate::epicor::datasets::{add, answer, changed, committed, dataset, draft, new_row};
use crate::epicor::errors::Error;
use crate::epicor::rows::{shown, text, whole, written};
use crate::epicor::{Epicor, Request, Row, checks, rows};
use crate::stand_in::{Draft, Outcome};

impl Epicor {
    fn customer_check(&self, row: &Row) -> Result<(), Error> {
        if text(row, "CustID").trim().is_empty() {
            return Err(Error::business("A valid Customer ID is required."));
        }
        if text(row, "Name").trim().is_empty() {
            return Err(Error::business("Customer Name is required."));
        }
        let known = |column: &str, list: &std::collections::BTreeSet<String>| {
            let value = text(row, column);
            if value.is_empty() || list.contains(value) {
                Ok(())
            } else {
                Err(Error::business(&format!("A valid {column} is required: {value}.")))
            }
        };
        known("CurrencyCode", &self.options.currencies)?;
        known("TermsCode", &self.options.terms)?;
        let kind = text(row, "CustomerType");
        if !["", "CUS", "SUS", "PRO"].contains(&kind) {
            return Err(Error::business(&format!("CustomerType {kind} is not valid.")));
        }
        self.check_unlocked(text(row, "CustID"))
    }

    pub(crate) fn customer_create(
        &mut self,
        request: &Request<'_>,
        sent: &Row,
    ) -> Result<(Row, Vec<Draft>), Error> {
        let mut row = rows::blank("Customer", &request.company);
        row.extend(checks::columns("Customer", sent)?);
        row.insert("Company".to_owned(), json!(request.company));
        self.customer_check(&row)?;
        let id = json!(text(&row, "CustID"));
        if self.tables.one("Customer", &request.company, ("CustID", &id), request.moment.now_ms).is_some() {
            let status = self.options.duplicate_status;
            return Err(Error::duplicate(
                status,
                &format!("Customer {} already exists.", text(&row, "CustID")),
            ));
        }
        for (column, default) in [("CustomerType", "CUS"), ("CurrencyCode", "USD"), ("TermsCode", "N30")] {
            if text(&row, column).is_empty() {
                row.insert(column.to_owned(), json!(default));
            }
        }
        let number = self.next_customer;
        self.next_customer += 1;
        row.insert("CustNum".to_owned(), json!(number));
        row.insert("ChangedBy".to_owned(), json!(request.user));
        row.insert("SysRowID".to_owned(), json!(""));
        self.stamp("Customer", &mut row, request, 0);
        let key = text(&row, "CustID").to_owned();
        let draft = draft(request, "customer", number.to_string(), &key, vec![written("Customer", &row)]);
        Ok((row, vec![draft]))
    }

    pub(crate) fn customer_change(
        &self,
        request: &Request<'_>,
        key: &[String],
        changes: &Row,
    ) -> Result<Vec<Draft>, Error> {
        let (stored, row) = self.patched(request, "Customer", key, changes)?;
        self.customer_write(request, &stored, row)
    }

    /// A customer that documents name stays.
    pub(crate) fn customer_delete(&self, request: &Request<'_>, key: &[String]) -> Result<Vec<Draft>, Error> {
        let (stored, mut row) = self.patched(request, "Customer", key, &Row::new())?;
        let number = whole(&stored, "CustNum");
        for table in ["OrderHed", "CashHead", "InvcHead"] {
            let mut rows = self.tables.find(table, None, request.moment.now_ms);
            if rows.any(|row| text(row, "Company") == request.company && whole(row, "CustNum") == number) {
                return Err(Error::business("The customer has transactions: it cannot be deleted."));
            }
        }
        row.insert("ChangedBy".to_owned(), json!(request.user));
        let key = text(&stored, "CustID").to_owned();
        let writes = vec![rows::removed("Customer", &row)];
        Ok(vec![draft(request, "customer-deletion", number.to_string(), &key, writes)])
    }

    pub(crate) fn customer_write(
        &self,
        request: &Request<'_>,
        stored: &Row,
        mut row: Row,
    ) -> Result<Vec<Draft>, Error> {
        self.customer_check(&row)?;
        let other = self.tables.one(
            "Customer",
            &request.company,
            ("CustID", &json!(text(&row, "CustID"))),
            request.moment.now_ms,
        );
        if other.is_some_and(|other| whole(other, "CustNum") != whole(&row, "CustNum")) {
            return Err(Error::duplicate(self.options.duplicate_status, "Another customer has this CustID."));
        }
        row.insert("ChangedBy".to_owned(), json!(request.user));
        self.stamp("Customer", &mut row, request, 0);
        let (number, key) = (whole(stored, "CustNum").to_string(), text(&row, "CustID").to_owned());
        Ok(vec![draft(request, "customer-update", number, &key, vec![written("Customer", &row)])])
    }

    pub(crate) fn customer_method(&mut self, request: &Request<'_>) -> Result<Outcome, Error> {
        let seen_ms = request.moment.seen_ms;
        let found = |by: (&str, &Value)| {
            let row =
                self.tables.one("Customer", &request.company, by, seen_ms).ok_or_else(Error::no_record)?;
            Ok(answer(json!({"Customer": [shown(row, seen_ms)]}), json!({})))
        };
        match request.name.as_str() {
            "GetByID" => {
                let number = request.text("custNum").parse::<u64>().unwrap_or_default();
                found(("CustNum", &json!(number)))
            }
            "GetByCustID" => found(("CustID", &json!(request.text("custID")))),
            "GetCustomer" => found(("CustID", &json!(request.text("CustID")))),
            "CheckDupCustomer" => {
                let id = json!(request.text("custId"));
                let exists =
                    self.tables.one("Customer", &request.company, ("CustID", &id), seen_ms).is_some();
                Ok(answer(json!(if exists { request.text("custId") } else { String::new() }), json!({})))
            }
            "GetCustomerTerritory" => {
                let mut ds = dataset(request)?;
                if let Some(row) =
                    ds.get_mut("Customer").and_then(|rows| rows.get_mut(0)).and_then(Value::as_object_mut)
                {
                    row.insert("TerritoryID".to_owned(), json!("CENTRAL"));
                }
                Ok(answer(Value::Null, json!({"ds": ds})))
            }
            "GetNewCustomer" => {
                let mut ds = dataset(request)?;
                let mut row = new_row("Customer", &request.company);
                for (column, default) in [
                    ("CustomerType", "CUS"),
                    ("CurrencyCode", "USD"),
                    ("TermsCode", "N30"),
                    ("TerritoryID", "CENTRAL"),
                ] {
                    row.insert(column.to_owned(), json!(default));
                }
                add(&mut ds, "Customer", row);
                Ok(answer(Value::Null, json!({"ds": ds})))
            }
            "Update" => self.customer_update(request),
            _ => Err(Error::not_found(&format!("{} was not found.", request.name))),
        }
    }

    fn customer_update(&mut self, request: &Request<'_>) -> Result<Outcome, Error> {
        let ds = dataset(request)?;
        let rows = changed(&ds, "Customer")?;
        let [(mode, sent)] = rows.as_slice() else {
            return Err(Error::business("One changed customer is expected."));
        };
        let (row, drafts) = if *mode == 'A' {
            self.customer_create(request, sent)?
        } else {
            let (stored, row) = self.updated(request, "Customer", sent)?;
            let drafts = self.customer_write(request, &stored, row.clone())?;
            (row, drafts)
        };
        let row = shown(&row, request.moment.now_ms);
        Ok(committed(Value::Null, json!({"ds": {"Customer": [row]}}), drafts))
    }
}
