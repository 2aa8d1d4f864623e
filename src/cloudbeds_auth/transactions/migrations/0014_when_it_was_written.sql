-- When a moment that lies ahead was written, by the same clock: a clock that shows less was set back since (a failover to
-- a host that lags), and the moment counts from when that is noticed.

-- Of lease_until, not_before, brake_until, intent_at and first_refused, of trial_at, of arrival: seconds of the clock named
-- clock_id.
ALTER TABLE grants ADD COLUMN measured_at DOUBLE PRECISION;
ALTER TABLE circuits ADD COLUMN measured_at DOUBLE PRECISION;
ALTER TABLE budgets ADD COLUMN measured_at DOUBLE PRECISION;

-- Of due_at and retry_at: unix seconds. The indexes find those that were written later than now.
ALTER TABLE grants ADD COLUMN due_from DOUBLE PRECISION;
CREATE INDEX grants_due_from ON grants (due_from) WHERE due_at IS NOT NULL OR retry_at IS NOT NULL;
ALTER TABLE outbox ADD COLUMN due_from DOUBLE PRECISION;
CREATE INDEX outbox_due_from ON outbox (due_from) WHERE due_at IS NOT NULL;
