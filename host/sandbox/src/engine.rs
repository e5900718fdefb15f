//! The configuration of wasmtime, in one place: what guests may use, and how instances are pooled. The host
//! and the compile worker build their engines here, so that what one compiles the other can load.

use std::hash::{Hash, Hasher};

use sha2::{Digest, Sha256};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig,
    RegallocAlgorithm, Strategy,
};

use crate::{
    refusal::SandboxError,
    settings::{Metering, PoolLimits},
};

/// Stack of a guest. Frames of the interpreters' deepest recursion fit; the guest threads' own stacks are
/// larger by far, so that a host function called at its very end still has room.
const WASM_STACK_BYTES: usize = 512 << 10;
/// Stack frames kept with a trap.
const BACKTRACE_FRAMES_MAX: usize = 20;

/// Everything that has a say in the compiled code. The instance allocator has none.
fn config(metering: Metering) -> Config {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        .cranelift_regalloc_algorithm(RegallocAlgorithm::Backtracking)
        // Same input, same bytes, on any machine.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .consume_fuel(metering.fuel)
        .epoch_interruption(metering.epoch)
        .max_wasm_stack(WASM_STACK_BYTES)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(BACKTRACE_FRAMES_MAX))
        // Guests never wait, so there is nothing to be concurrent with; without it a fresh call is cheaper
        // and the asynchronous half of the component model is out of reach.
        .concurrency_support(false)
        .memory_init_cow(true);
    // The proposals that the toolchains of mappings use stay on (bulk memory, reference types, multiple
    // values, SIMD, extended constants). Off is what they do not: each has had its share of advisories.
    config
        .wasm_memory64(false)
        .wasm_tail_call(false)
        .wasm_custom_page_sizes(false)
        .wasm_wide_arithmetic(false)
        .wasm_component_model(true);
    config
}

/// The engine of a compile worker. It instantiates nothing, so it reserves nothing.
pub(crate) fn for_compiling(metering: Metering) -> Result<Engine, SandboxError> {
    Engine::new(&config(metering)).map_err(runtime)
}

/// The engine of the host, with a pool for `slots` components at a time.
pub(crate) fn for_running(metering: Metering, pool: &PoolLimits, slots: u32) -> Result<Engine, SandboxError> {
    let mut pooling = PoolingAllocationConfig::new();
    pooling
        .total_component_instances(slots)
        .total_core_instances(slots.saturating_mul(pool.core_instances_per_component_max))
        .total_memories(slots.saturating_mul(pool.memories_per_component_max))
        .total_tables(slots.saturating_mul(pool.tables_per_component_max))
        .max_core_instances_per_component(pool.core_instances_per_component_max)
        .max_memories_per_component(pool.memories_per_component_max)
        .max_tables_per_component(pool.tables_per_component_max)
        .max_memories_per_module(1)
        .max_tables_per_module(pool.tables_per_component_max.min(16))
        .max_component_instance_size(pool.instance_bytes_max)
        .max_core_instance_size(pool.instance_bytes_max)
        .max_memory_size(pool.memory_bytes_max)
        .table_elements(pool.table_elements_max)
        .linear_memory_keep_resident(pool.keep_resident_bytes)
        .table_keep_resident(pool.keep_resident_bytes)
        // It leaks pages when they are swapped out on this release line.
        .pagemap_scan(Enabled::No);
    let mut config = config(metering);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pooling));
    Engine::new(&config).map_err(runtime)
}

pub(crate) fn runtime(error: wasmtime::Error) -> SandboxError {
    SandboxError::Runtime(format!("{error:#}"))
}

/// What an artifact must have been compiled by to be loadable: wasmtime's version, the target and every
/// setting above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EngineId([u8; 32]);

impl EngineId {
    pub(crate) fn of(engine: &Engine) -> Self {
        let mut hasher = ShaHasher(Sha256::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Self(hasher.0.finalize().into())
    }

    pub(crate) const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(crate) fn hex(&self) -> String {
        hex::encode(self.0)
    }
}

/// Feeds a `Hash` into SHA-256: the standard library's hashers promise nothing between releases.
struct ShaHasher(Sha256);

impl Hasher for ShaHasher {
    fn finish(&self) -> u64 {
        let digest = self.0.clone().finalize();
        digest.iter().take(8).fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_worker_compiles_the_host_can_load() {
        let metering = Metering::default();
        let host = for_running(metering, &PoolLimits::default(), 1).unwrap();
        let worker = for_compiling(metering).unwrap();
        assert_eq!(EngineId::of(&host), EngineId::of(&worker));
    }

    #[test]
    fn engines_that_meter_differently_do_not_share_artifacts() {
        let ids = [(true, true), (true, false), (false, true), (false, false)]
            .map(|(fuel, epoch)| EngineId::of(&for_compiling(Metering { fuel, epoch }).unwrap()).hex());
        let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), 4);
    }
}
