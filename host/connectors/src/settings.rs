//! Reads a connection's settings and secrets strictly: every value has a form, what is not known is refused,
//! and each refusal names the setting and the remedy. Connectors call it in [`crate::Connector::connect`].

use std::{cell::RefCell, collections::BTreeSet, ops::RangeInclusive, time::Duration};

use portolan_domain::{Secret, guard};
use serde_json::{Map, Value};

use crate::{ConfigError, ConnectionConfig, Traffic, connection::Limits};

/// The longest text of a setting, in bytes.
const TEXT_BYTES_MAX: usize = 4096;

/// The longest that a call may take: a question and a call must end within the deliverer's lease (180 s), or a
/// second owner could make the call while the first is still at it.
const TIMEOUT_MS_MAX: u64 = 60_000;

/// See [`SETTLE`].
const SETTLE_MS: u64 = 5_000;

/// How long after an unknown outcome a system may still be working, where a connection does not say.
pub(crate) const SETTLE: Duration = Duration::from_millis(SETTLE_MS);

/// Settings that are being read.
#[derive(Debug)]
pub(crate) struct Settings<'a> {
    fields: &'a Map<String, Value>,
    config: &'a ConnectionConfig,
    known: RefCell<BTreeSet<&'static str>>,
    known_secrets: RefCell<BTreeSet<&'static str>>,
}

/// A refusal of `/settings/{name}`.
pub(crate) fn refuse(name: &str, message: impl Into<String>) -> ConfigError {
    ConfigError { pointer: format!("/settings/{name}"), message: message.into() }
}

/// A refusal of `/secrets/{name}`.
pub(crate) fn refuse_secret(name: &str, message: impl Into<String>) -> ConfigError {
    ConfigError { pointer: format!("/secrets/{name}"), message: message.into() }
}

impl<'a> Settings<'a> {
    /// Begins to read.
    pub(crate) fn of(config: &'a ConnectionConfig) -> Result<Self, ConfigError> {
        let Value::Object(fields) = &config.settings else {
            let message = "settings are a JSON object".to_owned();
            return Err(ConfigError { pointer: "/settings".to_owned(), message });
        };
        Ok(Self { fields, config, known: RefCell::default(), known_secrets: RefCell::default() })
    }

    /// A setting as it stands; null counts as absent.
    pub(crate) fn value(&self, name: &'static str) -> Option<&'a Value> {
        self.known.borrow_mut().insert(name);
        self.fields.get(name).filter(|value| !value.is_null())
    }

    /// A text that may be left out.
    pub(crate) fn text(&self, name: &'static str) -> Result<Option<&'a str>, ConfigError> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.len() <= TEXT_BYTES_MAX && !has_control(text) => Ok(Some(text)),
            Some(_) => Err(refuse(name, "must be a text without control characters, at most 4096 bytes")),
        }
    }

