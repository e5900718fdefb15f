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
