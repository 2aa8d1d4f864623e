-- A mark is not the end: a marked grant is tried again, and what stands in the way of a mark is counted.

-- Unix seconds: when a grant was marked, when it is tried again, and until when the mark waits because several hotels of
-- one app would be marked; and how many retries were refused.
ALTER TABLE grants ADD COLUMN marked_at DOUBLE PRECISION;
ALTER TABLE grants ADD COLUMN retry_at DOUBLE PRECISION;
ALTER TABLE grants ADD COLUMN retries BIGINT NOT NULL DEFAULT 0;
ALTER TABLE grants ADD COLUMN mark_after DOUBLE PRECISION;
-- How often every refresh token was refused while the access token worked.
ALTER TABLE grants ADD COLUMN reprieves BIGINT NOT NULL DEFAULT 0;
-- Pairs in a row whose proof was answered 401; steady seconds until a 401 may cause another refresh.
ALTER TABLE grants ADD COLUMN denied BIGINT NOT NULL DEFAULT 0;
ALTER TABLE grants ADD COLUMN brake_until DOUBLE PRECISION;
-- The refusal in words that are in no table, and the unix second since when it has been the same one.
ALTER TABLE grants ADD COLUMN unrecognized TEXT;
ALTER TABLE grants ADD COLUMN unrecognized_at DOUBLE PRECISION;
-- Unix seconds when Cloudbeds said, of a token that may work all the same, that the app is disabled.
ALTER TABLE grants ADD COLUMN disabled_at DOUBLE PRECISION;

-- Marks of before are tried from now on, too: the newest line of history is the best clock that SQL has here.
UPDATE grants SET marked_at = COALESCE((SELECT MAX(e.at) FROM events e), received_at)
WHERE reauth IS NOT NULL AND role IN ('active', 'candidate');
UPDATE grants SET retry_at = marked_at, due_at = NULL WHERE marked_at IS NOT NULL;
CREATE INDEX grants_marked ON grants (app, marked_at) WHERE marked_at IS NOT NULL;
CREATE INDEX grants_retry ON grants (retry_at) WHERE retry_at IS NOT NULL;
