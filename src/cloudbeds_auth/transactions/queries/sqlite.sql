-- Where SQLite and PostgreSQL differ. postgres.sql has the same names.
-- A transaction that writes begins with BEGIN IMMEDIATE: it has the whole file, and no row needs a lock of its own.

-- name: tables
SELECT name FROM sqlite_schema WHERE type = 'table'

-- name: grant_locked
SELECT g.*, c.chain FROM grants g JOIN connections c ON c.id = g.connection_id WHERE g.id = :grant_id

-- name: grant_unless_locked
SELECT * FROM grants WHERE id = :grant_id

-- name: connection_locked
SELECT * FROM connections WHERE id = :connection_id

-- name: connections_locked
SELECT id FROM connections WHERE id IN (SELECT key FROM json_each(:connection_ids))

-- name: canary_locked
SELECT name FROM meta WHERE name = :name

-- name: one_at_a_time
SELECT :work AS work

-- name: budget
SELECT given, closed_until, spaced_until, measured_at, started FROM budgets WHERE client_id = :client_id

-- name: pull_due
-- Written later than now: the clock was set back since, and what was left then is left now; of what set_back sees to, too.
WITH late AS MATERIALIZED (SELECT id AS late_id,
        CASE WHEN clock_id = :clock_id AND measured_at > :steady THEN measured_at - :steady ELSE 0 END AS behind
    FROM grants WHERE due_from > :now AND (due_at IS NOT NULL OR retry_at IS NOT NULL)
    ORDER BY due_from DESC LIMIT :limit)
UPDATE grants SET due_at = due_at - (due_from - :now), retry_at = retry_at - (due_from - :now), due_from = :now,
    stale_at = stale_at - CASE WHEN expires_at > :now + lifetime THEN expires_at - :now - lifetime ELSE 0 END,
    expires_at = CASE WHEN expires_at > :now + lifetime THEN :now + lifetime ELSE expires_at END,
    measured_at = measured_at - behind, lease_until = lease_until - behind, not_before = not_before - behind,
    intent_at = intent_at - behind, unresolved_at = unresolved_at - behind, first_refused = first_refused - behind,
    brake_until = brake_until - behind
FROM late WHERE id = late_id

-- name: pull_messages
-- As pull_due.
UPDATE outbox SET due_at = due_at - (due_from - :now), due_from = :now
WHERE id IN (SELECT id FROM outbox WHERE due_from > :now AND due_at IS NOT NULL ORDER BY due_from DESC LIMIT :limit)

-- name: claim_due
-- Whoever pushes the moment ahead has the work; nobody else finds it meanwhile.
UPDATE grants SET due_at = :until, due_from = :now
WHERE id IN (
    SELECT id FROM (
        SELECT id, app, due_at, row_number() OVER (PARTITION BY app ORDER BY due_at, id) AS place FROM (
            SELECT id, app, due_at FROM grants WHERE due_at <= :now AND due_at >= :since
            ORDER BY due_at LIMIT :looked_at) AS looked_at) AS fair
    WHERE place <= :of_one AND app NOT IN (SELECT value FROM json_each(:full))
    ORDER BY due_at LIMIT :limit)
RETURNING id, expires_at

-- name: claim_retries
UPDATE grants SET retry_at = :until, due_from = :now
WHERE id IN (SELECT id FROM grants WHERE retry_at <= :now ORDER BY retry_at LIMIT :limit)
RETURNING id

-- name: retry_all
-- The newest marks first: they are likely to have one cause.
UPDATE grants SET retry_at = :now, due_from = :now
WHERE id IN (SELECT id FROM grants WHERE app = :app AND marked_at IS NOT NULL AND retry_at > :now
    ORDER BY marked_at DESC LIMIT :limit)
RETURNING id

-- name: claim_polls
UPDATE grants SET poll_at = :until
WHERE id IN (SELECT id FROM grants WHERE role = 'active' AND reauth IS NULL AND poll_at IS NOT NULL
    AND poll_at <= :now ORDER BY poll_at LIMIT :limit)
RETURNING connection_id

-- name: claim_listings
UPDATE grants SET list_at = :until
WHERE id IN (SELECT id FROM grants WHERE role = 'active' AND reauth IS NULL AND list_at IS NOT NULL AND list_at <= :now
    ORDER BY list_at LIMIT :limit)
RETURNING connection_id

-- name: claim_subscriptions
UPDATE grants SET subscribe_at = :until
WHERE id IN (SELECT id FROM grants WHERE role = 'active' AND reauth IS NULL AND subscribe_at IS NOT NULL
    AND subscribe_at <= :now ORDER BY subscribe_at LIMIT :limit)
RETURNING connection_id

-- name: compare_all
-- The settings want other subscriptions than those by which the last ones were made.
UPDATE grants SET subscribe_at = :now
WHERE id IN (SELECT id FROM grants WHERE role = 'active' AND reauth IS NULL AND subscribe_at IS NOT NULL
    AND subscribe_at > :now ORDER BY subscribe_at DESC LIMIT :limit)
RETURNING id

-- name: claim_messages
UPDATE outbox SET due_at = :until, due_from = :now
WHERE id IN (SELECT id FROM outbox WHERE due_at <= :now
    ORDER BY due_at, at, connection_id, sequence LIMIT :limit)
