-- When the app state of a connected hotel is asked about next: a disconnect at Cloudbeds may be told by nobody.

-- Unix seconds. Only a grant in use that Cloudbeds does not refuse is asked about.
ALTER TABLE grants ADD COLUMN poll_at DOUBLE PRECISION;
UPDATE grants SET poll_at = COALESCE(refreshed_at, received_at) WHERE role = 'active';
CREATE INDEX grants_poll ON grants (poll_at) WHERE role = 'active' AND reauth IS NULL AND poll_at IS NOT NULL;
