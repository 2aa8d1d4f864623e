-- Which grant of a connection is its current one, the mark by which lists find it, and indexes for lists, searches and
-- counts.

-- Connections, each with its current grant: the one in use, else the newest candidate (or what waits to be claimed), else
-- the disconnected one; null: the only candidate was dropped. What people are shown and which tokens are lent goes by
-- this, and never by the mark.
CREATE VIEW current_grants AS
SELECT c.id, c.app, c.reference, c.active_grant, c.connected_at, c.subscriptions, c.risks, COALESCE(
    (SELECT a.id FROM grants a WHERE a.id = c.active_grant AND a.role <> 'disconnected'),
    (SELECT n.id FROM grants n WHERE n.connection_id = c.id AND n.role IN ('candidate', 'parked', 'set_aside')
        ORDER BY n.ordinal DESC LIMIT 1),
    c.active_grant) AS grant_id FROM connections c;

-- The mark: the app whose lists show the connection by this grant; null: the grant's own; '': none, as it is not the current
-- one. The query `show` writes it. A process of an earlier version does not: what it adds is in the lists of its app, and
-- may be there beside what it replaced.
ALTER TABLE grants ADD COLUMN shown TEXT;
UPDATE grants SET shown = NULLIF(COALESCE(
    (SELECT c.app FROM current_grants c WHERE c.id = grants.connection_id AND c.grant_id = grants.id), ''), app)
WHERE app <> COALESCE(
    (SELECT c.app FROM current_grants c WHERE c.id = grants.connection_id AND c.grant_id = grants.id), '');
CREATE INDEX grants_shown ON grants (state, connection_id, stale_at) WHERE COALESCE(shown, app) <> '';
CREATE INDEX grants_shown_app ON grants (COALESCE(shown, app), state, connection_id, stale_at)
    WHERE COALESCE(shown, app) <> '';
-- By its cohort (rules.origins): the app of the connection, that of the grant, the kind of credential, where it came from.
CREATE INDEX grants_cohort ON grants (
    (COALESCE(shown, app) || ' ' || app || ' ' || kind || ' ' || COALESCE(issuer, '') || ' ' || COALESCE(client_id, '')),
    state, connection_id, stale_at
) WHERE COALESCE(shown, app) <> '';
-- What a person is told of connections that serve: calls that are refused, and a move to an API key.
CREATE INDEX grants_problem ON grants (connection_id)
    WHERE COALESCE(shown, app) <> '' AND state || '' = 'fresh' AND (problem IS NOT NULL OR migration IS NOT NULL);
CREATE INDEX grants_app ON grants (app, id);

CREATE INDEX connections_app ON connections (app, id);
DROP INDEX connections_reference;
CREATE INDEX connections_reference ON connections (reference, id);
CREATE INDEX connections_unproven ON connections (id) WHERE active_grant IS NULL;
CREATE INDEX connections_risks ON connections (id) WHERE risks <> '{}';

CREATE INDEX apps_created ON apps (created_at);
CREATE INDEX authorizations_outcome ON authorizations (outcome) WHERE outcome IS NOT NULL;
CREATE INDEX outbox_waiting ON outbox (at) WHERE due_at IS NOT NULL;
CREATE INDEX outbox_untried ON outbox (at) WHERE attempts = 0;
CREATE INDEX outbox_given_up ON outbox (at DESC, id) WHERE due_at IS NULL;
