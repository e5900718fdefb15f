-- The life of a module: what a run was told exactly, pins with their history, grants, replays, shadows and canaries,
-- what is paused, and whose signatures are trusted.

-- Settings by the digest of their text, so that a run can say with which ones it was executed when they have changed.
CREATE TABLE settings_texts (
    tenant   TEXT NOT NULL REFERENCES tenants (id),
    sha256   BLOB NOT NULL CHECK (length(sha256) = 32),
    settings TEXT NOT NULL,
    PRIMARY KEY (tenant, sha256)
) STRICT, WITHOUT ROWID;
-- With facts, event, environment and module these are all that a run was told. Null in runs from before.
ALTER TABLE run_records ADD COLUMN attempt INTEGER;
ALTER TABLE run_records ADD COLUMN settings_sha256 BLOB;

-- `pin` is the number of the mapping's pin in force. `grants`, null: everything that the module declares (mappings
-- from before). A paused mapping's events are stored with their runs, and these are not claimed.
ALTER TABLE mappings ADD COLUMN pin INTEGER NOT NULL DEFAULT 1;
ALTER TABLE mappings ADD COLUMN grants TEXT;
ALTER TABLE mappings ADD COLUMN canary TEXT;
ALTER TABLE mappings ADD COLUMN canary_runs INTEGER NOT NULL DEFAULT 0;
ALTER TABLE mappings ADD COLUMN canary_failures INTEGER NOT NULL DEFAULT 0;
ALTER TABLE mappings ADD COLUMN shadow TEXT;
ALTER TABLE mappings ADD COLUMN paused_by TEXT;
ALTER TABLE mappings ADD COLUMN paused_why TEXT;
ALTER TABLE mappings ADD COLUMN paused_at INTEGER;
CREATE INDEX mappings_paused ON mappings (tenant) WHERE paused_at IS NOT NULL;

-- What a mapping was pinned to, one after the other: never changed.
--   before   the pin that a rollback of this one returns to
--   replay   the replay that it was moved after
CREATE TABLE pins (
    mapping     TEXT NOT NULL,
    number      INTEGER NOT NULL CHECK (number > 0),
    module      TEXT NOT NULL,
    settings    TEXT,
    connections TEXT NOT NULL,
    grants      TEXT,
    before      INTEGER,
    replay      TEXT,
    by          TEXT NOT NULL,
    why         TEXT,
    at          INTEGER NOT NULL,
    PRIMARY KEY (mapping, number)
) STRICT, WITHOUT ROWID;
INSERT INTO pins (mapping, number, module, settings, connections, by, at)
    SELECT id, 1, module, settings, connections, 'host', created_at FROM mappings;

-- `sheet`: what was found when it was uploaded (imports, exports, sizes); null in modules from before. A paused
-- module's runs are not claimed, whatever mapping they are for.
ALTER TABLE modules ADD COLUMN sheet TEXT;
ALTER TABLE modules ADD COLUMN signed_by TEXT;
ALTER TABLE modules ADD COLUMN signature BLOB;
ALTER TABLE modules ADD COLUMN paused_by TEXT;
ALTER TABLE modules ADD COLUMN paused_why TEXT;
ALTER TABLE modules ADD COLUMN paused_at INTEGER;
CREATE INDEX modules_paused ON modules (tenant) WHERE paused_at IS NOT NULL;

-- Whose signatures a tenant trusts (Ed25519), and whether it demands them.
CREATE TABLE signing_keys (
    tenant     TEXT NOT NULL REFERENCES tenants (id),
    name       TEXT NOT NULL,
    public_key BLOB NOT NULL CHECK (length(public_key) = 32),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, name)
) STRICT, WITHOUT ROWID;
ALTER TABLE tenants ADD COLUMN signatures_required INTEGER NOT NULL DEFAULT 0 CHECK (signatures_required IN (0, 1));

-- A paused tenant's runs and deliveries are not claimed; its events are taken in.
ALTER TABLE tenants ADD COLUMN paused_by TEXT;
ALTER TABLE tenants ADD COLUMN paused_why TEXT;
ALTER TABLE tenants ADD COLUMN paused_at INTEGER;

-- A pin is moved only after a clean replay of at least so many events (or of all that there are); 0: without.
ALTER TABLE environment_settings ADD COLUMN replay_events_min INTEGER NOT NULL DEFAULT 0;

-- Claims of a tenant of which something is paused: by mapping, so that the runs of a paused one are never walked over.
CREATE INDEX runs_claim_mapping ON runs (tenant, mapping) WHERE turn = 1 AND due = 1;

-- Modules executed again on stored events. A `shadow` follows the runs of its mapping until it is taken off.
--   asked       which events, settings and answers, and what is to happen afterwards
--   cursor      events with a lower seq are still to be looked at
--   promotion   what became of the pin that was to be moved afterwards
--   wake_at     when it may be claimed, or when the lease of who executes it ends
CREATE TABLE replays (
    seq            INTEGER PRIMARY KEY,
    id             TEXT NOT NULL UNIQUE,
    tenant         TEXT NOT NULL,
    environment    TEXT NOT NULL,
    mapping        TEXT NOT NULL,
    module         TEXT NOT NULL,
    kind           TEXT NOT NULL CHECK (kind IN ('replay', 'shadow')),
    state          TEXT NOT NULL CHECK (state IN ('running', 'done', 'failed', 'cancelled')),
    asked          TEXT NOT NULL,
    tally          TEXT,
    events_max     INTEGER NOT NULL,
    events_done    INTEGER NOT NULL DEFAULT 0,
    cursor         INTEGER NOT NULL,
    reason         TEXT,
    promotion      TEXT,
    process_deaths INTEGER NOT NULL DEFAULT 0,
    wake_at        INTEGER,
    lease_owner    TEXT,
    lease_epoch    INTEGER NOT NULL DEFAULT 0,
    by             TEXT NOT NULL,
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL,
    ended_at       INTEGER,
    FOREIGN KEY (tenant, environment, mapping) REFERENCES mappings (tenant, environment, id),
    FOREIGN KEY (tenant, module) REFERENCES modules (tenant, digest),
    CHECK ((ended_at IS NULL) = (state = 'running')),
    CHECK ((wake_at IS NULL) = (state <> 'running')),
    CHECK (lease_owner IS NULL OR state = 'running')
) STRICT;
CREATE INDEX replays_scope ON replays (tenant, environment);
CREATE INDEX replays_wake ON replays (wake_at) WHERE wake_at IS NOT NULL;

-- What came of each event. `class` null: a shadow has still to be executed on it.
CREATE TABLE replay_items (
    replay_seq INTEGER NOT NULL REFERENCES replays (seq),
    event_seq  INTEGER NOT NULL REFERENCES events (seq),
    class      TEXT CHECK (class IN ('unchanged', 'changed', 'newly-fails', 'newly-works', 'new-need', 'uncompared')),
    content    TEXT,
    PRIMARY KEY (replay_seq, event_seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX replay_items_class ON replay_items (replay_seq, class, event_seq);
