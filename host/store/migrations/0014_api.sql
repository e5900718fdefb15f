-- Requests of the API that carry an idempotency key: what was asked, and the answer, which only the API key that asked can
-- open. A row lasts a day.
CREATE TABLE idempotency (
    id       BLOB PRIMARY KEY, -- of API key and idempotency key
    request  BLOB NOT NULL,    -- digest of what was asked
    owner    TEXT NOT NULL,    -- the process that carries it out
    begun_at INTEGER NOT NULL,
    status   INTEGER,          -- none: it is under way, or its host died
    answer   BLOB,
    CHECK ((status IS NULL) = (answer IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_by_time ON idempotency (begun_at);

-- The history of lookup tables: each change of a table is a version, and what it changed can be put back.
CREATE TABLE lookup_versions (
    tenant      TEXT NOT NULL REFERENCES tenants (id),
    environment TEXT NOT NULL CHECK (environment IN ('sandbox', 'qa', 'production')),
    lookup      TEXT NOT NULL,
    version     INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    changed_by  TEXT NOT NULL,
    changes     INTEGER NOT NULL,
    PRIMARY KEY (tenant, environment, lookup, version)
) STRICT, WITHOUT ROWID;
CREATE TABLE lookup_changes (
    tenant      TEXT NOT NULL,
    environment TEXT NOT NULL,
    lookup      TEXT NOT NULL,
    version     INTEGER NOT NULL,
    key         TEXT NOT NULL,
    before      TEXT, -- none: the row was not there
    after       TEXT, -- none: it is not there any more
    PRIMARY KEY (tenant, environment, lookup, key, version),
    FOREIGN KEY (tenant, environment, lookup, version)
        REFERENCES lookup_versions (tenant, environment, lookup, version)
) STRICT, WITHOUT ROWID;
CREATE INDEX lookup_changes_version ON lookup_changes (tenant, environment, lookup, version, key);
-- The other direction.
CREATE INDEX lookup_rows_value ON lookup_rows (tenant, environment, lookup, value, key);
