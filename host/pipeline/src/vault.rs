//! Seals the secrets of sources and connections, so that the database holds none in the clear.
//!
//! Envelopes: every secret is sealed under a data key of its own, and the data key is sealed (wrapped) under the host's
//! master key. When the master key changes, only the data keys are wrapped anew ([`Vault::rewrap`]). Both seals are
//! XChaCha20-Poly1305 with random nonces, and both have as associated data: the owner (tenant, environment, noun and id),
//! the field's name, its place among how many, and a random id of the record. So no value opens in another tenant's row,
//! another row, another field, or another version of the same row.
//!
//! Layout, version 2: `02`, 8 bytes that name the master key, 16 bytes of record id, the number of fields (u16), and for
//! each field: its name (u16 length), 24 + 48 bytes of nonce and wrapped data key, 24 bytes of nonce, and the
//! ciphertext (u32 length). Numbers are big-endian.

use std::{
    collections::BTreeMap,
    sync::{PoisonError, RwLock},
};

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use portolan_domain::Secret;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

const VERSION: u8 = 2;
const NONCE_BYTES: usize = 24;
const KEY_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
const RECORD_ID_BYTES: usize = 16;

/// A master key: 32 random bytes. It does not print, and its memory is wiped.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey(Zeroizing<[u8; KEY_BYTES]>);

/// Which master key something is sealed under: the beginning of a digest of it.
pub type MasterKeyId = [u8; 8];

impl MasterKey {
    /// From its bytes.
    #[must_use]
    pub fn new(bytes: &[u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(*bytes))
    }

    /// A new one.
    ///
    /// # Errors
    /// When the machine has no randomness.
    pub fn generate() -> Result<Self, Sealed> {
        let mut key = Self(Zeroizing::new([0; KEY_BYTES]));
        getrandom::fill(key.0.as_mut_slice()).map_err(|_| Sealed)?;
        Ok(key)
    }

    /// From 64 hex digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut key = Self(Zeroizing::new([0; KEY_BYTES]));
        hex::decode_to_slice(text.trim(), key.0.as_mut_slice()).ok()?;
        Some(key)
    }

    /// 64 hex digits, for the file that it is kept in.
    #[must_use]
    pub fn expose(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(self.0.as_slice()))
    }

    /// A key for another purpose, which tells nothing of this one.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> Secret {
        let digest = Sha256::new().chain_update(purpose).chain_update(self.0.as_slice()).finalize();
        Secret::new(hex::encode(digest))
    }

    /// What names it in sealed secrets. It tells nothing of the key.
    #[must_use]
    pub fn id(&self) -> MasterKeyId {
        let digest = Sha256::new().chain_update("portolan master key id").chain_update(self.0.as_slice());
        let mut id = MasterKeyId::default();
        id.iter_mut().zip(digest.finalize()).for_each(|(to, from)| *to = from);
        id
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MasterKey({})", hex::encode(self.id()))
    }
}

/// Seals and opens.
pub struct Vault {
    /// The first seals; all open.
    keys: RwLock<Vec<(MasterKeyId, XChaCha20Poly1305)>>,
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

/// One field of a sealed record.
struct Field<'a> {
    name: &'a [u8],
    wrapped: &'a [u8],
    value: &'a [u8],
}

/// A sealed record, taken apart.
struct Record<'a> {
    key: MasterKeyId,
    id: &'a [u8],
    fields: Vec<Field<'a>>,
}

impl Vault {
    /// With the host's master key.
    #[must_use]
    pub fn new(master_key: &[u8; KEY_BYTES]) -> Self {
        Self::with_keys(&[MasterKey::new(master_key)])
    }

    /// With the host's master key, and after it those that were it before.
    #[must_use]
    pub fn with_keys(keys: &[MasterKey]) -> Self {
        Self { keys: RwLock::new(keys.iter().map(cipher).collect()) }
    }

    /// From now on this key seals; those before it open what they have sealed.
    pub fn rotate(&self, key: &MasterKey) {
        self.keys.write().unwrap_or_else(PoisonError::into_inner).insert(0, cipher(key));
    }

