-- How a grant comes in: links, states, candidates, the pointer.

-- name: add_link
INSERT INTO links (hash, app, reference, return_to, connection_id, expires_at, expected_properties, challenge,
    registration, made_by, counts_for)
VALUES (:hash, :app, :reference, :return_to, :connection_id, :expires_at, :expected_properties, :challenge,
    :registration, :made_by, :counts_for)

-- name: links_waiting
-- Those of a key, and of the keys that it made, that may still be used; no more are counted than matter.
SELECT COUNT(*) AS waiting FROM (SELECT 1 FROM links
    WHERE counts_for = :counts_for AND used_at IS NULL AND expires_at > :now LIMIT :most) waiting

-- name: link
SELECT * FROM links WHERE hash = :hash AND used_at IS NULL AND expires_at > :now

-- name: link_outcome
-- Of all the browsers that it was opened in, one led to a connection. Where a property is expected, it was named.
SELECT outcome FROM authorizations WHERE link_hash = :link_hash AND outcome IS NOT NULL
    AND (expected_properties IS NULL OR found_properties IS NOT NULL)
UNION ALL SELECT outcome FROM links WHERE hash = :link_hash AND outcome IS NOT NULL

-- name: turned_down
-- The last approval by a link that Cloudbeds named the properties of, and nothing followed from.
SELECT * FROM authorizations WHERE link_hash = :link_hash AND outcome IS NULL AND found_properties IS NOT NULL
ORDER BY spent_at DESC LIMIT 1

-- name: link_by_hash
SELECT * FROM links WHERE hash = :hash

-- name: use_link
UPDATE links SET used_at = :now WHERE hash = :hash

-- name: link_registered
-- It takes no other client id and secret, and connects hotels of this app from now on.
UPDATE links SET registration = NULL WHERE hash = :hash

-- name: link_led_to
-- A key that came by it; of an approval its authorization says so. A hash of null: it came by none.
UPDATE links SET outcome = :connection_id WHERE hash = :hash

-- name: add_authorization
-- Of a link, whoever made that began it.
INSERT INTO authorizations (id, app, state_hash, browser_hash, link_hash, reference, return_to, connection_id, expires_at,
    parked, trusted, expected_properties, challenge, made_by)
VALUES (:id, :app, :state_hash, :browser_hash, :link_hash, :reference, :return_to, :connection_id, :expires_at, :parked,
    :trusted, :expected_properties, :challenge,
    COALESCE((SELECT made_by FROM links WHERE hash = :link_hash), :made_by))

-- name: pending
-- States that were begun alike and may still come back; no more are counted than matter.
SELECT COUNT(*) AS pending FROM (SELECT 1 FROM authorizations
    WHERE spent_at IS NULL AND expires_at > :now AND link_hash IS NULL AND trusted = :trusted LIMIT :most) waiting

-- name: pending_of_link
-- And those that came back and did not use the link, denied ones too: they are kept for a day.
SELECT COUNT(*) AS pending FROM (SELECT 1 FROM authorizations WHERE link_hash = :link_hash
    AND (spent_at IS NOT NULL OR expires_at > :now) LIMIT :most) waiting

-- name: authorization_by_state
SELECT * FROM authorizations WHERE state_hash = :state_hash

-- name: authorization
SELECT * FROM authorizations WHERE id = :id

-- name: spend_state
UPDATE authorizations SET spent_at = :now, code_hash = :code_hash
WHERE state_hash = :state_hash AND spent_at IS NULL
RETURNING *

-- name: set_outcome
UPDATE authorizations SET outcome = :connection_id WHERE id = :id

-- name: set_expected
UPDATE authorizations SET expected_properties = :expected, outcome = :connection_id WHERE id = :id

-- name: set_found
-- What Cloudbeds named; an outcome of null: and it leads to no connection.
UPDATE authorizations SET found_properties = :found, outcome = :connection_id WHERE id = :id

-- name: await_names
-- The grant is compared with what its approval expects, once Cloudbeds named its properties; null: it was.
UPDATE grants SET authorization_id = :id WHERE id = :grant_id

-- name: led_to
SELECT * FROM authorizations WHERE outcome = :connection_id ORDER BY spent_at DESC LIMIT 1

-- name: move_outcomes
UPDATE authorizations SET outcome = :connection_id WHERE outcome = :former

-- name: asked_for
-- What waits to be claimed, or is another connection's now, is nobody's to come back to.
SELECT * FROM connections WHERE id = :connection_id
    AND NOT EXISTS (SELECT 1 FROM grants g WHERE g.connection_id = connections.id AND g.role IN ('parked', 'set_aside'))

-- name: covered
SELECT g.* FROM connections c JOIN grants g ON g.id = c.active_grant WHERE c.id = :connection_id

-- name: connections_covering
-- Of this app, whatever became of them: a hotel that comes back keeps its connection. The grant in use says which
-- properties one covers; where none was ever proven, the newest. What waits to be claimed covers nothing.
SELECT c.id AS c_id, c.app AS c_app, c.reference, c.reference_trusted, c.active_grant, c.mac AS c_mac, g.*
FROM properties p
    JOIN grants g ON g.id = p.grant_id
    JOIN connections c ON c.id = g.connection_id
