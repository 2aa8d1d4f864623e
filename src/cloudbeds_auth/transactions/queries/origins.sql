-- Where credentials came from (rules.origins).

-- name: issuer
SELECT issuer FROM issuers WHERE app = :app

-- name: issuers
SELECT app, issuer FROM issuers ORDER BY app

-- name: bind_issuer
INSERT INTO issuers (app, issuer, bound_at) VALUES (:app, :issuer, :now) ON CONFLICT (app) DO NOTHING

-- name: move_issuer
UPDATE issuers SET issuer = :issuer, bound_at = :now WHERE app = :app

-- name: forget_issuer
DELETE FROM issuers WHERE app = :app

-- name: move_grant
UPDATE grants SET issuer = :issuer WHERE id = :grant_id

-- name: settle_source
UPDATE grants SET issuer = :issuer, client_id = :client_id WHERE id = :grant_id

-- name: held
SELECT app, issuer, client_id, COUNT(DISTINCT connection_id) AS connections FROM grants
WHERE role IN ('active', 'candidate') OR state = 'parked' GROUP BY app, issuer, client_id ORDER BY app, issuer, client_id

-- name: issued_after
SELECT id, issuer FROM grants WHERE app = :app AND issuer IS NOT NULL AND id > :after ORDER BY id LIMIT :limit
