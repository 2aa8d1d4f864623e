-- What people see.

-- name: connection_row
SELECT * FROM connections WHERE id = :connection_id

-- name: known
-- Which of these connections there are. The keys of an object are read alike by SQLite and PostgreSQL.
SELECT id FROM connections WHERE id IN (SELECT key FROM json_each(:connection_ids))

-- name: current
-- Connections with the current grant of each; none where its only candidate was dropped.
SELECT c.id AS c_id, c.app AS c_app, c.reference, c.connected_at, c.subscriptions, c.risks, c.active_grant,
    (SELECT reference_trusted FROM connections WHERE id = c.id) AS reference_trusted,
    (SELECT mac FROM connections WHERE id = c.id) AS c_mac, g.* FROM current_grants c
    LEFT JOIN grants g ON g.id = c.grant_id
WHERE c.id IN (SELECT key FROM json_each(:connection_ids))

-- name: show
-- Where the mark of a grant of these connections is not what `current_grants` says.
UPDATE grants SET shown = NULLIF(COALESCE(
    (SELECT c.app FROM current_grants c WHERE c.id = grants.connection_id AND c.grant_id = grants.id), ''), app)
WHERE connection_id IN (SELECT key FROM json_each(:connection_ids)) AND COALESCE(shown, app) <> COALESCE(
    (SELECT c.app FROM current_grants c WHERE c.id = grants.connection_id AND c.grant_id = grants.id), '')

-- name: connections_after
SELECT id FROM connections WHERE id > :after ORDER BY id LIMIT :limit

-- name: shown_wrongly
-- Of these connections those that lists find by another grant than the current one, or do not find.
SELECT DISTINCT g.connection_id FROM grants g
WHERE g.connection_id IN (SELECT key FROM json_each(:connection_ids)) AND COALESCE(g.shown, g.app) <> COALESCE(
    (SELECT c.app FROM current_grants c WHERE c.id = g.connection_id AND c.grant_id = g.id), '')
ORDER BY g.connection_id

-- name: newest
-- The order of ids is the database's, in each of these queries and here, where their answers are put together.
SELECT key AS id FROM json_each(:connection_ids) ORDER BY key DESC LIMIT :limit

-- name: oldest
SELECT key AS id FROM json_each(:connection_ids) ORDER BY key LIMIT :limit

-- name: page
-- Each query of a page names the ids of connections before the cursor, newest first: a search over one index, which
-- goes no further than the page where nothing else is asked.
SELECT id FROM connections WHERE id < :cursor ORDER BY id DESC LIMIT :limit

-- name: page_oldest
-- The other way round, as all that end like this.
SELECT id FROM connections WHERE id > :cursor ORDER BY id LIMIT :limit

-- name: page_of_id
SELECT id FROM connections WHERE id = :either AND id < :cursor AND (CAST(:app AS TEXT) IS NULL OR app = :app) LIMIT :limit

-- name: page_of_app
SELECT id FROM connections WHERE app = :app AND id < :cursor ORDER BY id DESC LIMIT :limit

-- name: page_of_property
SELECT c.id FROM properties p JOIN grants g ON g.id = p.grant_id
    JOIN current_grants c ON c.id = g.connection_id AND c.grant_id = g.id
WHERE p.property_id = :property_id AND c.id < :cursor
    AND (CAST(:reference AS TEXT) IS NULL OR c.reference = :reference)
    AND (CAST(:app AS TEXT) IS NULL OR c.app = :app)
    AND (CAST(:states AS TEXT) IS NULL OR :states LIKE '% '
        || CASE WHEN g.state = 'fresh' AND g.stale_at <= :now THEN 'stale' ELSE g.state END || ' %')
ORDER BY c.id DESC LIMIT :limit

