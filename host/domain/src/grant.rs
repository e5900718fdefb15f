//! What a mapping allows its module: the connections, operations and tables that were granted when it was pinned. A
//! version that asks for more needs a new grant; at run time what is not granted is refused.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::{Description, Need, Plan};

/// What is granted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Grants {
    /// The module's name for a connection → the operations that it may use on it.
    #[serde(default)]
    pub connections: BTreeMap<String, BTreeSet<String>>,
    /// The lookup tables that it may read.
    #[serde(default)]
    pub tables: BTreeSet<String>,
}

impl Grants {
    /// Everything that a module declares.
    #[must_use]
    pub fn of(description: &Description) -> Self {
        let operations = description.connections.iter();
        Self {
            connections: operations
                .map(|wanted| (wanted.name.clone(), wanted.operations.iter().cloned().collect()))
                .collect(),
            tables: description.tables.iter().map(|table| table.name.clone()).collect(),
        }
    }

    /// What a module declares and is not granted, by name: `connections/erp/order.create`, `tables/parts`.
    #[must_use]
    pub fn missing_for(&self, description: &Description) -> Vec<String> {
        let asked = Self::of(description);
        let operations = asked.connections.iter().flat_map(|(name, operations)| {
            let granted = self.connections.get(name);
            let is_new = move |one: &&String| granted.is_none_or(|granted| !granted.contains(*one));
            operations.iter().filter(is_new).map(move |one| format!("connections/{name}/{one}"))
        });
        let tables = asked.tables.difference(&self.tables).map(|table| format!("tables/{table}"));
        operations.chain(tables).collect()
    }

    fn allows(&self, connection: &str, operation: &str) -> bool {
        self.connections.get(connection).is_some_and(|granted| granted.contains(operation))
    }

    /// What a need asks for that is not granted, by name.
    #[must_use]
    pub fn refused_of_need(&self, need: &Need) -> Option<String> {
        match need {
            Need::Lookup(lookup) => {
                (!self.tables.contains(&lookup.table)).then(|| format!("tables/{}", lookup.table))
            }
            Need::Query(query) => (!self.allows(&query.connection, &query.operation))
                .then(|| format!("connections/{}/{}", query.connection, query.operation)),
            Need::Reference(_) => None,
        }
    }

    /// What a plan uses that is not granted, by name.
    #[must_use]
    pub fn refused_of_plan(&self, plan: &Plan) -> Option<String> {
        plan.deliveries.iter().find_map(|delivery| {
            let asked = delivery.unless.iter().map(|check| &check.operation);
            let mut used = std::iter::once(&delivery.operation).chain(asked);
            used.find(|operation| !self.allows(&delivery.connection, operation))
                .map(|operation| format!("connections/{}/{operation}", delivery.connection))
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::contract::{Lookup, Query, RequiredConnection, RequiredTable};

    fn description(operations: &[&str], tables: &[&str]) -> Description {
        let table = |name: &&str| RequiredTable { name: (*name).to_owned(), summary: String::new() };
        Description {
            name: "m".into(),
            version: "1.0.0".into(),
            summary: String::new(),
            serves: vec![],
            connections: vec![RequiredConnection {
                name: "erp".into(),
                connector: "epicor".into(),
                operations: operations.iter().map(|one| (*one).to_owned()).collect(),
                optional: false,
            }],
            tables: tables.iter().map(table).collect(),
            settings_schema: json!({}),
        }
    }

    #[test]
    fn a_version_that_asks_for_more_is_named_what_is_new() {
        let granted = Grants::of(&description(&["order.create"], &["parts"]));
        assert!(granted.missing_for(&description(&["order.create"], &[])).is_empty());
        let more = description(&["order.create", "order.delete"], &["parts", "prices"]);
        assert_eq!(granted.missing_for(&more), ["connections/erp/order.delete", "tables/prices"]);
    }

    #[test]
    fn what_is_not_granted_is_refused_by_name() {
        let granted = Grants::of(&description(&["customers.find"], &["parts"]));
        let query = |operation: &str| {
            Need::Query(Query {
                connection: "erp".into(),
                operation: operation.into(),
                parameters: json!({}),
            })
        };
        let lookup = |table: &str| Need::Lookup(Lookup { table: table.into(), key: "1".into() });
        assert_eq!(granted.refused_of_need(&query("customers.find")), None);
        assert_eq!(granted.refused_of_need(&lookup("parts")), None);
        assert_eq!(granted.refused_of_need(&query("x")).unwrap(), "connections/erp/x");
        assert_eq!(granted.refused_of_need(&lookup("prices")).unwrap(), "tables/prices");
        let plan: Plan = serde_json::from_value(json!({
            "ordering-key": null, "references": [], "alerts": [], "deliveries": [{
                "key": "a", "connection": "erp", "operation": "customers.find", "body": {}, "after": [], "bindings": [],
                "unless": { "when": "always", "operation": "orders.find", "parameters": {}, "bindings": [], "hit": "" },
                "once": null, "captures": [], "ledger": [],
            }],
        }))
        .unwrap();
        assert_eq!(granted.refused_of_plan(&plan).unwrap(), "connections/erp/orders.find");
        let both = Grants::of(&description(&["customers.find", "orders.find"], &[]));
        assert_eq!(both.refused_of_plan(&plan), None);
    }
}
