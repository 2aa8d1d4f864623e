-- Which properties a connection covers, asked anew. Every search here is over an index.

-- name: pull_listings
-- Further ahead than anything is ever written: the wall clock was set back since.
UPDATE grants SET list_at = :now
WHERE id IN (SELECT id FROM grants WHERE role = 'active' AND reauth IS NULL AND list_at IS NOT NULL
    AND list_at > :horizon ORDER BY list_at DESC LIMIT :limit)

-- name: set_listing
UPDATE grants SET list_at = :list_at WHERE id = :grant_id

-- name: set_properties
UPDATE grants SET property_ids = :property_ids, named_elsewhere = :elsewhere WHERE id = :grant_id

-- name: drop_property
DELETE FROM properties WHERE grant_id = :grant_id AND property_id = :property_id
