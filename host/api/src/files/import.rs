//! A document is compared with what is there, name by name; what differs is told, and changed when that is asked. What the
//! document does not name stays. Everything is checked as if it were changed by hand; a second time changes nothing.

use std::collections::BTreeMap;

use axum::extract::State;
use portolan_domain::{
    ConnectionId, Scope, Secret, SourceId,
    diff::{Difference, differences},
};
use portolan_store::{connection::ConnectionRow, mapping::MappingChange, run::Decision, source::Source};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Document, FORM, LOOKUP_ROWS_MAX, NAMES_MAX, Present, SettingsFile, module_file};
use crate::{
    Api,
    auth::{Admin, InScope},
    body::Json,
    connections, desk, etag, lookups,
    mappings::{self, NewMapping},
    problem::Problem,
    runs::Why,
    sources,
    tenants::check_name,
    versions::{self, Wanted},
};

mod tables;

/// Differences that are told of one thing.
const TOLD_MAX: usize = 200;

/// A document to be put into the environment.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "FilesImport")]
pub(crate) struct Import {
    document: Document,
    /// Without it, what would change is told and nothing is changed.
    #[serde(default)]
    apply: bool,
    /// Values that the document does not hold. What is not named here stays as it is.
    #[serde(default)]
    secrets: Secrets,
    /// 1 to 1,000 characters; for changes of the environment's settings.
    why: Option<String>,
}

/// Secrets by name.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "FilesSecrets")]
pub(crate) struct Secrets {
    /// Connection → name → secret; all of a connection's.
    connections: BTreeMap<String, BTreeMap<String, Secret>>,
    /// Source → all of its active secrets.
    sources: BTreeMap<String, Vec<Secret>>,
}

/// What an import does.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Imported {
    /// Whether it was done.
    applied: bool,
    /// What differs, in the order in which it is changed. Empty: nothing.
    changes: Vec<FileChange>,
}

/// One thing that differs.
#[derive(Serialize, JsonSchema)]
pub(crate) struct FileChange {
    /// `connection`, `source`, `lookup-table`, `mapping`, `settings`
    noun: &'static str,
    name: String,
    /// `create` or `update`
    action: &'static str,
    /// From what is there to what the document says; the first 200.
    differences: Vec<Difference>,
    /// Whether other secrets are given.
    secrets: bool,
    /// Why it cannot be done as it stands; null when it can, as far as one can tell before.
    problem: Option<String>,
}

impl FileChange {
    fn of(noun: &'static str, name: &str, before: Option<Value>, after: &Value) -> Self {
        let action = if before.is_some() { "update" } else { "create" };
        let mut differences = differences(&before.unwrap_or(Value::Null), after);
        differences.truncate(TOLD_MAX);
        Self { noun, name: name.to_owned(), action, differences, secrets: false, problem: None }
    }

    fn is_change(&self) -> bool {
        self.secrets || !self.differences.is_empty()
    }
}

/// Without `apply` nothing is changed. With it, things are changed one after the other; when one is refused, those before
/// it stay changed, and the problem names it: correct it and import again.
pub(crate) async fn import_files(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Json(import): Json<Import>,
) -> Result<axum::Json<Imported>, Problem> {
    check(&import.document)?;
    let why = import.why.clone().unwrap_or_else(|| "imported".to_owned());
    let decision = Why::new(why).by(&caller, api.shared.clock.now())?;
    // Who only looks keeps nobody from changing something.
    let _alone = match import.apply {
        true => Some(etag::alone(&api, &caller.scope.tenant).await),
        false => None,
    };
    let importer = Importer { api: &api, scope: &caller.scope, import: &import, decision };
    let mut changes = Vec::new();
    importer.connections(&mut changes).await?;
    importer.sources(&mut changes).await?;
    importer.tables(&mut changes).await?;
    importer.mappings(&mut changes).await?;
    importer.settings(&mut changes).await?;
    Ok(axum::Json(Imported { applied: import.apply, changes }))
}

