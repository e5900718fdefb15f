-- What a restored database must ask before it sends.
--   number       rises with every restore
--   backup_at    in a backup only: when it was taken. A database with it is not served before it was restored.
--   restored_at  when this incarnation began, if it began with a restore
CREATE TABLE incarnations (
    number      INTEGER PRIMARY KEY,
    backup_at   INTEGER,
    restored_at INTEGER
) STRICT;
INSERT INTO incarnations (number) VALUES (1);

-- One for each environment that was restored.
--   lost_from  what happened between this time and `restored_at` is forgotten
CREATE TABLE reconciliations (
    tenant      TEXT NOT NULL REFERENCES tenants (id),
    environment TEXT NOT NULL CHECK (environment IN ('sandbox', 'qa', 'production')),
    lost_from   INTEGER NOT NULL,
    restored_at INTEGER NOT NULL,
    ended_at    INTEGER,
    ended_by    TEXT,
    why         TEXT,
    PRIMARY KEY (tenant, environment),
    CHECK ((ended_at IS NULL) = (ended_by IS NULL))
) STRICT, WITHOUT ROWID;

-- Attempts of this delivery that were made from this time until the restore are forgotten; null when there can
-- be none.
ALTER TABLE deliveries ADD COLUMN lost_from INTEGER;
CREATE INDEX deliveries_lost ON deliveries (tenant, environment, state) WHERE lost_from IS NOT NULL AND open = 1;
