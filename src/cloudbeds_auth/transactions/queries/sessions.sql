-- Sign-in of operators in a browser: one-time codes, and sessions (rules.sessions).

-- name: add_sign_in_code
INSERT INTO sign_in_codes (hash, made_by, expires_at, mac) VALUES (:hash, :made_by, :expires_at, :mac)

-- name: sign_in_code
SELECT * FROM sign_in_codes WHERE hash = :hash AND expires_at > :now

-- name: use_sign_in_code
DELETE FROM sign_in_codes WHERE hash = :hash AND expires_at > :now RETURNING *

-- name: end_sign_in_codes
DELETE FROM sign_in_codes WHERE expires_at > :now

-- name: sweep_sign_in_codes
DELETE FROM sign_in_codes WHERE hash IN
    (SELECT hash FROM sign_in_codes WHERE expires_at < :before ORDER BY expires_at LIMIT :limit)
RETURNING hash

-- name: add_session
INSERT INTO sessions (id, hash, how, address, created_at, used_at, expires_at, mac)
VALUES (:id, :hash, :how, :address, :created_at, :created_at, :expires_at, :mac)

-- name: session
SELECT * FROM sessions WHERE id = :id AND expires_at > :now AND used_at > :idle_since

-- name: sessions_now
SELECT * FROM sessions WHERE expires_at > :now ORDER BY expires_at LIMIT :limit

-- name: use_session
UPDATE sessions SET used_at = :now WHERE id = :id AND used_at < :now

-- name: end_session
DELETE FROM sessions WHERE id = :id RETURNING id

-- name: end_sessions
DELETE FROM sessions WHERE expires_at > :now RETURNING used_at

-- name: sweep_sessions
DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE expires_at < :before ORDER BY expires_at LIMIT :limit)
RETURNING id
