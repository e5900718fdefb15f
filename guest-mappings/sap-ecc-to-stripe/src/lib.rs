//! A customer that SAP ECC sends as DEBMAS becomes, or changes, a customer in Stripe.
//!
//! SAP posts IDocs to a hook; the host takes a post apart, so that an event is one IDoc
//! (`<DEBMAS07><IDOC BEGIN="1">…`). DEBMAS06 and 07 are alike here. IDocs overtake each other: what is older (CREDAT
//! and CRETIM) than the change that was carried out last is skipped.
//!
//! | DEBMAS | Stripe |
//! |---|---|
//! | E1KNA1M-KUNNR, without leading zeros | metadata `erp_id` |
//! | NAME1 to NAME4 | `name` |
//! | TELF1 | `phone` |
//! | STRAS, ORT01, REGIO, PSTLZ, LAND1 | `address` |
//! | SPRAS | `preferred_locales`, by setting |
//! | E1KNVVM-WAERS of the first sales area | metadata, by setting |
//! | a field of an extension, or BAPI_CUSTOMER_GETDETAIL1, by setting | `email`: DEBMAS has none |
//! | LOEVM, or MSGFN `003` | metadata `erp_state` = `deleted`, and an alert |
//! | SPERR, AUFSD, LIFSD or FAKSD, by setting | metadata `erp_state` = `blocked`, and an alert |
//!
//! SAP's customer has no field of its own for Stripe's id: it is kept in the references, and in Stripe's metadata.

mod idoc;
mod settings;

use idoc::Segment;
use portolan_sdk::{
    back::{self, Change, ErpCustomer, Party},
    prelude::*,
    sap,
    stripe::Address,
};
use serde_json::Value;
pub use settings::{Place, SalesArea, Settings};

/// The mapping.
#[derive(Debug)]
pub struct SapEccToStripe;

impl Mapping for SapEccToStripe {
    fn describe() -> Description {
        let description = Description::new(
            "sap-ecc-to-stripe",
            env!("CARGO_PKG_VERSION"),
            "A customer that SAP ECC sends as DEBMAS becomes, or changes, a customer in Stripe.",
        )
        .serves("sap-ecc", "DEBMAS")
        .optional_connection(back::ERP, "sap-ecc", &["customer.get"])
        .settings_schema(include_str!("../settings.schema.json"));
        back::describe(description)
    }

    fn map(cx: &Cx<'_>) -> Result<Plan, Stop> {
        let settings: Settings = cx.settings()?;
        let idoc = idoc::read(&cx.event().payload)
            .map_err(|error| Stop::reject("", "unreadable-payload", error.to_string()))?;
        let missing =
            |segment: &str| Stop::reject("", "missing", format!("the IDoc has no segment {segment}"));
        let control = idoc.child("EDI_DC40").ok_or_else(|| missing("EDI_DC40"))?;
        if let Some(other) = control.field("MESTYP").filter(|kind| kind != "DEBMAS") {
            return Err(Stop::skip(format!("a message of type {other}")));
        }
        let master = idoc.child("E1KNA1M").ok_or_else(|| missing("E1KNA1M"))?;
        let group = master.field("KTOKD");
        let other =
            |group: &String| !settings.account_groups.is_empty() && !settings.account_groups.contains(group);
        if let Some(group) = group.filter(other) {
            return Err(Stop::skip(format!("of account group {group}, which the settings do not name")));
        }
        let mut customer = customer(&settings, control, master)?;
        customer.email = email(cx, &settings, &idoc, &customer)?;
        back::customer(cx, &settings.back, &customer)
    }
}

/// The segment in no ERP's words.
fn customer(settings: &Settings, control: &Segment, master: &Segment) -> Result<ErpCustomer, Stop> {
    let number = sap::CUSTOMER.required(&master.field("KUNNR").unwrap_or_default()).at("/E1KNA1M/KUNNR")?;
    let names: Vec<String> =
        ["NAME1", "NAME2", "NAME3", "NAME4"].iter().filter_map(|f| master.field(f)).collect();
    let blocked = settings.blocked_by.iter().any(|flag| master.field(flag).is_some());
    let title = master.field("ANRED").unwrap_or_default();
    let party = if settings.persons.contains(&title) {
        Party::Person
    } else if settings.companies.contains(&title) {
        Party::Company
    } else {
        Party::Unknown
    };
    let changed_at = match (control.field("CREDAT"), control.field("CRETIM")) {
        (Some(day), Some(time)) => {
            Some(back::sap_seconds(&day, &time, &settings.time_zone).at("/EDI_DC40/CREDAT")?)
        }
        _ => None,
    };
    Ok(ErpCustomer {
        system: "sap-ecc",
        number: without_zeros(&number).to_owned(),
        change: change(master)?,
        blocked,
        name: Some(names.join(" ")).filter(|name| !name.is_empty()),
        party,
        phone: master.field("TELF1"),
        address: Address {
            line1: master.field("STRAS"),
            line2: None,
            city: master.field("ORT01"),
            state: master.field("REGIO"),
            postal_code: master.field("PSTLZ"),
            country: master.field("LAND1").and_then(|country| settings.back.country(&country)),
        },
        language: master.field("SPRAS").and_then(|letter| settings.languages.get(&letter).cloned()),
        currency: master.descendant("E1KNVVM").and_then(|area| area.field("WAERS")),
        changed_at,
        ..ErpCustomer::default()
    })
}

/// What MSGFN says, and the deletion flag.
fn change(master: &Segment) -> Result<Change, Stop> {
    let function = master.field("MSGFN");
    if master.field("LOEVM").is_some() {
        return Ok(Change::Deleted);
    }
    match function.as_deref() {
        Some("003") => Ok(Change::Deleted),
        Some("009") => Ok(Change::Created),
        // An IDoc that is sent by hand may leave it out, and 005 replaces: both tell the whole.
        Some("004" | "005") | None => Ok(Change::Changed),
        Some(other) => {
            let text = format!("MSGFN {other} is none of 003, 004, 005, 009");
            Err(Stop::reject("/E1KNA1M/MSGFN", "unknown-function", text))
        }
    }
}

/// ALPHA without its padding.
fn without_zeros(number: &str) -> &str {
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    let bare = number.trim_start_matches('0');
    if digits && !bare.is_empty() { bare } else { number }
}

/// The e-mail address: of the IDoc, else of the customer's details.
fn email(
    cx: &Cx<'_>,
    settings: &Settings,
    idoc: &Segment,
    customer: &ErpCustomer,
) -> Result<Option<String>, Stop> {
    let place = settings.email.as_ref();
    let own = place.and_then(|place| idoc.descendant(&place.segment)?.field(&place.field));
    let Some(area) =
        settings.sales_area.as_ref().filter(|_| own.is_none() && customer.change != Change::Deleted)
    else {
        return Ok(own);
    };
    let asked = json!({
        "CUSTOMERNO": sap::CUSTOMER.alpha(&customer.number)?, "PI_SALESORG": area.sales_org,
        "PI_DISTR_CHAN": area.distr_chan, "PI_DIVISION": area.division,
    });
    let details: Option<Value> = cx.query(back::ERP, "customer.get", asked)?;
    let said = |structure: &str| {
        let text = details.as_ref()?.get(structure)?.get("E_MAIL")?.as_str()?.trim();
        Some(text.to_owned()).filter(|text| !text.is_empty())
    };
    Ok(said("PE_PERSONALDATA").or_else(|| said("PE_COMPANYDATA")))
}

portolan_sdk::mapping!(SapEccToStripe);
