//! Which way a document goes into the system.

use std::collections::BTreeMap;

use serde_json::Value;

use super::documents::Document;
use crate::{
    ConfigError,
    settings::{Settings, refuse},
};

/// A way into the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    /// SOAP-RFC: a wrapper or a session.
    SoapRfc,
}

/// The door of every document.
#[derive(Debug, Default)]
pub(super) struct Doors(BTreeMap<Document, Door>);

impl Doors {
    /// The settings' `doors`.
    pub(super) fn read(settings: &Settings<'_>) -> Result<Self, ConfigError> {
        let mut doors = Self::default();
        let fields = match settings.value("doors") {
            None => return Ok(doors),
            Some(Value::Object(fields)) => fields,
            Some(_) => return Err(refuse("doors", "must be an object of operations and doors")),
        };
        for (operation, door) in fields {
            let pointer = format!("doors/{operation}");
            let document =
                Document::of(operation).ok_or_else(|| refuse(&pointer, "is no write of documents"))?;
            let door = match door.as_str() {
                Some("soap-rfc") => Door::SoapRfc,
                _ => return Err(refuse(&pointer, "must be one of: soap-rfc")),
            };
            doors.0.insert(document, door);
        }
        Ok(doors)
    }

    /// The door of a document.
    pub(super) fn of(&self, document: Document) -> Door {
        self.0.get(&document).copied().unwrap_or(Door::SoapRfc)
    }
}
