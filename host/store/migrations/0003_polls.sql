-- Sources that are asked regularly, and what was seen of each object there last.
--   wake_at   when it is to be asked next, or when the lease of who is asking ends
--   cursor    where the next question begins, in the words of the system asked
--   failures  how often in a row it could not be asked

CREATE TABLE polls (
    source      TEXT PRIMARY KEY REFERENCES sources (id),
    every_ms    INTEGER NOT NULL,
    wake_at     INTEGER NOT NULL,
    lease_owner TEXT,
    lease_epoch INTEGER NOT NULL DEFAULT 0,
    cursor      TEXT,
    failures    INTEGER NOT NULL DEFAULT 0,
    reason      TEXT,
    asked_at    INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX polls_wake ON polls (wake_at);

CREATE TABLE poll_sights (
    source  TEXT NOT NULL REFERENCES sources (id),
    object  TEXT NOT NULL,
    version TEXT NOT NULL,
    -- How many versions were seen, this one included.
    number  INTEGER NOT NULL,
    PRIMARY KEY (source, object)
) STRICT, WITHOUT ROWID;
