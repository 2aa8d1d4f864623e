"""What may happen: pure rules, no clock, no dice, no network, no disk.

Reading order: `secret` (what may never be printed), `nouns` (what there is), `lifecycle` (the table of states),
`answers` and `refusals` (what the vendor said), `refresh` (what to do about it), `heal` (a 401 on a call),
`budget` and `lines` (whose turn it is), `calls` (what was counted), `history` (where a reader of one is), `pairs` (the
picture of a history), `shapes` (the JSON of all that), `callers` (who may do what).
"""
