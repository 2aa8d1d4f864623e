"""Where the pair is stored: sealed, in one SQL database, under fences.

Reading order: `sealing` and `key_files` (how a secret is stored), `driver` (how a transaction is executed),
`sqlite` and `durability`, `postgres`, `opening` (all of it together).
"""
