//! Whose signatures modules bear: Ed25519 (RFC 8032) over the text `portolan-module:sha256:` and the module's digest in hex.
//! It says which bytes are meant, and nothing else can be taken for it.

use portolan_domain::ModuleDigest;
use portolan_store::{
    Store, StoreError,
    module::{Module, SigningKey},
};
use ring::signature::{ED25519, UnparsedPublicKey};

/// What is signed of a module.
#[must_use]
pub fn signed_text(digest: &ModuleDigest) -> String {
    format!("portolan-module:sha256:{digest}")
}

/// Whether the key has signed the module.
#[must_use]
pub fn is_valid(key: &SigningKey, digest: &ModuleDigest, signature: &[u8]) -> bool {
    let public = UnparsedPublicKey::new(&ED25519, &key.public_key);
    public.verify(signed_text(digest).as_bytes(), signature).is_ok()
}

/// Whether its tenant demands no signatures, or a key that it trusts now has signed it.
///
/// # Errors
/// As the store's.
pub async fn may_be_pinned(store: &dyn Store, module: &Module) -> Result<bool, StoreError> {
    let policy = store.signing_policy(&module.tenant).await?;
    let signed = module.signed.as_ref();
    let is_trusted = signed.is_some_and(|signed| {
        let mut keys = policy.keys.iter().filter(|key| key.name == signed.by);
        keys.any(|key| is_valid(key, &module.digest, &signed.signature))
    });
    Ok(!policy.required || is_trusted)
}
