"""Processes in the foreground: `serve` runs the service, `simulate` an imitated vendor with faults on demand."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from typing import Final

import click

from cloudbeds_auth import child_process
from cloudbeds_auth.cli.commands import command, database_exists, need_server, read_settings
from cloudbeds_auth.cli.output import Output

log: Final = logging.getLogger(__name__)

SIMULATOR_PORT = "7001"
CLIENT_ID, CLIENT_SECRET = "simulated-app", "simulated-secret"  # of a made-up app: they give access to nothing real
DATABASE_URL = "sqlite:///simulated.sqlite3"
USAGE = 2  # exit status
SECRET_VARIABLE = "SIMULATOR_CLIENT_SECRET"  # the simulator's own; it gets no other secret


@command(
    "serve",
    "cloudbeds-auth serve",
    "CLOUDBEDS_AUTH_PORT=7100 cloudbeds-auth serve",
    "cloudbeds-auth serve --reload     restart when code changes, for development",
    short_help="Run the service.",
)
@click.option("--reload", is_flag=True, help="Restart when code changes; for development.")
@click.option("--with-parent", is_flag=True, hidden=True, help="Stop when standard input closes.")
def serve(out: Output, reload: bool, with_parent: bool) -> None:
    """Run the service until it is stopped; a running refresh is finished first.

    It listens on CLOUDBEDS_AUTH_HOST and CLOUDBEDS_AUTH_PORT (127.0.0.1:7000). With --json it logs JSON lines.
    """
    from cloudbeds_auth import observe
    from cloudbeds_auth.doctor.installation import leads_elsewhere
    from cloudbeds_auth.rules.happenings import Happening
    from cloudbeds_auth.settings import load_from_environment

    if out.as_json:
        os.environ["CLOUDBEDS_AUTH_LOG_FORMAT"] = "json"  # workers read the settings from their environment too
    settings = load_from_environment()
    if with_parent:
        threading.Thread(target=_stop_with_parent, daemon=True).start()
    need_server()
    from cloudbeds_auth.app import server

    observe.configure(settings.log_format, settings.log_level)
    for found in leads_elsewhere(settings) if settings.port else ():
        observe.LogObserver().happened(Happening.SETTINGS_WARNING, warning=f"{found.what}; {found.mend}")
    if not database_exists(settings):  # a mistyped path or an unmounted volume looks like a first start
        log.info("there is no database at %s: an empty one is created", settings.database_path.absolute())
    server.serve(settings, reload=reload)


def _stop_with_parent() -> None:
    """Stop gracefully when the parent process is gone: its end of our standard input is closed then."""
    # On the bare descriptor: a thread waiting inside sys.stdin would break the interpreter's exit.
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


@command(
    "simulate",
    "cloudbeds-auth simulate",
    "cloudbeds-auth simulate --variant V0/n --hotels 3 --auto-approve",
    "cloudbeds-auth simulate --port 0 --redirect-uri http://localhost:7100/callback",
    "curl -X POST http://127.0.0.1:7001/_control/expire     end every access token now",
    short_help="Run a simulated Cloudbeds on 127.0.0.1:7001.",
    context_settings={"ignore_unknown_options": True},
)
@click.argument("options", nargs=-1, type=click.UNPROCESSED, metavar="[SIMULATOR OPTIONS]...")
def simulate(out: Output, options: tuple[str, ...]) -> int:
    """Run a simulated Cloudbeds on 127.0.0.1:7001 until it is stopped; no account is needed.

    It accepts all options of `python -m cloudbeds_simulator --help`, and prints the settings to use it with: a made-up
    app, and a database separate from your real one. Its first page explains how to use it; its glass box shows
    everything live. It is for loopback only.
    """
    need_server()
    named = {option.partition("=")[0] for option in options}
    with subprocess.Popen(  # noqa: S603 - our own module, arguments passed as a list
        [sys.executable, "-m", "cloudbeds_simulator", *options, *_defaults(named), "--with-parent"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=child_process.environment(SECRET_VARIABLE, SIMULATOR_CALLED="cloudbeds-auth simulate"),
    ) as child:
        assert child.stdout is not None  # noqa: S101 - a pipe was asked for
        former = signal.signal(signal.SIGTERM, lambda *_: child.terminate())  # it ends with 0, and then this does
        for line in child.stdout:
            _say(out, line.strip(), made_up="--client-id" not in named)
        status = child.wait()
        signal.signal(signal.SIGTERM, former)
        return status if status in {0, USAGE} else 1


def _defaults(named: set[str]) -> list[str]:
    """Options that were not given: our port, and the redirect URI if the settings have one."""
    from cloudbeds_auth.settings import Need

    given = [] if named & {"--port", "--help", "-h"} else ["--port", SIMULATOR_PORT]
    settings = read_settings(Need.NOTHING)
    if "--redirect-uri" in named or "redirect_uri" not in settings.model_fields_set:
        return given
    return [*given, "--redirect-uri", settings.redirect_uri]


def _say(out: Output, line: str, *, made_up: bool) -> None:
    """Show the simulator's output; after its address, also the settings that make this product use it."""
    out.line(line)
    _, listening, url = line.partition("listening on ")
    if not listening:
        return
    settings = {"CLOUDBEDS_BASE_URL": url, "CLOUDBEDS_AUTH_DATABASE_URL": DATABASE_URL}
    if made_up:
        settings |= {"CLOUDBEDS_CLIENT_ID": CLIENT_ID, "CLOUDBEDS_CLIENT_SECRET": CLIENT_SECRET}
    out.document({"url": url, "settings": settings})
    out.line("to use it, in another terminal:")
    for name, value in settings.items():
        out.line(f"  export {name}={value}")
    out.line("  cloudbeds-auth serve")
    out.line(f"to watch it, in a browser: {url}/glass-box")
