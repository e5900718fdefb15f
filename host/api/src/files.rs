//! An environment as files: what is configured, by name instead of by id, without a secret, in one stable document. It is
//! kept in git, reviewed there, and put into the same or another environment again: `import` says what would change
//! and, when asked, changes it.

use std::collections::BTreeMap;

use aide::axum::{ApiRouter, routing::get_with};
use axum::extract::State;
use portolan_domain::{ConnectionId, ModuleDigest, Scope, grant::Grants};
use portolan_store::{
    Page, connection::ConnectionRow, desk::EnvironmentSettings, mapping::Mapping, source::Source,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    Api,
    auth::{InScope, Viewer},
    connections,
    openapi::op,
    problem::Problem,
};

mod import;

/// The form of the document.
const FORM: u32 = 1;
/// Rows that are read at once.
const ROWS_MAX: u32 = 500;
/// Rows of all lookup tables of a document.
const LOOKUP_ROWS_MAX: usize = 100_000;
/// Connections, sources and mappings of a document, each.
const NAMES_MAX: usize = 1_000;

pub(crate) fn routes() -> ApiRouter<Api> {
    ApiRouter::new()
        .api_route(
            "/files",
            get_with(export_files, op("export_files", "What is configured, as a document for files"))
                .post_with(
                    import::import_files,
                    op("import_files", "Says what a document would change, or changes it"),
                ),
        )
        .with_path_items(|path| path.tag("environment"))
}

/// What is configured in an environment, by name.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "EnvironmentFiles")]
pub(crate) struct Document {
    /// 1
    pub(crate) portolan: u32,
    /// What the environment asks of those who decide; left out: stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) settings: Option<SettingsFile>,
    /// By name.
    #[serde(default)]
    pub(crate) connections: BTreeMap<String, ConnectionFile>,
    /// By name.
    #[serde(default)]
    pub(crate) sources: BTreeMap<String, SourceFile>,
    /// Table → key → value.
    #[serde(default)]
    pub(crate) lookup_tables: BTreeMap<String, BTreeMap<String, Value>>,
    /// By name.
    #[serde(default)]
    pub(crate) mappings: BTreeMap<String, MappingFile>,
}

/// What an environment asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SettingsFile {
    pub(crate) four_eyes: bool,
    #[serde(default)]
    pub(crate) replay_events_min: u64,
}

impl SettingsFile {
    const fn asked(&self) -> EnvironmentSettings {
        EnvironmentSettings { four_eyes: self.four_eyes, replay_events_min: self.replay_events_min }
    }
}

/// A connection.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConnectionFile {
    pub(crate) connector: String,
    pub(crate) settings: Value,
    /// The names of its secrets. The values never come out, and go in beside the document.
    #[serde(default)]
    pub(crate) secrets: Vec<String>,
}

/// A source.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SourceFile {
    pub(crate) system: String,
    /// With the connection's name where it is polled.
    pub(crate) settings: Value,
}

/// A mapping.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MappingFile {
    /// The source's name.
    pub(crate) source: String,
    pub(crate) kinds: Vec<String>,
    pub(crate) module: ModuleFile,
    pub(crate) settings: Value,
    /// The module's name for a connection → the connection's name.
    pub(crate) connections: BTreeMap<String, String>,
    /// Left out: everything that its module declares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) grants: Option<Grants>,
    pub(crate) enabled: bool,
}

/// A module, which is uploaded for itself.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ModuleFile {
    /// For people.
    #[serde(default)]
    pub(crate) name: String,
    /// For people.
    #[serde(default)]
    pub(crate) version: String,
    /// Which it is.
    pub(crate) digest: ModuleDigest,
}

/// Everything that an environment has, by name.
#[derive(Default)]
pub(crate) struct Present {
    pub(crate) connections: BTreeMap<String, ConnectionRow>,
    pub(crate) sources: BTreeMap<String, Source>,
    pub(crate) mappings: BTreeMap<String, Mapping>,
}

impl Present {
    pub(crate) async fn read(api: &Api, scope: &Scope) -> Result<Self, Problem> {
        let store = &api.shared.store;
        let mut present = Self::default();
        let mut page = Page { before: None, rows_max: ROWS_MAX };
        loop {
            let rows = store.connection_list(scope, page.clone()).await?;
            page.before = rows.last().filter(|_| is_full(rows.len())).map(|row| row.id.to_string());
            present.connections.extend(rows.into_iter().map(|row| (row.name.clone(), row)));
            if page.before.is_none() {
                break;
            }
        }
        loop {
            let rows = store.source_list(scope, page.clone()).await?;
            page.before = rows.last().filter(|_| is_full(rows.len())).map(|row| row.id.to_string());
            present.sources.extend(rows.into_iter().map(|row| (row.name.clone(), row)));
            if page.before.is_none() {
                break;
            }
        }
        loop {
            let rows = store.mapping_list(scope, page.clone()).await?;
            page.before = rows.last().filter(|_| is_full(rows.len())).map(|row| row.id.to_string());
            present.mappings.extend(rows.into_iter().map(|row| (row.name.clone(), row)));
            if page.before.is_none() {
                break;
            }
        }
        Ok(present)
    }

