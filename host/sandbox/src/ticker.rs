//! The clock of the wall-clock net: a thread that counts the engine's epoch up while guests run, and sleeps
//! while none does.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, Thread},
    time::Duration,
};

use wasmtime::Engine;

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
    pub(crate) fn start(engine: Engine, period: Duration) -> Result<Self, SandboxError> {
        let shared = Arc::new(Shared::default());
        let seen = shared.clone();
        let handle = thread::Builder::new()
            .name("guest-ticker".into())
            .spawn(move || tick(&engine, &seen, period))
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

fn tick(engine: &Engine, shared: &Shared, period: Duration) {
    let mut idle = 0;
    while !shared.stopped.load(Ordering::SeqCst) {
        thread::sleep(period);
        engine.increment_epoch();
        idle = if shared.running.load(Ordering::SeqCst) > 0 { 0 } else { idle + 1 };
        if idle < IDLE_TICKS_MAX {
            continue;
        }
        // Announced before the last look, so that a run which begins in between wakes us.
        shared.asleep.store(true, Ordering::SeqCst);
        while shared.running.load(Ordering::SeqCst) == 0 && !shared.stopped.load(Ordering::SeqCst) {
            thread::park();
        }
        shared.asleep.store(false, Ordering::SeqCst);
        idle = 0;
    }
}
