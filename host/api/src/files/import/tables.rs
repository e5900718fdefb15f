//! Lookup tables of a document: what an export tells, an import takes.

use std::collections::BTreeMap;

use futures::future::try_join_all;
use portolan_store::{StoreError, lookup::LookupRow};
use serde_json::{Value, json};

use super::{FileChange, Importer, at};
use crate::{files::rows_of, lookups::ROWS_MAX, problem::Problem};

/// Rows that are taken away at once, each by a write of its own.
const TAKEN_AT_ONCE: usize = 32;

type Rows = BTreeMap<String, Value>;

impl Importer<'_> {
    pub(super) async fn tables(&self, changes: &mut Vec<FileChange>) -> Result<(), Problem> {
        for (table, wanted) in &self.import.document.lookup_tables {
            let before = rows_of(self.api, self.scope, table).await?;
            if *wanted == before {
                continue;
            }
            let was = (!before.is_empty()).then(|| json!(before));
            changes.push(FileChange::of("lookup-table", table, was, &json!(wanted)));
            if self.import.apply {
                let done = self.table(table, &before, wanted).await;
                done.map_err(|error| at(error.into(), "lookup_tables", table))?;
            }
        }
        Ok(())
    }

    /// Has a table hold these rows and no others. One write takes only so many rows: a larger change is made in parts,
    /// what is new first, so that no key is ever missing that was there and shall be.
    async fn table(&self, table: &str, before: &Rows, wanted: &Rows) -> Result<(), StoreError> {
        let store = &self.api.shared.store;
        let row = |(key, value): (&String, &Value)| LookupRow { key: key.clone(), value: value.clone() };
        let gone: Vec<&String> = before.keys().filter(|key| !wanted.contains_key(*key)).collect();
        if wanted.len().saturating_add(gone.len()) <= ROWS_MAX {
            return store.lookup_replace(self.scope, table, wanted.iter().map(row).collect()).await.map(drop);
        }
        let new: Vec<_> = wanted.iter().filter(|(key, value)| before.get(*key) != Some(value)).collect();
        for part in new.chunks(ROWS_MAX) {
            store.lookup_put(self.scope, table, part.iter().copied().map(row).collect()).await?;
        }
        for part in gone.chunks(TAKEN_AT_ONCE) {
            let mut taken = Vec::with_capacity(part.len());
            for key in part {
                taken.push(store.lookup_delete(self.scope, table, key));
            }
            try_join_all(taken).await?;
        }
        Ok(())
    }
}
