-- Sign-in of operators in a browser: one-time codes, and sessions (rules.sessions).

-- name: add_sign_in_code
INSERT INTO sign_in_codes (hash, made_by, expires_at) VALUES (:hash, :made_by, :expires_at)

-- name: sign_in_code
SELECT hash FROM sign_in_codes WHERE hash = :hash AND used_at IS NULL AND expires_at > :now

-- name: use_sign_in_code
UPDATE sign_in_codes SET used_at = :now WHERE hash = :hash AND used_at IS NULL AND expires_at > :now
RETURNING hash

-- name: end_sign_in_codes
UPDATE sign_in_codes SET expires_at = :now WHERE expires_at > :now AND used_at IS NULL

-- name: sweep_sign_in_codes
DELETE FROM sign_in_codes WHERE hash IN
    (SELECT hash FROM sign_in_codes WHERE expires_at < :before ORDER BY expires_at LIMIT :limit)
RETURNING hash

-- name: add_session
INSERT INTO sessions (id, hash, how, address, created_at, used_at, expires_at)
VALUES (:id, :hash, :how, :address, :now, :now, :expires_at)

-- name: session
SELECT hash, used_at FROM sessions WHERE id = :id AND ended_at IS NULL AND expires_at > :now AND used_at > :idle_since

-- name: use_session
UPDATE sessions SET used_at = :now WHERE id = :id AND used_at < :now

-- name: end_session
UPDATE sessions SET ended_at = :now WHERE id = :id AND ended_at IS NULL

-- name: end_sessions
UPDATE sessions SET ended_at = :now WHERE expires_at > :now AND ended_at IS NULL
RETURNING used_at

-- name: sweep_sessions
DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE expires_at < :before ORDER BY expires_at LIMIT :limit)
RETURNING id
