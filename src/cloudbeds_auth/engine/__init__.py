"""Keeps the pair fresh and lends it out; every effect goes through a port.

Reading order: `context` (the ports together), `connection_ids` (which hotel is meant), `access` (tokens for callers),
`memory` and `outage` (what serves without the store, and when), `refresh` (the protocol: lease, intent, send, commit,
prove), `client_secrets` (those that Cloudbeds refuses), `authorize` and `candidates` (new grants), `history` (what each
token carried), `tasks` (running work), `jobs` (what no caller waits for), `rate_limiter` (turns at Cloudbeds),
`refused_calls` (what they say about a grant), `views` and `refused_cohorts` (what people see), `disconnect` (the end of
a connection), `caller_keys` and `sessions` (who is calling: programs, and operators in a browser), `wiring` (all of it
put together).
"""
