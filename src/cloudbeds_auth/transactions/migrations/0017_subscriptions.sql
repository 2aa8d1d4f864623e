-- Webhooks of Cloudbeds that a hotel is subscribed to, when they are compared next with
-- what Cloudbeds lists, and risks.

-- A list of objects: property, event, id at Cloudbeds, whether we made it, why it was refused. Of its address and header
-- only fingerprints.
ALTER TABLE connections ADD COLUMN subscriptions TEXT NOT NULL DEFAULT '[]';
-- An object: what may end or cripple the connection, and why.
ALTER TABLE connections ADD COLUMN risks TEXT NOT NULL DEFAULT '{}';
-- Unix seconds. Only of a grant in use that Cloudbeds does not refuse; those of before now.
ALTER TABLE grants ADD COLUMN subscribe_at DOUBLE PRECISION;
UPDATE grants SET subscribe_at = COALESCE(refreshed_at, received_at) WHERE role = 'active';
CREATE INDEX grants_subscribe ON grants (subscribe_at)
    WHERE role = 'active' AND reauth IS NULL AND subscribe_at IS NOT NULL;
