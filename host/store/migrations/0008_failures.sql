-- How many times in a row a run failed for a passing reason. Not the same as its attempts: a run that is deferred a
-- hundred times has failed none.
ALTER TABLE runs ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;
