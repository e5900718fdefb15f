//! A customer that changed in Sage Pro becomes, or changes, a customer in Stripe.
//!
//! Sage Pro has no reliable time of change, so the gateway compares rows by a hash, and the host asks it on a
//! schedule which are new (`customers.changed`). The event is `customer.changed`; its payload is the row as the
//! gateway answers it, or `{"CustNo", "Deleted": true}`.
//!
//! | Sage Pro | Stripe |
//! |---|---|
//! | `CustNo` | metadata `erp_id` |
//! | `Company`, else `Contact` | `name` |
//! | `Email`, `Phone` | `email`, `phone` |
//! | `Address1`, `Address2`, `City`, `State`, `Zip`, `Country` | `address`; the country by its two letters |
//! | `Currency` | metadata, by setting |
//! | `CreditHold` | metadata `erp_state` = `blocked`, and an alert |
//! | a row that is gone | metadata `erp_state` = `deleted`, and an alert |
//! | `ExternalRef` | where Stripe's id is read, and written when it is empty |
//!
//! What the flows to Sage Pro wrote comes back with the next poll, says nothing new, and ends there.

mod settings;

use portolan_sdk::{
    back::{self, Change, ErpCustomer, OwnField},
    prelude::*,
    sage_pro,
    stripe::Address,
};
use serde_json::{Map, Value};
pub use settings::Settings;

/// The mapping.
#[derive(Debug)]
pub struct SageProToStripe;

impl Mapping for SageProToStripe {
    fn describe() -> Description {
        let description = Description::new(
            "sage-pro-to-stripe",
            env!("CARGO_PKG_VERSION"),
            "A customer that changed in Sage Pro becomes, or changes, a customer in Stripe.",
        )
        .serves("sage-pro", "customer.changed")
        .optional_connection(back::ERP, "sage-pro", &["customer.update"])
        .settings_schema(include_str!("../settings.schema.json"));
        back::describe(description)
    }

    fn map(cx: &Cx<'_>) -> Result<Plan, Stop> {
        let settings: Settings = cx.settings()?;
        let row: Map<String, Value> = cx.payload()?;
        back::customer(cx, &settings.back, &customer(&settings, &row)?)
    }
}

/// The row in no ERP's words.
fn customer(settings: &Settings, row: &Map<String, Value>) -> Result<ErpCustomer, Stop> {
    // FoxPro pads every text to its column's width.
    let text = |name: &str| {
        row.get(name)
            .and_then(Value::as_str)
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    let flag = |name: &str| row.get(name).and_then(Value::as_bool).unwrap_or(false);
    let number = text("CustNo").unwrap_or_default();
    let number = sage_pro::CUST_NO.required(&number).at("/CustNo")?;
    let own = OwnField {
        value: text("ExternalRef"),
        operation: "customer.update",
        body: json!({"CustNo": number, "ExternalRef": null}),
        pointer: "/ExternalRef",
    };
    Ok(ErpCustomer {
        system: "sage-pro",
        number,
        change: if flag("Deleted") { Change::Deleted } else { Change::Changed },
        blocked: flag("CreditHold"),
        name: text("Company").or_else(|| text("Contact")),
        email: text("Email"),
        phone: text("Phone"),
        address: Address {
            line1: text("Address1"),
            line2: text("Address2"),
            city: text("City"),
            state: text("State"),
            postal_code: text("Zip"),
            country: text("Country").and_then(|country| settings.back.country(&country)),
        },
        language: settings.language.clone(),
        currency: text("Currency"),
        own: Some(own),
        ..ErpCustomer::default()
    })
}

portolan_sdk::mapping!(SageProToStripe);
