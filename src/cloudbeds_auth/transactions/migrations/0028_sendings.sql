-- What the rows of grants did not say about sendings.

-- When the newest sending began of which nobody has seen the answer, and of which nothing else is left in the row: seconds of
-- the clock named by clock_id, as intent_at. And under which generation; NULL: a later one is proven, and no refresh asks
-- about it any more.
ALTER TABLE grants ADD COLUMN unresolved_at DOUBLE PRECISION;
ALTER TABLE grants ADD COLUMN unresolved_generation BIGINT;

-- The grant whose refresh token was exchanged for this key; NULL: it came otherwise.
ALTER TABLE grants ADD COLUMN exchanged_from TEXT;
