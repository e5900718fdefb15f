//! A customer that Epicor tells of becomes, or changes, a customer in Stripe.
//!
//! Epicor has no webhooks: a directive of its business process management posts
//! `{"eventId","company","table","sysRowId","sysRevId","operation","row"}` (optional: `"user"`, who changed it) when a
//! customer is saved, and because a directive may lose a post, the host also asks on a schedule which rows have a
//! higher `SysRevID`. Both make events `Customer.Add`, `Customer.Update`, `Customer.Delete`, and both may tell the
//! same: what says nothing new ends here.
//!
//! | Epicor | Stripe |
//! |---|---|
//! | `CustNum` | metadata `erp_id` |
//! | `Name` | `name` |
//! | `EMailAddress`, `PhoneNum` | `email`, `phone` |
//! | `Address1`, `Address2`, `Address3`, `City`, `State`, `Zip`, `Country` | `address`; the country by its two letters |
//! | `CurrencyCode` | metadata, by setting |
//! | `Inactive`, `CreditHold` | metadata `erp_state` = `blocked`, and an alert |
//! | operation `Delete` | metadata `erp_state` = `deleted`, and an alert |
//! | `ExternalCRMCustomerID` | where Stripe's id is read, and written when it is empty |

mod settings;

use portolan_sdk::{
    back::{self, Change, ErpCustomer, OwnField},
    prelude::*,
    stripe::Address,
    text::Field,
};
use serde::Deserialize;
use serde_json::{Map, Value};
pub use settings::Settings;

/// A customer's number: 32 bits.
const CUST_NUM: Field = Field::new("CustNum", 11);

/// The mapping.
#[derive(Debug)]
pub struct EpicorToStripe;

/// What a directive posts.
#[derive(Debug, Deserialize)]
struct Posted {
    company: Option<String>,
    table: Option<String>,
    operation: Option<String>,
    user: Option<String>,
    row: Map<String, Value>,
}

impl Mapping for EpicorToStripe {
    fn describe() -> Description {
        let description = Description::new(
            "epicor-to-stripe",
            env!("CARGO_PKG_VERSION"),
            "A customer that Epicor tells of becomes, or changes, a customer in Stripe.",
        )
        .serves("epicor", "Customer.Add")
        .serves("epicor", "Customer.Update")
        .serves("epicor", "Customer.Delete")
        .serves("epicor", "customer.changed")
        .optional_connection(back::ERP, "epicor", &["customer.update"])
        .settings_schema(include_str!("../settings.schema.json"));
        back::describe(description)
    }

    fn map(cx: &Cx<'_>) -> Result<Plan, Stop> {
        let settings: Settings = cx.settings()?;
        let posted = posted(cx)?;
        if posted.table.as_deref().is_some_and(|table| !table.eq_ignore_ascii_case("Customer")) {
            return Err(Stop::skip("not the table Customer"));
        }
        let company = posted.company.clone().or_else(|| text(&posted.row, "Company"));
        if company
            .as_ref()
            .is_some_and(|own| !settings.companies.is_empty() && !settings.companies.contains(own))
        {
            return Err(Stop::skip("of a company that the settings do not name"));
        }
        let other =
            |kind: &String| !settings.customer_types.is_empty() && !settings.customer_types.contains(kind);
        if let Some(kind) = text(&posted.row, "CustomerType").filter(other) {
            return Err(Stop::skip(format!("of customer type {kind}, which the settings do not name")));
        }
        back::customer(cx, &settings.back, &customer(cx, &settings, &posted)?)
    }
}

/// What a directive posted; a bare row counts too.
fn posted(cx: &Cx<'_>) -> Result<Posted, Stop> {
    let payload: Map<String, Value> = cx.payload()?;
    if payload.contains_key("row") {
        return cx.payload();
    }
    Ok(Posted { company: None, table: None, operation: None, user: None, row: payload })
}

fn text(row: &Map<String, Value>, name: &str) -> Option<String> {
    let text = match row.get(name)? {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    Some(text).filter(|text| !text.is_empty())
}

/// The row in no ERP's words.
fn customer(cx: &Cx<'_>, settings: &Settings, posted: &Posted) -> Result<ErpCustomer, Stop> {
    let row = &posted.row;
    let text = |name: &str| text(row, name);
    let number = CUST_NUM.required(&text("CustNum").unwrap_or_default()).at("/row/CustNum")?;
    let numeric: i64 = number.parse().map_err(|_| {
        Stop::reject("/row/CustNum", "not-a-number", format!("{number:?} is no customer number of Epicor"))
    })?;
    let own = OwnField {
        value: text("ExternalCRMCustomerID"),
        operation: "customer.update",
        body: json!({"CustNum": numeric, "ExternalCRMCustomerID": null}),
        pointer: "/ExternalCRMCustomerID",
    };
    let blocked = |name: &String| row.get(name).and_then(Value::as_bool).unwrap_or(false);
    Ok(ErpCustomer {
        system: "epicor",
        number,
        change: change(cx, posted)?,
        blocked: settings.blocked_by.iter().any(blocked),
        name: text("Name"),
        email: text("EMailAddress"),
        phone: text("PhoneNum"),
        address: Address {
            line1: text("Address1"),
            // Stripe has two lines.
            line2: match (text("Address2"), text("Address3")) {
                (Some(second), Some(third)) => Some(format!("{second}, {third}")),
                (second, third) => second.or(third),
            },
            city: text("City"),
            state: text("State"),
            postal_code: text("Zip"),
            country: text("Country").and_then(|country| settings.back.country(&country)),
        },
        language: settings.language.clone(),
        currency: text("CurrencyCode"),
        changed_at: settings
            .changed_field
            .as_ref()
            .and_then(|field| text(field))
            .map(|at| back::timestamp(&at).at("/row"))
            .transpose()?,
        changed_by: posted.user.clone().or_else(|| text(settings.user_field.as_ref()?)),
        own: Some(own),
        ..ErpCustomer::default()
    })
}

/// What happened: by the post's operation, else by the event's kind.
fn change(cx: &Cx<'_>, posted: &Posted) -> Result<Change, Stop> {
    let kind = cx.event().kind.rsplit('.').next().unwrap_or_default();
    match posted.operation.as_deref().unwrap_or(kind) {
        "Add" | "A" | "Insert" => Ok(Change::Created),
        "Update" | "U" | "changed" => Ok(Change::Changed),
        "Delete" | "D" => Ok(Change::Deleted),
        other => Err(Stop::reject(
            "/operation",
            "unknown-operation",
            format!("{other:?} is not Add, Update or Delete"),
        )),
    }
}

portolan_sdk::mapping!(EpicorToStripe);