    /// A text with a default.
    pub(crate) fn text_or(&self, name: &'static str, default: &'a str) -> Result<&'a str, ConfigError> {
        Ok(self.text(name)?.unwrap_or(default))
    }

    /// A text that must be there.
    pub(crate) fn text_required(&self, name: &'static str) -> Result<&'a str, ConfigError> {
        match self.text(name)? {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(refuse(name, "is required")),
        }
    }

    /// One of several words; the first is the default.
    pub(crate) fn choice<T: Copy>(
        &self,
        name: &'static str,
        choices: &[(&'static str, T)],
        default: T,
    ) -> Result<T, ConfigError> {
        let Some(text) = self.text(name)? else { return Ok(default) };
        let found = choices.iter().find(|(word, _)| *word == text).map(|(_, choice)| *choice);
        found.ok_or_else(|| {
            let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
            refuse(name, format!("must be one of: {}", words.join(", ")))
        })
    }

    /// A whole number within a range.
    pub(crate) fn integer(
        &self,
        name: &'static str,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> Result<u64, ConfigError> {
        let value = self.value(name).map_or(Some(default), Value::as_u64);
        value.filter(|number| range.contains(number)).ok_or_else(|| {
            refuse(name, format!("must be a whole number from {} to {}", range.start(), range.end()))
        })
    }

    /// What every connection takes.
    pub(crate) fn limits(&self) -> Result<Limits, ConfigError> {
        let timeout = Duration::from_millis(self.integer("timeout_ms", 30_000, 100..=TIMEOUT_MS_MAX)?);
        let settle = Duration::from_millis(self.integer("settle_ms", SETTLE_MS, 0..=3_600_000)?);
        let concurrency_max = self.integer("concurrency_max", 4, 1..=256)?;
        let concurrency_max = usize::try_from(concurrency_max).unwrap_or(1);
        self.known.borrow_mut().extend(guard::SETTINGS);
        guard::Guard::read(&self.config.settings).map_err(|bad| refuse(bad.setting, bad.remedy))?;
        Ok(Limits { timeout, settle, concurrency_max, traffic: self.traffic()? })
    }

    fn traffic(&self) -> Result<Traffic, ConfigError> {
        let number = |name, default, max| {
            let number = self.integer(name, default, 0..=max)?;
            Ok(u32::try_from(number).unwrap_or(u32::MAX))
        };
        Ok(Traffic {
            requests_per_second: number("requests_per_second", 0, 10_000)?,
            breaker_failures: number("breaker_failures", 5, 1_000)?,
            retry_percent_max: number("retry_percent_max", 10, 100)?,
        })
    }

    /// A secret that may be left out.
    pub(crate) fn secret(&self, name: &'static str) -> Result<Option<Secret>, ConfigError> {
        self.known_secrets.borrow_mut().insert(name);
        match self.config.secrets.get(name) {
            None => Ok(None),
            Some(secret) if secret.expose().is_empty() => Err(refuse_secret(name, "must not be empty")),
            Some(secret) if secret.expose().len() > TEXT_BYTES_MAX || has_control(secret.expose()) => {
                Err(refuse_secret(name, "must have no control characters and at most 4096 bytes"))
            }
            Some(secret) => Ok(Some(secret.clone())),
        }
    }

    /// A secret that must be there.
    pub(crate) fn secret_required(&self, name: &'static str) -> Result<Secret, ConfigError> {
        self.secret(name)?.ok_or_else(|| refuse_secret(name, "is required"))
    }

    /// Ends: whatever was not asked for is not known.
    pub(crate) fn finish(&self) -> Result<(), ConfigError> {
        let (known, known_secrets) = (self.known.borrow(), self.known_secrets.borrow());
        if let Some(name) = self.fields.keys().find(|name| !known.contains(name.as_str())) {
            let names: Vec<_> = known.iter().copied().collect();
            return Err(refuse(name, format!("is not a setting; the settings are: {}", names.join(", "))));
        }
        let secrets = &self.config.secrets;
        if let Some(name) = secrets.keys().find(|name| !known_secrets.contains(name.as_str())) {
            let names: Vec<_> = known_secrets.iter().copied().collect();
            let message = format!("is not used with these settings; the secrets are: {}", names.join(", "));
            return Err(refuse_secret(name, message));
        }
        Ok(())
    }
}

/// Whether a text has characters that headers and documents have no place for.
pub(crate) fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    fn config(settings: Value) -> ConnectionConfig {
        let secrets = BTreeMap::from([("api_key".to_owned(), Secret::new("sk_test"))]);
        ConnectionConfig { settings, secrets }
    }

    #[test]
    fn what_is_not_known_is_refused_by_name() {
        let config = config(json!({"base_url": "x", "base_uri": "y"}));
        let settings = Settings::of(&config).unwrap();
        settings.text("base_url").unwrap();
        settings.secret("api_key").unwrap();
        let error = settings.finish().unwrap_err();
        assert_eq!(error.pointer, "/settings/base_uri");
        assert!(error.message.contains("base_url"), "{error}");
    }

    #[test]
    fn an_unknown_secret_is_refused_by_name() {
        let config = config(json!({}));
        let error = Settings::of(&config).unwrap().finish().unwrap_err();
        assert_eq!(error.pointer, "/secrets/api_key");
        assert!(!error.message.contains("sk_test"));
    }

    #[test]
    fn numbers_have_ranges() {
        for bad in [json!(99), json!("5000"), json!(-1), json!(1.5), json!(60_001)] {
            let config = config(json!({"timeout_ms": bad}));
            let error = Settings::of(&config).unwrap().limits().unwrap_err();
            assert_eq!(error.pointer, "/settings/timeout_ms");
        }
        let config = config(json!({"timeout_ms": 100, "settle_ms": 0}));
        let limits = Settings::of(&config).unwrap().limits().unwrap();
        assert_eq!((limits.timeout, limits.settle), (Duration::from_millis(100), Duration::ZERO));
        assert_eq!(limits.concurrency_max, 4);
    }

    #[test]
    fn texts_have_no_control_characters() {
        let config = config(json!({"company": "EPIC06\r\nHost: x"}));
        assert!(Settings::of(&config).unwrap().text("company").is_err());
    }
}
