-- What a tenant may use, what it used, and how long what is finished is kept.

-- How an operator lets a tenant be served: see portolan_domain::state::TenantState.
--   quotas, retention  what was set for it, as JSON; null: the host's defaults
--   ends_at            when a tenant that is `deleting` is removed without anybody's word
ALTER TABLE tenants ADD COLUMN state TEXT NOT NULL DEFAULT 'active'
    CHECK (state IN ('active', 'suspended', 'deleting', 'purging'));
ALTER TABLE tenants ADD COLUMN state_by TEXT;
ALTER TABLE tenants ADD COLUMN state_why TEXT;
ALTER TABLE tenants ADD COLUMN state_at INTEGER;
ALTER TABLE tenants ADD COLUMN ends_at INTEGER;
ALTER TABLE tenants ADD COLUMN quotas TEXT;
ALTER TABLE tenants ADD COLUMN retention TEXT;
-- Those that are not served like everybody: few.
CREATE INDEX tenants_apart ON tenants (state) WHERE state <> 'active' OR quotas IS NOT NULL;

-- By hour (since 1970), added to in the transaction that makes what is counted.
--   tenant       '' holds what tenants used that are removed since
--   environment  '' for what belongs to none: modules
CREATE TABLE usage (
    tenant       TEXT NOT NULL,
    environment  TEXT NOT NULL,
    hour         INTEGER NOT NULL,
    events       INTEGER NOT NULL,
    repeats      INTEGER NOT NULL,
    bytes_in     INTEGER NOT NULL,
    runs         INTEGER NOT NULL,
    executions   INTEGER NOT NULL,
    fuel         INTEGER NOT NULL,
    guest_us     INTEGER NOT NULL,
    calls        INTEGER NOT NULL,
    deliveries   INTEGER NOT NULL,
    attempts     INTEGER NOT NULL,
    modules      INTEGER NOT NULL,
    module_bytes INTEGER NOT NULL,
    PRIMARY KEY (tenant, environment, hour)
) STRICT, WITHOUT ROWID;
CREATE INDEX usage_hour ON usage (hour);

-- How many bytes are stored for a tenant now: payloads of events; outcomes, facts and logs of runs; bodies (as planned and
-- as sent) and responses of deliveries; components of modules (environment '').
CREATE TABLE stored_bytes (
    tenant      TEXT NOT NULL,
    environment TEXT NOT NULL,
    bytes       INTEGER NOT NULL,
    PRIMARY KEY (tenant, environment)
) STRICT, WITHOUT ROWID;
INSERT INTO stored_bytes (tenant, environment, bytes)
SELECT tenant, environment, sum(bytes) FROM (
    SELECT tenant, environment, length(payload) AS bytes FROM events
    UNION ALL
    SELECT r.tenant, r.environment, coalesce(octet_length(c.outcome), 0) + coalesce(octet_length(c.facts), 0)
        + coalesce(octet_length(c.log), 0)
    FROM run_records c JOIN runs r ON r.seq = c.run_seq
    UNION ALL
    SELECT d.tenant, d.environment, coalesce(octet_length(c.body), 0) + coalesce(octet_length(c.sent), 0)
        + coalesce(octet_length(c.response), 0)
    FROM delivery_contents c JOIN deliveries d ON d.seq = c.delivery_seq
    UNION ALL
    SELECT tenant, '', component_bytes FROM modules)
GROUP BY tenant, environment;

-- What is left of an event that was removed: a repeat is known by it.
CREATE TABLE event_tombstones (
    source          TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    tenant          TEXT NOT NULL,
    environment     TEXT NOT NULL,
    event           TEXT NOT NULL,
    payload_sha256  BLOB NOT NULL CHECK (length(payload_sha256) = 32),
    received_at     INTEGER NOT NULL,
    removed_at      INTEGER NOT NULL,
    PRIMARY KEY (source, idempotency_key)
) STRICT, WITHOUT ROWID;
CREATE INDEX event_tombstones_age ON event_tombstones (tenant, removed_at);

