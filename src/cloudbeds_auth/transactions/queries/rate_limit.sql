-- The vendor's rate limit, a row for each client id.

-- name: set_budget
INSERT INTO budgets (client_id, given, closed_until, spaced_until, measured_at, started)
VALUES (:client_id, :given, :closed_until, :spaced_until, :now, :started)
ON CONFLICT (client_id) DO UPDATE SET given = excluded.given, closed_until = excluded.closed_until,
    spaced_until = excluded.spaced_until, measured_at = excluded.measured_at, started = excluded.started

-- name: stored_budget
-- Only looked at: `budget` makes the row, or locks it.
SELECT * FROM budgets WHERE client_id = :client_id
