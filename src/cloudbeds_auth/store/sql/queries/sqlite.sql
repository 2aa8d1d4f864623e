-- Where SQLite and PostgreSQL differ. postgres.sql has the same names.
-- A transaction that writes begins with BEGIN IMMEDIATE: it has the whole file, and no row needs a lock of its own.

-- name: tables
SELECT name FROM sqlite_schema WHERE type = 'table'

-- name: grant_locked
SELECT * FROM grants WHERE id = :grant_id

-- name: connection_locked
SELECT * FROM connections WHERE id = :connection_id

-- name: one_at_a_time
SELECT :work AS work

-- name: budget
SELECT arrival, clock_id FROM budgets WHERE client_id = :client_id

-- name: claim_due
-- Whoever pushes the moment ahead has the work; nobody else finds it meanwhile.
UPDATE grants SET due_at = :until
WHERE id IN (SELECT id FROM grants WHERE due_at <= :now ORDER BY due_at LIMIT :limit)
RETURNING id, expires_at

-- name: claim_retries
UPDATE grants SET retry_at = :until
WHERE id IN (SELECT id FROM grants WHERE retry_at <= :now ORDER BY retry_at LIMIT :limit)
RETURNING id

-- name: retry_all
-- The newest marks first: they are likely to have one cause.
UPDATE grants SET retry_at = :now
WHERE id IN (SELECT id FROM grants WHERE app = :app AND marked_at IS NOT NULL AND retry_at > :now
    ORDER BY marked_at DESC LIMIT :limit)
RETURNING id

-- name: claim_polls
UPDATE grants SET poll_at = :until
WHERE id IN (SELECT id FROM grants WHERE role = 'active' AND reauth IS NULL AND poll_at IS NOT NULL
    AND (poll_at <= :now OR poll_at > :horizon) ORDER BY poll_at, id LIMIT :limit)
RETURNING connection_id

-- name: claim_listings
UPDATE grants SET list_at = :until
WHERE id IN (SELECT id FROM grants WHERE role = 'active' AND reauth IS NULL AND list_at IS NOT NULL AND list_at <= :now
    ORDER BY list_at LIMIT :limit)
RETURNING connection_id

-- name: claim_messages
UPDATE outbox SET due_at = :until
WHERE id IN (SELECT id FROM outbox WHERE due_at <= :now OR due_at > :horizon
    ORDER BY due_at, at, connection_id, sequence LIMIT :limit)
RETURNING *

-- name: integrity
SELECT integrity_check AS problem FROM pragma_integrity_check

-- name: report
-- Read back on the connection that writes: what was asked for and what is in effect may differ.
SELECT sqlite_version() AS sqlite, files.file, journal.journal_mode,
    CASE syncs.synchronous WHEN 0 THEN 'off' WHEN 1 THEN 'normal' WHEN 2 THEN 'full' ELSE 'extra' END AS synchronous
FROM pragma_database_list files, pragma_journal_mode journal, pragma_synchronous syncs WHERE files.name = 'main'
