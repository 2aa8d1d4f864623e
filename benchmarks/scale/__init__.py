"""How it goes with a thousand, a hundred thousand and a million hotels, over both databases: `make scale`, one page.

Everything is done as users do it, by commands and over HTTP, and each command has its patience: what is not done by
then is on the page as such. All of it is made in temporary folders that are gone at the end, however it ends.

Reading order: `rows` (what is measured, how it was before, and the aims), `place` (a database, commands and services
over it), `fill` (very many hotels), `commands`, `serving`, `jobs` and `accidents` (what is done to them), `calls`
(callers meanwhile), `page` (docs/scale.md).
"""
