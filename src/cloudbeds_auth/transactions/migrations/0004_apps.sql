-- Further registrations at Cloudbeds, beside the settings' own: a property-level hotel brings its own.

-- Each sealed secret belongs to the generation that it came with; the one before a reset is of the generation before.
CREATE TABLE apps (
    name TEXT PRIMARY KEY,
    client_id TEXT NOT NULL UNIQUE,
    level TEXT NOT NULL,
    redirect_uri TEXT NOT NULL,
    redirect_path TEXT NOT NULL UNIQUE,
    scopes TEXT NOT NULL DEFAULT '[]',
    credential TEXT NOT NULL DEFAULT 'oauth',
    generation BIGINT NOT NULL DEFAULT 1,
    secret_sealed BYTEA NOT NULL,
    previous_sealed BYTEA,
    created_at DOUBLE PRECISION NOT NULL,
    rotated_at DOUBLE PRECISION
);
