-- Replays that rest, and shadows that cannot keep up.
--   rests        how often in a row it has rested without getting on
--   passed_over  new events that a shadow was not executed on, because too many waited
ALTER TABLE replays ADD COLUMN rests INTEGER NOT NULL DEFAULT 0;
ALTER TABLE replays ADD COLUMN passed_over INTEGER NOT NULL DEFAULT 0;
CREATE INDEX replay_items_done ON replay_items (replay_seq, event_seq) WHERE class IS NOT NULL;
-- A replay is asked for with settings, or with those that each run had.
UPDATE replays SET asked = json_set(asked, '$.settings', 'recorded') WHERE json_extract(asked, '$.settings') = 'present';
