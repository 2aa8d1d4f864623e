-- Counted calls. Every search here is over an index.

-- name: calls
-- Of one span, newest first, as the key has them.
SELECT * FROM calls WHERE connection_id = :connection_id AND span = :span AND first_us <= :first_us
ORDER BY first_us DESC, generation DESC, line DESC LIMIT :limit

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
