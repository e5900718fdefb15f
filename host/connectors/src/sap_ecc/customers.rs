//! Customers: by number, by name, by e-mail address. The standard has no unique key for the latter: the address
//! is looked for in ADR6, the customers of its number in KNA1.

use portolan_domain::verdict::CallFailure;
use serde_json::{Map, Value, json};

use super::{
    Ecc,
    find::{alpha, field, several},
    messages,
    soap::{Function, Reply},
    table::{Condition, TableQuestion},
};
use crate::{
    call::Call,
    parameters::{invalid, object_of, text},
};

/// Addresses of one e-mail address that are looked at.
const ADDRESSES_MAX: u64 = 50;
/// Customers of one name that are looked at.
const CUSTOMERS_MAX: u64 = 50;
/// What is read of a customer.
const FIELDS: &[&str] = &["KUNNR", "NAME1", "ORT01", "PSTLZ", "LAND1", "ADRNR", "LOEVM"];

type Row = Map<String, Value>;

impl Ecc {
    /// `customer.get`
    pub(super) async fn customer(
        &self,
        parameters: &Value,
        call: &Call<'_>,
    ) -> Result<Option<Value>, CallFailure> {
        let names = ["CUSTOMERNO", "PI_SALESORG", "PI_DISTR_CHAN", "PI_DIVISION"];
        let fields = object_of(parameters, &names)?;
        for name in names {
            text(fields, name)?;
        }
        // Its answers are structures only, RETURN among them; these come unasked.
        let function = Function { name: "BAPI_CUSTOMER_GETDETAIL1", parameters: fields, tables_out: &[] };
        let mut values = match self.ask(&function, call).await? {
            Reply::Refused(fault) if fault.name == "NOT_FOUND" => return Ok(None),
            reply @ (Reply::Done(_) | Reply::Refused(_)) => reply.done()?,
        };
        let found = messages::found(&values, "RETURN")?;
        values.remove("RETURN");
        Ok(found.then_some(Value::Object(values)))
    }

    /// The customer of this number.
    pub(super) async fn customer_row(
        &self,
        number: &str,
        call: &Call<'_>,
    ) -> Result<Option<Value>, CallFailure> {
        let found = self.customers(vec![Condition::equal("KUNNR", &alpha(number))?], call).await?;
        Ok(found.first().map(answer))
    }

    /// `customer.find`
    pub(super) async fn find_customer(
        &self,
        parameters: &Value,
        call: &Call<'_>,
    ) -> Result<Option<Value>, CallFailure> {
        let fields = object_of(parameters, &["CUSTOMERNO", "NAME1", "PSTLZ"])?;
        if fields.contains_key("CUSTOMERNO") {
            return self.customer_row(text(fields, "CUSTOMERNO")?, call).await;
        }
        if !fields.contains_key("NAME1") {
            return Err(invalid("", "needs CUSTOMERNO, or NAME1 and perhaps PSTLZ"));
        }
        let mut conditions = vec![Condition::text("NAME1", text(fields, "NAME1")?, "/NAME1")?];
        if fields.contains_key("PSTLZ") {
            conditions.push(Condition::text("PSTLZ", text(fields, "PSTLZ")?, "/PSTLZ")?);
        }
        one(self.customers(conditions, call).await?, "several customers have this name")
    }

    /// `customer.by-email`: as it is written, else in lower-case.
    pub(super) async fn customer_by_email(
        &self,
        parameters: &Value,
        call: &Call<'_>,
    ) -> Result<Option<Value>, CallFailure> {
        let email = text(object_of(parameters, &["E_MAIL"])?, "E_MAIL")?;
        let mut addresses = self.addresses(email, call).await?;
        let lower = email.to_lowercase();
        if addresses.is_empty() && lower != email {
            addresses = self.addresses(&lower, call).await?;
        }
        let mut customers: Vec<Row> = Vec::new();
        for address in &addresses {
            for row in self.customers(vec![Condition::equal("ADRNR", address)?], call).await? {
                if !customers.contains(&row) {
                    customers.push(row);
                }
            }
        }
        one(customers, "several customers have this e-mail address")
    }

    /// The numbers of the addresses that have this e-mail address. Those of contact persons (PERSNUMBER) are left
    /// out: their customer is somebody else.
    async fn addresses(&self, email: &str, call: &Call<'_>) -> Result<Vec<String>, CallFailure> {
        let conditions =
            vec![Condition::text("SMTP_ADDR", email, "/E_MAIL")?, Condition::equal("PERSNUMBER", "")?];
        let question =
            TableQuestion { table: "ADR6", fields: &["ADDRNUMBER"], conditions, rows_max: ADDRESSES_MAX };
        let rows = self.rows(&question, call).await?;
        let mut numbers: Vec<String> = rows.iter().map(|row| field(row, "ADDRNUMBER").to_owned()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        Ok(numbers)
    }

    /// Customers that are not marked for deletion.
    async fn customers(&self, conditions: Vec<Condition>, call: &Call<'_>) -> Result<Vec<Row>, CallFailure> {
        let question = TableQuestion { table: "KNA1", fields: FIELDS, conditions, rows_max: CUSTOMERS_MAX };
        let mut rows = self.rows(&question, call).await?;
        rows.retain(|row| field(row, "LOEVM").is_empty());
        Ok(rows)
    }
}

fn one(customers: Vec<Row>, message: &str) -> Result<Option<Value>, CallFailure> {
    match customers.as_slice() {
        [] => Ok(None),
        [customer] => Ok(Some(answer(customer))),
        _ => Err(several(message, &json!(customers))),
    }
}

fn answer(row: &Row) -> Value {
    json!({
        "CUSTOMERNO": field(row, "KUNNR"),
        "NAME1": field(row, "NAME1"),
        "ORT01": field(row, "ORT01"),
        "PSTLZ": field(row, "PSTLZ"),
        "LAND1": field(row, "LAND1"),
        "ADRNR": field(row, "ADRNR"),
    })
}
