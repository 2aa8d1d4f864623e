-- How many links of one key may wait to be used.

-- The key that was not made by another one, for a link that it, or one that it made, asked for; NULL: nobody's is bounded.
ALTER TABLE links ADD COLUMN counts_for TEXT;

-- Those that wait are counted before one more is made.
CREATE INDEX links_waiting ON links (counts_for, expires_at) WHERE counts_for IS NOT NULL AND used_at IS NULL;
