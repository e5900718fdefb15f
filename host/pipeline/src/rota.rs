//! Turns on the processor. Every claim is carried out in a lane, its tenant's; of the lanes that can go on, each goes one step
//! in turn. Claims alone are not enough for that: once a hundred deliveries of one tenant are under way, each with a body of
//! some size, the one delivery of its neighbour would stand behind all of them at every step that it takes.
//!
//! A step is what a future does until it waits for something; to read a plan of a megabyte is one. The runtime gives its turns
//! to whoever was woken first, and what it does on the same thread waits for the step to end. So these futures are not given
//! to it: they have threads of their own, at a lower priority than those that answer senders and people, which ask whose turn
//! it is. There is one thread more than there are processors, and one lane has all of them but one.

use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
};

use futures::FutureExt;
use tokio::{
    runtime::Handle,
    sync::{Notify, oneshot},
    task::yield_now,
};

/// How much the threads give way to those of the runtime and of the store: as much as those of guests do.
const NICE: i32 = 10;

/// Who waits for a turn.
#[derive(Debug, Default)]
pub struct Rota {
    line: Mutex<Line>,
    /// Somebody has entered the line. A thread sleeps only when it has found nobody there whose turn it could be.
    entered: Notify,
    closed: AtomicBool,
}

/// A lane is in `lanes` exactly when somebody of it is in `waiting`.
#[derive(Debug, Default)]
struct Line {
    lanes: VecDeque<Arc<str>>,
    waiting: HashMap<Arc<str>, VecDeque<Arc<Carried>>>,
    /// Lanes of which somebody goes a step just now, and how many do. Never more than there are threads.
    going: HashMap<Arc<str>, usize>,
}

/// What is carried out.
struct Carried {
    lane: Arc<str>,
    rota: Weak<Rota>,
    place: AtomicU8,
    /// None when it has ended, or nobody waits for its end.
    future: Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>,
}

/// Waits to be woken.
const ASLEEP: u8 = 0;
/// In the line.
const IN_LINE: u8 = 1;
/// Goes a step.
const GOING: u8 = 2;
/// Goes a step, and was woken meanwhile.
const WOKEN: u8 = 3;

impl Rota {
    /// The threads. Nothing is carried out before they are there, and nothing after these are dropped. What they carry out
    /// uses the sockets and timers of the current runtime.
    pub(crate) fn start(self: &Arc<Self>) -> std::io::Result<Threads> {
        let of_lane_max = thread::available_parallelism()?.get();
        let threads = Threads(Arc::clone(self));
        for number in 0..=of_lane_max {
            let (rota, runtime) = (Arc::clone(self), Handle::current());
            thread::Builder::new().name(format!("work-{number}")).spawn(move || {
                give_way();
                runtime.block_on(run(rota, of_lane_max));
            })?;
        }
        Ok(threads)
    }

    /// Carries `future` out in its lane, until it ends or nobody waits for that any more. A panic of it is passed on.
    pub(crate) async fn carry_out<F>(self: &Arc<Self>, lane: &str, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (tell, told) = oneshot::channel();
        let future = async move {
            let ended = AssertUnwindSafe(future).catch_unwind().await;
            drop(tell.send(ended));
        };
        let carried = Arc::new(Carried {
            lane: lane.into(),
            rota: Arc::downgrade(self),
            place: AtomicU8::new(IN_LINE),
            future: Mutex::new(Some(Box::pin(future))),
        });
        let _given_up = GivenUp(Arc::clone(&carried));
        self.enter(carried);
        if let Ok(Err(panic)) = told.await {
            resume_unwind(panic);
        }
    }

    fn enter(&self, carried: Arc<Carried>) {
        let mut line = lock(&self.line);
        let Line { lanes, waiting, going: _ } = &mut *line;
        let lane = waiting.entry(Arc::clone(&carried.lane)).or_default();
        if lane.is_empty() {
            lanes.push_back(Arc::clone(&carried.lane));
        }
        lane.push_back(carried);
        drop(line);
        self.entered.notify_one();
    }

