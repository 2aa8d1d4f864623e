-- Which grant of a connection people see, and indexes for lists, searches and counts.

-- 1: this one; at most one of a connection is. Transactions write it with the query `show`, which says which one.
ALTER TABLE grants ADD COLUMN shown SMALLINT NOT NULL DEFAULT 0;
UPDATE grants SET shown = 1 WHERE id IN (SELECT COALESCE(
    (SELECT a.id FROM grants a WHERE a.id = c.active_grant AND a.role <> 'disconnected'),
    (SELECT n.id FROM grants n WHERE n.connection_id = c.id AND n.role IN ('candidate', 'parked', 'set_aside') ORDER BY n.ordinal DESC LIMIT 1),
    c.active_grant) FROM connections c);
CREATE INDEX grants_shown ON grants (state, connection_id, stale_at, app) WHERE shown = 1;
-- By its cohort (rules.origins): the app, the kind of credential, where it came from.
CREATE INDEX grants_cohort ON grants (
    (app || ' ' || kind || ' ' || COALESCE(issuer, '') || ' ' || COALESCE(client_id, '')), connection_id
) WHERE shown = 1 AND state <> 'disconnected' AND state <> 'superseded';
-- What a person is told of connections that serve: calls that are refused, and a move to an API key.
CREATE INDEX grants_problem ON grants (connection_id)
    WHERE shown = 1 AND state || '' = 'fresh' AND (problem IS NOT NULL OR migration IS NOT NULL);

CREATE INDEX connections_app ON connections (app, id);
DROP INDEX connections_reference;
CREATE INDEX connections_reference ON connections (reference, id);
CREATE INDEX connections_unproven ON connections (id) WHERE active_grant IS NULL;
CREATE INDEX connections_risks ON connections (id) WHERE risks <> '{}';

CREATE INDEX authorizations_outcome ON authorizations (outcome) WHERE outcome IS NOT NULL;
CREATE INDEX outbox_waiting ON outbox (at) WHERE due_at IS NOT NULL;
CREATE INDEX outbox_untried ON outbox (at) WHERE attempts = 0;
CREATE INDEX outbox_given_up ON outbox (at DESC, id) WHERE due_at IS NULL;
