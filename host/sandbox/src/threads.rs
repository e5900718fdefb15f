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

type Call = Box<dyn FnOnce() + Send>;

/// The threads. When this is dropped, calls that wait are dropped and the threads end after the call they
/// are at.
#[derive(Debug)]
pub(crate) struct GuestThreads {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

struct State {
    queue: FairQueue<Call>,
    /// Calls that nobody waits for: taken only when nothing else waits, and never by all threads.
    behind: FairQueue<Call>,
    behind_running: usize,
    behind_max: usize,
    stopped: bool,
}

/// When a call is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// In its tenant's turn.
    Live,
    /// When no live call of anybody waits: for replays.
    Behind,
}

impl State {
    fn next(&mut self) -> Option<(TenantId, Call, Turn)> {
        if let Some((tenant, call)) = self.queue.next() {
            return Some((tenant, call, Turn::Live));
        }
        if self.behind_running >= self.behind_max {
            return None;
        }
        let (tenant, call) = self.behind.next()?;
        self.behind_running = self.behind_running.saturating_add(1);
        Some((tenant, call, Turn::Behind))
    }

    /// Says whether another call may begin because of it.
    fn finished(&mut self, tenant: &TenantId, turn: Turn) -> bool {
        match turn {
            Turn::Live => self.queue.finished(tenant),
            Turn::Behind => {
                self.behind_running = self.behind_running.saturating_sub(1);
                self.behind.finished(tenant);
                self.behind.waiting() > 0
            }
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl GuestThreads {
    pub(crate) fn start(count: usize, nice: i32, limits: QueueLimits) -> Result<Self, SandboxError> {
        let state = State {
            queue: FairQueue::new(limits, count),
            behind: FairQueue::new(limits, count),
            behind_running: 0,
            behind_max: count.saturating_sub(1).max(1),
            stopped: false,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), wake: Condvar::new() });
        let threads = Self { shared: shared.clone() };
        for number in 0..count {
            let shared = shared.clone();
            thread::Builder::new()
                .name(format!("guest-{number}"))
                .stack_size(STACK_BYTES)
                .spawn(move || {
                    lower_priority(nice);
                    shared.serve();
                })
                .map_err(SandboxError::io("starting a guest thread"))?;
        }
        Ok(threads)
    }

    /// Has a call made on one of the threads, in the tenant's turn.
    pub(crate) fn run(&self, (tenant, turn): (&TenantId, Turn), call: Call) -> Result<(), Full> {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        match turn {
            Turn::Live => state.queue.push(tenant, call)?,
            Turn::Behind => state.behind.push(tenant, call)?,
        }
        drop(state);
        self.shared.wake.notify_one();
        Ok(())
    }

    /// Calls that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).queue.waiting()
    }
}

impl Drop for GuestThreads {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.stopped = true;
        state.queue.clear();
        state.behind.clear();
        drop(state);
        self.shared.wake.notify_all();
    }
}

impl Shared {
    fn serve(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !state.stopped {
            let Some((tenant, call, turn)) = state.next() else {
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(state);
            // The call reports its own panics; this keeps the thread alive if even that panics.
            if catch_unwind(AssertUnwindSafe(call)).is_err() {
                tracing::error!(tenant.id = %tenant, "a guest thread caught a panic");
            }
            state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.finished(&tenant, turn) {
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
    use portolan_domain::Timestamp;

    use super::*;

    #[test]
    fn what_nobody_waits_for_comes_behind_everything_live_and_never_takes_all_threads() {
        let tenant = TenantId::generate(Timestamp::from_millis(1));
        let limits = QueueLimits::default();
        let mut state = State {
            queue: FairQueue::new(limits, 3),
            behind: FairQueue::new(limits, 3),
            behind_running: 0,
            behind_max: 2,
            stopped: false,
        };
        let call = || -> Call { Box::new(|| ()) };
        (0..5).for_each(|_| state.behind.push(&tenant, call()).unwrap());
        state.queue.push(&tenant, call()).unwrap();
        let turns: Vec<Turn> = std::iter::from_fn(|| state.next()).map(|(_, _, turn)| turn).collect();
        assert_eq!(turns, [Turn::Live, Turn::Behind, Turn::Behind]);
        assert!(state.finished(&tenant, Turn::Behind));
        state.queue.push(&tenant, call()).unwrap();
        assert_eq!(state.next().map(|(_, _, turn)| turn), Some(Turn::Live));
        assert_eq!(state.next().map(|(_, _, turn)| turn), Some(Turn::Behind));
    }
}
