"""The page that asks a hotel user to approve, and the one for a request that must not be sent back to its sender."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from cloudbeds_simulator import pages
from cloudbeds_simulator.answers import HTML, SimulatedAnswer
from cloudbeds_simulator.records import Hotel, VendorApp

DEEDS = {"read": "See", "write": "Change", "delete": "Delete"}
THINGS = {"hotel": "the hotel's details"}
"""What a scope is about, where its own word, in the plural, is not the user's."""


def consent_page(
    app: VendorApp, hotels: Iterable[Hotel], scopes: Iterable[str], fields: Mapping[str, str], action: str
) -> SimulatedAnswer:
    """The page that asks a hotel user; ``fields`` are the parameters that come back with the decision to ``action``."""
    values = {
        "app": app.name,
        "hotels": list(hotels),
        "allowed": [(in_words(scope), scope) for scope in scopes],
        "back": _host(fields.get("redirect_uri", "")),
    }
    return _answer(200, pages.page("approve.html", fields=fields, action=action, **values))


def problem_page(title: str, text: str) -> SimulatedAnswer:
    """The page for an authorization request that must not be sent back to its sender."""
    return _answer(400, pages.page("problem.html", title=title, text=text))


def in_words(scope: str) -> str:
    """``read:rate`` as a hotel user reads it: *See rates*. Another form than this one is shown as it is."""
    deed, _, thing = scope.partition(":")
    if deed not in DEEDS or not thing:
        return scope
    return f"{DEEDS[deed]} {THINGS.get(thing, f'{thing}s')}"


def _host(uri: str) -> str:
    """Where an address leads, as far as a user needs to know."""
    try:
        return urlsplit(uri).netloc
    except ValueError:
        return uri


def _answer(status: int, text: str) -> SimulatedAnswer:
    return SimulatedAnswer(status, text.encode(), HTML, dict(pages.HEADERS))
