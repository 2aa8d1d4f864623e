"""What the rules need from the world, as protocols: every effect of `vault` goes through one of these.

Reading order: `clock` and `entropy` (time and dice), `sealer` (how secrets are stored), `wakeups` (other processes),
`token_endpoint`, `vendor` and `upstream` (what Cloudbeds is asked), `webhooks` (messages to a receiver), `observer`
(what is reported to logs and metrics). The port of the database is `transactions.runner.Driver`.
Production implements them in `system`, `database`, `wire` and `observe`; a test may implement any of them.
"""
