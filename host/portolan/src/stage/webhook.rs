//! Signs webhooks as Stripe does.

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// The `Stripe-Signature` header of a body signed at `time_s` (Unix seconds).
#[must_use]
pub fn sign(secret: &str, time_s: u64, body: &[u8]) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return String::new() };
    mac.update(format!("{time_s}.").as_bytes());
    mac.update(body);
    format!("t={time_s},v1={}", hex::encode(mac.finalize().into_bytes()))
}

/// The headers of a webhook that is signed now.
#[must_use]
pub fn signed_headers(secret: &str, body: &[u8]) -> Vec<(&'static str, String)> {
    use portolan_domain::Clock;
    let now = portolan_domain::SystemClock::new().now().as_seconds();
    vec![("stripe-signature", sign(secret, now, body))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_signature_is_reproduced() {
        let header = sign("whsec_test_secret", 1_700_000_000, br#"{"id":"evt_test","object":"event"}"#);
        assert_eq!(
            header,
            "t=1700000000,v1=8042376f6ca064adbe037642a718227dfd59047137eb49497a54c49eb0cfb724"
        );
    }
}
