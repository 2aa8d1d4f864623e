-- From one database to another. The latches are of a kind of their own, on top of a grant's: the other database gets
-- every grant as it was.

-- name: latch_grants
-- No refresh begins any more; one that is under way may still commit.
UPDATE grants SET latched = latched + 2 WHERE latched < 2 AND id > :after AND id <= :to

-- name: held_leases
SELECT COUNT(*) AS held FROM grants WHERE lease_until > :now AND lease_owner IS NOT NULL AND clock_id = :clock_id

-- name: close_grants
-- Nothing is committed any more either; nor of a grant that came since the others were latched.
UPDATE grants SET latched = latched % 2 + 4 WHERE latched < 4 AND id > :after AND id <= :to

-- name: unlatch_grants
UPDATE grants SET latched = latched % 2 WHERE latched > 1 AND id > :after AND id <= :to

-- name: newest_events
-- Of each connection the one after which the next is numbered, with the MAC of the one before it.
SELECT e.*, c.chain,
    (SELECT mac FROM events b WHERE b.connection_id = e.connection_id AND b.sequence = e.sequence - 1) AS mac_before
FROM connections c JOIN events e ON e.connection_id = c.id
    AND e.sequence = (SELECT MAX(sequence) FROM events WHERE connection_id = c.id)
WHERE c.id > :after AND c.id <= :to

-- name: forgotten_at
SELECT connection_id, MAX(at) AS at FROM events
WHERE kind = 'forgotten' AND connection_id IN (SELECT key FROM json_each(:connection_ids)) GROUP BY connection_id

-- name: count_all
SELECT (SELECT COUNT(*) FROM connections) AS connections, (SELECT COUNT(*) FROM grants) AS grants

-- name: grants_after
SELECT * FROM grants WHERE id > :after ORDER BY id LIMIT :limit

-- name: pointless
-- A connection whose approvals were all replaced, and by none that is used.
SELECT id FROM connections WHERE EXISTS (SELECT 1 FROM grants WHERE connection_id = connections.id)
    AND NOT EXISTS (SELECT 1 FROM grants WHERE connection_id = connections.id AND role <> 'superseded')
ORDER BY id

-- name: held_by_a_copy
SELECT COUNT(DISTINCT connection_id) AS hotels FROM grants WHERE latched > 1
    AND role IN ('active', 'candidate', 'set_aside')

-- name: forget_meta
DELETE FROM meta WHERE name = :name
