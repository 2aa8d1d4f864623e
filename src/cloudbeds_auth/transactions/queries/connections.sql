-- What people see.

-- name: connection_row
SELECT * FROM connections WHERE id = :connection_id

-- name: known
-- Which of these connections there are. The keys of an object are read alike by SQLite and PostgreSQL.
SELECT id FROM connections WHERE id IN (SELECT key FROM json_each(:connection_ids))

-- name: current
-- Connections with their current grant: the active one, else the newest candidate (or what waits to be claimed), else
-- the disconnected one.
SELECT c.id AS c_id, c.app AS c_app, c.reference, c.connected_at, c.subscriptions, c.risks, g.* FROM connections c
    LEFT JOIN grants g ON g.id = COALESCE(
        (SELECT a.id FROM grants a WHERE a.id = c.active_grant AND a.role <> 'disconnected'),
        (SELECT n.id FROM grants n WHERE n.connection_id = c.id AND n.role IN ('candidate', 'parked', 'set_aside') ORDER BY n.ordinal DESC LIMIT 1),
        c.active_grant)
WHERE c.id IN (SELECT key FROM json_each(:connection_ids))

-- name: list
SELECT c.id AS c_id, c.app AS c_app, c.reference, c.connected_at, c.subscriptions, c.risks, g.* FROM connections c
    LEFT JOIN grants g ON g.id = COALESCE(
        (SELECT a.id FROM grants a WHERE a.id = c.active_grant AND a.role <> 'disconnected'),
        (SELECT n.id FROM grants n WHERE n.connection_id = c.id AND n.role IN ('candidate', 'parked', 'set_aside') ORDER BY n.ordinal DESC LIMIT 1),
        c.active_grant)
WHERE (CAST(:cursor AS TEXT) IS NULL OR c.id < :cursor)
    AND (CAST(:reference AS TEXT) IS NULL OR c.reference = :reference)
    AND (CAST(:app AS TEXT) IS NULL OR c.app = :app)
    AND (CAST(:property_id AS TEXT) IS NULL OR EXISTS (SELECT 1 FROM properties p
        WHERE p.grant_id = g.id AND p.property_id = :property_id))
    AND (CAST(:states AS TEXT) IS NULL OR :states LIKE '% '
        || CASE WHEN g.state = 'fresh' AND g.stale_at <= :now THEN 'stale' ELSE COALESCE(g.state, 'disconnected') END
        || ' %')
ORDER BY c.id DESC LIMIT :limit

-- name: count_states
SELECT CASE WHEN g.state = 'fresh' AND g.stale_at <= :now THEN 'stale' ELSE g.state END AS look, COUNT(*) AS connections
FROM connections c JOIN grants g ON g.id = COALESCE(
        (SELECT a.id FROM grants a WHERE a.id = c.active_grant AND a.role <> 'disconnected'),
        (SELECT n.id FROM grants n WHERE n.connection_id = c.id AND n.role IN ('candidate', 'parked', 'set_aside') ORDER BY n.ordinal DESC LIMIT 1),
        c.active_grant)
WHERE c.active_grant IS NOT NULL GROUP BY 1

-- name: covering
-- Connections that cover one of these properties now.
SELECT DISTINCT p.property_id, c.id FROM properties p
    JOIN grants g ON g.id = p.grant_id
    JOIN connections c ON c.id = g.connection_id
WHERE p.property_id IN (SELECT key FROM json_each(:property_ids))
    AND ((g.role = 'active' AND c.active_grant = g.id) OR (g.role = 'candidate' AND NOT EXISTS (SELECT 1 FROM grants a
        WHERE a.id = c.active_grant AND a.role <> 'disconnected')))
ORDER BY c.id

-- name: grants_of
SELECT * FROM grants WHERE connection_id = :connection_id ORDER BY ordinal

-- name: forget_access
UPDATE grants SET access_sealed = NULL, role = 'disconnected', state = :state, intent_position = NULL,
    intent_epoch = NULL, intent_at = NULL, not_before = NULL, lease_owner = NULL, lease_until = NULL,
    lease_epoch = lease_epoch + 1, problem = NULL, reauth = NULL, marked_at = NULL
WHERE id = :grant_id

-- name: add_event
INSERT INTO events (connection_id, sequence, at, kind, actor, grant_id, generation, data)
SELECT :connection_id, COALESCE(MAX(sequence), 0) + 1, :at, :kind, :actor, :grant_id, :generation, :data
FROM events WHERE connection_id = :connection_id

-- name: events
SELECT * FROM events
WHERE connection_id = :connection_id AND sequence < :before
ORDER BY sequence DESC LIMIT :limit

-- name: meta
SELECT value FROM meta WHERE name = :name

-- name: set_meta
INSERT INTO meta (name, value) VALUES (:name, :value) ON CONFLICT (name) DO UPDATE SET value = excluded.value

-- name: pull_listings
-- Further ahead than anything is ever written: the wall clock was set back since.
UPDATE grants SET list_at = :now
WHERE id IN (SELECT id FROM grants WHERE role = 'active' AND reauth IS NULL AND list_at IS NOT NULL
    AND list_at > :horizon ORDER BY list_at DESC LIMIT :limit)

-- name: set_listing
UPDATE grants SET list_at = :list_at WHERE id = :grant_id

-- name: set_subscriptions
UPDATE connections SET subscriptions = :subscriptions WHERE id = :connection_id

-- name: set_risks
UPDATE connections SET risks = :risks WHERE id = :connection_id

-- name: set_properties
UPDATE grants SET property_ids = :property_ids, named_elsewhere = :elsewhere WHERE id = :grant_id

-- name: drop_property
DELETE FROM properties WHERE grant_id = :grant_id AND property_id = :property_id
