//! Builder of a module's description: what it is and may do. What is not declared is refused at run time.
//!
//! ```
//! use portolan_sdk::prelude::*;
//!
//! let description = Description::new("stripe-to-epicor", "1.0.0", "Charges become orders.")
//!     .serves("stripe", "charge.succeeded")
//!     .connection("erp", "epicor", &["sales-order.create", "sales-order.find"])
//!     .table("parts", "Stripe product to Epicor part")
//!     .settings_schema(r#"{"type": "object"}"#);
//! assert_eq!(description.connections[0].operations.len(), 2);
//! ```

use crate::contract::{Description, RequiredConnection, RequiredTable, Served};

impl Description {
    /// A module by its name (lower-case letters, digits, dashes), version and a sentence.
    #[must_use]
    pub fn new(name: impl Into<String>, version: impl Into<String>, summary: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            summary: summary.into(),
            serves: Vec::new(),
            connections: Vec::new(),
            tables: Vec::new(),
            settings_schema: r#"{"type":"object"}"#.to_owned(),
        }
    }

    /// A kind of event it serves; a kind may end in `.*`.
    #[must_use]
    pub fn serves(mut self, system: &str, kind: &str) -> Self {
        self.serves.push(Served { system: system.to_owned(), kind: kind.to_owned() });
        self
    }

    /// A connection it uses, by a name of its own, with every operation, reads and writes.
    #[must_use]
    pub fn connection(mut self, name: &str, connector: &str, operations: &[&str]) -> Self {
        let operations = operations.iter().map(|&operation| operation.to_owned()).collect();
        let (name, connector) = (name.to_owned(), connector.to_owned());
        self.connections.push(RequiredConnection { name, connector, operations, optional: false });
        self
    }

    /// As [`Self::connection`], but a mapping may leave it unbound.
    #[must_use]
    pub fn optional_connection(self, name: &str, connector: &str, operations: &[&str]) -> Self {
        let mut description = self.connection(name, connector, operations);
        if let Some(added) = description.connections.last_mut() {
            added.optional = true;
        }
        description
    }

    /// A lookup table it reads, and what that maps, for the person who fills it.
    #[must_use]
    pub fn table(mut self, name: &str, summary: &str) -> Self {
        self.tables.push(RequiredTable { name: name.to_owned(), summary: summary.to_owned() });
        self
    }

    /// The JSON Schema (2020-12) of its settings.
    #[must_use]
    pub fn settings_schema(mut self, schema: &str) -> Self {
        schema.clone_into(&mut self.settings_schema);
        self
    }
}
