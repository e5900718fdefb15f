-- What operators see and steer: connections that are paused, dead letters that are corrected.

-- A paused connection's deliveries are not claimed. `paused_by` is a key's id, or `host` where the other system refused
-- our credentials.
ALTER TABLE connections ADD COLUMN paused_at INTEGER;
ALTER TABLE connections ADD COLUMN paused_by TEXT;
ALTER TABLE connections ADD COLUMN paused_why TEXT;

-- When the other system was asked in doubt and did not have the document. Counts only if it is later than the doubt.
ALTER TABLE deliveries ADD COLUMN absent_at INTEGER;
-- Who looks after a dead letter: a key's id or a person's name.
ALTER TABLE deliveries ADD COLUMN assignee TEXT;

-- The body that a person put in the place of the planned one.
ALTER TABLE delivery_contents ADD COLUMN corrected TEXT;
-- A response that came after its lease was lost: evidence, never a state. The next attempt in doubt adopts it.
ALTER TABLE delivery_contents ADD COLUMN late_response TEXT;

-- When the fact's key was first used: by whichever delivery, an idempotency key is as old as that.
ALTER TABLE onces ADD COLUMN begun_at INTEGER;

-- SHA-256 of the bytes of the body that was sent, in hex: equal in every attempt unless a person corrected it.
ALTER TABLE attempts ADD COLUMN sent_sha256 TEXT;
-- How an attempt ended whose lease was lost by then: {"verdict","detail"}.
ALTER TABLE attempts ADD COLUMN late TEXT;

-- As before, with more actions, and with who proposed it where four eyes are asked for.
DROP INDEX decisions_subject;
ALTER TABLE decisions RENAME TO decisions_before;
CREATE TABLE decisions (
    seq          INTEGER PRIMARY KEY,
    tenant       TEXT NOT NULL,
    environment  TEXT NOT NULL,
    subject      TEXT NOT NULL,
    action       TEXT NOT NULL CHECK (action IN ('approve', 'refuse', 'redrive', 'adopt', 'cancel', 'correct', 'resend',
                 'assign', 'resolve', 'pause', 'resume', 'four-eyes')),
    by           TEXT NOT NULL,
    why          TEXT NOT NULL,
    at           INTEGER NOT NULL,
    proposed_by  TEXT,
    proposed_why TEXT,
    proposed_at  INTEGER,
    CHECK ((proposed_by IS NULL) = (proposed_at IS NULL)),
    CHECK (proposed_by IS NULL OR proposed_by <> by)
) STRICT;
INSERT INTO decisions (seq, tenant, environment, subject, action, by, why, at)
    SELECT seq, tenant, environment, subject, action, by, why, at FROM decisions_before;
DROP TABLE decisions_before;
CREATE INDEX decisions_subject ON decisions (tenant, environment, subject);

-- What a first person wants and a second has not confirmed. `content` is what else the decision says.
CREATE TABLE proposals (
    seq         INTEGER PRIMARY KEY,
    tenant      TEXT NOT NULL,
    environment TEXT NOT NULL,
    subject     TEXT NOT NULL,
    action      TEXT NOT NULL,
    content     TEXT,
    by          TEXT NOT NULL,
    why         TEXT NOT NULL,
    at          INTEGER NOT NULL,
    UNIQUE (tenant, environment, subject, action)
) STRICT;

CREATE TABLE environment_settings (
    tenant      TEXT NOT NULL REFERENCES tenants (id),
    environment TEXT NOT NULL CHECK (environment IN ('sandbox', 'qa', 'production')),
    four_eyes   INTEGER NOT NULL DEFAULT 0 CHECK (four_eyes IN (0, 1)),
    PRIMARY KEY (tenant, environment)
) STRICT, WITHOUT ROWID;
