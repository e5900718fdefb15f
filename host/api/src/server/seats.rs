//! How many connections each address has: one stranger must not take them all.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};

/// Counts connections by address.
#[derive(Debug, Clone)]
pub(super) struct Seats {
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
    /// 0: without end.
    per_address_max: usize,
}

/// One connection's place; given back when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Seats,
    address: IpAddr,
}

impl Seats {
    pub(super) fn new(per_address_max: usize) -> Self {
        Self { taken: Arc::default(), per_address_max }
    }

    /// A place for another connection of this address. `None` when it has too many.
    pub(super) fn take(&self, address: IpAddr) -> Option<Seat> {
        let address = network(address);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(address).or_default();
        if self.per_address_max > 0 && *count >= self.per_address_max {
            return None;
        }
        *count += 1;
        Some(Seat { seats: self.clone(), address })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

/// Whoever has one IPv6 address has a whole /64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        v4 @ IpAddr::V4(_) => v4,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_share_and_gets_it_back() {
        let seats = Seats::new(2);
        let take = |text: &str| seats.take(text.parse().unwrap());
        let (first, second) = (take("2001:db8::1").unwrap(), take("2001:db8::ffff:2").unwrap());
        assert!(take("2001:db8::3").is_none(), "one /64 is one client");
        assert!(take("2001:db8:0:1::1").is_some());
        let mapped = (take("10.0.0.1").unwrap(), take("::ffff:10.0.0.1").unwrap());
        assert!(take("10.0.0.1").is_none());
        drop((first, mapped));
        assert!(take("2001:db8::3").is_some());
        drop(second);
        assert!(seats.taken.lock().unwrap().is_empty(), "nothing is remembered of who has left");
    }

    #[test]
    fn zero_is_no_bound() {
        let seats = Seats::new(0);
        let held: Vec<_> = (0..5_000).filter_map(|_| seats.take("10.0.0.1".parse().unwrap())).collect();
        assert_eq!(held.len(), 5_000);
    }
}