WHERE c.app = :app AND p.property_id = :property_id AND g.role NOT IN ('parked', 'set_aside')
    AND (c.active_grant = g.id OR (c.active_grant IS NULL
        AND NOT EXISTS (SELECT 1 FROM grants n WHERE n.connection_id = c.id AND n.ordinal > g.ordinal)))

-- name: add_connection
INSERT INTO connections (id, app, reference, reference_trusted, created_at, mac, chain)
VALUES (:id, :app, :reference, :trusted, :now, :mac, :chain)

-- name: set_reference
UPDATE connections SET reference = :reference, reference_trusted = :trusted, mac = :mac WHERE id = :id

-- name: last_ordinal
SELECT COALESCE(MAX(ordinal), 0) AS ordinal, COALESCE(MAX(generation), 0) AS generation FROM grants WHERE connection_id = :connection_id

-- name: last_approved
-- A key that came by an exchange is of an approval that was there before.
SELECT COALESCE(MAX(ordinal), 0) AS ordinal FROM grants WHERE connection_id = :connection_id AND exchanged_from IS NULL

-- name: add_grant
INSERT INTO grants (id, connection_id, app, ordinal, kind, role, state, generation, access_sealed, expires_at, lifetime,
    stale_at, clock_id, property_ids, scopes, received_at, issuer, client_id, mac)
VALUES (:id, :connection_id, :app, :ordinal, :kind, :role, :state, :generation, :access_sealed, :expires_at, :lifetime,
    :stale_at, :clock_id, :property_ids, :scopes, :received_at, :issuer, :client_id, :mac)

-- name: add_property
INSERT INTO properties (grant_id, property_id) VALUES (:grant_id, :property_id) ON CONFLICT DO NOTHING

-- name: parked
-- For a day; what was set aside, for as long as it takes.
SELECT * FROM grants WHERE connection_id = :connection_id AND state = 'parked' AND (role = 'set_aside' OR due_at > :now)

-- name: set_aside
-- What came in by this moment; what came later is a newer approval's.
SELECT g.id FROM properties p JOIN grants g ON g.id = p.grant_id
WHERE g.app = :app AND p.property_id = :property_id AND g.role = 'set_aside' AND g.connection_id <> :connection_id
    AND g.received_at <= :received_at
ORDER BY g.id

-- name: set_aside_since
-- What came in after this moment, newest first, unless Cloudbeds refuses it. A moment ahead of now is from before the
-- clock was set back.
SELECT g.connection_id, g.property_ids FROM properties p JOIN grants g ON g.id = p.grant_id
WHERE g.app = :app AND p.property_id = :property_id AND g.role = 'set_aside' AND g.connection_id <> :connection_id
    AND g.received_at > :received_at AND g.received_at <= :now AND g.marked_at IS NULL
ORDER BY g.received_at DESC

-- name: parked_too_long
SELECT id FROM grants WHERE role = 'parked' AND due_at <= :now ORDER BY received_at

-- name: count_parked
SELECT COUNT(*) AS waiting FROM grants WHERE role = 'parked' AND state = 'parked'

-- name: leave_sign
-- Its tokens are another grant's now; until the day is over it says so.
UPDATE grants SET role = 'parked', mac = :mac, access_sealed = NULL, state = :state, problem = :problem, reauth = NULL,
    marked_at = NULL, retry_at = NULL, due_at = :due_at, lease_owner = NULL, lease_until = NULL, lease_epoch = lease_epoch + 1
WHERE id = :grant_id

-- name: delete_properties
DELETE FROM properties WHERE grant_id = :grant_id

-- name: delete_grant
DELETE FROM grants WHERE id = :grant_id

-- name: delete_events
DELETE FROM events WHERE connection_id = :connection_id

-- name: delete_connection
DELETE FROM connections WHERE id = :connection_id

-- name: candidates
SELECT * FROM grants WHERE connection_id = :connection_id AND role = 'candidate' ORDER BY ordinal DESC

-- name: set_role
UPDATE grants SET role = :role, state = :state, mac = :mac WHERE id = :grant_id

-- name: set_identity
-- It was seen to work: what was in the way before is over.
UPDATE grants SET user_id = :user_id, user_name = :user_name, user_email = :user_email, property_ids = :property_ids,
    problem = NULL, said_of = NULL, reauth = NULL, marked_at = NULL, retry_at = NULL, mark_after = NULL,
    disabled_at = NULL, mac = :mac
WHERE id = :grant_id

-- name: note_unnamed
UPDATE grants SET problem = :problem WHERE id = :grant_id

-- name: move_pointer
UPDATE connections SET active_grant = :grant_id, sequence = sequence + 1, connected_at = COALESCE(connected_at, :now)
WHERE id = :connection_id AND sequence = :sequence
