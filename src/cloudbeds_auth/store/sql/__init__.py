"""One set of queries over thin drivers.

Reading order: `transactions` (a transaction is a generator of statements), `migrations/` and `queries/` (the SQL),
`rows` (rows as nouns), `grants`, `authorizations`, `connections`, `calls`, `history` (the transactions), `store` (the
port), `driver` (what a database must be able to do), `sqlite` and `durability` (SQLite).
"""
