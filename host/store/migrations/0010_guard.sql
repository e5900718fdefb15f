-- How much was planned for a connection that has a guard, in slots of five minutes: what no longer matters is removed
-- when something is added.
CREATE TABLE planned_documents (
    connection TEXT NOT NULL,
    slot       INTEGER NOT NULL,
    documents  INTEGER NOT NULL CHECK (documents > 0),
    PRIMARY KEY (connection, slot)
) STRICT, WITHOUT ROWID;
