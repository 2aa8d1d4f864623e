"""Every transaction, with its fence: one text for both databases.

Reading order: `statements` (a transaction is a generator of statements), `migrations/` and `queries/` (the SQL), `rows`
(rows as the model's classes), `grants`, `authorizations`, `connections`, `history` (the transactions).
"""
