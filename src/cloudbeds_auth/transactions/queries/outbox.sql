-- Webhooks out: messages that were not delivered yet.

-- name: last_sequence
SELECT COALESCE(MAX(sequence), 0) AS sequence FROM events WHERE connection_id = :connection_id

-- name: add_message
INSERT INTO outbox (id, connection_id, sequence, kind, at, body, due_at, due_from)
VALUES (:id, :connection_id, :sequence, :kind, :at, :body, :at, :at)
ON CONFLICT (id) DO NOTHING

-- name: sweep_outbox
DELETE FROM outbox WHERE at < :shown OR (attempts = 0 AND at < :untried)

-- name: next_message
-- One that was written later than now is seen to first: the clock was set back since.
SELECT CASE WHEN EXISTS (SELECT 1 FROM outbox WHERE due_from > :now AND due_at IS NOT NULL) THEN :now
    ELSE (SELECT MIN(due_at) FROM outbox WHERE due_at >= 0) END AS due_at

-- name: message_delivered
DELETE FROM outbox WHERE id = :id

-- name: message_failed
UPDATE outbox SET attempts = attempts + 1, problem = :problem, due_at = :due_at, due_from = :now WHERE id = :id

-- name: outbox_depth
-- No more are counted than matter.
SELECT (SELECT COUNT(*) FROM (SELECT 1 FROM outbox WHERE due_at IS NOT NULL LIMIT :most) AS counted) AS waiting,
    (SELECT COUNT(*) FROM (SELECT 1 FROM outbox WHERE due_at IS NULL LIMIT :most) AS counted) AS given_up,
    (SELECT at FROM outbox WHERE due_at IS NOT NULL ORDER BY at LIMIT 1) AS oldest

-- name: last_given_up
-- `due_from`: when it was tried last.
SELECT problem, due_from FROM outbox WHERE due_at IS NULL ORDER BY at DESC, id LIMIT 1
