-- A grant: its lease, its intent, its pair. Every write names the fence in its WHERE.

-- name: grant
SELECT * FROM grants WHERE id = :grant_id

-- name: tokens
SELECT position, generation, sealed FROM tokens WHERE grant_id = :grant_id ORDER BY position

-- name: longest_list
-- The grant with the most refresh tokens.
SELECT grants.connection_id, lists.length FROM (
    SELECT grant_id, COUNT(*) AS length FROM tokens GROUP BY grant_id ORDER BY length DESC, grant_id LIMIT 1
) AS lists JOIN grants ON grants.id = lists.grant_id

-- name: tokens_of
SELECT grant_id, position, generation, sealed FROM tokens WHERE grant_id IN (SELECT key FROM json_each(:grant_ids))
ORDER BY grant_id, position

-- name: rebase
-- The row was last written under another clock: its steady moments mean nothing here. A pending intent stays pending.
UPDATE grants SET clock_id = :clock_id, measured_at = :now, lease_owner = NULL, lease_until = NULL, not_before = NULL,
    refusals = 0, first_refused = NULL, first_reason = NULL, brake_until = NULL,
    intent_at = CASE WHEN intent_position IS NULL THEN NULL ELSE :now END,
    unresolved_at = CASE WHEN unresolved_at IS NULL THEN NULL ELSE :now END
WHERE id = :grant_id

-- name: set_back
-- The clock was set back since the row was last written: all its moments are, so that what was left then is left now.
UPDATE grants SET measured_at = :now, lease_until = lease_until - :behind, not_before = not_before - :behind,
    intent_at = intent_at - :behind, unresolved_at = unresolved_at - :behind, first_refused = first_refused - :behind,
    brake_until = brake_until - :behind
WHERE id = :grant_id

-- name: carry_sendings
UPDATE grants SET not_before = :not_before, measured_at = :now, unresolved_at = :unresolved_at,
    unresolved_generation = CASE WHEN :open = 1 THEN generation END
WHERE id = :grant_id

-- name: take_lease
UPDATE grants SET lease_owner = :owner, lease_epoch = lease_epoch + 1, lease_until = :until, measured_at = :now
WHERE id = :grant_id AND lease_epoch = :epoch

-- name: renew_lease
UPDATE grants SET lease_until = :until, measured_at = :now
WHERE id = :grant_id AND lease_epoch = :epoch AND lease_owner IS NOT NULL
RETURNING id

-- name: release_lease
UPDATE grants SET lease_owner = NULL, lease_until = NULL
WHERE id = :grant_id AND lease_epoch = :epoch

-- name: write_intent
-- No row: the key has sealed as much as it may. An intent that is still here is another process's, which may never say
-- how its sending ended.
UPDATE grants SET intent_position = :position, intent_epoch = :epoch, intent_at = :now, not_before = :not_before,
    unresolved_at = COALESCE(intent_at, unresolved_at),
    unresolved_generation = CASE WHEN intent_at IS NULL THEN unresolved_generation ELSE generation END,
    lease_until = :until, measured_at = :now, state = :state,
    migration = CASE WHEN intent_position IS NULL OR migration IS NULL THEN migration ELSE 'in_doubt' END
WHERE id = :grant_id AND generation = :generation AND lease_epoch = :epoch AND latched = :latched
    AND role IN ('active', 'candidate', 'set_aside')
    AND EXISTS (SELECT 1 FROM tokens WHERE grant_id = :grant_id AND position = :position)
    AND COALESCE((SELECT CAST(value AS BIGINT) FROM meta WHERE name = :seals), 0) < :most_seals
RETURNING id

-- name: settle
-- What a mark says stays until a proof ends it. What became of an earlier sending is no better known than before.
UPDATE grants SET state = :state, not_before = :not_before, measured_at = :now, attempts = attempts + :failed,
    problem = CASE WHEN marked_at IS NULL THEN :problem ELSE problem END,
    unrecognized = :unrecognized, unrecognized_at = :unrecognized_at,
    intent_position = NULL, intent_epoch = NULL, intent_at = NULL,
    unresolved_at = CASE WHEN :lost = 1 THEN COALESCE(intent_at, unresolved_at) ELSE unresolved_at END,
    unresolved_generation = CASE WHEN :lost = 1 THEN generation ELSE unresolved_generation END,
    migration = CASE WHEN :lost = 1 AND migration IS NOT NULL THEN 'in_doubt' ELSE migration END
WHERE id = :grant_id AND generation = :generation AND lease_epoch = :epoch

