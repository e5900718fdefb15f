-- The first schema. Forward only: a later change is a new file with the next number.
--
-- Times are milliseconds since 1970. JSON is TEXT, written compact; SQL NULL stands for JSON null and for an
-- empty list. `seq` is the order of arrival: events are ordered by it, lists are read backwards along it.
-- What is read and changed with every step (runs, deliveries) is kept apart from what is only kept
-- (run_records, delivery_contents), so that a step rewrites a short row.
--
-- Foreign keys carry tenant and environment: no row can refer to another scope's.

CREATE TABLE tenants (
    seq        INTEGER PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    name       TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE keys (
    seq           INTEGER PRIMARY KEY,
    id            TEXT NOT NULL UNIQUE,
    role          TEXT NOT NULL
                  CHECK (role IN ('operator', 'tenant-admin', 'tenant-developer', 'tenant-viewer')),
    tenant        TEXT REFERENCES tenants (id),
    environment   TEXT CHECK (environment IN ('sandbox', 'qa', 'production')),
    name          TEXT NOT NULL,
    secret_sha256 BLOB NOT NULL UNIQUE CHECK (length(secret_sha256) = 32),
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER,
    CHECK ((role = 'operator') = (tenant IS NULL))
) STRICT;
CREATE INDEX keys_tenant ON keys (tenant);

CREATE TABLE modules (
    seq             INTEGER PRIMARY KEY,
    tenant          TEXT NOT NULL REFERENCES tenants (id),
    digest          TEXT NOT NULL,
    description     TEXT NOT NULL,
    component_bytes INTEGER NOT NULL,
    uploaded_at     INTEGER NOT NULL,
    UNIQUE (tenant, digest)
) STRICT;

CREATE TABLE module_components (
    module_seq INTEGER PRIMARY KEY REFERENCES modules (seq),
    component  BLOB NOT NULL
) STRICT;

CREATE TABLE sources (
    seq            INTEGER PRIMARY KEY,
    id             TEXT NOT NULL UNIQUE,
    tenant         TEXT NOT NULL REFERENCES tenants (id),
    environment    TEXT NOT NULL CHECK (environment IN ('sandbox', 'qa', 'production')),
    name           TEXT NOT NULL,
    system         TEXT NOT NULL,
    settings       TEXT,
    sealed_secrets BLOB NOT NULL,
    created_at     INTEGER NOT NULL,
    UNIQUE (tenant, environment, name),
    UNIQUE (tenant, environment, id)
) STRICT;

CREATE TABLE connections (
    seq            INTEGER PRIMARY KEY,
    id             TEXT NOT NULL UNIQUE,
    tenant         TEXT NOT NULL REFERENCES tenants (id),
    environment    TEXT NOT NULL CHECK (environment IN ('sandbox', 'qa', 'production')),
    name           TEXT NOT NULL,
    connector      TEXT NOT NULL,
    settings       TEXT,
    sealed_secrets BLOB NOT NULL,
    revision       INTEGER NOT NULL,
    created_at     INTEGER NOT NULL,
    UNIQUE (tenant, environment, name),
    UNIQUE (tenant, environment, id)
) STRICT;

CREATE TABLE mappings (
    seq         INTEGER PRIMARY KEY,
    id          TEXT NOT NULL UNIQUE,
    tenant      TEXT NOT NULL,
    environment TEXT NOT NULL,
    name        TEXT NOT NULL,
    source      TEXT NOT NULL,
    kinds       TEXT NOT NULL,
    module      TEXT NOT NULL,
    settings    TEXT,
    connections TEXT NOT NULL,
    enabled     INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    created_at  INTEGER NOT NULL,
    UNIQUE (tenant, environment, name),
    UNIQUE (tenant, environment, id),
    FOREIGN KEY (tenant, environment, source) REFERENCES sources (tenant, environment, id),
    FOREIGN KEY (tenant, module) REFERENCES modules (tenant, digest)
) STRICT;
CREATE INDEX mappings_source ON mappings (tenant, environment, source);

CREATE TABLE lookup_rows (
    tenant      TEXT NOT NULL REFERENCES tenants (id),
    environment TEXT NOT NULL CHECK (environment IN ('sandbox', 'qa', 'production')),
    lookup      TEXT NOT NULL,
    key         TEXT NOT NULL,
    value       TEXT NOT NULL,
    PRIMARY KEY (tenant, environment, lookup, key)
) STRICT, WITHOUT ROWID;

-- Never changed once written.
CREATE TABLE events (
    seq             INTEGER PRIMARY KEY,
    id              TEXT NOT NULL UNIQUE,
    tenant          TEXT NOT NULL,
    environment     TEXT NOT NULL,
    source          TEXT NOT NULL,
    source_name     TEXT NOT NULL,
    system          TEXT NOT NULL,
    kind            TEXT NOT NULL,
    object_id       TEXT,
    idempotency_key TEXT NOT NULL,
    occurred_at     INTEGER NOT NULL,
    received_at     INTEGER NOT NULL,
    media_type      TEXT NOT NULL,
    state           TEXT NOT NULL CHECK (state IN ('routed', 'unrouted', 'dead')),
    reason          TEXT,
    payload         BLOB NOT NULL,
    UNIQUE (source, idempotency_key),
    FOREIGN KEY (tenant, environment, source) REFERENCES sources (tenant, environment, id)
) STRICT;
CREATE INDEX events_scope ON events (tenant, environment);
CREATE INDEX events_object ON events (tenant, environment, object_id) WHERE object_id IS NOT NULL;
CREATE INDEX events_astray ON events (tenant, environment, state) WHERE state <> 'routed';

-- A run can be claimed when `turn` and `due` are both 1.
--   turn     1: no earlier run with the same mapping and ordering key blocks it
--   due      1: it is pending and its time has come. 0 and pending: `wake_at` says when it comes
--   wake_at  when a pending run becomes due, or a leased one's lease ends
--   blocks   1: later runs with the same mapping and ordering key wait for it
--   open     1: it is not resolved yet
-- `blocks` and `open` follow from `state`; they are columns so that an index on them is left alone by most steps.
CREATE TABLE runs (
    seq            INTEGER PRIMARY KEY,
    id             TEXT NOT NULL UNIQUE,
    tenant         TEXT NOT NULL,
    environment    TEXT NOT NULL,
    event_seq      INTEGER NOT NULL REFERENCES events (seq),
    mapping        TEXT NOT NULL,
    ordering_key   TEXT NOT NULL,
    state          TEXT NOT NULL CHECK (
                   state = 'pending' OR state = 'leased' OR state = 'planned' OR state = 'held' OR
                   state = 'delivered' OR state = 'skipped' OR state = 'refused' OR state = 'dead'),
    deferred       INTEGER NOT NULL DEFAULT 0 CHECK (deferred IN (0, 1)),
    blocks         INTEGER NOT NULL DEFAULT 1,
    open           INTEGER NOT NULL DEFAULT 1,
    turn           INTEGER NOT NULL CHECK (turn IN (0, 1)),
    due            INTEGER NOT NULL CHECK (due IN (0, 1)),
    due_at         INTEGER NOT NULL,
    wake_at        INTEGER,
    attempts       INTEGER NOT NULL DEFAULT 0,
    process_deaths INTEGER NOT NULL DEFAULT 0,
    lease_owner    TEXT,
    lease_epoch    INTEGER NOT NULL DEFAULT 0,
    reason         TEXT,
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL,
    UNIQUE (event_seq, mapping),
    FOREIGN KEY (tenant, environment, mapping) REFERENCES mappings (tenant, environment, id),
    CHECK (blocks = (state = 'leased' OR state = 'planned' OR state = 'held' OR state = 'dead' OR
           (state = 'pending' AND deferred = 0))),
    CHECK (open = (blocks OR state = 'pending')),
    CHECK (due = 0 OR state = 'pending'),
    CHECK ((lease_owner IS NOT NULL) = (state = 'leased')),
    CHECK ((wake_at IS NOT NULL) = (state = 'leased' OR (state = 'pending' AND due = 0)))
) STRICT;
CREATE INDEX runs_claim ON runs (tenant) WHERE turn = 1 AND due = 1;
CREATE INDEX runs_wake ON runs (wake_at) WHERE wake_at IS NOT NULL;
CREATE INDEX runs_order ON runs (mapping, ordering_key, blocks, turn, event_seq) WHERE open = 1;
CREATE INDEX runs_state ON runs (tenant, environment, state);

CREATE TABLE run_records (
    run_seq         INTEGER PRIMARY KEY REFERENCES runs (seq),
    module          TEXT,
    outcome         TEXT,
    facts           TEXT,
    log             TEXT,
    cost            TEXT,
    -- What is remembered when a held plan is approved.
    held_references TEXT
) STRICT;

-- A delivery can be claimed when `turn` and `due` are both 1.
--   turn        1: no earlier event with the same mapping and ordering key has an open delivery
--   after_open  how many of the deliveries that it comes after are not delivered yet
--   open        1: it is neither delivered nor cancelled
--   doubt_since when the latest doubt arose whether an attempt was carried out; null when there is none
-- `due` and `wake_at` are as for runs.
CREATE TABLE deliveries (
    seq             INTEGER PRIMARY KEY,
    id              TEXT NOT NULL UNIQUE,
    tenant          TEXT NOT NULL,
    environment     TEXT NOT NULL,
    event_seq       INTEGER NOT NULL,
    run_seq         INTEGER NOT NULL REFERENCES runs (seq),
    mapping         TEXT NOT NULL,
    ordering_key    TEXT NOT NULL,
    position        INTEGER NOT NULL,
    key             TEXT NOT NULL,
    call_id         TEXT NOT NULL,
    connection      TEXT NOT NULL,
    operation       TEXT NOT NULL,
    state           TEXT NOT NULL CHECK (
                    state = 'waiting' OR state = 'pending' OR state = 'leased' OR state = 'delivered' OR
                    state = 'held' OR state = 'in-doubt' OR state = 'dead' OR state = 'cancelled'),
    doubt_since     INTEGER,
    attempts        INTEGER NOT NULL DEFAULT 0,
    attempts_before INTEGER NOT NULL DEFAULT 0,
    after_open      INTEGER NOT NULL CHECK (after_open >= 0),
    open            INTEGER NOT NULL DEFAULT 1,
    turn            INTEGER NOT NULL CHECK (turn IN (0, 1)),
    due             INTEGER NOT NULL CHECK (due IN (0, 1)),
    due_at          INTEGER NOT NULL,
    wake_at         INTEGER,
    lease_owner     TEXT,
    lease_epoch     INTEGER NOT NULL DEFAULT 0,
    reason          TEXT,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    UNIQUE (run_seq, position),
    FOREIGN KEY (tenant, environment, connection) REFERENCES connections (tenant, environment, id),
    CHECK (open = (state NOT IN ('delivered', 'cancelled'))),
    CHECK (due = 0 OR (state = 'pending' AND after_open = 0)),
    CHECK ((lease_owner IS NOT NULL) = (state = 'leased')),
    CHECK ((wake_at IS NOT NULL) = (state = 'leased' OR (state = 'pending' AND due = 0)))
) STRICT;
CREATE INDEX deliveries_claim ON deliveries (tenant, connection) WHERE turn = 1 AND due = 1;
CREATE INDEX deliveries_wake ON deliveries (wake_at) WHERE wake_at IS NOT NULL;
CREATE INDEX deliveries_order ON deliveries (mapping, ordering_key, event_seq) WHERE open = 1;
CREATE INDEX deliveries_state ON deliveries (tenant, environment, state);

CREATE TABLE delivery_contents (
    delivery_seq INTEGER PRIMARY KEY REFERENCES deliveries (seq),
    after_keys   TEXT,
    bindings     TEXT,
    existence    TEXT,
    captures     TEXT,
    ledger       TEXT,
    -- As planned; and as last sent, with the copied values in.
    body         TEXT,
    sent         TEXT,
    response     TEXT
) STRICT;

-- `delivery_seq` comes after `first_seq`; both are of one plan.
CREATE TABLE delivery_after (
    first_seq    INTEGER NOT NULL REFERENCES deliveries (seq),
    delivery_seq INTEGER NOT NULL REFERENCES deliveries (seq),
    PRIMARY KEY (first_seq, delivery_seq)
) STRICT, WITHOUT ROWID;

-- Written before the call is made (the intent), completed after it.
CREATE TABLE attempts (
    delivery_seq INTEGER NOT NULL REFERENCES deliveries (seq),
    number       INTEGER NOT NULL,
    owner        TEXT NOT NULL,
    started_at   INTEGER NOT NULL,
    finished_at  INTEGER,
    verdict      TEXT CHECK (verdict IN ('delivered', 'adopted', 'retryable', 'ambiguous', 'permanent',
                 'unauthorized', 'unbound', 'abandoned')),
    -- The failure. A success's detail is the delivery's response.
    detail       TEXT,
    PRIMARY KEY (delivery_seq, number),
    CHECK ((finished_at IS NULL) = (verdict IS NULL))
) STRICT, WITHOUT ROWID;

CREATE TABLE object_references (
    tenant      TEXT NOT NULL,
    environment TEXT NOT NULL,
    kind        TEXT NOT NULL,
    object_id   TEXT NOT NULL,
    system      TEXT NOT NULL,
    counterpart TEXT NOT NULL,
    event_seq   INTEGER NOT NULL REFERENCES events (seq),
    PRIMARY KEY (tenant, environment, kind, object_id, system)
) STRICT, WITHOUT ROWID;
CREATE INDEX object_references_reverse ON object_references (tenant, environment, system, counterpart);

CREATE TABLE alerts (
    seq         INTEGER PRIMARY KEY,
    id          TEXT NOT NULL UNIQUE,
    tenant      TEXT NOT NULL REFERENCES tenants (id),
    environment TEXT NOT NULL CHECK (environment IN ('sandbox', 'qa', 'production')),
    -- 0 info, 1 warning, 2 critical: a number, so that the highest is a maximum.
    severity    INTEGER NOT NULL CHECK (severity BETWEEN 0 AND 2),
    code        TEXT NOT NULL,
    title       TEXT NOT NULL,
    detail      TEXT,
    open        INTEGER NOT NULL DEFAULT 1 CHECK (open IN (0, 1)),
    count       INTEGER NOT NULL DEFAULT 1,
    first_at    INTEGER NOT NULL,
    last_at     INTEGER NOT NULL,
    resolved_at INTEGER
) STRICT;
CREATE UNIQUE INDEX alerts_open ON alerts (tenant, environment, code, title) WHERE open = 1;
CREATE INDEX alerts_scope ON alerts (tenant, environment, open);

-- What people decided about a run or a delivery: never changed, never removed.
CREATE TABLE decisions (
    seq         INTEGER PRIMARY KEY,
    tenant      TEXT NOT NULL,
    environment TEXT NOT NULL,
    subject     TEXT NOT NULL,
    action      TEXT NOT NULL CHECK (action IN ('approve', 'refuse', 'redrive', 'adopt', 'cancel')),
    by          TEXT NOT NULL,
    why         TEXT NOT NULL,
    at          INTEGER NOT NULL
) STRICT;
CREATE INDEX decisions_subject ON decisions (tenant, environment, subject);

-- The transitions of portolan_domain::state as the last guard; a test compares them pair by pair. Spelt out
-- because SQLite makes a temporary table of a longer IN list every time a statement runs; the same for the
-- CHECKs of `runs` and `deliveries`.
CREATE TRIGGER runs_transition BEFORE UPDATE OF state ON runs
WHEN OLD.state <> NEW.state AND NOT CASE OLD.state
    WHEN 'pending' THEN NEW.state = 'leased'
    WHEN 'leased'  THEN NEW.state = 'pending' OR NEW.state = 'planned' OR NEW.state = 'held' OR
                        NEW.state = 'delivered' OR NEW.state = 'skipped' OR NEW.state = 'dead'
    WHEN 'planned' THEN NEW.state = 'delivered' OR NEW.state = 'refused'
    WHEN 'held'    THEN NEW.state = 'planned' OR NEW.state = 'refused' OR NEW.state = 'delivered'
    WHEN 'dead'    THEN NEW.state = 'pending'
    ELSE 0
END
BEGIN
    SELECT RAISE(ABORT, 'a run cannot pass between these states');
END;

CREATE TRIGGER deliveries_transition BEFORE UPDATE OF state ON deliveries
WHEN OLD.state <> NEW.state AND NOT CASE OLD.state
    WHEN 'waiting'  THEN NEW.state = 'pending' OR NEW.state = 'cancelled'
    WHEN 'pending'  THEN NEW.state = 'leased' OR NEW.state = 'cancelled'
    WHEN 'leased'   THEN NEW.state = 'pending' OR NEW.state = 'delivered' OR NEW.state = 'in-doubt' OR
                         NEW.state = 'dead'
    WHEN 'held'     THEN NEW.state = 'waiting' OR NEW.state = 'pending' OR NEW.state = 'cancelled'
    WHEN 'in-doubt' THEN NEW.state = 'pending' OR NEW.state = 'delivered' OR NEW.state = 'cancelled'
    WHEN 'dead'     THEN NEW.state = 'pending' OR NEW.state = 'delivered' OR NEW.state = 'cancelled'
    ELSE 0
END
BEGIN
    SELECT RAISE(ABORT, 'a delivery cannot pass between these states');
END;

-- One row that a readiness check changes, to see whether a change still reaches the disk.
CREATE TABLE pings (
    number INTEGER NOT NULL
) STRICT;
INSERT INTO pings (number) VALUES (0);
