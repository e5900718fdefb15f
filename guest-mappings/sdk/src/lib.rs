//! For the authors of mapping modules.
//!
//! A module is a function from data to data: it is told an event, settings and facts, and returns a plan. This
//! crate makes that read like straight-line code, and brings what money and ERPs demand of it.
//!
//! | you want | look at |
//! |---|---|
//! | to learn it, from the beginning | the [`book`] |
//! | to write a mapping | [`Mapping`], [`mapping!`], [`Cx`], [`Stop`] |
//! | to say what it is and may do | [`contract::Description`] |
//! | to return what shall be done | [`contract::Plan`], [`contract::Delivery`], [`Check`] |
//! | to read Stripe's objects | [`stripe`] |
//! | Stripe's flows, and write an ERP's side only | [`flow`] |
//! | an ERP's customers in Stripe | [`back`] |
//! | exact amounts, splits, dates | [`money`], [`date`] |
//! | names and addresses in parts, rules and value maps of a tenant | [`person`], [`address`], [`choose`] |
//! | the formats of an ERP | [`sap`], [`epicor`], [`sage_pro`], [`text`], [`short`] |
//! | to test it with `cargo test` | [`testing`] |
//!
//! ```
//! use portolan_sdk::{money, prelude::*, stripe};
//!
//! struct ChargeToOrder;
//!
//! impl Mapping for ChargeToOrder {
//!     fn describe() -> Description {
//!         Description::new("charge-to-order", "1.0.0", "A charge becomes an order.")
//!             .serves("stripe", "charge.succeeded")
//!             .connection("erp", "http", &["request.post"])
//!             .table("customers", "Stripe customer to ours")
//!     }
//!
//!     fn map(cx: &Cx<'_>) -> Result<Plan, Stop> {
//!         let charge: stripe::Charge = stripe::object(cx)?;
//!         let captured = charge.captured()?;
//!         let buyer = charge.customer.as_deref().ok_or_else(|| Stop::skip("a guest"))?;
//!         let ours: Option<String> = cx.lookup("customers", buyer)?;
//!         let ours = ours.ok_or_else(|| Stop::reject("/data/object/customer", "unknown-customer", buyer))?;
//!         let amount = captured.decimal()?;
//!         let body = json!({"path": "/orders", "body": {"customer": ours, "amount": amount.to_string()}});
//!         Ok(Plan::new().deliver(Delivery::new("order", "erp", "request.post", body)))
//!     }
//! }
//!
//! portolan_sdk::mapping!(ChargeToOrder);
//! # fn main() {}
//! ```

// The test charge has more fields than serde_json's macro takes by default.
#![recursion_limit = "256"]

pub mod address;
pub mod ask;
pub mod back;
pub mod bindings;
#[cfg(not(target_family = "wasm"))]
pub mod book;
pub mod choose;
pub mod contract;
mod cx;
pub mod date;
mod describe;
pub mod epicor;
pub mod flow;
#[cfg(not(target_family = "wasm"))]
pub mod json;
pub mod log;
pub mod money;
pub mod person;
mod plan;
pub mod run;
pub mod sage_pro;
pub mod sap;
pub mod short;
mod stop;
pub mod stripe;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
pub mod text;

pub use cx::Cx;
pub use plan::Check;
pub use stop::{At, Stop};

/// What nearly every mapping uses.
pub mod prelude {
    pub use serde_json::json;

    pub use crate::{
        At, Check, Cx, Mapping, Stop,
        ask::Counterparts,
        contract::{Delivery, Description, Plan, Severity},
    };
}

/// A mapping: what it is, and what it makes of an event. Exported with [`mapping!`].
pub trait Mapping {
    /// What the module is and may do. Called once, at upload.
    fn describe() -> contract::Description;

    /// What follows from an event. Called again, from the beginning, when facts have arrived; so it may
    /// depend on nothing but the context.
    ///
    /// # Errors
    /// Every end that is not a plan to carry out: missing facts, a skip, a wait, a hold, a refusal.
    fn map(cx: &Cx<'_>) -> Result<contract::Plan, Stop>;
}

/// Exports a [`Mapping`] as this crate's component, and gives the crate the same two functions natively:
/// `describe()` and `transform(&Input)`, for tests and benches.
#[macro_export]
macro_rules! mapping {
    ($mapping:ty) => {
        /// What the module is and may do.
        #[must_use]
        pub fn describe() -> $crate::contract::Description {
            <$mapping as $crate::Mapping>::describe()
        }

        /// One call of the mapping, as the sandbox makes it.
        #[must_use]
        pub fn transform(input: &$crate::contract::Input) -> $crate::contract::Outcome {
            $crate::run::transform::<$mapping>(input)
        }

        #[cfg(target_family = "wasm")]
        #[allow(unsafe_code, reason = "the component's exports, as wit-bindgen writes them")]
        const _: () = {
            struct Component;

            impl $crate::bindings::exports::portolan::mapping::mapper::Guest for Component {
                fn describe() -> $crate::contract::Description {
                    $crate::run::log_panics();
                    describe()
                }

                fn transform(input: $crate::contract::Input) -> $crate::contract::Outcome {
                    $crate::run::log_panics();
                    transform(&input)
                }
            }

    $crate::bindings::export!(Component with_types_in $crate::bindings);
        };
    };
}
