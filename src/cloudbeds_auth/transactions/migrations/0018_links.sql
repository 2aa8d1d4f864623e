-- What became of a one-time link.

-- The connection whose API key came by it; of an approval that came by it, its authorization says so.
ALTER TABLE links ADD COLUMN outcome TEXT;
