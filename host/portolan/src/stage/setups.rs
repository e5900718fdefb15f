//! Three tenants, one for each ERP in its standard world, as a customer would set them up.

use std::path::Path;

use anyhow::{Context, bail};
use portolan_simulators::story::{CUSTOMERS, PRODUCTS, StoryCustomer, StoryProduct};
use serde_json::{Map, Value, json};

use super::{StandIn, System, TenantSetup};

impl TenantSetup {
    /// A tenant of this ERP, with the mapping from `components` (`stripe-to-epicor.wasm` …).
    ///
    /// # Errors
    /// When the mapping is not there, or the stand-in is no ERP.
    pub fn standard(erp: &StandIn, stripe: &StandIn, components: &Path) -> anyhow::Result<Self> {
        match erp.system {
            System::SapEcc => sap(erp, stripe, components),
            System::Epicor => epicor(erp, stripe, components),
            System::SagePro => sage(erp, stripe, components),
            System::Stripe => bail!("Stripe is no ERP"),
        }
    }
}

fn sap(erp: &StandIn, stripe: &StandIn, components: &Path) -> anyhow::Result<TenantSetup> {
    Ok(TenantSetup {
        name: "Northwind (SAP ECC)".to_owned(),
        module: component(components, "stripe-to-sap-ecc")?,
        connections: vec![
            ("stripe".to_owned(), read_stripe(stripe)),
            (
                "erp".to_owned(),
                json!({
                    "connector": "sap-ecc",
                    "settings": { "base_url": erp.url(), "client": "100", "settle_ms": 500 },
                    "secrets": { "user": "STRIPE_IF", "password": "Portolan-100" },
                }),
            ),
        ],
        tables: vec![
            ("materials".to_owned(), products(|product| product.sap_material)),
            ("customers".to_owned(), customers(|customer| customer.sap_customer)),
        ],
        settings: json!({
            "company_code": "1000",
            "sales_org": "1000",
            "distribution_channel": "10",
            "division": "00",
            "clearing_account": "113150",
            "default_customer": { "number": "100001" },
            "default_material": "4711",
            "user_name": "STRIPE_IF",
            "time_zone": "America/New_York",
            "account_assignments": { "473120": { "cost_centre": "4220" } },
            "flow": flow(&Accounts {
                bank: "113100",
                clearing: "113150",
                transit: "113180",
                conversion: "113170",
                disputes: "113160",
                fees: "473120",
            }),
        }),
    })
}

fn epicor(erp: &StandIn, stripe: &StandIn, components: &Path) -> anyhow::Result<TenantSetup> {
    Ok(TenantSetup {
        name: "Contoso (Epicor)".to_owned(),
        module: component(components, "stripe-to-epicor")?,
        connections: vec![
            ("stripe".to_owned(), read_stripe(stripe)),
            (
                "erp".to_owned(),
                json!({
                    "connector": "epicor",
                    "settings": {
                        "base_url": format!("{}/ERP", erp.url()),
                        "company": "EPIC06",
                        "settle_ms": 500,
                    },
                    "secrets": { "user": "portolan", "password": "Portolan-06", "api_key": "epicor-key" },
                }),
            ),
        ],
        tables: vec![
            ("parts".to_owned(), products(|product| product.epicor_part)),
            ("customers".to_owned(), customers(|customer| customer.epicor_customer)),
        ],
        settings: json!({
            "bank_account": "STRIPE",
            "default_part": "STRIPE-OTHER",
            "time_zone": "Europe/Berlin",
            "flow": flow(&Accounts {
                bank: "1010-00",
                clearing: "1190-00",
                transit: "1195-00",
                conversion: "7200-00",
                disputes: "1250-00",
                fees: "6450-00",
            }),
        }),
    })
}

fn sage(erp: &StandIn, stripe: &StandIn, components: &Path) -> anyhow::Result<TenantSetup> {
    Ok(TenantSetup {
        name: "Fabrikam (Sage Pro)".to_owned(),
        module: component(components, "stripe-to-sage-pro")?,
        connections: vec![
            ("stripe".to_owned(), read_stripe(stripe)),
            (
                "erp".to_owned(),
                json!({
                    "connector": "sage-pro",
                    "settings": { "base_url": erp.url(), "company": "01" },
                    "secrets": { "api_key": "sage-key" },
                }),
            ),
        ],
        tables: vec![
            ("items".to_owned(), products(|product| product.sage_item)),
            ("customers".to_owned(), customers(|customer| customer.sage_customer)),
        ],
        settings: json!({
            "accounts": { "clearing": "1190-000", "sales": "4000-000", "receivables": "1200-000" },
            "default_item": "STRIPE-OTHER",
            "guest_customer": "STRIPE",
            "time_zone": "UTC",
            "flow": flow(&Accounts {
                bank: "1010-000",
                clearing: "1190-000",
                transit: "1195-000",
                conversion: "7200-000",
                disputes: "1250-000",
                fees: "6450-000",
            }),
        }),
    })
}

/// The accounts of journals, as the ERP's standard world has them.
struct Accounts {
    bank: &'static str,
    clearing: &'static str,
    transit: &'static str,
    conversion: &'static str,
    disputes: &'static str,
    fees: &'static str,
}

/// What the flows are to do: everything that they do by themselves.
fn flow(accounts: &Accounts) -> Value {
    json!({ "accounts": {
        "bank": accounts.bank,
        "clearing": accounts.clearing,
        "transit": accounts.transit,
        "conversion": accounts.conversion,
        "disputes": accounts.disputes,
        "fees": { "default": accounts.fees },
    }})
}

fn read_stripe(stand_in: &StandIn) -> Value {
    json!({
        "connector": "stripe",
        // The default stays below Stripe's own limits; a stand-in has none.
        "settings": { "base_url": stand_in.url(), "requests_per_second": 1000 },
        "secrets": { "api_key": "sk_test_portolan" },
    })
}

/// A compiled guest.
///
/// # Errors
/// When it is not there: `cargo xtask guests` makes it.
pub fn component(components: &Path, name: &str) -> anyhow::Result<Vec<u8>> {
    let path = components.join(format!("{name}.wasm"));
    std::fs::read(&path).with_context(|| format!("{}: run `cargo xtask guests`", path.display()))
}

fn products(number: impl Fn(&StoryProduct) -> &'static str) -> Value {
    Value::Object(
        PRODUCTS.iter().map(|product| (product.id.to_owned(), json!(number(product)))).collect::<Map<_, _>>(),
    )
}

fn customers(number: impl Fn(&StoryCustomer) -> &'static str) -> Value {
    let rows = CUSTOMERS.iter().map(|customer| (customer.id.to_owned(), json!(number(customer))));
    Value::Object(rows.collect::<Map<_, _>>())
}
