"""Pure rules: no clock, no randomness, no network, no disk.

Reading order: `secret` (values that are never printed), `model` (the data classes), `lifecycle` (the table of states),
`token_response` and `api_errors` (what Cloudbeds answered), `refresh` (what to do about it), `auth_flow` (a call and
its 401s), `rate_limit` (whose turn it is), `schedule` (when a grant is due), `history` (counted calls, and cursors),
`timeline` and `pair_drawing` (the picture of a history), `event_words` (an event in words), `documents` (the JSON of
all that), `permissions` (who may do what), `happenings` (what logs and metrics show), `presentation` and `hotel_words`
(what operators and hotels read).
"""