-- name: commit_pair
-- A mark stays: only a proof ends it; while no client id was known it may have been another's, so its retries count from
-- here. An API key in the place of a pair is latched: nothing of it is ever refreshed. What another process sent, which took
-- the lease while this pair was in hand, may still arrive: its hold stays. The pair of its refresh would be dropped, so that one
-- is unresolved from now on; the key of its exchange would not be, so the intent stays.
UPDATE grants SET generation = :next_generation, access_sealed = :access_sealed, expires_at = :expires_at,
    lifetime = :lifetime, stale_at = :stale_at, proven = 0, committed_epoch = :epoch, refusals = 0,
    first_refused = NULL, first_reason = NULL, mark_after = NULL, reprieves = 0, unrecognized = NULL,
    unrecognized_at = NULL, problem = CASE WHEN marked_at IS NULL THEN NULL ELSE problem END, attempts = 0,
    not_before = CASE WHEN intent_epoch <> :sent_under THEN not_before END,
    unresolved_at = CASE WHEN intent_epoch <> :sent_under AND migration IS NULL THEN intent_at ELSE unresolved_at END,
    unresolved_generation = CASE WHEN intent_epoch <> :sent_under AND migration IS NULL THEN generation
        ELSE unresolved_generation END,
    intent_position = CASE WHEN intent_epoch <> :sent_under AND migration IS NOT NULL THEN intent_position END,
    intent_at = CASE WHEN intent_epoch <> :sent_under AND migration IS NOT NULL THEN intent_at END,
    intent_epoch = CASE WHEN intent_epoch <> :sent_under AND migration IS NOT NULL THEN intent_epoch END, state = :state,
    refreshed_at = :wall, kind = :kind, mac = :mac, latched = CASE WHEN :kind = 'api_key' THEN 1 ELSE latched END,
    client_id = COALESCE(client_id, :client_id), retries = CASE WHEN client_id IS NULL THEN 0 ELSE retries END
WHERE id = :grant_id AND generation = :generation AND lease_epoch = :epoch

-- name: drop_tokens_after
DELETE FROM tokens WHERE grant_id = :grant_id AND position > :position

-- name: drop_kept_tokens
DELETE FROM tokens WHERE grant_id = :grant_id
    AND position < (SELECT MAX(position) FROM tokens WHERE grant_id = :grant_id)

-- name: drop_all_tokens
DELETE FROM tokens WHERE grant_id = :grant_id

-- name: add_token
INSERT INTO tokens (grant_id, position, generation, sealed) VALUES (:grant_id, :position, :generation, :sealed)

-- name: note_problem
UPDATE grants SET problem = :problem WHERE id = :grant_id AND generation = :generation AND state = 'fresh'

-- name: confirm
-- A problem that is kept while the state is fresh is of the hotel's calls (note_problem): a proof says nothing of it. What was
-- sent under an earlier generation asks for no more proofs; when it was sent is still known.
UPDATE grants SET proven = 1, refusals = 0, first_refused = NULL, first_reason = NULL, reauth = NULL, marked_at = NULL,
    retry_at = NULL, mark_after = NULL, denied = 0, brake_until = NULL, unrecognized = NULL, unrecognized_at = NULL,
    disabled_at = NULL, attempts = 0, state = :state, problem = CASE WHEN state = 'fresh' THEN problem END,
    unresolved_generation = CASE WHEN unresolved_generation < :generation THEN NULL ELSE unresolved_generation END,
    issuer = COALESCE(issuer, :issuer), mac = :mac
WHERE id = :grant_id AND generation = :generation

-- name: reprieve
-- The access token works although every refresh token is refused: it serves, and the next pass waits.
UPDATE grants SET reprieves = reprieves + 1, not_before = :not_before, measured_at = :now, state = :state,
    problem = :reason
WHERE id = :grant_id AND generation = :generation AND lease_epoch = :epoch

-- name: note_denied
UPDATE grants SET denied = denied + 1, brake_until = :until, measured_at = :now
WHERE id = :grant_id AND generation = :generation

-- name: note_disabled
UPDATE grants SET disabled_at = :now WHERE id = :grant_id AND generation = :generation

-- name: count_first
UPDATE grants SET refusals = 1, first_refused = :now, first_reason = :reason, not_before = :not_before,
    measured_at = :now, state = :state, problem = :reason
WHERE id = :grant_id AND generation = :generation AND lease_epoch = :epoch

-- name: hold
UPDATE grants SET not_before = :not_before, measured_at = :now, state = :state, problem = :reason
WHERE id = :grant_id AND generation = :generation AND lease_epoch = :epoch

-- name: mark
UPDATE grants SET refusals = refusals + 1, reauth = :reason, problem = :reason, marked_at = :now, retries = 0, mark_after = NULL,
    not_before = NULL, state = :state
WHERE id = :grant_id AND generation = :generation AND lease_epoch = :epoch

-- name: marked_still
UPDATE grants SET refusals = refusals + 1, retries = retries + 1, not_before = NULL, state = :state
WHERE id = :grant_id AND generation = :generation AND lease_epoch = :epoch

-- name: delay_mark
UPDATE grants SET mark_after = :mark_after WHERE id = :grant_id

-- name: marks_since
SELECT COUNT(*) AS marks FROM grants WHERE app = :app AND marked_at > :since AND role IN ('active', 'candidate')

-- name: set_used
-- A grant that is used is due when it turns stale. One that recovers, or is stale already, is somebody's work by now.
UPDATE grants SET used_at = :at,
    due_at = CASE WHEN state = 'fresh' AND role = 'active' AND stale_at > :now AND due_at > stale_at THEN stale_at
        ELSE due_at END
WHERE id = :grant_id AND (used_at IS NULL OR used_at < :at)

-- name: circuits
SELECT fingerprint, trial_at, measured_at, clock_id FROM circuits WHERE app = :app

-- name: open_circuit
INSERT INTO circuits (app, fingerprint, trial_at, measured_at, clock_id)
VALUES (:app, :fingerprint, :trial_at, :now, :clock_id)
ON CONFLICT (app, fingerprint) DO UPDATE SET trial_at = excluded.trial_at, measured_at = excluded.measured_at,
    clock_id = excluded.clock_id

-- name: close_circuit
DELETE FROM circuits WHERE app = :app AND fingerprint = :fingerprint
