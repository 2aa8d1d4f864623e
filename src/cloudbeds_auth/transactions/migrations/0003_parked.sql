-- Approvals that a hotel began in the Marketplace: nobody's until they are claimed.

ALTER TABLE authorizations ADD COLUMN parked SMALLINT NOT NULL DEFAULT 0;
CREATE INDEX grants_parked ON grants (received_at) WHERE role = 'parked';
