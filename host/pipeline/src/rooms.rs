//! How much each lane (a tenant's runs, a connection's deliveries) has under way.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Counts what is under way by lane.
#[derive(Debug, Clone, Default)]
pub struct Rooms {
    busy: Arc<Mutex<BTreeMap<String, usize>>>,
}

/// One place in a lane, given back when dropped.
#[derive(Debug)]
pub struct Place {
    rooms: Rooms,
    lane: String,
}

impl Rooms {
    /// Takes a place. Never refuses: the claim has seen to it that there is room.
    #[must_use]
    pub fn enter(&self, lane: &str) -> Place {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        *busy.entry(lane.to_owned()).or_default() += 1;
        Place { rooms: self.clone(), lane: lane.to_owned() }
    }

    /// For every lane with something under way, how many more it may take when `max` says how many in all.
    #[must_use]
    pub fn left(&self, max: impl Fn(&str) -> usize) -> BTreeMap<String, usize> {
        let busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.iter().map(|(lane, count)| (lane.clone(), max(lane).saturating_sub(*count))).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut busy = self.rooms.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = busy.get_mut(&self.lane) {
            *count -= 1;
            if *count == 0 {
                busy.remove(&self.lane);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_back_when_it_is_dropped() {
        let rooms = Rooms::default();
        let first = rooms.enter("a");
        let second = rooms.enter("a");
        assert_eq!(rooms.left(|_| 3), BTreeMap::from([("a".to_owned(), 1)]));
        drop((first, second));
        assert!(rooms.left(|_| 3).is_empty());
    }
}
