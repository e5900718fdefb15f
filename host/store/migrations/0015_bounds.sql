-- What could grow without a bound, or cost the writer more than its step: indexes, and rows that are removed later.

-- Removing an event looks here for what replays made of it, and so does the check of its foreign key.
CREATE INDEX replay_items_event ON replay_items (event_seq);

-- A replay that gave way to newer ones: hidden at once, removed with its items in small steps.
ALTER TABLE replays ADD COLUMN forgotten INTEGER NOT NULL DEFAULT 0 CHECK (forgotten IN (0, 1));
CREATE INDEX replays_forgotten ON replays (seq) WHERE forgotten = 1;

-- A rule that was deleted: hidden at once, removed with its notices in small steps. Its name is then its id, so that
-- another rule may have the name.
ALTER TABLE notification_rules ADD COLUMN deleted INTEGER NOT NULL DEFAULT 0 CHECK (deleted IN (0, 1));
CREATE INDEX notification_rules_deleted ON notification_rules (seq) WHERE deleted = 1;

-- Lists, newest first.
CREATE INDEX notices_list ON notices (tenant, environment);

-- What retention may remove, the oldest first.
CREATE INDEX notices_old ON notices (tenant, environment, updated_at) WHERE state = 'sent' OR state = 'failed';
CREATE INDEX alerts_old ON alerts (tenant, environment, resolved_at) WHERE open = 0;

-- Lookup tables from before versions were kept: what they hold now is their first version.
INSERT INTO lookup_versions (tenant, environment, lookup, version, at, changed_by, changes)
    SELECT r.tenant, r.environment, r.lookup, 1, CAST(unixepoch('subsec') * 1000 AS INTEGER), 'host', count(*)
    FROM lookup_rows r
    WHERE NOT EXISTS (SELECT 1 FROM lookup_versions v
                      WHERE v.tenant = r.tenant AND v.environment = r.environment AND v.lookup = r.lookup)
    GROUP BY r.tenant, r.environment, r.lookup;
-- Every version from before this migration has changes, so those without are the ones just made.
INSERT INTO lookup_changes (tenant, environment, lookup, version, key, before, after)
    SELECT r.tenant, r.environment, r.lookup, 1, r.key, NULL, r.value
    FROM lookup_versions v
    JOIN lookup_rows r ON r.tenant = v.tenant AND r.environment = v.environment AND r.lookup = v.lookup
    WHERE v.version = 1
      AND NOT EXISTS (SELECT 1 FROM lookup_changes c
                      WHERE c.tenant = v.tenant AND c.environment = v.environment AND c.lookup = v.lookup);

-- The history of lookup tables counts as stored from now on.
INSERT INTO stored_bytes (tenant, environment, bytes)
    SELECT tenant, environment, sum(coalesce(octet_length(before), 0) + coalesce(octet_length(after), 0))
    FROM lookup_changes WHERE true GROUP BY tenant, environment
    ON CONFLICT (tenant, environment) DO UPDATE SET bytes = bytes + excluded.bytes;