fn check(document: &Document) -> Result<(), Problem> {
    let refuse = |text: String| Err(Problem::unprocessable("invalid-files", text));
    if document.portolan != FORM {
        return refuse(format!("portolan: this host knows form {FORM}, not {}", document.portolan));
    }
    let rows: usize = document.lookup_tables.values().map(BTreeMap::len).sum();
    let names = document.connections.len().max(document.sources.len()).max(document.mappings.len());
    if rows > LOOKUP_ROWS_MAX || names > NAMES_MAX {
        return refuse(format!("at most {LOOKUP_ROWS_MAX} rows, and {NAMES_MAX} of each noun"));
    }
    let all = document.connections.keys().chain(document.sources.keys()).chain(document.mappings.keys());
    all.into_iter().try_for_each(|name| check_name(name))?;
    for (table, rows) in &document.lookup_tables {
        let checked = lookups::check_texts(table, rows.keys().map(String::as_str));
        checked.map_err(|problem| at(problem, "lookup_tables", table))?;
    }
    let settings = document.settings.as_ref().map_or(Ok(()), |settings| desk::check(settings.asked()));
    settings.map_err(|problem| at(problem, "settings", "environment"))
}

struct Importer<'a> {
    api: &'a Api,
    scope: &'a Scope,
    import: &'a Import,
    /// Of the environment's settings.
    decision: Decision,
}

/// Which thing a problem is about.
fn at(problem: Problem, noun: &str, name: &str) -> Problem {
    problem.with("at", json!(format!("{noun}/{name}")))
}

