"""Keeps the pair fresh and lends it out; every effect goes through a port.

Reading order: `context` (the ports together), `connection_ids` (which hotel is meant), `access` (who wants a token),
`memory` and `outage` (what serves without the store, and from when on), `refresh` (the protocol: lease, intent, send,
commit, prove), `client_secrets` (those that Cloudbeds refuses), `authorize` and `candidates` (how a grant comes in),
`history` (what each token carried), `tasks` (what is in hand), `jobs` (what no caller waits for), `rate_limiter` (whose
turn it is at Cloudbeds), `refused_calls` (what they say of a grant), `views` and `refused_cohorts` (what
people see), `disconnect` (leaving), `caller_keys` and `sessions` (who asks: programs, and operators in a browser),
`wiring` (all of it put together).
"""
