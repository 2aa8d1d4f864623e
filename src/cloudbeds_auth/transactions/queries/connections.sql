-- What people see.

-- name: connection_row
SELECT * FROM connections WHERE id = :connection_id

-- name: known
-- Which of these connections there are. The keys of an object are read alike by SQLite and PostgreSQL.
SELECT id FROM connections WHERE id IN (SELECT key FROM json_each(:connection_ids))

-- name: current
-- Connections with the grant that is shown of each; none where its only candidate was dropped.
SELECT c.id AS c_id, c.app AS c_app, c.reference, c.connected_at, c.subscriptions, c.risks, g.* FROM connections c
    LEFT JOIN grants g ON g.connection_id = c.id AND g.shown = 1
WHERE c.id IN (SELECT key FROM json_each(:connection_ids))

-- name: show
-- Which grant is shown: the active one, else the newest candidate (or what waits to be claimed), else the disconnected
-- one.
UPDATE grants SET shown = 1 - shown
WHERE connection_id = :connection_id AND shown <> CASE WHEN id = COALESCE(
    (SELECT a.id FROM connections c JOIN grants a ON a.id = c.active_grant
        WHERE c.id = :connection_id AND a.role <> 'disconnected'),
    (SELECT n.id FROM grants n WHERE n.connection_id = :connection_id AND n.role IN ('candidate', 'parked', 'set_aside')
        ORDER BY n.ordinal DESC LIMIT 1),
    (SELECT active_grant FROM connections WHERE id = :connection_id)) THEN 1 ELSE 0 END

-- name: page
-- Each query of a page names the ids of connections before the cursor, newest first: a search over one index, which
-- goes no further than the page where nothing else is asked.
SELECT id FROM connections WHERE id < :cursor ORDER BY id DESC LIMIT :limit

-- name: page_of_property
SELECT c.id FROM properties p JOIN grants g ON g.id = p.grant_id AND g.shown = 1 JOIN connections c ON c.id = g.connection_id
WHERE p.property_id = :property_id AND c.id < :cursor
    AND (CAST(:reference AS TEXT) IS NULL OR c.reference = :reference)
    AND (CAST(:app AS TEXT) IS NULL OR c.app = :app)
    AND (CAST(:states AS TEXT) IS NULL OR :states LIKE '% '
        || CASE WHEN g.state = 'fresh' AND g.stale_at <= :now THEN 'stale' ELSE g.state END || ' %')
ORDER BY c.id DESC LIMIT :limit

-- name: page_of_reference
SELECT c.id FROM connections c LEFT JOIN grants g ON g.connection_id = c.id AND g.shown = 1
WHERE c.reference = :reference AND c.id < :cursor
    AND (CAST(:app AS TEXT) IS NULL OR c.app = :app)
    AND (CAST(:states AS TEXT) IS NULL OR :states LIKE '% '
        || CASE WHEN g.state = 'fresh' AND g.stale_at <= :now THEN 'stale' ELSE COALESCE(g.state, 'disconnected') END
        || ' %')
ORDER BY c.id DESC LIMIT :limit

-- name: page_of_app
SELECT id FROM connections WHERE app = :app AND id < :cursor ORDER BY id DESC LIMIT :limit

-- name: page_of_state
-- Of one stored state whose access tokens turn stale after `after` and not after `until`.
SELECT g.connection_id AS id FROM grants g
WHERE g.shown = 1 AND g.state = :state AND g.connection_id < :cursor AND g.stale_at > :after AND g.stale_at <= :until
    AND (CAST(:app AS TEXT) IS NULL OR g.app = :app)
ORDER BY g.connection_id DESC LIMIT :limit

-- name: page_of_cohort
SELECT g.connection_id AS id FROM grants g
WHERE g.shown = 1 AND g.state <> 'disconnected' AND g.state <> 'superseded'
    AND g.app || ' ' || g.kind || ' ' || COALESCE(g.issuer, '') || ' ' || COALESCE(g.client_id, '') = :cohort
    AND g.connection_id < :cursor
    AND :states LIKE '% ' || CASE WHEN g.state = 'fresh' AND g.stale_at <= :now THEN 'stale' ELSE g.state END || ' %'
ORDER BY g.connection_id DESC LIMIT :limit

-- name: page_of_unproven
-- Nothing of them is shown: their only candidate was dropped.
SELECT c.id FROM connections c
WHERE c.active_grant IS NULL AND c.id < :cursor AND (CAST(:app AS TEXT) IS NULL OR c.app = :app)
    AND NOT EXISTS (SELECT 1 FROM grants g WHERE g.connection_id = c.id AND g.shown = 1)
ORDER BY c.id DESC LIMIT :limit

-- name: page_of_problem
-- The state as an expression: with a bare column SQLite takes the index of all that are fresh.
SELECT connection_id AS id FROM grants
WHERE shown = 1 AND state || '' = 'fresh' AND (problem IS NOT NULL OR migration IS NOT NULL) AND connection_id < :cursor
ORDER BY connection_id DESC LIMIT :limit

-- name: page_of_risk
SELECT id FROM connections WHERE risks <> '{}' AND id < :cursor ORDER BY id DESC LIMIT :limit

-- name: cohorts
-- Of what is shown and holds tokens: each is found by one step over the index, however many hotels it has.
WITH RECURSIVE found AS (
    SELECT (SELECT g.app || ' ' || g.kind || ' ' || COALESCE(g.issuer, '') || ' ' || COALESCE(g.client_id, '')
        FROM grants g WHERE g.shown = 1 AND g.state <> 'disconnected' AND g.state <> 'superseded'
        ORDER BY g.app || ' ' || g.kind || ' ' || COALESCE(g.issuer, '') || ' ' || COALESCE(g.client_id, '')
        LIMIT 1) AS cohort
    UNION ALL
    SELECT (SELECT g.app || ' ' || g.kind || ' ' || COALESCE(g.issuer, '') || ' ' || COALESCE(g.client_id, '')
        FROM grants g WHERE g.shown = 1 AND g.state <> 'disconnected' AND g.state <> 'superseded'
            AND g.app || ' ' || g.kind || ' ' || COALESCE(g.issuer, '') || ' ' || COALESCE(g.client_id, '') > found.cohort
        ORDER BY g.app || ' ' || g.kind || ' ' || COALESCE(g.issuer, '') || ' ' || COALESCE(g.client_id, '')
        LIMIT 1) AS cohort
    FROM found WHERE found.cohort IS NOT NULL
)
SELECT cohort FROM found WHERE cohort IS NOT NULL LIMIT :most

-- name: count_shown
-- The next so many of what is shown, by stored state.
SELECT state, COUNT(*) AS connections, SUM(stale) AS stale, MAX(connection_id) AS last FROM (
    SELECT state, connection_id, CASE WHEN stale_at <= :now THEN 1 ELSE 0 END AS stale FROM grants
    WHERE shown = 1 AND (state, connection_id) > (:state, :after) ORDER BY state, connection_id LIMIT :limit) AS part
GROUP BY state ORDER BY state

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
