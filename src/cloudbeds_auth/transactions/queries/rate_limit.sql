-- The vendor's rate limit, a row for each client id.

-- name: set_budget
INSERT INTO budgets (client_id, arrival, measured_at, clock_id) VALUES (:client_id, :arrival, :now, :clock_id)
ON CONFLICT (client_id) DO UPDATE SET arrival = excluded.arrival, measured_at = excluded.measured_at,
    clock_id = excluded.clock_id
