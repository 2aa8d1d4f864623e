-- Tokens that come from another program.

-- name: imported
SELECT * FROM grants WHERE imported_hash = :token_hash

-- name: forget_import
UPDATE grants SET imported_hash = NULL WHERE id = :grant_id

-- name: mark_import
UPDATE grants SET imported_hash = :token_hash, said_of = :said_of, refreshed_at = :refreshed_at
WHERE id = :grant_id

-- name: settle_property
UPDATE grants SET said_of = NULL, property_ids = :property_ids, mac = :mac WHERE id = :grant_id