    /// Who has waited longest in the lane that has, of those lanes of which fewer than `of_lane_max` are going.
    fn next(&self, of_lane_max: usize) -> Option<Arc<Carried>> {
        let mut line = lock(&self.line);
        let Line { lanes, waiting, going } = &mut *line;
        let may_go = |lane: &Arc<str>| going.get(lane).is_none_or(|going| *going < of_lane_max);
        let lane = lanes.remove(lanes.iter().position(may_go)?)?;
        let of_lane = waiting.get_mut(&lane)?;
        let carried = of_lane.pop_front();
        if of_lane.is_empty() {
            waiting.remove(&lane);
        } else {
            lanes.push_back(Arc::clone(&lane));
        }
        *going.entry(lane).or_default() += 1;
        carried
    }

    fn gone(&self, lane: &Arc<str>) {
        let mut line = lock(&self.line);
        if let Some(going) = line.going.get_mut(lane) {
            *going -= 1;
            if *going == 0 {
                line.going.remove(lane);
            }
        }
    }
}

/// The threads of a rota, which end when this is dropped.
#[derive(Debug)]
pub(crate) struct Threads(Arc<Rota>);

impl Drop for Threads {
    fn drop(&mut self) {
        self.0.closed.store(true, Ordering::Release);
        self.0.entered.notify_waiters();
    }
}

/// Linux keeps a priority per thread. Where it cannot be lowered, these compete as everybody does.
fn give_way() {
    if let Err(error) = rustix::process::nice(NICE) {
        tracing::warn!(%error, "the priority of a thread of the pipeline could not be lowered");
    }
}

async fn run(rota: Arc<Rota>, of_lane_max: usize) {
    loop {
        // Hears of the end from here on.
        let entered = rota.entered.notified();
        if rota.closed.load(Ordering::Acquire) {
            return;
        }
        match rota.next(of_lane_max) {
            Some(carried) => {
                let lane = Arc::clone(&carried.lane);
                // Panics of the work itself are passed on to whoever waits for it; this is for those of what it leaves.
                if catch_unwind(AssertUnwindSafe(|| carried.step())).is_err() {
                    tracing::error!(%lane, "a thread of the pipeline caught a panic");
                }
                rota.gone(&lane);
                // What the runtime lets a future do before others must go on, it lets each step do.
                yield_now().await;
            }
            None => entered.await,
        }
    }
}

impl Carried {
    fn step(self: Arc<Self>) {
        self.place.store(GOING, Ordering::Release);
        let waker = Waker::from(Arc::clone(&self));
        let mut future = lock(&self.future);
        let Some(going) = future.as_mut() else { return };
        if let Poll::Ready(()) = going.as_mut().poll(&mut Context::from_waker(&waker)) {
            *future = None;
            return;
        }
        drop(future);
        let asleep = self.place.compare_exchange(GOING, ASLEEP, Ordering::AcqRel, Ordering::Acquire);
        if asleep.is_err() {
            self.place.store(IN_LINE, Ordering::Release);
            self.enter();
        }
    }

    fn enter(self: Arc<Self>) {
        // Without a rota there is nobody left who could go on with it.
        if let Some(rota) = self.rota.upgrade() {
            rota.enter(self);
        }
    }
}

impl Wake for Carried {
    fn wake(self: Arc<Self>) {
        let woken = |place| match place {
            ASLEEP => Some(IN_LINE),
            GOING => Some(WOKEN),
            _ => None,
        };
        if self.place.fetch_update(Ordering::AcqRel, Ordering::Acquire, woken) == Ok(ASLEEP) {
            self.enter();
        }
    }
}

/// Nobody waits for the end any more: it ends here.
struct GivenUp(Arc<Carried>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        *lock(&self.0.future) = None;
    }
}

impl std::fmt::Debug for Carried {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Carried").field("lane", &self.lane).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::AtomicUsize, time::Duration};

    use tokio::task::JoinSet;

