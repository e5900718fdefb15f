//! A captured Stripe charge becomes two documents in SAP ECC: a sales order for what was bought, then an FI
//! document of type `DZ` for what was paid, assigned to the order.
//!
//! | document | operation | carries the charge in | found again by |
//! |---|---|---|---|
//! | sales order | `sales-order.create` (`BAPI_SALESORDER_CREATEFROMDAT2`) | `PURCH_NO_C` (the id) | `PURCH_NO_C` |
//! | payment | `accounting-document.post` (`BAPI_ACC_DOCUMENT_POST`) | `REF_DOC_NO` (short reference), `ITEM_TEXT` (the id) | company code, year, type, `REF_DOC_NO` |
//!
//! Both are looked for *always*, before the first send too. SAP refuses neither a repeated customer order number
//! nor a repeated reference, and the host's own memory does not know what an earlier integration, a second
//! source or a person has posted. One read costs milliseconds; a payment posted twice costs a morning. The payment
//! must not rely on the order alone: where the order was found, the payment is likely to be there as well.
//!
//! The customer is the one remembered for `stripe.customer`, else the lookup table's, else the settings' default
//! (a one-time customer, as a rule), else the charge waits for a person. Plans are ordered by the charge (the
//! host's default): no document of one charge depends on another charge, so a stuck one blocks nobody else.

mod order;
mod payment;
mod settings;

use portolan_sdk::{
    ask::{self, Row},
    date,
    date::Date,
    money::Money,
    prelude::*,
    sap,
    stripe::{self, Buyer, Charge, Line, Lines},
};
use serde_json::{Map, Value};
pub use settings::{DefaultCustomer, Settings};

/// The module's name for the SAP system.
const ERP: &str = "erp";
/// The module's name for Stripe's API.
const STRIPE: &str = "stripe";
/// Stripe product to SAP material.
const MATERIALS: &str = "materials";
/// Stripe customer to SAP customer.
const CUSTOMERS: &str = "customers";

/// Key of the sales order in the plan.
const ORDER: &str = "order";
/// Key of the payment in the plan.
const PAYMENT: &str = "payment";

/// The mapping.
#[derive(Debug)]
pub struct StripeToSapEcc;

/// All that the documents are made of.
struct Sale {
    settings: Settings,
    charge: Charge,
    captured: Money,
    day: Date,
    customer: SapCustomer,
    lines: Vec<(Line, Option<Row>)>,
}

/// Who is charged in SAP.
struct SapCustomer {
    /// Padded.
    number: String,
    /// Name and address to go with a one-time customer.
    one_time: Option<Buyer>,
}

impl SapCustomer {
    /// Name and address of a one-time customer, which both documents carry.
    fn address(&self) -> Result<Option<Map<String, Value>>, Stop> {
        let Some(buyer) = &self.one_time else { return Ok(None) };
        let names = ["NAME", "NAME_2", "NAME_3", "NAME_4"].into_iter().zip(sap::name_lines(&buyer.name)?);
        let mut fields: Map<String, Value> =
            names.map(|(field, line)| (field.to_owned(), json!(line))).collect();
        let address = &buyer.address;
        for (field, value) in [
            (sap::STREET, &address.line1),
            (sap::POSTL_CODE, &address.postal_code),
            (sap::CITY, &address.city),
            (sap::COUNTRY, &address.country),
        ] {
            if let Some(value) = value {
                fields.insert(field.name().to_owned(), json!(field.text(value)?));
            }
        }
        Ok(Some(fields))
    }
}

impl Mapping for StripeToSapEcc {
    fn describe() -> Description {
        Description::new(
            "stripe-to-sap-ecc",
            env!("CARGO_PKG_VERSION"),
            "A captured Stripe charge becomes a sales order and its payment in SAP ECC.",
        )
        .serves("stripe", "charge.succeeded")
        .connection(
            ERP,
            "sap-ecc",
            &[
                "sales-order.create",
                "sales-order.find",
                "accounting-document.post",
                "accounting-document.find",
            ],
        )
        .connection(
            STRIPE,
            "stripe",
            &["checkout-session.by-payment-intent", "invoice.get", "invoice.by-payment-intent"],
        )
        .table(
            MATERIALS,
            "Stripe product (prod_…, or what metadata say; \"shipping\" for shipping) to SAP material",
        )
        .table(CUSTOMERS, "Stripe customer (cus_…) to SAP customer number")
        .settings_schema(include_str!("../settings.schema.json"))
    }

    fn map(cx: &Cx<'_>) -> Result<Plan, Stop> {
        let settings: Settings = cx.settings()?;
        let charge: Charge = stripe::object(cx)?;
        let captured = charge.captured()?;
        let day = date::in_zone(charge.created, &settings.time_zone).at("/data/object/created")?;

        let buyer = charge.customer.as_deref();
        let (reference, row, answers) = cx.all((
            buyer.map(|id| ask::reference("stripe.customer", id)),
            buyer.map(|id| ask::lookup::<Row>(CUSTOMERS, id)),
            Lines::ask(&charge, STRIPE, &settings.line_sources),
        ))?;
        let known = reference.as_ref().and_then(|reference| reference.id("sap-ecc")).map(str::to_owned);
        let known = known.or_else(|| row.flatten().and_then(|row| row.main("customer")));
        let customer = customer(known, &settings, &charge)?;

        let lines = Lines::of(&charge, answers, &settings.line_sources)?;
        let reduced = lines.reduced;
        let rows = cx.all(lines.row_questions(MATERIALS))?;
        let lines = lines.with_rows(rows);
        let sale = Sale { settings, charge, captured, day, customer, lines };
        let plan = Plan::new().deliver(order::delivery(&sale)?).deliver(payment::delivery(&sale)?);
        Ok(if reduced { tell_reduced(plan, &sale) } else { plan })
    }
}

/// The customer to charge: the known one, else the default.
fn customer(known: Option<String>, settings: &Settings, charge: &Charge) -> Result<SapCustomer, Stop> {
    if let Some(number) = known {
        return Ok(SapCustomer { number: sap::CUSTOMER.alpha(&number)?, one_time: None });
    }
    if let Some(default) = &settings.default_customer {
        let number = sap::CUSTOMER.alpha(&default.number)?;
        return Ok(SapCustomer { number, one_time: default.one_time.then(|| Buyer::of(charge, None)) });
    }
    let text = match charge.customer.as_deref() {
        Some(id) => format!("no SAP customer is known for {id}: add it to the lookup table {CUSTOMERS}"),
        None => "the charge has no customer, and the settings name no default_customer".to_owned(),
    };
    Err(Stop::reject("/data/object/customer", "unknown-customer", text))
}

fn tell_reduced(plan: Plan, sale: &Sale) -> Plan {
    let detail =
        json!({"charge": sale.charge.id, "authorized": sale.charge.amount, "captured": sale.captured.minor});
    plan.alert(
        Severity::Info,
        "partial-capture",
        "The lines of a partly captured charge were reduced",
        &detail,
    )
}

portolan_sdk::mapping!(StripeToSapEcc);
