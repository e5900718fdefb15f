//! Doors for the fuzz targets of `tests/`: what reads answers of other systems, with any bytes. Only with the feature
//! `fuzz`; each says in a few words what it saw.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::{call::retry_after_ms, outbound::Answer, sap_ecc};

/// XML of SOAP-RFC, as values.
#[must_use]
pub fn soap(bytes: &[u8]) -> String {
    sap_ecc::fuzz_soap(bytes)
}

/// Answers of an OData batch.
#[must_use]
pub fn batch(bytes: &[u8]) -> String {
    sap_ecc::fuzz_batch(bytes)
}

/// Advice to wait.
#[must_use]
pub fn retry_after(bytes: &[u8]) -> String {
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return "no header".to_owned() };
    let headers = HeaderMap::from_iter([(http::header::RETRY_AFTER, value)]);
    let answer = Answer { status: StatusCode::TOO_MANY_REQUESTS, headers, body: Bytes::new() };
    match retry_after_ms(&answer, 1_700_000_000) {
        Some(wait) if wait <= 86_400_000 => format!("{}", wait == 0),
        Some(_) => "longer than a day".to_owned(),
        None => "none".to_owned(),
    }
}