-- name: page_of_reference
SELECT c.id FROM current_grants c LEFT JOIN grants g ON g.id = c.grant_id
WHERE c.reference = :reference AND c.id < :cursor
    AND (CAST(:app AS TEXT) IS NULL OR c.app = :app)
    AND (CAST(:states AS TEXT) IS NULL OR :states LIKE '% '
        || CASE WHEN g.state = 'fresh' AND g.stale_at <= :now THEN 'stale' ELSE COALESCE(g.state, 'disconnected') END
        || ' %')
ORDER BY c.id DESC LIMIT :limit

-- name: page_of_state
-- Of one stored state whose access tokens turn stale after `after` and not after `until`.
SELECT DISTINCT connection_id AS id FROM grants
WHERE COALESCE(shown, app) <> '' AND state = :state AND connection_id < :cursor AND stale_at > :after AND stale_at <= :until
ORDER BY connection_id DESC LIMIT :limit

-- name: page_of_state_oldest
SELECT DISTINCT connection_id AS id FROM grants
WHERE COALESCE(shown, app) <> '' AND state = :state AND connection_id > :cursor AND stale_at > :after AND stale_at <= :until
ORDER BY connection_id LIMIT :limit

-- name: page_of_app_and_state
SELECT DISTINCT connection_id AS id FROM grants
WHERE COALESCE(shown, app) <> '' AND COALESCE(shown, app) = :app AND state = :state AND connection_id < :cursor
    AND stale_at > :after AND stale_at <= :until
ORDER BY connection_id DESC LIMIT :limit

-- name: page_of_unproven
-- There is nothing of them: their only candidate was dropped.
SELECT id FROM current_grants
WHERE active_grant IS NULL AND id < :cursor AND grant_id IS NULL AND (CAST(:app AS TEXT) IS NULL OR app = :app)
ORDER BY id DESC LIMIT :limit

-- name: page_of_unproven_oldest
SELECT id FROM current_grants
WHERE active_grant IS NULL AND id > :cursor AND grant_id IS NULL AND (CAST(:app AS TEXT) IS NULL OR app = :app)
ORDER BY id LIMIT :limit

-- name: page_of_problem
-- The state as an expression: with a bare column SQLite takes the index of all that are fresh.
SELECT DISTINCT connection_id AS id FROM grants
WHERE COALESCE(shown, app) <> '' AND state || '' = 'fresh' AND (problem IS NOT NULL OR migration IS NOT NULL)
    AND connection_id < :cursor
ORDER BY connection_id DESC LIMIT :limit

-- name: page_of_risk
SELECT id FROM connections WHERE risks <> '{}' AND id < :cursor ORDER BY id DESC LIMIT :limit

-- name: cohorts
-- Those behind `after`: each is found by one step over the index, however many hotels it has.
WITH RECURSIVE found AS (
    SELECT CAST(:after AS TEXT) AS cohort
    UNION ALL
    SELECT (SELECT
            COALESCE(shown, app) || ' ' || app || ' ' || kind || ' ' || COALESCE(issuer, '') || ' ' || COALESCE(client_id, '')
        FROM grants WHERE COALESCE(shown, app) <> '' AND
            COALESCE(shown, app) || ' ' || app || ' ' || kind || ' ' || COALESCE(issuer, '') || ' ' || COALESCE(client_id, '')
            > found.cohort
        ORDER BY
            COALESCE(shown, app) || ' ' || app || ' ' || kind || ' ' || COALESCE(issuer, '') || ' ' || COALESCE(client_id, '')
        LIMIT 1) AS cohort
    FROM found WHERE found.cohort IS NOT NULL
)
SELECT cohort FROM found WHERE cohort > :after LIMIT :limit

-- name: count_cohorts
-- Those that live, by stored state; no more are counted than matter.
SELECT state, COUNT(*) AS connections FROM (
    SELECT state FROM grants
    WHERE COALESCE(shown, app) <> '' AND state IN ('fresh', 'refreshing', 'in_doubt', 'backing_off') AND
        COALESCE(shown, app) || ' ' || app || ' ' || kind || ' ' || COALESCE(issuer, '') || ' ' || COALESCE(client_id, '')
        IN (SELECT key FROM json_each(:cohorts))
    LIMIT :limit
) AS counted
GROUP BY state

