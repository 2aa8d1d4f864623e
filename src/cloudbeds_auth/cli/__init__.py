"""The command line: `cloudbeds-auth`.

Reading order: `main` (the root: finds commands, turns every ending into an exit status), `output` (the one place that
prints, with `tables` and `progress`), `commands` (what all commands share), then the commands: `setup`, `doctor`,
`serve` (and `simulate`), `connect`, `connections` (with `watch`, `fleet`, `import_command`, `import_reader`,
`add_key`), `apps`, `keys`, `sign_in`, `audit`, `call` (and `access-token`), `database`, `completion`, and `demo` (with
`demo_journey`, `demo_stage`, `pair_picture`).

Heavy imports stay inside the functions that need them: `--version` imports only Click, and `--help` also what commands
are declared with.
"""

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


def examples(*lines: str) -> str:
    """An epilog of examples that Click does not rewrap."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