    /// The key that seals.
    #[must_use]
    pub fn current(&self) -> Option<MasterKeyId> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).first().map(|(id, _)| *id)
    }

    /// Seals secrets for their owner: `"<scope>/connection/<id>"`.
    ///
    /// # Errors
    /// When the machine has no randomness.
    pub fn seal(&self, owner: &str, secrets: &Secrets) -> Result<Vec<u8>, Sealed> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let (key_id, master) = keys.first().ok_or(Sealed)?;
        let record_id = random::<RECORD_ID_BYTES>()?;
        let count = u16::try_from(secrets.len()).map_err(|_| Sealed)?;
        let mut out = vec![VERSION];
        out.extend_from_slice(key_id);
        out.extend_from_slice(record_id.as_slice());
        out.extend_from_slice(&count.to_be_bytes());
        for (index, (name, secret)) in (0_u16..).zip(secrets) {
            let place = place(owner, &record_id[..], (index, count), name.as_bytes());
            let data_key = random::<KEY_BYTES>()?;
            let data = XChaCha20Poly1305::new(data_key.as_slice().into());
            let name_bytes = u16::try_from(name.len()).map_err(|_| Sealed)?;
            out.extend_from_slice(&name_bytes.to_be_bytes());
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(&encrypt(master, &wrap(&place), data_key.as_slice())?);
            let value = encrypt(&data, &place, secret.expose().as_bytes())?;
            out.extend_from_slice(&u32::try_from(value.len()).map_err(|_| Sealed)?.to_be_bytes());
            out.extend_from_slice(&value);
        }
        Ok(out)
    }

    /// Opens what was sealed for this owner.
    ///
    /// # Errors
    /// When it was sealed for another owner, with another key, or was changed.
    pub fn open(&self, owner: &str, sealed: &[u8]) -> Result<Secrets, Sealed> {
        let record = read(sealed)?;
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let master = find(&keys, record.key)?;
        let mut secrets = Secrets::new();
        for (place, field) in record.places(owner) {
            let data_key = decrypt(master, &wrap(&place), field.wrapped)?;
            let data = XChaCha20Poly1305::new_from_slice(&data_key).map_err(|_| Sealed)?;
            let value = decrypt(&data, &place, field.value)?;
            let value = std::str::from_utf8(&value).map_err(|_| Sealed)?;
            let name = std::str::from_utf8(field.name).map_err(|_| Sealed)?;
            secrets.insert(name.to_owned(), Secret::new(value));
        }
        Ok(secrets)
    }

    /// The same record with its data keys wrapped under the present master key; its values stay as they are. None when it
    /// is so already.
    ///
    /// # Errors
    /// See [`Self::open`].
    pub fn rewrap(&self, owner: &str, sealed: &[u8]) -> Result<Option<Vec<u8>>, Sealed> {
        let record = read(sealed)?;
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let (key_id, master) = keys.first().ok_or(Sealed)?;
        if *key_id == record.key {
            return Ok(None);
        }
        let before = find(&keys, record.key)?;
        let count = u16::try_from(record.fields.len()).map_err(|_| Sealed)?;
        let mut out = vec![VERSION];
        out.extend_from_slice(key_id);
        out.extend_from_slice(record.id);
        out.extend_from_slice(&count.to_be_bytes());
        for (place, field) in record.places(owner) {
            let data_key = decrypt(before, &wrap(&place), field.wrapped)?;
            let name_bytes = u16::try_from(field.name.len()).map_err(|_| Sealed)?;
            out.extend_from_slice(&name_bytes.to_be_bytes());
            out.extend_from_slice(field.name);
            out.extend_from_slice(&encrypt(master, &wrap(&place), &data_key)?);
            out.extend_from_slice(&u32::try_from(field.value.len()).map_err(|_| Sealed)?.to_be_bytes());
            out.extend_from_slice(field.value);
        }
        Ok(Some(out))
    }
}

impl Record<'_> {
    /// Each field with what is associated with it.
    fn places<'a>(&'a self, owner: &'a str) -> impl Iterator<Item = (Vec<u8>, &'a Field<'a>)> {
        let count = u16::try_from(self.fields.len()).unwrap_or(u16::MAX);
        let numbered = (0_u16..).zip(&self.fields);
        numbered.map(move |(index, field)| (place(owner, self.id, (index, count), field.name), field))
    }
}

