-- Requests a second to Cloudbeds for a key and those that it made; NULL: as the client id allows.
ALTER TABLE caller_keys ADD COLUMN rate DOUBLE PRECISION;
