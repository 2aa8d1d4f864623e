"""Keeps the pair fresh and lends it out; every effect goes through a port.

Reading order: `world` (the ports together), `access` (who wants a token), `refresh` (the protocol: lease, intent,
send, commit, prove), `circuit` (refused client secrets), `authorize` and `candidates` (how a grant comes in),
`calls` (what each token carried), `upkeep` (what nobody waits for), `budget`, `turns` and `call_budget` (whose turn it
is at the vendor), `health` (what refused calls tell), `look` (what people see), `disconnect` (leaving).
"""
