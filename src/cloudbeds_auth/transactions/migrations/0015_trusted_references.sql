-- From whom a connection's reference came, and how many approvals may wait to come back.

-- 1: by a link, a claim, an import or a program; 0: by an address that anybody may have made. What was there before is kept
-- as trusted: a trusted way may still change it.
ALTER TABLE connections ADD COLUMN reference_trusted SMALLINT NOT NULL DEFAULT 1;
ALTER TABLE authorizations ADD COLUMN trusted SMALLINT NOT NULL DEFAULT 0;
UPDATE authorizations SET trusted = 1 WHERE link_hash IS NOT NULL OR browser_hash IS NULL;

-- Those that wait are counted before one more begins, and deleted when their time is over.
CREATE INDEX authorizations_pending ON authorizations (expires_at) WHERE spent_at IS NULL;
CREATE INDEX authorizations_link ON authorizations (link_hash) WHERE link_hash IS NOT NULL;
CREATE INDEX links_expiry ON links (expires_at);
