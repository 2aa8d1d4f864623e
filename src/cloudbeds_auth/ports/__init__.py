"""What the rules need from the world, as protocols: every effect of `vault` goes through one of these.

Reading order: `clock` and `entropy` (time and dice), `store` (what rests, and the fences around it), `sealer` (how it
rests), `wakeups` (other processes), `token_endpoint` and `vendor` (what Cloudbeds is asked), `observer` (what is told
to logs and metrics).
Production implements them in `system`, `store`, `wire` and `observe`; a test may implement any of them.
"""
