-- The turns of a client id in a sliding window, in place of one theoretical arrival time. given: a JSON list of the moments
-- of the last window and of those to come. No turn is given before closed_until; until spaced_until they are spaced evenly.
-- All in seconds of the store's steady clock. started: under which start of the machine, or of the PostgreSQL server, they
-- were written. What was written before this migration has no known start: one window is waited out.
ALTER TABLE budgets ADD COLUMN given TEXT NOT NULL DEFAULT '[]';
ALTER TABLE budgets ADD COLUMN closed_until DOUBLE PRECISION NOT NULL DEFAULT 0;
ALTER TABLE budgets ADD COLUMN spaced_until DOUBLE PRECISION NOT NULL DEFAULT 0;
ALTER TABLE budgets DROP COLUMN arrival;
ALTER TABLE budgets RENAME COLUMN clock_id TO started;
UPDATE budgets SET started = '';
