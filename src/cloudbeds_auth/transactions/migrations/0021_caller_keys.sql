-- Keys for callers of the service. Only a hash of each is stored; its public id finds the row. reach, methods and scopes are
-- JSON; NULL in reach and methods: no bound. A child (parent) ends with its parent. used_at is a minute, as precise as it is
-- worth a write.
CREATE TABLE caller_keys (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    hash       TEXT NOT NULL,
    scopes     TEXT NOT NULL,
    reach      TEXT,
    read_only  INTEGER NOT NULL,
    methods    TEXT,
    parent     TEXT,
    created_by TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    expires_at DOUBLE PRECISION,
    ended_at   DOUBLE PRECISION,
    used_at    DOUBLE PRECISION,
    used_from  TEXT
);
CREATE INDEX caller_keys_by_parent ON caller_keys (parent, id);
