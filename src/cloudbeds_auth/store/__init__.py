"""Where the pair rests: sealed, in one SQL database, under fences.

Reading order: `sealing` and `keys` (how a secret rests), then `sql` (the transactions and the drivers under them).
"""
