-- The alerts that nobody resolved, of all tenants, newest first.
CREATE INDEX alerts_unresolved ON alerts (seq) WHERE open = 1;
