-- Whose approval is expected, and which secret finishes it.

-- A list of property ids; null: any. `challenge`: the hash of the secret (RFC 7636, S256).
ALTER TABLE links ADD COLUMN expected_properties TEXT;
ALTER TABLE links ADD COLUMN challenge TEXT;
ALTER TABLE authorizations ADD COLUMN expected_properties TEXT;
ALTER TABLE authorizations ADD COLUMN challenge TEXT;
-- What Cloudbeds named, once it was compared with what is expected.
ALTER TABLE authorizations ADD COLUMN found_properties TEXT;

-- The approval that a grant came by, until that comparison: it says what is expected, and what follows.
ALTER TABLE grants ADD COLUMN authorization_id TEXT;
CREATE INDEX grants_authorization ON grants (authorization_id) WHERE authorization_id IS NOT NULL;
