-- Where a credential came from; nothing of it is used at another origin or under another client id.

-- The vendor's origin, and the client id. NULL: from before; the one is bound by the first proof, the other by the first
-- committed refresh.
ALTER TABLE grants ADD COLUMN issuer TEXT;
ALTER TABLE grants ADD COLUMN client_id TEXT;
-- The vendor's origin that an app's client secret is for: that of its first accepted exchange, of its registration here,
-- or of the first proof of any of its grants.
CREATE TABLE issuers (
    app TEXT PRIMARY KEY,
    issuer TEXT NOT NULL,
    bound_at DOUBLE PRECISION NOT NULL
);
