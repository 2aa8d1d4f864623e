"""`simulate`: the vendor, imitated, with faults on demand; a process of its own."""

from __future__ import annotations

import subprocess
import sys

import click

from cloudbeds_auth import child_process
from cloudbeds_auth.cli.commands import examples, need_server, with_output
from cloudbeds_auth.cli.output import Output
from cloudbeds_auth.cli.reading import read_settings

DEFAULT_PORT = "7001"
CLIENT_ID, CLIENT_SECRET = "simulated-app", "simulated-secret"  # of a made-up app: nothing they open exists
DATABASE_URL = "sqlite:///simulated.sqlite3"
USAGE = 2  # exit status
SECRET_VARIABLE = "SIMULATOR_CLIENT_SECRET"  # of the simulator's own; nothing else that is secret reaches it


@click.command(
    name="simulate",
    short_help="Run a simulated Cloudbeds on 127.0.0.1:7001.",
    context_settings={"ignore_unknown_options": True},
    epilog=examples(
        "cloudbeds-auth simulate",
        "cloudbeds-auth simulate --variant V0/n --hotels 3 --auto-approve",
        "cloudbeds-auth simulate --port 0 --redirect-uri http://localhost:7100/callback",
        "curl -X POST http://127.0.0.1:7001/_control/expire     end every access token now",
    ),
)
@click.argument("options", nargs=-1, type=click.UNPROCESSED, metavar="[SIMULATOR OPTIONS]...")
@with_output
def command(out: Output, options: tuple[str, ...]) -> int:
    """Run a simulated Cloudbeds on 127.0.0.1:7001 until it is stopped; no account is needed.

    All options of `python -m cloudbeds_simulator --help` are taken. It prints the settings to use it with: a made-up
    app, and a database apart from your real one. It is for loopback only: its control API under /_control/ shows
    everything.
    """
    need_server()
    given = _with_defaults(options)
    with subprocess.Popen(  # noqa: S603 - our own module, arguments passed as a list
        [sys.executable, "-m", "cloudbeds_simulator", *given, "--with-parent"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=child_process.environment(SECRET_VARIABLE, SIMULATOR_CALLED="cloudbeds-auth simulate"),
    ) as child:
        assert child.stdout is not None  # noqa: S101 - a pipe was asked for
        for line in child.stdout:
            _say(out, line.strip(), made_up="--client-id" not in {one.partition("=")[0] for one in options})
        status = child.wait()
        return status if status in {0, USAGE} else 1


def _with_defaults(options: tuple[str, ...]) -> list[str]:
    """The options given, with our port and the redirect URI of the settings where none is named."""
    from cloudbeds_auth.settings import Need

    named = {option.partition("=")[0] for option in options}
    given = list(options)
    if not named & {"--port", "--help", "-h"}:
        given += ["--port", DEFAULT_PORT]
    if "--redirect-uri" not in named:
        given += ["--redirect-uri", read_settings(Need.NOTHING).redirect_uri]
    return given


def _say(out: Output, line: str, *, made_up: bool) -> None:
    """The address, and the settings that make this product talk to it."""
    _, listening, url = line.partition("listening on ")
    if not listening:
        out.line(line)
        return
    settings = {"CLOUDBEDS_BASE_URL": url, "CLOUDBEDS_AUTH_DATABASE_URL": DATABASE_URL}
    if made_up:
        settings |= {"CLOUDBEDS_CLIENT_ID": CLIENT_ID, "CLOUDBEDS_CLIENT_SECRET": CLIENT_SECRET}
    if out.as_json:
        out.document({"url": url, "settings": settings})
        return
    out.line(line)
    out.line("to use it, in another terminal:")
    for name, value in settings.items():
        out.line(f"  export {name}={value}")
    out.line("  cloudbeds-auth serve")
