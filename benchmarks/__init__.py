"""What it costs to use cloudbeds-auth, beside what people use instead: `make bench`, one page, one machine.

Reading order: `measure` (how), `programs`, `proxy`, `service`, `fleet` (what), `stage` (the processes that are
measured), `copies` and `hotels` (databases with many hotels), `herds`, `cold` and `upkeep` (what is done to these),
`children` (programs that are measured from inside), `peers` (programs of others), `page` and `notes`
(docs/benchmarks.md). Beside them `scale`, which is `make scale`, and two programs that are run by hand, with the tests'
set-up: `history_size` and `lease_wait`.
"""
