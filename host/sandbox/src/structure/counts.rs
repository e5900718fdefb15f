//! The sums that the structural check keeps, each compared with its limit as it grows.

use super::too_complex;
use crate::{limits::ModuleLimits, refusal::Refusal};

/// What instantiating a component once creates, with everything that it instantiates itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Expansion {
    pub(super) core_instances: u64,
    pub(super) definitions: u64,
}

impl Expansion {
    /// A component without content.
    pub(super) const ONE: Self = Self { core_instances: 0, definitions: 1 };
    /// One that cannot be followed.
    pub(super) const WORST: Self = Self { core_instances: u64::MAX, definitions: u64::MAX };

    pub(super) const fn plus(self, other: Self) -> Self {
        Self {
            core_instances: self.core_instances.saturating_add(other.core_instances),
            definitions: self.definitions.saturating_add(other.definitions),
        }
    }

    pub(super) fn check(self, limits: &ModuleLimits) -> Result<(), Refusal> {
        if self.core_instances > limits.core_instances_max {
            Err(too_complex(
                "core instances when it is expanded",
                self.core_instances,
                limits.core_instances_max,
            ))
        } else if self.definitions > limits.definitions_max {
            Err(too_complex("definitions when it is expanded", self.definitions, limits.definitions_max))
        } else {
            Ok(())
        }
    }
}

/// Counts over the whole upload.
pub(super) struct Counts<'l> {
    limits: &'l ModuleLimits,
    nested: u32,
    functions: u32,
    data_segments: u32,
    element_segments: u32,
    memories: u32,
    tables: u32,
}

impl<'l> Counts<'l> {
    pub(super) const fn new(limits: &'l ModuleLimits) -> Self {
        Self {
            limits,
            nested: 0,
            functions: 0,
            data_segments: 0,
            element_segments: 0,
            memories: 0,
            tables: 0,
        }
    }

    pub(super) const fn function_count(&self) -> u32 {
        self.functions
    }

    /// One core module's entries of a kind.
    pub(super) fn entries(&self, what: &str, count: u32) -> Result<(), Refusal> {
        at_most(what, count, self.limits.entries_max)
    }

    pub(super) fn nested(&mut self) -> Result<(), Refusal> {
        add(&mut self.nested, 1, "components and core modules inside", self.limits.nested_max)
    }

    pub(super) fn functions(&mut self, count: u32) -> Result<(), Refusal> {
        add(&mut self.functions, count, "functions", self.limits.functions_max)
    }

    pub(super) fn data_segments(&mut self, count: u32) -> Result<(), Refusal> {
        add(&mut self.data_segments, count, "data segments", self.limits.data_segments_max)
    }

    pub(super) fn element_segments(&mut self, count: u32) -> Result<(), Refusal> {
        add(&mut self.element_segments, count, "element segments", self.limits.element_segments_max)
    }

    pub(super) fn memories(&mut self, count: u32) -> Result<(), Refusal> {
        add(&mut self.memories, count, "linear memories", self.limits.memories_max)
    }

    pub(super) fn tables(&mut self, count: u32) -> Result<(), Refusal> {
        add(&mut self.tables, count, "tables", self.limits.tables_max)
    }
}

fn add(sum: &mut u32, count: u32, what: &str, max: u32) -> Result<(), Refusal> {
    *sum = sum.saturating_add(count);
    at_most(what, *sum, max)
}

fn at_most(what: &str, count: u32, max: u32) -> Result<(), Refusal> {
    if count > max { Err(too_complex(what, u64::from(count), u64::from(max))) } else { Ok(()) }
}
