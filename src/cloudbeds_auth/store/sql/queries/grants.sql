-- A grant: its lease, its intent, its pair. Every write names the fence in its WHERE.

-- name: grant
SELECT * FROM grants WHERE id = :grant_id

-- name: tokens
SELECT position, generation, sealed FROM tokens WHERE grant_id = :grant_id ORDER BY position

-- name: rebase
-- The row was last written under another clock: its steady moments mean nothing here. A pending intent stays pending.
UPDATE grants SET clock_id = :clock_id, lease_owner = NULL, lease_until = NULL, not_before = NULL, refusals = 0,
    first_refused = NULL, first_reason = NULL, intent_at = CASE WHEN intent_position IS NULL THEN NULL ELSE :now END
WHERE id = :grant_id

-- name: take_lease
UPDATE grants SET lease_owner = :owner, lease_epoch = lease_epoch + 1, lease_until = :until
WHERE id = :grant_id AND lease_epoch = :epoch

-- name: renew_lease
UPDATE grants SET lease_until = :until
WHERE id = :grant_id AND lease_epoch = :epoch AND lease_owner IS NOT NULL
RETURNING id

-- name: release_lease
UPDATE grants SET lease_owner = NULL, lease_until = NULL
WHERE id = :grant_id AND lease_epoch = :epoch

-- name: write_intent
UPDATE grants SET intent_position = :position, intent_epoch = :epoch, intent_at = :now, not_before = :not_before,
    lease_until = :until, state = :state,
    migration = CASE WHEN intent_position IS NULL OR migration IS NULL THEN migration ELSE 'in_doubt' END
WHERE id = :grant_id AND generation = :generation AND lease_epoch = :epoch AND latched = :latched
    AND role IN ('active', 'candidate')

-- name: settle
UPDATE grants SET state = :state, not_before = :not_before, attempts = attempts + :failed, problem = :problem,
    intent_position = CASE WHEN :keep = 1 THEN intent_position END,
    intent_epoch = CASE WHEN :keep = 1 THEN intent_epoch END,
    intent_at = CASE WHEN :keep = 1 THEN intent_at END,
    migration = CASE WHEN :keep = 1 AND migration IS NOT NULL THEN 'in_doubt' ELSE migration END
WHERE id = :grant_id AND generation = :generation AND lease_epoch = :epoch

-- name: commit_pair
UPDATE grants SET generation = :next_generation, access_sealed = :access_sealed, expires_at = :expires_at,
    lifetime = :lifetime, stale_at = :stale_at, proven = 0, committed_epoch = :epoch, refusals = 0,
    first_refused = NULL, first_reason = NULL, reauth = NULL, problem = NULL, attempts = 0, not_before = NULL,
    intent_position = NULL, intent_epoch = NULL, intent_at = NULL, state = :state, refreshed_at = :wall
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
-- A problem that is kept while the state is fresh is of the hotel's calls (note_problem): a proof says nothing of it.
UPDATE grants SET proven = 1, refusals = 0, first_refused = NULL, first_reason = NULL, reauth = NULL,
    attempts = 0, state = :state, problem = CASE WHEN state = 'fresh' THEN problem END
WHERE id = :grant_id AND generation = :generation

-- name: count_first
UPDATE grants SET refusals = 1, first_refused = :now, first_reason = :reason, not_before = :not_before,
    intent_position = NULL, intent_epoch = NULL, intent_at = NULL, state = :state, problem = :reason
WHERE id = :grant_id AND generation = :generation AND lease_epoch = :epoch

-- name: hold
UPDATE grants SET not_before = :not_before, intent_position = NULL, intent_epoch = NULL, intent_at = NULL,
    state = :state, problem = :reason
WHERE id = :grant_id AND generation = :generation AND lease_epoch = :epoch

-- name: mark
UPDATE grants SET refusals = refusals + 1, reauth = :reason, problem = :reason, not_before = NULL,
    intent_position = NULL, intent_epoch = NULL, intent_at = NULL, state = :state
WHERE id = :grant_id AND generation = :generation AND lease_epoch = :epoch

-- name: set_used
-- A grant that is used is due when it turns stale. One that recovers, or is stale already, is somebody's work by now.
UPDATE grants SET used_at = :at,
    due_at = CASE WHEN state = 'fresh' AND role = 'active' AND stale_at > :now AND due_at > stale_at THEN stale_at
        ELSE due_at END
WHERE id = :grant_id AND (used_at IS NULL OR used_at < :at)

-- name: circuits
SELECT fingerprint, trial_at, clock_id FROM circuits WHERE app = :app

-- name: open_circuit
INSERT INTO circuits (app, fingerprint, trial_at, clock_id) VALUES (:app, :fingerprint, :trial_at, :clock_id)
ON CONFLICT (app, fingerprint) DO UPDATE SET trial_at = excluded.trial_at, clock_id = excluded.clock_id

-- name: close_circuit
DELETE FROM circuits WHERE app = :app AND fingerprint = :fingerprint
