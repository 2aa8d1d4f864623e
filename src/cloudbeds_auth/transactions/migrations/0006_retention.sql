-- What is forgotten after its time.

-- Unix seconds when a grant was disconnected or replaced; NULL: it lives.
ALTER TABLE grants ADD COLUMN ended_at DOUBLE PRECISION;
UPDATE grants SET ended_at = COALESCE(
    (SELECT MAX(e.at) FROM events e WHERE e.connection_id = grants.connection_id), received_at)
WHERE role IN ('disconnected', 'superseded');
CREATE INDEX grants_ended ON grants (ended_at) WHERE user_id IS NOT NULL;
CREATE INDEX events_at ON events (at, sequence);
