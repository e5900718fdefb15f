//! Who is to be told of something, within the transaction in which it happens (S24).
//!
//! A flood of news becomes a bounded number of rows: each rule counts its notices since its window began, and what is too
//! much for a minute is added to one row that gathers, and is sent when the minute is over.

use portolan_domain::{
    NoticeId, NotificationRuleId, Scope, Timestamp,
    notification::{Digest, News, Rule},
    state::NoticeState,
};
use rusqlite::{Connection, params};

use super::read_spec;
use crate::{
    StoreError,
    sqlite::row::{all, change, first, json_of, millis},
};

/// The kind of a notice that gathers.
pub(super) const DIGEST: &str = "digest";

/// How long a rule's notices are counted together, in milliseconds.
const WINDOW_MS: i64 = 60_000;

/// The rules that tell alerts.
pub(in crate::sqlite) const ALERTS: &str = "
    SELECT id, rule, window_at, window_count FROM notification_rules INDEXED BY notification_rules_alerts
    WHERE tenant = ?1 AND environment = ?2 AND enabled = 1 AND tells_alerts = 1 ORDER BY seq";

/// The rules that tell deliveries.
pub(in crate::sqlite) const DELIVERIES: &str = "
    SELECT id, rule, window_at, window_count FROM notification_rules INDEXED BY notification_rules_deliveries
    WHERE tenant = ?1 AND environment = ?2 AND enabled = 1 AND tells_deliveries = 1 ORDER BY seq";

const WINDOW: &str = "UPDATE notification_rules SET window_at = ?2, window_count = ?3 WHERE id = ?1";

const GATHERED: &str =
    "SELECT seq, content FROM notices INDEXED BY notices_gathering WHERE rule = ?1 AND state = 'gathering'";
const GATHER: &str = "UPDATE notices SET content = ?2, updated_at = ?3 WHERE seq = ?1";

const INSERT: &str = "
    INSERT INTO notices (id, tenant, environment, rule, kind, subject, content, state, due, due_at, wake_at, created_at,
        updated_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8 = 'pending', ?9, CASE WHEN ?8 = 'pending' THEN NULL ELSE ?9 END, ?10, ?10)";

/// A rule that may want to be told.
pub(in crate::sqlite) struct Listener {
    id: NotificationRuleId,
    pub(in crate::sqlite) rule: Rule,
    window_at: i64,
    window_count: u32,
}

/// The rules of a scope that tell alerts, or deliveries. As a rule there are none, which costs one probe.
pub(in crate::sqlite) fn listeners(
    conn: &Connection,
    scope: &Scope,
    which: &str,
) -> Result<Vec<Listener>, StoreError> {
    all(conn, which, [scope.tenant.as_str(), scope.environment.as_str()], |c| {
        Ok(Listener { id: c.parsed()?, rule: read_spec(c)?, window_at: c.get()?, window_count: c.count()? })
    })
}

/// Stores a notice for every rule that `wants` it, but for one. `news` is made only when somebody does.
pub(in crate::sqlite) fn tell(
    conn: &Connection,
    scope: &Scope,
    (which, but): (&str, Option<&NotificationRuleId>),
    wants: impl Fn(&Rule) -> bool,
    news: impl FnOnce() -> Result<News, StoreError>,
) -> Result<(), StoreError> {
    let mut found = listeners(conn, scope, which)?;
    found.retain(|one| Some(&one.id) != but && wants(&one.rule));
    if found.is_empty() {
        return Ok(());
    }
    let news = news()?;
    found.iter().try_for_each(|listener| store(conn, scope, listener, &news))
}

/// Stores a notice for a rule.
pub(in crate::sqlite) fn store(
    conn: &Connection,
    scope: &Scope,
    to: &Listener,
    news: &News,
) -> Result<(), StoreError> {
    let at = millis(news.timestamp);
    // Also when the clock was set back by more than a window.
    let is_over = at.abs_diff(to.window_at) >= WINDOW_MS.unsigned_abs();
    let (window_at, count) =
        if is_over { (at, 1) } else { (to.window_at, to.window_count.saturating_add(1)) };
    if count > to.rule.per_minute_max {
        return gather(conn, scope, to, news);
    }
    change(conn, WINDOW, params![to.id.as_str(), window_at, count])?;
    insert(
        conn,
        scope,
        to,
        (news.kind.as_str(), &news.subject, &json_of(news)?),
        (NoticeState::Pending, at, at),
    )
}

/// Adds to the row that gathers, or begins one.
fn gather(conn: &Connection, scope: &Scope, to: &Listener, news: &News) -> Result<(), StoreError> {
    let at = millis(news.timestamp);
    let gathered =
        first(conn, GATHERED, [to.id.as_str()], |c| Ok((c.get::<i64>()?, c.json_option::<Digest>()?)))?;
    let (seq, digest) = gathered.unzip();
    let mut digest = digest.flatten().unwrap_or_else(|| Digest::begun(news.timestamp));
    digest.add(news);
    let content = json_of(&digest)?;
    match seq {
        Some(seq) => {
            change(conn, GATHER, params![seq, content, at])?;
            Ok(())
        }
        None => {
            let due_at = to.window_at.saturating_add(WINDOW_MS);
            insert(conn, scope, to, (DIGEST, "", &content), (NoticeState::Gathering, due_at, at))
        }
    }
}

fn insert(
    conn: &Connection,
    scope: &Scope,
    to: &Listener,
    (kind, subject, content): (&str, &str, &str),
    (state, due_at, at): (NoticeState, i64, i64),
) -> Result<(), StoreError> {
    let id = NoticeId::generate(Timestamp::from_millis(at.unsigned_abs()));
    let params = params![
        id.as_str(),
        scope.tenant.as_str(),
        scope.environment.as_str(),
        to.id.as_str(),
        kind,
        subject,
        content,
        state.as_str(),
        due_at,
        at
    ];
    change(conn, INSERT, params)?;
    Ok(())
}
