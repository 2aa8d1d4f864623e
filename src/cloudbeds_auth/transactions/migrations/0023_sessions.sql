-- Sign-in of operators in a browser. Of one-time codes and of sessions only hashes are stored, and the public id of a session
-- finds its row. how: by a link, or by the admin token. A code that is used and a session that is ended are deleted: the audit
-- has when. mac: as in 0026.
CREATE TABLE sign_in_codes (
    hash       TEXT PRIMARY KEY,
    made_by    TEXT NOT NULL,
    expires_at DOUBLE PRECISION NOT NULL,
    mac        TEXT NOT NULL
);
CREATE INDEX sign_in_codes_expires ON sign_in_codes (expires_at);
CREATE TABLE sessions (
    id         TEXT PRIMARY KEY,
    hash       TEXT NOT NULL,
    how        TEXT NOT NULL,
    address    TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    used_at    DOUBLE PRECISION NOT NULL,
    expires_at DOUBLE PRECISION NOT NULL,
    mac        TEXT NOT NULL
);
CREATE INDEX sessions_expires ON sessions (expires_at);
