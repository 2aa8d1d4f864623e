"""Where the pair is stored: sealed, in one SQL database, under fences.

Reading order: `sealing` and `key_files` (how a secret is stored), `driver` (what a database must be able to do),
`sqlite` and `durability`, `postgres`, `store` (the port), `opening` (all of it together).
"""
