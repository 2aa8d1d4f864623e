"""The command line: `cloudbeds-auth`.

Reading order: `main` (the root: finds commands, turns every ending into an exit status), `output` (the one place that
prints), `commands` (what all commands share), then the commands: `setup` (and `doctor`), `serve` (and `simulate`),
`connect`, `connections` (with `fleet`, `import_command`, `import_reader`), `apps`, `call` (and `access-token`),
`database`, and `demo` (with `demo_journey`, `demo_stage`).

Heavy imports stay inside the functions that need them: `--help` and `access-token` start fast.
"""