-- name: count_of_app
SELECT COUNT(*) AS connections FROM (SELECT 1 FROM connections WHERE app = :app LIMIT :most) AS counted

-- name: count_shown
-- The next so many of what is shown, by stored state.
SELECT state, COUNT(*) AS connections, SUM(stale) AS stale, MAX(connection_id) AS last FROM (
    SELECT state, connection_id, CASE WHEN stale_at <= :now THEN 1 ELSE 0 END AS stale FROM grants
    WHERE COALESCE(shown, app) <> '' AND (state, connection_id) > (:state, :after) ORDER BY state, connection_id LIMIT :limit
) AS part
GROUP BY state ORDER BY state

-- name: covering
-- Connections that cover one of these properties now.
SELECT DISTINCT p.property_id, c.id, g.property_ids FROM properties p
    JOIN grants g ON g.id = p.grant_id
    JOIN connections c ON c.id = g.connection_id
WHERE p.property_id IN (SELECT key FROM json_each(:property_ids))
    AND ((g.role = 'active' AND c.active_grant = g.id) OR (g.role = 'candidate' AND NOT EXISTS (SELECT 1 FROM grants a
        WHERE a.id = c.active_grant AND a.role <> 'disconnected')))
ORDER BY c.id

-- name: grants_of
SELECT * FROM grants WHERE connection_id = :connection_id ORDER BY ordinal

-- name: forget_access
UPDATE grants SET access_sealed = NULL, role = 'disconnected', state = :state, mac = :mac, intent_position = NULL,
    intent_epoch = NULL, intent_at = NULL, not_before = NULL, lease_owner = NULL, lease_until = NULL,
    lease_epoch = lease_epoch + 1, problem = NULL, reauth = NULL, marked_at = NULL
WHERE id = :grant_id

-- name: add_event
-- Under this number, unless something else wrote there: that is found, and is no reason to keep the line out.
INSERT INTO events (connection_id, sequence, at, kind, actor, grant_id, generation, data, mac)
SELECT :connection_id, CASE WHEN COALESCE(MAX(sequence), 0) < CAST(:sequence AS BIGINT) THEN CAST(:sequence AS BIGINT)
    ELSE MAX(sequence) + 1 END, :at, :kind, :actor, :grant_id, :generation, :data, :mac
FROM events WHERE connection_id = :connection_id

-- name: chains
SELECT id, chain FROM connections WHERE id IN (SELECT key FROM json_each(:connection_ids))

-- name: last_sequences
SELECT id, (SELECT MAX(sequence) FROM events WHERE connection_id = connections.id) AS sequence FROM connections
WHERE id IN (SELECT key FROM json_each(:connection_ids))

-- name: events
SELECT * FROM events
WHERE connection_id = :connection_id AND sequence < :before
ORDER BY sequence DESC LIMIT :limit

-- name: meta
SELECT value FROM meta WHERE name = :name

-- name: set_meta
INSERT INTO meta (name, value) VALUES (:name, :value) ON CONFLICT (name) DO UPDATE SET value = excluded.value

-- name: key_rows
-- Of each key: its canary, and how many values it has sealed (transactions.seals).
SELECT name, value FROM meta WHERE name LIKE 'key_canary%' OR name LIKE 'seals:%'

-- name: count_seals
INSERT INTO meta (name, value) VALUES (:name, CAST(:block AS TEXT))
ON CONFLICT (name) DO UPDATE SET value = CAST(CAST(meta.value AS BIGINT) + :block AS TEXT)

-- name: retire_keys
DELETE FROM meta WHERE name LIKE 'key_canary%' AND name <> :name RETURNING name, value

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
UPDATE grants SET property_ids = :property_ids, named_elsewhere = :elsewhere, mac = :mac WHERE id = :grant_id

-- name: drop_property
DELETE FROM properties WHERE grant_id = :grant_id AND property_id = :property_id
