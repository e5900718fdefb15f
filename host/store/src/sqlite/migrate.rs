//! Brings a database to the schema of this program: forward only, each step whole or not at all, and never
//! on a database that a later program wrote.

use rusqlite::Connection;

use super::error::Hindrance;
use crate::StoreError;

/// Every migration, in order. The n-th brings the database to `user_version` n.
const MIGRATIONS: &[&str] = &[
    include_str!("../../migrations/0001_start.sql"),
    include_str!("../../migrations/0002_once.sql"),
    include_str!("../../migrations/0003_polls.sql"),
    include_str!("../../migrations/0004_desk.sql"),
    include_str!("../../migrations/0005_guilt.sql"),
    include_str!("../../migrations/0006_audit.sql"),
    include_str!("../../migrations/0007_restore.sql"),
    include_str!("../../migrations/0008_failures.sql"),
    include_str!("../../migrations/0009_cards.sql"),
    include_str!("../../migrations/0010_guard.sql"),
    include_str!("../../migrations/0011_alerts.sql"),
    include_str!("../../migrations/0012_quotas.sql"),
    include_str!("../../migrations/0013_life.sql"),
    include_str!("../../migrations/0014_api.sql"),
    include_str!("../../migrations/0015_bounds.sql"),
    include_str!("../../migrations/0016_replays.sql"),
    include_str!("../../migrations/0017_unresolved.sql"),
];

/// Makes what is missing.
pub(super) fn migrate(conn: &mut Connection) -> Result<(), StoreError> {
    carry_out(conn, MIGRATIONS)
}

fn carry_out(conn: &mut Connection, migrations: &[&str]) -> Result<(), StoreError> {
    let found: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let known = i64::try_from(migrations.len()).unwrap_or(i64::MAX);
    if found > known || found < 0 {
        return Err(Hindrance::NewerDatabase { found, known }.into());
    }
    for (version, sql) in (1_i64..).zip(migrations).filter(|(version, _)| *version > found) {
        let transaction = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
        tracing::info!(migration.number = version, "migrated the database");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrating_twice_changes_nothing() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate(&mut conn).unwrap();
        migrate(&mut conn).unwrap();
        let version: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        assert_eq!(version, i64::try_from(MIGRATIONS.len()).unwrap());
    }

    #[test]
    fn a_lookup_table_from_before_its_versions_has_one_that_made_it() {
        let mut conn = Connection::open_in_memory().unwrap();
        carry_out(&mut conn, &MIGRATIONS[..14]).unwrap();
        conn.execute_batch(
            "INSERT INTO tenants (id, name, created_at) VALUES ('t', 't', 0);
             INSERT INTO lookup_rows VALUES ('t', 'qa', 'old', 'a', '1'), ('t', 'qa', 'old', 'b', '22');
             INSERT INTO lookup_rows VALUES ('t', 'qa', 'new', 'a', '3'), ('t', 'qa', 'new', 'b', '4');
             INSERT INTO lookup_versions VALUES ('t', 'qa', 'new', 1, 0, 'key', 1);
             INSERT INTO lookup_changes VALUES ('t', 'qa', 'new', 1, 'a', '2', '3');",
        )
        .unwrap();
        migrate(&mut conn).unwrap();
        let texts = |sql: &str| -> Vec<String> {
            let mut found = conn.prepare(sql).unwrap();
            found.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
        };
        let versions = "SELECT lookup || version || changed_by || changes FROM lookup_versions ORDER BY 1";
        assert_eq!(texts(versions), ["new1key1", "old1host2"]);
        let changes = "SELECT lookup || version || key || coalesce(before, '-') || after FROM lookup_changes ORDER BY 1";
        assert_eq!(texts(changes), ["new1a23", "old1a-1", "old1b-22"]);
        assert_eq!(texts("SELECT tenant || environment || bytes FROM stored_bytes"), ["tqa5"]);
    }

    #[test]
    fn a_database_of_a_later_program_is_refused() {
        let mut conn = Connection::open_in_memory().unwrap();
        conn.pragma_update(None, "user_version", 99).unwrap();
        let error = migrate(&mut conn).unwrap_err();
        assert!(
            matches!(error, StoreError::Unavailable(source) if source.to_string().contains("migration 99"))
        );
    }
}
