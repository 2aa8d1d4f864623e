-- When it is asked next which properties a connection covers (groups grow and shrink), and which ones the last answer
-- named although another connection covers them: they are told once.

-- Unix seconds. Only of a grant in use that Cloudbeds does not refuse. One that was never given a property is asked about
-- now, the others within a day, spread as they were refreshed.
ALTER TABLE grants ADD COLUMN list_at DOUBLE PRECISION;
ALTER TABLE grants ADD COLUMN named_elsewhere TEXT NOT NULL DEFAULT '[]';
UPDATE grants SET list_at = COALESCE(refreshed_at, received_at) + CASE WHEN property_ids = '[]' THEN 0 ELSE 86400 END
WHERE role = 'active';
CREATE INDEX grants_list ON grants (list_at) WHERE role = 'active' AND reauth IS NULL AND list_at IS NOT NULL;
