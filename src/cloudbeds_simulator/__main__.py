"""``python -m cloudbeds_simulator``: the simulator as a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence

from cloudbeds_simulator.http_shell import SimulatorServer, listen
from cloudbeds_simulator.records import ALL_SCOPES, Hotel, HotelUser, VendorApp
from cloudbeds_simulator.rotation import DEFAULT, variant_of
from cloudbeds_simulator.switches import SimulatorSettings, mint
from cloudbeds_simulator.vendor_model import VendorModel
from cloudbeds_simulator.webhooks import is_loopback

SECRET_VARIABLE = "SIMULATOR_CLIENT_SECRET"
NAME_VARIABLE = "SIMULATOR_CALLED"
MOST_HOTELS = 10_000
DEFAULT_REDIRECTS = tuple(
    f"http://localhost:{path}" for path in ("7000/callback", "8000/auth/callback", "8000/cloudbeds/callback")
)
"""Where the service listens, and where the documentation mounts the flow in another application."""
HOTELS = ("Hotel Aurora", "Harbour House", "Pine Lodge", "Casa Miramar", "The Old Mill", "Lakeside Inn")
USERS = (("Ada", "Lindqvist"), ("Bruno", "Costa"), ("Chiara", "Rossi"), ("Dara", "Okafor"), ("Eva", "Novak"))


def hotels(count: int) -> list[Hotel]:
    """Invented hotels, always the same for the same count: property ids from 100001, user ids from 9001."""
    made = []
    for at in range(count):
        first, last = USERS[at % len(USERS)]
        name = HOTELS[at] if at < len(HOTELS) else f"Hotel Number {at + 1}"
        user = HotelUser(str(9001 + at), first, last, f"{first.lower()}.{last.lower()}@hotel-{at + 1}.example")
        made.append(Hotel(str(100001 + at), name, user))
    return made


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog=_called(), description="Cloudbeds, imitated on loopback.")
    add = made.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    add("--port", type=_whole(65535), default=0, help="port; 0 takes a free one (default: %(default)s)")
    add("--variant", type=variant_of, default=DEFAULT, metavar="V2/n", help="V0 to V7, /y or /n")
    add("--auto-approve", action=argparse.BooleanOptionalAction, default=False, help="skip the consent page")
    add("--client-id", default="simulated-app", help="the registered app (default: %(default)s)")
    add("--client-secret", help=f"its secret (default: ${SECRET_VARIABLE}, else 'simulated-secret')")
    add(
        "--redirect-uri",
        action="append",
        metavar="URI",
        help=f"repeatable (default: {' and '.join(DEFAULT_REDIRECTS)})",
    )
    add("--app-name", default="Demo App", help="its name on the consent page (default: %(default)s)")
    add(
        "--hotels",
        type=_whole(MOST_HOTELS),
        default=1,
        help="how many made-up hotels there are (default: %(default)s)",
    )
    add("--expires-in", type=float, default=28800.0, metavar="SECONDS", help="life of access tokens (default: 28800)")
    add("--with-parent", action="store_true", help="stop when stdin closes")
    add("--allow-any-host", action="store_true", help="listen beyond loopback too")
    return made


def _called() -> str:
    """The command's name as its user knows it: another program may have started the simulator for them."""
    return os.environ.get(NAME_VARIABLE) or "cloudbeds_simulator"


def _whole(most: int) -> Callable[[str], int]:
    """A parser for an option's value: a whole number from 0 to `most`."""

    def number(given: str) -> int:
        if not (given.isascii() and given.isdigit() and len(given) <= len(str(most)) and int(given) <= most):
            raise argparse.ArgumentTypeError(f"is no whole number from 0 to {most}")
        return int(given)

    return number


def build(args: argparse.Namespace) -> SimulatorServer:
    """The simulator that these arguments describe. Raises ValueError if one of them is impossible."""
    settings = SimulatorSettings().changed(
        {"variant": args.variant.label, "auto_approve": args.auto_approve, "expires_in": args.expires_in}
    )
    model = VendorModel(mint, settings)
    secret = args.client_secret or os.environ.get(SECRET_VARIABLE) or "simulated-secret"
    uris = frozenset(args.redirect_uri or DEFAULT_REDIRECTS)
    model.add_app(VendorApp(args.client_id, secret, args.app_name, uris, ALL_SCOPES))
    for hotel in hotels(args.hotels):
        model.add_hotel(hotel)
    return SimulatorServer(model)


def run(argv: Sequence[str] | None = None) -> int:
    """Run until stopped. Exit status: 0 after SIGTERM, SIGINT or the parent's end, 1 if it could not listen."""
    args = parser().parse_args(argv)
    if not (args.allow_any_host or is_loopback(args.host)):
        return _complain(f"{args.host} is not a loopback address; --allow-any-host listens on it all the same")
    try:
        return asyncio.run(_serve(build(args), args))
    except OSError as error:
        return _complain(f"cannot listen on {args.host}:{args.port}: {error.strerror or error}")
    except ValueError as error:
        return _complain(str(error))


def _complain(text: str) -> int:
    print(f"{_called()}: {text}", file=sys.stderr)  # noqa: T201 - a command writes to the terminal
    return 1


async def _serve(simulator: SimulatorServer, args: argparse.Namespace) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    runner, port = await listen(simulator, args.host, args.port)
    try:
        host = f"[{args.host}]" if ":" in args.host else args.host
        print(f"simulator listening on http://{host}:{port}", flush=True)  # noqa: T201 - its one line of output
        if args.with_parent:
            threading.Thread(target=_watch_stdin, args=(loop, stop), daemon=True).start()
        await stop.wait()
    finally:
        await runner.cleanup()
    return 0


def _watch_stdin(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Read stdin to its end, then stop."""
    # From the descriptor itself: a thread waiting inside sys.stdin would break the interpreter's exit.
    while os.read(0, 4096):
        pass
    if not loop.is_closed():
        loop.call_soon_threadsafe(stop.set)


if __name__ == "__main__":
    sys.exit(run())
