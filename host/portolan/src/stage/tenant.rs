//! A tenant on the stage: made by the operator, then set up with its own key, as a customer would.

use anyhow::Context;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Client, SIGNING_SECRET, signed_headers};

/// Everything that a tenant's one mapping needs.
#[derive(Debug, Clone)]
pub struct TenantSetup {
    /// The tenant's name.
    pub name: String,
    /// The component.
    pub module: Vec<u8>,
    /// The module's name for a connection → connector, settings, secrets.
    pub connections: Vec<(String, Value)>,
    /// Table → rows.
    pub tables: Vec<(String, Value)>,
    /// The mapping's settings.
    pub settings: Value,
}

/// A tenant that is set up.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// With its first key.
    pub client: Client,
    /// Where its webhooks go.
    pub hook: Address,
    /// The mapping's id.
    pub mapping: String,
    /// The module's digest.
    pub module: String,
    /// The module's name for a connection → the connection's id.
    pub connections: Value,
}

/// The path of a source: `/hooks/src_…`.
pub type Address = String;

/// The environment that the stage plays in.
pub(super) const ENVIRONMENT: &str = "/api/v1/environments/sandbox";

impl Tenant {
    /// Makes the tenant, its connections, tables, module, source and mapping.
    ///
    /// # Errors
    /// Whatever the host refuses.
    pub async fn set_up(operator: &Client, setup: &TenantSetup) -> anyhow::Result<Self> {
        let made = operator.post("/api/v1/tenants", &json!({ "name": setup.name })).await?;
        let secret = made["key"]["secret"].as_str().context("the tenant has no key")?;
        let client = operator.with_key(secret);
        let mut connections = json!({});
        for (name, connection) in &setup.connections {
            let mut connection = connection.clone();
            connection["name"] = json!(name);
            connections[name] =
                client.post(&format!("{ENVIRONMENT}/connections"), &connection).await?["id"].clone();
        }
        for (table, rows) in &setup.tables {
            let path = format!("{ENVIRONMENT}/lookup-tables/{table}/rows");
            client.put(&path, &json!({ "rows": rows })).await?;
        }
        let module = Self::upload(&client, setup.module.clone()).await?;
        let source = json!({ "name": "stripe", "system": "stripe", "secrets": [SIGNING_SECRET] });
        let source = client.post(&format!("{ENVIRONMENT}/sources"), &source).await?;
        let mapping = json!({
            "name": "charges",
            "source": source["id"],
            "module": module["digest"],
            "settings": setup.settings,
            "connections": connections,
        });
        let mapping = client.post(&format!("{ENVIRONMENT}/mappings"), &mapping).await?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(Self {
            id: text(&made["id"]),
            name: setup.name.clone(),
            client,
            hook: text(&source["path"]),
            mapping: text(&mapping["id"]),
            module: text(&module["digest"]),
            connections,
        })
    }

    /// Uploads a module with this key.
    ///
    /// # Errors
    /// [`super::Refused`] with the host's reasons.
    pub async fn upload(client: &Client, module: Vec<u8>) -> anyhow::Result<Value> {
        let path = "/api/v1/modules";
        let body = Some(("application/wasm", module));
        let (status, answer) = client.exchange(Method::POST, path, body, &[]).await?;
        if !status.is_success() {
            return Err(client.refused(Method::POST, path, status, answer).into());
        }
        Ok(answer)
    }

    /// Sends a webhook that is signed now.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn webhook(&self, body: &[u8]) -> anyhow::Result<(StatusCode, Value)> {
        let headers = signed_headers(SIGNING_SECRET, body);
        let body = Some(("application/json", body.to_vec()));
        self.client.exchange(Method::POST, &self.hook, body, &headers).await
    }

    /// Reads from the tenant's environment: `/events/evt_…`.
    ///
    /// # Errors
    /// Whatever the host refuses.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.client.get(&format!("{ENVIRONMENT}{path}")).await
    }

    /// Acts in the tenant's environment.
    ///
    /// # Errors
    /// Whatever the host refuses.
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.client.post(&format!("{ENVIRONMENT}{path}"), body).await
    }
}
