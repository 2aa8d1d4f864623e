-- Who did what, from which address: written with the act, never changed, deleted when it is as old as histories may be. Ids sort
-- by time. subject: a connection, a key or an app, NULL of none. data is JSON.
CREATE TABLE audit (
    id      TEXT PRIMARY KEY,
    at      DOUBLE PRECISION NOT NULL,
    action  TEXT NOT NULL,
    actor   TEXT NOT NULL,
    subject TEXT,
    address TEXT,
    data    TEXT NOT NULL
);

-- Who made a link, or began an approval: a reference that comes by it is theirs. NULL: made by an earlier version.
ALTER TABLE links ADD COLUMN made_by TEXT;
ALTER TABLE authorizations ADD COLUMN made_by TEXT;
