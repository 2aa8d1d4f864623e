-- Counted calls, and what is forgotten. Every search here is over an index.

-- name: calls
-- Of one span, newest first, as the key has them.
SELECT * FROM calls WHERE connection_id = :connection_id AND span = :span AND first_us <= :first_us
ORDER BY first_us DESC, generation DESC, line DESC LIMIT :limit

-- name: calls_by_generation
-- What each generation carried, of the lines of one span that began between two moments.
SELECT grant_id, generation, MIN(first_us) AS first_us, MAX(last_us) AS last_us, CAST(SUM(count) AS BIGINT) AS count,
    CAST(SUM(refused) AS BIGINT) AS refused, '{}' AS methods
FROM calls WHERE connection_id = :connection_id AND span = :span AND first_us >= :since AND first_us <= :until
GROUP BY grant_id, generation

-- name: old_calls
SELECT * FROM calls WHERE span = :span AND first_us < :before ORDER BY first_us LIMIT :limit

-- name: events_from
SELECT * FROM events WHERE (connection_id, sequence) > (:connection_id, :sequence)
ORDER BY connection_id, sequence LIMIT :limit

-- name: forget_methods
UPDATE calls SET methods = '{}' WHERE connection_id = :connection_id

-- name: sweep_calls
DELETE FROM calls WHERE (connection_id, span, first_us, generation, line) IN
    (SELECT connection_id, span, first_us, generation, line FROM calls
    WHERE span = :span AND first_us < :before ORDER BY first_us LIMIT :limit)
RETURNING generation

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

-- name: old_events
-- The oldest. One that is behind a younger one of its connection waits for that: the clock was set back between them.
SELECT connection_id, sequence FROM events WHERE at < :before AND NOT EXISTS (SELECT 1 FROM events AS e
    WHERE e.connection_id = events.connection_id AND e.sequence < events.sequence AND e.at >= :before)
ORDER BY at, sequence LIMIT :limit

-- name: grants_of_all
SELECT * FROM grants WHERE connection_id IN (SELECT key FROM json_each(:connection_ids)) ORDER BY connection_id, ordinal

-- name: properties_of
SELECT p.grant_id, p.property_id FROM grants g JOIN properties p ON p.grant_id = g.id
WHERE g.connection_id IN (SELECT key FROM json_each(:connection_ids))

-- name: set_pointer
-- As the roles of its grants say.
UPDATE connections SET active_grant = :grant_id WHERE id = :connection_id

-- name: events_behind
SELECT * FROM events WHERE connection_id = :connection_id AND sequence > :sequence ORDER BY sequence LIMIT :limit

-- name: recent_events
-- What was written before the clock was set back is later than all that comes, and would be the newest for as long.
SELECT connection_id, sequence FROM events WHERE at > :since AND at < :until ORDER BY at DESC LIMIT :limit
