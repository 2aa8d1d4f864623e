-- What is due. Every search here is over an index: the tables may be large.

-- name: next_due
SELECT due_at FROM grants WHERE due_at >= 0 ORDER BY due_at LIMIT 1

-- name: due_beyond
SELECT due_at FROM grants WHERE due_at <= :now AND due_at >= :since ORDER BY due_at LIMIT 1 OFFSET :looked_at - 1

-- name: next_retry
SELECT retry_at AS due_at FROM grants WHERE retry_at >= 0 ORDER BY retry_at LIMIT 1

-- name: set_retry
UPDATE grants SET retry_at = :due_at, due_at = NULL, due_from = :now WHERE id = :grant_id

-- name: never_due
UPDATE grants SET due_at = NULL, retry_at = NULL WHERE id = :grant_id

-- name: set_due
UPDATE grants SET due_at = :due_at, due_from = :now WHERE id = :grant_id

-- name: set_comparison
UPDATE grants SET subscribe_at = :subscribe_at WHERE id = :grant_id

-- name: set_poll
UPDATE grants SET poll_at = :poll_at WHERE id = :grant_id

-- name: pull_comparisons
-- Further ahead than anything is ever written: the wall clock was set back since.
UPDATE grants SET subscribe_at = :now
WHERE id IN (SELECT id FROM grants WHERE role = 'active' AND reauth IS NULL AND subscribe_at IS NOT NULL
    AND subscribe_at > :horizon ORDER BY subscribe_at DESC LIMIT :limit)

-- name: pull_polls
UPDATE grants SET poll_at = :now
WHERE id IN (SELECT id FROM grants WHERE role = 'active' AND reauth IS NULL AND poll_at IS NOT NULL
    AND poll_at > :horizon ORDER BY poll_at DESC LIMIT :limit)

-- name: upkeep_queue
-- Each queue is counted over its index, and no further than matters.
SELECT
    (SELECT COUNT(*) FROM (SELECT 1 FROM grants WHERE due_at <= :now LIMIT :most) AS counted) AS waiting,
    (SELECT COUNT(*) FROM (SELECT 1 FROM grants WHERE due_at > :now AND due_at <= :horizon LIMIT :most) AS counted) AS soon,
    (SELECT due_at FROM grants WHERE due_at >= 0 ORDER BY due_at LIMIT 1) AS first

-- name: retry_queue
SELECT
    (SELECT COUNT(*) FROM (SELECT 1 FROM grants WHERE retry_at <= :now LIMIT :most) AS counted) AS waiting,
    (SELECT COUNT(*) FROM (SELECT 1 FROM grants WHERE retry_at > :now AND retry_at <= :horizon LIMIT :most) AS counted) AS soon,
    (SELECT retry_at FROM grants WHERE retry_at >= 0 ORDER BY retry_at LIMIT 1) AS first

-- name: poll_queue
SELECT
    (SELECT COUNT(*) FROM (SELECT 1 FROM grants WHERE role = 'active' AND reauth IS NULL AND poll_at IS NOT NULL AND poll_at <= :now LIMIT :most) AS counted) AS waiting,
    (SELECT COUNT(*) FROM (SELECT 1 FROM grants WHERE role = 'active' AND reauth IS NULL AND poll_at IS NOT NULL AND poll_at > :now AND poll_at <= :horizon LIMIT :most) AS counted) AS soon,
    (SELECT poll_at FROM grants WHERE role = 'active' AND reauth IS NULL AND poll_at IS NOT NULL AND poll_at >= 0 ORDER BY poll_at LIMIT 1) AS first

-- name: listing_queue
SELECT
    (SELECT COUNT(*) FROM (SELECT 1 FROM grants WHERE role = 'active' AND reauth IS NULL AND list_at IS NOT NULL AND list_at <= :now LIMIT :most) AS counted) AS waiting,
    (SELECT COUNT(*) FROM (SELECT 1 FROM grants WHERE role = 'active' AND reauth IS NULL AND list_at IS NOT NULL AND list_at > :now AND list_at <= :horizon LIMIT :most) AS counted) AS soon,
    (SELECT list_at FROM grants WHERE role = 'active' AND reauth IS NULL AND list_at IS NOT NULL AND list_at >= 0 ORDER BY list_at LIMIT 1) AS first

-- name: comparison_queue
SELECT
    (SELECT COUNT(*) FROM (SELECT 1 FROM grants WHERE role = 'active' AND reauth IS NULL AND subscribe_at IS NOT NULL AND subscribe_at <= :now LIMIT :most) AS counted) AS waiting,
    (SELECT COUNT(*) FROM (SELECT 1 FROM grants WHERE role = 'active' AND reauth IS NULL AND subscribe_at IS NOT NULL AND subscribe_at > :now AND subscribe_at <= :horizon LIMIT :most) AS counted) AS soon,
    (SELECT subscribe_at FROM grants WHERE role = 'active' AND reauth IS NULL AND subscribe_at IS NOT NULL AND subscribe_at >= 0 ORDER BY subscribe_at LIMIT 1) AS first
