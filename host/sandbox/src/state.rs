//! What the host keeps for one run while the guest executes: its budgets, its log, and the only time and
//! randomness it knows. Dropped with the instance.

use std::{sync::Arc, time::Duration};

use portolan_domain::{Clock, Timestamp};
use rustix::time::{ClockId, clock_gettime};
use sha2::{Digest, Sha256};
use wasmtime::ResourceLimiter;

use crate::{limits::RunLimits, log::LogBook};

/// Why the host ended a run. Travels through wasmtime as the cause of the trap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stop {
    #[error("the module called the host too often")]
    HostCalls,
    #[error("the module ran for too long")]
    Overtime,
    #[error("the module called exit")]
    Exit,
    #[error("the module used a resource that no mapping can have")]
    NoSuchResource,
}

/// The state of one run.
pub(crate) struct RunState {
    pub(crate) memory: MemoryBudget,
    pub(crate) log: LogBook,
    pub(crate) time: TimeBudget,
    /// The only "now" that the guest knows.
    pub(crate) now: Timestamp,
    host_calls_left: u32,
    random: Random,
}

impl RunState {
    pub(crate) fn new(limits: &RunLimits, time: TimeBudget, now: Timestamp, seed: &str) -> Self {
        Self {
            memory: MemoryBudget::new(limits),
            log: LogBook::new(limits.log),
            time,
            now,
            host_calls_left: limits.host_calls_max,
            random: Random::seeded(seed),
        }
    }

    /// Charges for a host call, before it does anything. `weight` is more than 1 when it does a lot.
    pub(crate) fn charge(&mut self, weight: u32) -> Result<(), Stop> {
        self.host_calls_left = self.host_calls_left.checked_sub(weight.max(1)).ok_or(Stop::HostCalls)?;
        Ok(())
    }

    pub(crate) fn random(&mut self, bytes: &mut [u8]) {
        self.random.fill(bytes);
    }
}

/// The memories and tables of all instances of a store, summed: a component may have several, and wasmtime's
/// own limiter counts each by itself.
pub(crate) struct MemoryBudget {
    bytes_max: usize,
    bytes: usize,
    peak: usize,
    elements_max: usize,
    elements: usize,
    refused: bool,
}

impl MemoryBudget {
    const fn new(limits: &RunLimits) -> Self {
        Self {
            bytes_max: limits.memory_bytes_max,
            bytes: 0,
            peak: 0,
            elements_max: limits.table_elements_max,
            elements: 0,
            refused: false,
        }
    }

    /// The most there was at one time.
    pub(crate) const fn peak_bytes(&self) -> usize {
        self.peak
    }

    /// Whether the guest was ever refused more.
    pub(crate) const fn was_refused(&self) -> bool {
        self.refused
    }
}

impl ResourceLimiter for MemoryBudget {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let sum = self.bytes.saturating_add(desired.saturating_sub(current));
        if sum > self.bytes_max || maximum.is_some_and(|maximum| desired > maximum) {
            self.refused = true;
            return Ok(false);
        }
        self.bytes = sum;
        self.peak = self.peak.max(sum);
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let sum = self.elements.saturating_add(desired.saturating_sub(current));
        if sum > self.elements_max {
            self.refused = true;
            return Ok(false);
        }
        self.elements = sum;
        Ok(true)
    }
}

/// Processor and wall-clock time of one run, on the thread that made this.
#[derive(Clone)]
pub(crate) struct TimeBudget {
    clock: Arc<dyn Clock>,
    started: Duration,
    started_cpu: Duration,
    cpu_us_max: u64,
    wall_us_max: u64,
}

impl TimeBudget {
    pub(crate) fn starting(clock: Arc<dyn Clock>, limits: &RunLimits, input_bytes: usize) -> Self {
        Self {
            started: clock.monotonic(),
            started_cpu: thread_cpu(),
            clock,
            cpu_us_max: limits.cpu_us(input_bytes),
            wall_us_max: limits.wall_us(input_bytes),
        }
    }

    /// Time since the start on the host's clock.
    pub(crate) fn elapsed(&self) -> Duration {
        self.clock.monotonic().saturating_sub(self.started)
    }

    pub(crate) fn wall_us(&self) -> u64 {
        micros(self.elapsed())
    }

    pub(crate) fn cpu_us(&self) -> u64 {
        micros(thread_cpu().saturating_sub(self.started_cpu))
    }

    /// How long the guest may go on before it has to be asked again; `None` when its time is over. Processor
    /// time is what it is allowed; wall-clock time is the net under it.
    pub(crate) fn left(&self) -> Option<Duration> {
        let cpu = self.cpu_us_max.checked_sub(self.cpu_us()).filter(|left| *left > 0)?;
        let wall = self.wall_us_max.checked_sub(self.wall_us()).filter(|left| *left > 0)?;
        Some(Duration::from_micros(cpu.min(wall)))
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Processor time of the calling thread.
fn thread_cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// Bytes that look random and depend on the event alone: the SHA-256 of a counter and the event's id.
struct Random {
    seed: String,
    counter: u64,
}

impl Random {
    fn seeded(seed: &str) -> Self {
        Self { seed: seed.to_owned(), counter: 0 }
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(32) {
            let counted = Sha256::new().chain_update(self.counter.to_le_bytes());
            let block = counted.chain_update(self.seed.as_bytes()).finalize();
            self.counter = self.counter.wrapping_add(1);
            for (byte, value) in chunk.iter_mut().zip(block) {
                *byte = value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_on_the_sum_of_all_memories() {
        let mut budget = MemoryBudget::new(&RunLimits { memory_bytes_max: 100, ..RunLimits::default() });
        assert!(budget.memory_growing(0, 60, None).unwrap());
        assert!(!budget.memory_growing(0, 60, None).unwrap());
        assert!(budget.memory_growing(0, 40, None).unwrap());
        assert!(!budget.memory_growing(40, 41, None).unwrap());
        assert_eq!((budget.peak_bytes(), budget.was_refused()), (100, true));
    }

    #[test]
    fn random_bytes_depend_on_the_event_alone() {
        let draw = |seed: &str| {
            let mut bytes = [0; 100];
            Random::seeded(seed).fill(&mut bytes);
            bytes
        };
        assert_eq!(draw("evt_1"), draw("evt_1"));
        assert_ne!(draw("evt_1"), draw("evt_2"));
    }
}
