"""The page that asks a hotel user to approve, and the page for a request that must not be redirected back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from cloudbeds_simulator import pages
from cloudbeds_simulator.answers import HTML, SimulatedAnswer
from cloudbeds_simulator.records import Hotel, VendorApp

DEEDS = {"read": "See", "write": "Change", "delete": "Delete"}
THINGS = {"hotel": "the hotel's details"}
"""The object of a scope in the user's words, if that is not its own name in the plural."""


def consent_page(
    app: VendorApp, hotels: Iterable[Hotel], scopes: Iterable[str], fields: Mapping[str, str], action: str
) -> SimulatedAnswer:
    """The page that asks a hotel user; ``fields`` are the parameters that are sent to ``action`` with the decision."""
    values = {
        "app": app.name,
        "hotels": list(hotels),
        "allowed": [(in_words(scope), scope) for scope in scopes],
        "back": _host(fields.get("redirect_uri", "")),
    }
    return _answer(200, pages.page("approve.html", fields=fields, action=action, **values))


def problem_page(title: str, text: str) -> SimulatedAnswer:
    """The page for an authorization request that must not be redirected back."""
    return _answer(400, pages.page("problem.html", title=title, text=text))


def in_words(scope: str) -> str:
    """``read:rate`` as a hotel user reads it: *See rates*. A scope of another form is shown unchanged."""
    deed, _, thing = scope.partition(":")
    if deed not in DEEDS or not thing:
        return scope
    return f"{DEEDS[deed]} {THINGS.get(thing, f'{thing}s')}"


def _host(uri: str) -> str:
    """The host of an address, or the whole text if it does not parse."""
    try:
        return urlsplit(uri).netloc
    except ValueError:
        return uri


def _answer(status: int, text: str) -> SimulatedAnswer:
    return SimulatedAnswer(status, text.encode(), HTML, dict(pages.HEADERS))
