-- Who did what (rules.audit): added, read and swept, and never changed. Ids sort by time.

-- name: add_audit
INSERT INTO audit (id, at, action, actor, subject, address, data)
VALUES (:id, :at, :action, :actor, :subject, :address, :data)
ON CONFLICT (id) DO NOTHING

-- name: audit
SELECT * FROM audit WHERE id < :before ORDER BY id DESC LIMIT :limit

-- name: sweep_audit
DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE id < :before ORDER BY id LIMIT :limit)
RETURNING id
