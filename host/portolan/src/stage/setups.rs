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
            "accounts": { "clearing": "1190-000", "sales": "4000-000" },
            "default_item": "STRIPE-OTHER",
            "guest_customer": "STRIPE",
            "time_zone": "UTC",
        }),
    })
}

fn read_stripe(stand_in: &StandIn) -> Value {
    json!({
        "connector": "stripe",
        "settings": { "base_url": stand_in.url() },
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
