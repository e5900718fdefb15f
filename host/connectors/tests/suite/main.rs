//! The connectors against servers that behave and misbehave as scripted: one suite that every connector
//! passes, then what each one says to its system and makes of the answers, then where sockets may lead.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

mod conformance;
mod epicor;
mod epicor_world;
mod json_http;
#[path = "../../../simulators/tests/behaviour/openapi.rs"]
mod openapi;
mod outbound;
mod sage_pro;
mod sage_pro_contract;
mod sap_ecc;
mod sap_ecc_doors;
mod sap_ecc_odata;
mod sap_ecc_world;
mod server;
mod stripe;
mod stripe_sweep;
mod stripe_writes;
mod transport;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use portolan_connectors::{
    CallContext, Connection, ConnectionConfig, Found, Outbound, OutboundPolicy, Registry,
};
use portolan_domain::{Secret, verdict::CallFailure};
use serde_json::Value;

/// A certificate nobody has the key of, so that HTTPS can be tried where the machine has no certificates.
const ROOT_PEM: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBkTCCATegAwIBAgIUbSl2yTB0oHJMDlilaoNjo234ESEwCgYIKoZIzj0EAwIw\n\
HTEbMBkGA1UEAwwSUG9ydG9sYW4gdGVzdCByb290MCAXDTI2MTEyMTA0MDczOFoY\n\
DzIxMjYxMDI4MDQwNzM4WjAdMRswGQYDVQQDDBJQb3J0b2xhbiB0ZXN0IHJvb3Qw\n\
WTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASDAnPu04U/ocuWpdgyWcHQYrLt1cG3\n\
L/prG47qESpOkgd9r4RgsoZCDq+lgZcCIJz0PIELXbkShEj2zlYHPtq+o1MwUTAd\n\
BgNVHQ4EFgQUKPcI3Q8BfR+Im5b3kNnvOo6/qz8wHwYDVR0jBBgwFoAUKPcI3Q8B\n\
fR+Im5b3kNnvOo6/qz8wDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBF\n\
AiAYyvkbA1Gzvm96GtKCynXMqif7oRskrE1uI67yV7lJEQIhAPtCt1LLWCP2nq95\n\
Xkocd3aM7FBEz/Hfog0Op2AGzkNP\n\
-----END CERTIFICATE-----\n";

/// The sockets of tests lead to this machine only, and answers are small.
fn loopback() -> Outbound {
    let policy = OutboundPolicy {
        allow_loopback: true,
        response_bytes_max: 64 * 1024,
        root_certificates_pem: vec![ROOT_PEM.to_owned()],
        ..Default::default()
    };
    Outbound::new(policy)
}

fn config(settings: Value, secrets: &[(&str, &str)]) -> ConnectionConfig {
    let secrets: BTreeMap<_, _> =
        secrets.iter().map(|(name, text)| ((*name).to_owned(), Secret::new(*text))).collect();
    ConnectionConfig { settings, secrets }
}

fn connect(connector: &str, settings: Value, secrets: &[(&str, &str)]) -> Arc<dyn Connection> {
    let registry = Registry::standard();
    registry.get(connector).unwrap().connect(&config(settings, secrets), &loopback()).unwrap()
}

fn context() -> CallContext {
    CallContext {
        call_id: "dlv01JD000000000000000000000".to_owned(),
        attempt: 1,
        timeout: Duration::from_secs(20),
        now_seconds: 1_614_265_330,
        traceparent: None,
    }
}

fn hurried() -> CallContext {
    CallContext { timeout: Duration::from_millis(300), ..context() }
}

fn found(result: Result<Found, CallFailure>) -> Value {
    match result.unwrap() {
        Found::Yes(value) => value,
        Found::No => panic!("it was absent"),
    }
}

fn code<T: std::fmt::Debug>(result: Result<T, CallFailure>) -> String {
    result.unwrap_err().problem().code.clone()
}