    /// The name of a connection.
    fn name_of(&self, id: &ConnectionId) -> String {
        let found = self.connections.values().find(|row| row.id == *id);
        found.map_or_else(|| id.to_string(), |row| row.name.clone())
    }

    /// Settings of a source with the name of its connection instead of the id.
    fn by_name(&self, settings: &Value) -> Value {
        let mut settings = settings.clone();
        if let Some(connection) = settings.pointer_mut("/poll/connection")
            && let Some(id) = connection.as_str().and_then(|text| text.parse().ok())
        {
            *connection = json!(self.name_of(&id));
        }
        settings
    }

    pub(crate) fn source_file(&self, source: &Source) -> SourceFile {
        SourceFile { system: source.system.clone(), settings: self.by_name(&source.settings) }
    }

    pub(crate) fn mapping_file(&self, mapping: &Mapping, module: ModuleFile) -> MappingFile {
        let source = self.sources.values().find(|source| source.id == mapping.source);
        let connections = mapping.connections.iter();
        MappingFile {
            source: source.map_or_else(|| mapping.source.to_string(), |source| source.name.clone()),
            kinds: mapping.kinds.clone(),
            module,
            settings: mapping.settings.clone(),
            connections: connections.map(|(name, id)| (name.clone(), self.name_of(id))).collect(),
            grants: mapping.life.grants.clone(),
            enabled: mapping.enabled,
        }
    }
}

fn is_full(rows: usize) -> bool {
    rows >= ROWS_MAX as usize
}

/// A connection as it stands in files.
pub(crate) fn connection_file(api: &Api, row: &ConnectionRow) -> Result<ConnectionFile, Problem> {
    let secrets = connections::secrets_of(api, row)?;
    Ok(ConnectionFile {
        connector: row.connector.clone(),
        settings: row.settings.clone(),
        secrets: secrets.into_keys().collect(),
    })
}

/// A module as it stands in files.
pub(crate) async fn module_file(
    api: &Api,
    scope: &Scope,
    digest: &ModuleDigest,
) -> Result<ModuleFile, Problem> {
    let module = api.shared.store.module_get(&scope.tenant, digest).await?;
    let (name, version) = (module.description.name, module.description.version);
    Ok(ModuleFile { name, version, digest: digest.clone() })
}

/// All rows of a table.
pub(crate) async fn rows_of(
    api: &Api,
    scope: &Scope,
    table: &str,
) -> Result<BTreeMap<String, Value>, Problem> {
    let mut rows = BTreeMap::new();
    let mut after: Option<String> = None;
    loop {
        let part = api.shared.store.lookup_rows(scope, table, after.as_deref(), ROWS_MAX).await?;
        after = part.last().filter(|_| is_full(part.len())).map(|row| row.key.clone());
        rows.extend(part.into_iter().map(|row| (row.key, row.value)));
        if after.is_none() || rows.len() > LOOKUP_ROWS_MAX {
            return Ok(rows);
        }
    }
}

/// The same document whenever nothing has changed: names in order, nothing of ids, times or counts.
pub(crate) async fn export_files(
    State(api): State<Api>,
    caller: InScope<Viewer>,
) -> Result<axum::Json<Document>, Problem> {
    Ok(axum::Json(exported(&api, &caller.scope).await?))
}

async fn exported(api: &Api, scope: &Scope) -> Result<Document, Problem> {
    let store = &api.shared.store;
    let present = Present::read(api, scope).await?;
    let settings = store.environment_settings(scope).await?;
    let tables = store.lookup_tables(scope).await?;
    let rows: u64 = tables.iter().map(|table| table.rows).sum();
    if rows > LOOKUP_ROWS_MAX as u64 {
        let text = format!(
            "The lookup tables have {rows} rows, more than {LOOKUP_ROWS_MAX}: export them for themselves."
        );
        return Err(Problem::unprocessable("files-too-large", text));
    }
    let mut lookup_tables = BTreeMap::new();
    // A table that had rows once is told by none.
    for table in tables.into_iter().filter(|table| table.rows > 0) {
        let rows = rows_of(api, scope, &table.name).await?;
        lookup_tables.insert(table.name, rows);
    }
    let mut mappings = BTreeMap::new();
    for (name, mapping) in &present.mappings {
        let module = module_file(api, scope, &mapping.module).await?;
        mappings.insert(name.clone(), present.mapping_file(mapping, module));
    }
    let connections = present.connections.iter();
    let sources = present.sources.iter();
    Ok(Document {
        portolan: FORM,
        settings: Some(SettingsFile {
            four_eyes: settings.four_eyes,
            replay_events_min: settings.replay_events_min,
        }),
        connections: connections
            .map(|(name, row)| Ok((name.clone(), connection_file(api, row)?)))
            .collect::<Result<_, Problem>>()?,
        sources: sources.map(|(name, source)| (name.clone(), present.source_file(source))).collect(),
        lookup_tables,
        mappings,
    })
}
