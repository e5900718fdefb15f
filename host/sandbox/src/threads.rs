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
    stopped: bool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl GuestThreads {
    pub(crate) fn start(count: usize, nice: i32, limits: QueueLimits) -> Result<Self, SandboxError> {
        let state = State { queue: FairQueue::new(limits, count), stopped: false };
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
    pub(crate) fn run(&self, tenant: &TenantId, call: Call) -> Result<(), Full> {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.queue.push(tenant, call)?;
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
        drop(state);
        self.shared.wake.notify_all();
    }
}

impl Shared {
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
