-- Where PostgreSQL and SQLite differ. sqlite.sql has the same names.
-- Transactions run at READ COMMITTED. Whoever writes about a grant first locks its connection and its row, in this order,
-- so what one transaction reads stays as it is until its end, as it does under SQLite's one writer.

-- name: tables
SELECT tablename AS name FROM pg_tables WHERE schemaname = current_schema()

-- name: grant_locked
SELECT g.*, c.chain FROM connections c JOIN grants g ON g.connection_id = c.id WHERE g.id = :grant_id FOR UPDATE OF c, g

-- name: grant_unless_locked
-- Alone, and without its connection: it is waited for by nobody who holds something, and waits for nobody.
SELECT * FROM grants WHERE id = :grant_id FOR UPDATE SKIP LOCKED

-- name: connection_locked
SELECT * FROM connections WHERE id = :connection_id FOR UPDATE

-- name: connections_locked
SELECT id FROM connections WHERE id IN (SELECT json_object_keys(CAST(:connection_ids AS json))) ORDER BY id FOR UPDATE

-- name: canary_locked
-- Against its deletion alone: any number of transactions hold it together.
SELECT name FROM meta WHERE name = :name FOR KEY SHARE

-- name: one_at_a_time
-- Until the end of the transaction, and whichever server connection of a pooler it runs on.
SELECT pg_advisory_xact_lock(hashtextextended(:work, 0))

-- name: budget
-- The row is made, or only locked: two processes never start from the same turns.
INSERT INTO budgets (client_id, started) VALUES (:client_id, :started)
ON CONFLICT (client_id) DO UPDATE SET client_id = excluded.client_id
RETURNING given, closed_until, spaced_until, measured_at, started

-- name: pull_due
-- Written later than now: the clock was set back since, and what was left then is left now; of what set_back sees to, too.
-- A row that somebody else holds is pulled the next time.
WITH late AS MATERIALIZED (SELECT id AS late_id,
        CASE WHEN clock_id = :clock_id AND measured_at > :steady THEN measured_at - :steady ELSE 0 END AS behind
    FROM grants WHERE due_from > :now AND (due_at IS NOT NULL OR retry_at IS NOT NULL)
    ORDER BY due_from DESC LIMIT :limit
    FOR UPDATE SKIP LOCKED)
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
WHERE id = ANY (ARRAY(SELECT id FROM outbox WHERE due_from > :now AND due_at IS NOT NULL
    ORDER BY due_from DESC LIMIT :limit FOR UPDATE SKIP LOCKED))

-- name: claim_due
-- Whoever pushes the moment ahead has the work; a row that somebody else holds is left to them. As an array the
-- subquery runs once: with IN, a plan may run it again for each row, which locks other ones, and takes more than :limit.
UPDATE grants SET due_at = :until, due_from = :now
WHERE id = ANY (ARRAY(SELECT id FROM grants WHERE due_at <= :now AND id = ANY (ARRAY(
    SELECT id FROM (
        SELECT id, app, due_at, row_number() OVER (PARTITION BY app ORDER BY due_at, id) AS place FROM (
            SELECT id, app, due_at FROM grants WHERE due_at <= :now AND due_at >= :since
            ORDER BY due_at LIMIT :looked_at) AS looked_at) AS fair
    WHERE place <= :of_one AND app NOT IN (SELECT json_array_elements_text(CAST(:full AS json)))))
    ORDER BY due_at LIMIT :limit FOR UPDATE SKIP LOCKED))
RETURNING id, expires_at

-- name: claim_retries
-- As claim_due.
UPDATE grants SET retry_at = :until, due_from = :now
WHERE id = ANY (ARRAY(SELECT id FROM grants WHERE retry_at <= :now ORDER BY retry_at LIMIT :limit
    FOR UPDATE SKIP LOCKED))
RETURNING id

