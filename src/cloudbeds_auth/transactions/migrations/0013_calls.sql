-- Counted calls, apart from the history: a line is added without a lock on a hotel's rows, and lines are merged as they
-- grow older. Lines that an earlier version wrote as events are taken over a few at a time, by upkeep.

-- first_us, last_us: microseconds since 1970 of the first and the last call. span: seconds within which the lines of a
-- generation were merged into this one; 0: as one process counted it, under the name in `line`.
-- The span is before the moment in the key, so that what is merged away leaves whole pages of an index empty.
-- No REFERENCES: it would lock the row of `grants` against a refresh.
CREATE TABLE calls (
    connection_id TEXT NOT NULL,
    span BIGINT NOT NULL,
    first_us BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    line TEXT NOT NULL,
    grant_id TEXT NOT NULL,
    last_us BIGINT NOT NULL,
    count BIGINT NOT NULL,
    refused BIGINT NOT NULL,
    methods TEXT NOT NULL,
    PRIMARY KEY (connection_id, span, first_us, generation, line)
);
CREATE INDEX calls_age ON calls (span, first_us);
