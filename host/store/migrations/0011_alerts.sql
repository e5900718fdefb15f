-- Alerts that somebody looks after, the notification rules that tell them, and what is to be told (the outbox of notices).

-- `open` stays 1 until an alert is resolved: one that is acknowledged goes on counting.
ALTER TABLE alerts ADD COLUMN acknowledged_at INTEGER;
ALTER TABLE alerts ADD COLUMN acknowledged_by TEXT;
ALTER TABLE alerts ADD COLUMN acknowledged_why TEXT;
ALTER TABLE alerts ADD COLUMN resolved_by TEXT;
ALTER TABLE alerts ADD COLUMN resolved_why TEXT;
-- The events that an alert is about: of its first thousand occurrences.
CREATE TABLE alert_events (
    event_seq INTEGER NOT NULL REFERENCES events (seq),
    alert_seq INTEGER NOT NULL REFERENCES alerts (seq),
    PRIMARY KEY (event_seq, alert_seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX alert_events_alert ON alert_events (alert_seq);

-- The trace that an event belongs to: W3C `traceparent`. Null: nobody traces it.
ALTER TABLE events ADD COLUMN traceparent TEXT;

-- `rule` is JSON: see portolan_domain::notification. `tells_alerts` and `tells_deliveries` follow from it; they are columns so
-- that whoever has nothing to tell finds that out with one probe.
-- `window_at`, `window_count`: how many notices were stored since when; see sqlite/notification/tell.rs.
CREATE TABLE notification_rules (
    seq              INTEGER PRIMARY KEY,
    id               TEXT NOT NULL UNIQUE,
    tenant           TEXT NOT NULL REFERENCES tenants (id),
    environment      TEXT NOT NULL CHECK (environment IN ('sandbox', 'qa', 'production')),
    name             TEXT NOT NULL,
    enabled          INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    rule             TEXT NOT NULL,
    tells_alerts     INTEGER NOT NULL CHECK (tells_alerts IN (0, 1)),
    tells_deliveries INTEGER NOT NULL CHECK (tells_deliveries IN (0, 1)),
    sealed_secrets   BLOB NOT NULL,
    revision         INTEGER NOT NULL DEFAULT 1,
    window_at        INTEGER NOT NULL DEFAULT 0,
    window_count     INTEGER NOT NULL DEFAULT 0,
    created_at       INTEGER NOT NULL,
    UNIQUE (tenant, environment, name),
    UNIQUE (tenant, environment, id)
) STRICT;
CREATE INDEX notification_rules_alerts ON notification_rules (tenant, environment)
    WHERE enabled = 1 AND tells_alerts = 1;
CREATE INDEX notification_rules_deliveries ON notification_rules (tenant, environment)
    WHERE enabled = 1 AND tells_deliveries = 1;

-- `content` is JSON: News, or a Digest while `kind` is 'digest'. `due` and `wake_at` are as for deliveries.
CREATE TABLE notices (
    seq         INTEGER PRIMARY KEY,
    id          TEXT NOT NULL UNIQUE,
    tenant      TEXT NOT NULL,
    environment TEXT NOT NULL,
    rule        TEXT NOT NULL,
    kind        TEXT NOT NULL,
    subject     TEXT NOT NULL,
    content     TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (
                state = 'gathering' OR state = 'pending' OR state = 'leased' OR state = 'sent' OR state = 'failed'),
    attempts    INTEGER NOT NULL DEFAULT 0,
    due         INTEGER NOT NULL CHECK (due IN (0, 1)),
    due_at      INTEGER NOT NULL,
    wake_at     INTEGER,
    lease_owner TEXT,
    lease_epoch INTEGER NOT NULL DEFAULT 0,
    reason      TEXT,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    FOREIGN KEY (tenant, environment, rule) REFERENCES notification_rules (tenant, environment, id) ON DELETE CASCADE,
    CHECK (due = 0 OR state = 'pending'),
    CHECK ((lease_owner IS NOT NULL) = (state = 'leased')),
    CHECK ((wake_at IS NOT NULL) = (state = 'leased' OR state = 'gathering' OR (state = 'pending' AND due = 0)))
) STRICT;
CREATE INDEX notices_claim ON notices (tenant, rule) WHERE due = 1;
CREATE INDEX notices_wake ON notices (wake_at) WHERE wake_at IS NOT NULL;
CREATE UNIQUE INDEX notices_gathering ON notices (rule) WHERE state = 'gathering';
CREATE INDEX notices_scope ON notices (tenant, environment, state);
CREATE INDEX notices_rule ON notices (tenant, environment, rule);

CREATE TRIGGER notices_transition BEFORE UPDATE OF state ON notices
WHEN OLD.state <> NEW.state AND NOT CASE OLD.state
    WHEN 'gathering' THEN NEW.state = 'pending' OR NEW.state = 'failed'
    WHEN 'pending'   THEN NEW.state = 'leased' OR NEW.state = 'failed'
    WHEN 'leased'    THEN NEW.state = 'pending' OR NEW.state = 'sent' OR NEW.state = 'failed'
    ELSE 0
END
BEGIN
    SELECT RAISE(ABORT, 'a notice cannot pass between these states');
END;