-- name: retry_all
-- The newest marks first: they are likely to have one cause. One that is being tried now is left out.
UPDATE grants SET retry_at = :now, due_from = :now
WHERE id = ANY (ARRAY(SELECT id FROM grants WHERE app = :app AND marked_at IS NOT NULL AND retry_at > :now
    ORDER BY marked_at DESC LIMIT :limit FOR UPDATE SKIP LOCKED))
RETURNING id

-- name: claim_polls
-- As claim_due.
UPDATE grants SET poll_at = :until
WHERE id = ANY (ARRAY(SELECT id FROM grants WHERE role = 'active' AND reauth IS NULL AND poll_at IS NOT NULL
    AND poll_at <= :now ORDER BY poll_at LIMIT :limit FOR UPDATE SKIP LOCKED))
RETURNING connection_id

-- name: claim_listings
-- As claim_due.
UPDATE grants SET list_at = :until
WHERE id = ANY (ARRAY(SELECT id FROM grants WHERE role = 'active' AND reauth IS NULL AND list_at IS NOT NULL
    AND list_at <= :now ORDER BY list_at LIMIT :limit FOR UPDATE SKIP LOCKED))
RETURNING connection_id

-- name: claim_subscriptions
-- As claim_due.
UPDATE grants SET subscribe_at = :until
WHERE id = ANY (ARRAY(SELECT id FROM grants WHERE role = 'active' AND reauth IS NULL AND subscribe_at IS NOT NULL
    AND subscribe_at <= :now ORDER BY subscribe_at LIMIT :limit FOR UPDATE SKIP LOCKED))
RETURNING connection_id

-- name: compare_all
-- The settings want other subscriptions than those by which the last ones were made. One that is written about now is left
-- out: it is compared within a day.
UPDATE grants SET subscribe_at = :now
WHERE id = ANY (ARRAY(SELECT id FROM grants WHERE role = 'active' AND reauth IS NULL AND subscribe_at IS NOT NULL
    AND subscribe_at > :now ORDER BY subscribe_at DESC LIMIT :limit FOR UPDATE SKIP LOCKED))
RETURNING id

-- name: claim_messages
-- As claim_due.
UPDATE outbox SET due_at = :until, due_from = :now
WHERE id = ANY (ARRAY(SELECT id FROM outbox WHERE due_at <= :now
    ORDER BY due_at, at, connection_id, sequence LIMIT :limit FOR UPDATE SKIP LOCKED))
RETURNING *

-- name: grants_called
SELECT id, connection_id, role, used_at, lifetime FROM grants
WHERE id IN (SELECT json_array_elements_text(CAST(:grants AS json)))

-- name: add_calls
INSERT INTO calls (connection_id, span, first_us, generation, line, grant_id, last_us, count, refused, methods)
SELECT connection_id, span, first_us, generation, line, grant_id, last_us, count, refused, methods
FROM json_populate_recordset(CAST(NULL AS calls), CAST(:lines AS json))
ON CONFLICT (connection_id, span, first_us, generation, line) DO UPDATE SET
    last_us = excluded.last_us, count = excluded.count, refused = excluded.refused, methods = excluded.methods

-- name: calls_within
-- OFFSET 0 keeps the planner to one search by the key for each period: it takes a range to hold a third of the table.
SELECT c.* FROM json_to_recordset(CAST(:periods AS json))
    AS p (connection_id text, generation bigint, begins bigint, ends bigint)
CROSS JOIN LATERAL (SELECT * FROM calls WHERE connection_id = p.connection_id AND generation = p.generation
    AND span = :span AND first_us >= p.begins AND first_us < p.ends OFFSET 0) c

-- name: drop_calls
DELETE FROM calls c USING json_populate_recordset(CAST(NULL AS calls), CAST(:lines AS json)) AS l
WHERE c.connection_id = l.connection_id AND c.first_us = l.first_us AND c.generation = l.generation
    AND c.span = l.span AND c.line = l.line

-- name: drop_events
DELETE FROM events e USING json_populate_recordset(CAST(NULL AS events), CAST(:events AS json)) AS l
WHERE e.connection_id = l.connection_id AND e.sequence = l.sequence

