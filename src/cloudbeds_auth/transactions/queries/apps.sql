-- Registrations at Cloudbeds beside the settings' own, and the origin that each credential is for (rules.origins).

-- name: app
SELECT * FROM apps WHERE name = :name

-- name: apps
SELECT a.*, i.issuer FROM apps a LEFT JOIN issuers i ON i.app = a.name
WHERE a.name > :after ORDER BY a.name LIMIT :limit

-- name: client_ids
SELECT name, client_id FROM apps WHERE name IN (SELECT key FROM json_each(:names))

-- name: names_of_clients
SELECT name, client_id FROM apps WHERE client_id IN (SELECT key FROM json_each(:client_ids))

-- name: redirect_uris
SELECT name, redirect_uri FROM apps ORDER BY name

-- name: apps_version
-- Changes where an app came or went. One that a process of an earlier version added is noticed by its moment.
SELECT (SELECT value FROM meta WHERE name = 'apps_version') AS changes, (SELECT MAX(created_at) FROM apps) AS newest

-- name: apps_named
SELECT * FROM apps WHERE name IN (SELECT key FROM json_each(:names))

-- name: circuits_of
SELECT app, fingerprint FROM circuits WHERE app IN (SELECT key FROM json_each(:names))

-- name: issuers_of
SELECT app, issuer FROM issuers WHERE app IN (SELECT key FROM json_each(:names))

-- name: taken
SELECT name, client_id, redirect_path FROM apps
WHERE name = :name OR client_id = :client_id OR redirect_path = :redirect_path

-- name: add_app
INSERT INTO apps (name, client_id, level, redirect_uri, redirect_path, scopes, credential, secret_sealed, created_at)
VALUES (:name, :client_id, :level, :redirect_uri, :redirect_path, :scopes, :credential, :secret_sealed, :now)

-- name: rotate_secret
UPDATE apps SET previous_sealed = secret_sealed, secret_sealed = :secret_sealed, generation = :generation,
    rotated_at = :now
WHERE name = :name

-- name: drop_previous_secret
UPDATE apps SET previous_sealed = NULL WHERE name = :name

-- name: living_connections
-- What would be left without its registration: a connection of this app, or one that a move to a key gave a grant of it.
SELECT COUNT(*) AS connections FROM (
    SELECT g.connection_id FROM connections c JOIN grants g ON g.connection_id = c.id
    WHERE c.app = :name AND (g.role IN ('active', 'candidate') OR g.state = 'parked')
    UNION SELECT connection_id FROM grants WHERE app = :name AND (role IN ('active', 'candidate') OR state = 'parked')
) AS living

-- name: remove_app
DELETE FROM apps WHERE name = :name

-- name: forget_circuits
DELETE FROM circuits WHERE app = :name

-- name: issuer
SELECT issuer FROM issuers WHERE app = :app

-- name: bound_elsewhere
SELECT app, issuer FROM issuers WHERE issuer NOT IN (SELECT key FROM json_each(:origins)) ORDER BY app

-- name: bind_issuer
INSERT INTO issuers (app, issuer, bound_at) VALUES (:app, :issuer, :now) ON CONFLICT (app) DO NOTHING

-- name: move_issuer
UPDATE issuers SET issuer = :issuer, bound_at = :now WHERE app = :app

-- name: forget_issuer
DELETE FROM issuers WHERE app = :app

-- name: move_grant
UPDATE grants SET issuer = :issuer, mac = :mac WHERE id = :grant_id

-- name: settle_source
UPDATE grants SET issuer = :issuer, client_id = :client_id, mac = :mac WHERE id = :grant_id

-- name: sources
-- The few of all living grants: the hotels of one are counted apart, where it is foreign, which takes a sort of them.
SELECT app, issuer, client_id FROM grants WHERE role IN ('active', 'candidate') OR state = 'parked'
GROUP BY app, issuer, client_id ORDER BY app, issuer, client_id

-- name: hotels_of_source
SELECT COUNT(DISTINCT connection_id) AS hotels FROM grants
WHERE app = :app AND issuer IS NOT DISTINCT FROM CAST(:issuer AS TEXT)
    AND client_id IS NOT DISTINCT FROM CAST(:client_id AS TEXT)
    AND (role IN ('active', 'candidate') OR state = 'parked')

-- name: issued_after
SELECT id FROM grants WHERE app = :app AND issuer IS NOT NULL AND id > :after ORDER BY id LIMIT :limit
