//! How sending a notice ended.

use portolan_domain::Timestamp;
use rusqlite::{Connection, params};

use crate::{
    Finish, StoreError,
    notification::{NoticeClaim, NoticeEnd},
    sqlite::{
        alert,
        row::{change, integer, json, millis},
    },
};

const END: &str = "
    UPDATE notices SET state = ?4, due = ?5 <= ?7 AND ?4 = 'pending', due_at = ?5, lease_owner = NULL,
        wake_at = CASE WHEN ?4 = 'pending' AND ?5 > ?7 THEN ?5 END, reason = ?6, updated_at = ?7
    WHERE id = ?1 AND state = 'leased' AND lease_owner = ?2 AND lease_epoch = ?3";

const END_FOREIGN: &str = "
    UPDATE notices SET state = 'pending', due = 1, wake_at = NULL, lease_owner = NULL
    WHERE seq IN (SELECT seq FROM notices INDEXED BY notices_wake
                  WHERE wake_at IS NOT NULL AND state = 'leased' AND lease_owner <> ?1)";

pub(super) fn finish(
    conn: &Connection,
    claim: &NoticeClaim,
    end: &NoticeEnd,
    now: Timestamp,
) -> Result<Finish, StoreError> {
    let (state, due_at, reason) = match end {
        NoticeEnd::Sent => ("sent", now, None),
        NoticeEnd::Retry { due_at, reason } => ("pending", *due_at, json(reason)),
        NoticeEnd::Failed { reason, .. } => ("failed", now, json(reason)),
    };
    let (owner, epoch) = (&claim.lease.owner, integer(claim.lease.epoch));
    let params = params![claim.id.as_str(), owner, epoch, state, millis(due_at), reason, millis(now)];
    if change(conn, END, params)? == 0 {
        return Ok(Finish::LeaseLost);
    }
    if let NoticeEnd::Failed { alerts, .. } = end {
        let from = alert::From { rule: Some(&claim.rule.id), ..alert::From::default() };
        alert::raise(conn, &claim.rule.scope, from, alerts)?;
    }
    Ok(Finish::Done)
}

/// Ends every lease that `owner` does not hold.
pub(in crate::sqlite) fn end_foreign(conn: &Connection, owner: &str) -> Result<u64, StoreError> {
    Ok(change(conn, END_FOREIGN, [owner])? as u64)
}
