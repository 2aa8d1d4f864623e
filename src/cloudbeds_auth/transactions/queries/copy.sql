-- From one database to another. The latches are of a kind of their own, on top of a grant's: the other database gets
-- every grant as it was.

-- name: latch_all
-- No refresh begins any more; one that is under way may still commit.
UPDATE grants SET latched = latched + 2 WHERE latched < 2

-- name: held_leases
SELECT COUNT(*) AS held FROM grants WHERE lease_until > :now AND lease_owner IS NOT NULL AND clock_id = :clock_id

-- name: move_out
-- Nothing is committed any more either.
UPDATE grants SET latched = latched + 2 WHERE latched BETWEEN 2 AND 3

-- name: unlatch_all
UPDATE grants SET latched = latched % 2 WHERE latched > 1

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
