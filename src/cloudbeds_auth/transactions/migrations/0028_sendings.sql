-- When the newest sending began of which nobody has seen the answer, and of which nothing else is left in the row.

-- Seconds of the clock named by clock_id, as intent_at.
ALTER TABLE grants ADD COLUMN unresolved_at DOUBLE PRECISION;

-- The grant whose refresh token was exchanged for this key; NULL: it came otherwise.
ALTER TABLE grants ADD COLUMN exchanged_from TEXT;
