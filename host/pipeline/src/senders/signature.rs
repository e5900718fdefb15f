//! Signatures of incoming requests, checked on the raw bytes in constant time.
//!
//! Stripe's scheme (`Stripe-Signature: t=…,v1=…`), which is also ours for systems that have none: HMAC-SHA256 over `t + "." + body`, keyed with the
//! whole secret text including `whsec_`. Every `v1` is compared with every active secret: while a secret is
//! rolled, Stripe signs with both. Unlike Stripe's libraries we also refuse a time too far in the future.

use hmac::{Hmac, Mac};
use portolan_domain::Secret;
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};

/// Signatures in one header that are looked at; Stripe sends one per active secret.
const SIGNATURES_MAX: usize = 16;

/// Why a signature is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureProblem {
    /// No header, or one without a readable time.
    #[error("unable to extract timestamp and signatures from the signature header")]
    Unreadable,
    /// A header without any `v1`.
    #[error("no signatures found with expected scheme v1")]
    NoScheme,
    /// None of the signatures is that of these bytes under any of the secrets.
    #[error("no signatures found matching the expected signature for the payload")]
    Mismatch,
    /// Signed too long ago, or in the future.
    #[error("timestamp outside the tolerance zone")]
    OutsideTolerance,
    /// No readable token, user and password, or certificate.
    #[error("the request brings no credentials in the form that the source asks for")]
    CredentialsUnreadable,
    /// Others than the source's.
    #[error("the request's credentials are not the source's")]
    CredentialsMismatch,
}

impl SignatureProblem {
    /// Stable and machine-readable.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Unreadable => "signature-unreadable",
            Self::NoScheme => "signature-scheme-missing",
            Self::Mismatch => "signature-mismatch",
            Self::OutsideTolerance => "signature-outside-tolerance",
            Self::CredentialsUnreadable => "credentials-unreadable",
            Self::CredentialsMismatch => "credentials-mismatch",
        }
    }

    /// Whether the sender should log on, rather than sign otherwise.
    #[must_use]
    pub const fn asks_for_credentials(self) -> bool {
        matches!(self, Self::CredentialsUnreadable | Self::CredentialsMismatch)
    }
}

/// What a signature header says: when it was signed, as text and number, and its `v1` signatures.
pub(super) struct Signed<'a> {
    at: &'a str,
    time_s: u64,
    signatures: Vec<&'a str>,
}

/// Reads a signature header: `t=<Unix seconds>` once, `v1=<64 lower-case hex digits>` once or several times, and schemes
/// that are not looked at. There is one way to write each signature, and no room between: what was changed in
/// any byte is another header.
///
/// # Errors
/// `Unreadable` or `NoScheme`.
pub(super) fn read_header(header: &str) -> Result<Signed<'_>, SignatureProblem> {
    let mut signed_at = None;
    let mut signatures = Vec::new();
    for (scheme, value) in header.split(',').filter_map(|part| part.split_once('=')) {
        match scheme {
            // Two times: two readers might take different ones.
            "t" if signed_at.is_some() => return Err(SignatureProblem::Unreadable),
            "t" => signed_at = Some(value),
            "v1" if signatures.len() < SIGNATURES_MAX => signatures.push(value),
            _ => {}
        }
    }
    let at = signed_at.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let at = at.ok_or(SignatureProblem::Unreadable)?;
    let time_s = at.parse().map_err(|_| SignatureProblem::Unreadable)?;
    if signatures.is_empty() {
        return Err(SignatureProblem::NoScheme);
    }
    Ok(Signed { at, time_s, signatures })
}