/// Which master key something is sealed under.
///
/// # Errors
/// When it is nothing that was sealed.
pub fn sealed_under(sealed: &[u8]) -> Result<MasterKeyId, Sealed> {
    Ok(read(sealed)?.key)
}

fn cipher(key: &MasterKey) -> (MasterKeyId, XChaCha20Poly1305) {
    (key.id(), XChaCha20Poly1305::new(key.0.as_slice().into()))
}

fn find(keys: &[(MasterKeyId, XChaCha20Poly1305)], id: MasterKeyId) -> Result<&XChaCha20Poly1305, Sealed> {
    keys.iter().find(|(known, _)| *known == id).map(|(_, cipher)| cipher).ok_or(Sealed)
}

/// What is associated with a field: where it belongs.
fn place(owner: &str, record_id: &[u8], (index, count): (u16, u16), name: &[u8]) -> Vec<u8> {
    let mut place = Vec::new();
    for part in [b"portolan secret 2".as_slice(), owner.as_bytes(), record_id, name] {
        place.extend_from_slice(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        place.extend_from_slice(part);
    }
    place.extend_from_slice(&index.to_be_bytes());
    place.extend_from_slice(&count.to_be_bytes());
    place
}

/// What is associated with a field's data key.
fn wrap(place: &[u8]) -> Vec<u8> {
    [b"data key of ".as_slice(), place].concat()
}

fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, Sealed> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(bytes.as_mut_slice()).map_err(|_| Sealed)?;
    Ok(bytes)
}

/// Nonce and ciphertext.
fn encrypt(cipher: &XChaCha20Poly1305, place: &[u8], plain: &[u8]) -> Result<Vec<u8>, Sealed> {
    let nonce = random::<NONCE_BYTES>()?;
    let payload = Payload { msg: plain, aad: place };
    let sealed = cipher.encrypt(XNonce::from_slice(nonce.as_slice()), payload).map_err(|_| Sealed)?;
    Ok([nonce.as_slice(), &sealed].concat())
}

fn decrypt(cipher: &XChaCha20Poly1305, place: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Sealed> {
    let (nonce, sealed) = sealed.split_at_checked(NONCE_BYTES).ok_or(Sealed)?;
    let payload = Payload { msg: sealed, aad: place };
    Ok(Zeroizing::new(cipher.decrypt(XNonce::from_slice(nonce), payload).map_err(|_| Sealed)?))
}

fn read(sealed: &[u8]) -> Result<Record<'_>, Sealed> {
    let mut rest = sealed.strip_prefix(&[VERSION]).ok_or(Sealed)?;
    let key = *take_array(&mut rest)?;
    let id = take(&mut rest, RECORD_ID_BYTES)?;
    let count = u16::from_be_bytes(*take_array(&mut rest)?);
    let mut fields = Vec::new();
    for _ in 0..count {
        let name_bytes = u16::from_be_bytes(*take_array(&mut rest)?);
        let name = take(&mut rest, name_bytes.into())?;
        let wrapped = take(&mut rest, NONCE_BYTES + KEY_BYTES + TAG_BYTES)?;
        let value_bytes = u32::from_be_bytes(*take_array(&mut rest)?);
        let value = take(&mut rest, usize::try_from(value_bytes).map_err(|_| Sealed)?)?;
        fields.push(Field { name, wrapped, value });
    }
    if rest.is_empty() { Ok(Record { key, id, fields }) } else { Err(Sealed) }
}

fn take<'a>(rest: &mut &'a [u8], bytes: usize) -> Result<&'a [u8], Sealed> {
    let (taken, left) = rest.split_at_checked(bytes).ok_or(Sealed)?;
    *rest = left;
    Ok(taken)
}

