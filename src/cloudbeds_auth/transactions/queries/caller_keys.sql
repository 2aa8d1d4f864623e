-- Keys for callers of the service (rules.caller_keys).

-- name: add_caller_key
INSERT INTO caller_keys (id, name, hash, scopes, reach, read_only, methods, parent, created_by, created_at, expires_at, rate,
    mac)
VALUES (:id, :name, :hash, :scopes, :reach, :read_only, :methods, :parent, :created_by, :created_at, :expires_at, :rate,
    :mac)

-- name: caller_key
SELECT * FROM caller_keys WHERE id = :id

-- name: caller_key_children
SELECT COUNT(*) AS children FROM caller_keys WHERE parent = :parent

-- name: caller_keys
SELECT * FROM caller_keys WHERE id < :before ORDER BY id DESC LIMIT :limit

-- name: caller_keys_of
SELECT * FROM caller_keys WHERE parent = :parent AND id < :before ORDER BY id DESC LIMIT :limit

-- name: end_caller_key
UPDATE caller_keys SET ended_at = :now, mac = :mac WHERE id = :id AND ended_at IS NULL

-- name: use_caller_key
UPDATE caller_keys SET used_at = :at, used_from = :address
WHERE id = :id AND (used_at IS NULL OR used_at < :at)

-- name: forget_ended_children
-- Those that ended in time or were revoked a while ago make room for others.
DELETE FROM caller_keys WHERE parent = :parent AND (ended_at < :before OR expires_at < :before)
