//! Stripe's API: reads, the few writes that lead back to Stripe, and the sweep of its events.
//! Operations and settings: `docs/connectors.md`. Source of the protocol: Stripe's API reference, version
//! 2026-07-29.dahlia.
//!
//! | module | holds |
//! |---|---|
//! | `api` | requests, pages, ids |
//! | `refusals` | what an answer other than success means |
//! | `reads`, `writes`, `changes` | the operations |
//! | `form` | bodies of API v1 |
//! | `pace` | the client's own speed limit |

mod api;
mod changes;
mod form;
mod pace;
mod reads;
mod refusals;
mod writes;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use http::{HeaderMap, HeaderName};
use portolan_domain::{Secret, class::WriteClass, verdict::CallFailure};
use serde_json::Value;

use self::{api::Api, pace::Pace};
use crate::{
    ConfigError, Connection, ConnectionConfig, Connector, Effect, Found, Operation,
    call::{Call, plain_header, secret_header},
    connection::{Guarded, Scrub, System},
    outbound::Outbound,
    settings::{Settings, refuse, refuse_secret},
};

/// How long the key of a write may be relied on: Stripe forgets keys after a day, and an hour is left for clocks and
/// for the call itself. Source: "Idempotent requests": keys can be removed after they are at least 24 hours old.
const KEY_WINDOW: Duration = Duration::from_secs(23 * 60 * 60);

const KEYED: Effect = Effect::Write(WriteClass::NativeKey { window: KEY_WINDOW });
/// Stripe takes no key for DELETE, and none is needed: what is deleted stays deleted.
const REPEATABLE: Effect = Effect::Write(WriteClass::Repeatable);
const OPERATIONS: &[Operation] = &[
    Operation { name: "charge.get", effect: Effect::Read },
    Operation { name: "payment-intent.get", effect: Effect::Read },
    Operation { name: "customer.get", effect: Effect::Read },
    Operation { name: "product.get", effect: Effect::Read },
    Operation { name: "refund.get", effect: Effect::Read },
    Operation { name: "dispute.get", effect: Effect::Read },
    Operation { name: "payout.get", effect: Effect::Read },
    Operation { name: "subscription.get", effect: Effect::Read },
    Operation { name: "credit-note.get", effect: Effect::Read },
    Operation { name: "review.get", effect: Effect::Read },
    Operation { name: "early-fraud-warning.get", effect: Effect::Read },
    Operation { name: "event.get", effect: Effect::Read },
    Operation { name: "object.get", effect: Effect::Read },
    Operation { name: "checkout-session.by-payment-intent", effect: Effect::Read },
    Operation { name: "invoice.get", effect: Effect::Read },
    Operation { name: "invoice.by-payment-intent", effect: Effect::Read },
    Operation { name: "balance-transaction.get", effect: Effect::Read },
    Operation { name: "balance-transactions.by-payout", effect: Effect::Read },
    Operation { name: "balance-transactions.by-source", effect: Effect::Read },
    Operation { name: "refunds.by-charge", effect: Effect::Read },
    Operation { name: "charges.by-payment-intent", effect: Effect::Read },
    Operation { name: "customers.by-email", effect: Effect::Read },
    Operation { name: "customers.by-metadata", effect: Effect::Read },
    Operation { name: "subscriptions.by-customer", effect: Effect::Read },
    Operation { name: "webhook-endpoint.list", effect: Effect::Read },
    Operation { name: "events.changed", effect: Effect::Read },
    Operation { name: "customer.create", effect: KEYED },
    Operation { name: "customer.update", effect: KEYED },
    Operation { name: "customer.delete", effect: REPEATABLE },
    Operation { name: "metadata.update", effect: KEYED },
    Operation { name: "refund.create", effect: KEYED },
    Operation { name: "webhook-endpoint.create", effect: Effect::Setup },
    Operation { name: "webhook-endpoint.update", effect: Effect::Setup },
];

/// The connector `stripe`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stripe;

impl Connector for Stripe {
    fn name(&self) -> &'static str {
        "stripe"
    }

    fn operations(&self) -> &'static [Operation] {
        OPERATIONS
    }

    fn connect(
        &self,
        config: &ConnectionConfig,
        outbound: &Outbound,
    ) -> Result<Arc<dyn Connection>, ConfigError> {
        let settings = Settings::of(config)?;
        let base_url = settings.text_or("base_url", "https://api.stripe.com")?;
        let version = settings.text_or("api_version", "2026-07-29.dahlia")?;
        let account = settings.text("account")?;
        let per_second = settings.integer("requests_per_second", 20, 1..=1_000)?;
        let limits = settings.limits()?;
        let api_key = settings.secret_required("api_key")?;
        settings.finish()?;

        let pool = outbound.pool(base_url, limits.timeout)?;
        let headers_of = |account_header| headers(version, account, account_header, &api_key);
        let api = Api {
            headers: headers_of("stripe-account")?,
            headers_v2: headers_of("stripe-context")?,
            pace: Pace::new(per_second),
        };
        let scrub = Scrub::new([&api_key]);
        let (connector, system) = (self.name(), StripeSystem { api });
        Ok(Guarded { connector, operations: OPERATIONS, system, pool, limits, scrub }.shared())
    }
}

fn headers(
    version: &str,
    account: Option<&str>,
    account_header: &'static str,
    api_key: &Secret,
) -> Result<HeaderMap, ConfigError> {
    let authorization = secret_header(&format!("Bearer {}", api_key.expose()))
        .ok_or_else(|| refuse_secret("api_key", "must be visible ASCII: sk_… or rk_…"))?;
    let version =
        plain_header(version).ok_or_else(|| refuse("api_version", "must be like 2026-07-29.dahlia"))?;
    let mut headers = HeaderMap::from_iter([
        (http::header::AUTHORIZATION, authorization),
        (HeaderName::from_static("stripe-version"), version),
    ]);
    if let Some(account) = account {
        let account = plain_header(account).ok_or_else(|| refuse("account", "must be like acct_…"))?;
        headers.insert(HeaderName::from_static(account_header), account);
    }
    Ok(headers)
}

#[derive(Debug)]
struct StripeSystem {
    api: Api,
}

#[async_trait]
impl System for StripeSystem {
    async fn read(&self, operation: &str, parameters: &Value, call: &Call<'_>) -> Result<Found, CallFailure> {
        if operation == "events.changed" {
            return changes::read(&self.api, parameters, call).await.map(Found::Yes);
        }
        let found = reads::read(&self.api, operation, parameters, call).await?;
        Ok(found.map_or(Found::No, Found::Yes))
    }

    async fn write(&self, operation: &str, body: &Value, call: &Call<'_>) -> Result<Value, CallFailure> {
        writes::write(&self.api, operation, body, call).await
    }

    /// Asks for a charge that does not exist: being told so takes a key with the right to read charges.
    async fn probe(&self, call: &Call<'_>) -> Result<(), CallFailure> {
        self.api.get(&["v1", "charges", "ch_portolan_probe"], &[], call).await.map(|_| ())
    }
}
