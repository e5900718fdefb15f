//! Whose turn it is (S8): round robin over the lanes that have due work, with a cursor that stays from claim to
//! claim. Kept in memory: after a start it does not matter who is first.
//!
//! Lanes are found by probing an index for the next name after the last one, so a claim costs a few probes per
//! lane that it serves, however long any lane's backlog is.

use std::collections::{BTreeMap, VecDeque};

use crate::{ClaimRequest, StoreError};

/// Tenants whose last served connection is remembered. When there are more, all are forgotten, which costs one
/// round of fairness between the connections of one tenant.
const CURSORS_MAX: usize = 10_000;

/// Connections of one tenant looked at in one claim. The next claim begins with those after.
const CONNECTIONS_PER_TENANT_MAX: usize = 64;

/// The cursors.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// The tenant whose run was claimed last.
    pub(super) runs: String,
    /// The tenant whose delivery was claimed last.
    pub(super) deliveries: String,
    /// The tenant whose notice was claimed last.
    pub(super) notices: String,
    /// The connection of each tenant through which a delivery was claimed last.
    connections: BTreeMap<String, String>,
}

impl Turns {
    /// The connection of this tenant that was served last.
    pub(super) fn connection(&self, tenant: &str) -> String {
        self.connections.get(tenant).cloned().unwrap_or_default()
    }

    /// Remembers that it was this connection's turn.
    pub(super) fn served(&mut self, tenant: &str, connection: &str) {
        if let Some(last) = self.connections.get_mut(tenant) {
            connection.clone_into(last);
            return;
        }
        if self.connections.len() >= CURSORS_MAX {
            self.connections.clear();
        }
        self.connections.insert(tenant.to_owned(), connection.to_owned());
    }
}

/// A lane and how many more it may take in this claim.
#[derive(Debug)]
pub(super) struct LaneRoom {
    pub(super) id: String,
    pub(super) room: usize,
}

/// A tenant and its connections with due work, the next to be served first.
#[derive(Debug)]
pub(super) struct TenantLanes {
    pub(super) tenant: String,
    pub(super) lanes: VecDeque<LaneRoom>,
    /// How many more it may take in all.
    pub(super) room: usize,
}

/// How many more a lane may take.
pub(super) fn room(request: &ClaimRequest, lane: &str) -> usize {
    request.room.get(lane).copied().unwrap_or(request.lane_room)
}

/// Names in a circle that begins after `last`: `probe` gives the first name after one. Each is offered to
/// `take`; ends after one round, or when `take` has had enough (false).
pub(super) fn circle(
    last: &str,
    mut probe: impl FnMut(&str) -> Result<Option<String>, StoreError>,
    mut take: impl FnMut(String) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    let mut at = last.to_owned();
    while let Some(name) = probe(&at)? {
        at.clone_from(&name);
        if !take(name)? {
            return Ok(());
        }
    }
    // From the beginning up to where we began. The names up to `last` all exist, so this ends.
    at.clear();
    while let Some(name) = probe(&at)? {
        if name.as_str() > last {
            return Ok(());
        }
        at.clone_from(&name);
        if !take(name)? {
            return Ok(());
        }
    }
    Ok(())
}

/// The connections of a tenant that have due work and room, in turn.
pub(super) fn connections(
    request: &ClaimRequest,
    last: &str,
    probe: impl FnMut(&str) -> Result<Option<String>, StoreError>,
    room: impl Fn(&str) -> Result<usize, StoreError>,
) -> Result<VecDeque<LaneRoom>, StoreError> {
    let mut lanes = VecDeque::new();
    circle(last, probe, |id| {
        let room = room(&id)?;
        if room > 0 {
            lanes.push_back(LaneRoom { id, room });
        }
        Ok(lanes.len() < CONNECTIONS_PER_TENANT_MAX.min(request.rows_max))
    })?;
    Ok(lanes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visited(names: &[&str], last: &str) -> Vec<String> {
        let probe = |after: &str| Ok(names.iter().filter(|n| **n > after).min().map(|n| (*n).to_owned()));
        let mut seen = Vec::new();
        circle(last, probe, |name| {
            seen.push(name);
            Ok(true)
        })
        .unwrap();
        seen
    }

    #[test]
    fn a_circle_begins_after_the_last_and_visits_each_once() {
        assert_eq!(visited(&["a", "b", "c"], "b"), ["c", "a", "b"]);
        assert_eq!(visited(&["a", "b", "c"], ""), ["a", "b", "c"]);
        assert_eq!(visited(&["a", "c"], "b"), ["c", "a"]);
        assert_eq!(visited(&["a"], "a"), ["a"]);
        assert!(visited(&[], "a").is_empty());
    }
}
