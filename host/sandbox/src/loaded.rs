//! The modules that are loaded, bounded by number and bytes; the least recently used one goes first. A module
//! that is unloaded while it runs lives until its last run has ended.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use portolan_domain::ModuleDigest;
use tokio::sync::OnceCell;

use crate::{module::Module, settings::LoadedLimits};

/// Where a module is, or will be once the first to ask has loaded it.
pub(crate) type Place = Arc<OnceCell<Arc<Module>>>;

#[derive(Debug)]
pub(crate) struct Loaded {
    limits: LoadedLimits,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    modules: HashMap<ModuleDigest, Entry>,
    /// Ordered by last use.
    by_use: BTreeMap<u64, ModuleDigest>,
    uses: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    place: Place,
    last_use: u64,
    bytes: usize,
}

impl Loaded {
    pub(crate) fn new(limits: LoadedLimits) -> Self {
        Self { limits, state: Mutex::default() }
    }

    /// The place of a module. Those who ask at the same time get the same one, so that it is loaded once.
    pub(crate) fn place(&self, digest: &ModuleDigest) -> Place {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { modules, by_use, uses, .. } = &mut *state;
        *uses += 1;
        if let Some(entry) = modules.get_mut(digest) {
            if let Some(digest) = by_use.remove(&entry.last_use) {
                by_use.insert(*uses, digest);
            }
            entry.last_use = *uses;
            return entry.place.clone();
        }
        let place = Place::default();
        by_use.insert(*uses, digest.clone());
        modules.insert(digest.clone(), Entry { place: place.clone(), last_use: *uses, bytes: 0 });
        place
    }

    /// Counts a module that has just been loaded, and unloads others until all fit.
    pub(crate) fn settle(&self, module: &Module) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = state.modules.get_mut(module.digest()) else { return };
        let grown = module.artifact_bytes().saturating_sub(entry.bytes);
        entry.bytes = module.artifact_bytes();
        state.bytes = state.bytes.saturating_add(grown);
        while state.modules.len() > 1
            && (state.modules.len() > self.limits.modules_max || state.bytes > self.limits.bytes_max)
        {
            let Some((_, oldest)) = state.by_use.pop_first() else { break };
            state.forget(&oldest);
        }
        let (count, bytes) = (state.modules.len(), state.bytes);
        drop(state);
        crate::observe::loaded(count, bytes);
    }

    /// Forgets a module, or a place that was never filled.
    pub(crate) fn remove(&self, digest: &ModuleDigest) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.forget(digest);
    }

    /// Forgets a place that is still empty.
    pub(crate) fn remove_empty(&self, digest: &ModuleDigest) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.modules.get(digest).is_some_and(|entry| entry.place.get().is_none()) {
            state.forget(digest);
        }
    }
}

impl State {
    fn forget(&mut self, digest: &ModuleDigest) {
        if let Some(entry) = self.modules.remove(digest) {
            self.by_use.remove(&entry.last_use);
            self.bytes = self.bytes.saturating_sub(entry.bytes);
        }
    }
}
