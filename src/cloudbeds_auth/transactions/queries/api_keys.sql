-- The move of a hotel to an API key. From its beginning on the grant is latched: no refresh token of it is refreshed.

-- name: begin_migration
-- An attempt to refresh that is pending still is older than any that could arrive.
UPDATE grants SET latched = 1, migration = COALESCE(migration, 'begun'), migration_client = :client_id,
    intent_position = CASE WHEN migration IS NULL THEN NULL ELSE intent_position END,
    intent_epoch = CASE WHEN migration IS NULL THEN NULL ELSE intent_epoch END,
    intent_at = CASE WHEN migration IS NULL THEN NULL ELSE intent_at END
WHERE id = :grant_id AND generation = :generation AND lease_epoch = :epoch AND latched <= 1 AND role = 'active'

-- name: end_migration
-- Not while a key of this move waits for its proof: a refresh would end it.
UPDATE grants SET latched = 0, migration = NULL, migration_client = NULL
WHERE id = :grant_id AND generation = :generation AND lease_epoch = :epoch AND migration IS NOT NULL
    AND intent_position IS NULL
    AND NOT EXISTS (SELECT 1 FROM grants k WHERE k.connection_id = grants.connection_id AND k.exchanged_from = grants.id
        AND k.role = 'candidate' AND k.marked_at IS NULL)
RETURNING id

-- name: key_received
-- The exchange that brought it is over; one that another process has begun since is not.
UPDATE grants SET state = :state, problem = NULL, not_before = NULL, attempts = 0,
    intent_position = NULL, intent_epoch = NULL, intent_at = NULL
WHERE id = :grant_id AND intent_epoch = :epoch

-- name: mark_exchanged
UPDATE grants SET exchanged_from = :former WHERE id = :grant_id

-- name: latch
UPDATE grants SET latched = latched + 1 WHERE id = :grant_id AND latched % 2 = 0

-- name: referred
-- What the connections in use that have this reference cover.
SELECT g.connection_id, g.property_ids FROM connections c JOIN grants g ON g.id = c.active_grant
WHERE c.reference = :reference AND g.role = 'active'

-- name: pasted_since
-- The key that its hotel made by itself, in use, where it came after this moment.
SELECT g.id FROM connections c JOIN grants g ON g.id = c.active_grant
WHERE c.id = :connection_id AND g.role = 'active' AND g.marked_at IS NULL AND g.kind = 'api_key'
    AND g.imported_hash IS NOT NULL AND g.received_at > :at

-- name: in_use
-- What the connection serves now; none where it waits for the hotel.
SELECT g.property_ids FROM connections c JOIN grants g ON g.id = c.active_grant
WHERE c.id = :connection_id AND g.role = 'active' AND g.marked_at IS NULL
