"""`serve`: the service, in the foreground."""

from __future__ import annotations

import os
import signal
import threading

import click

from cloudbeds_auth.cli.commands import examples, need_server, with_output
from cloudbeds_auth.cli.output import Output


@click.command(
    name="serve",
    short_help="Run the service.",
    epilog=examples(
        "cloudbeds-auth serve",
        "CLOUDBEDS_AUTH_PORT=7100 cloudbeds-auth serve",
        "cloudbeds-auth serve --reload     restart when code changes, while developing",
    ),
)
@click.option("--reload", is_flag=True, help="Restart when code changes; for development.")
@click.option("--with-parent", is_flag=True, hidden=True, help="Stop when standard input closes.")
@with_output
def command(out: Output, reload: bool, with_parent: bool) -> None:
    """Run the service until it is stopped; a refresh that runs is finished first.

    It listens on CLOUDBEDS_AUTH_HOST and CLOUDBEDS_AUTH_PORT (127.0.0.1:7000). With --json its log is JSON lines.
    """
    from cloudbeds_auth.settings import load_from_environment

    if out.as_json:
        os.environ["CLOUDBEDS_AUTH_LOG_FORMAT"] = "json"  # workers read the settings from their environment too
    settings = load_from_environment()
    if with_parent:
        threading.Thread(target=_stop_with_parent, daemon=True).start()
    need_server()
    from cloudbeds_auth.app.server import serve

    serve(settings, reload=reload)


def _stop_with_parent() -> None:
    """Stop gracefully when whoever started us is gone: its end of our standard input closes with it."""
    # On the bare descriptor: a thread waiting inside sys.stdin would break the interpreter's exit.
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
