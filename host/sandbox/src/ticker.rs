//! The clock of the wall-clock net: a thread that advances the engine's epoch while guests run, and sleeps
//! while none does.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, Thread},
    time::Duration,
};

use crate::refusal::SandboxError;

/// Ticks without a run before the thread goes to sleep: waking it costs more than a few ticks.
const IDLE_TICKS_MAX: u32 = 100;

/// Stops its thread when it is dropped.
#[derive(Debug)]
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
    period: Duration,
}

#[derive(Debug, Default)]
struct Shared {
    running: AtomicUsize,
    asleep: AtomicBool,
    stopped: AtomicBool,
}

/// Keeps the ticker awake.
pub(crate) struct Ticking<'t>(&'t Ticker);

impl Ticker {
    /// Calls `advance` once in every period in which a guest runs.
    pub(crate) fn start(period: Duration, advance: impl Fn() + Send + 'static) -> Result<Self, SandboxError> {
        let shared = Arc::new(Shared::default());
        let seen = shared.clone();
        let handle = thread::Builder::new()
            .name("guest-ticker".into())
            .spawn(move || tick(&seen, period, advance))
            .map_err(SandboxError::io("starting the ticker thread"))?;
        Ok(Self { shared, thread: handle.thread().clone(), period })
    }

    pub(crate) const fn period(&self) -> Duration {
        self.period
    }

    /// To be held while a guest runs.
    pub(crate) fn ticking(&self) -> Ticking<'_> {
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        if self.shared.asleep.swap(false, Ordering::SeqCst) {
            self.thread.unpark();
        }
        Ticking(self)
    }
}

impl Drop for Ticking<'_> {
    fn drop(&mut self) {
        self.0.shared.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

impl Shared {
    fn is_idle(&self) -> bool {
        self.running.load(Ordering::SeqCst) == 0 && !self.stopped.load(Ordering::SeqCst)
    }

    fn sleep(&self) {
        while self.is_idle() {
            // Announced anew before each last look: a run counts itself first and looks here second, so either
            // we see the run or it sees that we sleep. (Announced once, a run that had ended again before we
            // looked would have taken the announcement with it, and nobody would ever wake us.)
            self.asleep.store(true, Ordering::SeqCst);
            if self.is_idle() {
                thread::park();
            }
        }
        self.asleep.store(false, Ordering::SeqCst);
    }
}

fn tick(shared: &Shared, period: Duration, advance: impl Fn()) {
    let mut idle_ticks = 0;
    while !shared.stopped.load(Ordering::SeqCst) {
        thread::sleep(period);
        advance();
        idle_ticks = if shared.is_idle() { idle_ticks + 1 } else { 0 };
        if idle_ticks >= IDLE_TICKS_MAX {
            shared.sleep();
            idle_ticks = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use portolan_domain::{Clock, SystemClock};

    use super::*;

    #[test]
    fn a_run_that_begins_at_any_moment_finds_the_ticker_awake_or_wakes_it() {
        let ticks = Arc::new(AtomicU64::new(0));
        let counted = ticks.clone();
        let advance = move || {
            counted.fetch_add(1, Ordering::SeqCst);
        };
        let ticker = Ticker::start(Duration::from_nanos(1), advance).unwrap();
        let clock = SystemClock::new();
        for round in 0..500 {
            // Until it has fallen asleep; then runs so short that they are over before it has looked.
            while !ticker.shared.asleep.load(Ordering::SeqCst) {
                thread::yield_now();
            }
            (0..round % 4).for_each(|_| drop(ticker.ticking()));
            let _running = ticker.ticking();
            let before = ticks.load(Ordering::SeqCst);
            while ticks.load(Ordering::SeqCst) == before {
                assert!(clock.monotonic() < Duration::from_secs(60), "the ticker slept on in round {round}");
                thread::yield_now();
            }
        }
    }

    #[test]
    fn the_thread_ends_with_its_ticker() {
        let ticks = Arc::new(());
        let held = ticks.clone();
        let ticker = Ticker::start(Duration::from_micros(1), move || {
            let _ = &held;
        });
        drop(ticker.unwrap());
        let clock = SystemClock::new();
        while Arc::strong_count(&ticks) > 1 {
            assert!(clock.monotonic() < Duration::from_secs(60), "the thread goes on");
            thread::yield_now();
        }
    }
}
