-- The first schema. Types are those that SQLite and PostgreSQL both read.
-- Columns of moments that people see are unix seconds; lease_until, not_before, intent_at, first_refused and trial_at
-- are seconds of the store's own steady clock, whose name rests in clock_id: on another clock they mean nothing.

CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE connections (
    id TEXT PRIMARY KEY,
    app TEXT NOT NULL,
    reference TEXT,
    active_grant TEXT,
    sequence BIGINT NOT NULL DEFAULT 0,
    created_at DOUBLE PRECISION NOT NULL,
    connected_at DOUBLE PRECISION
);
CREATE INDEX connections_reference ON connections (reference);

CREATE TABLE grants (
    id TEXT PRIMARY KEY,
    connection_id TEXT NOT NULL REFERENCES connections (id),
    app TEXT NOT NULL,
    ordinal BIGINT NOT NULL,
    kind TEXT NOT NULL,
    role TEXT NOT NULL,
    state TEXT NOT NULL,
    generation BIGINT NOT NULL,
    access_sealed BYTEA,
    expires_at DOUBLE PRECISION NOT NULL,
    lifetime DOUBLE PRECISION NOT NULL,
    stale_at DOUBLE PRECISION NOT NULL,
    proven SMALLINT NOT NULL DEFAULT 0,
    lease_owner TEXT,
    lease_epoch BIGINT NOT NULL DEFAULT 0,
    lease_until DOUBLE PRECISION,
    intent_position BIGINT,
    intent_epoch BIGINT,
    intent_at DOUBLE PRECISION,
    committed_epoch BIGINT,
    not_before DOUBLE PRECISION,
    attempts BIGINT NOT NULL DEFAULT 0,
    refusals BIGINT NOT NULL DEFAULT 0,
    first_refused DOUBLE PRECISION,
    first_reason TEXT,
    reauth TEXT,
    latched SMALLINT NOT NULL DEFAULT 0,
    problem TEXT,
    clock_id TEXT NOT NULL,
    property_ids TEXT NOT NULL DEFAULT '[]',
    scopes TEXT NOT NULL DEFAULT '[]',
    user_id TEXT,
    user_name TEXT,
    user_email TEXT,
    received_at DOUBLE PRECISION NOT NULL,
    refreshed_at DOUBLE PRECISION,
    used_at DOUBLE PRECISION
);
CREATE INDEX grants_connection ON grants (connection_id, ordinal);

CREATE TABLE tokens (
    grant_id TEXT NOT NULL REFERENCES grants (id),
    position BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    sealed BYTEA NOT NULL,
    PRIMARY KEY (grant_id, position)
);

CREATE TABLE properties (
    grant_id TEXT NOT NULL REFERENCES grants (id),
    property_id TEXT NOT NULL,
    PRIMARY KEY (grant_id, property_id)
);
CREATE INDEX properties_property ON properties (property_id);

CREATE TABLE links (
    hash TEXT PRIMARY KEY,
    app TEXT NOT NULL,
    reference TEXT,
    return_to TEXT,
    connection_id TEXT,
    expires_at DOUBLE PRECISION NOT NULL,
    used_at DOUBLE PRECISION
);

CREATE TABLE authorizations (
    id TEXT PRIMARY KEY,
    app TEXT NOT NULL,
    state_hash TEXT NOT NULL UNIQUE,
    browser_hash TEXT,
    link_hash TEXT,
    reference TEXT,
    return_to TEXT,
    connection_id TEXT,
    expires_at DOUBLE PRECISION NOT NULL,
    spent_at DOUBLE PRECISION,
    code_hash TEXT,
    outcome TEXT
);
CREATE INDEX authorizations_expiry ON authorizations (expires_at);

CREATE TABLE circuits (
    app TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    trial_at DOUBLE PRECISION NOT NULL,
    clock_id TEXT NOT NULL,
    PRIMARY KEY (app, fingerprint)
);

CREATE TABLE events (
    connection_id TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    at DOUBLE PRECISION NOT NULL,
    kind TEXT NOT NULL,
    actor TEXT NOT NULL,
    grant_id TEXT,
    generation BIGINT,
    data TEXT NOT NULL,
    PRIMARY KEY (connection_id, sequence)
);
