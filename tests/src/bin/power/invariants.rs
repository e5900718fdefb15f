//! Rules of the schema that hold between transactions, as questions for what breaks them. They say again, in SQL and by
//! looking at everything, what the store keeps up row by row.

use rusqlite::Connection;

/// A rule, and the rows that break it.
type Rule = (&'static str, &'static str);

const RULES: &[Rule] = &[
    (
        "an event is stored with its runs (S4)",
        "SELECT id FROM events e WHERE state = 'routed'
            AND NOT EXISTS (SELECT 1 FROM runs WHERE event_seq = e.seq)",
    ),
    (
        "a run is stored with all deliveries of its plan (S4)",
        "SELECT r.id FROM runs r JOIN run_records c ON c.run_seq = r.seq
         WHERE c.outcome ->> 'deliveries' IS NOT NULL AND r.state NOT IN ('pending', 'leased')
            AND (SELECT count(*) FROM deliveries WHERE run_seq = r.seq) <> c.outcome ->> 'deliveries'",
    ),
    (
        "a run is stored with its references (S4)",
        "SELECT r.id FROM runs r JOIN run_records c ON c.run_seq = r.seq
         WHERE c.outcome ->> 'references' > 0 AND r.state NOT IN ('pending', 'leased')
            AND NOT EXISTS (SELECT 1 FROM object_references WHERE kind = 'by' AND object_id = r.id)",
    ),
    (
        "only a run with a plan has deliveries (S4)",
        "SELECT id FROM runs r WHERE state IN ('pending', 'leased', 'skipped')
            AND EXISTS (SELECT 1 FROM deliveries WHERE run_seq = r.seq)",
    ),
    (
        "a run ends with its last delivery (S2)",
        "SELECT id FROM runs r WHERE state IN ('planned', 'delivered', 'refused') AND (state = 'planned') <>
            EXISTS (SELECT 1 FROM deliveries WHERE run_seq = r.seq AND open = 1)",
    ),
    (
        "a delivery is stored with its content (S2)",
        "SELECT id FROM deliveries d WHERE NOT EXISTS
            (SELECT 1 FROM delivery_contents WHERE delivery_seq = d.seq)",
    ),
    (
        "every attempt that was begun is stored, and no other (S6)",
        "SELECT id FROM deliveries d
         WHERE attempts <> (SELECT count(*) FROM attempts WHERE delivery_seq = d.seq)",
    ),
    (
        "an attempt without a verdict is that of a lease (S6)",
        "SELECT d.id FROM attempts a JOIN deliveries d ON d.seq = a.delivery_seq
         WHERE a.verdict IS NULL AND NOT (d.state = 'leased' AND a.number = d.attempts)",
    ),
    (
        "a lease has an attempt without a verdict (S6)",
        "SELECT id FROM deliveries d WHERE state = 'leased' AND NOT EXISTS
            (SELECT 1 FROM attempts WHERE delivery_seq = d.seq AND number = d.attempts AND verdict IS NULL)",
    ),
    (
        "what is delivered has a response and its reference (S2)",
        "SELECT d.id FROM deliveries d JOIN delivery_contents c ON c.delivery_seq = d.seq
         WHERE d.state = 'delivered' AND (c.response IS NULL OR (
            EXISTS (SELECT 1 FROM attempts WHERE delivery_seq = d.seq AND verdict = 'delivered') AND NOT EXISTS
            (SELECT 1 FROM object_references WHERE kind = 'by' AND object_id = d.id)))",
    ),
    (
        "`after_open` counts what is not delivered yet (S10)",
        "SELECT id FROM deliveries d WHERE open = 1 AND after_open <>
            (SELECT count(*) FROM delivery_after a JOIN deliveries f ON f.seq = a.first_seq
             WHERE a.delivery_seq = d.seq AND f.state <> 'delivered')",
    ),
    (
        "a delivery waits no longer than for its turn and for what it comes after (S10)",
        "SELECT id FROM deliveries WHERE (state = 'waiting' AND turn = 1 AND after_open = 0)
            OR (state = 'pending' AND after_open > 0)",
    ),
    (
        "`turn` of a delivery says whether an earlier event has an open one (S10)",
        "SELECT id FROM deliveries d WHERE open = 1 AND turn = EXISTS
            (SELECT 1 FROM deliveries f WHERE f.mapping = d.mapping AND f.ordering_key = d.ordering_key
                AND f.event_seq < d.event_seq AND f.open = 1)",
    ),
    (
        "`turn` of a run says whether an earlier one blocks it (S9)",
        "SELECT id FROM runs r WHERE open = 1 AND turn = EXISTS
            (SELECT 1 FROM runs f WHERE f.mapping = r.mapping AND f.ordering_key = r.ordering_key
                AND f.event_seq < r.event_seq AND f.blocks = 1)",
    ),
    (
        "of one fact at most one delivery is leased until one is delivered (S14)",
        "SELECT c.once FROM deliveries d JOIN delivery_contents c ON c.delivery_seq = d.seq
         WHERE d.state = 'leased' AND NOT EXISTS
            (SELECT 1 FROM onces o JOIN deliveries f ON f.seq = o.delivery_seq
             WHERE o.connection = d.connection AND o.once = c.once AND f.state = 'delivered')
         GROUP BY d.connection, c.once HAVING c.once IS NOT NULL AND count(*) > 1",
    ),
    (
        "open alerts of one scope, code and title are one (S12)",
        "SELECT title FROM alerts WHERE open = 1 GROUP BY tenant, environment, code, title HAVING count(*) > 1",
    ),
];

/// Which rules are broken, and by what.
pub(crate) fn broken(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut broken = Vec::new();
    for (rule, sql) in RULES {
        let mut rows = conn.prepare_cached(sql)?;
        let found: Vec<String> = rows.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        if !found.is_empty() {
            broken.push(format!("{rule}: {}", found.join(", ")));
        }
    }
    Ok(broken)
}
