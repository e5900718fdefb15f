//! Customers: found, read, created, changed, and what changed of them since the last look.

use portolan_domain::verdict::{CallFailure, CallProblem};
use serde_json::{Map, Value, json};

use super::{
    Door, Kinetic, is_positive,
    numbers::with_numbers,
    rest::{Question, dataset, literal, new_row, pick},
    whole,
};
use crate::{
    call::{Call, Doing},
    parameters::{invalid, object, object_of, text, whole_number},
};

const CUSTOMER: &str = "Erp.BO.CustomerSvc";
const CUSTOMER_FIELDS: &[&str] =
    &["CustNum", "CustID", "Name", "EMailAddress", "CurrencyCode", "Inactive", "CreditHold", "SysRevID"];
/// What `customer.get` and `customers.changed` read besides.
const MORE_FIELDS: &[&str] = &[
    "Address1",
    "Address2",
    "Address3",
    "City",
    "State",
    "Zip",
    "Country",
    "PhoneNum",
    "CustomerType",
    "TermsCode",
    "TerritoryID",
    "GroupCode",
    "ExternalCRMCustomerID",
    "SysRowID",
];
/// Rows of one look at what changed.
const CHANGED_MAX: u64 = 1_000;

impl Kinetic {
    /// The one customer that a filter means.
    pub(super) async fn customer(&self, filter: &str, call: &Call<'_>) -> Result<Option<Value>, CallFailure> {
        let select = CUSTOMER_FIELDS.join(",");
        let (service, set) = (CUSTOMER, "Customers");
        let question = Question { service, set, filter, select: &select, expand: None };
        let row = self.rest.row(&question, call).await?;
        Ok(row.map(|row| pick(&row, CUSTOMER_FIELDS)))
    }

    pub(super) async fn find_customer(
        &self,
        parameters: &Value,
        call: &Call<'_>,
    ) -> Result<Option<Value>, CallFailure> {
        self.customer(&customer_filter(parameters)?, call).await
    }

    fn all_fields(&self) -> Vec<&str> {
        let own = self.choices.customer_columns.iter().map(String::as_str);
        CUSTOMER_FIELDS.iter().chain(MORE_FIELDS).copied().chain(own).collect()
    }

    pub(super) async fn get_customer(
        &self,
        parameters: &Value,
        call: &Call<'_>,
    ) -> Result<Option<Value>, CallFailure> {
        let (filter, fields) = (customer_filter(parameters)?, self.all_fields());
        let select = fields.join(",");
        let question =
            Question { service: CUSTOMER, set: "Customers", filter: &filter, select: &select, expand: None };
        let row = self.rest.row(&question, call).await?;
        Ok(row.map(|row| pick(&row, &fields)))
    }

    pub(super) async fn create_customer(&self, body: &Value, call: &Call<'_>) -> Result<Value, CallFailure> {
        let customer_id = text(object(body)?, "CustID")?;
        let mut row = with_numbers(body)?;
        if let Some(fields) = row.as_object_mut() {
            fields.insert("Company".to_owned(), json!(self.rest.address.company));
            fields.entry("CustNum").or_insert_with(|| json!(0));
        }
        let stored = match self.door("customer.create") {
            Door::EntitySet => self.rest.create(CUSTOMER, "Customers", &row, call).await,
            Door::Methods => self.enter_customer(&row, call).await,
        };
        match stored {
            Ok(stored) if is_positive(stored.get("CustNum")) => Ok(pick(&stored, CUSTOMER_FIELDS)),
            Ok(_) => Err(CallFailure::ambiguous("unreadable-answer", "the stored customer has no CustNum")),
            // The customer is there: whoever made it, it is the one that was meant.
            Err(CallFailure::Permanent { problem }) if problem.code == "duplicate-record" => {
                let filter = format!("CustID eq {}", literal(customer_id));
                self.customer(&filter, call).await?.ok_or(CallFailure::Permanent { problem })
            }
            Err(failure) => Err(failure),
        }
    }

    /// Territory, blank row, update: as Epicor's own client creates a customer.
    async fn enter_customer(&self, row: &Value, call: &Call<'_>) -> Result<Value, CallFailure> {
        let asking = (Doing::Asking, call);
        let parameters = json!({"custNum": 0, "ds": {"Customer": [{}]}});
        let answer = self.rest.method(asking, CUSTOMER, "GetCustomerTerritory", &parameters).await?;
        let territory = dataset(Doing::Asking, &answer)?.pointer("/Customer/0/TerritoryID").cloned();
        let parameters = json!({"ds": {"Customer": []}});
        let answer = self.rest.method(asking, CUSTOMER, "GetNewCustomer", &parameters).await?;
        let mut current = dataset(Doing::Asking, &answer)?;
        let new = new_row(&mut current, "Customer")?;
        new.extend(
            territory.filter(|territory| territory != "").map(|text| ("TerritoryID".to_owned(), text)),
        );
        // After the defaults, so that what the module says goes before them.
        new.extend(object(row)?.clone());
        new.insert("RowMod".to_owned(), json!("A"));
        let changing = (Doing::Changing, call);
        let answer = self.rest.method(changing, CUSTOMER, "Update", &json!({"ds": current})).await?;
        let stored = dataset(Doing::Changing, &answer)?;
        let rows = stored.get("Customer").and_then(Value::as_array).and_then(|rows| rows.last());
        Ok(rows.cloned().unwrap_or_default())
    }