impl Importer<'_> {
    async fn connections(&self, changes: &mut Vec<FileChange>) -> Result<(), Problem> {
        let present = Present::read(self.api, self.scope).await?;
        for (name, wanted) in &self.import.document.connections {
            let before = present.connections.get(name);
            let told =
                |connector: &str, settings: &Value| json!({ "connector": connector, "settings": settings });
            let was = before.map(|row| told(&row.connector, &row.settings));
            let mut change =
                FileChange::of("connection", name, was, &told(&wanted.connector, &wanted.settings));
            let given = self.import.secrets.connections.get(name);
            let kept = match before {
                Some(row) => connections::secrets_of(self.api, row)?,
                None => BTreeMap::new(),
            };
            change.secrets = given.is_some_and(|given| *given != kept);
            let secrets = given.unwrap_or(&kept);
            let missing: Vec<&String> =
                wanted.secrets.iter().filter(|secret| !secrets.contains_key(*secret)).collect();
            if before.is_some_and(|row| row.connector != wanted.connector) {
                change.problem =
                    Some("a connection's connector cannot be changed: give it another name".to_owned());
            } else if !missing.is_empty() {
                change.problem = Some(format!("secrets/connections/{name}: {missing:?} must be given"));
            }
            if change.is_change() {
                if self.import.apply {
                    self.refused(&change)?;
                    let done = self.connection(name, before, wanted.clone(), secrets).await;
                    done.map_err(|problem| at(problem, "connections", name))?;
                }
                changes.push(change);
            }
        }
        Ok(())
    }

    /// What cannot be done is not begun.
    fn refused(&self, change: &FileChange) -> Result<(), Problem> {
        match &change.problem {
            Some(text) => {
                let problem = Problem::unprocessable("invalid-files", text.clone());
                Err(at(problem, change.noun, &change.name))
            }
            None => Ok(()),
        }
    }

    async fn connection(
        &self,
        name: &str,
        before: Option<&ConnectionRow>,
        wanted: super::ConnectionFile,
        secrets: &BTreeMap<String, Secret>,
    ) -> Result<(), Problem> {
        let now = self.api.shared.clock.now();
        let row = before.cloned().unwrap_or_else(|| ConnectionRow {
            id: ConnectionId::generate(now),
            scope: self.scope.clone(),
            name: name.to_owned(),
            connector: wanted.connector,
            settings: Value::Null,
            sealed_secrets: Vec::new(),
            revision: 1,
            paused: None,
            created_at: now,
        });
        let row = ConnectionRow { settings: wanted.settings, ..row };
        connections::put(self.api, (row, before.is_none()), secrets).await?;
        Ok(())
    }

    async fn sources(&self, changes: &mut Vec<FileChange>) -> Result<(), Problem> {
        let present = Present::read(self.api, self.scope).await?;
        for (name, wanted) in &self.import.document.sources {
            let before = present.sources.get(name);
            let was = before.map(|source| json!(present.source_file(source)));
            let mut change = FileChange::of("source", name, was, &json!(wanted));
            let given = self.import.secrets.sources.get(name);
            let kept = match before {
                Some(source) => sources::secrets_of(self.api, source)?,
                None => Vec::new(),
            };
            change.secrets = given.is_some_and(|given| *given != kept);
            if before.is_some_and(|source| source.system != wanted.system) {
                change.problem = Some("a source's system cannot be changed: give it another name".to_owned());
            }
            let settings = self.by_id(&present, &wanted.settings);
            if let Err(text) = &settings
                && self.import.apply
            {
                change.problem = Some(text.clone());
            }
            if change.is_change() {
                if self.import.apply {
                    self.refused(&change)?;
                    let now = self.api.shared.clock.now();
                    let source = before.cloned().unwrap_or_else(|| Source {
                        id: SourceId::generate(now),
                        scope: self.scope.clone(),
                        name: name.clone(),
                        system: wanted.system.clone(),
                        settings: Value::Null,
                        sealed_secrets: Vec::new(),
                        created_at: now,
                    });
                    let source = Source { settings: settings.unwrap_or_default(), ..source };
                    let secrets = match before {
                        // What is not given has an end, perhaps, and keeps it.
                        Some(_) => given.filter(|_| change.secrets).cloned(),
                        None => Some(given.cloned().unwrap_or_default()),
                    };
                    sources::put(self.api, (source, before.is_none()), secrets)
                        .await
                        .map_err(|problem| at(problem, "sources", name))?;
                }
                changes.push(change);
            }
        }
        Ok(())
    }

    /// Settings of a source with the id of its connection instead of the name.
    fn by_id(&self, present: &Present, settings: &Value) -> Result<Value, String> {
        let mut settings = settings.clone();
        if let Some(connection) = settings.pointer_mut("/poll/connection") {
            let name = connection.as_str().unwrap_or_default();
            let row = present.connections.get(name);
            *connection =
                json!(row.ok_or(format!("settings/poll/connection: there is no connection {name:?}"))?.id);
        }
        Ok(settings)
    }

    async fn mappings(&self, changes: &mut Vec<FileChange>) -> Result<(), Problem> {
        let present = Present::read(self.api, self.scope).await?;
        for (name, wanted) in &self.import.document.mappings {
            let before = present.mappings.get(name);
            let was = match before {
                Some(mapping) => {
                    let module = module_file(self.api, self.scope, &mapping.module).await?;
                    Some(present.mapping_file(mapping, module))
                }
                None => None,
            };
            // Names and versions of modules are for people: the digest says which it is.
            let mut told = wanted.clone();
            let digest = &wanted.module.digest;
            let module = self.api.shared.store.module_get(&self.scope.tenant, digest).await;
            if let Ok(module) = &module {
                told.module.name.clone_from(&module.description.name);
                told.module.version.clone_from(&module.description.version);
                told.grants.get_or_insert_with(|| portolan_domain::grant::Grants::of(&module.description));
            }
            let was_value = was.as_ref().map(|was| json!(was));
            let mut change = FileChange::of("mapping", name, was_value, &json!(told));
            if module.is_err() {
                change.problem = Some(format!("module/digest: upload the module {digest} first"));
            } else if was.as_ref().is_some_and(|was| was.source != wanted.source || was.kinds != wanted.kinds)
            {
                change.problem =
                    Some("a mapping's source and kinds cannot be changed: give it another name".to_owned());
            }
            if change.is_change() {
                if self.import.apply {
                    self.refused(&change)?;
                    let done = match before {
                        None => self.new_mapping(&present, name, &told).await,
                        Some(before) => self.changed_mapping(&present, before, &told).await,
                    };
                    done.map_err(|problem| at(problem, "mappings", name))?;
                }
                changes.push(change);
            }
        }
        Ok(())
    }

    fn connections_by_id(
        &self,
        present: &Present,
        names: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, ConnectionId>, Problem> {
        let by_id = names.iter().map(|(name, connection)| {
            let row = present.connections.get(connection).ok_or_else(|| {
                let text = format!("connections/{name}: there is no connection {connection:?}");
                Problem::unprocessable("invalid-files", text)
            })?;
            Ok((name.clone(), row.id.clone()))
        });
        by_id.collect()
    }

    async fn new_mapping(
        &self,
        present: &Present,
        name: &str,
        wanted: &super::MappingFile,
    ) -> Result<(), Problem> {
        let source = present.sources.get(&wanted.source).ok_or_else(|| {
            let text = format!("source: there is no source {:?}", wanted.source);
            Problem::unprocessable("invalid-files", text)
        })?;
        let new = NewMapping::of(
            (name, source.id.clone(), wanted.kinds.clone()),
            wanted.module.digest.clone(),
            wanted.settings.clone(),
            self.connections_by_id(present, &wanted.connections)?,
        );
        let mapping = mappings::made(self.api, self.scope, new).await?;
        let grants = wanted.grants.clone().filter(|grants| mapping.life.grants.as_ref() != Some(grants));
        if grants.is_none() && wanted.enabled {
            return Ok(());
        }
        let wanted_pin = Wanted { grants, ..Wanted::default() };
        let pin = wanted_pin.checked(self.api, &mapping).await?;
        self.update(
            &mapping,
            MappingChange { pin, enabled: Some(wanted.enabled), ..MappingChange::default() },
        )
        .await
    }

    async fn changed_mapping(
        &self,
        present: &Present,
        before: &portolan_store::mapping::Mapping,
        wanted: &super::MappingFile,
    ) -> Result<(), Problem> {
        let connections = self.connections_by_id(present, &wanted.connections)?;
        let digest = &wanted.module.digest;
        let pin = Wanted {
            module: (before.module != *digest).then(|| digest.clone()),
            settings: (before.settings != wanted.settings).then(|| wanted.settings.clone()),
            connections: (before.connections != connections).then_some(connections),
            grant: Vec::new(),
            // The document was reviewed: what it grants is granted.
            grants: wanted.grants.clone().filter(|grants| before.life.grants.as_ref() != Some(grants)),
        };
        if pin.module.is_some() || pin.settings.is_some() {
            versions::demand_replay(self.api, self.scope, 0).await?;
        }
        let pin = pin.checked(self.api, before).await?;
        self.update(before, MappingChange { pin, enabled: Some(wanted.enabled), ..MappingChange::default() })
            .await
    }

    async fn update(
        &self,
        mapping: &portolan_store::mapping::Mapping,
        change: MappingChange,
    ) -> Result<(), Problem> {
        let now = self.api.shared.clock.now();
        self.api.shared.store.mapping_update(self.scope, &mapping.id, change, now).await?;
        self.api.shared.routes.forget();
        Ok(())
    }

    async fn settings(&self, changes: &mut Vec<FileChange>) -> Result<(), Problem> {
        let Some(wanted) = &self.import.document.settings else { return Ok(()) };
        let store = &self.api.shared.store;
        let before = store.environment_settings(self.scope).await?;
        let was = SettingsFile { four_eyes: before.four_eyes, replay_events_min: before.replay_events_min };
        let mut change = FileChange::of("settings", "environment", Some(json!(was)), &json!(wanted));
        if !change.is_change() {
            return Ok(());
        }
        if self.import.apply {
            let settings = wanted.asked();
            let decision = self.decision.clone();
            let decided = store.environment_settings_put(self.scope, settings, decision).await?;
            if decided == portolan_store::run::Decided::Proposed {
                change.problem = Some("four eyes: it waits for a second key".to_owned());
            }
        }
        changes.push(change);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
