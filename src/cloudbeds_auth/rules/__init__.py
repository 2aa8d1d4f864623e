"""What may happen: pure rules, no clock, no dice, no network, no disk.

Reading order: `secret` (what may never be printed), `model` (what there is), `lifecycle` (the table of states),
`token_response` and `api_errors` (what Cloudbeds answered), `refresh` (what to do about it), `auth_flow` (a call and
its 401s), `rate_limit` (whose turn it is), `schedule` (when a grant is due), `history` (what was counted, and where a
reader is), `timeline` and `pair_drawing` (the picture of a history), `event_words` (what a line of it says to people),
`documents` (the JSON of all that), `permissions` (who may do what), `happenings` (what logs and metrics show),
`presentation` and `hotel_words` (what people read, operators and hotels).
"""
