-- What the background has to do, and how fast all processes together may ask the vendor.

-- Unix seconds from which the background looks after a grant; NULL: nothing to do. The index is all that it reads.
ALTER TABLE grants ADD COLUMN due_at DOUBLE PRECISION;
UPDATE grants SET due_at = CASE
    WHEN role = 'candidate' THEN received_at
    WHEN kind = 'api_key' THEN COALESCE(used_at, received_at) + 1728000
    WHEN used_at >= stale_at - lifetime THEN stale_at
    ELSE COALESCE(refreshed_at, received_at) + 2592000 END
WHERE role IN ('active', 'candidate') AND reauth IS NULL;
CREATE INDEX grants_due ON grants (due_at) WHERE due_at IS NOT NULL;

-- The theoretical arrival time of GCRA, in seconds of the store's steady clock named clock_id.
CREATE TABLE budgets (
    client_id TEXT PRIMARY KEY,
    arrival DOUBLE PRECISION NOT NULL,
    clock_id TEXT NOT NULL
);