fn take_array<'a, const N: usize>(rest: &mut &'a [u8]) -> Result<&'a [u8; N], Sealed> {
    let (taken, left) = rest.split_first_chunk().ok_or(Sealed)?;
    *rest = left;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(pairs: &[(&str, &str)]) -> Secrets {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect()
    }

    #[test]
    fn what_is_sealed_opens_for_its_owner_only() {
        let vault = Vault::new(&[7; 32]);
        let secrets = secrets(&[("api_key", "sk_test_canary"), ("user", "portolan")]);
        let sealed = vault.seal("ten_a/connection/1", &secrets).unwrap();
        assert!(!sealed.windows(6).any(|w| w == b"canary"));
        assert_eq!(vault.open("ten_a/connection/1", &sealed), Ok(secrets.clone()));
        assert_eq!(vault.open("ten_b/connection/1", &sealed), Err(Sealed));
        assert_eq!(Vault::new(&[8; 32]).open("ten_a/connection/1", &sealed), Err(Sealed));
        let none = vault.seal("ten_a/source/1", &Secrets::new()).unwrap();
        assert_eq!(vault.open("ten_a/source/1", &none), Ok(Secrets::new()));
    }

    #[test]
    fn a_changed_or_missing_byte_does_not_open() {
        let vault = Vault::new(&[7; 32]);
        let sealed = vault.seal("o", &secrets(&[("k", "v"), ("l", "w")])).unwrap();
        for at in 0..sealed.len() {
            for bit in 0..8 {
                let mut changed = sealed.clone();
                changed[at] ^= 1 << bit;
                assert_eq!(vault.open("o", &changed), Err(Sealed), "byte {at} bit {bit}");
            }
            assert_eq!(vault.open("o", &sealed[..at]), Err(Sealed), "{at} bytes");
        }
        assert_eq!(vault.open("o", &[sealed.as_slice(), &[0]].concat()), Err(Sealed));
    }

    /// The bytes of a sealed record of two fields with names and values of one length, cut into header and fields.
    fn parts(sealed: &[u8]) -> (&[u8], &[u8], &[u8]) {
        let (header, fields) = sealed.split_at(1 + 8 + RECORD_ID_BYTES + 2);
        let (first, second) = fields.split_at(fields.len() / 2);
        (header, first, second)
    }

    #[test]
    fn values_do_not_open_in_another_field_or_another_version_of_the_record() {
        let vault = Vault::new(&[7; 32]);
        let before = vault.seal("o", &secrets(&[("a", "old-1"), ("b", "old-2")])).unwrap();
        let after = vault.seal("o", &secrets(&[("a", "new-1"), ("b", "new-2")])).unwrap();
        let (header, first, second) = parts(&after);
        assert_eq!(vault.open("o", &[header, second, first].concat()), Err(Sealed), "moved");
        // The names change places and the values stay.
        let mut renamed = [header, first, second].concat();
        renamed[header.len() + 2] = b'b';
        let at = header.len() + first.len() + 2;
        renamed[at] = b'a';
        assert_eq!(vault.open("o", &renamed), Err(Sealed), "renamed");
        let (_, stale, _) = parts(&before);
        assert_eq!(vault.open("o", &[header, stale, second].concat()), Err(Sealed), "stale");
        let mut fewer = [header, first].concat();
        fewer[header.len() - 1] = 1;
        assert_eq!(vault.open("o", &fewer), Err(Sealed), "one is gone");
    }

    #[test]
    fn a_new_master_key_wraps_data_keys_only_and_the_old_one_can_go() {
        let (old, new) = (MasterKey::new(&[7; 32]), MasterKey::new(&[8; 32]));
        let vault = Vault::with_keys(std::slice::from_ref(&old));
        let secrets = secrets(&[("a", "first"), ("b", "second")]);
        let sealed = vault.seal("o", &secrets).unwrap();
        assert_eq!(vault.rewrap("o", &sealed), Ok(None));
        vault.rotate(&new);
        assert_eq!(vault.open("o", &sealed), Ok(secrets.clone()), "what is not wrapped anew yet opens");
        assert_eq!(vault.rewrap("p", &sealed), Err(Sealed));
        let wrapped = vault.rewrap("o", &sealed).unwrap().unwrap();
        assert_eq!(sealed_under(&wrapped), Ok(new.id()));
        let alone = Vault::with_keys(&[new]);
        assert_eq!(alone.open("o", &wrapped), Ok(secrets));
        assert_eq!(alone.open("o", &sealed), Err(Sealed));
        // The values are byte for byte the same.
        let values =
            |sealed: &[u8]| read(sealed).unwrap().fields.iter().map(|f| f.value.to_vec()).collect::<Vec<_>>();
        assert_eq!(values(&sealed), values(&wrapped));
    }
}
