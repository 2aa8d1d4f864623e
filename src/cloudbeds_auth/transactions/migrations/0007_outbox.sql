-- Webhooks out: messages that were not delivered yet, written in the transaction that changes the connection.

CREATE TABLE outbox (
    id TEXT PRIMARY KEY,
    connection_id TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    kind TEXT NOT NULL,
    at DOUBLE PRECISION NOT NULL,
    body TEXT NOT NULL,
    attempts BIGINT NOT NULL DEFAULT 0,
    due_at DOUBLE PRECISION,
    problem TEXT
);
-- due_at: unix seconds; NULL: given up, and kept for people to see.
CREATE INDEX outbox_due ON outbox (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX outbox_at ON outbox (at);
