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
    /// A web service around a wrapper.
    Service,
    /// An IDoc, plain XML.
    IdocXml,
    /// An IDoc in an envelope: exactly once by its message id.
    IdocSoap,
}

impl Door {
    const ALL: [(&str, Self); 4] = [
        ("soap-rfc", Self::SoapRfc),
        ("srt", Self::Service),
        ("idoc-xml", Self::IdocXml),
        ("idoc-soap", Self::IdocSoap),
    ];

    fn parse(value: &Value) -> Option<Self> {
        Self::ALL.iter().find(|(word, _)| value.as_str() == Some(word)).map(|(_, door)| *door)
    }

    const fn is_for_idocs(self) -> bool {
        matches!(self, Self::IdocXml | Self::IdocSoap)
    }
}

/// The door of every document, and of what is read.
#[derive(Debug, Default)]
pub(super) struct Doors {
    documents: BTreeMap<Document, Door>,
    /// Whether reads go through web services.
    pub(super) reads_by_service: bool,
}

impl Doors {
    /// The settings' `doors`.
    pub(super) fn read(settings: &Settings<'_>) -> Result<Self, ConfigError> {
        let mut doors = Self::default();
        let fields = match settings.value("doors") {
            None => return Ok(doors),
            Some(Value::Object(fields)) => fields,
            Some(_) => return Err(refuse("doors", "must be an object of operations and doors")),
        };
        for (operation, value) in fields {
            let pointer = format!("doors/{operation}");
            let words = Door::ALL.map(|(word, _)| word).join(", ");
            let door = Door::parse(value);
            let door = door.ok_or_else(|| refuse(&pointer, format!("must be one of: {words}")))?;
            if operation == "reads" {
                if door.is_for_idocs() {
                    return Err(refuse(&pointer, "must be soap-rfc or srt: IDocs read nothing"));
                }
                doors.reads_by_service = door == Door::Service;
                continue;
            }
            let document = Document::of(operation).ok_or_else(|| {
                let known = Document::ALL.map(Document::operation).join(", ");
                refuse(&pointer, format!("has no choice of doors; those that have: reads, {known}"))
            })?;
            if door.is_for_idocs() && matches!(document, Document::SalesOrderChange | Document::Reversal) {
                return Err(refuse(&pointer, "must be soap-rfc or srt: there is no IDoc for it"));
            }
            doors.documents.insert(document, door);
        }
        Ok(doors)
    }

    /// The door of a document.
    pub(super) fn of(&self, document: Document) -> Door {
        self.documents.get(&document).copied().unwrap_or(Door::SoapRfc)
    }

    /// Whether any document goes in as an IDoc.
    pub(super) fn has_idocs(&self) -> bool {
        self.documents.values().any(|door| door.is_for_idocs())
    }
}