-- name: events_up_to
-- As calls_within.
SELECT e.* FROM json_to_recordset(CAST(:ends AS json)) AS given (connection_id text, sequence bigint)
CROSS JOIN LATERAL (SELECT * FROM events WHERE connection_id = given.connection_id AND sequence <= given.sequence
    OFFSET 0) e

-- name: set_chains
UPDATE connections c SET chain = given.chain
FROM json_to_recordset(CAST(:chains AS json)) AS given (id text, chain text) WHERE c.id = given.id

-- name: set_event_macs
UPDATE events e SET mac = given.mac FROM json_to_recordset(CAST(:macs AS json)) AS given (sequence bigint, mac text)
WHERE e.connection_id = :connection_id AND e.sequence = given.sequence

-- name: sweep_links
-- As claim_due: a row that somebody else sweeps is left to them.
DELETE FROM links
WHERE hash = ANY (ARRAY(SELECT hash FROM links WHERE expires_at < :before
    ORDER BY expires_at LIMIT :limit FOR UPDATE SKIP LOCKED))

-- name: sweep_pending
-- As sweep_links.
DELETE FROM authorizations
WHERE id = ANY (ARRAY(SELECT id FROM authorizations WHERE spent_at IS NULL AND expires_at <= :now
    ORDER BY expires_at LIMIT :limit FOR UPDATE SKIP LOCKED))
RETURNING id

-- name: sweep_spent
-- As sweep_links.
DELETE FROM authorizations
WHERE id = ANY (ARRAY(SELECT id FROM authorizations WHERE expires_at < :before
    AND NOT EXISTS (SELECT 1 FROM grants WHERE authorization_id = authorizations.id)
    ORDER BY expires_at LIMIT :limit FOR UPDATE SKIP LOCKED))
RETURNING id

-- name: integrity
-- Checksums of pages are the server's own business: whatever can be read is sound.
SELECT 'ok' AS problem

-- name: report
SELECT current_setting('server_version') AS postgresql, current_database() AS database,
    current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full_page_writes,
    current_setting('synchronous_commit') AS synchronous_commit,
    CASE WHEN pg_is_in_recovery() THEN 'standby' ELSE 'primary' END AS role,
    (SELECT COUNT(*) FROM pg_stat_replication WHERE sync_state IN ('async', 'potential'))::text AS asynchronous_standbys

-- name: page_of_cohorts
-- As page_of_state, of several cohorts: the newest of each, and of these the newest.
SELECT DISTINCT each.id FROM json_each(:cohorts) AS cohorts CROSS JOIN LATERAL (
    SELECT DISTINCT g.connection_id AS id FROM grants g WHERE COALESCE(g.shown, g.app) <> ''
        AND COALESCE(g.shown, g.app) || ' ' || g.app || ' ' || g.kind || ' ' || COALESCE(g.issuer, '') || ' '
            || COALESCE(g.client_id, '') = cohorts.key
        AND g.state = :state AND g.connection_id < :cursor AND g.stale_at > :after AND g.stale_at <= :until
    ORDER BY g.connection_id DESC LIMIT :limit) AS each
ORDER BY id DESC LIMIT :limit

-- name: page_of_cohorts_oldest
SELECT DISTINCT each.id FROM json_each(:cohorts) AS cohorts CROSS JOIN LATERAL (
    SELECT DISTINCT g.connection_id AS id FROM grants g WHERE COALESCE(g.shown, g.app) <> ''
        AND COALESCE(g.shown, g.app) || ' ' || g.app || ' ' || g.kind || ' ' || COALESCE(g.issuer, '') || ' '
            || COALESCE(g.client_id, '') = cohorts.key
        AND g.state = :state AND g.connection_id > :cursor AND g.stale_at > :after AND g.stale_at <= :until
    ORDER BY g.connection_id LIMIT :limit) AS each
ORDER BY id LIMIT :limit
