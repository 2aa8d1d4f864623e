"""The command line: `cloudbeds-auth`, one module per command group.

Reading order: `main` (the root: finds commands, turns every ending into an exit status), `output` (the one place that
prints), `commands` (what all commands share), `vaults` (opening a vault for one command), then the commands:
`setup`, `serve`, `simulate`, `connect` (with `listener`), `connections`, `call`, `access_token`, `doctor`, and `demo`
(with `demo_steps`, `demo_browser`, `demo_simulator`, `processes`, `picture`).

Heavy imports stay inside the functions that need them: `--help` and `access-token` start fast.
"""
