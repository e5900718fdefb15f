//! The capability sheet of a module: what it may do, what it asks for, what it weighs and what it costs.

use std::collections::BTreeMap;

use aide::axum::{ApiRouter, routing::get_with};
use axum::extract::State;
use portolan_domain::{
    ModuleDigest, ReplayId,
    contract::{RequiredConnection, RequiredTable, Served},
    grant::Grants,
};
use portolan_store::replay::FuelProfile;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::{
    Api,
    auth::{OfTenant, Viewer},
    openapi::op,
    params::Digest,
    problem::Problem,
};

pub(crate) fn routes() -> ApiRouter<Api> {
    ApiRouter::new()
        .api_route(
            "/modules/{digest}/sheet",
            get_with(get_module_sheet, op("get_module_sheet", "What a module may do, asks for and costs")),
        )
        .with_path_items(|path| path.tag("modules"))
}

/// What a module may do, asks for and costs.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CapabilitySheet")]
pub(crate) struct Sheet {
    digest: ModuleDigest,
    name: String,
    version: String,
    summary: String,
    serves: Vec<Served>,
    /// The connections that it uses, with every operation.
    connections: Vec<RequiredConnection>,
    /// The lookup tables that it reads.
    tables: Vec<RequiredTable>,
    /// JSON Schema (2020-12).
    settings_schema: Value,
    /// What a mapping grants when it grants everything that is declared.
    grants: Grants,
    component_bytes: u64,
    /// Interfaces that it imports; null for modules that were uploaded before this was kept.
    imports: Option<Vec<String>>,
    exports: Option<Vec<String>>,
    /// `{"component_bytes", "artifact_bytes", "functions", "core_instances", "describe_fuel", …}`, as found at the upload.
    stats: BTreeMap<String, Value>,
    warnings: Vec<String>,
    /// The name of the tenant's key that has signed it.
    signed_by: Option<String>,
    paused: bool,
    /// What it cost in its latest replay; null before the first.
    fuel: Option<Fuel>,
}

/// Fuel of one event, over all rounds.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Fuel {
    replay: ReplayId,
    /// Of so many events.
    events: u64,
    least: u64,
    median: u64,
    /// Of 100 events, 99 cost at most this.
    p99: u64,
    most: u64,
}

impl From<FuelProfile> for Fuel {
    fn from(profile: FuelProfile) -> Self {
        let FuelProfile { replay, events, least, median, p99, most } = profile;
        Self { replay, events, least, median, p99, most }
    }
}

pub(crate) async fn get_module_sheet(
    State(api): State<Api>,
    caller: OfTenant<Viewer>,
    Digest(digest): Digest<ModuleDigest>,
) -> Result<axum::Json<Sheet>, Problem> {
    let store = &api.shared.store;
    let module = store.module_get(&caller.tenant, &digest).await?;
    let fuel = store.replay_fuel(&caller.tenant, &digest).await?;
    let texts = |name: &str| -> Option<Vec<String>> {
        let list = module.sheet.get(name)?.as_array()?;
        Some(list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
    };
    let stats = module.sheet.get("stats").and_then(Value::as_object).cloned().unwrap_or_default();
    let grants = Grants::of(&module.description);
    let (imports, exports) = (texts("imports"), texts("exports"));
    let warnings = texts("warnings").unwrap_or_default();
    let description = module.description;
    Ok(axum::Json(Sheet {
        digest,
        grants,
        imports,
        exports,
        warnings,
        name: description.name,
        version: description.version,
        summary: description.summary,
        serves: description.serves,
        connections: description.connections,
        tables: description.tables,
        settings_schema: description.settings_schema,
        component_bytes: module.component_bytes,
        stats: stats.into_iter().collect(),
        signed_by: module.signed.map(|signed| signed.by),
        paused: module.paused.is_some(),
        fuel: fuel.map(Fuel::from),
    }))
}
