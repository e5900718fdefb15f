//! Bounds of what connections and sources are told in one request: all of it is read whenever they are used.

use portolan_domain::Secret;
use serde_json::Value;

/// Settings of one connection or source, in bytes of JSON.
const SETTINGS_BYTES_MAX: usize = 64 * 1024;
/// One secret, in bytes: a private key and its certificates have room.
const SECRET_BYTES_MAX: usize = 16 * 1024;
/// Secrets of one connection.
const SECRETS_MAX: usize = 32;

/// Whether these settings and secrets may be kept.
pub(crate) fn check<'a>(
    settings: &Value,
    secrets: impl ExactSizeIterator<Item = &'a Secret>,
) -> Result<(), String> {
    if settings.to_string().len() > SETTINGS_BYTES_MAX {
        return Err(format!("settings: at most {SETTINGS_BYTES_MAX} bytes of JSON"));
    }
    if secrets.len() > SECRETS_MAX {
        return Err(format!("secrets: at most {SECRETS_MAX}"));
    }
    for secret in secrets {
        if secret.expose().len() > SECRET_BYTES_MAX {
            return Err(format!("secrets: each has at most {SECRET_BYTES_MAX} bytes"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_told_is_bounded() {
        let long = Secret::new("x".repeat(SECRET_BYTES_MAX + 1));
        let fits = Secret::new("x".repeat(SECRET_BYTES_MAX));
        assert_eq!(check(&json!({}), [&fits; SECRETS_MAX].into_iter()), Ok(()));
        assert!(check(&json!({}), [&fits; SECRETS_MAX + 1].into_iter()).is_err());
        assert!(check(&json!({}), [&fits, &long].into_iter()).is_err());
        assert!(check(&json!({ "a": "x".repeat(SETTINGS_BYTES_MAX) }), [].iter()).is_err());
    }
}