    pub(super) async fn update_customer(&self, body: &Value, call: &Call<'_>) -> Result<Value, CallFailure> {
        let number = whole_number(object(body)?, "CustNum")?;
        let mut changes = with_numbers(body)?;
        if let Some(fields) = changes.as_object_mut() {
            fields.remove("CustNum");
        }
        let (filter, key) = (format!("CustNum eq {number}"), number.to_string());
        let changed = self.rest.change(CUSTOMER, "Customers", &key, (&changes, call)).await;
        if changed.as_ref().is_err_and(|failure| failure.problem().code == "record-modified") {
            // Somebody was quicker: these fields are laid over what the row is now, once.
            let current = self.customer(&filter, call).await?;
            if let (Some(fields), Some(current)) = (changes.as_object_mut(), current)
                && fields.contains_key("SysRevID")
            {
                fields.insert("SysRevID".to_owned(), json!(whole(&current, "SysRevID")));
            }
            self.rest.change(CUSTOMER, "Customers", &key, (&changes, call)).await?;
        } else {
            changed?;
        }
        let found = self.customer(&filter, call).await?;
        found.ok_or_else(|| {
            let problem = CallProblem::new("unreadable-answer", "the changed customer was not found again");
            Doing::Changing.unclear(problem)
        })
    }

    /// Customers written since the cursor, oldest first. `SysRevID` rises with every write to the table.
    pub(super) async fn changed_customers(
        &self,
        parameters: &Value,
        call: &Call<'_>,
    ) -> Result<Value, CallFailure> {
        let fields = object_of(parameters, &["cursor", "limit"])?;
        let limit = whole_number(fields, "limit")?;
        if !(1..=CHANGED_MAX).contains(&limit) {
            return Err(invalid("/limit", "must be a whole number from 1 to 1000"));
        }
        let since = match fields.get("cursor") {
            None | Some(Value::Null) if self.choices.poll_from_now => {
                let latest = self.latest_revision(call).await?;
                return Ok(json!({"items": [], "cursor": {"SysRevID": latest}, "more": false}));
            }
            None | Some(Value::Null) => 0,
            Some(cursor) => {
                let revision = cursor.get("SysRevID").and_then(Value::as_u64);
                revision.ok_or_else(|| invalid("/cursor", "must be null or what an earlier answer gave"))?
            }
        };
        let mut filter = format!("SysRevID gt {since}");
        if let Some((column, user)) = &self.choices.own_changes {
            filter = format!("{filter} and {column} ne {}", literal(user));
        }
        let columns = self.all_fields();
        let (select, top) = (columns.join(","), (limit + 1).to_string());
        let query = [
            ("$filter", filter.as_str()),
            ("$select", select.as_str()),
            ("$orderby", "SysRevID"),
            ("$top", top.as_str()),
        ];
        let mut rows = self.rest.page(&[CUSTOMER, "Customers"], &query, call).await?;
        let kept = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = rows.len() > kept;
        rows.truncate(kept);
        let last = rows.last().map_or(since, |row| whole(row, "SysRevID"));
        let items: Vec<Value> =
            rows.iter().map(|row| changed_item(&self.rest.address.company, &pick(row, &columns))).collect();
        Ok(json!({"items": items, "cursor": {"SysRevID": last}, "more": more}))
    }

    async fn latest_revision(&self, call: &Call<'_>) -> Result<u64, CallFailure> {
        let query = [("$select", "SysRevID"), ("$orderby", "SysRevID desc"), ("$top", "1")];
        let rows = self.rest.page(&[CUSTOMER, "Customers"], &query, call).await?;
        Ok(rows.first().map_or(0, |row| whole(row, "SysRevID")))
    }
}

/// A change in the shape in which a BPM directive posts it, so that a module need not know which of the two it was.
fn changed_item(company: &str, row: &Value) -> Value {
    let (number, revision) = (whole(row, "CustNum"), whole(row, "SysRevID"));
    let row_id = row.get("SysRowID").and_then(Value::as_str).unwrap_or_default();
    let payload = Map::from_iter([
        ("eventId".to_owned(), json!(format!("{row_id}/{revision}"))),
        ("company".to_owned(), json!(company)),
        ("table".to_owned(), json!("Customer")),
        ("sysRowId".to_owned(), json!(row_id)),
        ("sysRevId".to_owned(), json!(revision)),
        ("operation".to_owned(), json!("Update")),
        ("row".to_owned(), row.clone()),
    ]);
    json!({
        "id": number.to_string(), "kind": "Customer.Update", "version": revision.to_string(),
        "occurred_at_ms": null, "payload": payload,
    })
}

fn customer_filter(parameters: &Value) -> Result<String, CallFailure> {
    let fields = object_of(parameters, &["CustID", "EMailAddress", "CustNum"])?;
    match fields.keys().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["CustNum"] => Ok(format!("CustNum eq {}", whole_number(fields, "CustNum")?)),
        [name] => Ok(format!("{name} eq {}", literal(text(fields, name)?))),
        _ => Err(invalid("", "must hold one of CustID, EMailAddress and CustNum")),
    }
}
