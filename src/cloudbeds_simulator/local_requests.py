"""Which requests may inspect and steer the simulator: those of programs and browsers on this machine, but not those
that a foreign page sends from one.

A page of another site can make a browser here send a form or plain text to a loopback address (CSRF), and can make its
own name resolve to that address (DNS rebinding). The first is recognized by ``Sec-Fetch-Site`` or ``Origin``, which no
script can set, the second by ``Host``. A program sends neither of the first two, and is accepted.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from aiohttp import web

from cloudbeds_simulator.webhooks import is_loopback

READS = ("GET", "HEAD")
OWN_PAGES = ("same-origin", "none")
"""``Sec-Fetch-Site`` of a request by one of these pages, or by the user (Fetch Metadata Request Headers, 2.4)."""


def why_not(request: web.Request) -> str | None:
    """Why this request is refused, or None."""
    host = request.headers.get("Host", "")
    if not is_loopback(request.remote):
        return "the control API and the simulator's pages answer loopback only"
    if not is_loopback(_hostname(f"//{host}")):
        return f"{host[:100]!r} is no name of this machine: ask 127.0.0.1 or localhost"
    if request.method in READS:
        return None
    site, origin = request.headers.get("Sec-Fetch-Site", "none"), request.headers.get("Origin")
    if site not in OWN_PAGES or origin not in (None, f"http://{host}"):
        return "a page of another site sent this: only a program, or a page of the simulator, may change anything here"
    return None


def _hostname(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None
