//! The connectors by name. The binary makes one and hands it to whoever has a tenant's settings.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    ConfigError, Connection, ConnectionConfig, Connector, Operation,
    outbound::{Outbound, Transport},
};
use crate::{epicor::Epicor, json_http::JsonHttp, sage_pro::SagePro, sap_ecc::SapEcc, stripe::Stripe};

/// All connectors the host has, by name.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    connectors: BTreeMap<&'static str, Arc<dyn Connector>>,
}

impl Registry {
    /// The connectors of `docs/connectors.md`.
    #[must_use]
    pub fn standard() -> Self {
        Self::default().with(Stripe).with(SapEcc).with(Epicor).with(SagePro).with(JsonHttp)
    }

    /// Adds a connector; one of the same name gives way.
    #[must_use]
    pub fn with(mut self, connector: impl Connector + 'static) -> Self {
        self.connectors.insert(connector.name(), Arc::new(Routed(connector)));
        self
    }

    /// The connector of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Connector>> {
        self.connectors.get(name)
    }

    /// All names, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.connectors.keys().copied()
    }
}

/// A connector whose connections may have a way of their own to their system: certificates, a proxy. The connector
/// sees settings without these, and makes its pool as always.
#[derive(Debug)]
struct Routed<C>(C);

impl<C: Connector> Connector for Routed<C> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn operations(&self) -> &'static [Operation] {
        self.0.operations()
    }

    fn connect(
        &self,
        config: &ConnectionConfig,
        outbound: &Outbound,
    ) -> Result<Arc<dyn Connection>, ConfigError> {
        let mut config = config.clone();
        match Transport::take(&mut config)? {
            None => self.0.connect(&config, outbound),
            Some(transport) => self.0.connect(&config, &outbound.with_transport(transport)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_connector_of_the_catalogue_is_there() {
        let registry = Registry::standard();
        let names: Vec<_> = registry.names().collect();
        assert_eq!(names, ["epicor", "http", "sage-pro", "sap-ecc", "stripe"]);
        for name in names {
            assert_eq!(registry.get(name).unwrap().name(), name);
        }
        assert!(registry.get("odbc").is_none());
    }

    #[test]
    fn operation_names_are_unique_within_a_connector() {
        let registry = Registry::standard();
        for connector in registry.names().filter_map(|name| registry.get(name)) {
            let names: std::collections::BTreeSet<_> =
                connector.operations().iter().map(|o| o.name).collect();
            assert_eq!(names.len(), connector.operations().len(), "{}", connector.name());
        }
    }
}
