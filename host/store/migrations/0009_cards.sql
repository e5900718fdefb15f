-- How many card numbers of a request were masked before it was stored.
ALTER TABLE events ADD COLUMN cards_masked INTEGER NOT NULL DEFAULT 0;
