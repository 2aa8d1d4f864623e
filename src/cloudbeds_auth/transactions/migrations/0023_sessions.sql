-- Sign-in of operators in a browser. Of one-time codes and of sessions only hashes are stored, and the public id of a session
-- finds its row. how: by a link, or by the admin token. ended_at: by hand; else a session ends by expires_at, or idle.
CREATE TABLE sign_in_codes (
    hash       TEXT PRIMARY KEY,
    made_by    TEXT NOT NULL,
    expires_at DOUBLE PRECISION NOT NULL,
    used_at    DOUBLE PRECISION
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
    ended_at   DOUBLE PRECISION
);
CREATE INDEX sessions_expires ON sessions (expires_at);