    use super::*;

    fn enter(rota: &Arc<Rota>, lane: &str, waiting: usize) {
        for _ in 0..waiting {
            let (rota_of, future) = (Arc::downgrade(rota), Mutex::new(None));
            let carried = Carried { lane: lane.into(), rota: rota_of, place: AtomicU8::new(IN_LINE), future };
            rota.enter(Arc::new(carried));
        }
    }

    fn next(rota: &Rota, of_lane_max: usize) -> Option<String> {
        rota.next(of_lane_max).map(|carried| carried.lane.to_string())
    }

    #[test]
    fn whoever_has_little_to_do_does_not_stand_behind_all_of_a_neighbour() {
        let rota = Arc::new(Rota::default());
        enter(&rota, "busy", 200);
        enter(&rota, "quiet", 1);
        enter(&rota, "other", 2);
        let order: Vec<_> = (0..6).filter_map(|_| next(&rota, 9)).collect();
        assert_eq!(order, ["busy", "quiet", "other", "busy", "other", "busy"]);
    }

    #[test]
    fn one_lane_leaves_a_thread_to_the_others() {
        let rota = Arc::new(Rota::default());
        enter(&rota, "busy", 9);
        assert_eq!(next(&rota, 2).as_deref(), Some("busy"));
        assert_eq!(next(&rota, 2).as_deref(), Some("busy"));
        assert_eq!(next(&rota, 2), None, "two go a step already");
        enter(&rota, "quiet", 1);
        assert_eq!(next(&rota, 2).as_deref(), Some("quiet"));
        rota.gone(&"busy".into());
        assert_eq!(next(&rota, 2).as_deref(), Some("busy"));
    }

    #[tokio::test]
    async fn threads_end_with_what_keeps_them_and_carry_out_until_then() {
        let rota = Arc::new(Rota::default());
        let threads = rota.start().unwrap();
        let steps = Arc::new(AtomicUsize::new(0));
        let mut set = JoinSet::new();
        for lane in ["one", "two"] {
            for _ in 0..50 {
                let (rota, steps) = (Arc::clone(&rota), Arc::clone(&steps));
                set.spawn(async move {
                    let work = async move {
                        for _ in 0..20 {
                            steps.fetch_add(1, Ordering::Relaxed);
                            yield_now().await;
                        }
                    };
                    rota.carry_out(lane, work).await;
                });
            }
        }
        while let Some(ended) = set.join_next().await {
            ended.unwrap();
        }
        assert_eq!(steps.load(Ordering::Relaxed), 2_000);
        drop(threads);
        // Each has its own until it ends.
        while Arc::strong_count(&rota) > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn who_is_woken_while_going_goes_again() {
        let rota = Arc::new(Rota::default());
        let _threads = rota.start().unwrap();
        let (tell, told) = oneshot::channel();
        let work = async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            yield_now().await;
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert_eq!(tell.send(7), Ok(()));
        };
        rota.carry_out("one", work).await;
        assert_eq!(told.await, Ok(7));
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_dropped() {
        let rota = Arc::new(Rota::default());
        let _threads = rota.start().unwrap();
        let (kept, gone) = oneshot::channel::<()>();
        let work = async move {
            let _kept = kept;
            std::future::pending::<()>().await;
        };
        let waited = tokio::time::timeout(Duration::from_millis(20), rota.carry_out("one", work)).await;
        assert!(waited.is_err(), "it never ends");
        assert!(gone.await.is_err(), "what it held is let go");
    }

    #[tokio::test]
    async fn a_panic_is_passed_on_and_costs_nobody_else_anything() {
        let rota = Arc::new(Rota::default());
        let _threads = rota.start().unwrap();
        let mut set = JoinSet::new();
        let of_set = Arc::clone(&rota);
        set.spawn(async move { of_set.carry_out("one", async { panic!("on purpose") }).await });
        assert!(set.join_next().await.unwrap().unwrap_err().is_panic());
        rota.carry_out("one", async {}).await;
    }
}
