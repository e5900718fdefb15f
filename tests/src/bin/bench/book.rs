//! Where the times of every event are written down: when it was sent, acknowledged, and seen by the ERP. The
//! generator and the ERP stand-in write into one book, with one clock; what is in it is how events are counted.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use portolan_domain::{Clock, SystemClock};
use tokio::sync::Semaphore;

use crate::samples::Samples;

/// Events that one host is ever sent.
pub(crate) const EVENTS_MAX: usize = 400_000;
/// Events that may be under way, from being sent to being seen by the ERP, while a host is fully loaded.
pub(crate) const UNDER_WAY_MAX: usize = 512;

/// The times of one host's events.
#[derive(Debug)]
pub(crate) struct Book {
    clock: SystemClock,
    entries: Vec<Entry>,
    next: AtomicUsize,
    arrived: AtomicUsize,
    acknowledged: AtomicUsize,
    refused: AtomicUsize,
    /// Places for events under way.
    places: Semaphore,
}

/// Nanoseconds since the book was opened; 0 where it has not happened.
#[derive(Debug, Default)]
struct Entry {
    sent: AtomicU64,
    acknowledged: AtomicU64,
    arrived: AtomicU64,
    arrivals: AtomicU32,
    has_place: AtomicBool,
}

/// How the events of a book came out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Account {
    /// Answered with success.
    pub(crate) accepted: usize,
    /// Answered otherwise, or not at all.
    pub(crate) refused: usize,
    /// Accepted, and never seen by the ERP.
    pub(crate) missing: usize,
    /// Seen by the ERP more than once.
    pub(crate) doubled: usize,
}

impl Book {
    pub(crate) fn new() -> Self {
        let mut entries = Vec::new();
        entries.resize_with(EVENTS_MAX, Entry::default);
        Self {
            clock: SystemClock::new(),
            entries,
            next: AtomicUsize::new(0),
            arrived: AtomicUsize::new(0),
            acknowledged: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            places: Semaphore::new(UNDER_WAY_MAX),
        }
    }

    /// Like [`Self::send`], as soon as fewer than [`UNDER_WAY_MAX`] events are under way.
    pub(crate) async fn send_with_place(&self) -> Option<usize> {
        self.places.acquire().await.ok()?.forget();
        let number = self.send()?;
        self.entries.get(number)?.has_place.store(true, Ordering::Relaxed);
        Some(number)
    }

    /// The next event's number, sent now; none when the book is full.
    pub(crate) fn send(&self) -> Option<usize> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let entry = self.entries.get(number)?;
        entry.sent.store(self.now(), Ordering::Relaxed);
        Some(number)
    }

    /// The sender was answered.
    pub(crate) fn answered(&self, number: usize, success: bool) {
        let counter = if success { &self.acknowledged } else { &self.refused };
        counter.fetch_add(1, Ordering::Relaxed);
        if let Some(entry) = self.entries.get(number).filter(|_| success) {
            entry.acknowledged.store(self.now(), Ordering::Relaxed);
        }
        if !success {
            self.leave(number);
        }
    }

    fn leave(&self, number: usize) {
        let entry = self.entries.get(number);
        if entry.is_some_and(|entry| entry.has_place.swap(false, Ordering::Relaxed)) {
            self.places.add_permits(1);
        }
    }

    /// The ERP has received the document.
    pub(crate) fn arrived(&self, number: usize) {
        let Some(entry) = self.entries.get(number) else { return };
        if entry.arrivals.fetch_add(1, Ordering::Relaxed) == 0 {
            entry.arrived.store(self.now(), Ordering::Relaxed);
            self.arrived.fetch_add(1, Ordering::Relaxed);
            self.leave(number);
        }
    }

    /// Events that the ERP has seen.
    pub(crate) fn arrivals(&self) -> usize {
        self.arrived.load(Ordering::Relaxed)
    }

    /// Whether every accepted event was seen by the ERP.
    pub(crate) fn is_settled(&self) -> bool {
        let answered = self.acknowledged.load(Ordering::Relaxed);
        let refused = self.refused.load(Ordering::Relaxed);
        answered + refused >= self.sent() && self.arrivals() >= answered
    }

    /// Events sent so far.
    pub(crate) fn sent(&self) -> usize {
        self.next.load(Ordering::Relaxed).min(EVENTS_MAX)
    }

    /// From sending to acknowledgement, of the events from a number on.
    pub(crate) fn acknowledgements(&self, from: usize) -> Samples {
        self.samples(from, |entry| entry.acknowledged.load(Ordering::Relaxed))
    }

    /// From sending to the ERP, of the events from a number on.
    pub(crate) fn ways(&self, from: usize) -> Samples {
        self.samples(from, |entry| entry.arrived.load(Ordering::Relaxed))
    }

    fn samples(&self, from: usize, until: impl Fn(&Entry) -> u64) -> Samples {
        let mut samples = Samples::default();
        for entry in self.entries.iter().take(self.sent()).skip(from) {
            let until = until(entry);
            if until > 0 {
                samples.add_ns(until.saturating_sub(entry.sent.load(Ordering::Relaxed)));
            }
        }
        samples
    }

    /// How all events came out.
    pub(crate) fn account(&self) -> Account {
        let mut account = Account { refused: self.refused.load(Ordering::Relaxed), ..Account::default() };
        for entry in self.entries.iter().take(self.sent()) {
            let is_accepted = entry.acknowledged.load(Ordering::Relaxed) > 0;
            let arrivals = entry.arrivals.load(Ordering::Relaxed);
            account.accepted += usize::from(is_accepted);
            account.missing += usize::from(is_accepted && arrivals == 0);
            account.doubled += usize::from(arrivals > 1);
        }
        account
    }

    /// Time since the book was opened.
    pub(crate) fn time(&self) -> Duration {
        self.clock.monotonic()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.clock.monotonic().as_nanos()).unwrap_or(u64::MAX).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_and_what_came_twice_is_counted() {
        let book = Book::new();
        let numbers: Vec<usize> = (0..4).filter_map(|_| book.send()).collect();
        assert_eq!(numbers, [0, 1, 2, 3]);
        for number in [0, 1, 2] {
            book.answered(number, true);
        }
        book.answered(3, false);
        book.arrived(0);
        book.arrived(1);
        book.arrived(1);
        assert!(!book.is_settled());
        assert_eq!(book.account(), Account { accepted: 3, refused: 1, missing: 1, doubled: 1 });
        assert_eq!(book.ways(0).spread().count, 2);
        book.arrived(2);
        assert!(book.is_settled());
    }
}