RETURNING *

-- name: grants_called
SELECT id, connection_id, role, used_at, lifetime FROM grants WHERE id IN (SELECT value FROM json_each(:grants))

-- name: add_calls
INSERT INTO calls (connection_id, span, first_us, generation, line, grant_id, last_us, count, refused, methods)
SELECT value ->> 'connection_id', value ->> 'span', value ->> 'first_us', value ->> 'generation', value ->> 'line',
    value ->> 'grant_id', value ->> 'last_us', value ->> 'count', value ->> 'refused', value ->> 'methods'
FROM json_each(:lines) WHERE true
ON CONFLICT (connection_id, span, first_us, generation, line) DO UPDATE SET
    last_us = excluded.last_us, count = excluded.count, refused = excluded.refused, methods = excluded.methods

-- name: calls_within
SELECT c.* FROM json_each(:periods) p CROSS JOIN calls c
WHERE c.connection_id = p.value ->> 'connection_id' AND c.generation = p.value ->> 'generation'
    AND c.span = :span AND c.first_us >= p.value ->> 'begins' AND c.first_us < p.value ->> 'ends'

-- name: drop_calls
DELETE FROM calls WHERE (connection_id, span, first_us, generation, line) IN
    (SELECT value ->> 'connection_id', value ->> 'span', value ->> 'first_us', value ->> 'generation', value ->> 'line'
    FROM json_each(:lines))

-- name: drop_events
DELETE FROM events WHERE (connection_id, sequence) IN
    (SELECT value ->> 'connection_id', value ->> 'sequence' FROM json_each(:events))

-- name: events_up_to
SELECT e.* FROM json_each(:ends) AS given CROSS JOIN events e
WHERE e.connection_id = given.value ->> 'connection_id' AND e.sequence <= given.value ->> 'sequence'

-- name: set_chains
UPDATE connections SET chain = given.value ->> 'chain' FROM json_each(:chains) AS given
WHERE connections.id = given.value ->> 'id'

-- name: set_event_macs
UPDATE events SET mac = given.value ->> 'mac' FROM json_each(:macs) AS given
WHERE connection_id = :connection_id AND sequence = given.value ->> 'sequence'

-- name: sweep_links
DELETE FROM links WHERE hash IN (SELECT hash FROM links WHERE expires_at < :before ORDER BY expires_at LIMIT :limit)

-- name: sweep_pending
DELETE FROM authorizations WHERE id IN (SELECT id FROM authorizations WHERE spent_at IS NULL AND expires_at <= :now
    ORDER BY expires_at LIMIT :limit)
RETURNING id

-- name: sweep_spent
DELETE FROM authorizations WHERE id IN (SELECT id FROM authorizations WHERE expires_at < :before
    AND NOT EXISTS (SELECT 1 FROM grants WHERE authorization_id = authorizations.id)
    ORDER BY expires_at LIMIT :limit)
RETURNING id

-- name: integrity
SELECT integrity_check AS problem FROM pragma_integrity_check

-- name: report
-- Read back on the connection that writes: what was asked for and what is in effect may differ.
SELECT sqlite_version() AS sqlite, files.file, journal.journal_mode,
    CASE syncs.synchronous WHEN 0 THEN 'off' WHEN 1 THEN 'normal' WHEN 2 THEN 'full' ELSE 'extra' END AS synchronous
FROM pragma_database_list files, pragma_journal_mode journal, pragma_synchronous syncs WHERE files.name = 'main'

-- name: page_of_cohorts
-- As page_of_state, of several cohorts: the newest of each, and of these the newest. An inner LIMIT for each one needs the
-- rows as one value here.
SELECT DISTINCT each.value AS id FROM json_each(:cohorts) AS cohorts, json_each((
    SELECT json_group_array(connection_id) FROM (SELECT DISTINCT g.connection_id FROM grants g WHERE COALESCE(g.shown, g.app) <> ''
        AND COALESCE(g.shown, g.app) || ' ' || g.app || ' ' || g.kind || ' ' || COALESCE(g.issuer, '') || ' '
            || COALESCE(g.client_id, '') = cohorts.key
        AND g.state = :state AND g.connection_id < :cursor AND g.stale_at > :after AND g.stale_at <= :until
        ORDER BY g.connection_id DESC LIMIT :limit))) AS each
ORDER BY id DESC LIMIT :limit

-- name: page_of_cohorts_oldest
SELECT DISTINCT each.value AS id FROM json_each(:cohorts) AS cohorts, json_each((
    SELECT json_group_array(connection_id) FROM (SELECT DISTINCT g.connection_id FROM grants g WHERE COALESCE(g.shown, g.app) <> ''
        AND COALESCE(g.shown, g.app) || ' ' || g.app || ' ' || g.kind || ' ' || COALESCE(g.issuer, '') || ' '
            || COALESCE(g.client_id, '') = cohorts.key
        AND g.state = :state AND g.connection_id > :cursor AND g.stale_at > :after AND g.stale_at <= :until
        ORDER BY g.connection_id LIMIT :limit))) AS each
ORDER BY id LIMIT :limit
