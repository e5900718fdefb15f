-- One call for one economic fact: a delivery may name the fact that it records, and of all that name the same one
-- through one connection, `onces` knows the one that was leased last. If that one is delivered, its response stands
-- for all of them; if it is in doubt, so are they.

ALTER TABLE delivery_contents ADD COLUMN once TEXT;

CREATE TABLE onces (
    connection   TEXT NOT NULL REFERENCES connections (id),
    once         TEXT NOT NULL,
    delivery_seq INTEGER NOT NULL REFERENCES deliveries (seq),
    PRIMARY KEY (connection, once)
) STRICT, WITHOUT ROWID;
