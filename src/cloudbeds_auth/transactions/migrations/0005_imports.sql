-- Tokens that come from another program.

-- A hash of the refresh token that a grant came with: the same file imported again finds it.
ALTER TABLE grants ADD COLUMN imported_hash TEXT;
CREATE UNIQUE INDEX grants_imported ON grants (imported_hash) WHERE imported_hash IS NOT NULL;
-- The property that such a grant is said to be of, until the vendor names it too.
ALTER TABLE grants ADD COLUMN said_of TEXT;