-- A payload that was removed: what it was, and since when it is gone. The event says so from then on.
ALTER TABLE events ADD COLUMN payload_sha256 BLOB;
ALTER TABLE events ADD COLUMN payload_removed_at INTEGER;

-- The digest of the latest export of each tenant: a removal is confirmed with it.
CREATE TABLE exports (
    tenant   TEXT PRIMARY KEY,
    sha256   BLOB NOT NULL CHECK (length(sha256) = 32),
    taken_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- How far each kind of sweep has come: what lies before this event was dealt with.
CREATE TABLE sweeps (
    tenant      TEXT NOT NULL,
    environment TEXT NOT NULL,
    noun        TEXT NOT NULL,
    event_seq   INTEGER NOT NULL,
    PRIMARY KEY (tenant, environment, noun)
) STRICT, WITHOUT ROWID;

-- As before, but a fact outlives the delivery that recorded it: then `delivery_seq` is null, and here stands how that one
-- ended. Without the foreign key on `delivery_seq`, which would have the whole table searched for every delivery removed.
CREATE TABLE onces_after (
    connection   TEXT NOT NULL REFERENCES connections (id),
    once         TEXT NOT NULL,
    delivery_seq INTEGER,
    begun_at     INTEGER,
    state        TEXT,
    doubt_since  INTEGER,
    response     TEXT,
    PRIMARY KEY (connection, once),
    CHECK ((delivery_seq IS NULL) = (state IS NOT NULL))
) STRICT, WITHOUT ROWID;
INSERT INTO onces_after (connection, once, delivery_seq, begun_at)
    SELECT connection, once, delivery_seq, begun_at FROM onces;
DROP TABLE onces;
ALTER TABLE onces_after RENAME TO onces;

-- As before, but a reference outlives its event, whose id it keeps.
CREATE TABLE object_references_after (
    tenant      TEXT NOT NULL,
    environment TEXT NOT NULL,
    kind        TEXT NOT NULL,
    object_id   TEXT NOT NULL,
    system      TEXT NOT NULL,
    counterpart TEXT NOT NULL,
    event       TEXT NOT NULL,
    PRIMARY KEY (tenant, environment, kind, object_id, system)
) STRICT, WITHOUT ROWID;
INSERT INTO object_references_after (tenant, environment, kind, object_id, system, counterpart, event)
    SELECT r.tenant, r.environment, r.kind, r.object_id, r.system, r.counterpart, e.id
    FROM object_references r JOIN events e ON e.seq = r.event_seq;
DROP TABLE object_references;
ALTER TABLE object_references_after RENAME TO object_references;
CREATE INDEX object_references_reverse ON object_references (tenant, environment, system, counterpart);

-- As before, without the foreign key on `delivery_seq`: both are of one plan, and go together.
CREATE TABLE delivery_after_after (
    first_seq    INTEGER NOT NULL REFERENCES deliveries (seq),
    delivery_seq INTEGER NOT NULL,
    PRIMARY KEY (first_seq, delivery_seq)
) STRICT, WITHOUT ROWID;
INSERT INTO delivery_after_after (first_seq, delivery_seq) SELECT first_seq, delivery_seq FROM delivery_after;
DROP TABLE delivery_after;
ALTER TABLE delivery_after_after RENAME TO delivery_after;

-- Where a chain begins now, when its oldest entries were removed: after entry number `removed`, which had this MAC.
ALTER TABLE audit_heads ADD COLUMN removed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE audit_heads ADD COLUMN removed_mac BLOB;

DROP TRIGGER audit_entries_remain;
CREATE TRIGGER audit_entries_remain BEFORE DELETE ON audit_entries
WHEN OLD.number > coalesce((SELECT removed FROM audit_heads WHERE chain = OLD.chain), 0)
 AND NOT EXISTS (SELECT 1 FROM tenants WHERE id = OLD.chain AND state = 'purging')
BEGIN
    SELECT RAISE(ABORT, 'an audit entry is never removed before its time');
END;
