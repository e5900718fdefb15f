//! The limits that a tenant's plan can change: what an uploaded module may look like, and what one run of
//! it may cost. Every number says why it is what it is.

/// What an uploaded module may look like. Checked before anything is compiled, in one pass over the bytes.
///
/// The defaults admit what the Rust (60 KB), QuickJS (1.6 MB) and CPython (18 MB, 38 core instances)
/// toolchains produce. A plan for Rust modules alone can be far tighter. What no count can foresee is bounded
/// by the compile worker's own limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct ModuleLimits {
    /// Bytes of the upload. CPython: 18.5 MB.
    pub upload_bytes_max: usize,
    /// Core instances after all nesting is expanded. CPython: 38.
    pub core_instances_max: u64,
    /// Definitions (instances, aliases, types, exports) after all nesting is expanded. This is what doubles
    /// per level in a "billion laughs" component. CPython: about 2,000.
    pub definitions_max: u64,
    /// Components and core modules inside, each counted once.
    pub nested_max: u32,
    /// Functions of all core modules together. CPython: about 13,000.
    pub functions_max: u32,
    /// Bytes of one function's body. The largest interpreter loops have some 300 KB.
    pub body_bytes_max: usize,
    /// Local variables of one function, parameters not counted. CPython's interpreter loop has about 1,000.
    pub locals_max: u32,
    /// Blocks inside blocks. Compile time grows with the square of it. A `br_table` over n cases is n blocks deep.
    pub nesting_max: u32,
    /// Data segments of all core modules together.
    pub data_segments_max: u32,
    /// Element segments of all core modules together.
    pub element_segments_max: u32,
    /// Elements of one table at the start.
    pub table_elements_max: u64,
    /// Linear memories and tables of all core modules together, each.
    pub memories_max: u32,
    /// Tables of all core modules together.
    pub tables_max: u32,
    /// Bytes of one linear memory at the start.
    pub memory_bytes_max: u64,
    /// Types, imports, exports and globals of one core module, each.
    pub entries_max: u32,
}

impl Default for ModuleLimits {
    fn default() -> Self {
        Self {
            upload_bytes_max: 24 << 20,
            core_instances_max: 64,
            definitions_max: 20_000,
            nested_max: 256,
            functions_max: 40_000,
            body_bytes_max: 512 << 10,
            locals_max: 10_000,
            nesting_max: 1_000,
            data_segments_max: 10_000,
            element_segments_max: 10_000,
            table_elements_max: 100_000,
            memories_max: 4,
            tables_max: 64,
            memory_bytes_max: 64 << 20,
            entries_max: 20_000,
        }
    }
}

impl ModuleLimits {
    /// For modules that were admitted before, perhaps under other limits: only the worker's own limits hold.
    pub(crate) const NONE: Self = Self {
        upload_bytes_max: usize::MAX,
        core_instances_max: u64::MAX,
        definitions_max: u64::MAX,
        nested_max: u32::MAX,
        functions_max: u32::MAX,
        body_bytes_max: usize::MAX,
        locals_max: u32::MAX,
        nesting_max: u32::MAX,
        data_segments_max: u32::MAX,
        element_segments_max: u32::MAX,
        table_elements_max: u64::MAX,
        memories_max: u32::MAX,
        tables_max: u32::MAX,
        memory_bytes_max: u64::MAX,
        entries_max: u32::MAX,
    };
}

/// What one run may cost. The fuel is the contract: the same input gives the same verdict on any machine. The
/// two times are the net under it, for what an instruction does not tell: a host call, a cache miss, a page fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunLimits {
    /// Fuel (about one unit per Wasm instruction) for any input. A QuickJS or CPython
    /// module maps a 3 KB event with 1 million; this is a hundred times that, and a third of a second.
    pub fuel_base: u64,
    /// Fuel for each byte of input. Rust takes 50 to 100 per byte, interpreters up to 1,000.
    pub fuel_per_input_byte: u64,
    /// Fuel that no input can exceed.
    pub fuel_max: u64,
    /// Processor time for each unit of fuel it may use, in nanoseconds. A unit takes 1 to 3; at 10, what ends a run
    /// is the fuel, whose verdict is the same everywhere, unless the module does what fuel does not see.
    pub cpu_ns_per_fuel: u64,
    /// Wall-clock time as a multiple of the allowed processor time. Generous, because guests run at the lowest
    /// priority and a busy machine is not the module's fault; it bounds how long a run can take at all.
    pub wall_factor: u64,
    /// Bytes of all linear memories together. Filling all of 64 MiB, the longest step that cannot be interrupted,
    /// takes 14 ms.
    pub memory_bytes_max: usize,
    /// Elements of all tables together.
    pub table_elements_max: usize,
    /// Bytes of the input as it is handed over: payload, settings and facts.
    pub input_bytes_max: usize,
    /// Bytes that cross from the guest to the host in one go: an outcome, or one log line before it is cut.
    pub output_bytes_max: usize,
    /// Calls of the host (log lines and WASI stand-ins together).
    pub host_calls_max: u32,
    /// What is kept of the log.
    pub log: LogLimits,
}

impl Default for RunLimits {
    fn default() -> Self {
        Self {
            fuel_base: 100_000_000,
            fuel_per_input_byte: 2_000,
            fuel_max: 2_000_000_000,
            cpu_ns_per_fuel: 10,
            wall_factor: 60,
            memory_bytes_max: 64 << 20,
            table_elements_max: 400_000,
            input_bytes_max: 8 << 20,
            output_bytes_max: 1 << 20,
            host_calls_max: 10_000,
            log: LogLimits::default(),
        }
    }
}

impl RunLimits {
    /// The fuel for an input of this many bytes.
    #[must_use]
    pub fn fuel(&self, input_bytes: usize) -> u64 {
        let scaled = self.fuel_per_input_byte.saturating_mul(input_bytes as u64);
        self.fuel_base.saturating_add(scaled).min(self.fuel_max)
    }

    /// The processor time for an input of this many bytes, in microseconds.
    #[must_use]
    pub fn cpu_us(&self, input_bytes: usize) -> u64 {
        self.fuel(input_bytes).saturating_mul(self.cpu_ns_per_fuel) / 1_000
    }

    /// The wall-clock time for an input of this many bytes, in microseconds.
    #[must_use]
    pub fn wall_us(&self, input_bytes: usize) -> u64 {
        self.cpu_us(input_bytes).saturating_mul(self.wall_factor.max(1))
    }
}

/// What is kept of a run's log. Lines beyond it are counted, not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLimits {
    /// Lines.
    pub lines_max: usize,
    /// Bytes of one line; a longer one is cut.
    pub line_bytes_max: usize,
    /// Bytes of all lines.
    pub bytes_max: usize,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self { lines_max: 200, line_bytes_max: 1_024, bytes_max: 64 << 10 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_grow_with_the_input_and_stop_at_the_ceiling() {
        let limits = RunLimits::default();
        assert_eq!(limits.fuel(0), 100_000_000);
        assert_eq!(limits.fuel(1_000), 102_000_000);
        assert_eq!(limits.fuel(usize::MAX), limits.fuel_max);
        assert_eq!(limits.cpu_us(0), 1_000_000);
        assert!(limits.wall_us(usize::MAX) >= limits.cpu_us(usize::MAX));
    }
}
