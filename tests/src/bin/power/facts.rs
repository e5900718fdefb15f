//! What was acknowledged, as questions to a database: each must be answered with a row, now and for ever.

use portolan_domain::{DeliveryId, EventId, RunId};
use portolan_store::event::Event;
use rusqlite::{Connection, params_from_iter};
use serde::{Deserialize, Serialize};

/// Something that the store said is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fact {
    /// In words, for a report.
    pub(crate) what: String,
    /// A question; parameters are texts.
    sql: String,
    parameters: Vec<String>,
}

impl Fact {
    fn new(what: impl Into<String>, sql: &str, parameters: &[&str]) -> Self {
        let parameters = parameters.iter().map(|text| (*text).to_owned()).collect();
        Self { what: what.into(), sql: sql.to_owned(), parameters }
    }

    /// Whether the database knows it.
    pub(crate) fn holds(&self, conn: &Connection) -> rusqlite::Result<bool> {
        conn.prepare_cached(&self.sql)?.exists(params_from_iter(&self.parameters))
    }

    /// A tenant's world was made; its mapping comes last.
    pub(crate) fn mapping(id: &str) -> Self {
        Self::new(format!("mapping {id} was stored"), "SELECT 1 FROM mappings WHERE id = ?1", &[id])
    }

    /// An event was accepted, byte for byte, with its run.
    pub(crate) fn accepted(event: &Event, run: &RunId) -> Self {
        Self::new(
            format!("event {} was accepted with run {run}", event.id),
            "SELECT 1 FROM events e JOIN runs r ON r.event_seq = e.seq
             WHERE e.id = ?1 AND r.id = ?2 AND e.payload = CAST(?3 AS BLOB) AND e.idempotency_key = ?4",
            &[
                event.id.as_str(),
                run.as_str(),
                &String::from_utf8_lossy(&event.payload),
                &event.idempotency_key,
            ],
        )
    }

    /// A repeat was answered with the first one's id: of its key there is that event and no other.
    pub(crate) fn first_of_key(first: &EventId, key: &str) -> Self {
        Self::new(
            format!("a repeat of {key} was answered with {first}"),
            "SELECT 1 FROM events WHERE id = ?1 AND idempotency_key = ?2",
            &[first.as_str(), key],
        )
    }

    /// A run was claimed.
    pub(crate) fn run_claimed(id: &RunId, epoch: u64) -> Self {
        Self::new(
            format!("run {id} was claimed with epoch {epoch}"),
            "SELECT 1 FROM runs WHERE id = ?1 AND lease_epoch >= CAST(?2 AS INTEGER)",
            &[id.as_str(), &epoch.to_string()],
        )
    }

    /// A run ended with a plan of so many deliveries, or with an outcome of this name.
    pub(crate) fn run_ended(id: &RunId, epoch: u64, deliveries: Option<usize>) -> Self {
        let epoch = epoch.to_string();
        match deliveries {
            Some(number) => Self::new(
                format!("run {id} ended with {number} deliveries"),
                "SELECT 1 FROM runs r WHERE r.id = ?1 AND r.state NOT IN ('pending', 'leased') AND
                    (SELECT count(*) FROM deliveries d WHERE d.run_seq = r.seq) = CAST(?2 AS INTEGER) AND
                    EXISTS (SELECT 1 FROM run_records WHERE run_seq = r.seq AND outcome IS NOT NULL)",
                &[id.as_str(), &number.to_string()],
            ),
            None => Self::new(
                format!("run {id} ended its lease {epoch}"),
                "SELECT 1 FROM runs WHERE id = ?1 AND
                    (state <> 'leased' OR lease_epoch > CAST(?2 AS INTEGER))",
                &[id.as_str(), &epoch],
            ),
        }
    }

    /// An attempt's intent was stored.
    pub(crate) fn intent(id: &DeliveryId, attempt: u32) -> Self {
        Self::new(
            format!("attempt {attempt} of delivery {id} was begun"),
            "SELECT 1 FROM attempts a JOIN deliveries d ON d.seq = a.delivery_seq
             WHERE d.id = ?1 AND a.number = CAST(?2 AS INTEGER)",
            &[id.as_str(), &attempt.to_string()],
        )
    }

    /// An attempt's verdict was stored.
    pub(crate) fn verdict(id: &DeliveryId, attempt: u32, verdict: &str) -> Self {
        Self::new(
            format!("attempt {attempt} of delivery {id} ended as {verdict}"),
            "SELECT 1 FROM attempts a JOIN deliveries d ON d.seq = a.delivery_seq
                JOIN delivery_contents c ON c.delivery_seq = d.seq
             WHERE d.id = ?1 AND a.number = CAST(?2 AS INTEGER) AND a.verdict = ?3 AND
                (?3 <> 'delivered' OR (d.state = 'delivered' AND c.response IS NOT NULL))",
            &[id.as_str(), &attempt.to_string(), verdict],
        )
    }

    /// A person decided.
    pub(crate) fn decided(subject: &str, why: &str) -> Self {
        Self::new(
            format!("it was decided about {subject}: {why}"),
            "SELECT 1 FROM decisions WHERE subject = ?1 AND why = ?2",
            &[subject, why],
        )
    }

    /// A source was asked up to here.
    pub(crate) fn asked(source: &str, cursor: u64) -> Self {
        Self::new(
            format!("source {source} was asked up to {cursor}"),
            "SELECT 1 FROM polls WHERE source = ?1 AND CAST(cursor AS INTEGER) >= CAST(?2 AS INTEGER)",
            &[source, &cursor.to_string()],
        )
    }

    /// An object was seen so often.
    pub(crate) fn seen(source: &str, object: &str, number: u64) -> Self {
        Self::new(
            format!("{object} of source {source} was seen {number} times"),
            "SELECT 1 FROM poll_sights WHERE source = ?1 AND object = ?2 AND number >= CAST(?3 AS INTEGER)",
            &[source, object, &number.to_string()],
        )
    }

    /// An alert of this title was raised so often.
    pub(crate) fn alerted(title: &str, count: u64) -> Self {
        Self::new(
            format!("alert {title:?} was raised {count} times"),
            "SELECT 1 FROM alerts WHERE title = ?1 AND count >= CAST(?2 AS INTEGER)",
            &[title, &count.to_string()],
        )
    }

    /// So many pings were answered.
    pub(crate) fn pinged(number: u64) -> Self {
        Self::new(
            format!("{number} pings were answered"),
            "SELECT 1 FROM pings WHERE number >= CAST(?1 AS INTEGER)",
            &[&number.to_string()],
        )
    }

    /// A row of a lookup table was written.
    pub(crate) fn looked_up(tenant: &str, key: &str) -> Self {
        Self::new(
            format!("lookup row {key} of {tenant} was written"),
            "SELECT 1 FROM lookup_rows WHERE tenant = ?1 AND key = ?2",
            &[tenant, key],
        )
    }
}
