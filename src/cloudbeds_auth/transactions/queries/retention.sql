-- What is forgotten. Every search here is over an index.

-- name: set_ended
UPDATE grants SET ended_at = :now WHERE id = :grant_id

-- name: forget_people
UPDATE grants SET user_id = NULL, user_name = NULL, user_email = NULL WHERE connection_id = :connection_id

-- name: forget_calls
-- Paths and the vendor's words may name people; that there were calls, and when, stays.
UPDATE events SET data = '{}' WHERE connection_id = :connection_id AND kind IN ('calls', 'call_refused')

-- name: sweep_people
UPDATE grants SET user_id = NULL, user_name = NULL, user_email = NULL
WHERE id IN (SELECT id FROM grants WHERE ended_at < :before AND user_id IS NOT NULL ORDER BY ended_at LIMIT :limit)
RETURNING id

-- name: sweep_events
DELETE FROM events WHERE (connection_id, sequence) IN
    (SELECT connection_id, sequence FROM events WHERE at < :before ORDER BY at, sequence LIMIT :limit)
RETURNING sequence
