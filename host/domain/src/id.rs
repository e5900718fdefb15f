//! Typed ids. Each is a prefix and a ULID, so that it says what it names, sorts by time and cannot be
//! mistaken for another: `evt_01JD…` does not parse as a [`RunId`].

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use ulid::Ulid;

use crate::Timestamp;

/// Why a text is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an id of the form {expected}, got {got:?}")]
pub struct InvalidId {
    /// The form that would have been right.
    pub expected: &'static str,
    /// The text, cut to 64 characters.
    pub got: String,
}

impl InvalidId {
    fn new(expected: &'static str, got: &str) -> Self {
        Self { expected, got: got.chars().take(64).collect() }
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// What every id of this kind begins with.
            pub const PREFIX: &'static str = $prefix;

            /// A new id that sorts after those made in earlier milliseconds.
            #[must_use]
            pub fn generate(now: Timestamp) -> Self {
                Self(format!("{}{}", $prefix, Ulid::from_parts(now.as_millis(), random_bits())))
            }

            /// The least id that [`Self::generate`] could make in this millisecond: ids sort by time.
            #[must_use]
            pub fn least(time: Timestamp) -> Self {
                Self(format!("{}{}", $prefix, Ulid::from_parts(time.as_millis(), 0)))
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str { &self.0 }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                match text.strip_prefix($prefix) {
                    Some(rest) if rest.len() == ulid::ULID_LEN && Ulid::from_string(rest).is_ok() =>
                        Ok(Self(text.to_owned())),
                    _ => Err(InvalidId::new(concat!($prefix, "<26 characters>"), text)),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> { text.parse() }
        }
        impl From<$name> for String { fn from(id: $name) -> String { id.0 } }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&self.0) }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&self.0) }
        }
        impl AsRef<str> for $name { fn as_ref(&self) -> &str { &self.0 } }

        impl JsonSchema for $name {
            fn inline_schema() -> bool { true }
            fn schema_name() -> Cow<'static, str> { stringify!($name).into() }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": concat!("^", $prefix, "[0-7][0-9A-HJKMNP-TV-Z]{25}$") })
            }
        }
    )*};
}

ids! {
    /// A tenant: one customer of the operator.
    TenantId = "ten_";
    /// A key of the admin API (not its secret).
    KeyId = "key_";
    /// A configured place where events arrive.
    SourceId = "src_";
    /// A tenant's configured connector.
    ConnectionId = "con_";
    /// A binding of a source and event kinds to a module, settings and connections.
    MappingId = "map_";
    /// One received, stored, unchanging request.
    EventId = "evt_";
    /// One execution of a module on an event.
    RunId = "run_";
    /// The duty to make one outbound call.
    DeliveryId = "dlv_";
    /// Something that people should hear of.
    AlertId = "alr_";
    /// What says which alerts and successes are told to whom.
    NotificationRuleId = "ntf_";
    /// One thing that a notification rule tells. Its receiver sees it as `webhook-id`.
    NoticeId = "ntc_";
    /// A module executed again on stored events, delivering nothing.
    ReplayId = "rep_";
}

fn random_bits() -> u128 {
    let mut bytes = [0u8; 16];
    // The system's randomness does not fail on the platforms we run on once the machine is up; an id of
    // zero bits would still be refused by the primary key it goes into.
    if getrandom::fill(&mut bytes).is_err() {
        return 0;
    }
    u128::from_le_bytes(bytes)
}

/// The identity of a module: the SHA-256 of the bytes that were uploaded, in hex (64 characters).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModuleDigest(String);

impl ModuleDigest {
    /// The digest of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(hex::encode(Sha256::digest(bytes)))
    }

    /// 64 hex characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ModuleDigest {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() == 64 && text.bytes().all(lower_hex) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidId::new("<64 lower-case hex characters>", text))
        }
    }
}

impl JsonSchema for ModuleDigest {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "ModuleDigest".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9a-f]{64}$" })
    }
}

impl TryFrom<String> for ModuleDigest {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}
impl From<ModuleDigest> for String {
    fn from(digest: ModuleDigest) -> String {
        digest.0
    }
}
impl fmt::Display for ModuleDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Debug for ModuleDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_one_kind_does_not_parse_as_another() {
        let event = EventId::generate(Timestamp::from_millis(1));
        assert!(event.as_str().parse::<EventId>().is_ok());
        let error = event.as_str().parse::<RunId>().unwrap_err();
        assert!(error.to_string().contains("run_<26 characters>"));
    }

    #[test]
    fn ids_sort_by_time() {
        let earlier = EventId::generate(Timestamp::from_millis(1_000));
        let later = EventId::generate(Timestamp::from_millis(1_001));
        assert!(earlier < later);
    }

    #[test]
    fn a_digest_is_the_sha_256_of_the_bytes_in_lower_case() {
        assert_eq!(
            ModuleDigest::of(b"abc").as_str(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert!(
            "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"
                .parse::<ModuleDigest>()
                .is_err()
        );
    }
}
