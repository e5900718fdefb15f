//! Seals the secrets of sources and connections, so that the database holds none in the clear.
//!
//! XChaCha20-Poly1305 under the host's master key; the associated data names the owner (scope, noun and id),
//! so that a ciphertext moved to another row does not open. Layout: version byte 1, 24 bytes of nonce,
//! ciphertext with its tag.

use std::collections::BTreeMap;

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use portolan_domain::Secret;

const VERSION: u8 = 1;
const NONCE_BYTES: usize = 24;

/// Seals and opens.
pub struct Vault {
    cipher: XChaCha20Poly1305,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault(***)")
    }
}

/// What was sealed does not open: another master key, another row, or changed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("sealed secrets do not open with this host's master key")]
pub struct Sealed;

/// Secrets by name.
pub type Secrets = BTreeMap<String, Secret>;

impl Vault {
    /// With the host's master key.
    #[must_use]
    pub fn new(master_key: &[u8; 32]) -> Self {
        Self { cipher: XChaCha20Poly1305::new(master_key.into()) }
    }

    /// Seals secrets for their owner: `"<scope>/connection/<id>"`.
    ///
    /// # Errors
    /// When the machine has no randomness.
    pub fn seal(&self, owner: &str, secrets: &Secrets) -> Result<Vec<u8>, Sealed> {
        let exposed: BTreeMap<&str, &str> = secrets.iter().map(|(k, v)| (k.as_str(), v.expose())).collect();
        let plain = zeroize::Zeroizing::new(serde_json::to_vec(&exposed).map_err(|_| Sealed)?);
        let mut nonce = [0u8; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|_| Sealed)?;
        let payload = Payload { msg: &plain, aad: owner.as_bytes() };
        let sealed = self.cipher.encrypt(XNonce::from_slice(&nonce), payload).map_err(|_| Sealed)?;
        Ok([&[VERSION][..], &nonce, &sealed].concat())
    }

    /// Opens what was sealed for this owner.
    ///
    /// # Errors
    /// When it was sealed for another owner, with another key, or was changed.
    pub fn open(&self, owner: &str, sealed: &[u8]) -> Result<Secrets, Sealed> {
        let rest = sealed.strip_prefix(&[VERSION]).ok_or(Sealed)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_BYTES).ok_or(Sealed)?;
        let payload = Payload { msg: sealed, aad: owner.as_bytes() };
        let plain = self.cipher.decrypt(XNonce::from_slice(nonce), payload).map_err(|_| Sealed)?;
        let plain = zeroize::Zeroizing::new(plain);
        serde_json::from_slice(&plain).map_err(|_| Sealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_for_its_owner_only() {
        let vault = Vault::new(&[7; 32]);
        let secrets = Secrets::from([("api_key".to_owned(), Secret::new("sk_test_canary"))]);
        let sealed = vault.seal("ten_a/connection/1", &secrets).unwrap();
        assert!(!sealed.windows(6).any(|w| w == b"canary"));
        assert_eq!(vault.open("ten_a/connection/1", &sealed), Ok(secrets.clone()));
        assert_eq!(vault.open("ten_b/connection/1", &sealed), Err(Sealed));
        assert_eq!(Vault::new(&[8; 32]).open("ten_a/connection/1", &sealed), Err(Sealed));
    }

    #[test]
    fn a_changed_byte_does_not_open() {
        let vault = Vault::new(&[7; 32]);
        let sealed = vault.seal("o", &Secrets::from([("k".to_owned(), Secret::new("v"))])).unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(vault.open("o", &changed), Err(Sealed), "byte {at}");
        }
        assert_eq!(vault.open("o", &[]), Err(Sealed));
    }
}
