//! The threads that guests run on: beside the caller's runtime, at a lower priority, fed by the fair queue. On a
//! runtime shared with webhooks, two looping guests would delay a timer of 1 ms to 600 ms.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
};

use portolan_domain::TenantId;

use crate::{
    queue::{FairQueue, Full},
    refusal::SandboxError,
    settings::QueueLimits,
};

/// Stack of a guest thread: the guest's own 512 KiB, and ample room for the host's part of a call.
const STACK_BYTES: usize = 4 << 20;

/// Threads that no live call runs on: one, so that what nobody waits for goes on, and slowly.
pub(crate) const BEHIND_THREADS: usize = 1;
/// The lowest priority that there is.
const NICE_MOST: i32 = 19;

type Call = Box<dyn FnOnce() + Send>;

/// The threads. When this is dropped, calls that wait are dropped and the threads end after the call they
/// are at.
#[derive(Debug)]
pub(crate) struct GuestThreads {
    live: Arc<Shared>,
    behind: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

struct State {
    queue: FairQueue<Call>,
    stopped: bool,
}

/// When a call is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// In its tenant's turn.
    Live,
    /// On a thread that no live call waits for, at the lowest priority: for replays.
    Behind,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl GuestThreads {
    /// Threads for live calls, and [`BEHIND_THREADS`] more for what nobody waits for.
    pub(crate) fn start(count: usize, nice: i32, limits: QueueLimits) -> Result<Self, SandboxError> {
        let threads = Self { live: Shared::new(limits, count), behind: Shared::new(limits, BEHIND_THREADS) };
        let begin = |name: String, shared: Arc<Shared>, nice: i32| {
            let serve = move || {
                lower_priority(nice);
                shared.serve();
            };
            let thread = thread::Builder::new().name(name).stack_size(STACK_BYTES);
            thread.spawn(serve).map_err(SandboxError::io("starting a guest thread"))
        };
        for number in 0..count {
            begin(format!("guest-{number}"), threads.live.clone(), nice)?;
        }
        for number in 0..BEHIND_THREADS {
            begin(format!("guest-behind-{number}"), threads.behind.clone(), NICE_MOST)?;
        }
        Ok(threads)
    }

    /// Has a call made on one of the threads, in the tenant's turn.
    pub(crate) fn run(&self, (tenant, turn): (&TenantId, Turn), call: Call) -> Result<(), Full> {
        let shared = match turn {
            Turn::Live => &self.live,
            Turn::Behind => &self.behind,
        };
        shared.state.lock().unwrap_or_else(PoisonError::into_inner).queue.push(tenant, call)?;
        shared.wake.notify_one();
        Ok(())
    }

    /// Live calls that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.live.state.lock().unwrap_or_else(PoisonError::into_inner).queue.waiting()
    }
}

impl Drop for GuestThreads {
    fn drop(&mut self) {
        for shared in [&self.live, &self.behind] {
            let mut state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.stopped = true;
            state.queue.clear();
            drop(state);
            shared.wake.notify_all();
        }
    }
}

impl Shared {
    fn new(limits: QueueLimits, threads: usize) -> Arc<Self> {
        let state = State { queue: FairQueue::new(limits, threads), stopped: false };
        Arc::new(Self { state: Mutex::new(state), wake: Condvar::new() })
    }

    fn serve(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !state.stopped {
            let Some((tenant, call)) = state.queue.next() else {
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(state);
            // The call reports its own panics; this keeps the thread alive if even that panics.
            if catch_unwind(AssertUnwindSafe(call)).is_err() {
                tracing::error!(tenant.id = %tenant, "a guest thread caught a panic");
            }
            state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.queue.finished(&tenant) {
                self.wake.notify_one();
            }
        }
    }
}

/// Linux keeps a priority per thread. Where it cannot be lowered, guests compete as everybody does.
fn lower_priority(nice: i32) {
    if let Err(error) = rustix::process::nice(nice) {
        tracing::warn!(%error, nice, "the priority of a guest thread could not be lowered");
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use portolan_domain::Timestamp;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn whatever_one_tenant_has_executed_behind_a_live_call_of_another_begins_at_once() {
        let (busy, other) =
            (TenantId::generate(Timestamp::from_millis(1)), TenantId::generate(Timestamp::from_millis(2)));
        let threads = GuestThreads::start(2, 0, QueueLimits::default()).unwrap();
        let (told, hears) = mpsc::channel();
        let mut held = Vec::new();
        // One live call and several behind that do not end.
        for turn in [Turn::Live, Turn::Behind, Turn::Behind, Turn::Behind] {
            let (end, ended) = mpsc::channel::<()>();
            held.push(end);
            let told = told.clone();
            let call = move || {
                told.send(turn).unwrap();
                let _gone = ended.recv();
            };
            threads.run((&busy, turn), Box::new(call)).unwrap();
        }
        let began = [hears.recv_timeout(PATIENCE).unwrap(), hears.recv_timeout(PATIENCE).unwrap()];
        assert!(began.contains(&Turn::Live) && began.contains(&Turn::Behind), "{began:?}");
        threads.run((&other, Turn::Live), Box::new(move || told.send(Turn::Live).unwrap())).unwrap();
        assert_eq!(hears.recv_timeout(PATIENCE), Ok(Turn::Live), "a thread is free for it");
        drop(held);
    }
}
