-- Whose guest was being executed when a host died.
--   suspect  1: this run's was, alone or beside others. It is executed alone until its module has answered
ALTER TABLE runs ADD COLUMN suspect INTEGER NOT NULL DEFAULT 0 CHECK (suspect IN (0, 1));

-- How often a host died while it executed this module and nothing else. Forgotten when a person redrives one of its runs.
CREATE TABLE module_deaths (
    tenant TEXT NOT NULL REFERENCES tenants (id),
    module TEXT NOT NULL,
    deaths INTEGER NOT NULL,
    PRIMARY KEY (tenant, module)
) STRICT, WITHOUT ROWID;
