"""Where token pairs are stored: sealed, in one SQL database, with fenced writes.

Reading order: `sealing` and `key_files` (how a secret is stored), `sqlite` and `durability`, `postgres`
(how a transaction is executed), `opening` (all of it together), `maintenance` (what commands do to all of it),
`sealed_values` and `rekey` (changing the key).
"""