/// Checks the value of a signature header.
///
/// # Errors
/// The first check that fails, in the order of Stripe's own libraries: the age is looked at only when the
/// signature is right.
pub fn verify_signature<'a>(
    header: Option<&str>,
    body: &[u8],
    secrets: impl IntoIterator<Item = &'a Secret>,
    now_s: u64,
    tolerance_s: u64,
) -> Result<(), SignatureProblem> {
    let signed = read_header(header.ok_or(SignatureProblem::Unreadable)?)?;
    let mut matches = Choice::from(0);
    for secret in secrets {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()) else { continue };
        // The text of the time is signed, not its number: a header may write it in its own way.
        mac.update(signed.at.as_bytes());
        mac.update(b".");
        mac.update(body);
        let expected = hex::encode(mac.finalize().into_bytes());
        for signature in &signed.signatures {
            matches |= expected.as_bytes().ct_eq(signature.as_bytes());
        }
    }
    if !bool::from(matches) {
        return Err(SignatureProblem::Mismatch);
    }
    if now_s.abs_diff(signed.time_s) > tolerance_s {
        return Err(SignatureProblem::OutsideTolerance);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BODY: &[u8] = br#"{"id":"evt_test","object":"event"}"#;
    const OF_TEST: &str = "8042376f6ca064adbe037642a718227dfd59047137eb49497a54c49eb0cfb724";
    const OF_OLD: &str = "a1dd24cd166a5ec1b320e88ebfc7df18408a2dc13ab12ccf1d9e392d099b1dc1";

    fn verify(header: &str, body: &[u8], secrets: &[&str], now_s: u64) -> Result<(), SignatureProblem> {
        let secrets: Vec<Secret> = secrets.iter().map(|s| Secret::new(*s)).collect();
        verify_signature(Some(header), body, &secrets, now_s, 300)
    }

    #[test]
    fn known_signatures_are_accepted() {
        let header = format!("t=1700000000,v1={OF_TEST}");
        assert_eq!(verify(&header, BODY, &["whsec_test_secret"], 1_700_000_000), Ok(()));
        let body = "{\"id\":\"evt_2\",\"object\":\"event\",\"type\":\"customer.updated\",\"data\":{\"object\":{\"name\":\"Zoë\"}}}\n";
        let header = "t=1700000000,v1=48bcceeb7ed715bb6214cdcb86d22464924ebb203e070f7e38016e77b2237083";
        assert_eq!(verify(header, body.as_bytes(), &["whsec_test_secret"], 1_700_000_000), Ok(()));
    }

    #[test]
    fn any_signature_under_any_active_secret_is_enough() {
        let header = format!("t=1700000000,v1={OF_OLD},v1={OF_TEST},v0=ignored");
        for secrets in [&["whsec_test_secret"][..], &["whsec_new", "whsec_old_secret"]] {
            assert_eq!(verify(&header, BODY, secrets, 1_700_000_000), Ok(()));
        }
    }

    #[test]
    fn each_failure_has_its_name() {
        use SignatureProblem::{Mismatch, NoScheme, OutsideTolerance, Unreadable};
        let good = format!("t=1700000000,v1={OF_TEST}");
        let secrets = &["whsec_test_secret"];
        assert_eq!(verify_signature(None, BODY, &[Secret::new("x")], 0, 300), Err(Unreadable));
        assert_eq!(verify("", BODY, secrets, 0), Err(Unreadable));
        assert_eq!(verify("t=abc,v1=00", BODY, secrets, 0), Err(Unreadable));
        assert_eq!(verify("t=1700000000", BODY, secrets, 0), Err(NoScheme));
        assert_eq!(verify("t=1700000000,v1=zz", BODY, secrets, 0), Err(Mismatch));
        assert_eq!(verify(&good, BODY, &["whsec_other"], 1_700_000_000), Err(Mismatch));
        assert_eq!(verify(&good, BODY, &[], 1_700_000_000), Err(Mismatch));
        assert_eq!(verify(&good, BODY, secrets, 1_700_000_301), Err(OutsideTolerance));
        assert_eq!(verify(&good, BODY, secrets, 1_699_999_699), Err(OutsideTolerance));
        assert_eq!(verify(&good, BODY, secrets, 1_700_000_300), Ok(()));
    }

    proptest! {
        #[test]
        fn no_changed_byte_is_accepted(at in 0..BODY.len(), flip in 1u8..) {
            let mut body = BODY.to_vec();
            body[at] ^= flip;
            let header = format!("t=1700000000,v1={OF_TEST}");
            prop_assert!(verify(&header, &body, &["whsec_test_secret"], 1_700_000_000).is_err());
        }

        #[test]
        fn no_header_makes_it_panic(header in ".*") {
            prop_assert!(verify(&header, BODY, &["whsec_test_secret"], 0).is_err());
        }
    }
}
