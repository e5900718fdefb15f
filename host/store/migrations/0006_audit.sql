-- Who did what, in one chain per tenant and one of the host's own. Every entry holds a keyed digest (MAC) of itself
-- and of the one before, so that it shows when one was changed, removed, put in or moved; the head says how many
-- there must be. See store/src/audit.rs.
--   chain     a tenant's id, or 'host'
--   number    from 1, without gaps
--   actor     a key's id, or 'host'
--   previous  the MAC of the entry before; 32 zero bytes for the first

CREATE TABLE audit_entries (
    chain       TEXT NOT NULL,
    number      INTEGER NOT NULL CHECK (number > 0),
    at          INTEGER NOT NULL,
    environment TEXT,
    actor       TEXT NOT NULL,
    role        TEXT NOT NULL,
    action      TEXT NOT NULL,
    subject     TEXT NOT NULL,
    detail      TEXT,
    previous    BLOB NOT NULL CHECK (length(previous) = 32),
    mac         BLOB NOT NULL CHECK (length(mac) = 32),
    PRIMARY KEY (chain, number)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER audit_entries_stay BEFORE UPDATE ON audit_entries
BEGIN
    SELECT RAISE(ABORT, 'an audit entry never changes');
END;
CREATE TRIGGER audit_entries_remain BEFORE DELETE ON audit_entries
BEGIN
    SELECT RAISE(ABORT, 'an audit entry is never removed');
END;

-- The end of each chain. `seal` is a MAC of the row.
CREATE TABLE audit_heads (
    chain TEXT PRIMARY KEY,
    count INTEGER NOT NULL,
    mac   BLOB NOT NULL,
    seal  BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Keys of the host itself, sealed under the master key. `audit`: the key of the MACs above.
CREATE TABLE host_keys (
    name   TEXT PRIMARY KEY,
    sealed BLOB NOT NULL
) STRICT, WITHOUT ROWID;

ALTER TABLE keys ADD COLUMN last_used_at INTEGER;
