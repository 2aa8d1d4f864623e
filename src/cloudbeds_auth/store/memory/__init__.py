"""The store port over dictionaries: the contract of `ports.store`, readable in a minute.

For tests and the simulation, where it is the twin that the SQL store is compared with; nothing rests when the process
ends. Reading order: `tables` (what is kept), `rows` (how it looks), `shelf`, `grants` (lease, intent, commit, proof,
refusal), `authorizations`, `returning` and `importing` (coming in), `keys` (the move to an API key), `connections`
(looking and leaving), `upkeep` (what is due, whose turn), `groups`, `retention` (what is forgotten), `store`.
"""
