"""The store port over dictionaries: the contract of `ports.store`, readable in a minute.

For tests and the simulation, where it is the twin that the SQL store is compared with; nothing rests when the process
ends. Reading order: `rows` (what is kept), `grants` (lease, intent, commit, proof, refusal), `authorizations` and
`importing` (coming in), `keys` (the move to an API key), `connections` (looking and leaving), `upkeep` (what is due,
whose turn), `retention` (what is forgotten), `store`.
"""
